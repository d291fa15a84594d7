//! Plain Rust, for every CPU.

use super::{Simd, SimdOp};

/// The token of the portable instruction set: vectors are arrays of four floats, and `mul_add` is a
/// multiplication and an addition, since a fused one is a library call where the CPU lacks it.
#[derive(Clone, Copy, Debug)]
pub struct Portable(());

type F32x4 = [f32; 4];

#[inline(always)]
fn zip(a: F32x4, b: F32x4, f: impl Fn(f32, f32) -> f32) -> F32x4 {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Simd for Portable {
    type F32 = F32x4;
    const NAME: &'static str = "portable";
    const LANES: usize = 4;
    const MR: usize = 4;

    fn detect() -> Option<Self> {
        Some(Self(()))
    }

    fn vectorize<O: SimdOp>(self, op: O) -> O::Output {
        op.eval(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> F32x4 {
        [x; 4]
    }

    #[inline(always)]
    fn load(self, src: &[f32]) -> F32x4 {
        [src[0], src[1], src[2], src[3]]
    }

    #[inline(always)]
    fn load_partial(self, src: &[f32]) -> F32x4 {
        let mut v = [0.0; 4];
        v[..src.len()].copy_from_slice(src);
        v
    }

    #[inline(always)]
    fn store(self, v: F32x4, dst: &mut [f32]) {
        dst[..4].copy_from_slice(&v);
    }

    #[inline(always)]
    fn store_partial(self, v: F32x4, dst: &mut [f32]) {
        dst.copy_from_slice(&v[..dst.len()]);
    }

    #[inline(always)]
    fn mul_add(self, a: F32x4, b: F32x4, c: F32x4) -> F32x4 {
        zip(zip(a, b, |x, y| x * y), c, |x, y| x + y)
    }

    #[inline(always)]
    fn add(self, a: F32x4, b: F32x4) -> F32x4 {
        zip(a, b, |x, y| x + y)
    }

    #[inline(always)]
    fn sub(self, a: F32x4, b: F32x4) -> F32x4 {
        zip(a, b, |x, y| x - y)
    }

    #[inline(always)]
    fn mul(self, a: F32x4, b: F32x4) -> F32x4 {
        zip(a, b, |x, y| x * y)
    }

    #[inline(always)]
    fn div(self, a: F32x4, b: F32x4) -> F32x4 {
        zip(a, b, |x, y| x / y)
    }

    #[inline(always)]
    fn max(self, a: F32x4, b: F32x4) -> F32x4 {
        zip(a, b, |x, y| if x > y { x } else { y })
    }

    #[inline(always)]
    fn sqrt(self, a: F32x4) -> F32x4 {
        a.map(f32::sqrt)
    }

    #[inline(always)]
    fn where_positive(self, condition: F32x4, x: F32x4) -> F32x4 {
        zip(condition, x, |c, x| if c > 0.0 { x } else { 0.0 })
    }

    #[inline(always)]
    fn select_gt(self, x: F32x4, y: F32x4, a: F32x4, b: F32x4) -> F32x4 {
        let mut out = b;
        for i in 0..4 {
            if x[i] > y[i] {
                out[i] = a[i];
            }
        }
        out
    }
}
