//! A loop of nothing but fused multiply-adds: the ceiling that benchmarks compare kernels with.

use crate::Context;
use crate::dispatch::enter;
use crate::simd::{Simd, SimdOp};
use std::hint::black_box;

/// Sums in flight: two units with a latency of five cycles need ten.
const CHAINS: usize = 12;

/// Runs `iterations` rounds of the loop on each thread of `cx` at once, and returns the floating-point
/// operations of all of them (two for each multiply-add of a lane). The caller holds the clock, on several threads in
/// a [`region`](crate::Threads::region) that has run something before: a thread that has yet to wake up leaves its
/// loop to another.
#[must_use]
pub fn multiply_adds(cx: &Context, iterations: u64) -> f64 {
    let run = cx.isa().peak.multiply_adds;
    let mut loops = vec![(); cx.threads().count()];
    cx.threads().for_each_chunk(&mut loops, 1, |_, _| run(iterations));
    2.0 * iterations as f64 * (loops.len() * CHAINS * cx.isa().lanes) as f64
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn every_thread_does_as_many_operations_as_one_alone() {
        let isa = Isa::from_env().unwrap();
        let [one, three] = [1, 3].map(|threads| multiply_adds(&Context::new(isa, threads), 10));
        assert_eq!(one, (2 * 10 * CHAINS * isa.lanes) as f64);
        assert_eq!(three, 3.0 * one);
    }
}
