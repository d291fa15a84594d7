//! The micro-kernel, `C[MR x NR] += A[MR x K] * B[K x NR]`, and the walk down a panel of C.
//!
//! Vectors run over the columns of C; A is broadcast. Every float of C is one chain of fused
//! multiply-adds in the order of K, whatever the tile, so no cut changes a bit.

use super::blocking::{A_STRIDE, Column, Row, TILE_STRIDE};
use crate::simd::Simd;

/// Vectors across a full panel.
pub(crate) const PANEL_VECTORS: usize = 2;

/// Columns of the widest panel of any instruction set.
pub(crate) const MAX_NR: usize = PANEL_VECTORS * 16;

/// The part of C that a panel writes.
pub(crate) struct Output<'a> {
    /// The floats of C.
    pub(crate) c: &'a mut [f32],
    /// Floats between its rows.
    pub(crate) ldc: usize,
    /// The row of C of each row of A.
    pub(crate) rows: &'a [u32],
    /// The first column.
    pub(crate) column: usize,
    /// Columns that exist, at most those of the panel; the others are not touched.
    pub(crate) width: usize,
    /// What the sums start from, a float for each column of the panel; `None`: C itself.
    pub(crate) start: Option<&'a [f32; MAX_NR]>,
    /// Whether negative sums are stored as zero.
    pub(crate) relu: bool,
}

/// Vectors in the panel that starts `columns` columns before the end.
pub(crate) fn panel_vectors(lanes: usize, columns: usize) -> usize {
    columns.div_ceil(lanes).min(PANEL_VECTORS)
}

/// The left matrix, packed one way or the other.
pub(crate) trait Left: Copy {
    /// Adds the product of a tile of `MR` rows (number `tile`, whose first row is `row`) and the panel
    /// `b` to `sums`.
    fn multiply<S: Simd, const MR: usize, const NV: usize>(
        self,
        simd: S,
        tile: usize,
        row: usize,
        b: &[f32],
        sums: &mut [[S::F32; NV]; MR],
    );
}

/// Packed by rows.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a>(pub(crate) &'a [Row]);

impl Left for Rows<'_> {
    #[inline(always)]
    fn multiply<S: Simd, const MR: usize, const NV: usize>(
        self,
        simd: S,
        _: usize,
        row: usize,
        b: &[f32],
        sums: &mut [[S::F32; NV]; MR],
    ) {
        let a = self.0[row..].first_chunk::<MR>().expect("a packed row for each of the tile");
        for (k, b) in (0..A_STRIDE).zip(b.chunks_exact(NV * S::LANES)) {
            let b = load_panel::<S, NV>(simd, b);
            for i in 0..MR {
                let x = simd.splat(a[i][k]);
                for v in 0..NV {
                    sums[i][v] = simd.mul_add(x, b[v], sums[i][v]);
                }
            }
        }
    }
}

/// Packed by tiles, a tile by columns, at distance [`TILE_STRIDE`].
#[derive(Clone, Copy)]
pub(crate) struct Tiles<'a>(pub(crate) &'a [Column]);

impl Left for Tiles<'_> {
    #[inline(always)]
    fn multiply<S: Simd, const MR: usize, const NV: usize>(
        self,
        simd: S,
        tile: usize,
        _: usize,
        b: &[f32],
        sums: &mut [[S::F32; NV]; MR],
    ) {
        const { assert!(MR <= 8) };
        for (a, b) in self.0[tile * TILE_STRIDE..].iter().zip(b.chunks_exact(NV * S::LANES)) {
            let b = load_panel::<S, NV>(simd, b);
            for i in 0..MR {
                let x = simd.splat(a[i]);
                for v in 0..NV {
                    sums[i][v] = simd.mul_add(x, b[v], sums[i][v]);
                }
            }
        }
    }
}

/// The vectors of a row of a panel. Loaded before the broadcasts of A, they leave one register for
/// all of those.
#[inline(always)]
fn load_panel<S: Simd, const NV: usize>(simd: S, b: &[f32]) -> [S::F32; NV] {
    let mut vectors = [simd.splat(0.0); NV];
    for (v, vector) in vectors.iter_mut().enumerate() {
        *vector = simd.load(&b[v * S::LANES..]);
    }
    vectors
}

/// The tiles that `rows` rows are cut into: `(first row, height)`. Their heights are even, since
/// 4 + 3 rows keep more sums in flight than 6 + 1.
#[inline(always)]
pub(crate) fn tiles(rows: usize, mr: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(mr);
    let mut row = 0;
    (0..count).map(
        #[inline(always)]
        move |tile| {
            let height = (rows - row).div_ceil(count - tile);
            row += height;
            (row - height, height)
        },
    )
}

/// Multiplies the `out.rows.len()` rows of `a` by the panel `b`, `[k][NV * LANES]`.
#[inline(always)]
pub(crate) fn panel<S: Simd, const NV: usize>(
    simd: S,
    a: impl Left,
    b: &[f32],
    mut out: Output<'_>,
) {
    const { assert!(S::MR <= 8) };
    let rows = out.rows;
    for (tile, (row, height)) in tiles(rows.len(), S::MR).enumerate() {
        let at = (tile, row);
        out.rows = &rows[row..];
        match height {
            1 => multiply::<S, 1, NV>(simd, a, at, b, &mut out),
            2 => multiply::<S, 2, NV>(simd, a, at, b, &mut out),
            3 => multiply::<S, 3, NV>(simd, a, at, b, &mut out),
            4 => multiply::<S, 4, NV>(simd, a, at, b, &mut out),
            5 if S::MR > 4 => multiply::<S, 5, NV>(simd, a, at, b, &mut out),
            6 if S::MR > 4 => multiply::<S, 6, NV>(simd, a, at, b, &mut out),
            7 if S::MR > 6 => multiply::<S, 7, NV>(simd, a, at, b, &mut out),
            _ if S::MR > 6 => multiply::<S, 8, NV>(simd, a, at, b, &mut out),
            _ => unreachable!("a tile higher than MR"),
        }
    }
}

#[inline(always)]
fn multiply<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    a: impl Left,
    (tile, row): (usize, usize),
    b: &[f32],
    out: &mut Output<'_>,
) {
    let mut sums = load::<S, MR, NV>(simd, out);
    a.multiply(simd, tile, row, b, &mut sums);
    store(simd, sums, out);
}

#[inline(always)]
fn load<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    out: &Output<'_>,
) -> [[S::F32; NV]; MR] {
    if let Some(start) = out.start {
        return [load_panel::<S, NV>(simd, start); MR];
    }
    let mut sums = [[simd.splat(0.0); NV]; MR];
    let rows = out.rows.first_chunk::<MR>().expect("a row of C for every row of the tile");
    for (sums, &row) in sums.iter_mut().zip(rows) {
        let row = &out.c[row as usize * out.ldc + out.column..][..out.width];
        if row.len() == NV * S::LANES {
            *sums = load_panel::<S, NV>(simd, row);
        } else {
            for (sum, part) in sums.iter_mut().zip(row.chunks(S::LANES)) {
                *sum = simd.load_partial(part);
            }
        }
    }
    sums
}

#[inline(always)]
fn store<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    mut sums: [[S::F32; NV]; MR],
    out: &mut Output<'_>,
) {
    if out.relu {
        let zero = simd.splat(0.0);
        for row in &mut sums {
            for sum in row {
                *sum = simd.max(*sum, zero);
            }
        }
    }
    let rows = out.rows.first_chunk::<MR>().expect("a row of C for every row of the tile");
    for (sums, &row) in sums.into_iter().zip(rows) {
        let row = &mut out.c[row as usize * out.ldc + out.column..][..out.width];
        if row.len() == NV * S::LANES {
            for (sum, part) in sums.into_iter().zip(row.chunks_exact_mut(S::LANES)) {
                simd.store(sum, part);
            }
        } else {
            for (sum, part) in sums.into_iter().zip(row.chunks_mut(S::LANES)) {
                simd.store_partial(sum, part);
            }
        }
    }
}
