//! The stage from weights to packed, transformed weights.

#![allow(
    clippy::needless_range_loop,
    reason = "constant ranges unroll, and keep arrays in registers"
)]

use super::stages::By;
use super::tiling::Tiling;
use super::transform::{SIDE, Transform};
use crate::simd::{Simd, SimdOp};

/// Transforms the weights of one panel, in `f64`.
pub(crate) struct Weights<'a> {
    pub(super) tiling: &'a Tiling,
    /// `[OC, IC, 3, 3]`.
    pub(super) weights: &'a [f32],
    /// The first output channel of the panel.
    pub(super) column: usize,
    /// `[block][place][channel][column of the panel]`; columns that do not exist are zero.
    pub(super) packed: &'a mut [f32],
}

impl<T: Transform> SimdOp for By<Weights<'_>, T> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, _: S) {
        let Weights { tiling, weights, column, packed } = self.0;
        /// Columns transformed together: two vectors of four doubles.
        const TOGETHER: usize = 8;
        let nr = packed.len() / (tiling.places() * tiling.k);
        for block in 0..tiling.blocks() {
            let channels = tiling.block(block);
            for channel in channels.clone() {
                for first in (0..nr).step_by(TOGETHER) {
                    let width = TOGETHER.min(nr - first);
                    let mut w = [[0.0; TOGETHER]; 9];
                    let exist = width.min(tiling.columns.saturating_sub(column + first));
                    for lane in 0..exist {
                        let from = tiling.weights_at(column + first + lane, channel);
                        for (tap, &weight) in weights[from..from + 9].iter().enumerate() {
                            let tap = if tiling.forward { tap } else { 8 - tap };
                            w[tap][lane] = f64::from(weight);
                        }
                    }
                    // Columns of the kernel, then rows.
                    let mut half = [[[0.0; TOGETHER]; 3]; SIDE];
                    for i in 0..T::PRODUCTS {
                        for x in 0..3 {
                            for lane in 0..TOGETHER {
                                half[i][x][lane] = T::WEIGHTS[i][0] * w[x][lane]
                                    + T::WEIGHTS[i][1] * w[3 + x][lane]
                                    + T::WEIGHTS[i][2] * w[6 + x][lane];
                            }
                        }
                    }
                    for i in 0..T::PRODUCTS {
                        for j in 0..T::PRODUCTS {
                            let place = i * T::PRODUCTS + j;
                            let row = tiling.weights_rows(block, place) + channel - channels.start;
                            let mut out = [0.0; TOGETHER];
                            for lane in 0..TOGETHER {
                                let sum = T::WEIGHTS[j][0] * half[i][0][lane]
                                    + T::WEIGHTS[j][1] * half[i][1][lane]
                                    + T::WEIGHTS[j][2] * half[i][2][lane];
                                out[lane] = sum as f32;
                            }
                            packed[row * nr + first..][..width].copy_from_slice(&out[..width]);
                        }
                    }
                }
            }
        }
    }
}
