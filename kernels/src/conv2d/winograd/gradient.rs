//! The gradient of the weights by minimal filtering: the forward pass, transposed.
//!
//! Outputs are `output((WEIGHTS w) * input(x))`, linear in `w`. Given gradients of the outputs, that of `w` is
//! `WEIGHTS^T` times the sum over all tiles of `spread(gradients) * input(x)`, with `spread` the transpose of
//! `output`: for each place a matrix product, of input channels by tiles with tiles by output channels.
//!
//! Of few channels, a task takes a part of the batch from inputs to sums of its own in the cache of its core, and
//! the sums of all parts are added. Of more, sums would push factors out of that cache: tasks share the factors of
//! many tiles, each summing those of some places.

use super::accumulate::Accumulate;
use super::collect::Collect;
use super::factors::Factors;
use super::kinds::Kind;
use super::spread::Spread;
use super::stride_2::F43Stride2;
use super::tiling::{Tiling, odd_lines};
use super::transform::{F23, F23Stride2, F43, Toeplitz};
use super::{algorithm, pass};
use crate::Context;
use crate::conv2d::algorithm::{Algorithm, Operands, nothing_packed};
use crate::conv2d::{Conv2dGeometry, cost};
use crate::gemm::micro::MAX_NR;
use crate::par::TASK_BUFFER;
use std::ops::Range;

pub(crate) const BACKWARD_WEIGHTS_F43: Algorithm = gradient::<F43, 6>("winograd_4x4");
pub(crate) const BACKWARD_WEIGHTS_F23: Algorithm = gradient::<F23, 6>("winograd_2x2");
pub(crate) const BACKWARD_WEIGHTS_F23_STRIDE_2: Algorithm =
    gradient::<F23Stride2, 6>("winograd_2x2_stride_2");
pub(crate) const BACKWARD_WEIGHTS_F43_STRIDE_2: Algorithm =
    gradient::<F43Stride2, 9>("winograd_4x4_stride_2");
pub(crate) const BACKWARD_WEIGHTS_TOEPLITZ: Algorithm = gradient::<Toeplitz, 6>("toeplitz_2x2");

/// Tiles in a group, which is transformed by one task, and which a sum is taken over before it is added to
/// that of the groups before it.
const GROUP: usize = 96;

/// Floats of factors that exist at a time, of inputs and gradients together: 12 MiB, for the last cache.
const FACTORS: usize = 3 << 20;

/// Floats of sums that exist at a time, if all tiles do: 8 MiB, for the last cache.
const SUMS: usize = 2 << 20;

/// The most floats of sums that a task has of its own. They stay in the second-level cache, beside the factors
/// of [`OWN_TILES`] tiles, or not far from it: 64 by 64 channels have the most, 0.7 MiB.
const OWN_SUMS: usize = 192 << 10;

/// Tiles whose factors a task has at a time where it has sums of its own.
const OWN_TILES: usize = 48;

/// The most parts of a batch, a task with sums of its own for each: their number does not depend on the threads.
const PARTS: usize = 16;

/// Floats of the sums of parts that are added by a task.
const ADDED: usize = 4 << 10;

/// Output channels whose weights' gradients are written by one task: the lanes of the longest vector.
const FILTERS: usize = 16;

const fn gradient<T: Kind<SIDE>, const SIDE: usize>(name: &'static str) -> Algorithm {
    Algorithm {
        fuses: false,
        widens: false,
        cost: |isa, g| {
            let tiling = T::tiling(&pass::<true>(g));
            let tiles = tiling.rows * tiling.per_row;
            let (places, channels) = (tiling.places(), (tiling.k, tiling.columns));
            cost::filtering_gradient(isa, (tiles, places), channels, &T::STAGES)
        },
        packed_len: nothing_packed,
        pack: |_, _, _, _| (),
        scratch_len: |g| {
            let cuts = Cuts::of::<T, SIDE>(g);
            match cuts.parts {
                Some(parts) => parts * cuts.sums_len(),
                None => cuts.buffer_len() + cuts.sums_len(),
            }
        },
        run: run::<T, SIDE>,
        ..algorithm::<T, SIDE, true>(name)
    }
}

/// How the sums are cut.
pub(super) struct Cuts {
    pub(super) tiling: Tiling,
    /// Output channels at a time.
    pub(super) chunk: usize,
    /// Floats between the sums of two input channels: an odd number of cache lines.
    pub(super) ldc: usize,
    /// Parts of the batch, each of which a task takes from inputs to sums in the cache of its core; `None`: tasks
    /// share the factors of many tiles, each summing those of some places.
    parts: Option<usize>,
}

impl Cuts {
    fn of<T: Kind<SIDE>, const SIDE: usize>(g: &Conv2dGeometry) -> Self {
        let tiling = T::tiling(&pass::<true>(g));
        let places = tiling.places();
        let columns = tiling.columns.next_multiple_of(MAX_NR);
        let apart = Self::apart(tiling);
        if apart.sums_len() <= OWN_SUMS && apart.buffer_len() <= TASK_BUFFER {
            return apart;
        }
        let tile = places * (tiling.blocks() * tiling.row + columns);
        let tiling = tiling.regrouped(FACTORS / tile, GROUP);
        // The sums over all tiles of some channels after others, or over some tiles after others of all.
        let chunk = match tiling.rows_at_a_time == tiling.rows {
            true => (SUMS / (places * tiling.k) / MAX_NR * MAX_NR).clamp(MAX_NR, columns),
            false => columns,
        };
        Self { tiling, chunk, ldc: odd_lines(chunk.min(tiling.columns)), parts: None }
    }

    /// By parts of the batch.
    fn apart(tiling: Tiling) -> Self {
        let tiling = tiling.regrouped(OWN_TILES, usize::MAX); // A single group, of a row at least.
        // A power of two, which most numbers of threads divide, but no more parts than rows of tiles.
        let parts = tiling.rows.div_ceil(tiling.rows_at_a_time).next_power_of_two();
        let parts = parts.min(tiling.rows).clamp(1, PARTS);
        let chunk = tiling.columns.next_multiple_of(MAX_NR);
        Self { tiling, chunk, ldc: odd_lines(tiling.columns), parts: Some(parts) }
    }

    /// Floats that a task needs beside sums of its own.
    fn buffer_len(&self) -> usize {
        self.factors_len() + self.spread_len()
    }

    fn factors_len(&self) -> usize {
        self.tiling.groups_len(self.tiling.tiles())
    }

    /// Floats between the places of a group of gradients.
    pub(super) fn spread_place(&self) -> usize {
        odd_lines(self.tiling.group * self.chunk.min(self.tiling.columns.next_multiple_of(16)))
    }

    /// Floats of a group of gradients.
    pub(super) fn spread_group(&self) -> usize {
        self.tiling.places() * self.spread_place()
    }

    fn spread_len(&self) -> usize {
        self.tiling.tiles().div_ceil(self.tiling.group) * self.spread_group()
    }

    /// Floats between the places of sums: an odd number of cache lines.
    pub(super) fn sums_place(&self) -> usize {
        odd_lines(self.tiling.k * self.ldc)
    }

    fn sums_len(&self) -> usize {
        self.tiling.places() * self.sums_place()
    }
}

fn run<T: Kind<SIDE>, const SIDE: usize>(
    cx: &Context,
    g: &Conv2dGeometry,
    operands: Operands<'_>,
    scratch: &mut [f32],
) {
    let cuts = &Cuts::of::<T, SIDE>(g);
    match cuts.parts {
        Some(parts) => apart::<T, SIDE>(cx, cuts, parts, operands, scratch),
        None => together::<T, SIDE>(cx, cuts, operands, scratch),
    }
}

/// Each task takes a part of the batch from inputs to sums, in its buffer, and the sums of all are added.
fn apart<T: Kind<SIDE>, const SIDE: usize>(
    cx: &Context,
    cuts: &Cuts,
    parts: usize,
    operands: Operands<'_>,
    sums: &mut [f32],
) {
    let Operands { a: src, b: diff_dst, dst: diff_weights, .. } = operands;
    let (tiling, len) = (&cuts.tiling, cuts.sums_len());
    let (threads, table) = (cx.threads(), &cx.isa().conv2d.winograd);
    let kernels = T::kernels(table);
    let first = |part: usize| part * tiling.rows / parts;
    let task = |part: usize, sums: &mut [f32], buffer: &mut [f32]| {
        let (factors, buffer) = buffer.split_at_mut(cuts.factors_len());
        let spread = &mut buffer[..cuts.spread_len()];
        let rows = first(part)..first(part + 1);
        for row in rows.clone().step_by(tiling.rows_at_a_time) {
            let last = rows.end.min(row + tiling.rows_at_a_time);
            let tiles = row * tiling.per_row..last * tiling.per_row;
            (kernels.factors)(Factors { tiling, src, tiles: tiles.clone(), factors });
            let columns = 0..tiling.columns;
            (kernels.spread)(Spread { cuts, diff_dst, tiles: tiles.clone(), columns, spread });
            for (place, sums) in sums.chunks_exact_mut(cuts.sums_place()).enumerate() {
                for block in 0..tiling.blocks() {
                    (table.accumulate)(Accumulate {
                        cuts,
                        factors,
                        spread,
                        tiles: tiles.len(),
                        place,
                        block,
                        columns: tiling.columns,
                        adds: row > rows.start,
                        sums: &mut sums[tiling.block(block).start * cuts.ldc..],
                    });
                }
            }
        }
    };
    threads.for_each_chunk(sums, len, |part, sums| {
        threads.with_buffer(|buffer| task(part, sums, buffer));
    });
    let (sums, others) = sums.split_at_mut(len);
    threads.for_each_chunk(sums, ADDED, |i, sums| {
        for others in others.chunks_exact(len) {
            let others = &others[i * ADDED..][..sums.len()];
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum += other;
            }
        }
    });
    collect::<T, SIDE>(cx, cuts, sums, diff_weights);
}

/// Each stage is done for many tiles before the next begins, by tasks cut anew.
fn together<T: Kind<SIDE>, const SIDE: usize>(
    cx: &Context,
    cuts: &Cuts,
    operands: Operands<'_>,
    scratch: &mut [f32],
) {
    let Operands { a: src, b: diff_dst, dst: diff_weights, .. } = operands;
    let tiling = &cuts.tiling;
    let (factors, scratch) = scratch.split_at_mut(cuts.factors_len());
    let (spread, sums) = scratch.split_at_mut(cuts.spread_len());
    let (threads, table) = (cx.threads(), &cx.isa().conv2d.winograd);
    let kernels = T::kernels(table);
    let group_of = |tiles: &Range<usize>, i: usize| {
        let first = tiles.start + i * tiling.group;
        first..tiles.end.min(first + tiling.group)
    };
    for column in (0..tiling.columns).step_by(cuts.chunk) {
        let columns = column..tiling.columns.min(column + cuts.chunk);
        for first in (0..tiling.rows).step_by(tiling.rows_at_a_time) {
            let last = tiling.rows.min(first + tiling.rows_at_a_time);
            let tiles = first * tiling.per_row..last * tiling.per_row;
            let factors = &mut factors[..tiling.groups_len(tiles.len())];
            if column == 0 {
                threads.for_each_chunk(factors, tiling.factors_len(), |i, factors| {
                    (kernels.factors)(Factors { tiling, src, tiles: group_of(&tiles, i), factors });
                });
            }
            let groups = tiles.len().div_ceil(tiling.group);
            let spread = &mut spread[..groups * cuts.spread_group()];
            threads.for_each_chunk(spread, cuts.spread_group(), |i, spread| {
                let (tiles, columns) = (group_of(&tiles, i), columns.clone());
                (kernels.spread)(Spread { cuts, diff_dst, tiles, columns, spread });
            });
            let (factors, spread) = (&*factors, &*spread);
            let blocks = tiling.blocks();
            let start = |i: usize| {
                i / blocks * cuts.sums_place() + tiling.block(i % blocks).start * cuts.ldc
            };
            threads.for_each_piece(sums, tiling.places() * blocks, start, |i, sums| {
                (table.accumulate)(Accumulate {
                    cuts,
                    factors,
                    spread,
                    tiles: tiles.len(),
                    place: i / blocks,
                    block: i % blocks,
                    columns: columns.len(),
                    adds: first > 0,
                    sums,
                });
            });
        }
        let filter = 9 * tiling.k;
        let diff_weights = &mut diff_weights[columns.start * filter..columns.end * filter];
        collect::<T, SIDE>(cx, cuts, sums, diff_weights);
    }
}

/// From the sums of some output channels to the gradient of their weights.
fn collect<T: Kind<SIDE>, const SIDE: usize>(
    cx: &Context,
    cuts: &Cuts,
    sums: &[f32],
    diff_weights: &mut [f32],
) {
    let kernels = T::kernels(&cx.isa().conv2d.winograd);
    cx.threads().for_each_chunk(diff_weights, FILTERS * 9 * cuts.tiling.k, |i, diff_weights| {
        (kernels.collect)(Collect { cuts, sums, column: i * FILTERS, diff_weights });
    });
}
