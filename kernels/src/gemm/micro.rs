//! The micro-kernel, `C[MR x NR] += A[MR x K] * B[K x NR]`, and the walk over a column of tiles.
//!
//! Vectors run over the columns of C; A is broadcast. Every float of C is one chain of fused
//! multiply-adds in the order of K, whatever the tile, so no cut changes a bit.

use super::blocking::{A_STRIDE, Row};
use crate::simd::Simd;
use std::array::from_fn;

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

/// Multiplies the first `out.rows.len()` rows of `a` by the panel `b`, `[k][NV * LANES]`.
#[inline(always)]
pub(crate) fn panel<S: Simd, const NV: usize>(simd: S, a: &[Row], b: &[f32], mut out: Output<'_>) {
    const { assert!(S::MR <= 8) };
    let rows = out.rows;
    let mut tiles = rows.len().div_ceil(S::MR);
    let mut done = 0;
    // Tiles of even height: 4 + 3 rows keep more sums in flight than 6 + 1.
    while tiles > 0 {
        let height = (rows.len() - done).div_ceil(tiles);
        let a = &a[done..];
        out.rows = &rows[done..];
        match height {
            1 => tile::<S, 1, NV>(simd, a, b, &mut out),
            2 => tile::<S, 2, NV>(simd, a, b, &mut out),
            3 => tile::<S, 3, NV>(simd, a, b, &mut out),
            4 => tile::<S, 4, NV>(simd, a, b, &mut out),
            5 if S::MR > 4 => tile::<S, 5, NV>(simd, a, b, &mut out),
            6 if S::MR > 4 => tile::<S, 6, NV>(simd, a, b, &mut out),
            7 if S::MR > 6 => tile::<S, 7, NV>(simd, a, b, &mut out),
            _ if S::MR > 6 => tile::<S, 8, NV>(simd, a, b, &mut out),
            _ => unreachable!("a tile higher than MR"),
        }
        done += height;
        tiles -= 1;
    }
}

#[inline(always)]
fn tile<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    a: &[Row],
    b: &[f32],
    out: &mut Output<'_>,
) {
    let a = a.first_chunk::<MR>().expect("a packed row for every row of the tile");
    let mut sums = load::<S, MR, NV>(simd, out);
    for (k, b) in (0..A_STRIDE).zip(b.chunks_exact(NV * S::LANES)) {
        // The vectors of B first: the broadcasts of A then fold into one register.
        let b: [S::F32; NV] = from_fn(|v| simd.load(&b[v * S::LANES..]));
        for i in 0..MR {
            let x = simd.splat(a[i][k]);
            for v in 0..NV {
                sums[i][v] = simd.mul_add(x, b[v], sums[i][v]);
            }
        }
    }
    store(simd, sums, out);
}

#[inline(always)]
fn load<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    out: &Output<'_>,
) -> [[S::F32; NV]; MR] {
    if let Some(start) = out.start {
        let start: [S::F32; NV] = from_fn(|v| simd.load(&start[v * S::LANES..]));
        return [start; MR];
    }
    let rows = out.rows.first_chunk::<MR>().expect("a row of C for every row of the tile");
    if out.width == NV * S::LANES {
        from_fn(|i| {
            let row = &out.c[rows[i] as usize * out.ldc + out.column..][..NV * S::LANES];
            from_fn(|v| simd.load(&row[v * S::LANES..]))
        })
    } else {
        from_fn(|i| {
            let row = &out.c[rows[i] as usize * out.ldc + out.column..][..out.width];
            from_fn(|v| simd.load_partial(part(row.len(), v, S::LANES, row)))
        })
    }
}

/// The part of a row of `width` floats under vector `v`.
#[inline(always)]
fn part(width: usize, v: usize, lanes: usize, row: &[f32]) -> &[f32] {
    let start = (v * lanes).min(width);
    &row[start..(start + lanes).min(width)]
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
