//! The stage from weights to packed, transformed weights.

#![allow(
    clippy::needless_range_loop,
    reason = "constant ranges unroll, and keep arrays in registers"
)]

use super::stages::By;
use super::tiling::Tiling;
use super::transform::Transform;
use crate::gemm::micro::MAX_NR;
use crate::simd::{Simd, SimdOp};

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

impl<T: Transform<SIDE>, const SIDE: usize> SimdOp for By<Weights<'_>, T, SIDE> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, _: S) {
        let Weights { tiling, weights, column, packed } = self.0;
        let nr = packed.len() / (tiling.places() * tiling.k);
        let panel = Panel { tiling, weights, column, packed, nr };
        // Constant widths are vectors of doubles.
        match nr.is_multiple_of(8) {
            true => panel.transform::<T, SIDE, 8>(),
            false => panel.transform::<T, SIDE, 4>(),
        }
    }
}

/// Channels transformed together.
const ROWS: usize = 4;

struct Panel<'a> {
    tiling: &'a Tiling,
    weights: &'a [f32],
    column: usize,
    packed: &'a mut [f32],
    /// Its columns.
    nr: usize,
}

impl Panel<'_> {
    /// Transforms `W` columns at a time.
    #[inline(always)]
    fn transform<T: Transform<SIDE>, const SIDE: usize, const W: usize>(self) {
        let Self { tiling, weights, column, packed, nr } = self;
        // Whole lines of every place are written at once: `[place][channel][column]`.
        let mut lines = [[[0.0f32; ROWS * MAX_NR]; SIDE]; SIDE];
        let lines = lines.as_flattened_mut();
        for block in 0..tiling.blocks() {
            let channels = tiling.block(block);
            for start in channels.clone().step_by(ROWS) {
                let rows = ROWS.min(channels.end - start);
                for (row, first) in
                    (0..rows).flat_map(|row| (0..nr).step_by(W).map(move |c| (row, c)))
                {
                    let mut w = [[0.0f32; W]; 9];
                    let exist = W.min(tiling.columns.saturating_sub(column + first));
                    for lane in 0..exist {
                        let from = tiling.weights_at(column + first + lane, start + row);
                        let taps: &[f32; 9] = weights[from..].first_chunk().expect("nine taps");
                        for tap in 0..9 {
                            w[tap][lane] = taps[if tiling.forward { tap } else { 8 - tap }];
                        }
                    }
                    let w = w.map(|tap| tap.map(f64::from));
                    // Columns of the kernel, then rows.
                    let mut half = [[[0.0; W]; 3]; SIDE];
                    for i in 0..T::PRODUCTS {
                        for x in 0..3 {
                            half[i][x] = combine(T::WEIGHTS[i], [&w[x], &w[3 + x], &w[6 + x]]);
                        }
                    }
                    for i in 0..T::PRODUCTS {
                        for j in 0..T::PRODUCTS {
                            let sum = combine(T::WEIGHTS[j], half[i].each_ref());
                            let line = &mut lines[i * T::PRODUCTS + j][row * nr + first..];
                            let out: &mut [f32; W] = line.first_chunk_mut().expect("its columns");
                            *out = sum.map(|x| x as f32);
                        }
                    }
                }
                for (place, lines) in lines.iter().take(tiling.places()).enumerate() {
                    let row = tiling.weights_rows(block, place) + start - channels.start;
                    packed[row * nr..][..rows * nr].copy_from_slice(&lines[..rows * nr]);
                }
            }
        }
    }
}

/// The sum of `terms`, each times its weight: many weights are 0 or 1.
#[inline(always)]
fn combine<const W: usize>(weights: [f64; 3], terms: [&[f64; W]; 3]) -> [f64; W] {
    let mut sum = [0.0; W];
    for (weight, term) in weights.into_iter().zip(terms) {
        if weight != 0.0 {
            for lane in 0..W {
                sum[lane] += if weight == 1.0 { term[lane] } else { weight * term[lane] };
            }
        }
    }
    sum
}
