//! Plain Rust, for every CPU.

use super::{Simd, SimdOp};

/// The token of the portable instruction set: vectors are arrays of `N` floats, and `mul_add` is a
/// multiplication and an addition, since a fused one is a library call where the CPU lacks it.
///
/// Sixteen floats have the tile of AVX-512, so that tests walk the paths of its kernels on any CPU.
#[derive(Clone, Copy, Debug)]
pub struct Portable<const N: usize = 4>(());

#[inline(always)]
fn zip<const N: usize>(a: [f32; N], b: [f32; N], f: impl Fn(f32, f32) -> f32) -> [f32; N] {
    let mut out = [0.0; N];
    for i in 0..N {
        out[i] = f(a[i], b[i]);
    }
    out
}

impl<const N: usize> Simd for Portable<N> {
    type F32 = [f32; N];
    const NAME: &'static str = if N == 4 { "portable" } else { "portable, wide" };
    const LANES: usize = N;
    const MR: usize = if N == 4 { 4 } else { 8 };
    const HALVES: bool = N == 16;

    fn detect() -> Option<Self> {
        Some(Self(()))
    }

    fn vectorize<O: SimdOp>(self, op: O) -> O::Output {
        op.eval(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; N] {
        [x; N]
    }

    #[inline(always)]
    fn load(self, src: &[f32]) -> [f32; N] {
        *src.first_chunk().expect("a vector of floats")
    }

    #[inline(always)]
    fn load_partial(self, src: &[f32]) -> [f32; N] {
        let mut v = [0.0; N];
        v[..src.len()].copy_from_slice(src);
        v
    }

    #[inline(always)]
    fn store(self, v: [f32; N], dst: &mut [f32]) {
        dst[..N].copy_from_slice(&v);
    }

    #[inline(always)]
    fn store_partial(self, v: [f32; N], dst: &mut [f32]) {
        dst.copy_from_slice(&v[..dst.len()]);
    }

    #[inline(always)]
    fn mul_add(self, a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        zip(zip(a, b, |x, y| x * y), c, |x, y| x + y)
    }

    #[inline(always)]
    fn mul_add_low(self, a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        let mut sums = self.mul_add(a, b, c);
        if Self::HALVES {
            sums[N / 2..].fill(0.0);
        }
        sums
    }

    #[inline(always)]
    fn add(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |x, y| x + y)
    }

    #[inline(always)]
    fn sub(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |x, y| x - y)
    }

    #[inline(always)]
    fn mul(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |x, y| x * y)
    }

    #[inline(always)]
    fn div(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |x, y| x / y)
    }

    #[inline(always)]
    fn max(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |x, y| if x > y { x } else { y })
    }

    #[inline(always)]
    fn max_or_nan(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        zip(a, b, |x, y| if x > y || x.is_nan() { x } else { y })
    }

    #[inline(always)]
    fn sqrt(self, a: [f32; N]) -> [f32; N] {
        a.map(f32::sqrt)
    }

    #[inline(always)]
    fn where_positive(self, condition: [f32; N], x: [f32; N]) -> [f32; N] {
        zip(condition, x, |c, x| if c > 0.0 { x } else { 0.0 })
    }

    #[inline(always)]
    fn select_gt(self, x: [f32; N], y: [f32; N], a: [f32; N], b: [f32; N]) -> [f32; N] {
        let mut out = b;
        for i in 0..N {
            if x[i] > y[i] {
                out[i] = a[i];
            }
        }
        out
    }
}
