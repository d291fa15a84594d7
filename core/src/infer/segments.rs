//! How many images go through which steps together.

use std::ops::Range;

/// Bytes of a step's inputs and outputs that should stay in the last cache from one step to the next.
const CACHE: usize = 8 << 20;

/// Consecutive steps that a batch goes through in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) steps: Range<usize>,
    /// Images of a part.
    pub(super) images: usize,
}

/// The segments for a batch of `batch` images, where step `i` reads and writes `map_bytes[i]` bytes an
/// image: parts are as large as the cache allows, so early steps, whose maps are large, take few images
/// at a time, and late ones, whose weights are, many.
pub(super) fn segments(map_bytes: &[usize], batch: usize) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for (step, &bytes) in map_bytes.iter().enumerate() {
        let fit = (CACHE / bytes.max(1)).max(1);
        // A power of two, so that neighbours often agree.
        let images = if fit >= batch { batch } else { 1 << fit.ilog2() };
        match segments.last_mut() {
            Some(last) if last.images == images => last.steps.end = step + 1,
            _ => segments.push(Segment { steps: step..step + 1, images }),
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_as_maps_shrink() {
        let found = segments(&[CACHE / 9, CACHE / 15, CACHE / 100, 0], 50);
        let expected = [(0..2, 8), (2..4, 50)];
        let expected = expected.map(|(steps, images)| Segment { steps, images });
        assert_eq!(found, expected);
        assert_eq!(segments(&[CACHE * 2], 3), [Segment { steps: 0..1, images: 1 }]);
        assert_eq!(segments(&[], 3), []);
    }
}
