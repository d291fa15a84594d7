//! NEON: four floats.
#![expect(unsafe_code, reason = "std::arch intrinsics, loads and stores")]

use super::{Simd, SimdOp};
use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

/// The token of NEON. A value exists only after [`Simd::detect`] found it, which is what makes every
/// intrinsic below sound to execute.
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

impl Simd for Neon {
    type F32 = float32x4_t;
    const NAME: &'static str = "neon";
    const LANES: usize = 4;
    const MR: usize = 8;

    fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    #[inline]
    fn vectorize<O: SimdOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "neon")]
        fn enter<O: SimdOp>(simd: Neon, op: O) -> O::Output {
            op.eval(simd)
        }
        // SAFETY: the token proves that this CPU has NEON.
        unsafe { enter(self, op) }
    }

    #[inline(always)]
    fn load(self, src: &[f32]) -> float32x4_t {
        let src = &src[..4];
        // SAFETY: `src` has four readable floats; the token proves NEON.
        unsafe { vld1q_f32(src.as_ptr()) }
    }

    #[inline(always)]
    fn load_partial(self, src: &[f32]) -> float32x4_t {
        let mut lanes = [0.0; 4];
        lanes[..src.len()].copy_from_slice(src);
        self.load(&lanes)
    }

    #[inline(always)]
    fn store(self, v: float32x4_t, dst: &mut [f32]) {
        let dst = &mut dst[..4];
        // SAFETY: `dst` has four writable floats; the token proves NEON.
        unsafe { vst1q_f32(dst.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn store_partial(self, v: float32x4_t, dst: &mut [f32]) {
        let mut lanes = [0.0; 4];
        self.store(v, &mut lanes);
        dst.copy_from_slice(&lanes[..dst.len()]);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vdivq_f32(a, b) }
    }

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        self.select_gt(a, b, a, b)
    }

    #[inline(always)]
    fn max_or_nan(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe {
            let number = vceqq_f32(a, a);
            vbslq_f32(vorrq_u32(vcgtq_f32(a, b), vmvnq_u32(number)), a, b)
        }
    }

    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vsqrtq_f32(a) }
    }

    #[inline(always)]
    fn where_positive(self, condition: float32x4_t, x: float32x4_t) -> float32x4_t {
        let zero = self.splat(0.0);
        self.select_gt(condition, zero, x, zero)
    }

    #[inline(always)]
    fn select_gt(
        self,
        x: float32x4_t,
        y: float32x4_t,
        a: float32x4_t,
        b: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vbslq_f32(vcgtq_f32(x, y), a, b) }
    }
}
