//! Every algorithm on every instruction set of this CPU, against naive loops in `f64`.

mod conv2d;
mod gemm;

use pleach_kernels::{Context, Isa};

/// Contexts of one thread, one for each instruction set that this CPU has.
fn contexts() -> Vec<Context> {
    Isa::available().map(|isa| Context::new(isa, 1)).collect()
}

/// Seeded numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1).
    fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Integers from -3 to 3: sums of their products are exact.
    fn integer(&mut self) -> f32 {
        (self.next() % 7) as f32 - 3.0
    }
}

/// The error allowed in a sum of `k` products of factors of magnitude at most 1.
fn tolerance(k: usize) -> f32 {
    (k + 2) as f32 * f32::EPSILON
}

/// Whether all floats are the same bits.
fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
