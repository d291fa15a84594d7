//! The gradient with respect to a batch norm's output, read from that of what followed it.

use super::apply::{Columns, Floats};
use crate::simd::Simd;

/// What the passes over gradients read.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// The gradient itself.
    Plain(&'a [f32]),
    /// The gradient with respect to the rectified output, and the batch norm's bias.
    Relu { diff: &'a [f32], bias: &'a [f32] },
    /// The gradient with respect to the pooled rectified output, and which pixel it goes to.
    ReluMaxPool { diff: &'a [f32], places: &'a [u8], width: usize },
}

impl Source<'_> {
    /// The bias of channel `c`, if the output has to be computed again.
    pub(super) fn bias(&self, c: usize) -> f32 {
        match self {
            Self::Relu { bias, .. } => bias[c],
            Self::Plain(_) | Self::ReluMaxPool { .. } => 0.0,
        }
    }
}

/// Vectors of a gradient, row by row.
pub(super) trait Vectors: Copy {
    /// Where a row's vectors lie.
    type Row: Copy;
    /// The row of one pixel.
    fn row(self, pixel: usize) -> Self::Row;
    /// The vector of `row` from channel `c` of the block on, where `d` is the input's distance from
    /// the mean.
    fn at<S: Simd>(self, simd: S, row: Self::Row, c: usize, d: S::F32) -> S::F32;
}

/// The gradient itself.
#[derive(Clone, Copy)]
pub(super) struct Plain<'a> {
    pub(super) diff: &'a [f32],
    pub(super) columns: Columns,
    /// The pixel at the start of `diff`.
    pub(super) origin: usize,
}

impl<'a> Vectors for Plain<'a> {
    type Row = &'a [f32];

    #[inline(always)]
    fn row(self, pixel: usize) -> Self::Row {
        self.columns.of(self.diff, pixel - self.origin)
    }

    #[inline(always)]
    fn at<S: Simd>(self, simd: S, row: Self::Row, c: usize, _: S::F32) -> S::F32 {
        simd.load(&row[c..])
    }
}

/// The gradient where the output, computed again, is positive.
#[derive(Clone, Copy)]
pub(super) struct Rectified<'a> {
    pub(super) plain: Plain<'a>,
    pub(super) scale: &'a Floats,
    pub(super) bias: &'a Floats,
}

impl<'a> Vectors for Rectified<'a> {
    type Row = &'a [f32];

    #[inline(always)]
    fn row(self, pixel: usize) -> Self::Row {
        self.plain.row(pixel)
    }

    #[inline(always)]
    fn at<S: Simd>(self, simd: S, row: Self::Row, c: usize, d: S::F32) -> S::F32 {
        let x = simd.mul_add(d, simd.load(&self.scale[c..]), simd.load(&self.bias[c..]));
        simd.where_positive(x, simd.load(&row[c..]))
    }
}

/// The gradient of the pixels that won their window with something positive.
#[derive(Clone, Copy)]
pub(super) struct Pooled<'a> {
    pub(super) diff: &'a [f32],
    pub(super) places: &'a [u8],
    /// Pixels of a row before pooling.
    pub(super) width: usize,
    pub(super) columns: Columns,
}

impl<'a> Vectors for Pooled<'a> {
    type Row = (&'a [f32], &'a [u8], u8);

    #[inline(always)]
    fn row(self, pixel: usize) -> Self::Row {
        let (y, x) = (pixel / self.width, pixel % self.width);
        let window = y / 2 * (self.width / 2) + x / 2;
        let place = (y % 2 * 2 + x % 2) as u8;
        (self.columns.of(self.diff, window), self.columns.of(self.places, window), place)
    }

    #[inline(always)]
    fn at<S: Simd>(self, simd: S, row: Self::Row, c: usize, _: S::F32) -> S::F32 {
        let (diff, places, place) = row;
        let won = simd.where_byte(&places[c..], place, simd.load(&diff[c..]));
        // As max pooling sums the gradients of an input's windows: a negative zero becomes a zero.
        simd.add(simd.splat(0.0), won)
    }
}
