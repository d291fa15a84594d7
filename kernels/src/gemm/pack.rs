//! Copies by vectors.

use crate::simd::Simd;

/// Copies `src` to the front of `dst` by whole vectors; both must reach to the end of the last one.
#[inline(always)]
pub(crate) fn copy_whole<S: Simd>(simd: S, src: &[f32], dst: &mut [f32]) {
    for (src, dst) in src.chunks_exact(S::LANES).zip(dst.chunks_exact_mut(S::LANES)) {
        simd.store(simd.load(src), dst);
    }
}

/// Copies `src` to the front of `dst`, followed by zeros to the end of the last vector.
#[inline(always)]
pub(crate) fn copy_padded<S: Simd>(simd: S, src: &[f32], dst: &mut [f32]) {
    let whole = src.len() / S::LANES * S::LANES;
    copy_whole(simd, &src[..whole], dst);
    if whole < src.len() {
        simd.store(simd.load_partial(&src[whole..]), &mut dst[whole..]);
    }
}
