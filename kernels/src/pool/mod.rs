//! Pooling: the largest value or the mean of windows, and the mean of whole maps.

pub mod avg;
pub mod global_avg;
pub mod max;

use crate::channel_stride;
use crate::simd::Simd;
use crate::windows;
use std::ops::Range;

/// Square windows over a batch of maps. Output sizes round down, as PyTorch's `ceil_mode=False`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2dGeometry {
    /// Images.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Input height.
    pub ih: usize,
    /// Input width.
    pub iw: usize,
    /// Window height and width.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Border on each side, at most half a window.
    pub padding: usize,
}

impl Pool2dGeometry {
    /// Output height.
    #[must_use]
    pub fn oh(&self) -> usize {
        (self.ih + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Output width.
    #[must_use]
    pub fn ow(&self) -> usize {
        (self.iw + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Floats of the input, pad lanes included.
    #[must_use]
    pub fn src_len(&self) -> usize {
        self.n * self.ih * self.iw * channel_stride(self.c)
    }

    /// Floats of the output, pad lanes included.
    #[must_use]
    pub fn dst_len(&self) -> usize {
        self.n * self.oh() * self.ow() * channel_stride(self.c)
    }

    /// Whether each 2x2 pixels become one, with none left over.
    #[must_use]
    pub fn halves(&self) -> bool {
        let pairs = (self.kernel, self.stride, self.padding) == (2, 2, 0);
        pairs && self.ih.is_multiple_of(2) && self.iw.is_multiple_of(2)
    }

    /// Checks the geometry and the lengths of an input and an output map.
    fn check(&self, src: usize, dst: usize) {
        let Self { c, ih, iw, kernel, stride, padding, .. } = *self;
        assert!(c > 0 && kernel > 0 && stride > 0, "channels, kernel and stride are positive");
        assert!(2 * padding <= kernel, "padding {padding} is at most half of the kernel {kernel}");
        assert!(ih.min(iw) + 2 * padding >= kernel, "the window {kernel} fits the padded map");
        assert_eq!(src, self.src_len(), "the input is [n, c, ih, iw]");
        assert_eq!(dst, self.dst_len(), "the output is [n, c, oh, ow]");
    }

    /// The taps of the window at output `o` that lie in `0..size`.
    #[inline(always)]
    fn taps(&self, o: usize, size: usize) -> Range<usize> {
        windows::inside((o * self.stride) as isize - self.padding as isize, self.kernel, size)
    }

    /// The outputs, below `outputs`, whose windows cover input `i`.
    #[inline(always)]
    fn covering(&self, i: usize, outputs: usize) -> Range<usize> {
        windows::covering(i, self.kernel, [self.stride, self.padding], outputs)
    }
}

/// The kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    avg: avg::Table,
    global_avg: global_avg::Table,
    max: max::Table,
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self {
            avg: avg::Table::of::<S>(),
            global_avg: global_avg::Table::of::<S>(),
            max: max::Table::of::<S>(),
        }
    }
}

/// Rows (or whole maps) of `row` floats that a task reads or writes: 128 KiB at least.
fn rows_of_a_task(row: usize) -> usize {
    (32usize * 1024).div_ceil(row)
}
