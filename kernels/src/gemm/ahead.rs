//! Fetching what a product will need next, meanwhile.
#![allow(
    clippy::needless_range_loop,
    reason = "constant ranges unroll, and keep arrays in registers"
)]

use super::stored::Stored;
use crate::CHANNEL_ALIGN as LINE;
use crate::simd::Simd;
use bytemuck::cast_slice;

/// Floats in a row that the CPU's own fetching keeps up with, once it has seen where they lead: 2 KiB.
const LONG: usize = 512;

/// Rows of a panel that has so little to compute that fetches of its own would be in the way: they wait for the
/// few lines that the first-level cache can ask for at a time, and the CPU's own do not. On a Zen 4 core
/// weights that are in no cache come at 16 to 26 GB/s without them, and at 11 to 19 with them.
const FEW_ROWS: usize = 8;

/// Runs of floats that are needed next, to be fetched during a product. They are fetched side by side:
/// memory gives two streams half as much again as one.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ahead<'a>([&'a [f32]; 3]);

impl<'a> Ahead<'a> {
    /// The panel and the packed rows that come next, or none.
    #[inline(always)]
    pub(crate) fn new<W: Stored>(panel: &'a [W], rows: &'a [f32]) -> Self {
        // An empty slice may start anywhere.
        let panel: &[f32] = if panel.is_empty() { &[] } else { cast_slice(panel) };
        let half = (panel.len() / 2).next_multiple_of(LINE).min(panel.len());
        let (first, second) = panel.split_at(half);
        Self([first, second, rows])
    }
}

/// When each tile of a panel fetches what of the runs ahead.
#[derive(Clone, Copy)]
pub(crate) struct Fetches<'a> {
    runs: [&'a [f32]; 3],
    /// Every `1 << shift` terms a tile fetches the next line of each run.
    shift: u32,
    /// Fetches of a tile.
    rounds: usize,
    /// Floats between those of a run: at most a line.
    steps: [usize; 3],
}

impl<'a> Fetches<'a> {
    /// Spreads `ahead` over `tiles` tiles, `rows` rows in all, that multiply by the panel `b` of `depth`
    /// terms.
    #[inline(always)]
    pub(super) fn plan(
        ahead: Ahead<'a>,
        b: &'a [f32],
        depth: usize,
        (rows, tiles): (usize, usize),
    ) -> Self {
        let runs = ahead.0;
        let lines = runs[0].len().max(runs[1].len()).max(runs[2].len()).div_ceil(LINE);
        if lines == 0 || rows <= FEW_ROWS && runs[0].len() > LONG {
            // Something that is in the cache, once a tile.
            return Self { runs: [b; 3], shift: usize::BITS - 1, rounds: 0, steps: [0; 3] };
        }
        let shift = (tiles * depth / lines).max(1).ilog2();
        let rounds = (depth + (1 << shift) - 1) >> shift;
        let mut steps = [0; 3];
        for i in 0..3 {
            steps[i] = runs[i].len().div_ceil((rounds * tiles).max(1));
        }
        Self { runs, shift, rounds, steps }
    }

    /// What tile `tile` fetches before term `k`, if anything.
    #[inline(always)]
    pub(super) fn fetch<S: Simd>(&self, simd: S, tile: usize, k: usize) {
        if k & ((1 << self.shift) - 1) == 0 {
            for i in 0..3 {
                let round = tile * self.rounds + (k >> self.shift);
                simd.prefetch(self.runs[i], round * self.steps[i]);
            }
        }
    }
}
