//! Batch normalisation, `dst = (src - mean) * inv_std * weight + bias`, channel by channel.
//!
//! Maps are `[pixels, channels]` with the channel stride, where `pixels = n * h * w`; slices of
//! parameters and statistics have `channels` floats. `inv_std` is `1 / sqrt(var + eps)`, `var` the
//! biased variance (Ioffe and Szegedy 2015, algorithm 1).
//!
//! In training, what follows is done in the passes of the batch norm, forward ([`Then`]) and backward
//! ([`Gradient`]): the same bits as by the operations one after the other, but nothing between them is
//! written.

mod apply;
mod gradient;
mod max_pool;
mod statistics;

use crate::dispatch::enter;
use crate::reduce::{Rows, over_chunks, over_chunks_of};
use crate::simd::Simd;
use crate::{Context, channel_stride};
use apply::{Affine, Combine, floats};
use gradient::Source;
use max_pool::AffineMaxPool;
use statistics::{AddDiffSums, AddMoments, DiffSums, MaskAndAddDiffSums, Moments};
use std::ops::Range;

/// What follows a batch norm in training.
#[derive(Debug)]
pub enum Then<'a> {
    /// Nothing.
    Nothing,
    /// `max(dst, 0)`.
    Relu,
    /// `max(dst + residual, 0)`.
    AddRelu {
        /// As long as `dst`.
        residual: &'a [f32],
    },
    /// The largest of each 2x2 pixels of `max(dst, 0)`, of maps whose heights and widths are even.
    ReluMaxPool {
        /// Width of the maps before they are pooled.
        width: usize,
        /// As long as `dst`, which is pooled: overwritten with where each gradient goes.
        places: &'a mut [u8],
    },
}

/// The gradient with respect to what [`Then`] made of a batch norm's output, and what it takes to go
/// back from there.
#[derive(Debug)]
pub enum Gradient<'a> {
    /// [`Then::Nothing`].
    Nothing {
        /// The gradient.
        diff_dst: &'a [f32],
    },
    /// [`Then::Relu`].
    Relu {
        /// The gradient.
        diff_dst: &'a [f32],
        /// The batch norm's bias.
        bias: &'a [f32],
    },
    /// [`Then::AddRelu`].
    AddRelu {
        /// The gradient; becomes that with respect to the residual.
        diff_dst: &'a mut [f32],
        /// What the forward pass wrote.
        dst: &'a [f32],
    },
    /// [`Then::ReluMaxPool`].
    ReluMaxPool {
        /// The gradient.
        diff_dst: &'a [f32],
        /// Width of the maps before they were pooled.
        width: usize,
        /// What the forward pass wrote.
        places: &'a [u8],
    },
}

/// The kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    add_moments: fn(AddMoments<'_>),
    add_diff_sums: fn(AddDiffSums<'_>),
    mask_and_add_diff_sums: fn(MaskAndAddDiffSums<'_>),
    affine: fn(Affine<'_>),
    affine_max_pool: fn(AffineMaxPool<'_>),
    combine: fn(Combine<'_>),
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self {
            add_moments: |op| enter::<S, _>(op),
            add_diff_sums: |op| enter::<S, _>(op),
            mask_and_add_diff_sums: |op| enter::<S, _>(op),
            affine: |op| enter::<S, _>(op),
            affine_max_pool: |op| enter::<S, _>(op),
            combine: |op| enter::<S, _>(op),
        }
    }
}

/// Normalises `src` by the statistics of its own pixels, which it writes to `mean`, `inv_std` and
/// `var` (biased), and goes on with `then`. Moments are taken around the means of small blocks and
/// combined in f64, so that neither a large mean nor a large number of pixels costs accuracy.
///
/// # Panics
/// If the lengths do not fit, or if there are no pixels.
#[expect(clippy::too_many_arguments, reason = "the operands of the operation")]
pub fn forward_train(
    cx: &Context,
    pixels: usize,
    channels: usize,
    src: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    mean: &mut [f32],
    inv_std: &mut [f32],
    var: &mut [f32],
    then: Then<'_>,
    dst: &mut [f32],
) {
    check(pixels, channels, &[src], &[weight, bias, mean, inv_std, var]);
    over_chunks(
        cx,
        pixels,
        channels,
        Moments::EMPTY,
        |rows, moments| (cx.isa().batch_norm.add_moments)(AddMoments { src, rows, moments }),
        |channels, chunks| {
            let total = Moments::merged(chunks);
            for (k, c) in channels.enumerate() {
                let variance = total.m2[k] / total.count;
                mean[c] = total.mean[k] as f32;
                var[c] = variance as f32;
                inv_std[c] = (1.0 / (variance + f64::from(eps)).sqrt()) as f32;
            }
        },
    );
    let coefficients = |c: usize| [mean[c], weight[c] * inv_std[c], bias[c]];
    let (residual, floor) = match then {
        Then::Nothing => (None, f32::NEG_INFINITY),
        Then::Relu => (None, 0.0),
        Then::AddRelu { residual } => (Some(residual), 0.0),
        Then::ReluMaxPool { width, places } => {
            check_pooling(pixels, channels, width, dst, places);
            let maps = (channels, width);
            return max_pool::affine_max_pool(cx, maps, src, coefficients, dst, places);
        }
    };
    check(pixels, channels, &[dst, residual.unwrap_or(src)], &[]);
    apply::affine(cx, channels, src, coefficients, residual, floor, dst);
}

/// Normalises `src` by given statistics.
///
/// # Panics
/// If the lengths do not fit, or if there are no pixels.
#[expect(clippy::too_many_arguments, reason = "the operands of the operation")]
pub fn forward_eval(
    cx: &Context,
    pixels: usize,
    channels: usize,
    src: &[f32],
    weight: &[f32],
    bias: &[f32],
    running_mean: &[f32],
    running_var: &[f32],
    eps: f32,
    dst: &mut [f32],
) {
    check(pixels, channels, &[src, dst], &[weight, bias, running_mean, running_var]);
    let coefficients =
        |c: usize| [running_mean[c], weight[c] * inv_std(running_var[c], eps), bias[c]];
    apply::affine(cx, channels, src, coefficients, None, f32::NEG_INFINITY, dst);
}

/// Gradients of [`forward_train`] with respect to `src`, `weight` and `bias`, from the `mean` and
/// `inv_std` that it wrote. The one with respect to `src` takes its place; the statistics depend on it
/// too: `diff_src = weight * inv_std * (diff_dst - diff_bias / pixels - x * diff_weight / pixels)` with
/// `x = (src - mean) * inv_std`.
///
/// # Panics
/// If the lengths do not fit, or if there are no pixels.
#[expect(clippy::too_many_arguments, reason = "the operands of the operation")]
pub fn backward_train(
    cx: &Context,
    pixels: usize,
    channels: usize,
    src: &mut [f32],
    gradient: Gradient<'_>,
    weight: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    diff_weight: &mut [f32],
    diff_bias: &mut [f32],
) {
    let params = [weight, mean, inv_std, diff_weight, diff_bias];
    check(pixels, channels, &[src], &params);
    let scale = |c: usize| weight[c] * inv_std[c];
    let at = |c: usize| (mean[c], scale(c));
    let diff_dst = diff_sums(cx, pixels, channels, src, gradient, at, |c, centred, sum| {
        diff_weight[c] = (centred * f64::from(inv_std[c])) as f32;
        diff_bias[c] = sum as f32;
    });
    let (diff_weight, diff_bias, n) = (&*diff_weight, &*diff_bias, pixels as f32);
    let coefficients = |c: usize| {
        let slope = -scale(c) * inv_std[c] * (diff_weight[c] / n);
        let offset = -scale(c) * (diff_bias[c] / n);
        [mean[c], scale(c), diff_dst.bias(c), slope, offset]
    };
    apply::combine(cx, channels, diff_dst, coefficients, src);
}

/// Gradients of [`forward_eval`], whose statistics are constants:
/// `diff_src = weight * inv_std * diff_dst`.
///
/// # Panics
/// If the lengths do not fit, or if there are no pixels.
#[expect(clippy::too_many_arguments, reason = "the operands of the operation")]
pub fn backward_eval(
    cx: &Context,
    pixels: usize,
    channels: usize,
    src: &[f32],
    diff_dst: &[f32],
    weight: &[f32],
    running_mean: &[f32],
    running_var: &[f32],
    eps: f32,
    diff_src: &mut [f32],
    diff_weight: &mut [f32],
    diff_bias: &mut [f32],
) {
    let params = [weight, running_mean, running_var, diff_weight, diff_bias];
    check(pixels, channels, &[src, diff_dst, diff_src], &params);
    let (gradient, at) = (Gradient::Nothing { diff_dst }, |c: usize| (running_mean[c], 1.0));
    diff_sums(cx, pixels, channels, src, gradient, at, |c, centred, sum| {
        diff_weight[c] = (centred * f64::from(inv_std(running_var[c], eps))) as f32;
        diff_bias[c] = sum as f32;
    });
    let coefficients = |c: usize| [0.0, weight[c] * inv_std(running_var[c], eps), 0.0];
    apply::affine(cx, channels, diff_dst, coefficients, None, f32::NEG_INFINITY, diff_src);
}

fn inv_std(var: f32, eps: f32) -> f32 {
    (var + eps).sqrt().recip()
}

fn check(pixels: usize, channels: usize, maps: &[&[f32]], params: &[&[f32]]) {
    assert!(pixels > 0 && channels > 0, "a map has pixels and channels");
    for map in maps {
        assert_eq!(map.len(), pixels * channel_stride(channels), "maps are [pixels, channels]");
    }
    for param in params {
        assert_eq!(param.len(), channels, "parameters have a float a channel");
    }
}

/// Checks a map of `pixels` before it was pooled, and where each gradient goes.
fn check_pooling(pixels: usize, channels: usize, width: usize, pooled: &[f32], places: &[u8]) {
    let even = width > 0 && width.is_multiple_of(2) && pixels.is_multiple_of(2 * width);
    assert!(even, "{pixels} pixels in an even number of rows of an even width, {width}");
    check(pixels / 4, channels, &[pooled], &[]);
    assert_eq!(places.len(), pooled.len(), "a place for each pooled value");
}

/// Calls `each(c, sum of g * (src - mean), sum of g)` for every channel, where `g` is the gradient with
/// respect to the batch norm's output, and `at(c)` its mean and scale. Returns what `g` is read from.
fn diff_sums<'a>(
    cx: &Context,
    pixels: usize,
    channels: usize,
    src: &[f32],
    gradient: Gradient<'a>,
    at: impl Fn(usize) -> (f32, f32) + Sync,
    mut each: impl FnMut(usize, f64, f64),
) -> Source<'a> {
    let finish = |channels: Range<usize>, chunks: &[DiffSums]| {
        for (k, c) in channels.enumerate() {
            let centred = chunks.iter().map(|sums| sums.centred[k]).sum();
            each(c, centred, chunks.iter().map(|sums| sums.plain[k]).sum());
        }
    };
    let (isa, empty) = (&cx.isa().batch_norm, DiffSums::EMPTY);
    let of_rows = |rows: &Rows| rows.first..channels.min(rows.first + rows.width);
    let diff_dst = match gradient {
        Gradient::AddRelu { diff_dst, dst } => {
            check(pixels, channels, &[diff_dst, dst], &[]);
            let task = |rows: Rows, diff_dst: &mut [f32], sums: &mut DiffSums| {
                let [mean] = &floats(of_rows(&rows), |c| [at(c).0]);
                let op = MaskAndAddDiffSums { src, dst, diff_dst, mean, rows, sums };
                (isa.mask_and_add_diff_sums)(op);
            };
            over_chunks_of(cx, diff_dst, channels, empty, task, finish);
            return Source::Plain(diff_dst);
        }
        Gradient::Nothing { diff_dst } => {
            check(pixels, channels, &[diff_dst], &[]);
            Source::Plain(diff_dst)
        }
        Gradient::Relu { diff_dst: diff, bias } => {
            check(pixels, channels, &[diff], &[bias]);
            Source::Relu { diff, bias }
        }
        Gradient::ReluMaxPool { diff_dst: diff, width, places } => {
            check_pooling(pixels, channels, width, diff, places);
            Source::ReluMaxPool { diff, places, width }
        }
    };
    let task = |rows: Rows, sums: &mut DiffSums| {
        let coefficients = &floats(of_rows(&rows), |c| [at(c).0, at(c).1, diff_dst.bias(c)]);
        (isa.add_diff_sums)(AddDiffSums { src, diff_dst, coefficients, rows, sums });
    };
    over_chunks(cx, pixels, channels, empty, task, finish);
    diff_dst
}
