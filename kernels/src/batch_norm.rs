//! Batch normalisation, `dst = (src - mean) * inv_std * weight + bias`, channel by channel.
//!
//! Maps are `[pixels, channels]` with the channel stride, where `pixels = n * h * w`; slices of
//! parameters and statistics have `channels` floats. `inv_std` is `1 / sqrt(var + eps)`, `var` the
//! biased variance (Ioffe and Szegedy 2015, algorithm 1).

mod apply;
mod statistics;

use crate::dispatch::enter;
use crate::reduce::over_chunks;
use crate::simd::Simd;
use crate::{Context, channel_stride};
use apply::{Affine, Combine};
use statistics::{AddDiffSums, AddMoments, DiffSums, Moments};

/// The kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    add_moments: fn(AddMoments<'_>),
    add_diff_sums: fn(AddDiffSums<'_>),
    affine: fn(Affine<'_>),
    combine: fn(Combine<'_>),
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self {
            add_moments: |op| enter::<S, _>(op),
            add_diff_sums: |op| enter::<S, _>(op),
            affine: |op| enter::<S, _>(op),
            combine: |op| enter::<S, _>(op),
        }
    }
}

/// Normalises `src` by the statistics of its own pixels, which it writes to `mean`, `inv_std` and
/// `var` (biased). Moments are taken around the means of small blocks and combined in f64, so that
/// neither a large mean nor a large number of pixels costs accuracy.
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
    dst: &mut [f32],
) {
    check(pixels, channels, &[src, dst], &[weight, bias, mean, inv_std, var]);
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
    apply::affine(cx, channels, src, |c| mean[c], |c| weight[c] * inv_std[c], |c| bias[c], dst);
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
    let scale = |c: usize| weight[c] * inv_std(running_var[c], eps);
    apply::affine(cx, channels, src, |c| running_mean[c], scale, |c| bias[c], dst);
}

/// Gradients of [`forward_train`] with respect to `src`, `weight` and `bias`, from the `mean` and
/// `inv_std` that it wrote. The statistics depend on `src` too:
/// `diff_src = weight * inv_std * (diff_dst - diff_bias / pixels - x * diff_weight / pixels)` with
/// `x = (src - mean) * inv_std`.
///
/// # Panics
/// If the lengths do not fit, or if there are no pixels.
#[expect(clippy::too_many_arguments, reason = "the operands of the operation")]
pub fn backward_train(
    cx: &Context,
    pixels: usize,
    channels: usize,
    src: &[f32],
    diff_dst: &[f32],
    weight: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    diff_src: &mut [f32],
    diff_weight: &mut [f32],
    diff_bias: &mut [f32],
) {
    let params = [weight, mean, inv_std, diff_weight, diff_bias];
    check(pixels, channels, &[src, diff_dst, diff_src], &params);
    diff_sums(cx, pixels, channels, src, diff_dst, mean, |c, centred, sum| {
        diff_weight[c] = (centred * f64::from(inv_std[c])) as f32;
        diff_bias[c] = sum as f32;
    });
    let (diff_weight, diff_bias, n) = (&*diff_weight, &*diff_bias, pixels as f32);
    let scale = |c: usize| weight[c] * inv_std[c];
    let slope = |c: usize| -scale(c) * inv_std[c] * (diff_weight[c] / n);
    let offset = |c: usize| -scale(c) * (diff_bias[c] / n);
    apply::combine(cx, channels, [src, diff_dst], |c| mean[c], scale, slope, offset, diff_src);
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
    diff_sums(cx, pixels, channels, src, diff_dst, running_mean, |c, centred, sum| {
        diff_weight[c] = (centred * f64::from(inv_std(running_var[c], eps))) as f32;
        diff_bias[c] = sum as f32;
    });
    let scale = |c: usize| weight[c] * inv_std(running_var[c], eps);
    apply::affine(cx, channels, diff_dst, |_| 0.0, scale, |_| 0.0, diff_src);
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

/// Calls `each(c, sum of diff_dst * (src - mean), sum of diff_dst)` for every channel.
fn diff_sums(
    cx: &Context,
    pixels: usize,
    channels: usize,
    src: &[f32],
    diff_dst: &[f32],
    mean: &[f32],
    mut each: impl FnMut(usize, f64, f64),
) {
    over_chunks(
        cx,
        pixels,
        channels,
        DiffSums::EMPTY,
        |rows, sums| {
            (cx.isa().batch_norm.add_diff_sums)(AddDiffSums { src, diff_dst, mean, rows, sums });
        },
        |channels, chunks| {
            for (k, c) in channels.enumerate() {
                let centred = chunks.iter().map(|sums| sums.centred[k]).sum();
                each(c, centred, chunks.iter().map(|sums| sums.plain[k]).sum());
            }
        },
    );
}
