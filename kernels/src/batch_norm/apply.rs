//! The passes that write a map: per-channel affine maps of one or two maps.

use super::gradient::{Plain, Pooled, Rectified, Source, Vectors};
use crate::reduce::CHANNEL_BLOCK;
use crate::simd::{Simd, SimdOp};
use crate::{Context, channel_stride};
use std::ops::Range;

/// Floats in a task.
const CHUNK: usize = 64 * 1024;

/// One float a channel of a block, zero for pad lanes.
pub(super) type Floats = [f32; CHANNEL_BLOCK];

/// What `values` says of each of `channels`.
pub(super) fn floats<const N: usize>(
    channels: Range<usize>,
    values: impl Fn(usize) -> [f32; N],
) -> [Floats; N] {
    let mut floats = [[0.0; CHANNEL_BLOCK]; N];
    for (k, c) in channels.enumerate() {
        for (floats, value) in floats.iter_mut().zip(values(c)) {
            floats[k] = value;
        }
    }
    floats
}

/// A block of the channels of rows that are `stride` floats apart; `width` counts pad lanes.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub(super) stride: usize,
    pub(super) first: usize,
    pub(super) width: usize,
}

impl Columns {
    /// The blocks of a map, with their channels, pad lanes excluded.
    pub(super) fn blocks(channels: usize) -> impl Iterator<Item = (Self, Range<usize>)> {
        let stride = channel_stride(channels);
        (0..channels).step_by(CHANNEL_BLOCK).map(move |first| {
            let width = CHANNEL_BLOCK.min(stride - first);
            (Self { stride, first, width }, first..channels.min(first + CHANNEL_BLOCK))
        })
    }

    /// The channels of one row.
    #[inline(always)]
    pub(super) fn of<'a, T>(&self, map: &'a [T], row: usize) -> &'a [T] {
        &map[row * self.stride + self.first..][..self.width]
    }

    /// The channels of one row.
    #[inline(always)]
    pub(super) fn of_mut<'a, T>(&self, map: &'a mut [T], row: usize) -> &'a mut [T] {
        &mut map[row * self.stride + self.first..][..self.width]
    }

    #[inline(always)]
    fn rows<'a>(&self, map: &'a [f32]) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let (first, end) = (self.first, self.first + self.width);
        map.chunks_exact(self.stride).map(move |row| &row[first..end])
    }

    #[inline(always)]
    fn rows_mut<'a>(&self, map: &'a mut [f32]) -> impl Iterator<Item = &'a mut [f32]> + use<'a> {
        let (first, end) = (self.first, self.first + self.width);
        map.chunks_exact_mut(self.stride).map(move |row| &mut row[first..end])
    }
}

/// `dst = max((src - mean) * scale + bias + residual, floor)` with `[mean, scale, bias]` a channel.
pub(super) fn affine(
    cx: &Context,
    channels: usize,
    src: &[f32],
    coefficients: impl Fn(usize) -> [f32; 3] + Sync,
    residual: Option<&[f32]>,
    floor: f32,
    dst: &mut [f32],
) {
    let chunk = chunk(channels);
    cx.threads().for_each_chunk(dst, chunk, |i, dst| {
        let part = |map: &[f32]| i * chunk..(i * chunk + dst.len()).min(map.len());
        let (src, residual) = (&src[part(src)], residual.map(|residual| &residual[part(residual)]));
        for (columns, channels) in Columns::blocks(channels) {
            let coefficients = &floats(channels, &coefficients);
            let op = Affine { src, columns, coefficients, residual, floor, dst: &mut *dst };
            (cx.isa().batch_norm.affine)(op);
        }
    });
}

/// `src = scale * diff_dst + slope * (src - mean) + offset` with `[mean, scale, bias, slope, offset]` a
/// channel; the bias is for gradients that depend on the output.
pub(super) fn combine(
    cx: &Context,
    channels: usize,
    diff_dst: Source<'_>,
    coefficients: impl Fn(usize) -> [f32; 5] + Sync,
    src: &mut [f32],
) {
    let chunk = chunk(channels);
    cx.threads().for_each_chunk(src, chunk, |i, src| {
        for (columns, channels) in Columns::blocks(channels) {
            let coefficients = &floats(channels, &coefficients);
            let first_row = i * chunk / columns.stride;
            let op = Combine { src: &mut *src, first_row, diff_dst, columns, coefficients };
            (cx.isa().batch_norm.combine)(op);
        }
    });
}

/// Floats of the rows of a task.
fn chunk(channels: usize) -> usize {
    let stride = channel_stride(channels);
    (CHUNK / stride).max(1) * stride
}

pub(super) struct Affine<'a> {
    src: &'a [f32],
    columns: Columns,
    coefficients: &'a [Floats; 3],
    residual: Option<&'a [f32]>,
    floor: f32,
    dst: &'a mut [f32],
}

impl SimdOp for Affine<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { columns, coefficients, .. } = self;
        let floor = simd.splat(self.floor);
        let rows = columns.rows(self.src).zip(columns.rows_mut(self.dst));
        match self.residual {
            None => {
                for (src, dst) in rows {
                    normalise(
                        simd,
                        src,
                        coefficients,
                        dst,
                        #[inline(always)]
                        |_, x| simd.max(floor, x),
                    );
                }
            }
            Some(residual) => {
                for ((src, dst), residual) in rows.zip(columns.rows(residual)) {
                    normalise(
                        simd,
                        src,
                        coefficients,
                        dst,
                        #[inline(always)]
                        |c, x| simd.max(floor, simd.add(x, simd.load(&residual[c..]))),
                    );
                }
            }
        }
    }
}

/// Writes `then(c, x)` of every normalised vector `x` of a row and its first channel `c`.
#[inline(always)]
fn normalise<S: Simd>(
    simd: S,
    src: &[f32],
    [mean, scale, bias]: &[Floats; 3],
    dst: &mut [f32],
    then: impl Fn(usize, S::F32) -> S::F32,
) {
    for c in (0..src.len()).step_by(S::LANES) {
        let d = simd.sub(simd.load(&src[c..]), simd.load(&mean[c..]));
        let x = simd.mul_add(d, simd.load(&scale[c..]), simd.load(&bias[c..]));
        simd.store(then(c, x), &mut dst[c..]);
    }
}

pub(super) struct Combine<'a> {
    src: &'a mut [f32],
    /// Where `src` starts in the map.
    first_row: usize,
    diff_dst: Source<'a>,
    columns: Columns,
    coefficients: &'a [Floats; 5],
}

impl SimdOp for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let (columns, [_, scale, bias, ..]) = (self.columns, self.coefficients);
        match self.diff_dst {
            Source::Plain(diff) => self.run(simd, Plain { diff, columns, origin: 0 }),
            Source::Relu { diff, .. } => {
                let plain = Plain { diff, columns, origin: 0 };
                self.run(simd, Rectified { plain, scale, bias });
            }
            Source::ReluMaxPool { diff, places, width } => {
                self.run(simd, Pooled { diff, places, width, columns });
            }
        }
    }
}

impl Combine<'_> {
    #[inline(always)]
    fn run<S: Simd, V: Vectors>(self, simd: S, diff_dst: V) {
        let [mean, scale, _, slope, offset] = self.coefficients;
        for (i, src) in self.columns.rows_mut(self.src).enumerate() {
            let row = diff_dst.row(self.first_row + i);
            for c in (0..src.len()).step_by(S::LANES) {
                let d = simd.sub(simd.load(&src[c..]), simd.load(&mean[c..]));
                let g = diff_dst.at(simd, row, c, d);
                let g = simd.mul_add(g, simd.load(&scale[c..]), simd.load(&offset[c..]));
                simd.store(simd.mul_add(d, simd.load(&slope[c..]), g), &mut src[c..]);
            }
        }
    }
}
