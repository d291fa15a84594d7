//! The gradient of the weights: vectors run over the inputs.

use super::ROWS;
use super::forward::add_products;
use crate::simd::{Simd, SimdOp};
use crate::{CHANNEL_ALIGN, channel_stride};

/// Images whose operands are gathered at a time: 64 * 16 floats are 4 KiB, and as many for the
/// gradients of 16 outputs, where the rows themselves may be a power of two apart and share a set
/// of the cache.
const IMAGES: usize = 64;

/// The rows of `diff_weights`, from `first_output`: at most [`BackwardWeights::ROWS`].
pub(super) struct BackwardWeights<'a> {
    pub(super) src: &'a [f32],
    pub(super) diff_dst: &'a [f32],
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) first_output: usize,
    pub(super) diff_weights: &'a mut [f32],
}

/// Some channels of some images, gathered.
type Block<const WIDTH: usize> = [[f32; WIDTH]; IMAGES];

impl BackwardWeights<'_> {
    /// Rows in a task at most.
    pub(super) const ROWS: usize = 16;
}

impl SimdOp for BackwardWeights<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { src, diff_dst, inputs, outputs, first_output, diff_weights } = self;
        let (src_stride, diff_stride) = (channel_stride(inputs), channel_stride(outputs));
        let rows = diff_weights.len() / inputs;
        let mut diffs: Block<{ BackwardWeights::ROWS }> = [[0.0; _]; IMAGES];
        let mut images: Block<CHANNEL_ALIGN> = [[0.0; _]; IMAGES];
        diff_weights.fill(0.0);
        let blocks = src.chunks(IMAGES * src_stride).zip(diff_dst.chunks(IMAGES * diff_stride));
        for (src, diff_dst) in blocks {
            let n = src.len() / src_stride;
            for (diffs, row) in diffs.iter_mut().zip(diff_dst.chunks_exact(diff_stride)) {
                diffs[..rows].copy_from_slice(&row[first_output..][..rows]);
            }
            for c in (0..src_stride).step_by(CHANNEL_ALIGN) {
                for (image, row) in images.iter_mut().zip(src.chunks_exact(src_stride)) {
                    image.copy_from_slice(&row[c..][..CHANNEL_ALIGN]);
                }
                let width = (inputs - c).min(CHANNEL_ALIGN);
                for row in (0..rows).step_by(ROWS) {
                    let dst = &mut diff_weights[row * inputs + c..];
                    let mut column = 0;
                    while column + 2 * S::LANES <= CHANNEL_ALIGN {
                        let (images, diffs, size) = (&images[..n], &diffs[..n], (inputs, width));
                        add_tile::<S, 2>(simd, images, diffs, row, column, dst, size);
                        column += 2 * S::LANES;
                    }
                    if column < CHANNEL_ALIGN {
                        let (images, diffs, size) = (&images[..n], &diffs[..n], (inputs, width));
                        add_tile::<S, 1>(simd, images, diffs, row, column, dst, size);
                    }
                }
            }
        }
    }
}

/// Adds the products of [`ROWS`] outputs from `row` to `width` columns of as many rows of `dst` as
/// there are, `inputs` floats apart.
#[inline(always)]
fn add_tile<S: Simd, const N: usize>(
    simd: S,
    images: &[[f32; CHANNEL_ALIGN]],
    diffs: &[[f32; BackwardWeights::ROWS]],
    row: usize,
    column: usize,
    dst: &mut [f32],
    (inputs, width): (usize, usize),
) {
    let mut sums = [[simd.splat(0.0); N]; ROWS];
    for (image, diffs) in images.iter().zip(diffs) {
        let mut x = [simd.splat(0.0); N];
        for (x, image) in x.iter_mut().zip(image[column..].chunks_exact(S::LANES)) {
            *x = simd.load(image);
        }
        for (sums, &g) in sums.iter_mut().zip(&diffs[row..row + ROWS]) {
            add_products(simd, simd.splat(g), x, sums);
        }
    }
    for (dst, sums) in dst.chunks_mut(inputs).zip(sums) {
        let dst = &mut dst[..width];
        for (dst, sum) in dst[column.min(width)..].chunks_mut(S::LANES).zip(sums) {
            if dst.len() == S::LANES {
                simd.store(simd.add(simd.load(dst), sum), dst);
            } else {
                simd.store_partial(simd.add(simd.load_partial(dst), sum), dst);
            }
        }
    }
}
