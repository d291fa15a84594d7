//! The pass that normalises, rectifies and pools.

use super::apply::{Columns, Floats, floats};
use crate::simd::{Simd, SimdOp};
use crate::{Context, channel_stride};

/// Floats that a task reads.
const CHUNK: usize = 64 * 1024;

/// The place of windows without a positive value, whose gradient goes nowhere.
const NOWHERE: f32 = 4.0;

/// `dst` is the largest of each 2x2 pixels of `max((src - mean) * scale + bias, 0)`, and `places` the
/// place of the pixel that a gradient goes to, `2 * y + x`.
pub(super) fn affine_max_pool(
    cx: &Context,
    (channels, width): (usize, usize),
    src: &[f32],
    coefficients: impl Fn(usize) -> [f32; 3] + Sync,
    dst: &mut [f32],
    places: &mut [u8],
) {
    let pair = 2 * width * channel_stride(channels);
    let chunk = (CHUNK / pair).max(1) * pair;
    cx.threads().for_each_chunk2((dst, chunk / 4), (places, chunk / 4), |i, dst, places| {
        let src = &src[i * chunk..][..4 * dst.len()];
        for (columns, channels) in Columns::blocks(channels) {
            let coefficients = &floats(channels, &coefficients);
            let (dst, places) = (&mut *dst, &mut *places);
            let op = AffineMaxPool { src, width, columns, coefficients, dst, places };
            (cx.isa().batch_norm.affine_max_pool)(op);
        }
    });
}

pub(super) struct AffineMaxPool<'a> {
    src: &'a [f32],
    width: usize,
    columns: Columns,
    coefficients: &'a [Floats; 3],
    dst: &'a mut [f32],
    places: &'a mut [u8],
}

impl SimdOp for AffineMaxPool<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { src, width, columns, coefficients, dst, places } = self;
        let pairs = src.chunks_exact(2 * width * columns.stride);
        for (y, pair) in pairs.enumerate() {
            for x in 0..width / 2 {
                let window = y * (width / 2) + x;
                let pixels = [2 * x, 2 * x + 1, width + 2 * x, width + 2 * x + 1];
                let taps = pixels.map(
                    #[inline(always)]
                    |pixel| columns.of(pair, pixel),
                );
                let dst = columns.of_mut(dst, window);
                let places = columns.of_mut(places, window);
                for c in (0..dst.len()).step_by(S::LANES) {
                    let (best, place) = winner(simd, taps, c, coefficients);
                    simd.store(best, &mut dst[c..]);
                    simd.store_bytes(place, &mut places[c..]);
                }
            }
        }
    }
}

/// The largest value of a window, and its place if it is positive.
///
/// A loop, because closures that an array is mapped by are not always compiled into it, and by themselves know
/// no instruction set: every intrinsic is then a call.
#[inline(always)]
fn winner<S: Simd>(
    simd: S,
    taps: [&[f32]; 4],
    c: usize,
    [mean, scale, bias]: &[Floats; 3],
) -> (S::F32, S::F32) {
    let (mean, scale, bias) =
        (simd.load(&mean[c..]), simd.load(&scale[c..]), simd.load(&bias[c..]));
    let zero = simd.splat(0.0);
    let (mut best, mut place) = (zero, zero);
    for (i, tap) in taps.into_iter().enumerate() {
        let x = simd.mul_add(simd.sub(simd.load(&tap[c..]), mean), scale, bias);
        let x = simd.max(zero, x);
        if i == 0 {
            best = x;
        } else {
            place = simd.select_gt(x, best, simd.splat(i as f32), place);
            best = simd.max_or_nan(x, best);
        }
    }
    // NaN is not above zero either: its rectifier has no gradient.
    (best, simd.select_gt(best, zero, place, simd.splat(NOWHERE)))
}
