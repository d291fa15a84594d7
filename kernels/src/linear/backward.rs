//! Gradients: vectors run over the inputs.

use super::ROWS;
use super::forward::add_products;
use crate::channel_stride;
use crate::simd::{Simd, SimdOp, load_up_to};
use std::ops::Range;

/// Vectors of a register tile.
const VECTORS: usize = 2;

/// The `columns` of `diff_src`'s rows.
pub(super) struct BackwardData<'a> {
    /// The first image of `diff_src` and those that follow.
    pub(super) diff_dst: &'a [f32],
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) weights: &'a [f32],
    pub(super) columns: Range<usize>,
    pub(super) diff_src_stride: usize,
    pub(super) diff_src: &'a mut [f32],
}

impl SimdOp for BackwardData<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let rows = self.diff_src.len() / self.diff_src_stride;
        let mut row = 0;
        while row + ROWS <= rows {
            self.rows::<S, ROWS>(simd, row);
            row += ROWS;
        }
        for row in row..rows {
            self.rows::<S, 1>(simd, row);
        }
    }
}

impl BackwardData<'_> {
    #[inline(always)]
    fn rows<S: Simd, const M: usize>(&mut self, simd: S, row: usize) {
        let stride = self.diff_src_stride;
        let mut c = 0;
        while c + VECTORS * S::LANES <= stride {
            self.tile::<S, M, VECTORS>(simd, row, c);
            c += VECTORS * S::LANES;
        }
        while c < stride {
            self.tile::<S, M, 1>(simd, row, c);
            c += S::LANES;
        }
    }

    /// `N` vectors from column `c` of the task's columns.
    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, row: usize, c: usize) {
        let stride = channel_stride(self.outputs);
        let mut sums = [[simd.splat(0.0); N]; M];
        for output in 0..self.outputs {
            let weights = &self.weights[output * self.inputs..][..self.columns.end];
            let mut w = [simd.splat(0.0); N];
            for (j, w) in w.iter_mut().enumerate() {
                *w = load_up_to(simd, weights, self.columns.start + c + j * S::LANES);
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let g = self.diff_dst[(row + i) * stride + output];
                add_products(simd, simd.splat(g), w, sums);
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            let dst = &mut self.diff_src[(row + i) * self.diff_src_stride + c..];
            for (j, sum) in sums.into_iter().enumerate() {
                simd.store(sum, &mut dst[j * S::LANES..]);
            }
        }
    }
}

/// The rows of `diff_weights`, from `first_output`.
pub(super) struct BackwardWeights<'a> {
    pub(super) src: &'a [f32],
    pub(super) diff_dst: &'a [f32],
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) first_output: usize,
    pub(super) diff_weights: &'a mut [f32],
}

impl SimdOp for BackwardWeights<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let rows = self.diff_weights.len() / self.inputs;
        let mut row = 0;
        while row + ROWS <= rows {
            self.rows::<S, ROWS>(simd, row);
            row += ROWS;
        }
        for row in row..rows {
            self.rows::<S, 1>(simd, row);
        }
    }
}

impl BackwardWeights<'_> {
    #[inline(always)]
    fn rows<S: Simd, const M: usize>(&mut self, simd: S, row: usize) {
        let mut c = 0;
        while c + VECTORS * S::LANES <= self.inputs {
            self.tile::<S, M, VECTORS>(simd, row, c);
            c += VECTORS * S::LANES;
        }
        while c < self.inputs {
            self.tile::<S, M, 1>(simd, row, c);
            c += S::LANES;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, row: usize, c: usize) {
        let src = self.src.chunks_exact(channel_stride(self.inputs));
        let diff_dst = self.diff_dst.chunks_exact(channel_stride(self.outputs));
        let mut sums = [[simd.splat(0.0); N]; M];
        for (src, diff_dst) in src.zip(diff_dst) {
            let mut x = [simd.splat(0.0); N];
            for (x, src) in x.iter_mut().zip(src[c..].chunks_exact(S::LANES)) {
                *x = simd.load(src);
            }
            let diff_dst = &diff_dst[self.first_output + row..][..M];
            for (sums, &g) in sums.iter_mut().zip(diff_dst) {
                add_products(simd, simd.splat(g), x, sums);
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            let dst = &mut self.diff_weights[(row + i) * self.inputs..][..self.inputs];
            for (j, sum) in sums.into_iter().enumerate() {
                let c = c + j * S::LANES;
                if c + S::LANES <= self.inputs {
                    simd.store(sum, &mut dst[c..]);
                } else {
                    simd.store_partial(sum, &mut dst[c..]);
                }
            }
        }
    }
}
