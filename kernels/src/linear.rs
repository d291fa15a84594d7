//! Fully connected layers, `dst = src * weights^T + bias`.
//!
//! `src` is `[n, inputs]` and `dst` `[n, outputs]`, both with the channel stride; `weights` is
//! `[outputs, inputs]`, dense. An output of the forward pass is summed in one order, whatever the
//! batch and the task it falls into.

mod backward;
mod forward;

use crate::dispatch::enter;
use crate::gemm::gemm;
use crate::simd::Simd;
use crate::{CHANNEL_ALIGN, Context, channel_stride, reduce};
use backward::BackwardWeights;
use forward::Forward;
use std::ops::Range;

/// Rows of a register tile: images, or outputs, that share a read of the other operand.
const ROWS: usize = 4;

/// Images of a task are a multiple of this many: they share a read of the weights from memory, and
/// 16 images * 4096 inputs * 4 bytes = 256 KiB stay in the L2 cache.
const IMAGES: usize = 16;

/// Multiply-adds in a task at least, some 50 us of work.
const MIN_TASK: usize = 1 << 20;

/// The kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    forward: fn(Forward<'_>),
    backward_weights: fn(BackwardWeights<'_>),
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self { forward: |op| enter::<S, _>(op), backward_weights: |op| enter::<S, _>(op) }
    }
}

/// `dst = src * weights^T + bias`.
///
/// # Panics
/// If the lengths do not fit.
pub fn forward(
    cx: &Context,
    n: usize,
    inputs: usize,
    outputs: usize,
    src: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    dst: &mut [f32],
) {
    check(n, inputs, outputs, src, weights, dst);
    assert!(bias.is_none_or(|bias| bias.len() == outputs), "bias is [outputs]");
    let (src_stride, stride) = (channel_stride(inputs), channel_stride(outputs));
    let run = |image: usize, outputs: Range<usize>, dst_stride: usize, dst: &mut [f32]| {
        (cx.isa().linear.forward)(Forward {
            src: &src[image * src_stride..],
            inputs,
            weights: &weights[outputs.start * inputs..outputs.end * inputs],
            bias: bias.map(|bias| &bias[outputs]),
            dst_stride,
            dst,
        });
    };
    if n < ROWS {
        // Too few images to share the weights: the outputs are cut instead.
        let chunk = MIN_TASK.div_ceil(inputs).next_multiple_of(CHANNEL_ALIGN);
        for (image, dst) in dst.chunks_exact_mut(stride).enumerate() {
            cx.threads().for_each_chunk(dst, chunk, |i, dst| {
                run(image, i * chunk..outputs.min((i + 1) * chunk), dst.len(), dst);
            });
        }
    } else {
        let images = MIN_TASK.div_ceil(inputs * outputs).next_multiple_of(IMAGES);
        cx.threads().for_each_chunk(dst, images * stride, |i, dst| {
            run(i * images, 0..outputs, stride, dst);
        });
    }
}

/// `diff_src = diff_dst * weights`.
///
/// # Panics
/// If the lengths do not fit.
pub fn backward_data(
    cx: &Context,
    n: usize,
    inputs: usize,
    outputs: usize,
    diff_dst: &[f32],
    weights: &[f32],
    diff_src: &mut [f32],
) {
    check(n, inputs, outputs, diff_src, weights, diff_dst);
    let (stride, diff_stride) = (channel_stride(inputs), channel_stride(outputs));
    let (m, k) = (n, outputs);
    gemm(cx, m, inputs, k, diff_dst, diff_stride, weights, inputs, diff_src, stride, true);
    diff_src.chunks_exact_mut(stride).for_each(|row| row[inputs..].fill(0.0));
}

/// `diff_weights = diff_dst^T * src`.
///
/// # Panics
/// If the lengths do not fit.
pub fn backward_weights(
    cx: &Context,
    n: usize,
    inputs: usize,
    outputs: usize,
    src: &[f32],
    diff_dst: &[f32],
    diff_weights: &mut [f32],
) {
    check(n, inputs, outputs, src, diff_weights, diff_dst);
    let rows =
        MIN_TASK.div_ceil(inputs * n.max(1)).next_multiple_of(ROWS).min(BackwardWeights::ROWS);
    cx.threads().for_each_chunk(diff_weights, rows * inputs, |i, diff_weights| {
        let first_output = i * rows;
        let op = BackwardWeights { src, diff_dst, inputs, outputs, first_output, diff_weights };
        (cx.isa().linear.backward_weights)(op);
    });
}

/// `diff_bias[o] = sum over images of diff_dst[.., o]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn backward_bias(
    cx: &Context,
    n: usize,
    outputs: usize,
    diff_dst: &[f32],
    diff_bias: &mut [f32],
) {
    reduce::channel_sums_f32(cx, n, outputs, diff_dst, diff_bias);
}

fn check(n: usize, inputs: usize, outputs: usize, src: &[f32], weights: &[f32], dst: &[f32]) {
    assert!(inputs > 0 && outputs > 0, "a linear layer has inputs and outputs");
    assert_eq!(src.len(), n * channel_stride(inputs), "src is [n, inputs]");
    assert_eq!(weights.len(), outputs * inputs, "weights are [outputs, inputs]");
    assert_eq!(dst.len(), n * channel_stride(outputs), "dst is [n, outputs]");
}
