//! Random numbers as a pure function of their key.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// What a stream of random numbers is for, so that no two uses share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial values of parameters; sub-keys: parameter index, 0.
    Init = 1,
    /// Dropout masks; sub-keys: step, node index.
    Dropout = 2,
    /// Random scores of filters; sub-keys: step, group.
    Criterion = 3,
    /// Order of measurements and bootstrap resampling; sub-keys are the caller's.
    Measurement = 4,
    /// Seeds of fine-tunings; sub-keys: number in the run, 0.
    FineTuning = 6,
    /// Tests and examples; sub-keys are the caller's.
    Test = 5,
}

/// A stream of random numbers: ChaCha8 keyed by seed, purpose and two sub-keys. No state needs to be
/// saved to continue a run, and no order of calls matters.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream of this key.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose, a: u64, b: u64) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, a, b]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform over all 64-bit integers.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `0..n` (multiply and shift; the bias, below 2^-32 for `n` below 2^32, is ignored).
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "an empty range has no random member");
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Box and Muller 1958, the cosine half), by `libm` so that it is the same
    /// number on every platform.
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// Shuffles `items` (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of an independent ChaCha8, in Python:
    ///
    /// ```python
    /// import math, struct
    /// def block(key, counter):
    ///     x = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key)) + [counter, 0, 0, 0]
    ///     start = x[:]
    ///     def step(a, b, d, by):
    ///         x[a] = x[a] + x[b] & 0xffffffff
    ///         x[d] = ((x[d] ^ x[a]) << by | (x[d] ^ x[a]) >> 32 - by) & 0xffffffff
    ///     for _ in range(4):
    ///         for a, b, c, d in [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    ///                            (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]:
    ///             step(a, b, d, 16); step(c, d, b, 12); step(a, b, d, 8); step(c, d, b, 7)
    ///     return struct.pack("<16I", *[a + b & 0xffffffff for a, b in zip(x, start)])
    /// def stream(*key):
    ///     for counter in range(1 << 32):
    ///         yield from struct.unpack("<8Q", block(struct.pack("<4Q", *key), counter))
    /// def uniform(s): return (next(s) >> 11) * 2.0**-53
    /// def normal(s): return math.sqrt(-2 * math.log(1 - uniform(s))) * math.cos(math.tau * uniform(s))
    /// s = stream(42, 1, 0, 0); print([hex(next(s)) for _ in range(4)])
    /// s = stream(42, 1, 0, 0); print([normal(s) for _ in range(4)])
    /// print([hex(next(stream(42, purpose, 7, 9))) for purpose in range(2, 7)])
    /// ```
    #[test]
    fn streams_are_the_same_numbers_always() {
        let stream = || Rng::new(42, Purpose::Init, 0, 0);
        let mut bits = stream();
        assert_eq!(
            [(); 4].map(|()| bits.next_u64()),
            [
                0x863c_3e57_9d0b_fc81,
                0x26b2_7755_c507_e6e4,
                0x7fb4_c377_eab4_97d7,
                0xd862_fef0_dcec_054e
            ]
        );
        let mut normals = stream();
        assert_eq!(
            [(); 4].map(|()| normals.normal()),
            [0.7093500957941644, 0.6622975793837563, 1.9141193897341087, 0.3442584194498413]
        );
        for (purpose, first) in [
            (Purpose::Dropout, 0x0f3f_0fc7_97bc_bb2b),
            (Purpose::Criterion, 0x52f5_54e3_3d77_f689),
            (Purpose::Measurement, 0xbb39_6ba7_98c9_72d1),
            (Purpose::Test, 0x53f7_a57d_2039_48f4),
            (Purpose::FineTuning, 0xe1f4_debc_044b_09ce),
        ] {
            assert_eq!(Rng::new(42, purpose, 7, 9).next_u64(), first, "{purpose:?}");
        }
    }

    /// ```python
    /// s, items = stream(42, 5, 1, 2), list(range(12))
    /// for i in range(11, 0, -1):
    ///     j = next(s) * (i + 1) >> 64
    ///     items[i], items[j] = items[j], items[i]
    /// ```
    #[test]
    fn a_shuffle_is_the_same_order_always() {
        let mut items: Vec<u32> = (0..12).collect();
        Rng::new(42, Purpose::Test, 1, 2).shuffle(&mut items);
        assert_eq!(items, [6, 5, 10, 2, 9, 1, 0, 7, 8, 4, 3, 11]);
    }
}
