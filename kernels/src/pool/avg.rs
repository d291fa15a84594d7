//! Average pooling. The border counts as zeros: every window is divided by `kernel * kernel`, as
//! PyTorch's `count_include_pad=True`.

use super::{Pool2dGeometry, rows_of_a_task};
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

/// The mean of each window.
///
/// # Panics
/// If the lengths do not fit the geometry.
pub fn forward(cx: &Context, g: &Pool2dGeometry, src: &[f32], dst: &mut [f32]) {
    g.check(src.len(), dst.len());
    let row = g.ow() * channel_stride(g.c);
    let rows = rows_of_a_task(row);
    cx.threads().for_each_chunk(dst, rows * row, |i, dst| {
        (cx.isa().pool.avg.forward)(Forward { g, src, first_row: i * rows, dst });
    });
}

/// Spreads each output's gradient evenly over its window. `diff_src` is overwritten.
///
/// # Panics
/// If the lengths do not fit the geometry.
pub fn backward(cx: &Context, g: &Pool2dGeometry, diff_dst: &[f32], diff_src: &mut [f32]) {
    g.check(diff_src.len(), diff_dst.len());
    let row = g.iw * channel_stride(g.c);
    let rows = rows_of_a_task(row);
    cx.threads().for_each_chunk(diff_src, rows * row, |i, diff_src| {
        (cx.isa().pool.avg.backward)(Backward { g, diff_dst, first_row: i * rows, diff_src });
    });
}

/// Rows of outputs, counted through all images.
struct Forward<'a> {
    g: &'a Pool2dGeometry,
    src: &'a [f32],
    first_row: usize,
    dst: &'a mut [f32],
}

impl SimdOp for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { g, src, first_row, dst } = self;
        let (oh, cs) = (g.oh(), channel_stride(g.c));
        let scale = simd.splat(1.0 / (g.kernel * g.kernel) as f32);
        for (y, dst) in dst.chunks_exact_mut(g.ow() * cs).enumerate() {
            let (image, oy) = ((first_row + y) / oh, (first_row + y) % oh);
            let rows = g.taps(oy, g.ih);
            for (ox, dst) in dst.chunks_exact_mut(cs).enumerate() {
                let columns = g.taps(ox, g.iw);
                for (step, dst) in dst.chunks_exact_mut(S::LANES).enumerate() {
                    let mut sum = simd.splat(0.0);
                    for ky in rows.clone() {
                        let y = image * g.ih + oy * g.stride + ky - g.padding;
                        for kx in columns.clone() {
                            let x = ox * g.stride + kx - g.padding;
                            let at = (y * g.iw + x) * cs + step * S::LANES;
                            sum = simd.add(sum, simd.load(&src[at..]));
                        }
                    }
                    simd.store(simd.mul(sum, scale), dst);
                }
            }
        }
    }
}

/// Rows of inputs, counted through all images.
struct Backward<'a> {
    g: &'a Pool2dGeometry,
    diff_dst: &'a [f32],
    first_row: usize,
    diff_src: &'a mut [f32],
}

impl SimdOp for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { g, diff_dst, first_row, diff_src } = self;
        let (oh, ow, cs) = (g.oh(), g.ow(), channel_stride(g.c));
        let scale = simd.splat(1.0 / (g.kernel * g.kernel) as f32);
        for (y, diff_src) in diff_src.chunks_exact_mut(g.iw * cs).enumerate() {
            let (image, y) = ((first_row + y) / g.ih, (first_row + y) % g.ih);
            let rows = g.covering(y, oh);
            for (x, diff_src) in diff_src.chunks_exact_mut(cs).enumerate() {
                let columns = g.covering(x, ow);
                for (step, diff_src) in diff_src.chunks_exact_mut(S::LANES).enumerate() {
                    let mut sum = simd.splat(0.0);
                    for oy in rows.clone() {
                        for ox in columns.clone() {
                            let at = ((image * oh + oy) * ow + ox) * cs + step * S::LANES;
                            sum = simd.add(sum, simd.load(&diff_dst[at..]));
                        }
                    }
                    simd.store(simd.mul(sum, scale), diff_src);
                }
            }
        }
    }
}
