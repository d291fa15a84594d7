//! The stage from products to outputs.

#![allow(
    clippy::needless_range_loop,
    reason = "constant ranges unroll, and keep arrays in registers"
)]

use super::stages::{By, side};
use super::tiling::Tiling;
use super::transform::Transform;
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
    pub(super) finish: Finish<'a>,
    /// What is written, from the first of `rows` on.
    pub(super) dst: &'a mut [f32],
}

/// What becomes of an output before it is written.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    pub(super) bias: Option<&'a [f32]>,
    /// Of the whole pass, added to it.
    pub(super) residual: Option<&'a [f32]>,
    /// Whether negative outputs become zero.
    pub(super) relu: bool,
    /// Whether only the largest of each 2x2 pixels is written.
    pub(super) pools: bool,
}

impl<T: Transform<SIDE>, const SIDE: usize> SimdOp for By<Outputs<'_>, T, SIDE> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        match (self.0.finish.residual, self.0.finish.pools) {
            (None, false) => self.0.transform::<S, T, SIDE, false, false>(simd),
            (Some(_), false) => self.0.transform::<S, T, SIDE, true, false>(simd),
            (None, true) => self.0.transform::<S, T, SIDE, false, true>(simd),
            (Some(_), true) => self.0.transform::<S, T, SIDE, true, true>(simd),
        }
    }
}

impl Outputs<'_> {
    #[inline(always)]
    fn transform<
        S: Simd,
        T: Transform<SIDE>,
        const SIDE: usize,
        const ADDS: bool,
        const POOLS: bool,
    >(
        self,
        simd: S,
    ) {
        let Outputs { tiling, products, tiles, columns, rows, finish, dst } = self;
        let Finish { bias, residual, relu, .. } = finish;
        let (residual, pools) = (residual.filter(|_| ADDS), POOLS);
        let (stride, zero) = (tiling.dst_stride, simd.splat(0.0));
        let low = if relu { zero } else { simd.splat(f32::NEG_INFINITY) };
        let place_len = tiling.products_place(tiles.len());
        let origin = tiling.output_of(rows.start, T::OUTPUT, pools).0;
        // Pixels of a tile and of a row, as they are written.
        let (tile_side, across) = match pools {
            true => (T::OUTPUT / 2, tiling.ow / 2),
            false => (T::OUTPUT, tiling.ow),
        };
        let written = tiling.columns.next_multiple_of(S::LANES);
        // Half-way: `[output row][product column][channel]`.
        let mut half = [[[0.0; LINE]; SIDE]; SIDE];
        let half = half.as_flattened_mut().as_flattened_mut();
        for row in rows {
            let (start, height) = tiling.output_of(row, T::OUTPUT, pools);
            let next_row = tiling.output_of(row + 1, T::OUTPUT, pools).0;
            let (unpooled, _) = tiling.output_of(row, T::OUTPUT, false);
            let dst = &mut dst[start - origin..];
            for x in 0..tiling.per_row {
                let tile = row * tiling.per_row + x - tiles.start;
                let width = tile_side.min(across - x * tile_side);
                // The next tile's outputs, which are made ready for writing meanwhile.
                let to_next = match x + 1 < tiling.per_row {
                    true => tile_side * stride,
                    false => next_row - start - x * tile_side * stride,
                };
                let dst = &mut dst[x * tile_side * stride..];
                let residual = residual.map(
                    #[inline(always)]
                    |residual| &residual[unpooled + x * T::OUTPUT * stride..],
                );
                let last = Last {
                    half: &[],
                    bias: zero,
                    residual,
                    strides: [stride, tiling.ow * stride],
                    width: T::OUTPUT.min(tiling.ow - x * T::OUTPUT),
                    low,
                };
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
                                    let pixel = (i * across + j) * stride;
                                    simd.prefetch_write(dst, to_next + pixel + line);
                                    if let Some(residual) = residual {
                                        simd.prefetch(residual, to_next + pixel + line);
                                    }
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
                            let residual = last.residual.map(
                                #[inline(always)]
                                |residual| &residual[line + c..],
                            );
                            let last = Last { residual, half: &half[c..], bias, ..last };
                            for i in 0..height {
                                let y = match pools {
                                    false => last.row::<S, T, SIDE>(simd, i),
                                    true => last.pooled::<S, T, SIDE>(simd, i),
                                };
                                let dst = &mut dst[i * across * stride + line + c..];
                                if width == tile_side {
                                    simd.store_strided(y, dst, stride, tile_side);
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
                            let at = (i * across + j) * stride;
                            dst[at + written..at + stride].fill(0.0);
                        }
                    }
                }
            }
        }
    }
}

/// The last transformation of a vector of channels of a tile and what follows it.
struct Last<'a, V> {
    /// `[output row][product column][channel]`.
    half: &'a [f32],
    bias: V,
    residual: Option<&'a [f32]>,
    /// Floats between pixels and rows of the residual.
    strides: [usize; 2],
    /// Pixels of a row that exist.
    width: usize,
    /// What outputs are not below.
    low: V,
}

impl<V: Copy> Last<'_, V> {
    /// The outputs of row `i`.
    #[inline(always)]
    fn row<S: Simd<F32 = V>, T: Transform<SIDE>, const SIDE: usize>(
        &self,
        simd: S,
        i: usize,
    ) -> [V; SIDE] {
        let row = simd.load_strided(&self.half[i * SIDE * LINE..], LINE, T::PRODUCTS);
        let y = T::output(simd, row);
        let sums: [V; SIDE] = side(
            #[inline(always)]
            |j| simd.add(y[j], self.bias),
        );
        let sums = match self.residual {
            None => sums,
            Some(residual) => {
                let [right, down] = self.strides;
                let residual = &residual[i * down..];
                let residual: [V; SIDE] = match self.width == T::OUTPUT {
                    true => simd.load_strided(residual, right, T::OUTPUT),
                    false => side(
                        #[inline(always)]
                        |j| match j < self.width {
                            true => simd.load(&residual[j * right..]),
                            false => self.bias,
                        },
                    ),
                };
                side(
                    #[inline(always)]
                    |j| simd.add(sums[j], residual[j]),
                )
            }
        };
        side(
            #[inline(always)]
            |j| simd.max(self.low, sums[j]),
        )
    }

    /// The largest of each two by two outputs of row `2 * i` and the next.
    #[inline(always)]
    fn pooled<S: Simd<F32 = V>, T: Transform<SIDE>, const SIDE: usize>(
        &self,
        simd: S,
        i: usize,
    ) -> [V; SIDE] {
        let (a, b) = (self.row::<S, T, SIDE>(simd, 2 * i), self.row::<S, T, SIDE>(simd, 2 * i + 1));
        let mut largest = side(
            #[inline(always)]
            |j| simd.max_or_nan(a[j], b[j]),
        );
        for j in 0..T::OUTPUT / 2 {
            largest[j] = simd.max_or_nan(largest[2 * j], largest[2 * j + 1]);
        }
        largest
    }
}
