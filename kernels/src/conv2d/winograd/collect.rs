//! The stage from the sums of products to the gradient of the weights.

#![allow(
    clippy::needless_range_loop,
    reason = "constant ranges unroll, and keep arrays in registers"
)]

use super::gradient::Cuts;
use super::stages::By;
use super::transform::Transform;
use crate::simd::{Simd, SimdOp};

/// Transforms the sums of some output channels.
pub(crate) struct Collect<'a> {
    pub(super) cuts: &'a Cuts,
    /// `[place][input channel][output channel]`, with `Cuts::ldc` floats a row.
    pub(super) sums: &'a [f32],
    /// The first output channel, counted in `sums`.
    pub(super) column: usize,
    /// `[OC, IC, 3, 3]`, from that channel on.
    pub(super) diff_weights: &'a mut [f32],
}

/// The longest vector of any instruction set.
const MAX_LANES: usize = 16;

impl<T: Transform> SimdOp for By<Collect<'_>, T> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Collect { cuts, sums, column, diff_weights } = self.0;
        let (k, ldc, zero) = (cuts.tiling.k, cuts.ldc, simd.splat(0.0));
        for (v, filters) in diff_weights.chunks_mut(S::LANES * 9 * k).enumerate() {
            for channel in 0..k {
                let sums = &sums[channel * ldc + column + v * S::LANES..];
                let mut taps = [[zero; 3]; 3];
                for j in 0..T::PRODUCTS {
                    let mut half = [zero; 3];
                    for i in 0..T::PRODUCTS {
                        let sum = simd.load(&sums[(i * T::PRODUCTS + j) * k * ldc..]);
                        for y in 0..3 {
                            half[y] = times(simd, T::WEIGHTS[i][y], sum, half[y]);
                        }
                    }
                    for (y, x) in (0..3).flat_map(|y| [(y, 0), (y, 1), (y, 2)]) {
                        taps[y][x] = times(simd, T::WEIGHTS[j][x], half[y], taps[y][x]);
                    }
                }
                let mut lanes = [[0.0; MAX_LANES]; 9];
                for (tap, lanes) in lanes.iter_mut().enumerate() {
                    simd.store(taps[tap / 3][tap % 3], lanes);
                }
                for (lane, filter) in filters.chunks_exact_mut(9 * k).enumerate() {
                    for tap in 0..9 {
                        filter[9 * channel + tap] = lanes[tap][lane];
                    }
                }
            }
        }
    }
}

/// `weight * x + sum`, where most weights are 0 and many 1.
#[inline(always)]
fn times<S: Simd>(simd: S, weight: f64, x: S::F32, sum: S::F32) -> S::F32 {
    if weight == 0.0 {
        sum
    } else if weight == 1.0 {
        simd.add(x, sum)
    } else {
        simd.mul_add(simd.splat(weight as f32), x, sum)
    }
}
