//! The stages of a convolution by minimal filtering, each for some tiles: inputs to factors, factors
//! to products (a matrix product for each place in a tile), products to outputs.

#![allow(
    clippy::needless_range_loop,
    reason = "constant ranges unroll, and keep arrays in registers"
)]

use super::tiling::Tiling;
use super::transform::{SIDE, Transform};
use crate::CHANNEL_ALIGN as LINE;
use crate::dispatch::enter;
use crate::gemm::ahead::Ahead;
use crate::gemm::micro::{MAX_NR, Output, OutputRows, PANEL_VECTORS, Rows, panel, panel_vectors};
use crate::simd::{Simd, SimdOp, load_up_to};
use std::marker::PhantomData;
use std::ops::Range;

/// The kernels of one instruction set and one transform.
#[derive(Debug)]
pub(crate) struct Kernels {
    pub(super) weights: fn(Weights<'_>),
    pub(super) factors: fn(Factors<'_>),
    pub(super) outputs: fn(Outputs<'_>),
}

impl Kernels {
    pub(crate) const fn of<S: Simd, T: Transform>() -> Self {
        Self {
            weights: |op| enter::<S, _>(By::<_, T>(op, PhantomData)),
            factors: |op| enter::<S, _>(By::<_, T>(op, PhantomData)),
            outputs: |op| enter::<S, _>(By::<_, T>(op, PhantomData)),
        }
    }
}

/// A stage with the transform it is for.
struct By<O, T>(O, PhantomData<T>);

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

/// Transforms the inputs of some tiles.
pub(crate) struct Factors<'a> {
    pub(super) tiling: &'a Tiling,
    pub(super) src: &'a [f32],
    /// Counted over the batch.
    pub(super) tiles: Range<usize>,
    /// `[block][place][tile][row]`, with `Tiling::row` floats a row and `Tiling::place` a place.
    pub(super) factors: &'a mut [f32],
}

/// Tiles side by side that are transformed together: half-way, a cache line of channels of them takes
/// 13 KiB of the first-level cache.
const STRIP: usize = 8;

/// Columns ahead of that being transformed that are fetched.
const AHEAD: usize = 6;

/// Columns of inputs that a strip covers.
const STRIP_COLUMNS: usize = 4 * STRIP + 2;

impl<T: Transform> SimdOp for By<Factors<'_>, T> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        const { assert!((STRIP - 1) * T::OUTPUT + T::INPUT <= STRIP_COLUMNS) };
        let Factors { tiling, src, tiles, factors } = self.0;
        let mut half = [0.0; SIDE * STRIP_COLUMNS * LINE];
        let mut tile = tiles.start;
        while tile < tiles.end {
            let (image, y, x) = tiling.input_of(tile, T::OUTPUT);
            let count = STRIP.min(tiling.per_row - tile % tiling.per_row).min(tiles.end - tile);
            let width = (count - 1) * T::OUTPUT + T::INPUT;
            let (rows, columns) = (inside(y, T::INPUT, tiling.ih), inside(x, width, tiling.iw));
            let pixel = |row: usize, column: usize| {
                let (y, x) = (y + row as isize, x + column as isize);
                ((image * tiling.ih + y as usize) * tiling.iw + x as usize) * tiling.src_stride
            };
            for block in 0..tiling.blocks() {
                let channels = tiling.block(block);
                let start = tiling.factors_start(block, 0);
                let out = &mut factors[start + (tile - tiles.start) * tiling.row..];
                for line in (0..channels.len()).step_by(LINE) {
                    let lanes = LINE.min(channels.len() - line);
                    // Columns of all tiles, [product][column][channel], those that tiles share once.
                    for column in 0..width {
                        let half = &mut half[column * LINE..];
                        let (ahead, line_ahead) = match column + AHEAD {
                            ahead if ahead < width => (ahead, line),
                            ahead => (ahead - width, line + LINE),
                        };
                        if columns.contains(&ahead) && line_ahead < channels.len() {
                            for i in rows.clone() {
                                simd.prefetch(src, pixel(i, ahead) + channels.start + line_ahead);
                            }
                        }
                        for c in (0..lanes).step_by(S::LANES) {
                            let channel = channels.start + line + c;
                            let inputs = if !columns.contains(&column) || rows.is_empty() {
                                [simd.splat(0.0); SIDE]
                            } else if rows.len() == T::INPUT {
                                let (src, down) = (&src[pixel(0, column) + channel..], tiling.iw);
                                simd.load_strided(src, down * tiling.src_stride, T::INPUT)
                            } else {
                                side(
                                    #[inline(always)]
                                    |i| match rows.contains(&i) {
                                        true => simd.load(&src[pixel(i, column) + channel..]),
                                        false => simd.splat(0.0),
                                    },
                                )
                            };
                            let (column, distance) = (T::input(simd, inputs), STRIP_COLUMNS * LINE);
                            simd.store_strided(column, &mut half[c..], distance, T::PRODUCTS);
                        }
                    }
                    for t in 0..count {
                        let out = &mut out[t * tiling.row + line..];
                        for i in 0..T::PRODUCTS {
                            for c in (0..lanes).step_by(S::LANES) {
                                let start = (i * STRIP_COLUMNS + t * T::OUTPUT) * LINE + c;
                                let inputs = simd.load_strided(&half[start..], LINE, T::INPUT);
                                let row = T::input(simd, inputs);
                                let out = &mut out[i * T::PRODUCTS * tiling.place + c..];
                                simd.store_strided(row, out, tiling.place, T::PRODUCTS);
                            }
                        }
                    }
                }
            }
            tile += count;
        }
    }
}

/// Which of `len` coordinates from `start` on lie in `0..size`.
fn inside(start: isize, len: usize, size: usize) -> Range<usize> {
    let first = usize::try_from(-start).unwrap_or(0).min(len);
    let end = (size as isize - start).clamp(0, len as isize) as usize;
    first..end.max(first)
}

/// `f` of each index: written out, so that nothing of the array need exist before.
#[inline(always)]
fn side<V>(f: impl Fn(usize) -> V) -> [V; SIDE] {
    [f(0), f(1), f(2), f(3), f(4), f(5)]
}

/// Multiplies the factors of some places by their weights.
pub(crate) struct Multiply<'a> {
    pub(super) tiling: &'a Tiling,
    /// Of all groups, the last of which may have fewer tiles.
    pub(super) factors: &'a [f32],
    pub(super) tiles: usize,
    pub(super) packed: &'a [f32],
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
        match self.tiling.row {
            80 => self.rows_of::<S, 80>(simd),
            144 => self.rows_of::<S, 144>(simd),
            _ => self.rows_of::<S, 272>(simd),
        }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn rows_of<S: Simd, const ROW: usize>(self, simd: S) {
        let Self { tiling, factors, tiles, packed, places, columns, products } = self;
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
        for place in places.clone() {
            let products = &mut products[(place - places.start) * place_len..];
            let last_place = place + 1 == tiling.places();
            for column in columns.clone().step_by(full) {
                let last_column = column + full >= columns.end;
                for block in 0..blocks {
                    let b = panel_of(column, place, block);
                    let next = match (block + 1 < blocks, last_column, last_place) {
                        _ if tiling.cached => &[],
                        (true, _, _) => panel_of(column, place, block + 1),
                        (_, false, _) => panel_of(column + full, place, 0),
                        (_, _, false) => panel_of(columns.start, place + 1, 0),
                        _ => &[],
                    };
                    for group in 0..groups {
                        let a = group_of(group, place, block);
                        // The last group fetches the next panel. In the first panel, each fetches the
                        // rows of the next, and the last those of the next place.
                        let last = group + 1 == groups;
                        let rows = match (last, last_place) {
                            _ if tiling.own || column > columns.start => &[],
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
                        };
                        match panel_vectors(S::LANES, tiling.columns - column) {
                            1 => panel::<S, 1>(simd, Rows(a), b, ahead, out),
                            _ => panel::<S, 2>(simd, Rows(a), b, ahead, out),
                        }
                    }
                }
            }
        }
    }
}

/// Transforms the products of some rows of tiles to outputs.
pub(crate) struct Outputs<'a> {
    pub(super) tiling: &'a Tiling,
    /// `[chunk of columns][place][tile][row]`.
    pub(super) products: &'a [f32],
    /// Tiles that `products` has.
    pub(super) tiles: Range<usize>,
    /// Output channels that `products` has, starting at a chunk.
    pub(super) columns: Range<usize>,
    /// Rows of tiles, counted over the batch.
    pub(super) rows: Range<usize>,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) relu: bool,
    /// The output from the first of `rows` on.
    pub(super) dst: &'a mut [f32],
}

impl<T: Transform> SimdOp for By<Outputs<'_>, T> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Outputs { tiling, products, tiles, columns, rows, bias, relu, dst } = self.0;
        let (stride, zero) = (tiling.dst_stride, simd.splat(0.0));
        let low = if relu { zero } else { simd.splat(f32::NEG_INFINITY) };
        let place_len = tiling.products_place(tiles.len());
        let origin = tiling.output_of(rows.start, T::OUTPUT).0;
        let written = tiling.columns.next_multiple_of(S::LANES);
        // Half-way: `[output row][product column][channel]`.
        let mut half = [0.0; SIDE * SIDE * LINE];
        for row in rows {
            let (start, height) = tiling.output_of(row, T::OUTPUT);
            let next_row = tiling.output_of(row + 1, T::OUTPUT).0;
            let dst = &mut dst[start - origin..];
            for x in 0..tiling.per_row {
                let tile = row * tiling.per_row + x - tiles.start;
                let width = T::OUTPUT.min(tiling.ow - x * T::OUTPUT);
                // The next tile's outputs, which are made ready for writing meanwhile.
                let to_next = match x + 1 < tiling.per_row {
                    true => T::OUTPUT * stride,
                    false => next_row - start - x * T::OUTPUT * stride,
                };
                let dst = &mut dst[x * T::OUTPUT * stride..];
                let chunks =
                    products[tile * tiling.products_row..].chunks(tiling.places() * place_len);
                for (products, first) in chunks.zip(columns.clone().step_by(tiling.chunk)) {
                    let end = columns.end.min(first + tiling.chunk);
                    for line in (first..end).step_by(LINE) {
                        let lanes = (end - line).min(LINE);
                        // Where all columns of a tile are written in one go, the CPU sees it coming.
                        if tiling.own {
                            for i in 0..height {
                                for j in 0..width {
                                    let pixel = (i * tiling.ow + j) * stride;
                                    simd.prefetch_write(dst, to_next + pixel + line);
                                }
                            }
                        }
                        for j in 0..T::PRODUCTS {
                            for c in (0..lanes).step_by(S::LANES) {
                                let column = &products[j * place_len + line - first + c..];
                                let down = T::PRODUCTS * place_len;
                                let column = simd.load_strided(column, down, T::PRODUCTS);
                                let column = T::output(simd, column);
                                let half = &mut half[j * LINE + c..];
                                simd.store_strided(column, half, SIDE * LINE, T::OUTPUT);
                            }
                        }
                        for c in (0..lanes).step_by(S::LANES) {
                            let bias = match bias {
                                Some(bias) => load_up_to(simd, bias, line + c),
                                None => zero,
                            };
                            for i in 0..height {
                                let row = &half[i * SIDE * LINE + c..];
                                let row = simd.load_strided(row, LINE, T::PRODUCTS);
                                let y = T::output(simd, row);
                                let y = side(
                                    #[inline(always)]
                                    |j| simd.max(low, simd.add(y[j], bias)),
                                );
                                let dst = &mut dst[i * tiling.ow * stride + line + c..];
                                if width == T::OUTPUT {
                                    simd.store_strided(y, dst, stride, T::OUTPUT);
                                } else {
                                    for j in 0..T::OUTPUT {
                                        if j < width {
                                            simd.store(y[j], &mut dst[j * stride..]);
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                if columns.end == tiling.columns && written < stride {
                    for i in 0..height {
                        for j in 0..width {
                            let at = (i * tiling.ow + j) * stride;
                            dst[at + written..at + stride].fill(0.0);
                        }
                    }
                }
            }
        }
    }
}
