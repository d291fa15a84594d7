//! Global average pooling: the mean of each channel of each image.

use super::rows_of_a_task;
use crate::dispatch::enter;
use crate::simd::{Simd, SimdOp};
use crate::{Context, channel_stride};

/// The kernels of one instruction set.
#[derive(Debug)]
pub(super) struct Table {
    forward: fn(Forward<'_>),
    backward: fn(Backward<'_>),
}

impl Table {
    pub(super) const fn of<S: Simd>() -> Self {
        Self { forward: |op| enter::<S, _>(op), backward: |op| enter::<S, _>(op) }
    }
}

/// The mean over the `pixels` of each image of `src`, `[n, pixels, channels]`, into `dst`,
/// `[n, channels]`, both with the channel stride.
///
/// # Panics
/// If the lengths do not fit, or if there are no pixels.
pub fn forward(
    cx: &Context,
    n: usize,
    pixels: usize,
    channels: usize,
    src: &[f32],
    dst: &mut [f32],
) {
    check(n, pixels, channels, src, dst);
    let stride = channel_stride(channels);
    let images = rows_of_a_task(pixels * stride);
    cx.threads().for_each_chunk(dst, images * stride, |i, dst| {
        let src = &src[i * images * pixels * stride..][..dst.len() * pixels];
        (cx.isa().pool.global_avg.forward)(Forward { src, pixels, stride, dst });
    });
}

/// Spreads each mean's gradient evenly over its image. `diff_src` is overwritten.
///
/// # Panics
/// If the lengths do not fit, or if there are no pixels.
pub fn backward(
    cx: &Context,
    n: usize,
    pixels: usize,
    channels: usize,
    diff_dst: &[f32],
    diff_src: &mut [f32],
) {
    check(n, pixels, channels, diff_src, diff_dst);
    let stride = channel_stride(channels);
    let images = rows_of_a_task(pixels * stride);
    cx.threads().for_each_chunk(diff_src, images * pixels * stride, |i, diff_src| {
        let diff_dst = &diff_dst[i * images * stride..][..diff_src.len() / pixels];
        (cx.isa().pool.global_avg.backward)(Backward { diff_dst, pixels, stride, diff_src });
    });
}

fn check(n: usize, pixels: usize, channels: usize, src: &[f32], dst: &[f32]) {
    assert!(pixels > 0 && channels > 0, "a map has pixels and channels");
    assert_eq!(src.len(), n * pixels * channel_stride(channels), "src is [n, pixels, channels]");
    assert_eq!(dst.len(), n * channel_stride(channels), "dst is [n, channels]");
}

struct Forward<'a> {
    src: &'a [f32],
    pixels: usize,
    stride: usize,
    dst: &'a mut [f32],
}

impl SimdOp for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { src, pixels, stride, dst } = self;
        let scale = simd.splat(1.0 / pixels as f32);
        for (dst, image) in dst.chunks_exact_mut(stride).zip(src.chunks_exact(pixels * stride)) {
            dst.fill(0.0);
            for row in image.chunks_exact(stride) {
                for (dst, x) in dst.chunks_exact_mut(S::LANES).zip(row.chunks_exact(S::LANES)) {
                    simd.store(simd.add(simd.load(dst), simd.load(x)), dst);
                }
            }
            for dst in dst.chunks_exact_mut(S::LANES) {
                simd.store(simd.mul(simd.load(dst), scale), dst);
            }
        }
    }
}

struct Backward<'a> {
    diff_dst: &'a [f32],
    pixels: usize,
    stride: usize,
    diff_src: &'a mut [f32],
}

impl SimdOp for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { diff_dst, pixels, stride, diff_src } = self;
        let scale = simd.splat(1.0 / pixels as f32);
        let images = diff_src.chunks_exact_mut(pixels * stride);
        for (image, diff_dst) in images.zip(diff_dst.chunks_exact(stride)) {
            for row in image.chunks_exact_mut(stride) {
                for (x, g) in row.chunks_exact_mut(S::LANES).zip(diff_dst.chunks_exact(S::LANES)) {
                    simd.store(simd.mul(simd.load(g), scale), x);
                }
            }
        }
    }
}
