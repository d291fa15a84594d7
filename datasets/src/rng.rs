//! Random streams that are pure functions of their key.
//!
//! A stream never outlives the one thing it decides, so no generator state has to be saved: any
//! sample of any epoch can be made again, by any thread, in any order.

use byteorder::{ByteOrder, LittleEndian};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// What a stream is for: streams of different purposes are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Shuffle = 1,
    Augment = 2,
    Subset = 3,
    Shapes = 4,
    Flip = 5,
    Cutout = 6,
    Cutmix = 7,
}

/// The stream of one key: ChaCha8 whose 32-byte key is the four numbers, little-endian.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    pub(crate) fn new(seed: u64, purpose: Purpose, epoch: u64, sample: u64) -> Self {
        let mut key = [0; 32];
        LittleEndian::write_u64_into(&[seed, purpose as u64, epoch, sample], &mut key);
        Self(ChaCha8Rng::from_seed(key))
    }

    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// An integer in `0..n`: the high half of `bits * n` (Lemire 2019, without the rejection, which
    /// is a bias below `n / 2^32`).
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(n)) >> 32) as u32
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.bits() >> 31 == 1
    }

    /// A number in `[low, high)`, of 24 random bits.
    pub(crate) fn uniform(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.bits() >> 8) as f32 * (1.0 / 16_777_216.0);
        low + (high - low) * unit
    }

    /// Fisher-Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_changes_the_stream() {
        let first = |seed, purpose, epoch, sample| {
            let mut stream = Stream::new(seed, purpose, epoch, sample);
            (stream.bits(), stream.bits())
        };
        let base = first(1, Purpose::Shuffle, 2, 3);
        assert_eq!(base, first(1, Purpose::Shuffle, 2, 3));
        assert_ne!(base, first(2, Purpose::Shuffle, 2, 3));
        assert_ne!(base, first(1, Purpose::Augment, 2, 3));
        assert_ne!(base, first(1, Purpose::Shuffle, 3, 3));
        assert_ne!(base, first(1, Purpose::Shuffle, 2, 4));
    }

    #[test]
    fn below_reaches_every_value_and_no_other() {
        let mut stream = Stream::new(0, Purpose::Subset, 0, 0);
        let mut seen = [0; 9];
        for _ in 0..9_000 {
            seen[stream.below(9) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        let mut items: Vec<u32> = (0..1000).collect();
        Stream::new(5, Purpose::Shuffle, 0, 0).shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
