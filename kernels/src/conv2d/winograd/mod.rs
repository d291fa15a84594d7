//! 3x3 convolution by minimal filtering: a tile of outputs takes one product a place,
//! input channel and output channel, and has fewer places than taps times outputs.
//!
//! Places are matrix products, of tiles by input channels with input channels by output channels. In
//! small convolutions a task takes some rows of tiles from input to output in the cache of its core;
//! where the transformed weights are large, tasks share the factors of many tiles, each task
//! multiplying those of some places, so that weights are read once.
//!
//! The gradient of the input of a convolution with stride 1 is the same sum with the maps exchanged and the
//! kernels turned around. That of a convolution with stride 2 has a transform of its own.

mod accumulate;
mod collect;
mod factors;
pub(super) mod gradient;
mod kinds;
mod multiply;
mod outputs;
mod spread;
mod stages;
mod stride_2;
mod tiling;
pub(super) mod transform;
mod weights;

use super::algorithm::{Algorithm, Operands};
use super::cost;
use super::taps::Pass;
use super::{Activation, Conv2dGeometry, Pooling};
use crate::Context;
use crate::dispatch::enter;
use crate::gemm::micro::PANEL_VECTORS;
use crate::gemm::stored::Packed;
use crate::simd::Simd;
use accumulate::Accumulate;
use factors::Factors;
use kinds::Kind;
use multiply::Multiply;
use outputs::{Finish, Outputs};
use stages::Kernels;
use std::marker::PhantomData;
use std::ops::Range;
use stride_2::{F43Stride2, F43Stride2Data};
use tiling::Tiling;
use transform::{F23, F23Stride2, F43, Toeplitz};
use weights::Weights;

pub(crate) const FORWARD_F43: Algorithm = algorithm::<F43, 6, true>("winograd_4x4");
pub(crate) const FORWARD_F23: Algorithm = algorithm::<F23, 6, true>("winograd_2x2");
pub(crate) const FORWARD_F23_STRIDE_2: Algorithm =
    algorithm::<F23Stride2, 6, true>("winograd_2x2_stride_2");
pub(crate) const FORWARD_F43_STRIDE_2: Algorithm =
    algorithm::<F43Stride2, 9, true>("winograd_4x4_stride_2");
pub(crate) const FORWARD_TOEPLITZ: Algorithm = algorithm::<Toeplitz, 6, true>("toeplitz_2x2");
pub(crate) const BACKWARD_DATA_F43: Algorithm = algorithm::<F43, 6, false>("winograd_4x4");
pub(crate) const BACKWARD_DATA_F23: Algorithm = algorithm::<F23, 6, false>("winograd_2x2");
pub(crate) const BACKWARD_DATA_F43_STRIDE_2: Algorithm =
    algorithm::<F43Stride2Data, 9, false>("winograd_8x8_stride_2");
pub(crate) const BACKWARD_DATA_TOEPLITZ: Algorithm =
    algorithm::<Toeplitz, 6, false>("toeplitz_2x2");

const fn algorithm<T: Kind<SIDE>, const SIDE: usize, const FORWARD: bool>(
    name: &'static str,
) -> Algorithm {
    Algorithm {
        name,
        applies: |g| {
            let dense3x3 = g.kh == 3 && g.kw == 3 && g.groups == 1;
            dense3x3 && g.stride == T::STRIDE && g.padding <= 2 && T::applies(g)
        },
        fuses: true,
        widens: true,
        filtering: true,
        cost: |isa, g| {
            let tiling = T::tiling(&pass::<FORWARD>(g));
            let tiles = tiling.rows * tiling.per_row;
            let (places, channels) = (tiling.places(), (tiling.k, tiling.columns));
            cost::filtering(isa, (tiles, places), channels, &T::STAGES)
        },
        packed_len: |cx, g| {
            let tiling = T::tiling(&pass::<FORWARD>(g));
            tiling.columns.next_multiple_of(cx.isa().lanes) * tiling.k * tiling.places()
        },
        pack: |cx, g, weights, packed| {
            pack::<T, SIDE>(cx, &T::tiling(&pass::<FORWARD>(g)), weights, packed)
        },
        scratch_len: |g| scratch_len(&T::tiling(&pass::<FORWARD>(g))),
        run: |cx, g, operands, scratch| {
            run::<T, SIDE>(cx, &T::tiling(&pass::<FORWARD>(g)), operands, scratch)
        },
    }
}

fn pass<const FORWARD: bool>(g: &Conv2dGeometry) -> Pass {
    Pass { g: *g, forward: FORWARD }
}

/// The kernels of one instruction set.
#[derive(Debug)]
pub(super) struct Table {
    f43: Kernels,
    f23: Kernels,
    f23_stride_2: Kernels,
    f43_stride_2: Kernels,
    f43_stride_2_data: Kernels,
    toeplitz: Kernels,
    multiply: fn(Multiply<'_>),
    accumulate: fn(Accumulate<'_>),
}

impl Table {
    pub(super) const fn of<S: Simd>() -> Self {
        Self {
            f43: Kernels::of::<S, F43, 6>(),
            f23: Kernels::of::<S, F23, 6>(),
            f23_stride_2: Kernels::of::<S, F23Stride2, 6>(),
            f43_stride_2: Kernels::of::<S, F43Stride2, 9>(),
            f43_stride_2_data: Kernels::of::<S, F43Stride2Data, 9>(),
            toeplitz: Kernels::of::<S, Toeplitz, 6>(),
            multiply: |op| enter::<S, _>(op),
            accumulate: |op| enter::<S, _>(op),
        }
    }
}

/// Packs weights as `[panel][block of channels][place][channel][column of the panel]`.
fn pack<T: Kind<SIDE>, const SIDE: usize>(
    cx: &Context,
    tiling: &Tiling,
    weights: &[f32],
    packed: &mut [f32],
) {
    let full = PANEL_VECTORS * cx.isa().lanes;
    let weights_of = T::kernels(&cx.isa().conv2d.winograd).weights;
    cx.threads().for_each_chunk(packed, tiling.places() * tiling.k * full, |i, packed| {
        weights_of(Weights { tiling, weights, column: i * full, packed });
    });
}

fn scratch_len(tiling: &Tiling) -> usize {
    if tiling.own {
        return 0;
    }
    let products = tiling.chunks() * tiling.places() * tiling.products_place(tiling.tiles());
    tiling.groups_len(tiling.tiles()) + products
}

fn run<T: Kind<SIDE>, const SIDE: usize>(
    cx: &Context,
    tiling: &Tiling,
    operands: Operands<'_>,
    scratch: &mut [f32],
) {
    let Operands { a: src, b: packed, storage, dst, .. } = operands;
    let packed = Packed::new(packed, storage);
    let finish = Finish {
        bias: operands.bias,
        residual: operands.residual,
        relu: operands.activation == Activation::Relu,
        pools: operands.pooling == Pooling::Max2x2,
    };
    let stages = Run::<T, SIDE> { cx, tiling, src, packed, finish, transform: PhantomData };
    match tiling.own {
        true => stages.apart(dst),
        false => stages.together(dst, scratch),
    }
}

/// A pass being run.
struct Run<'a, T, const SIDE: usize> {
    cx: &'a Context,
    tiling: &'a Tiling,
    src: &'a [f32],
    packed: Packed<'a>,
    finish: Finish<'a>,
    transform: PhantomData<T>,
}

impl<T: Kind<SIDE>, const SIDE: usize> Run<'_, T, SIDE> {
    /// Each task takes rows of tiles from input to output, in its buffer.
    fn apart(&self, dst: &mut [f32]) {
        let (threads, tiling) = (self.cx.threads(), self.tiling);
        let tasks = tiling.tasks(threads.count());
        let first = |i: usize| i * tiling.rows / tasks;
        let task = |rows: Range<usize>, dst: &mut [f32], buffer: &mut [f32]| {
            let tiles = self.tiles(&rows);
            let (factors, products) = buffer.split_at_mut(tiling.groups_len(tiles.len()));
            self.factors(tiles.clone(), factors);
            let len = tiling.products_place(tiles.len());
            let products = &mut products[..tiling.places() * len];
            for column in (0..tiling.columns).step_by(tiling.chunk) {
                let columns = column..tiling.columns.min(column + tiling.chunk);
                let places = 0..tiling.places();
                self.multiply(factors, tiles.len(), places, columns.clone(), products);
                self.outputs(products, &tiles, columns, rows.clone(), dst);
            }
        };
        threads.for_each_piece(
            dst,
            tasks,
            |i| self.start(first(i)),
            |i, dst| threads.with_buffer(|buffer| task(first(i)..first(i + 1), dst, buffer)),
        );
    }

    /// Each stage is done for many tiles before the next begins, by tasks cut anew.
    fn together(&self, dst: &mut [f32], scratch: &mut [f32]) {
        let (threads, tiling) = (self.cx.threads(), self.tiling);
        let (factors, products) = scratch.split_at_mut(tiling.groups_len(tiling.tiles()));
        for first in (0..tiling.rows).step_by(tiling.rows_at_a_time) {
            let rows = first..tiling.rows.min(first + tiling.rows_at_a_time);
            let tiles = self.tiles(&rows);
            let factors = &mut factors[..tiling.groups_len(tiles.len())];
            threads.for_each_chunk(factors, tiling.factors_len(), |i, factors| {
                let first = tiles.start + i * tiling.group;
                self.factors(first..tiles.end.min(first + tiling.group), factors);
            });
            let (factors, len) = (&*factors, tiling.products_place(tiles.len()));
            let products = &mut products[..tiling.chunks() * tiling.places() * len];
            let some = tiling.places_of_task(tiles.len(), threads.count());
            threads.for_each_chunk(products, some * len, |i, products| {
                let (place, chunk) = (i * some % tiling.places(), i * some / tiling.places());
                let column = chunk * tiling.chunk;
                let columns = column..tiling.columns.min(column + tiling.chunk);
                self.multiply(factors, tiles.len(), place..place + some, columns, products);
            });
            let (products, begin) = (&*products, self.start(rows.start));
            let end = if rows.end < tiling.rows { self.start(rows.end) } else { dst.len() };
            let step = (tiling.group / tiling.per_row).max(1);
            threads.for_each_piece(
                &mut dst[begin..end],
                rows.len().div_ceil(step),
                |i| self.start(rows.start + i * step) - begin,
                |i, dst| {
                    let first = rows.start + i * step;
                    let rows = first..rows.end.min(first + step);
                    self.outputs(products, &tiles, 0..tiling.columns, rows, dst);
                },
            );
        }
    }

    /// The tiles of some rows of tiles.
    fn tiles(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start * self.tiling.per_row..rows.end * self.tiling.per_row
    }

    /// Where the outputs of a row of tiles start.
    fn start(&self, row: usize) -> usize {
        self.tiling.output_of(row, T::OUTPUT, self.finish.pools).0
    }

    fn factors(&self, tiles: Range<usize>, factors: &mut [f32]) {
        let Self { tiling, src, .. } = *self;
        (self.kernels().factors)(Factors { tiling, src, tiles, factors });
    }

    fn multiply(
        &self,
        factors: &[f32],
        tiles: usize,
        places: Range<usize>,
        columns: Range<usize>,
        products: &mut [f32],
    ) {
        let Self { tiling, packed, .. } = *self;
        let op = Multiply { tiling, factors, tiles, packed, places, columns, products };
        (self.cx.isa().conv2d.winograd.multiply)(op);
    }

    fn outputs(
        &self,
        products: &[f32],
        tiles: &Range<usize>,
        columns: Range<usize>,
        rows: Range<usize>,
        dst: &mut [f32],
    ) {
        let Self { tiling, finish, .. } = *self;
        let tiles = tiles.clone();
        let op = Outputs { tiling, products, tiles, columns, rows, finish, dst };
        (self.kernels().outputs)(op);
    }

    fn kernels(&self) -> &Kernels {
        T::kernels(&self.cx.isa().conv2d.winograd)
    }
}
