//! The vector interface that every kernel is written against, and its implementations.
//!
//! A token (a value of a type that implements [`Simd`]) proves that this CPU has the instructions:
//! the only way to get one is [`Simd::detect`]. Only the files beside this one name `std::arch`.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;

/// A vector instruction set over `f32`.
///
/// All methods are inlined into the function that [`Simd::vectorize`] enters, so kernels are
/// generic functions called below it, closures included, marked `#[inline(always)]`.
pub trait Simd: Copy + Send + Sync + 'static {
    /// A vector of [`Simd::LANES`] floats.
    type F32: Copy;
    /// The name users write.
    const NAME: &'static str;
    /// Floats in a vector: 4, 8 or 16.
    const LANES: usize;
    /// Rows of a tile of the matrix product, at most 8. Its columns are two vectors, so the
    /// accumulators, the two vectors of B and one broadcast take `2 * MR + 3` registers.
    const MR: usize;

    /// The token, if this CPU has the instructions.
    fn detect() -> Option<Self>;
    /// Runs `op` compiled for this instruction set. Enter it once, outside the loops; start threads
    /// outside it.
    fn vectorize<O: SimdOp>(self, op: O) -> O::Output;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::F32;
    /// The first `LANES` floats of `src`. Panics if there are fewer.
    fn load(self, src: &[f32]) -> Self::F32;
    /// All of `src` (at most `LANES` floats); the remaining lanes are zero.
    fn load_partial(self, src: &[f32]) -> Self::F32;
    /// Writes to the first `LANES` floats of `dst`. Panics if there are fewer.
    fn store(self, v: Self::F32, dst: &mut [f32]);
    /// Writes the first `dst.len()` lanes (at most `LANES`).
    fn store_partial(self, v: Self::F32, dst: &mut [f32]);
    /// `a * b + c`, fused where the instruction set has it.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The larger of `a` and `b`; `b` where either is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The square root.
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// `x` where `condition > 0`, elsewhere zero.
    fn where_positive(self, condition: Self::F32, x: Self::F32) -> Self::F32;
    /// `a` where `x > y`, elsewhere `b`.
    fn select_gt(self, x: Self::F32, y: Self::F32, a: Self::F32, b: Self::F32) -> Self::F32;
}

/// A computation that can be compiled for any instruction set.
pub trait SimdOp {
    /// What it returns.
    type Output;
    /// The computation. Implementations are `#[inline(always)]`, as is all that they call.
    fn eval<S: Simd>(self, simd: S) -> Self::Output;
}

/// The vector of `src` that starts at `start`; lanes beyond the end of `src` are zero.
#[inline(always)]
pub(crate) fn load_up_to<S: Simd>(simd: S, src: &[f32], start: usize) -> S::F32 {
    let rest = &src[start.min(src.len())..];
    if rest.len() >= S::LANES { simd.load(rest) } else { simd.load_partial(rest) }
}
