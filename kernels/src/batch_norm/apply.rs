//! The passes that write a map: per-channel affine maps of one or two maps.

use crate::reduce::CHANNEL_BLOCK;
use crate::simd::{Simd, SimdOp};
use crate::{Context, channel_stride};
use std::ops::Range;

/// Floats in a task.
const CHUNK: usize = 64 * 1024;

/// One float a channel of a block, zero for pad lanes.
type Floats = [f32; CHANNEL_BLOCK];

fn floats(channels: &Range<usize>, value: impl Fn(usize) -> f32) -> Floats {
    let mut floats = [0.0; CHANNEL_BLOCK];
    for (float, c) in floats.iter_mut().zip(channels.clone()) {
        *float = value(c);
    }
    floats
}

/// Cuts `dst` into chunks of rows and their channels into blocks, and calls
/// `task(index of the chunk's first float, block, the block's channels, chunk)`.
fn over_blocks(
    cx: &Context,
    channels: usize,
    dst: &mut [f32],
    task: impl Fn(usize, Columns, Range<usize>, &mut [f32]) + Sync,
) {
    let stride = channel_stride(channels);
    let chunk = (CHUNK / stride).max(1) * stride;
    cx.threads().for_each_chunk(dst, chunk, |i, dst| {
        for first in (0..channels).step_by(CHANNEL_BLOCK) {
            let columns = Columns { stride, first, width: CHANNEL_BLOCK.min(stride - first) };
            task(i * chunk, columns, first..channels.min(first + CHANNEL_BLOCK), dst);
        }
    });
}

/// `dst = (src - mean) * scale + bias`.
pub(super) fn affine(
    cx: &Context,
    channels: usize,
    src: &[f32],
    mean: impl Fn(usize) -> f32 + Sync,
    scale: impl Fn(usize) -> f32 + Sync,
    bias: impl Fn(usize) -> f32 + Sync,
    dst: &mut [f32],
) {
    over_blocks(cx, channels, dst, |start, columns, channels, dst| {
        (cx.isa().batch_norm.affine)(Affine {
            src: &src[start..][..dst.len()],
            columns,
            mean: &floats(&channels, &mean),
            scale: &floats(&channels, &scale),
            bias: &floats(&channels, &bias),
            dst,
        });
    });
}

/// `dst = scale * diff_dst + slope * (src - mean) + offset`.
pub(super) fn combine(
    cx: &Context,
    channels: usize,
    [src, diff_dst]: [&[f32]; 2],
    mean: impl Fn(usize) -> f32 + Sync,
    scale: impl Fn(usize) -> f32 + Sync,
    slope: impl Fn(usize) -> f32 + Sync,
    offset: impl Fn(usize) -> f32 + Sync,
    dst: &mut [f32],
) {
    over_blocks(cx, channels, dst, |start, columns, channels, dst| {
        (cx.isa().batch_norm.combine)(Combine {
            src: &src[start..][..dst.len()],
            diff_dst: &diff_dst[start..][..dst.len()],
            columns,
            mean: &floats(&channels, &mean),
            scale: &floats(&channels, &scale),
            slope: &floats(&channels, &slope),
            offset: &floats(&channels, &offset),
            dst,
        });
    });
}

/// A block of the channels of rows that are `stride` floats apart; `width` counts pad lanes.
pub(super) struct Columns {
    stride: usize,
    first: usize,
    width: usize,
}

impl Columns {
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

pub(super) struct Affine<'a> {
    src: &'a [f32],
    columns: Columns,
    mean: &'a Floats,
    scale: &'a Floats,
    bias: &'a Floats,
    dst: &'a mut [f32],
}

impl SimdOp for Affine<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        for (src, dst) in self.columns.rows(self.src).zip(self.columns.rows_mut(self.dst)) {
            let coefficients = self.mean.chunks_exact(S::LANES);
            let coefficients = coefficients
                .zip(self.scale.chunks_exact(S::LANES))
                .zip(self.bias.chunks_exact(S::LANES));
            let pairs = src.chunks_exact(S::LANES).zip(dst.chunks_exact_mut(S::LANES));
            for ((src, dst), ((mean, scale), bias)) in pairs.zip(coefficients) {
                let d = simd.sub(simd.load(src), simd.load(mean));
                simd.store(simd.mul_add(d, simd.load(scale), simd.load(bias)), dst);
            }
        }
    }
}

pub(super) struct Combine<'a> {
    src: &'a [f32],
    diff_dst: &'a [f32],
    columns: Columns,
    mean: &'a Floats,
    scale: &'a Floats,
    slope: &'a Floats,
    offset: &'a Floats,
    dst: &'a mut [f32],
}

impl SimdOp for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let columns = self.columns;
        let maps = columns.rows(self.src).zip(columns.rows(self.diff_dst));
        for ((src, diff_dst), dst) in maps.zip(columns.rows_mut(self.dst)) {
            let coefficients = self.mean.chunks_exact(S::LANES);
            let coefficients = coefficients
                .zip(self.scale.chunks_exact(S::LANES))
                .zip(self.slope.chunks_exact(S::LANES))
                .zip(self.offset.chunks_exact(S::LANES));
            let maps = src
                .chunks_exact(S::LANES)
                .zip(diff_dst.chunks_exact(S::LANES))
                .zip(dst.chunks_exact_mut(S::LANES));
            for (((src, diff_dst), dst), (((mean, scale), slope), offset)) in maps.zip(coefficients)
            {
                let d = simd.sub(simd.load(src), simd.load(mean));
                let g = simd.mul_add(simd.load(diff_dst), simd.load(scale), simd.load(offset));
                simd.store(simd.mul_add(d, simd.load(slope), g), dst);
            }
        }
    }
}
