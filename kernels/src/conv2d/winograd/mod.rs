//! 3x3 convolution with stride 1 by minimal filtering: a tile of outputs takes one product a place,
//! input channel and output channel, and has fewer places than taps times outputs.
//!
//! Places are matrix products, of tiles by input channels with input channels by output channels. In
//! small convolutions a task takes some rows of tiles from input to output in the cache of its core;
//! where the transformed weights are large, tasks share the factors of many tiles, each task
//! multiplying those of some places, so that weights are read once.
//!
//! The gradient of the input is the same sum with the maps exchanged and the kernels turned around.

mod stages;
mod tiling;
pub(super) mod transform;

use super::algorithm::{Algorithm, Operands};
use super::cost::{self, Stages};
use super::taps::Pass;
use super::{Activation, Conv2dGeometry};
use crate::Context;
use crate::dispatch::enter;
use crate::gemm::micro::PANEL_VECTORS;
use crate::simd::Simd;
use stages::{Factors, Kernels, Multiply, Outputs, Weights};
use tiling::Tiling;
use transform::{F23, F43, Toeplitz, Transform};

pub(crate) const FORWARD_F43: Algorithm = algorithm::<F43, true>("winograd_4x4");
pub(crate) const FORWARD_F23: Algorithm = algorithm::<F23, true>("winograd_2x2");
pub(crate) const FORWARD_TOEPLITZ: Algorithm = algorithm::<Toeplitz, true>("toeplitz_2x2");
pub(crate) const BACKWARD_DATA_F43: Algorithm = algorithm::<F43, false>("winograd_4x4");
pub(crate) const BACKWARD_DATA_F23: Algorithm = algorithm::<F23, false>("winograd_2x2");
pub(crate) const BACKWARD_DATA_TOEPLITZ: Algorithm = algorithm::<Toeplitz, false>("toeplitz_2x2");

const fn algorithm<T: Kind, const FORWARD: bool>(name: &'static str) -> Algorithm {
    Algorithm {
        name,
        applies: |g| {
            let dense3x3 = g.kh == 3 && g.kw == 3 && g.stride == 1 && g.groups == 1;
            dense3x3 && g.padding <= 2 && T::applies(g)
        },
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
            pack::<T>(cx, &T::tiling(&pass::<FORWARD>(g)), weights, packed)
        },
        scratch_len: |g| scratch_len(&T::tiling(&pass::<FORWARD>(g))),
        run: |cx, g, operands, scratch| {
            run::<T>(cx, &T::tiling(&pass::<FORWARD>(g)), operands, scratch)
        },
    }
}

fn pass<const FORWARD: bool>(g: &Conv2dGeometry) -> Pass {
    Pass { g: *g, forward: FORWARD }
}

/// A transform and the geometries that it is for.
trait Kind: Transform {
    const STAGES: Stages;

    fn applies(g: &Conv2dGeometry) -> bool;
    fn kernels(table: &Table) -> &Kernels;

    fn tiling(pass: &Pass) -> Tiling {
        let padding = pass.g.padding;
        let before = if pass.forward { padding } else { 2 - padding };
        Tiling::new(pass, Self::OUTPUT, Self::PRODUCTS, before)
    }
}

impl Kind for F43 {
    const STAGES: Stages = Stages { factors: 350.0, outputs: 250.0, weights: 300.0 };

    fn applies(_: &Conv2dGeometry) -> bool {
        true
    }

    fn kernels(table: &Table) -> &Kernels {
        &table.f43
    }
}

impl Kind for F23 {
    const STAGES: Stages = Stages { factors: 120.0, outputs: 80.0, weights: 200.0 };

    fn applies(_: &Conv2dGeometry) -> bool {
        true
    }

    fn kernels(table: &Table) -> &Kernels {
        &table.f23
    }
}

impl Kind for Toeplitz {
    const STAGES: Stages = Stages { factors: 60.0, outputs: 60.0, weights: 150.0 };

    fn applies(g: &Conv2dGeometry) -> bool {
        (g.ih, g.iw, g.padding) == (2, 2, 1)
    }

    fn kernels(table: &Table) -> &Kernels {
        &table.toeplitz
    }

    fn tiling(pass: &Pass) -> Tiling {
        Tiling::new(pass, Self::OUTPUT, Self::PRODUCTS, 0)
    }
}

/// The kernels of one instruction set.
#[derive(Debug)]
pub(super) struct Table {
    f43: Kernels,
    f23: Kernels,
    toeplitz: Kernels,
    multiply: fn(Multiply<'_>),
}

impl Table {
    pub(super) const fn of<S: Simd>() -> Self {
        Self {
            f43: Kernels::of::<S, F43>(),
            f23: Kernels::of::<S, F23>(),
            toeplitz: Kernels::of::<S, Toeplitz>(),
            multiply: |op| enter::<S, _>(op),
        }
    }
}

/// Packs weights as `[panel][block of channels][place][channel][column of the panel]`.
fn pack<T: Kind>(cx: &Context, tiling: &Tiling, weights: &[f32], packed: &mut [f32]) {
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

fn run<T: Kind>(cx: &Context, tiling: &Tiling, operands: Operands<'_>, scratch: &mut [f32]) {
    let Operands { a: src, b: packed, bias, activation, dst } = operands;
    let relu = activation == Activation::Relu;
    let table = &cx.isa().conv2d.winograd;
    let Kernels { factors: factors_of, outputs: outputs_of, .. } = *T::kernels(table);
    let start = |row: usize| match row < tiling.rows {
        true => tiling.output_of(row, T::OUTPUT).0,
        false => usize::MAX,
    };
    let step = tiling.rows_at_a_time;
    let tiles_of =
        |rows: &std::ops::Range<usize>| rows.start * tiling.per_row..rows.end * tiling.per_row;
    if tiling.own {
        let pieces = tiling.rows.div_ceil(step);
        let task = |i: usize, dst: &mut [f32], buffer: &mut [f32]| {
            let rows = i * step..tiling.rows.min((i + 1) * step);
            let tiles = tiles_of(&rows);
            let (factors, products) = buffer.split_at_mut(tiling.groups_len(tiles.len()));
            factors_of(Factors { tiling, src, tiles: tiles.clone(), factors });
            let len = tiling.products_place(tiles.len());
            let (factors, products) = (&*factors, &mut products[..tiling.places() * len]);
            for column in (0..tiling.columns).step_by(tiling.chunk) {
                let columns = column..tiling.columns.min(column + tiling.chunk);
                for (place, products) in products.chunks_mut(len).enumerate() {
                    let (tiles, columns) = (tiles.len(), columns.clone());
                    let op = Multiply { tiling, factors, tiles, packed, place, columns, products };
                    (table.multiply)(op);
                }
                let (rows, tiles, products) = (rows.clone(), tiles.clone(), &*products);
                let dst = &mut *dst;
                outputs_of(Outputs { tiling, products, tiles, columns, rows, bias, relu, dst });
            }
        };
        let threads = cx.threads();
        threads.for_each_piece(
            dst,
            pieces,
            |i| start(i * step),
            |i, dst| threads.with_buffer(|buffer| task(i, dst, buffer)),
        );
        return;
    }
    let (factors, products) = scratch.split_at_mut(tiling.groups_len(tiling.tiles()));
    for first in (0..tiling.rows).step_by(step) {
        let rows = first..tiling.rows.min(first + step);
        let tiles = tiles_of(&rows);
        let factors = &mut factors[..tiling.groups_len(tiles.len())];
        cx.threads().for_each_chunk(factors, tiling.factors_len(), |i, factors| {
            let first = tiles.start + i * tiling.group;
            let tiles = first..tiles.end.min(first + tiling.group);
            factors_of(Factors { tiling, src, tiles, factors });
        });
        let (factors, len) = (&*factors, tiling.products_place(tiles.len()));
        let products = &mut products[..tiling.chunks() * tiling.places() * len];
        cx.threads().for_each_chunk(products, len, |i, products| {
            let (place, column) = (i % tiling.places(), i / tiling.places() * tiling.chunk);
            let columns = column..tiling.columns.min(column + tiling.chunk);
            let tiles = tiles.len();
            (table.multiply)(Multiply { tiling, factors, tiles, packed, place, columns, products });
        });
        let (products, dst_start) = (&*products, start(rows.start));
        let dst_end = start(rows.end).min(dst.len());
        let part = &mut dst[dst_start..dst_end];
        let together = (tiling.group / tiling.per_row).max(1);
        let pieces = rows.len().div_ceil(together);
        cx.threads().for_each_piece(
            part,
            pieces,
            |i| start(rows.start + i * together).saturating_sub(dst_start),
            |i, dst| {
                let first = rows.start + i * together;
                let rows = first..rows.end.min(first + together);
                let (tiles, columns) = (tiles.clone(), 0..tiling.columns);
                outputs_of(Outputs { tiling, products, tiles, columns, rows, bias, relu, dst });
            },
        );
    }
}
