//! Smaller images.

/// Makes images smaller: each pixel is the mean of the area that it covers (area resampling), so that nothing is
/// skipped and no pattern appears that was not there.
#[derive(Clone, Debug)]
pub struct Shrink {
    from: [usize; 2],
    to: [usize; 2],
    rows: Vec<Taps>,
    columns: Vec<Taps>,
    /// The rows of one image, not yet narrower.
    lower: Vec<f32>,
}

/// The first pixel that another covers a part of, and the shares of it and of those after it; their sum is 1.
#[derive(Clone, Debug)]
struct Taps {
    first: usize,
    shares: Vec<f32>,
}

impl Shrink {
    /// From and to images of `[height, width]` pixels.
    ///
    /// # Panics
    /// If a side is to be longer, or none at all.
    #[must_use]
    pub fn new(from: [usize; 2], to: [usize; 2]) -> Self {
        let fits = from.iter().zip(&to).all(|(&from, &to)| (1..=from).contains(&to));
        assert!(fits, "{from:?} pixels cannot shrink to {to:?}");
        let [rows, columns] = [0, 1].map(|axis| taps(from[axis], to[axis]));
        Self { from, to, rows, columns, lower: Vec::new() }
    }

    /// Shrinks `[n, height, width, channel_stride]` images from `src` to `dst`, all of which is overwritten.
    ///
    /// # Panics
    /// If their lengths do not fit.
    pub fn images(&mut self, src: &[f32], dst: &mut [f32], channel_stride: usize) {
        let [width, narrow] = [self.from[1], self.to[1]].map(|pixels| pixels * channel_stride);
        let (large, small) = (self.from[0] * width, self.to[0] * narrow);
        assert!(src.len().is_multiple_of(large) && dst.len().is_multiple_of(small), "whole images");
        assert_eq!(src.len() / large, dst.len() / small, "as many small images as large ones");
        self.lower.resize(self.to[0] * width, 0.0);
        for (src, dst) in src.chunks_exact(large).zip(dst.chunks_exact_mut(small)) {
            self.lower.fill(0.0);
            for (row, taps) in self.lower.chunks_exact_mut(width).zip(&self.rows) {
                taps.add(src, row);
            }
            dst.fill(0.0);
            let rows = self.lower.chunks_exact(width).zip(dst.chunks_exact_mut(narrow));
            for (src, dst) in rows {
                for (pixel, taps) in dst.chunks_exact_mut(channel_stride).zip(&self.columns) {
                    taps.add(src, pixel);
                }
            }
        }
    }
}

impl Taps {
    /// Adds what is covered to `sum`; `items` are as long as it.
    fn add(&self, items: &[f32], sum: &mut [f32]) {
        for (item, share) in items.chunks_exact(sum.len()).skip(self.first).zip(&self.shares) {
            sum.iter_mut().zip(item).for_each(|(sum, value)| *sum += share * value);
        }
    }
}

/// What each of `to` pixels covers of `from`. In units of a `to`-th of an old pixel an old one is `to` long, and a
/// new one `from`.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let pixel = |i: usize| {
        let (start, end) = (i * from, (i + 1) * from);
        let (first, last) = (start / to, (end - 1) / to);
        let covered = |at: usize| end.min((at + 1) * to) - start.max(at * to);
        let shares = (first..=last).map(|at| covered(at) as f32 / from as f32);
        Taps { first, shares: shares.collect() }
    };
    (0..to).map(pixel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shrunk(from: [usize; 2], to: [usize; 2], src: &[f32]) -> Vec<f32> {
        let stride = 2;
        let mut dst = vec![f32::NAN; src.len() / (from[0] * from[1]) * to[0] * to[1]];
        Shrink::new(from, to).images(src, &mut dst, stride);
        dst
    }

    #[test]
    fn a_pixel_is_the_mean_of_what_it_covers() {
        // Three columns as two: the middle one is shared; the second channel is the first, negated.
        let src = [3.0, -3.0, 6.0, -6.0, 9.0, -9.0];
        assert_eq!(shrunk([1, 3], [1, 2], &src), [4.0, -4.0, 8.0, -8.0]);
        // Two by two as one, of two images.
        let src = [1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 8.0, 5.0, 0.0, 5.0, 0.0, 5.0, 0.0, 5.0, 4.0];
        assert_eq!(shrunk([2, 2], [1, 1], &src), [2.5, 2.0, 5.0, 1.0]);
    }

    #[test]
    fn images_of_the_same_size_stay_and_means_stay_at_any() {
        let src: Vec<f32> = (0..2 * 7 * 9 * 2).map(|i| ((i * 37) % 101) as f32).collect();
        assert_eq!(shrunk([7, 9], [7, 9], &src), src);
        let mean = |pixels: &[f32]| pixels.iter().sum::<f32>() / pixels.len() as f32;
        for to in [[7, 5], [3, 9], [4, 4], [1, 1]] {
            let dst = shrunk([7, 9], to, &src);
            assert!((mean(&dst) - mean(&src)).abs() < 1e-3, "{to:?}");
        }
    }
}
