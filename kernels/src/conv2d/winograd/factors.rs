//! The stage from inputs to factors.

use super::stages::{By, side};
use super::tiling::Tiling;
use super::transform::Transform;
use crate::CHANNEL_ALIGN as LINE;
use crate::simd::{Simd, SimdOp};
use crate::windows::inside;
use std::ops::Range;

/// Transforms the inputs of some tiles.
pub(crate) struct Factors<'a> {
    pub(super) tiling: &'a Tiling,
    pub(super) src: &'a [f32],
    /// Counted over the batch.
    pub(super) tiles: Range<usize>,
    /// `[block][place][tile][row]`, with `Tiling::row` floats a row and `Tiling::place` a place.
    pub(super) factors: &'a mut [f32],
}

/// The most tiles side by side that are transformed together: half-way, a cache line of channels of them
/// takes 13 KiB of the first-level cache, or 19 where a tile has nine products on an axis.
const STRIP: usize = 8;

/// Columns ahead of that being transformed that are fetched.
const AHEAD: usize = 6;

/// Columns of inputs that a strip covers.
const STRIP_COLUMNS: usize = 4 * STRIP + 2;

impl<T: Transform<SIDE>, const SIDE: usize> SimdOp for By<Factors<'_>, T, SIDE> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let strip = const { tiles_of_a_strip(T::INPUT, T::STEP) };
        let Factors { tiling, src, tiles, factors } = self.0;
        let mut half = [[[0.0; LINE]; STRIP_COLUMNS]; SIDE];
        let half = half.as_flattened_mut().as_flattened_mut();
        let mut tile = tiles.start;
        while tile < tiles.end {
            let (image, y, x) = tiling.input_of(tile, T::STEP);
            let count = strip.min(tiling.per_row - tile % tiling.per_row).min(tiles.end - tile);
            let width = (count - 1) * T::STEP + T::INPUT;
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
                                let start = (i * STRIP_COLUMNS + t * T::STEP) * LINE + c;
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

/// The most tiles whose inputs a strip covers.
const fn tiles_of_a_strip(input: usize, step: usize) -> usize {
    let tiles = (STRIP_COLUMNS - input) / step + 1;
    if tiles < STRIP { tiles } else { STRIP }
}
