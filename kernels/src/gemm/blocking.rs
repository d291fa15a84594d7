//! How products are cut. No cut depends on the number of threads or the instruction set.

/// Terms of a sum between two visits to its output. A panel of B is then 256 * 16 * 4 = 16 KiB, half
/// of a 32 KiB first-level cache, on AVX2, and a visit, one load and one store for each 256
/// multiply-adds of a vector, about 1 % of the work.
pub(crate) const KC: usize = 256;

/// Rows of A in a task: 192 * 272 * 4 = 204 KiB, for the second-level cache.
pub(crate) const MC: usize = 192;

/// Floats between packed rows of A: an odd number of cache lines, so that they spread over the sets of
/// the cache. The spare line takes the tails of copies by whole vectors.
pub(crate) const A_STRIDE: usize = KC + 16;

/// A packed row of A.
pub(crate) type Row = [f32; A_STRIDE];

/// A packed column of a tile of A; tiles lower than 8 rows leave the rest unused.
pub(crate) type Column = [f32; 8];

/// Columns between packed tiles: a cache line more than a block has, so that tiles spread over the
/// sets of the cache.
pub(crate) const TILE_STRIDE: usize = KC + 2;

/// `len` cut into the fewest parts of at most `max`: their number and the size of all but the last,
/// a multiple of `align`, which divides `max`.
pub(crate) fn cut(len: usize, max: usize, align: usize) -> (usize, usize) {
    let parts = len.div_ceil(max).max(1);
    let size = len.div_ceil(parts).next_multiple_of(align);
    (len.div_ceil(size.max(1)).max(1), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_length_and_none_is_empty_or_too_large() {
        for len in 1..1000 {
            for (max, align) in [(256, 16), (192, 1), (16, 16), (9, 1)] {
                let (parts, size) = cut(len, max, align);
                assert!(size <= max && size % align == 0, "{len} {max} {align}");
                assert!(parts * size >= len && (parts - 1) * size < len, "{len} {max} {align}");
            }
        }
    }
}
