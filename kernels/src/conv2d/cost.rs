//! What a pass is expected to take: how one of several algorithms is chosen.
//!
//! Times are in cycles of one core that starts two fused multiply-adds of vectors a cycle. They are
//! functions of the geometry and the instruction set, so that the choice, and with it every bit of the
//! result, depends on nothing else. The constants are estimates, checked against forward passes on AMD Zen 3
//! (AVX2) and Zen 5 cores (AVX-512), with weights that come from memory.

use super::Conv2dGeometry;
use super::taps::Pass;
use crate::Isa;
use crate::gemm::micro::PANEL_VECTORS;

/// An estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Cycles of the pass with packed weights.
    pub run: f64,
    /// Cycles of packing the weights.
    pub pack: f64,
}

impl Cost {
    /// For algorithms that are there to be compared with: more than any other.
    pub(super) const BASELINE: Self = Self { run: f64::INFINITY, pack: 0.0 };
    /// For the only algorithm, baselines apart, of what it applies to.
    pub(super) const ONLY: Self = Self { run: 0.0, pack: 0.0 };
}

/// Cycles between the start of a multiply-add and that of one which needs its result.
const LATENCY: f64 = 4.0;

/// The part of the bound that the micro-kernel reaches.
const EFFICIENCY: f64 = 0.92;

/// Bytes a cycle that come from memory, for products of one row.
const MEMORY: f64 = 7.0;

/// Bytes of weights that are still in the cache when a network's next image comes.
const CACHED: f64 = (1 << 20) as f64;

/// Cycles to fetch `floats` weights for products of `rows` rows.
fn fetching(isa: &Isa, rows: usize, floats: usize) -> f64 {
    let more = (rows.clamp(1, isa.rows) - 1) as f64;
    ((4 * floats) as f64 - CACHED).max(0.0) / MEMORY * (1.0 + isa.fetch_per_row * more)
}

/// Cycles to pack a vector of weights as they are.
const PACK: f64 = 8.0;

/// Cycles to gather a vector of inputs for a tap.
const GATHER: f64 = 3.0;

/// Cycles of a product of `rows` rows by `k` terms by `columns` columns.
fn product(isa: &Isa, rows: usize, k: usize, columns: usize) -> f64 {
    let (lanes, tiles) = (isa.lanes, rows.div_ceil(isa.rows));
    let vectors = columns.div_ceil(lanes);
    let (panels, single) = (vectors / PANEL_VECTORS, vectors % PANEL_VECTORS);
    let height = rows as f64 / tiles as f64;
    // A tile of a panel starts `height` multiply-adds of two vectors for each term.
    let term = panels as f64 * height.max(LATENCY) + single as f64 * (0.5 * height).max(LATENCY);
    tiles as f64 * term * k as f64 / EFFICIENCY
}

/// Computing for `cycles` while `floats` weights are fetched for products of `rows` rows. Neither hides the other
/// whole: measured times lie between the longer and the sum of both.
fn with_weights(isa: &Isa, cycles: f64, rows: usize, floats: usize) -> f64 {
    cycles.hypot(fetching(isa, rows, floats))
}

/// Implicit GEMM.
pub(super) fn implicit_gemm(isa: &Isa, pass: &Pass) -> Cost {
    let (lanes, output) = (isa.lanes, pass.output());
    let gathered =
        |rows: usize, channels: usize| rows as f64 * channels.div_ceil(lanes) as f64 * GATHER;
    let cycles = pass.blocks().map(|block| {
        let reached = |tap: usize| {
            let (ky, kx) = pass.tap(tap);
            pass.g.n * pass.reach_y(ky).count * pass.reach_x(kx).count
        };
        let rows = if block.taps == 1 { reached(block.first_tap) } else { pass.pixels() };
        product(isa, rows.max(1), block.len(), output.channels)
            + gathered(rows, block.channels.len()) * block.taps as f64
    });
    let weights = pass.k() * output.channels.next_multiple_of(lanes);
    let run = with_weights(isa, cycles.sum(), pass.pixels(), weights);
    Cost { run, pack: (weights / lanes) as f64 * PACK }
}

/// Convolution of few input channels.
pub(super) fn direct(isa: &Isa, g: &Conv2dGeometry) -> f64 {
    let (rows, columns) = (g.n * g.oh(), g.oc);
    let copied = g.n * (g.ih + g.kh) * g.iw;
    rows as f64 * product(isa, g.ow(), g.taps() * g.ic, columns) + copied as f64 * GATHER
}

/// What the stages of a minimal filtering algorithm cost, in cycles a tile and vector of channels.
pub(super) struct Stages {
    /// From inputs to factors.
    pub(super) factors: f64,
    /// From products to outputs.
    pub(super) outputs: f64,
    /// From weights to packed weights.
    pub(super) weights: f64,
    /// From gradients of outputs to those of products.
    pub(super) spread: f64,
    /// From sums of products to gradients of weights: cycles an input channel and vector of output channels.
    pub(super) collect: f64,
}

/// Minimal filtering: `places` products for each of `tiles` tiles.
pub(super) fn filtering(
    isa: &Isa,
    (tiles, places): (usize, usize),
    (k, columns): (usize, usize),
    stages: &Stages,
) -> Cost {
    let vectors = |channels: usize| channels.div_ceil(isa.lanes) as f64;
    let weights = places * k * columns.next_multiple_of(isa.lanes);
    let products = places as f64 * product(isa, tiles, k, columns);
    let transforms = stages.factors * vectors(k) + stages.outputs * vectors(columns);
    Cost {
        run: with_weights(isa, products, tiles, weights) + tiles as f64 * transforms,
        pack: k as f64 * vectors(columns) * stages.weights,
    }
}

/// The gradient of the weights by minimal filtering.
pub(super) fn filtering_gradient(
    isa: &Isa,
    (tiles, places): (usize, usize),
    (k, columns): (usize, usize),
    stages: &Stages,
) -> Cost {
    let vectors = |channels: usize| channels.div_ceil(isa.lanes) as f64;
    let transforms = stages.factors * vectors(k) + stages.spread * vectors(columns);
    let run = places as f64 * product(isa, k, tiles, columns)
        + tiles as f64 * transforms
        + k as f64 * vectors(columns) * stages.collect;
    Cost { run, pack: 0.0 }
}

/// The gradient of the weights by implicit GEMM.
pub(super) fn implicit_gemm_weights(isa: &Isa, pass: &Pass) -> Cost {
    let g = &pass.g;
    let taps = (0..g.taps()).map(|tap| {
        let (ky, kx) = pass.tap(tap);
        let pairs = g.n * pass.reach_y(ky).count * pass.reach_x(kx).count;
        let copied = g.ic.div_ceil(8) + g.oc.div_ceil(isa.lanes);
        product(isa, g.ic, pairs, g.oc) + (pairs * copied) as f64 * GATHER
    });
    Cost { run: taps.sum(), pack: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::{FORWARD, choose};
    use super::Conv2dGeometry;
    use crate::{Context, Isa};

    /// By the estimates for an instruction set, which this CPU need not have.
    fn chosen(isa: &'static Isa, [n, ic, oc, size, k, stride]: [usize; 6]) -> &'static str {
        let (ih, iw, kh, kw, padding) = (size, size, k, k, k / 2);
        let g = Conv2dGeometry { n, ic, ih, iw, oc, kh, kw, stride, padding, groups: 1 };
        choose(FORWARD, &Context::new(isa, 1), &g, |cost| cost.run).name
    }

    #[test]
    fn each_kind_of_layer_gets_the_algorithm_made_for_it() {
        for (shape, expected) in [
            ([1, 64, 64, 32, 3, 1], "winograd_4x4"),
            ([128, 64, 64, 32, 3, 1], "winograd_4x4"),
            ([128, 512, 512, 4, 3, 1], "winograd_4x4"),
            ([128, 73, 101, 8, 3, 1], "winograd_4x4"),
            ([1, 128, 256, 8, 3, 1], "winograd_2x2"),
            ([1, 256, 256, 8, 3, 1], "winograd_2x2"),
            ([1, 512, 512, 4, 3, 1], "implicit_gemm"),
            ([128, 512, 512, 2, 3, 1], "toeplitz_2x2"),
            ([128, 3, 64, 32, 3, 1], "direct"),
            ([1, 64, 128, 32, 3, 2], "winograd_4x4_stride_2"),
            ([128, 64, 128, 32, 3, 2], "winograd_4x4_stride_2"),
            ([1, 128, 256, 16, 3, 2], "winograd_2x2_stride_2"),
            ([8, 128, 256, 16, 3, 2], "winograd_4x4_stride_2"),
            ([1, 256, 512, 8, 3, 2], "implicit_gemm"),
            ([8, 256, 512, 8, 3, 2], "winograd_2x2_stride_2"),
            ([128, 256, 512, 8, 3, 2], "winograd_4x4_stride_2"),
            ([128, 64, 128, 32, 1, 1], "implicit_gemm"),
        ] {
            for isa in ["avx512", "avx2"].into_iter().filter_map(Isa::named) {
                assert_eq!(chosen(isa, shape), expected, "{shape:?}, {}", isa.name);
            }
        }
    }

    #[test]
    fn few_rows_leave_the_time_to_fetch_weights() {
        if let Some(isa) = Isa::named("avx2") {
            for [ic, oc] in [[352, 224], [224, 512], [512, 512]] {
                assert_eq!(chosen(isa, [1, ic, oc, 2, 3, 1]), "toeplitz_2x2", "{ic} to {oc}");
            }
        }
    }
}
