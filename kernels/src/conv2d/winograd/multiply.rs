//! The stage from factors to products: a matrix product for each place in a tile.

use super::tiling::{FEW_TILES, Tiling};
use crate::gemm::ahead::Ahead;
use crate::gemm::left::Rows;
use crate::gemm::micro::{MAX_NR, Output, OutputRows, PANEL_VECTORS, panel, panel_vectors};
use crate::gemm::stored::{Packed, Stored};
use crate::simd::{Simd, SimdOp};
use std::ops::Range;

/// Multiplies the factors of some places by their weights.
pub(crate) struct Multiply<'a> {
    pub(super) tiling: &'a Tiling,
    /// Of all groups, the last of which may have fewer tiles.
    pub(super) factors: &'a [f32],
    pub(super) tiles: usize,
    pub(super) packed: Packed<'a>,
    pub(super) places: Range<usize>,
    /// Output channels, starting at a panel.
    pub(super) columns: Range<usize>,
    /// `[place][tile][row]`, with `Tiling::products_row` floats a row, `Tiling::products_place` a place.
    pub(super) products: &'a mut [f32],
}

impl SimdOp for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        match self.packed {
            Packed::F32(packed) => self.stored_as(simd, packed),
            Packed::Bf16(packed) => self.stored_as(simd, packed),
            Packed::F16(packed) => self.stored_as(simd, packed),
        }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn stored_as<S: Simd, W: Stored>(self, simd: S, packed: &[W]) {
        match self.tiling.row {
            80 => self.rows_of::<S, W, 80>(simd, packed),
            144 => self.rows_of::<S, W, 144>(simd, packed),
            _ => self.rows_of::<S, W, 272>(simd, packed),
        }
    }

    #[inline(always)]
    fn rows_of<S: Simd, W: Stored, const ROW: usize>(self, simd: S, packed: &[W]) {
        let Self { tiling, factors, tiles, places, columns, products, .. } = self;
        let (ldc, place_len) = (tiling.products_row, tiling.products_place(tiles));
        let (blocks, full) = (tiling.blocks(), PANEL_VECTORS * S::LANES);
        let panel_of = |column: usize, place: usize, block: usize| {
            let nr = panel_vectors(S::LANES, tiling.columns - column) * S::LANES;
            let start = tiling.places() * tiling.k * column;
            let rows = tiling.weights_rows(block, place);
            &packed[start + rows * nr..][..tiling.block(block).len() * nr]
        };
        let group_of = |group: usize, place: usize, block: usize| {
            let start = group * tiling.factors_len() + tiling.factors_start(block, place);
            let count = tiling.group.min(tiles - group * tiling.group);
            &factors[start..].as_chunks::<ROW>().0[..count]
        };
        let groups = tiles.div_ceil(tiling.group);
        let panels = columns.len().div_ceil(full);
        // What few tiles wait for is their weights, which they take as they lie in memory. More of them
        // multiply all columns of a place while its factors are at hand.
        let few = tiles <= FEW_TILES;
        let panel_at = |i: usize| {
            let (place, panel) = match few {
                true => (i % places.len(), i / places.len()),
                false => (i / panels, i % panels),
            };
            (places.start + place, columns.start + panel * full)
        };
        let count = places.len() * panels;
        for i in 0..count {
            let (place, column) = panel_at(i);
            let products = &mut products[(place - places.start) * place_len..];
            let last_place = place + 1 == tiling.places();
            // After the last, that with which the next task or the next chunk of columns begins.
            let following = match (i + 1 < count, places.end < tiling.places()) {
                _ if tiling.cached => None,
                (true, _) => Some(panel_at(i + 1)),
                (_, true) => Some((places.end, columns.start)),
                _ if tiling.own && columns.end < tiling.columns => Some((0, columns.end)),
                _ => None,
            };
            for block in 0..blocks {
                let b = panel_of(column, place, block);
                let next = match following {
                    _ if !tiling.cached && block + 1 < blocks => panel_of(column, place, block + 1),
                    Some((place, column)) => panel_of(column, place, 0),
                    None => &[],
                };
                for group in 0..groups {
                    let a = group_of(group, place, block);
                    // The last group fetches the next panel. In the first panel, each fetches the
                    // rows of the next, and the last those of the next place.
                    let last = group + 1 == groups;
                    let rows = match (last, last_place) {
                        _ if tiling.own || few || column > columns.start => &[],
                        (false, _) => group_of(group + 1, place, block),
                        (true, false) => group_of(0, place + 1, block),
                        (true, true) => &[],
                    };
                    let ahead = Ahead::new(if last { next } else { &[] }, rows.as_flattened());
                    let out = Output {
                        c: &mut products[group * tiling.group * ldc..],
                        ldc,
                        rows: OutputRows::First(a.len()),
                        column: column - columns.start,
                        start: (block == 0).then_some(&[0.0; MAX_NR]),
                        relu: false,
                        adds: false,
                    };
                    panel(simd, tiling.columns - column, Rows(a), b, ahead, out);
                }
            }
        }
    }
}
