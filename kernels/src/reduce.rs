//! Sums over the pixels of a map, channel by channel.
//!
//! Reductions are cut into at most [`MAX_CHUNKS`] chunks of pixels, a number that does not depend on
//! the threads, and the chunks' results are combined in order. Within a chunk, [`BLOCK`] pixels at a
//! time are summed in f32 and the blocks in f64.

use crate::dispatch::enter;
use crate::simd::{Simd, SimdOp};
use crate::{Context, channel_stride};
use std::ops::Range;

/// Chunks of a reduction at most: enough for the threads that saturate a memory controller.
const MAX_CHUNKS: usize = 16;

/// Floats in a chunk at least, so that a task outweighs handing it to a thread.
const MIN_CHUNK: usize = 32 * 1024;

/// Channels reduced at a time: bounds the partial results, which live on the stack, to
/// 16 chunks * 2 sums * 256 channels * 8 bytes = 64 KiB.
pub(crate) const CHANNEL_BLOCK: usize = 256;

/// Pixels summed in f32 at a time: 128 * 256 channels * 4 bytes = 128 KiB stay in the L2 cache for
/// a second pass.
pub(crate) const BLOCK: usize = 128;

/// One double a channel of a block.
pub(crate) type Doubles = [f64; CHANNEL_BLOCK];

/// The kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    sums: fn(Sums<'_>),
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self { sums: |op| enter::<S, _>(op) }
    }
}

/// `dst[c]` is the sum of channel `c` over all `pixels` of `src`, `[pixels, channels]` with the
/// channel stride.
///
/// # Panics
/// If the lengths do not fit.
pub fn channel_sums_f32(
    cx: &Context,
    pixels: usize,
    channels: usize,
    src: &[f32],
    dst: &mut [f32],
) {
    assert_eq!(dst.len(), channels, "one sum a channel");
    assert_eq!(src.len(), pixels * channel_stride(channels), "src is [pixels, channels]");
    over_chunks(
        cx,
        pixels,
        channels,
        [0.0; CHANNEL_BLOCK],
        |rows, sums| (cx.isa().reduce.sums)(Sums { src, rows, sums }),
        |channels, chunks| {
            for (k, c) in channels.enumerate() {
                dst[c] = chunks.iter().map(|sums| sums[k]).sum::<f64>() as f32;
            }
        },
    );
}

/// The part of a map that a task reduces: some pixels, and a block of their channels.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    /// The pixels.
    pub(crate) pixels: Range<usize>,
    /// The channel stride.
    pub(crate) stride: usize,
    /// The first channel.
    pub(crate) first: usize,
    /// Channels, pad lanes included: at most [`CHANNEL_BLOCK`], a multiple of 16.
    pub(crate) width: usize,
}

impl Rows {
    /// Blocks of at most [`BLOCK`] pixels, in order.
    #[inline(always)]
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Range { start, end } = self.pixels;
        (start..end).step_by(BLOCK).map(move |p| p..end.min(p + BLOCK))
    }

    /// The rows of the `M` pixels of a map that start at `pixel`.
    #[inline(always)]
    pub(crate) fn group<'a, const M: usize>(&self, map: &'a [f32], pixel: usize) -> [&'a [f32]; M] {
        std::array::from_fn(|i| &map[(pixel + i) * self.stride + self.first..][..self.width])
    }
}

/// Reduces a map: for each block of channels, `task` reduces a chunk of pixels into a copy of
/// `empty`, on all threads, and `finish` gets the block's channels (pad lanes excluded) and the
/// chunks' results in order.
pub(crate) fn over_chunks<T: Copy + Send>(
    cx: &Context,
    pixels: usize,
    channels: usize,
    empty: T,
    task: impl Fn(Rows, &mut T) + Sync,
    mut finish: impl FnMut(Range<usize>, &[T]),
) {
    for block in Block::all(pixels, channels) {
        let mut results = [empty; MAX_CHUNKS];
        let results = &mut results[..block.chunks()];
        cx.threads().for_each_chunk(results, 1, |i, result| task(block.rows(i), &mut result[0]));
        finish(block.channels, results);
    }
}

/// [`over_chunks`] with tasks that write to another map too: each gets its pixels of `map`, all
/// channels of them, of which those of its block are its own.
pub(crate) fn over_chunks_of<T: Copy + Send>(
    cx: &Context,
    map: &mut [f32],
    channels: usize,
    empty: T,
    task: impl Fn(Rows, &mut [f32], &mut T) + Sync,
    mut finish: impl FnMut(Range<usize>, &[T]),
) {
    let stride = channel_stride(channels);
    for block in Block::all(map.len() / stride, channels) {
        let mut results = [empty; MAX_CHUNKS];
        let results = &mut results[..block.chunks()];
        let chunk = block.chunk * stride;
        cx.threads().for_each_chunk2((map, chunk), (results, 1), |i, map, result| {
            task(block.rows(i), map, &mut result[0]);
        });
        finish(block.channels, results);
    }
}

/// A block of channels, and how its pixels are cut.
struct Block {
    /// Pad lanes excluded.
    channels: Range<usize>,
    stride: usize,
    pixels: usize,
    /// Pixels in a chunk.
    chunk: usize,
}

impl Block {
    fn all(pixels: usize, channels: usize) -> impl Iterator<Item = Self> {
        let stride = channel_stride(channels);
        (0..channels).step_by(CHANNEL_BLOCK).map(move |first| {
            let width = CHANNEL_BLOCK.min(stride - first);
            let chunk = pixels.div_ceil(MAX_CHUNKS).max(MIN_CHUNK / width);
            Self { channels: first..channels.min(first + CHANNEL_BLOCK), stride, pixels, chunk }
        })
    }

    fn chunks(&self) -> usize {
        self.pixels.div_ceil(self.chunk)
    }

    /// The rows of chunk `i`.
    fn rows(&self, i: usize) -> Rows {
        let (first, stride) = (self.channels.start, self.stride);
        let pixels = i * self.chunk..self.pixels.min((i + 1) * self.chunk);
        Rows { pixels, stride, first, width: CHANNEL_BLOCK.min(stride - first) }
    }
}

/// Adds the channels of `rows` to `sums`.
struct Sums<'a> {
    src: &'a [f32],
    rows: Rows,
    sums: &'a mut Doubles,
}

impl SimdOp for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { src, rows, sums } = self;
        for block in rows.blocks() {
            let mut partial = [0.0; CHANNEL_BLOCK];
            sum_block(simd, src, &rows, block, &mut partial);
            for (sum, partial) in sums.iter_mut().zip(partial) {
                *sum += f64::from(partial);
            }
        }
    }
}

/// Adds the rows of `block` to `sums`.
#[inline(always)]
pub(crate) fn sum_block<S: Simd>(
    simd: S,
    src: &[f32],
    rows: &Rows,
    block: Range<usize>,
    sums: &mut [f32; CHANNEL_BLOCK],
) {
    let sums = &mut sums[..rows.width];
    for (p, four) in groups(block) {
        if four {
            add_rows::<S, 4>(simd, rows.group(src, p), sums);
        } else {
            add_rows::<S, 1>(simd, rows.group(src, p), sums);
        }
    }
}

/// The first of every four pixels, with `true`, then each of those left, with `false`.
#[inline(always)]
pub(crate) fn groups(block: Range<usize>) -> impl Iterator<Item = (usize, bool)> {
    let left = block.end - block.len() % 4;
    let fours = (block.start..left).step_by(4).map(|p| (p, true));
    fours.chain((left..block.end).map(|p| (p, false)))
}

#[inline(always)]
fn add_rows<S: Simd, const M: usize>(simd: S, rows: [&[f32]; M], sums: &mut [f32]) {
    for c in (0..sums.len()).step_by(S::LANES) {
        let mut sum = simd.splat(0.0);
        for row in rows {
            sum = simd.add(sum, simd.load(&row[c..]));
        }
        simd.store(simd.add(simd.load(&sums[c..]), sum), &mut sums[c..]);
    }
}
