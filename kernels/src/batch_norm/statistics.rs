//! The reductions: moments of a map, and sums of gradients.

use crate::reduce::{CHANNEL_BLOCK, Doubles, Rows, groups, sum_block};
use crate::simd::{Simd, SimdOp};

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
    pub(super) diff_dst: &'a [f32],
    /// Of all channels of the map.
    pub(super) mean: &'a [f32],
    pub(super) rows: Rows,
    pub(super) sums: &'a mut DiffSums,
}

impl SimdOp for AddDiffSums<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { src, diff_dst, mean, rows, sums } = self;
        let mut centre = [0.0; CHANNEL_BLOCK];
        let channels = &mean[rows.first..mean.len().min(rows.first + CHANNEL_BLOCK)];
        centre[..channels.len()].copy_from_slice(channels);
        for block in rows.blocks() {
            let (mut centred, mut plain) = ([0.0; CHANNEL_BLOCK], [0.0; CHANNEL_BLOCK]);
            for (p, four) in groups(block) {
                let centre = &centre[..rows.width];
                let sums = (&mut centred[..rows.width], &mut plain[..rows.width]);
                if four {
                    let maps = (rows.group(src, p), rows.group(diff_dst, p));
                    add_products::<S, 4>(simd, maps, centre, sums);
                } else {
                    let maps = (rows.group(src, p), rows.group(diff_dst, p));
                    add_products::<S, 1>(simd, maps, centre, sums);
                }
            }
            for c in 0..CHANNEL_BLOCK {
                sums.centred[c] += f64::from(centred[c]);
                sums.plain[c] += f64::from(plain[c]);
            }
        }
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

/// Adds `diff_dst * (src - centre)` and `diff_dst` of `M` pixels.
#[inline(always)]
fn add_products<S: Simd, const M: usize>(
    simd: S,
    (src, diff_dst): ([&[f32]; M], [&[f32]; M]),
    centre: &[f32],
    (centred, plain): (&mut [f32], &mut [f32]),
) {
    for c in (0..centre.len()).step_by(S::LANES) {
        let centre = simd.load(&centre[c..]);
        let (mut products, mut sum) = (simd.splat(0.0), simd.splat(0.0));
        for (src, diff_dst) in src.iter().zip(diff_dst) {
            let g = simd.load(&diff_dst[c..]);
            products = simd.mul_add(g, simd.sub(simd.load(&src[c..]), centre), products);
            sum = simd.add(sum, g);
        }
        simd.store(simd.add(simd.load(&centred[c..]), products), &mut centred[c..]);
        simd.store(simd.add(simd.load(&plain[c..]), sum), &mut plain[c..]);
    }
}
