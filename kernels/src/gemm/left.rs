//! The left matrices of products, and how a tile of one is multiplied by a panel.
#![allow(
    clippy::needless_range_loop,
    reason = "constant ranges unroll, and keep arrays in registers"
)]

use super::ahead::Fetches;
use super::blocking::{Column, TILE_STRIDE};
use super::stored::Stored;
use crate::simd::Simd;

/// The left matrix, packed one way or the other.
pub(crate) trait Left: Copy {
    /// Whether panels are multiplied by half vectors where that is enough: a second set of tiles to compile,
    /// for what is run most.
    const HALVES: bool = false;

    /// Adds the product of a tile of `MR` rows (number `tile`, whose first row is `row`) and the panel
    /// `b` to `sums`; `fetches` may be made meanwhile. With `LOW`, the upper half of the panel's last vector
    /// is zero.
    fn multiply<S: Simd, W: Stored, const MR: usize, const NV: usize, const LOW: bool>(
        self,
        simd: S,
        tile: usize,
        row: usize,
        b: &[W],
        fetches: &Fetches<'_>,
        sums: &mut [[S::F32; NV]; MR],
    );
}

/// Packed by rows at distance `STRIDE`: a constant, so that one pointer addresses all rows of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, const STRIDE: usize>(pub(crate) &'a [[f32; STRIDE]]);

impl<const STRIDE: usize> Left for Rows<'_, STRIDE> {
    const HALVES: bool = true;

    #[inline(always)]
    fn multiply<S: Simd, W: Stored, const MR: usize, const NV: usize, const LOW: bool>(
        self,
        simd: S,
        tile: usize,
        row: usize,
        b: &[W],
        fetches: &Fetches<'_>,
        sums: &mut [[S::F32; NV]; MR],
    ) {
        let a = self.0[row..].first_chunk::<MR>().expect("a packed row for each of the tile");
        for (k, b) in (0..STRIDE).zip(b.chunks_exact(NV * S::LANES)) {
            fetches.fetch(simd, tile, k);
            let b = load_panel::<S, _, NV>(simd, b);
            for i in 0..MR {
                add_products::<S, NV, LOW>(simd, a[i][k], &b, &mut sums[i]);
            }
        }
    }
}

/// Packed by tiles, a tile by columns, at distance [`TILE_STRIDE`].
#[derive(Clone, Copy)]
pub(crate) struct Tiles<'a>(pub(crate) &'a [Column]);

impl Left for Tiles<'_> {
    #[inline(always)]
    fn multiply<S: Simd, W: Stored, const MR: usize, const NV: usize, const LOW: bool>(
        self,
        simd: S,
        tile: usize,
        _: usize,
        b: &[W],
        _: &Fetches<'_>,
        sums: &mut [[S::F32; NV]; MR],
    ) {
        const { assert!(MR <= 8) };
        for (a, b) in self.0[tile * TILE_STRIDE..].iter().zip(b.chunks_exact(NV * S::LANES)) {
            let b = load_panel::<S, _, NV>(simd, b);
            for i in 0..MR {
                add_products::<S, NV, LOW>(simd, a[i], &b, &mut sums[i]);
            }
        }
    }
}

/// Packed by columns, of which a tile takes some consecutive rows, at distance `STRIDE`.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a, const STRIDE: usize>(pub(crate) &'a [[f32; STRIDE]]);

impl<const STRIDE: usize> Left for Columns<'_, STRIDE> {
    #[inline(always)]
    fn multiply<S: Simd, W: Stored, const MR: usize, const NV: usize, const LOW: bool>(
        self,
        simd: S,
        _: usize,
        row: usize,
        b: &[W],
        _: &Fetches<'_>,
        sums: &mut [[S::F32; NV]; MR],
    ) {
        assert!(row + MR <= STRIDE, "rows of the columns");
        for (a, b) in self.0.iter().zip(b.chunks_exact(NV * S::LANES)) {
            let b = load_panel::<S, _, NV>(simd, b);
            for i in 0..MR {
                add_products::<S, NV, LOW>(simd, a[row + i], &b, &mut sums[i]);
            }
        }
    }
}

/// Adds the products of `x` and a row of a panel to `sums`.
#[inline(always)]
pub(crate) fn add_products<S: Simd, const NV: usize, const LOW: bool>(
    simd: S,
    x: f32,
    b: &[S::F32; NV],
    sums: &mut [S::F32; NV],
) {
    let x = simd.splat(x);
    for v in 0..NV {
        sums[v] = match LOW && v + 1 == NV {
            false => simd.mul_add(x, b[v], sums[v]),
            true => simd.mul_add_low(x, b[v], sums[v]),
        };
    }
}

/// The vectors of a row of a panel. Loaded before the broadcasts of A, they leave one register for
/// all of those.
#[inline(always)]
pub(crate) fn load_panel<S: Simd, W: Stored, const NV: usize>(simd: S, b: &[W]) -> [S::F32; NV] {
    let mut vectors = [simd.splat(0.0); NV];
    for v in 0..NV {
        vectors[v] = W::load(simd, &b[v * S::LANES..]);
    }
    vectors
}
