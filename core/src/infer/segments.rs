//! How many images go through which steps together.

use std::ops::Range;

/// Bytes of a step's inputs and outputs that should stay in the caches from one step to the next. On a Zen 4
/// core with 1 MiB of its own beside 32 shared, batches of 128 take 3 to 5 % longer with 8 MiB, and as long
/// with 2 or 4.
const CACHE: usize = 3 << 20;

/// What starting a step takes, in bytes that come from memory meanwhile: some 5 us.
const START: usize = 128 << 10;

/// Steps of a segment at most: more than networks have, so that only in a graph that was made to take long are not all
/// pairs of steps looked at.
const LONGEST: usize = 1024;

/// What a step moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    /// Bytes of its inputs and outputs, an image.
    pub(super) maps: usize,
    /// Bytes of its weights.
    pub(super) weights: usize,
    /// Bytes, an image, of what it and the steps before it wrote for those after it.
    pub(super) kept: usize,
}

/// Consecutive steps that a batch goes through in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) steps: Range<usize>,
    /// Images of a part.
    pub(super) images: usize,
}

/// The segments for a batch of `batch` images that move the fewest bytes through memory.
///
/// Between segments lie maps of the whole batch; within one, weights are read again for each part. So early
/// steps, whose maps are large, go together with few images at a time, and late ones, whose weights are,
/// with many.
pub(super) fn segments(steps: &[Traffic], batch: usize) -> Vec<Segment> {
    // For each number of first steps, the fewest bytes and the last segment.
    let mut best = vec![(0, Segment { steps: 0..0, images: batch })];
    for end in 1..=steps.len() {
        let kept = if end < steps.len() { batch * steps[end - 1].kept } else { 0 };
        // Written and read; what fits in the cache stays there.
        let between = if kept > CACHE { 2 * kept } else { 0 };
        let (mut maps, mut part) = (1, 0);
        let last = (0..end).rev().take(LONGEST).map(|start| {
            maps = maps.max(steps[start].maps);
            part += steps[start].weights + START;
            let fit = (CACHE / maps).max(1);
            // A power of two, which batches often are multiples of.
            let images = if fit >= batch { batch } else { 1 << fit.ilog2() };
            let bytes = best[start].0 + batch.div_ceil(images) * part + between;
            (bytes, Segment { steps: start..end, images })
        });
        // The longest of equals.
        let last = last.reduce(|best, longer| if longer.0 <= best.0 { longer } else { best });
        best.extend(last);
    }
    let mut segments = Vec::new();
    let mut end = steps.len();
    while end > 0 {
        let segment = best[end].1.clone();
        end = segment.steps.start;
        segments.push(segment);
    }
    segments.reverse();
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(maps: usize, weights: usize, kept: usize) -> Traffic {
        Traffic { maps, weights, kept }
    }

    fn found(steps: &[Traffic], batch: usize) -> Vec<(Range<usize>, usize)> {
        let segments = segments(steps, batch).into_iter();
        segments.map(|segment| (segment.steps, segment.images)).collect()
    }

    #[test]
    fn steps_with_large_maps_go_together_in_parts_and_those_with_many_weights_whole() {
        let early = step(CACHE / 10, 1000, CACHE / 20);
        let late = step(CACHE / 1000, CACHE, CACHE / 2000);
        // 8 images of the early steps fit.
        let expected = [(0..3, 8), (3..5, 50)];
        assert_eq!(found(&[early, early, early, late, late], 50), expected);
    }

    #[test]
    fn maps_that_fit_for_the_whole_batch_need_no_parts() {
        assert_eq!(found(&[step(CACHE / 100, 1000, CACHE / 200); 4], 50), [(0..4, 50)]);
    }

    #[test]
    fn an_image_that_does_not_fit_goes_alone() {
        assert_eq!(found(&[step(CACHE * 2, 1000, CACHE)], 3), [(0..1, 1)]);
        assert_eq!(found(&[], 3), []);
    }
}
