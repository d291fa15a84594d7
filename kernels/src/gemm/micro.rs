//! The micro-kernel, `C[MR x NR] += A[MR x K] * B[K x NR]`, and the walk down a panel of C.
//!
//! Vectors run over the columns of C; A is broadcast. Every float of C is one chain of fused
//! multiply-adds in the order of K, whatever the tile, so no cut changes a bit.
#![allow(
    clippy::needless_range_loop,
    reason = "constant ranges unroll, and keep arrays in registers"
)]

use super::ahead::{Ahead, Fetches};
use super::left::{Left, load_panel};
use super::stored::Stored;
use crate::simd::{Simd, SimdOp};
use bytemuck::cast_slice;

/// Vectors across a full panel.
pub(crate) const PANEL_VECTORS: usize = 2;

/// Columns of the widest panel of any instruction set.
pub(crate) const MAX_NR: usize = PANEL_VECTORS * 16;

/// The part of C that a panel writes, all columns of the panel.
pub(crate) struct Output<'a> {
    /// The floats of C.
    pub(crate) c: &'a mut [f32],
    /// Floats between its rows.
    pub(crate) ldc: usize,
    /// The rows of C that the rows of A belong to.
    pub(crate) rows: OutputRows<'a>,
    /// The first column.
    pub(crate) column: usize,
    /// What the sums start from, a float for each column of the panel; `None`: C itself.
    pub(crate) start: Option<&'a [f32; MAX_NR]>,
    /// Whether the sums are added to C instead of stored: many terms then are summed part by part.
    pub(crate) adds: bool,
    /// Whether negative sums are stored as zero.
    pub(crate) relu: bool,
}

/// Rows of C, one for each row of A.
#[derive(Clone, Copy)]
pub(crate) enum OutputRows<'a> {
    /// The first so many.
    First(usize),
    /// Some.
    Listed(&'a [u32]),
}

impl OutputRows<'_> {
    #[inline(always)]
    fn len(self) -> usize {
        match self {
            Self::First(count) => count,
            Self::Listed(rows) => rows.len(),
        }
    }
}

/// What the sums of the `nr` columns from `column` on start from: the bias, and zero where there is none.
#[inline(always)]
pub(crate) fn start(bias: Option<&[f32]>, column: usize, nr: usize) -> [f32; MAX_NR] {
    let mut start = [0.0; MAX_NR];
    if let Some(bias) = bias {
        let exist = nr.min(bias.len() - column);
        start[..exist].copy_from_slice(&bias[column..][..exist]);
    }
    start
}

/// Vectors in the panel that starts `columns` columns before the end.
pub(crate) fn panel_vectors(lanes: usize, columns: usize) -> usize {
    columns.div_ceil(lanes).min(PANEL_VECTORS)
}

/// The tiles that `rows` rows are cut into: `(first row, height)`. Their heights are even, since
/// 4 + 3 rows keep more sums in flight than 6 + 1.
#[inline(always)]
pub(crate) fn tiles(rows: usize, mr: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(mr);
    let (height, higher) = match rows.is_multiple_of(mr) {
        true => (mr, 0),
        false => (rows / count, rows % count),
    };
    (0..count).map(
        #[inline(always)]
        move |tile| (tile * height + tile.min(higher), height + usize::from(tile < higher)),
    )
}

/// Multiplies as many rows of `a` as `out` has by the panel `b`, `[k][column of the panel]`, of which the
/// first `columns` columns (all, if that is more than it has) are not zero. What is needed after that is
/// `ahead`, which is fetched meanwhile.
#[inline(always)]
pub(crate) fn panel<S: Simd, W: Stored, A: Left>(
    simd: S,
    columns: usize,
    a: A,
    b: &[W],
    ahead: Ahead<'_>,
    out: Output<'_>,
) {
    let vectors = panel_vectors(S::LANES, columns);
    // A constant by itself: what it rules out is not compiled.
    if const { S::HALVES && W::HALVES && A::HALVES } && columns <= vectors * S::LANES - S::LANES / 2
    {
        return match vectors {
            1 => panel_of::<S, W, 1, true>(simd, a, b, ahead, out),
            _ => panel_of::<S, W, 2, true>(simd, a, b, ahead, out),
        };
    }
    match vectors {
        1 => panel_of::<S, W, 1, false>(simd, a, b, ahead, out),
        _ => panel_of::<S, W, 2, false>(simd, a, b, ahead, out),
    }
}

/// [`panel`], of `NV` vectors of columns, of which the upper half of the last is zero if `LOW`.
#[inline(always)]
fn panel_of<S: Simd, W: Stored, const NV: usize, const LOW: bool>(
    simd: S,
    a: impl Left,
    b: &[W],
    ahead: Ahead<'_>,
    mut out: Output<'_>,
) {
    const { assert!(S::MR <= 8) };
    let rows = out.rows.len();
    let count = rows.div_ceil(S::MR);
    let fetches = Fetches::plan(ahead, cast_slice(b), b.len() / (NV * S::LANES), (rows, count));
    for (tile, (row, height)) in tiles(rows, S::MR).enumerate() {
        let (at, fetches, out) = ((tile, row), &fetches, &mut out);
        match height {
            1 => simd.vectorize(Tile::<_, _, 1, NV, LOW> { a, at, b, fetches, out }),
            2 => simd.vectorize(Tile::<_, _, 2, NV, LOW> { a, at, b, fetches, out }),
            3 => simd.vectorize(Tile::<_, _, 3, NV, LOW> { a, at, b, fetches, out }),
            4 => simd.vectorize(Tile::<_, _, 4, NV, LOW> { a, at, b, fetches, out }),
            5 if S::MR > 4 => simd.vectorize(Tile::<_, _, 5, NV, LOW> { a, at, b, fetches, out }),
            6 if S::MR > 4 => simd.vectorize(Tile::<_, _, 6, NV, LOW> { a, at, b, fetches, out }),
            7 if S::MR > 6 => simd.vectorize(Tile::<_, _, 7, NV, LOW> { a, at, b, fetches, out }),
            _ if S::MR > 6 => simd.vectorize(Tile::<_, _, 8, NV, LOW> { a, at, b, fetches, out }),
            _ => unreachable!("a tile higher than MR"),
        }
    }
}

/// One tile of C. It enters the instruction set on its own: a function of its own is one that the
/// compiler keeps in registers, whatever surrounds the call.
struct Tile<'a, 'c, L, W, const MR: usize, const NV: usize, const LOW: bool> {
    a: L,
    /// Its number and its first row.
    at: (usize, usize),
    b: &'a [W],
    fetches: &'a Fetches<'a>,
    out: &'a mut Output<'c>,
}

impl<L: Left, W: Stored, const MR: usize, const NV: usize, const LOW: bool> SimdOp
    for Tile<'_, '_, L, W, MR, NV, LOW>
{
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let (tile, row) = self.at;
        let mut sums = load::<S, MR, NV>(simd, self.out, row);
        let Self { a, b, fetches, .. } = self;
        a.multiply::<S, W, MR, NV, LOW>(simd, tile, row, b, fetches, &mut sums);
        store(simd, sums, self.out, row);
    }
}

/// The sums so far of the tile that starts with row `row`. Arrays of vectors are indexed by constants
/// only, or they would live in memory.
#[inline(always)]
fn load<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    out: &Output<'_>,
    row: usize,
) -> [[S::F32; NV]; MR] {
    if let Some(start) = out.start {
        return [load_panel::<S, _, NV>(simd, start); MR];
    }
    let mut sums = [[simd.splat(0.0); NV]; MR];
    let starts = starts::<MR>(out, row);
    for i in 0..MR {
        sums[i] = load_panel::<S, _, NV>(simd, &out.c[starts[i]..][..NV * S::LANES]);
    }
    sums
}

#[inline(always)]
fn store<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    mut sums: [[S::F32; NV]; MR],
    out: &mut Output<'_>,
    row: usize,
) {
    if out.relu {
        let zero = simd.splat(0.0);
        for row in &mut sums {
            for sum in row {
                *sum = simd.max(zero, *sum);
            }
        }
    }
    if let OutputRows::First(_) = out.rows {
        let c = &mut out.c[row * out.ldc + out.column..];
        for v in 0..NV {
            let mut column = [simd.splat(0.0); MR];
            for i in 0..MR {
                column[i] = sums[i][v];
                if out.adds {
                    let c = &c[i * out.ldc + v * S::LANES..];
                    column[i] = simd.add(column[i], simd.load(c));
                }
            }
            simd.store_strided(column, &mut c[v * S::LANES..], out.ldc, MR);
        }
        return;
    }
    debug_assert!(!out.adds, "sums are added to consecutive rows only");
    let starts = starts::<MR>(out, row);
    for i in 0..MR {
        let c = &mut out.c[starts[i]..][..NV * S::LANES];
        for v in 0..NV {
            simd.store(sums[i][v], &mut c[v * S::LANES..]);
        }
    }
}

/// Where the rows of C of a tile start.
#[inline(always)]
fn starts<const MR: usize>(out: &Output<'_>, row: usize) -> [usize; MR] {
    let mut starts = [0; MR];
    match out.rows {
        OutputRows::First(_) => {
            for i in 0..MR {
                starts[i] = (row + i) * out.ldc + out.column;
            }
        }
        OutputRows::Listed(rows) => {
            let rows = rows[row..].first_chunk::<MR>().expect("a row of C for each of the tile");
            for i in 0..MR {
                starts[i] = rows[i] as usize * out.ldc + out.column;
            }
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_consecutive_and_no_higher_than_they_may_be() {
        for (rows, mr) in (0..200).flat_map(|rows| [4, 6, 8].map(|mr| (rows, mr))) {
            let end = tiles(rows, mr).fold(0, |end, (row, height)| {
                assert!(row == end && (1..=mr).contains(&height), "{rows} {mr}");
                row + height
            });
            assert_eq!(end, rows);
        }
    }
}
