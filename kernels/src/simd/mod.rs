//! The vector interface that every kernel is written against, and its implementations.
//!
//! A token (a value of a type that implements [`Simd`]) proves that this CPU has the instructions:
//! the only way to get one is [`Simd::detect`]. Only the files beside this one name `std::arch`.
//!
//! A kernel is a [`SimdOp`], written once for every token:
//!
//! ```
//! use pleach_kernels::simd::portable::Portable;
//! use pleach_kernels::simd::{Simd, SimdOp};
//!
//! /// `dst += src`, over whole vectors.
//! struct Accumulate<'a> {
//!     src: &'a [f32],
//!     dst: &'a mut [f32],
//! }
//!
//! impl SimdOp for Accumulate<'_> {
//!     type Output = ();
//!
//!     #[inline(always)]
//!     fn eval<S: Simd>(self, simd: S) {
//!         let one = simd.splat(1.0);
//!         for (dst, src) in
//!             self.dst.chunks_exact_mut(S::LANES).zip(self.src.chunks_exact(S::LANES))
//!         {
//!             let sum = simd.mul_add(simd.load(src), one, simd.load(dst));
//!             simd.store(sum, dst);
//!         }
//!     }
//! }
//!
//! let (src, mut dst) = ([2.0; 32], [1.0; 32]);
//! let simd = Portable::<16>::detect().expect("it runs on every CPU");
//! simd.vectorize(Accumulate { src: &src, dst: &mut dst });
//! assert_eq!(dst, [3.0; 32]);
//! ```
//!
//! A new instruction set is therefore one file here: a token that only its `detect` can make, its vector type
//! and the methods of [`Simd`] without a default, each a line or two of intrinsics; [`portable`] is the shortest
//! example. With its `mod` line here and its row in [`ISAS`](crate::dispatch::ISAS) every kernel is compiled
//! for it, `Context` finds it, users name it by `--isa`, and the tests compare all its kernels with the
//! reference.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;

/// The most lanes of any instruction set.
pub(crate) const MAX_LANES: usize = 16;

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
    /// Whether [`Simd::mul_add_low`] computes half a vector, which some CPUs do in half the time.
    const HALVES: bool = false;
    /// What share longer each further row of a tile makes the wait for weights that are in no cache: a core looks
    /// ahead by instructions, of which there are more between the weights the more rows there are. Measured;
    /// none where it is not.
    const FETCH_PER_ROW: f64 = 0.0;

    /// The token, if this CPU has the instructions.
    fn detect() -> Option<Self>;
    /// Runs `op` compiled for this instruction set. Enter it once, outside the loops; start threads
    /// outside it.
    fn vectorize<O: SimdOp>(self, op: O) -> O::Output;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::F32;
    /// The first `LANES` floats of `src`. Panics if there are fewer.
    fn load(self, src: &[f32]) -> Self::F32;
    /// The first `LANES` of `src`, which are the upper halves of floats (bfloat16). Panics if there are
    /// fewer.
    #[inline(always)]
    fn load_bf16(self, src: &[u16]) -> Self::F32 {
        let mut floats = [0.0; MAX_LANES];
        for (float, &half) in floats[..Self::LANES].iter_mut().zip(&src[..Self::LANES]) {
            *float = f32::from_bits(u32::from(half) << 16);
        }
        self.load(&floats)
    }
    /// The first `LANES` of `src`, which are numbers in IEEE half precision. Panics if there are fewer.
    #[inline(always)]
    fn load_f16(self, src: &[u16]) -> Self::F32 {
        let mut floats = [0.0; MAX_LANES];
        for (float, &half) in floats[..Self::LANES].iter_mut().zip(&src[..Self::LANES]) {
            // The exponent's bias is 127 - 15 too small; the product is exact, for subnormals too.
            let magnitude =
                f32::from_bits(u32::from(half & 0x7fff) << 13) * f32::from_bits(239 << 23);
            // Beyond what is finite in half precision: infinite or NaN.
            let exponent = if magnitude < 65536.0 { 0 } else { 0x7f80_0000 };
            let sign = u32::from(half & 0x8000) << 16;
            *float = f32::from_bits(magnitude.to_bits() | exponent | sign);
        }
        self.load(&floats)
    }
    /// All of `src` (at most `LANES` floats); the remaining lanes are zero.
    fn load_partial(self, src: &[f32]) -> Self::F32;
    /// Writes to the first `LANES` floats of `dst`. Panics if there are fewer.
    fn store(self, v: Self::F32, dst: &mut [f32]);
    /// Writes the first `dst.len()` lanes (at most `LANES`).
    fn store_partial(self, v: Self::F32, dst: &mut [f32]);
    /// Asks for the cache line of float `i` of `src`, which need not exist, to be brought nearer: a hint.
    #[inline(always)]
    fn prefetch(self, src: &[f32], i: usize) {
        let _ = (src, i);
    }
    /// Asks for the cache line of float `i` of `dst`, which need not exist, to be made ready for writing: a
    /// hint.
    #[inline(always)]
    fn prefetch_write(self, dst: &[f32], i: usize) {
        let _ = (dst, i);
    }
    /// `count` vectors of `src`, the next `stride` floats after the last; the rest of the array is
    /// zeros. Panics if one does not lie in `src`, or if there are more than `N`.
    #[inline(always)]
    fn load_strided<const N: usize>(
        self,
        src: &[f32],
        stride: usize,
        count: usize,
    ) -> [Self::F32; N] {
        let mut vectors = [self.splat(0.0); N];
        for (i, vector) in vectors[..count].iter_mut().enumerate() {
            *vector = self.load(&src[i * stride..]);
        }
        vectors
    }
    /// Writes the first `count` of `vectors`, the next `stride` floats after the last. Panics if one
    /// does not lie in `dst`.
    #[inline(always)]
    fn store_strided<const N: usize>(
        self,
        vectors: [Self::F32; N],
        dst: &mut [f32],
        stride: usize,
        count: usize,
    ) {
        for (i, vector) in vectors[..count].iter().enumerate() {
            self.store(*vector, &mut dst[i * stride..]);
        }
    }
    /// `a * b + c`, fused where the instruction set has it.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `a * b + c` in the lower half of the lanes; the upper half is `c` if `a` is finite and `b` zero
    /// there, or zero.
    #[inline(always)]
    fn mul_add_low(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        self.mul_add(a, b, c)
    }
    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The larger of `a` and `b`; `b` where they are equal or either is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The larger of `a` and `b`, `b` of equal ones; NaN where either is.
    fn max_or_nan(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The square root.
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// `x` where `condition > 0`, elsewhere zero.
    fn where_positive(self, condition: Self::F32, x: Self::F32) -> Self::F32;
    /// `a` where `x > y`, elsewhere `b`.
    fn select_gt(self, x: Self::F32, y: Self::F32, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Lanes of `x` where the first `LANES` of `bytes` are `byte`, elsewhere zero. Panics if there are
    /// fewer.
    #[inline(always)]
    fn where_byte(self, bytes: &[u8], byte: u8, x: Self::F32) -> Self::F32 {
        let mut floats = [0.0; MAX_LANES];
        self.store(x, &mut floats);
        for (float, &other) in floats[..Self::LANES].iter_mut().zip(&bytes[..Self::LANES]) {
            // A mask of all ones or zeros keeps this a vector operation.
            let mask = -i32::from(other == byte);
            *float = f32::from_bits(float.to_bits() & mask as u32);
        }
        self.load(&floats)
    }
    /// Writes lanes that are whole numbers from 0 to 127 to the first `LANES` of `bytes`. Panics if
    /// there are fewer.
    #[inline(always)]
    fn store_bytes(self, v: Self::F32, bytes: &mut [u8]) {
        let mut floats = [0.0; MAX_LANES];
        self.store(v, &mut floats);
        for (&float, byte) in floats[..Self::LANES].iter().zip(&mut bytes[..Self::LANES]) {
            *byte = float as u8;
        }
    }
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

/// Where the last of `count` vectors of `lanes` floats, at distance `stride`, starts; it is checked that
/// all lie in `len` floats, and that there are at most `most`.
#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "for unchecked loads"))]
fn last_start(len: usize, lanes: usize, stride: usize, count: usize, most: usize) -> Option<usize> {
    assert!(count <= most, "{count} vectors, more than {most}");
    let last = count.checked_sub(1)?.checked_mul(stride).expect("a distance within memory");
    assert!(len >= lanes && last <= len - lanes, "{count} vectors {stride} apart, in {len} floats");
    Some(last)
}

#[cfg(test)]
mod tests;
