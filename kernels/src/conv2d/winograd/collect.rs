//! The stage from the sums of products to the gradient of the weights.

#![allow(
    clippy::needless_range_loop,
    reason = "constant ranges unroll, and keep arrays in registers"
)]

use super::gradient::Cuts;
use super::stages::By;
use super::transform::Transform;
use crate::simd::{MAX_LANES, Simd, SimdOp};

/// Transforms the sums of some output channels.
pub(crate) struct Collect<'a> {
    pub(super) cuts: &'a Cuts,
    /// `[place][input channel][output channel]`, with `Cuts::ldc` floats a row and `Cuts::sums_place` a place.
    pub(super) sums: &'a [f32],
    /// The first output channel, counted in `sums`.
    pub(super) column: usize,
    /// `[OC, IC, 3, 3]`, from that channel on.
    pub(super) diff_weights: &'a mut [f32],
}

/// Input channels that are transposed together.
const BLOCK: usize = 8;

/// Input channels ahead whose sums are fetched.
const AHEAD: usize = 2;

impl<T: Transform<SIDE>, const SIDE: usize> SimdOp for By<Collect<'_>, T, SIDE> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Collect { cuts, sums, column, diff_weights } = self.0;
        let (k, place, zero) = (cuts.tiling.k, cuts.sums_place(), simd.splat(0.0));
        for (v, filters) in diff_weights.chunks_mut(S::LANES * 9 * k).enumerate() {
            for first in (0..k).step_by(BLOCK) {
                let mut rows = [[0.0; 9 * BLOCK]; MAX_LANES];
                let count = BLOCK.min(k - first);
                for c in 0..count {
                    let start = (first + c) * cuts.ldc + column + v * S::LANES;
                    let mut taps = [[zero; 3]; 3];
                    for j in 0..T::PRODUCTS {
                        let mut half = [zero; 3];
                        for i in 0..T::PRODUCTS {
                            let at = start + (i * T::PRODUCTS + j) * place;
                            simd.prefetch(sums, at + AHEAD * cuts.ldc);
                            let sum = simd.load(&sums[at..]);
                            for y in 0..3 {
                                half[y] = times(simd, T::WEIGHTS[i][y], sum, half[y]);
                            }
                        }
                        for (y, x) in (0..3).flat_map(|y| [(y, 0), (y, 1), (y, 2)]) {
                            taps[y][x] = times(simd, T::WEIGHTS[j][x], half[y], taps[y][x]);
                        }
                    }
                    for tap in 0..9 {
                        let mut lanes = [0.0; MAX_LANES];
                        simd.store(taps[tap / 3][tap % 3], &mut lanes);
                        for (row, lane) in rows.iter_mut().zip(lanes).take(S::LANES) {
                            row[9 * c + tap] = lane;
                        }
                    }
                }
                for (filter, row) in filters.chunks_exact_mut(9 * k).zip(&rows) {
                    filter[9 * first..][..9 * count].copy_from_slice(&row[..9 * count]);
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
