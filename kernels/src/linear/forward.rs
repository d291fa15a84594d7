//! Outputs as dot products along the inputs.

use super::ROWS;
use crate::channel_stride;
use crate::simd::{Simd, SimdOp};

/// Outputs of a register tile.
const COLUMNS: usize = 2;

/// The outputs of `dst`'s rows, one for each row of `weights`.
pub(super) struct Forward<'a> {
    /// The first image of `dst` and those that follow.
    pub(super) src: &'a [f32],
    pub(super) inputs: usize,
    pub(super) weights: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) dst_stride: usize,
    pub(super) dst: &'a mut [f32],
}

impl SimdOp for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let (rows, outputs) = (self.dst.len() / self.dst_stride, self.weights.len() / self.inputs);
        let mut output = 0;
        while output + COLUMNS <= outputs {
            self.columns::<S, COLUMNS>(simd, output, rows);
            output += COLUMNS;
        }
        for output in output..outputs {
            self.columns::<S, 1>(simd, output, rows);
        }
        for dst in self.dst.chunks_exact_mut(self.dst_stride) {
            dst[outputs..].fill(0.0);
        }
    }
}

impl Forward<'_> {
    /// `N` outputs of all rows: their weights stay in the L1 cache.
    #[inline(always)]
    fn columns<S: Simd, const N: usize>(&mut self, simd: S, output: usize, rows: usize) {
        let mut row = 0;
        while row + ROWS <= rows {
            self.tile::<S, ROWS, N>(simd, row, output);
            row += ROWS;
        }
        for row in row..rows {
            self.tile::<S, 1, N>(simd, row, output);
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        row: usize,
        output: usize,
    ) {
        let (inputs, stride) = (self.inputs, channel_stride(self.inputs));
        let src: [&[f32]; M] = std::array::from_fn(|i| &self.src[(row + i) * stride..][..inputs]);
        let weights: [&[f32]; N] =
            std::array::from_fn(|j| &self.weights[(output + j) * inputs..][..inputs]);
        let mut sums = [[simd.splat(0.0); N]; M];
        let mut k = 0;
        while k + S::LANES <= inputs {
            let mut w = [simd.splat(0.0); N];
            for (w, row) in w.iter_mut().zip(weights) {
                *w = simd.load(&row[k..]);
            }
            for (sums, src) in sums.iter_mut().zip(src) {
                add_products(simd, simd.load(&src[k..]), w, sums);
            }
            k += S::LANES;
        }
        if k < inputs {
            let mut w = [simd.splat(0.0); N];
            for (w, row) in w.iter_mut().zip(weights) {
                *w = simd.load_partial(&row[k..]);
            }
            for (sums, src) in sums.iter_mut().zip(src) {
                add_products(simd, simd.load_partial(&src[k..]), w, sums);
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, sum) in sums.into_iter().enumerate() {
                let bias = self.bias.map_or(0.0, |bias| bias[output + j]);
                self.dst[(row + i) * self.dst_stride + output + j] =
                    horizontal_sum(simd, sum) + bias;
            }
        }
    }
}

/// `sums[j] += x * w[j]`.
#[inline(always)]
pub(super) fn add_products<S: Simd, const N: usize>(
    simd: S,
    x: S::F32,
    w: [S::F32; N],
    sums: &mut [S::F32; N],
) {
    for (sum, w) in sums.iter_mut().zip(w) {
        *sum = simd.mul_add(x, w, *sum);
    }
}

/// The sum of the lanes: halves are added until one is left.
#[inline(always)]
fn horizontal_sum<S: Simd>(simd: S, v: S::F32) -> f32 {
    let mut lanes = [0.0; 16];
    simd.store(v, &mut lanes);
    let mut len = S::LANES;
    while len > 1 {
        len /= 2;
        for i in 0..len {
            lanes[i] += lanes[i + len];
        }
    }
    lanes[0]
}
