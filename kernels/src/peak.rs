//! A loop of nothing but fused multiply-adds: the ceiling that benchmarks compare kernels with.

use crate::Context;
use crate::dispatch::enter;
use crate::simd::{Simd, SimdOp};
use std::hint::black_box;

/// Sums in flight: two units with a latency of five cycles need ten.
const CHAINS: usize = 12;

/// Runs `iterations` rounds of the loop on the calling thread, and returns the floating-point
/// operations done (two for each multiply-add of a lane). The caller holds the clock.
#[must_use]
pub fn multiply_adds(cx: &Context, iterations: u64) -> f64 {
    (cx.isa().peak.multiply_adds)(iterations);
    2.0 * iterations as f64 * (CHAINS * cx.isa().lanes) as f64
}

/// The kernels of an instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    multiply_adds: fn(u64),
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self { multiply_adds: |iterations| enter::<S, _>(MultiplyAdds { iterations }) }
    }
}

struct MultiplyAdds {
    iterations: u64,
}

impl SimdOp for MultiplyAdds {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let (a, b) = (simd.splat(black_box(0.5)), simd.splat(black_box(1.0)));
        // The fixed point of x * 0.5 + 1 is 2: neither denormal nor infinite.
        let mut sums = [simd.splat(black_box(2.0)); CHAINS];
        for _ in 0..self.iterations {
            for sum in &mut sums {
                *sum = simd.mul_add(*sum, a, b);
            }
        }
        let mut out = [0.0; 16];
        for sum in sums {
            simd.store(sum, &mut out);
            black_box(&out);
        }
    }
}
