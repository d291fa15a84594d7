//! How a pass is cut into tiles, and where factors, weights and products of tiles lie.

use super::super::taps::Pass;
use crate::gemm::blocking::{KC, cut};
use crate::gemm::micro::MAX_NR;
use crate::par::TASK_BUFFER;
use std::ops::Range;

/// Tiles in a group, which is transformed by one task: a multiple of the 6 and 8 rows of the
/// micro-kernels.
pub(super) const MAX_GROUP: usize = 24;

/// Tiles whose factors and products exist at a time where they are not a task's own.
const MAX_TILES: usize = 192;

/// Columns that a task multiplies where tasks share factors.
const CHUNK: usize = 256;

/// Columns that a task multiplies at a time where it has factors of its own: their products then stay in
/// the second-level cache, beside the factors.
const OWN_CHUNK: usize = 32;

/// A task of its own reads all transformed weights, so they should stay in the cache beside it.
const MAX_OWN_WEIGHTS: usize = 3 << 18;

/// So few tiles are not worth reading the weights for by several tasks, unless those are in the cache: to read
/// them takes longer than to multiply.
pub(super) const FEW_TILES: usize = 8;

/// Multiply-adds that are worth a task: about a microsecond, of tasks that follow each other closely.
const TASK_MACS: usize = 1 << 17;

/// Transformed weights that stay in the second-level cache beside a task's buffer: 128 KiB.
const CACHED_WEIGHTS: usize = 32 << 10;

/// A pass cut into tiles. Everything in it is a function of the pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiling {
    pub(super) forward: bool,
    /// Products on each axis of a tile.
    products: usize,
    /// Input channels.
    pub(super) k: usize,
    pub(super) ih: usize,
    pub(super) iw: usize,
    pub(super) src_stride: usize,
    /// Rows and columns of zeros before the input.
    before: usize,
    /// Output channels.
    pub(super) columns: usize,
    oh: usize,
    pub(super) ow: usize,
    pub(super) dst_stride: usize,
    /// Tiles across an output row.
    pub(super) per_row: usize,
    /// Rows of tiles of an image.
    per_image: usize,
    /// Rows of tiles of the batch.
    pub(super) rows: usize,
    /// Channels of a block: a multiple of 16, unless it is the only one.
    depth: usize,
    /// Floats between rows of factors: an odd number of cache lines, for the sets of the cache.
    pub(super) row: usize,
    /// Tiles of a group of factors.
    pub(super) group: usize,
    /// Floats between the places of a group of factors: an odd number of cache lines.
    pub(super) place: usize,
    /// Columns of a chunk of products.
    pub(super) chunk: usize,
    /// Floats between rows of products: an odd number of cache lines.
    pub(super) products_row: usize,
    /// The most rows of tiles that exist at a time; a task's own, or shared by tasks.
    pub(super) rows_at_a_time: usize,
    /// Whether each task has factors and products of its own.
    pub(super) own: bool,
    /// Whether the transformed weights stay in the second-level cache.
    pub(super) cached: bool,
}

impl Tiling {
    /// The tiling of a 3x3 pass by tiles of `output` pixels and `products` products on
    /// each axis. `before`: zeros before the input that tiles cover.
    pub(super) fn new(pass: &Pass, output: usize, products: usize, before: usize) -> Self {
        let (src, dst) = (pass.input(), pass.output());
        let (k, columns) = (src.channels, dst.channels);
        let (blocks, depth) = if k <= KC { (1, k) } else { cut(k, KC, 16) };
        let row = [80, 144, 272].into_iter().find(|row| row - 16 >= depth).unwrap_or(272);
        let (per_row, per_image) = (dst.w.div_ceil(output), dst.h.div_ceil(output));
        let (rows, places) = (pass.g.n * per_image, products * products);
        let chunk = CHUNK.min(columns.next_multiple_of(MAX_NR));
        // What a tile takes of a task's buffer, with the lines that make distances odd.
        let tile = places * (blocks * (row + 16) + odd_lines(chunk) + 16);
        let own = tile * MAX_GROUP <= TASK_BUFFER
            && per_row <= MAX_GROUP
            && places * k * columns <= MAX_OWN_WEIGHTS
            && (rows * per_row > FEW_TILES || places * k * columns <= CACHED_WEIGHTS);
        let most = if own { MAX_GROUP } else { MAX_TILES };
        let rows_at_a_time = (most / per_row).clamp(1, rows.max(1));
        let tiles = rows_at_a_time * per_row;
        // Even groups, of whole tiles of eight rows.
        let group = if own { tiles } else { cut(tiles, MAX_GROUP, 8).1.min(tiles) };
        let chunk = if own { chunk.min(OWN_CHUNK) } else { chunk };
        Self {
            forward: pass.forward,
            products,
            k,
            ih: src.h,
            iw: src.w,
            src_stride: src.stride,
            before,
            columns,
            oh: dst.h,
            ow: dst.w,
            dst_stride: dst.stride,
            per_row,
            per_image,
            rows,
            depth,
            row,
            group,
            place: odd_lines(group * row),
            chunk,
            products_row: odd_lines(chunk.min(columns)),
            rows_at_a_time,
            own,
            cached: own && places * k * columns <= CACHED_WEIGHTS,
        }
    }

    /// The same tiles, about `tiles` at a time, in even groups of at most `group`; shared by tasks.
    pub(super) fn regrouped(self, tiles: usize, group: usize) -> Self {
        let rows_at_a_time = (tiles / self.per_row).clamp(1, self.rows.max(1));
        let tiles = rows_at_a_time * self.per_row;
        let group = cut(tiles, group, 8).1.min(tiles);
        let place = odd_lines(group * self.row);
        Self { own: false, cached: false, rows_at_a_time, group, place, ..self }
    }

    /// Places in a tile: one product a place, input channel and output channel.
    pub(super) fn places(&self) -> usize {
        self.products * self.products
    }

    /// Places that a task of one of `threads` threads multiplies for a chunk of columns of `tiles` tiles: a divisor of
    /// all, and all of them if there is no other thread to share them with.
    pub(super) fn places_of_task(&self, tiles: usize, threads: usize) -> usize {
        if threads == 1 {
            return self.places();
        }
        let macs = tiles * self.k * self.chunk;
        let enough = TASK_MACS.div_ceil(macs).min(self.places());
        (enough..=self.places()).find(|&some| self.places().is_multiple_of(some)).unwrap_or(1)
    }

    /// Chunks of columns.
    pub(super) fn chunks(&self) -> usize {
        self.columns.div_ceil(self.chunk)
    }

    /// Blocks of channels.
    pub(super) fn blocks(&self) -> usize {
        self.k.div_ceil(self.depth)
    }

    /// The channels of a block.
    pub(super) fn block(&self, block: usize) -> Range<usize> {
        block * self.depth..self.k.min((block + 1) * self.depth)
    }

    /// Rows of a packed panel of weights before a place of a block.
    pub(super) fn weights_rows(&self, block: usize, place: usize) -> usize {
        let channels = self.block(block);
        self.places() * channels.start + place * channels.len()
    }

    /// Floats of a group of factors before a place of a block.
    pub(super) fn factors_start(&self, block: usize, place: usize) -> usize {
        (block * self.places() + place) * self.place
    }

    /// Floats of the factors of a group.
    pub(super) fn factors_len(&self) -> usize {
        self.factors_start(self.blocks(), 0)
    }

    /// Floats between the places of a chunk of products of `tiles` tiles: an odd number of cache lines.
    pub(super) fn products_place(&self, tiles: usize) -> usize {
        odd_lines(tiles * self.products_row)
    }

    /// Floats of the factors of `tiles` tiles.
    pub(super) fn groups_len(&self, tiles: usize) -> usize {
        tiles.div_ceil(self.group) * self.factors_len()
    }

    /// Tasks of their own that the rows of tiles are shared out to, about as many to each, so that `threads`
    /// threads have as much to do; each tile's sums are the same in any.
    pub(super) fn tasks(&self, threads: usize) -> usize {
        let tasks = self.rows.div_ceil(self.rows_at_a_time);
        tasks.next_multiple_of(threads).min(self.rows)
    }

    /// The most tiles that exist at a time.
    pub(super) fn tiles(&self) -> usize {
        self.rows_at_a_time * self.per_row
    }

    /// Where the weights from channel `k` to `column` start.
    pub(super) fn weights_at(&self, column: usize, k: usize) -> usize {
        let (oc, ic, inputs) = match self.forward {
            true => (column, k, self.k),
            false => (k, column, self.columns),
        };
        9 * (oc * inputs + ic)
    }

    /// The image of a tile and the row and column at which its inputs start, if those of the next start
    /// `step` further.
    pub(super) fn input_of(&self, tile: usize, step: usize) -> (usize, isize, isize) {
        let (row, x) = (tile / self.per_row, tile % self.per_row);
        let (image, y) = (row / self.per_image, row % self.per_image);
        let at = |i: usize| (i * step) as isize - self.before as isize;
        (image, at(y), at(x))
    }

    /// Where the outputs of a row of tiles start, and how many rows of pixels they are; with `pools`, where
    /// the maxima of 2x2 pixels are written, and how many rows of these there are.
    pub(super) fn output_of(&self, row: usize, output: usize, pools: bool) -> (usize, usize) {
        let (image, y) = (row / self.per_image, row % self.per_image * output);
        let (oh, ow, height) = (self.oh, self.ow, output.min(self.oh - y));
        let (y, oh, ow, height) = match pools {
            true => (y / 2, oh / 2, ow / 2, height / 2),
            false => (y, oh, ow, height),
        };
        ((image * oh + y) * ow * self.dst_stride, height)
    }
}

/// At least `len` floats that are an odd number of cache lines: rows at this distance spread over the
/// sets of the cache.
pub(super) fn odd_lines(len: usize) -> usize {
    let lines = len.div_ceil(16);
    16 * (lines + (lines + 1) % 2)
}
