//! The stage from gradients of outputs to gradients of products.

#![allow(
    clippy::needless_range_loop,
    reason = "constant ranges unroll, and keep arrays in registers"
)]

use super::gradient::Cuts;
use super::stages::By;
use super::transform::Transform;
use crate::gemm::micro::{PANEL_VECTORS, panel_vectors};
use crate::simd::{Simd, SimdOp};
use std::ops::Range;

/// Transforms the gradients of some tiles of outputs.
pub(crate) struct Spread<'a> {
    pub(super) cuts: &'a Cuts,
    pub(super) diff_dst: &'a [f32],
    /// Counted over the batch.
    pub(super) tiles: Range<usize>,
    /// Output channels.
    pub(super) columns: Range<usize>,
    /// `[place][panel][tile][column of the panel]`, with `Cuts::spread_place` floats a place and as many
    /// tiles a panel as a group has.
    pub(super) spread: &'a mut [f32],
}

impl<T: Transform<SIDE>, const SIDE: usize> SimdOp for By<Spread<'_>, T, SIDE> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Spread { cuts, diff_dst, tiles, columns, spread } = self.0;
        let (tiling, place) = (&cuts.tiling, cuts.spread_place());
        let (stride, zero) = (tiling.dst_stride, simd.splat(0.0));
        let full = PANEL_VECTORS * S::LANES;
        for tile in tiles.clone() {
            let (row, x) = (tile / tiling.per_row, tile % tiling.per_row * T::OUTPUT);
            let (start, height) = tiling.output_of(row, T::OUTPUT, false);
            let width = T::OUTPUT.min(tiling.ow - x);
            let diff_dst = &diff_dst[start + x * stride..];
            let whole = height == T::OUTPUT && width == T::OUTPUT;
            for panel in (0..columns.len()).step_by(full) {
                let nr = panel_vectors(S::LANES, columns.len() - panel) * S::LANES;
                let out = &mut spread[panel * tiling.group + (tile - tiles.start) * nr..];
                for c in (0..nr).step_by(S::LANES) {
                    let channel = columns.start + panel + c;
                    // Columns of the tile, then rows.
                    let mut half = [[zero; SIDE]; SIDE];
                    for j in 0..T::OUTPUT {
                        let mut column = [zero; SIDE];
                        for i in 0..T::OUTPUT {
                            if whole || (i < height && j < width) {
                                let at = (i * tiling.ow + j) * stride + channel;
                                column[i] = simd.load(&diff_dst[at..]);
                            }
                        }
                        let column = T::spread(simd, column);
                        for i in 0..T::PRODUCTS {
                            half[i][j] = column[i];
                        }
                    }
                    for i in 0..T::PRODUCTS {
                        let row = T::spread(simd, half[i]);
                        let out = &mut out[i * T::PRODUCTS * place + c..];
                        simd.store_strided(row, out, place, T::PRODUCTS);
                    }
                }
            }
        }
    }
}
