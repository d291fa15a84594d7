//! The reductions: moments of a map, and sums of gradients.

use super::apply::{Columns, Floats};
use super::gradient::{Plain, Pooled, Rectified, Source, Vectors};
use crate::reduce::{CHANNEL_BLOCK, Doubles, Rows, groups, sum_block};
use crate::simd::{Simd, SimdOp};
use std::ops::Range;

/// The number of pixels, and for each channel of a block their mean and the sum of the squares of
/// their distances from it.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    pub(super) count: f64,
    pub(super) mean: Doubles,
    pub(super) m2: Doubles,
}

impl Moments {
    pub(super) const EMPTY: Self =
        Self { count: 0.0, mean: [0.0; CHANNEL_BLOCK], m2: [0.0; CHANNEL_BLOCK] };

    /// The moments of all the pixels of `chunks`.
    pub(super) fn merged(chunks: &[Self]) -> Self {
        let mut total = Self::EMPTY;
        for chunk in chunks {
            total.merge(chunk.count, |c| (chunk.mean[c], chunk.m2[c]));
        }
        total
    }

    /// Adds `count` pixels with the mean and the sum of squares `other(c)` (Chan, Golub and LeVeque
    /// 1979, equation 2.1).
    #[inline(always)]
    fn merge(&mut self, count: f64, other: impl Fn(usize) -> (f64, f64)) {
        let total = self.count + count;
        let (share, weight) = (count / total, self.count * count / total);
        for c in 0..CHANNEL_BLOCK {
            let (mean, m2) = other(c);
            let distance = mean - self.mean[c];
            self.mean[c] += distance * share;
            self.m2[c] += m2 + distance * distance * weight;
        }
        self.count = total;
    }
}

/// Adds the pixels of `rows` to `moments`.
pub(super) struct AddMoments<'a> {
    pub(super) src: &'a [f32],
    pub(super) rows: Rows,
    pub(super) moments: &'a mut Moments,
}

impl SimdOp for AddMoments<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { src, rows, moments } = self;
        for block in rows.blocks() {
            let count = block.len() as f64;
            let mut centre = [0.0; CHANNEL_BLOCK];
            sum_block(simd, src, &rows, block.clone(), &mut centre);
            for centre in &mut centre[..rows.width] {
                *centre /= count as f32;
            }
            let (mut sum, mut squares) = ([0.0; CHANNEL_BLOCK], [0.0; CHANNEL_BLOCK]);
            for (p, four) in groups(block) {
                let centre = &centre[..rows.width];
                let sums = (&mut sum[..rows.width], &mut squares[..rows.width]);
                if four {
                    add_centred::<S, 4>(simd, rows.group(src, p), centre, sums);
                } else {
                    add_centred::<S, 1>(simd, rows.group(src, p), centre, sums);
                }
            }
            moments.merge(count, |c| {
                let sum = f64::from(sum[c]);
                (f64::from(centre[c]) + sum / count, f64::from(squares[c]) - sum * sum / count)
            });
        }
    }
}

/// For each channel of a block, the sums of `diff_dst * (src - mean)` and of `diff_dst`.
#[derive(Clone, Copy)]
pub(super) struct DiffSums {
    pub(super) centred: Doubles,
    pub(super) plain: Doubles,
}

impl DiffSums {
    pub(super) const EMPTY: Self =
        Self { centred: [0.0; CHANNEL_BLOCK], plain: [0.0; CHANNEL_BLOCK] };
}

/// Adds the pixels of `rows` to `sums`.
pub(super) struct AddDiffSums<'a> {
    pub(super) src: &'a [f32],
    pub(super) diff_dst: Source<'a>,
    /// Mean, scale and bias of the block's channels.
    pub(super) coefficients: &'a [Floats; 3],
    pub(super) rows: Rows,
    pub(super) sums: &'a mut DiffSums,
}

impl SimdOp for AddDiffSums<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { src, diff_dst, coefficients: [mean, scale, bias], rows, sums } = self;
        let columns = columns(&rows);
        match diff_dst {
            Source::Plain(diff) => {
                let plain = Plain { diff, columns, origin: 0 };
                add_blocks(simd, src, &rows, mean, plain, sums);
            }
            Source::Relu { diff, .. } => {
                let plain = Plain { diff, columns, origin: 0 };
                add_blocks(simd, src, &rows, mean, Rectified { plain, scale, bias }, sums);
            }
            Source::ReluMaxPool { diff, places, width } => {
                let pooled = Pooled { diff, places, width, columns };
                add_blocks(simd, src, &rows, mean, pooled, sums);
            }
        }
    }
}

/// Makes `diff_dst` zero where `dst` is not positive, and adds the pixels of `rows` to `sums`.
pub(super) struct MaskAndAddDiffSums<'a> {
    pub(super) src: &'a [f32],
    pub(super) dst: &'a [f32],
    /// From the first pixel of `rows` on.
    pub(super) diff_dst: &'a mut [f32],
    pub(super) mean: &'a Floats,
    pub(super) rows: Rows,
    pub(super) sums: &'a mut DiffSums,
}

impl SimdOp for MaskAndAddDiffSums<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { src, dst, diff_dst, mean, rows, sums } = self;
        let (columns, origin) = (columns(&rows), rows.pixels.start);
        for block in rows.blocks() {
            for pixel in block.clone() {
                let dst = columns.of(dst, pixel);
                let diff_dst = columns.of_mut(diff_dst, pixel - origin);
                for c in (0..dst.len()).step_by(S::LANES) {
                    let (y, g) = (simd.load(&dst[c..]), simd.load(&diff_dst[c..]));
                    simd.store(simd.where_positive(y, g), &mut diff_dst[c..]);
                }
            }
            let plain = Plain { diff: diff_dst, columns, origin };
            add_block(simd, src, &rows, block, mean, plain, sums);
        }
    }
}

fn columns(rows: &Rows) -> Columns {
    Columns { stride: rows.stride, first: rows.first, width: rows.width }
}

#[inline(always)]
fn add_blocks<S: Simd, V: Vectors>(
    simd: S,
    src: &[f32],
    rows: &Rows,
    mean: &Floats,
    diff_dst: V,
    sums: &mut DiffSums,
) {
    for block in rows.blocks() {
        add_block(simd, src, rows, block, mean, diff_dst, sums);
    }
}

/// Adds the pixels of `block`, summed in f32, to `sums`.
#[inline(always)]
fn add_block<S: Simd, V: Vectors>(
    simd: S,
    src: &[f32],
    rows: &Rows,
    block: Range<usize>,
    mean: &Floats,
    diff_dst: V,
    sums: &mut DiffSums,
) {
    let (mut centred, mut plain) = ([0.0; CHANNEL_BLOCK], [0.0; CHANNEL_BLOCK]);
    for (p, four) in groups(block) {
        let mean = &mean[..rows.width];
        let sums = (&mut centred[..rows.width], &mut plain[..rows.width]);
        if four {
            add_products::<S, V, 4>(simd, (rows.group(src, p), p, diff_dst), mean, sums);
        } else {
            add_products::<S, V, 1>(simd, (rows.group(src, p), p, diff_dst), mean, sums);
        }
    }
    for c in 0..CHANNEL_BLOCK {
        sums.centred[c] += f64::from(centred[c]);
        sums.plain[c] += f64::from(plain[c]);
    }
}

/// Adds the distances of `M` pixels from `centre`, and their squares.
#[inline(always)]
fn add_centred<S: Simd, const M: usize>(
    simd: S,
    src: [&[f32]; M],
    centre: &[f32],
    (sum, squares): (&mut [f32], &mut [f32]),
) {
    for c in (0..centre.len()).step_by(S::LANES) {
        let centre = simd.load(&centre[c..]);
        let (mut d1, mut d2) = (simd.splat(0.0), simd.splat(0.0));
        for src in src {
            let d = simd.sub(simd.load(&src[c..]), centre);
            d1 = simd.add(d1, d);
            d2 = simd.mul_add(d, d, d2);
        }
        simd.store(simd.add(simd.load(&sum[c..]), d1), &mut sum[c..]);
        simd.store(simd.add(simd.load(&squares[c..]), d2), &mut squares[c..]);
    }
}

/// Adds `diff_dst * (src - mean)` and `diff_dst` of the `M` pixels from `pixel` on.
#[inline(always)]
fn add_products<S: Simd, V: Vectors, const M: usize>(
    simd: S,
    (src, pixel, diff_dst): ([&[f32]; M], usize, V),
    mean: &[f32],
    (centred, plain): (&mut [f32], &mut [f32]),
) {
    let rows: [V::Row; M] = std::array::from_fn(
        #[inline(always)]
        |i| diff_dst.row(pixel + i),
    );
    for c in (0..mean.len()).step_by(S::LANES) {
        let mean = simd.load(&mean[c..]);
        let (mut products, mut sum) = (simd.splat(0.0), simd.splat(0.0));
        for (src, row) in src.iter().zip(rows) {
            let d = simd.sub(simd.load(&src[c..]), mean);
            let g = diff_dst.at(simd, row, c, d);
            products = simd.mul_add(g, d, products);
            sum = simd.add(sum, g);
        }
        simd.store(simd.add(simd.load(&centred[c..]), products), &mut centred[c..]);
        simd.store(simd.add(simd.load(&plain[c..]), sum), &mut plain[c..]);
    }
}
