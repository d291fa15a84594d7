//! Convolution as a matrix product whose left matrix is gathered from the input block by block: rows
//! are output pixels, terms (tap, channel) pairs, columns output channels.
//!
//! The gradient of the input is the same sum with the maps exchanged and the weights transposed. A
//! block of one tap gathers only the pixels that the tap reaches, so padding costs nothing there, nor
//! do the zeros that a stride puts between the pixels of a gradient.

mod gather;

pub(crate) use gather::Gather;

use super::Activation;
use super::algorithm::{Algorithm, Operands};
use super::cost;
use super::taps::Pass;
use crate::Context;
use crate::gemm::blocking::{MC, cut};
use crate::gemm::micro::{MAX_NR, PANEL_VECTORS};
use crate::gemm::stored::Packed;
use std::ops::Range;

pub(crate) const FORWARD: Algorithm = Algorithm {
    name: "implicit_gemm",
    applies: |g| g.groups == 1,
    fuses: false,
    widens: true,
    filtering: false,
    cost: |isa, g| cost::implicit_gemm(isa, &Pass::forward(g)),
    packed_len: |cx, g| packed_len(cx, &Pass::forward(g)),
    pack: |cx, g, weights, packed| pack(cx, &Pass::forward(g), weights, packed),
    scratch_len: |g| Cuts::of(&Pass::forward(g)).scratch_len(),
    run: |cx, g, operands, scratch| run(cx, &Pass::forward(g), operands, scratch),
};

pub(crate) const BACKWARD_DATA: Algorithm = Algorithm {
    cost: |isa, g| cost::implicit_gemm(isa, &Pass::backward(g)),
    packed_len: |cx, g| packed_len(cx, &Pass::backward(g)),
    pack: |cx, g, weights, packed| pack(cx, &Pass::backward(g), weights, packed),
    scratch_len: |g| Cuts::of(&Pass::backward(g)).scratch_len(),
    run: |cx, g, operands, scratch| run(cx, &Pass::backward(g), operands, scratch),
    ..FORWARD
};

/// Columns of a full panel.
fn panel_width(cx: &Context) -> usize {
    PANEL_VECTORS * cx.isa().lanes
}

fn packed_len(cx: &Context, pass: &Pass) -> usize {
    pass.output().channels.next_multiple_of(cx.isa().lanes) * pass.k()
}

/// Packs weights as `[panel][block][tap][channel][column of the panel]`, columns that do not exist
/// being zero.
fn pack(cx: &Context, pass: &Pass, weights: &[f32], packed: &mut [f32]) {
    let (k, columns, full) = (pass.k(), pass.output().channels, panel_width(cx));
    let taps = pass.g.taps();
    let (row, column) = match pass.forward {
        true => (taps, pass.g.ic * taps),
        false => (pass.g.ic * taps, taps),
    };
    cx.threads().for_each_chunk(packed, k * full, |i, packed| {
        let nr = packed.len() / k;
        let exist = nr.min(columns - i * full);
        let weights = &weights[i * full * column..];
        // All taps of a few channels at a time, which lie side by side in `weights`, for a few columns,
        // whose distance may be a power of two.
        for start in (0..pass.input().channels).step_by(16) {
            for first in (0..nr).step_by(8) {
                for block in pass.blocks().filter(|block| block.channels.contains(&start)) {
                    let depth = block.channels.len();
                    let packed = &mut packed[block.k0 * nr..][..block.len() * nr];
                    for channel in start..block.channels.end.min(start + 16) {
                        let c = channel - block.channels.start;
                        for tap in 0..block.taps {
                            let out =
                                &mut packed[(tap * depth + c) * nr..][first..nr.min(first + 8)];
                            let i = channel * row + block.first_tap + tap;
                            pack_columns(
                                weights,
                                i + first * column,
                                column,
                                out,
                                exist - first.min(exist),
                            );
                        }
                    }
                }
            }
        }
    });
}

/// Packs a weight for each column of `out`: the first `exist`, from `start` on at distance `stride`,
/// then zeros.
#[inline(always)]
fn pack_columns(weights: &[f32], start: usize, stride: usize, out: &mut [f32], exist: usize) {
    if let Ok(out) = <&mut [f32; 8]>::try_from(&mut *out)
        && exist >= 8
    {
        let weights = &weights[start..];
        for j in 0..8 {
            out[j] = weights[j * stride];
        }
        return;
    }
    for (j, out) in out.iter_mut().enumerate() {
        *out = if j < exist { weights[start + j * stride] } else { 0.0 };
    }
}

/// How the output is cut into tasks: chunks of pixels and, where those are few, of panels too.
struct Cuts {
    pixels: usize,
    /// Pixels of a chunk.
    rows: usize,
    /// Chunks of columns.
    splits: usize,
    /// Columns of a chunk: a multiple of the widest panel.
    columns: usize,
}

/// Tasks that even a small convolution is cut into, if they are large enough.
pub(super) const TASKS: usize = 16;

/// Multiply-adds that are worth a task: about 40 microseconds.
pub(super) const TASK_MACS: usize = 1 << 21;

impl Cuts {
    fn of(pass: &Pass) -> Self {
        let (pixels, channels) = (pass.pixels(), pass.output().channels);
        let tasks = TASKS.min(pixels * channels * pass.k() / TASK_MACS).max(1);
        // Pixels first, down to 48 a task; then columns.
        let most = pixels.div_ceil(tasks).clamp(48, MC);
        let (chunks, rows) = cut(pixels, most, 1);
        let splits = tasks.div_ceil(chunks);
        let columns = channels.div_ceil(splits).next_multiple_of(MAX_NR);
        Self { pixels, rows, splits: channels.div_ceil(columns), columns }
    }

    /// Chunks of columns are computed apart, since rows of the output interleave them.
    fn scratch_len(&self) -> usize {
        let chunks = self.pixels.div_ceil(self.rows);
        if self.splits > 1 { chunks * self.splits * self.rows * self.columns } else { 0 }
    }
}

fn run(cx: &Context, pass: &Pass, operands: Operands<'_>, scratch: &mut [f32]) {
    let Operands { a: src, b: packed, storage, bias, activation, dst, .. } = operands;
    let packed = Packed::new(packed, storage);
    let relu = activation == Activation::Relu;
    let (cuts, stride, channels) = (Cuts::of(pass), pass.output().stride, pass.output().channels);
    let task = |first: usize, columns: Range<usize>, dst: &mut [f32], ldc: usize| {
        let pixels = first..cuts.pixels.min(first + cuts.rows);
        cx.threads().with_buffer(|buffer| {
            let gather =
                Gather { pass, src, packed, bias, relu, pixels, columns, dst, ldc, buffer };
            (cx.isa().conv2d.gather)(gather);
        });
    };
    if cuts.splits == 1 {
        cx.threads().for_each_chunk(dst, cuts.rows * stride, |i, dst| {
            task(i * cuts.rows, 0..channels, dst, stride);
            if channels < stride {
                dst.chunks_exact_mut(stride).for_each(|pixel| pixel[channels..].fill(0.0));
            }
        });
        return;
    }
    let part = cuts.rows * cuts.columns;
    cx.threads().for_each_chunk(scratch, part, |i, dst| {
        let (chunk, column) = (i / cuts.splits, i % cuts.splits * cuts.columns);
        let columns = column..channels.min(column + cuts.columns);
        task(chunk * cuts.rows, columns, dst, cuts.columns);
    });
    let scratch = &*scratch;
    cx.threads().for_each_chunk(dst, cuts.rows * stride, |chunk, dst| {
        let parts = &scratch[chunk * cuts.splits * part..];
        for (i, pixel) in dst.chunks_exact_mut(stride).enumerate() {
            let (pixel, pad) = pixel.split_at_mut(channels);
            for (out, part) in pixel.chunks_mut(cuts.columns).zip(parts.chunks(part)) {
                out.copy_from_slice(&part[i * cuts.columns..][..out.len()]);
            }
            pad.fill(0.0);
        }
    });
}
