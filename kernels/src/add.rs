//! Element-wise addition: residual joins, and sums of gradients.

use crate::Context;
use crate::dispatch::enter;
use crate::par::ELEMENTWISE_CHUNK;
use crate::simd::{Simd, SimdOp};

/// The kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    forward: fn(Forward<'_>),
    accumulate: fn(Accumulate<'_>),
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self { forward: |op| enter::<S, _>(op), accumulate: |op| enter::<S, _>(op) }
    }
}

/// `dst = a + b`.
///
/// # Panics
/// If the lengths differ.
pub fn forward(cx: &Context, a: &[f32], b: &[f32], dst: &mut [f32]) {
    add_above(cx, f32::NEG_INFINITY, a, b, dst);
}

/// `dst = max(a + b, 0)`; NaN stays NaN.
///
/// # Panics
/// If the lengths differ.
pub fn forward_relu(cx: &Context, a: &[f32], b: &[f32], dst: &mut [f32]) {
    add_above(cx, 0.0, a, b, dst);
}

fn add_above(cx: &Context, floor: f32, a: &[f32], b: &[f32], dst: &mut [f32]) {
    assert_eq!(a.len(), dst.len(), "a and dst have one length");
    assert_eq!(b.len(), dst.len(), "b and dst have one length");
    cx.threads().for_each_chunk(dst, ELEMENTWISE_CHUNK, |i, dst| {
        let a = &a[i * ELEMENTWISE_CHUNK..][..dst.len()];
        let b = &b[i * ELEMENTWISE_CHUNK..][..dst.len()];
        (cx.isa().add.forward)(Forward { floor, a, b, dst });
    });
}

/// `dst += src`.
///
/// # Panics
/// If the lengths differ.
pub fn accumulate(cx: &Context, src: &[f32], dst: &mut [f32]) {
    accumulate_above(cx, f32::NEG_INFINITY, src, dst);
}

/// `dst = max(dst + src, 0)`; NaN stays NaN.
///
/// # Panics
/// If the lengths differ.
pub fn accumulate_relu(cx: &Context, src: &[f32], dst: &mut [f32]) {
    accumulate_above(cx, 0.0, src, dst);
}

fn accumulate_above(cx: &Context, floor: f32, src: &[f32], dst: &mut [f32]) {
    assert_eq!(src.len(), dst.len(), "src and dst have one length");
    cx.threads().for_each_chunk(dst, ELEMENTWISE_CHUNK, |i, dst| {
        let src = &src[i * ELEMENTWISE_CHUNK..][..dst.len()];
        (cx.isa().add.accumulate)(Accumulate { floor, src, dst });
    });
}

struct Forward<'a> {
    floor: f32,
    a: &'a [f32],
    b: &'a [f32],
    dst: &'a mut [f32],
}

impl SimdOp for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let mut a = self.a.chunks_exact(S::LANES);
        let mut b = self.b.chunks_exact(S::LANES);
        let mut dst = self.dst.chunks_exact_mut(S::LANES);
        let floor = simd.splat(self.floor);
        for ((dst, a), b) in dst.by_ref().zip(a.by_ref()).zip(b.by_ref()) {
            simd.store(simd.max(floor, simd.add(simd.load(a), simd.load(b))), dst);
        }
        let tail = simd.add(simd.load_partial(a.remainder()), simd.load_partial(b.remainder()));
        simd.store_partial(simd.max(floor, tail), dst.into_remainder());
    }
}

struct Accumulate<'a> {
    floor: f32,
    src: &'a [f32],
    dst: &'a mut [f32],
}

impl SimdOp for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let mut src = self.src.chunks_exact(S::LANES);
        let mut dst = self.dst.chunks_exact_mut(S::LANES);
        let floor = simd.splat(self.floor);
        for (dst, src) in dst.by_ref().zip(src.by_ref()) {
            simd.store(simd.max(floor, simd.add(simd.load(dst), simd.load(src))), dst);
        }
        let dst = dst.into_remainder();
        let tail = simd.add(simd.load_partial(dst), simd.load_partial(src.remainder()));
        simd.store_partial(simd.max(floor, tail), dst);
    }
}
