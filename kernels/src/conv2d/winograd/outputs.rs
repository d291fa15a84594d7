//! The stage from products to outputs.

#![allow(
    clippy::needless_range_loop,
    reason = "constant ranges unroll, and keep arrays in registers"
)]

use super::stages::{By, side};
use super::tiling::Tiling;
use super::transform::{SIDE, Transform};
use crate::CHANNEL_ALIGN as LINE;
use crate::simd::{Simd, SimdOp, load_up_to};
use std::ops::Range;

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
