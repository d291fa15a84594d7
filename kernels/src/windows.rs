//! Windows that slide along an axis: of convolutions, tiles and pooling.

use std::ops::Range;

/// Which of the `len` positions from `start` on lie in `0..size`, counted from `start`.
#[inline(always)]
pub(crate) fn inside(start: isize, len: usize, size: usize) -> Range<usize> {
    let first = (-start).clamp(0, len as isize) as usize;
    first..(size as isize - start).clamp(first as isize, len as isize) as usize
}

/// The outputs, below `outputs`, whose windows of `len`, `stride` apart, cover input `i` behind `padding`
/// zeros.
#[inline(always)]
pub(crate) fn covering(
    i: usize,
    len: usize,
    [stride, padding]: [usize; 2],
    outputs: usize,
) -> Range<usize> {
    let i = i + padding;
    (i + 1).saturating_sub(len).div_ceil(stride)..outputs.min(i / stride + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_count_what_a_window_has_in_common_with_a_map() {
        for (len, stride, padding, size) in
            [(1, 1, 0, 4), (3, 1, 1, 5), (3, 2, 1, 7), (5, 3, 2, 4), (2, 2, 0, 6), (3, 1, 4, 2)]
        {
            let outputs = (size + 2 * padding - len) / stride + 1;
            let at = |o: usize, k: usize| (o * stride + k).checked_sub(padding);
            for o in 0..outputs {
                let start = (o * stride) as isize - padding as isize;
                let expected = (0..len).filter(|&k| at(o, k).is_some_and(|i| i < size));
                assert!(inside(start, len, size).eq(expected), "{len} {stride} {padding} {o}");
            }
            for i in 0..size {
                let covers = |o: &usize| (0..len).any(|k| at(*o, k) == Some(i));
                let expected: Vec<usize> = (0..outputs).filter(covers).collect();
                let found = covering(i, len, [stride, padding], outputs);
                assert!(found.eq(expected), "{len} {stride} {padding} {i}");
            }
        }
    }
}
