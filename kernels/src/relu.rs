//! The rectifier, `max(x, 0)`.

use crate::Context;
use crate::dispatch::enter;
use crate::par::ELEMENTWISE_CHUNK;
use crate::simd::{Simd, SimdOp};

/// The kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    forward: fn(Forward<'_>),
    backward: fn(Backward<'_>),
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self { forward: |op| enter::<S, _>(op), backward: |op| enter::<S, _>(op) }
    }
}

/// `dst = max(src, 0)`; NaN stays NaN.
///
/// # Panics
/// If the lengths differ.
pub fn forward(cx: &Context, src: &[f32], dst: &mut [f32]) {
    assert_eq!(src.len(), dst.len(), "src and dst have one length");
    cx.threads().for_each_chunk(dst, ELEMENTWISE_CHUNK, |i, dst| {
        let src = &src[i * ELEMENTWISE_CHUNK..][..dst.len()];
        (cx.isa().relu.forward)(Forward { src, dst });
    });
}

/// `diff_src = diff_dst` where `dst`, the output of [`forward`], is positive, elsewhere 0, NaN
/// included.
///
/// # Panics
/// If the lengths differ.
pub fn backward(cx: &Context, dst: &[f32], diff_dst: &[f32], diff_src: &mut [f32]) {
    assert_eq!(dst.len(), diff_src.len(), "dst and diff_src have one length");
    assert_eq!(diff_dst.len(), diff_src.len(), "diff_dst and diff_src have one length");
    cx.threads().for_each_chunk(diff_src, ELEMENTWISE_CHUNK, |i, diff_src| {
        let dst = &dst[i * ELEMENTWISE_CHUNK..][..diff_src.len()];
        let diff_dst = &diff_dst[i * ELEMENTWISE_CHUNK..][..diff_src.len()];
        (cx.isa().relu.backward)(Backward { dst, diff_dst, diff_src });
    });
}

/// `max(x, 0)`; NaN stays NaN.
pub(crate) fn of(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

struct Forward<'a> {
    src: &'a [f32],
    dst: &'a mut [f32],
}

impl SimdOp for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let zero = simd.splat(0.0);
        let mut src = self.src.chunks_exact(S::LANES);
        let mut dst = self.dst.chunks_exact_mut(S::LANES);
        for (dst, src) in dst.by_ref().zip(src.by_ref()) {
            simd.store(simd.max(zero, simd.load(src)), dst);
        }
        let tail = simd.load_partial(src.remainder());
        simd.store_partial(simd.max(zero, tail), dst.into_remainder());
    }
}

struct Backward<'a> {
    dst: &'a [f32],
    diff_dst: &'a [f32],
    diff_src: &'a mut [f32],
}

impl SimdOp for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let mut dst = self.dst.chunks_exact(S::LANES);
        let mut diff_dst = self.diff_dst.chunks_exact(S::LANES);
        let mut diff_src = self.diff_src.chunks_exact_mut(S::LANES);
        for ((diff_src, diff_dst), dst) in
            diff_src.by_ref().zip(diff_dst.by_ref()).zip(dst.by_ref())
        {
            simd.store(simd.where_positive(simd.load(dst), simd.load(diff_dst)), diff_src);
        }
        let (dst, diff_dst) = (dst.remainder(), diff_dst.remainder());
        let tail = simd.where_positive(simd.load_partial(dst), simd.load_partial(diff_dst));
        simd.store_partial(tail, diff_src.into_remainder());
    }
}
