//! AVX-512F: sixteen floats.
#![expect(unsafe_code, reason = "std::arch intrinsics and unaligned loads and stores")]

use super::{Simd, SimdOp, last_start};
use std::arch::x86_64::*;

/// The token of AVX-512F. A value exists only after [`Simd::detect`] found it, which is what makes
/// every intrinsic below sound to execute.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

/// The first `n` of sixteen lanes.
#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    assert!(n <= 16, "{n} floats in a vector of sixteen");
    ((1u32 << n) - 1) as __mmask16
}

impl Simd for Avx512 {
    type F32 = __m512;
    const NAME: &'static str = "avx512";
    const LANES: usize = 16;
    const MR: usize = 8;
    const HALVES: bool = true;

    fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }

    #[inline]
    fn vectorize<O: SimdOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "avx512f")]
        fn enter<O: SimdOp>(simd: Avx512, op: O) -> O::Output {
            op.eval(simd)
        }
        // SAFETY: the token proves that this CPU has AVX-512F.
        unsafe { enter(self, op) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, src: &[f32]) -> __m512 {
        let src = &src[..16];
        // SAFETY: `src` has sixteen readable floats; the token proves AVX-512F.
        unsafe { _mm512_loadu_ps(src.as_ptr()) }
    }

    #[inline(always)]
    fn load_bf16(self, src: &[u16]) -> __m512 {
        let src = &src[..16];
        // SAFETY: `src` has sixteen readable halves; the token proves AVX-512F.
        unsafe {
            let halves = _mm256_loadu_si256(src.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        }
    }

    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> __m512 {
        let src = &src[..16];
        // SAFETY: `src` has sixteen readable halves; the token proves AVX-512F.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(src.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_partial(self, src: &[f32]) -> __m512 {
        let mask = mask(src.len());
        // SAFETY: masked-off lanes are not read, the others lie in `src` (`mask` panics beyond
        // sixteen); the token proves AVX-512F.
        unsafe { _mm512_maskz_loadu_ps(mask, src.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, v: __m512, dst: &mut [f32]) {
        let dst = &mut dst[..16];
        // SAFETY: `dst` has sixteen writable floats; the token proves AVX-512F.
        unsafe { _mm512_storeu_ps(dst.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn store_partial(self, v: __m512, dst: &mut [f32]) {
        let mask = mask(dst.len());
        // SAFETY: masked-off lanes are not written, the others lie in `dst` (`mask` panics beyond
        // sixteen); the token proves AVX-512F.
        unsafe { _mm512_mask_storeu_ps(dst.as_mut_ptr(), mask, v) }
    }

    #[inline(always)]
    fn prefetch(self, src: &[f32], i: usize) {
        // SAFETY: a prefetch reads nothing, wherever it points; every x86-64 CPU has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(src.as_ptr().wrapping_add(i).cast()) }
    }

    #[inline(always)]
    fn prefetch_write(self, dst: &[f32], i: usize) {
        // SAFETY: a prefetch writes nothing, wherever it points, and CPUs that do not know this one
        // ignore it.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(dst.as_ptr().wrapping_add(i).cast()) }
    }

    #[inline(always)]
    fn load_strided<const N: usize>(
        self,
        src: &[f32],
        stride: usize,
        count: usize,
    ) -> [Self::F32; N] {
        let mut vectors = [self.splat(0.0); N];
        if last_start(src.len(), Self::LANES, stride, count, N).is_some() {
            for (i, vector) in vectors[..count].iter_mut().enumerate() {
                // SAFETY: `i * stride` is at most the last start, after which `src` has sixteen
                // readable floats; the token proves AVX-512F.
                *vector = unsafe { _mm512_loadu_ps(src.as_ptr().add(i * stride)) };
            }
        }
        vectors
    }

    #[inline(always)]
    fn store_strided<const N: usize>(
        self,
        vectors: [Self::F32; N],
        dst: &mut [f32],
        stride: usize,
        count: usize,
    ) {
        if last_start(dst.len(), Self::LANES, stride, count, N).is_some() {
            for (i, vector) in vectors[..count].iter().enumerate() {
                // SAFETY: `i * stride` is at most the last start, after which `dst` has sixteen
                // writable floats; the token proves AVX-512F.
                unsafe { _mm512_storeu_ps(dst.as_mut_ptr().add(i * stride), *vector) }
            }
        }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn mul_add_low(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        let low = |v: __m512| {
            // SAFETY: the token proves AVX-512F.
            unsafe { _mm512_castps512_ps256(v) }
        };
        // SAFETY: the token proves AVX-512F, with which every CPU has FMA and AVX2.
        unsafe { _mm512_zextps256_ps512(_mm256_fmadd_ps(low(a), low(b), low(c))) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn max_or_nan(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
            _mm512_mask_mov_ps(_mm512_max_ps(a, b), nan, a)
        }
    }

    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_sqrt_ps(a) }
    }

    #[inline(always)]
    fn where_positive(self, condition: __m512, x: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(condition, _mm512_setzero_ps());
            _mm512_maskz_mov_ps(positive, x)
        }
    }

    #[inline(always)]
    fn select_gt(self, x: __m512, y: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, y), b, a) }
    }

    #[inline(always)]
    fn where_byte(self, bytes: &[u8], byte: u8, x: __m512) -> __m512 {
        let bytes = &bytes[..16];
        // SAFETY: there are sixteen readable bytes; the token proves AVX-512F.
        unsafe {
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            let same = _mm512_cmpeq_epi32_mask(bytes, _mm512_set1_epi32(i32::from(byte)));
            _mm512_maskz_mov_ps(same, x)
        }
    }

    #[inline(always)]
    fn store_bytes(self, v: __m512, bytes: &mut [u8]) {
        let bytes = &mut bytes[..16];
        // SAFETY: there are sixteen writable bytes; the token proves AVX-512F.
        unsafe {
            let v = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
            _mm_storeu_si128(bytes.as_mut_ptr().cast(), v);
        }
    }
}
