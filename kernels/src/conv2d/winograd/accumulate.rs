//! The stage of the weights' gradient that sums over tiles: a matrix product for each place in a tile.

use super::gradient::Cuts;
use crate::gemm::ahead::Ahead;
use crate::gemm::left::Columns;
use crate::gemm::micro::{MAX_NR, Output, OutputRows, PANEL_VECTORS, panel, panel_vectors};
use crate::simd::{Simd, SimdOp};

/// Sums, over some tiles, the products of the factors of a place, input channels with output channels.
pub(crate) struct Accumulate<'a> {
    pub(super) cuts: &'a Cuts,
    /// Of the inputs, by groups, the last of which may have fewer tiles.
    pub(super) factors: &'a [f32],
    /// Of the outputs' gradients.
    pub(super) spread: &'a [f32],
    /// Tiles that there are factors of.
    pub(super) tiles: usize,
    pub(super) place: usize,
    /// The block of input channels.
    pub(super) block: usize,
    /// Output channels.
    pub(super) columns: usize,
    /// Whether the sums are added to those of tiles before.
    pub(super) adds: bool,
    /// `[input channel][output channel]`, with `Cuts::ldc` floats a row.
    pub(super) sums: &'a mut [f32],
}

impl SimdOp for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        match self.cuts.tiling.row {
            80 => self.rows_of::<S, 80>(simd),
            144 => self.rows_of::<S, 144>(simd),
            _ => self.rows_of::<S, 272>(simd),
        }
    }
}

impl Accumulate<'_> {
    #[inline(always)]
    fn rows_of<S: Simd, const ROW: usize>(self, simd: S) {
        let Self { cuts, factors, spread, tiles, place, block, columns, adds, sums } = self;
        let tiling = &cuts.tiling;
        let channels = tiling.block(block).len();
        for group in 0..tiles.div_ceil(tiling.group) {
            let count = tiling.group.min(tiles - group * tiling.group);
            let start = group * tiling.factors_len() + tiling.factors_start(block, place);
            let a = &factors[start..].as_chunks::<ROW>().0[..count];
            let spread = &spread[group * cuts.spread_group() + place * cuts.spread_place()..];
            for column in (0..columns).step_by(PANEL_VECTORS * S::LANES) {
                let nr = panel_vectors(S::LANES, columns - column) * S::LANES;
                let b = &spread[column * tiling.group..][..count * nr];
                let out = Output {
                    c: &mut *sums,
                    ldc: cuts.ldc,
                    rows: OutputRows::First(channels),
                    column,
                    start: Some(&[0.0; MAX_NR]),
                    relu: false,
                    adds: adds || group > 0,
                };
                panel(simd, columns - column, Columns(a), b, Ahead::default(), out);
            }
        }
    }
}
