//! AVX2 with FMA and F16C: eight floats.
#![expect(unsafe_code, reason = "std::arch intrinsics and unaligned loads and stores")]

use super::{Simd, SimdOp, last_start};
use std::arch::x86_64::*;

/// The token of AVX2 with FMA. A value exists only after [`Simd::detect`] found them, which is what
/// makes every intrinsic below sound to execute.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// The first `n` of eight lanes are `MASKS[8 - n..]`.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
fn mask(n: usize) -> __m256i {
    let lanes = &MASKS[8 - n..][..8];
    // SAFETY: `lanes` has eight readable i32; the token in every caller proves AVX.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

impl Simd for Avx2 {
    type F32 = __m256;
    const NAME: &'static str = "avx2";
    const LANES: usize = 8;
    const MR: usize = 6;
    const FETCH_PER_ROW: f64 = 0.2;

    fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        found.then_some(Self(()))
    }

    #[inline]
    fn vectorize<O: SimdOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn enter<O: SimdOp>(simd: Avx2, op: O) -> O::Output {
            op.eval(simd)
        }
        // SAFETY: the token proves that this CPU has AVX2 and FMA.
        unsafe { enter(self, op) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, src: &[f32]) -> __m256 {
        let src = &src[..8];
        // SAFETY: `src` has eight readable floats; the token proves AVX.
        unsafe { _mm256_loadu_ps(src.as_ptr()) }
    }

    #[inline(always)]
    fn load_bf16(self, src: &[u16]) -> __m256 {
        let src = &src[..8];
        // SAFETY: `src` has eight readable halves; the token proves AVX2.
        unsafe {
            let halves = _mm_loadu_si128(src.as_ptr().cast());
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
        }
    }

    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> __m256 {
        let src = &src[..8];
        // SAFETY: `src` has eight readable halves; the token proves F16C.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(src.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_partial(self, src: &[f32]) -> __m256 {
        let mask = mask(src.len());
        // SAFETY: masked-off lanes are not read, the others lie in `src` (`mask` panics beyond
        // eight); the token proves AVX.
        unsafe { _mm256_maskload_ps(src.as_ptr(), mask) }
    }

    #[inline(always)]
    fn store(self, v: __m256, dst: &mut [f32]) {
        let dst = &mut dst[..8];
        // SAFETY: `dst` has eight writable floats; the token proves AVX.
        unsafe { _mm256_storeu_ps(dst.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn store_partial(self, v: __m256, dst: &mut [f32]) {
        let mask = mask(dst.len());
        // SAFETY: masked-off lanes are not written, the others lie in `dst` (`mask` panics beyond
        // eight); the token proves AVX.
        unsafe { _mm256_maskstore_ps(dst.as_mut_ptr(), mask, v) }
    }

    #[inline(always)]
    fn prefetch(self, src: &[f32], i: usize) {
        // SAFETY: a prefetch reads nothing, wherever it points; every x86-64 CPU has it.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(src.as_ptr().wrapping_add(i).cast()) }
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
                // SAFETY: `i * stride` is at most the last start, after which `src` has eight
                // readable floats; the token proves AVX.
                *vector = unsafe { _mm256_loadu_ps(src.as_ptr().add(i * stride)) };
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
                // SAFETY: `i * stride` is at most the last start, after which `dst` has eight
                // writable floats; the token proves AVX.
                unsafe { _mm256_storeu_ps(dst.as_mut_ptr().add(i * stride), *vector) }
            }
        }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn max_or_nan(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe {
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a);
            _mm256_blendv_ps(_mm256_max_ps(a, b), a, nan)
        }
    }

    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_sqrt_ps(a) }
    }

    #[inline(always)]
    fn where_positive(self, condition: __m256, x: __m256) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_and_ps(x, _mm256_cmp_ps::<_CMP_GT_OQ>(condition, _mm256_setzero_ps())) }
    }

    #[inline(always)]
    fn select_gt(self, x: __m256, y: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_blendv_ps(b, a, _mm256_cmp_ps::<_CMP_GT_OQ>(x, y)) }
    }

    #[inline(always)]
    fn where_byte(self, bytes: &[u8], byte: u8, x: __m256) -> __m256 {
        let bytes = &bytes[..8];
        // SAFETY: there are eight readable bytes; the token proves AVX2.
        unsafe {
            let bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes.as_ptr().cast()));
            let same = _mm256_cmpeq_epi32(bytes, _mm256_set1_epi32(i32::from(byte)));
            _mm256_and_ps(_mm256_castsi256_ps(same), x)
        }
    }

    #[inline(always)]
    fn store_bytes(self, v: __m256, bytes: &mut [u8]) {
        let bytes = &mut bytes[..8];
        // SAFETY: there are eight writable bytes; the token proves AVX2.
        unsafe {
            let v = _mm256_cvtps_epi32(v);
            let (low, high) = (_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
            let v = _mm_packs_epi32(low, high);
            _mm_storel_epi64(bytes.as_mut_ptr().cast(), _mm_packus_epi16(v, v));
        }
    }
}
