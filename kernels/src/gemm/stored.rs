//! How packed weights are stored, and how they become vectors.

use crate::simd::Simd;
use bytemuck::{Pod, Zeroable, cast_slice};
use half::{bf16, f16};

/// How packed weights are stored. Arithmetic is in `f32` in any case: fewer bytes come from memory, and
/// weights are rounded to nearest, those beyond the largest finite number to that. Infinities and NaN stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Storage {
    /// As they are.
    #[default]
    F32,
    /// bfloat16: the range of `f32`, 8 significant bits.
    Bf16,
    /// IEEE half precision: 11 significant bits, up to 65504.
    F16,
}

impl Storage {
    /// Bytes of a weight.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Stores `src` in the first bytes of `dst`, which has room for them.
    pub(crate) fn store(self, src: &[f32], dst: &mut [f32]) {
        match self {
            Self::F32 => dst[..src.len()].copy_from_slice(src),
            Self::Bf16 | Self::F16 => {
                let dst: &mut [u16] = bytemuck::cast_slice_mut(dst);
                for (dst, &x) in dst.iter_mut().zip(src) {
                    *dst = self.halve(x);
                }
            }
        }
    }

    /// What is read again of `x` once it has been stored.
    #[must_use]
    pub fn round(self, x: f32) -> f32 {
        match self {
            Self::F32 => x,
            Self::Bf16 => bf16::from_bits(self.halve(x)).to_f32(),
            Self::F16 => f16::from_bits(self.halve(x)).to_f32(),
        }
    }

    fn halve(self, x: f32) -> u16 {
        let largest = match self {
            Self::F16 => f16::MAX.to_f32(),
            _ => bf16::MAX.to_f32(),
        };
        let x = if x.is_finite() { x.clamp(-largest, largest) } else { x };
        match self {
            Self::F16 => f16::from_f32(x).to_bits(),
            _ => bf16::from_f32(x).to_bits(),
        }
    }
}

/// Packed weights.
#[derive(Clone, Copy)]
pub(crate) enum Packed<'a> {
    F32(&'a [f32]),
    Bf16(&'a [Bf16]),
    F16(&'a [F16]),
}

impl<'a> Packed<'a> {
    /// What [`Storage::store`] wrote.
    pub(crate) fn new(floats: &'a [f32], storage: Storage) -> Self {
        match storage {
            Storage::F32 => Self::F32(floats),
            Storage::Bf16 => Self::Bf16(cast_slice(floats)),
            Storage::F16 => Self::F16(cast_slice(floats)),
        }
    }
}

/// A stored weight.
pub(crate) trait Stored: Pod {
    /// Whether panels of these are multiplied by half vectors where that is enough.
    const HALVES: bool = false;

    /// The first [`Simd::LANES`] of `src`. Panics if there are fewer.
    fn load<S: Simd>(simd: S, src: &[Self]) -> S::F32;
}

/// bfloat16.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Bf16(u16);

/// IEEE half precision.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct F16(u16);

impl Stored for f32 {
    const HALVES: bool = true;

    #[inline(always)]
    fn load<S: Simd>(simd: S, src: &[Self]) -> S::F32 {
        simd.load(src)
    }
}

impl Stored for Bf16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, src: &[Self]) -> S::F32 {
        simd.load_bf16(cast_slice(src))
    }
}

impl Stored for F16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, src: &[Self]) -> S::F32 {
        simd.load_f16(cast_slice(src))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::SimdOp;

    /// Loads each of `src` and stores it in `dst`.
    struct Widen<'a> {
        src: Packed<'a>,
        dst: &'a mut [f32],
    }

    impl SimdOp for Widen<'_> {
        type Output = ();

        #[inline(always)]
        fn eval<S: Simd>(self, simd: S) {
            for (i, dst) in self.dst.chunks_exact_mut(S::LANES).enumerate() {
                let at = i * S::LANES;
                let vector = match self.src {
                    Packed::F32(src) => f32::load(simd, &src[at..]),
                    Packed::Bf16(src) => Bf16::load(simd, &src[at..]),
                    Packed::F16(src) => F16::load(simd, &src[at..]),
                };
                simd.store(vector, dst);
            }
        }
    }

    fn check<S: Simd>() {
        let Some(simd) = S::detect() else { return };
        // Every finite half precision number.
        let halves = (0..=u16::MAX).map(f16::from_bits).filter(|x| x.is_finite());
        let mut floats: Vec<f32> = halves.map(f16::to_f32).collect();
        floats.extend((0..1000).map(|i| 1.0 + i as f32 * 1.234e-4));
        floats.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN]);
        floats.resize(floats.len().next_multiple_of(16), 0.0);
        for storage in [Storage::F32, Storage::Bf16, Storage::F16] {
            let mut stored = vec![0.0; floats.len() * storage.bytes() / 4];
            storage.store(&floats, &mut stored);
            let mut found = vec![f32::NAN; floats.len()];
            simd.vectorize(Widen { src: Packed::new(&stored, storage), dst: &mut found });
            for (&x, &y) in floats.iter().zip(&found) {
                let expected = storage.round(x);
                let same = y.to_bits() == expected.to_bits() || y.is_nan() && expected.is_nan();
                assert!(same, "{x} as {storage:?} on {}: {y}, not {expected}", S::NAME);
                assert!(x.is_finite() || x.to_string() == y.to_string(), "{x} is {y}");
            }
        }
    }

    #[test]
    fn stored_weights_are_read_as_they_were_rounded() {
        #[cfg(target_arch = "x86_64")]
        check::<crate::simd::avx512::Avx512>();
        #[cfg(target_arch = "x86_64")]
        check::<crate::simd::avx2::Avx2>();
        #[cfg(target_arch = "aarch64")]
        check::<crate::simd::neon::Neon>();
        check::<crate::simd::portable::Portable<4>>();
        check::<crate::simd::portable::Portable<16>>();
    }

    #[test]
    fn rounding_is_to_nearest_and_stays_finite() {
        for i in -2000..2000 {
            let x = i as f32 * 0.37;
            assert!((Storage::Bf16.round(x) - x).abs() <= x.abs() / 256.0);
            assert!((Storage::F16.round(x) - x).abs() <= x.abs() / 2048.0);
        }
        assert_eq!(Storage::F16.round(1e6), 65504.0);
        assert_eq!(Storage::F16.round(-1e6), -65504.0);
        assert_eq!(Storage::Bf16.round(f32::MAX), bf16::MAX.to_f32());
        assert_eq!(Storage::Bf16.round(f32::MIN), bf16::MIN.to_f32());
    }
}
