//! The gradient of the weights by [implicit GEMM](super::implicit_gemm): for each tap a product whose
//! rows are input channels, columns output channels, and terms the pairs of pixels that the tap
//! connects.

use super::algorithm::{Algorithm, Operands, nothing_packed};
use super::cost;
use super::implicit_gemm::{self, TASK_MACS, TASKS};
use super::{Conv2dGeometry, taps::Pass};
use crate::Context;
use crate::gemm::ahead::Ahead;
use crate::gemm::blocking::{Column, KC, TILE_STRIDE, cut};
use crate::gemm::left::Tiles;
use crate::gemm::micro::{MAX_NR, Output, OutputRows, PANEL_VECTORS, panel, panel_vectors, tiles};
use crate::gemm::pack::copy_whole;
use crate::simd::{Simd, SimdOp};
use std::ops::Range;

pub(crate) const BACKWARD_WEIGHTS: Algorithm = Algorithm {
    cost: |isa, g| cost::implicit_gemm_weights(isa, &Pass::forward(g)),
    packed_len: nothing_packed,
    scratch_len: |g| Cuts::of(g).tasks() * Cuts::of(g).part(),
    run,
    ..implicit_gemm::FORWARD
};

/// Input channels of a task: even as 24 tiles of 4 rows, 24 * 258 * 8 floats, they fit its buffer
/// together with a panel.
const MAX_ROWS: usize = 96;

/// Output channels of a task.
const MAX_COLUMNS: usize = 128;

/// Output channels of a task of the last pass: the rows it writes side by side stay in the cache even
/// if their distance is a power of two.
const FILTERS: usize = 8;

/// How the sums are cut into tasks.
struct Cuts {
    taps: usize,
    /// Chunks of output pixels, and the size of one: one chunk, unless all other cuts leave too few
    /// tasks.
    chunks: usize,
    pixels: usize,
    /// Blocks of input channels, and the size of one.
    row_blocks: usize,
    rows: usize,
    /// Blocks of output channels, and the size of one.
    column_blocks: usize,
    columns: usize,
}

impl Cuts {
    fn of(g: &Conv2dGeometry) -> Self {
        let taps = g.taps();
        let (row_blocks, rows) = cut(g.ic, MAX_ROWS, 1);
        let (column_blocks, columns) = cut(g.oc, MAX_COLUMNS, MAX_NR);
        let tasks = taps * row_blocks * column_blocks;
        let worth = (g.macs() / TASK_MACS as u64) as usize;
        let most = TASKS.min(worth).div_ceil(tasks).max(1);
        let (chunks, pixels) = cut(g.dst_pixels(), g.dst_pixels().div_ceil(most).max(1), 1);
        Self { taps, chunks, pixels, row_blocks, rows, column_blocks, columns }
    }

    fn tasks(&self) -> usize {
        self.chunks * self.taps * self.row_blocks * self.column_blocks
    }

    /// Floats that a task writes.
    fn part(&self) -> usize {
        self.rows * self.columns
    }
}

fn run(cx: &Context, g: &Conv2dGeometry, operands: Operands<'_>, scratch: &mut [f32]) {
    let Operands { a: src, b: diff_dst, dst: diff_weights, .. } = operands;
    let (pass, cuts) = (Pass::forward(g), Cuts::of(g));
    // [chunk][tap][block of rows][block of columns][row][column]
    cx.threads().for_each_chunk(scratch, cuts.part(), |i, dst| {
        let (i, column) = (i / cuts.column_blocks, i % cuts.column_blocks * cuts.columns);
        let (i, row) = (i / cuts.row_blocks, i % cuts.row_blocks * cuts.rows);
        let (chunk, tap) = (i / cuts.taps, i % cuts.taps);
        let pixels = chunk * cuts.pixels..g.dst_pixels().min((chunk + 1) * cuts.pixels);
        cx.threads().with_buffer(|buffer| {
            (cx.isa().conv2d.correlate)(Correlate {
                pass: &pass,
                src,
                diff_dst,
                tap,
                pixels,
                rows: row..g.ic.min(row + cuts.rows),
                columns: column..g.oc.min(column + cuts.columns),
                dst,
                ldc: cuts.columns,
                buffer,
            });
        });
    });
    let scratch = &*scratch;
    let filter = g.ic * cuts.taps;
    cx.threads().for_each_chunk(diff_weights, FILTERS * filter, |i, filters| {
        let (block, column) = (i * FILTERS / cuts.columns, i * FILTERS % cuts.columns);
        let distance = cuts.tasks() / cuts.chunks * cuts.part();
        for c in 0..g.ic {
            let (row_block, row) = (c / cuts.rows, c % cuts.rows);
            for tap in 0..cuts.taps {
                let part = (tap * cuts.row_blocks + row_block) * cuts.column_blocks + block;
                let start = part * cuts.part() + row * cuts.columns + column;
                let mut sums = [0.0; FILTERS];
                for part in scratch[start..].chunks(distance) {
                    sums.iter_mut().zip(&part[..FILTERS]).for_each(|(sum, x)| *sum += x);
                }
                for (filter, sum) in filters.chunks_exact_mut(filter).zip(sums) {
                    filter[c * cuts.taps + tap] = sum;
                }
            }
        }
    });
}

/// The part of the gradient that one task computes.
pub(crate) struct Correlate<'a> {
    pass: &'a Pass,
    src: &'a [f32],
    diff_dst: &'a [f32],
    tap: usize,
    /// Output pixels.
    pixels: Range<usize>,
    /// Input channels.
    rows: Range<usize>,
    /// Output channels, starting at a panel.
    columns: Range<usize>,
    /// `[row][column]`.
    dst: &'a mut [f32],
    /// Floats between rows of `dst`: whole panels.
    ldc: usize,
    buffer: &'a mut [f32],
}

impl SimdOp for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { pass, src, diff_dst, tap, mut pixels, rows, columns, dst, ldc, buffer } = self;
        let (b, a) = buffer.split_at_mut(KC * MAX_NR);
        let a = a.as_chunks_mut::<8>().0;
        let mut pairs = [(0, 0); KC];
        let mut first = true;
        loop {
            let count = connected(pass, tap, &mut pixels, &mut pairs);
            if count == 0 {
                break;
            }
            let pairs = &pairs[..count];
            pack_tiles::<S>(src, pass.input().stride, pairs, &rows, a);
            for column in columns.clone().step_by(PANEL_VECTORS * S::LANES) {
                let nr = panel_vectors(S::LANES, columns.end - column) * S::LANES;
                let b = &mut b[..count * nr];
                let stride = pass.output().stride;
                for (&(output, _), to) in pairs.iter().zip(b.chunks_exact_mut(nr)) {
                    copy_whole(simd, &diff_dst[output * stride + column..][..nr], to);
                }
                let out = Output {
                    c: &mut *dst,
                    ldc,
                    rows: OutputRows::First(rows.len()),
                    column: column - columns.start,
                    start: first.then_some(&[0.0; MAX_NR]),
                    relu: false,
                    adds: false,
                };
                panel(simd, columns.end - column, Tiles(a), b, Ahead::default(), out);
            }
            first = false;
        }
        if first {
            dst.fill(0.0);
        }
    }
}

/// Lists the next pairs `(output, input)` of pixels that `tap` connects, and takes their outputs off
/// `pixels`. Returns their number.
#[inline(always)]
fn connected(
    pass: &Pass,
    tap: usize,
    pixels: &mut Range<usize>,
    pairs: &mut [(usize, usize); KC],
) -> usize {
    let (ky, kx) = pass.tap(tap);
    let mut count = 0;
    while pixels.start < pixels.end {
        let span = pass.span(pixels.clone());
        if let Some(row) = pass.input_row(ky, &span) {
            for (x, ix) in pass.reach_x(kx).within(span.x.clone()) {
                let output = pixels.start + x - span.x.start;
                if count == KC {
                    pixels.start = output;
                    return count;
                }
                pairs[count] = (output, row + ix);
                count += 1;
            }
        }
        pixels.start += span.x.len();
    }
    count
}

/// Packs the channels `rows` of the input pixels of `pairs` as tiles.
#[inline(always)]
fn pack_tiles<S: Simd>(
    src: &[f32],
    stride: usize,
    pairs: &[(usize, usize)],
    rows: &Range<usize>,
    a: &mut [Column],
) {
    let mut starts = [0; MAX_ROWS];
    let count =
        tiles(rows.len(), S::MR).zip(&mut starts).map(|((row, _), start)| *start = row).count();
    for (k, &(_, input)) in pairs.iter().enumerate() {
        // Up to the end of the map: a tile may read lanes past its rows, which it does not use.
        let pixel = &src[input * stride + rows.start..];
        for (tile, &row) in starts[..count].iter().enumerate() {
            let to = &mut a[tile * TILE_STRIDE + k];
            match pixel[row..].first_chunk() {
                Some(from) => *to = *from,
                None => to[..pixel.len() - row].copy_from_slice(&pixel[row..]),
            }
        }
    }
}
