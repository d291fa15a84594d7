//! Convolution as a matrix product whose left matrix is gathered from the input block by block: rows
//! are output pixels, terms (tap, channel) pairs, columns output channels.
//!
//! The gradient of the input is the same sum with the maps exchanged and the weights transposed. A
//! block of one tap gathers only the pixels that the tap reaches, so padding costs nothing there, nor
//! do the zeros that a stride puts between the pixels of a gradient.

use super::Activation;
use super::algorithm::{Algorithm, Operands};
use super::cost;
use super::taps::{Block, Pass};
use crate::Context;
use crate::gemm::ahead::Ahead;
use crate::gemm::blocking::{A_STRIDE, MC, Row, cut};
use crate::gemm::micro::{
    MAX_NR, Output, OutputRows, PANEL_VECTORS, Rows, panel, panel_vectors, start,
};
use crate::gemm::pack::copy_whole;
use crate::gemm::stored::{Packed, Stored};
use crate::simd::{Simd, SimdOp};
use std::ops::Range;

pub(crate) const FORWARD: Algorithm = Algorithm {
    name: "implicit_gemm",
    applies: |g| g.groups == 1,
    fuses: false,
    widens: true,
    filtering: false,
    cost: |isa, g| cost::implicit_gemm(isa, &Pass::forward(g)),
    packed_len: |cx, g| packed_len(cx, &Pass::forward(g)),
    pack: |cx, g, weights, packed| pack(cx, &Pass::forward(g), weights, packed),
    scratch_len: |g| Cuts::of(&Pass::forward(g)).scratch_len(),
    run: |cx, g, operands, scratch| run(cx, &Pass::forward(g), operands, scratch),
};

pub(crate) const BACKWARD_DATA: Algorithm = Algorithm {
    cost: |isa, g| cost::implicit_gemm(isa, &Pass::backward(g)),
    packed_len: |cx, g| packed_len(cx, &Pass::backward(g)),
    pack: |cx, g, weights, packed| pack(cx, &Pass::backward(g), weights, packed),
    scratch_len: |g| Cuts::of(&Pass::backward(g)).scratch_len(),
    run: |cx, g, operands, scratch| run(cx, &Pass::backward(g), operands, scratch),
    ..FORWARD
};

/// Columns of a full panel.
fn panel_width(cx: &Context) -> usize {
    PANEL_VECTORS * cx.isa().lanes
}

fn packed_len(cx: &Context, pass: &Pass) -> usize {
    pass.output().channels.next_multiple_of(cx.isa().lanes) * pass.k()
}

/// Packs weights as `[panel][block][tap][channel][column of the panel]`, columns that do not exist
/// being zero.
fn pack(cx: &Context, pass: &Pass, weights: &[f32], packed: &mut [f32]) {
    let (k, columns, full) = (pass.k(), pass.output().channels, panel_width(cx));
    let taps = pass.g.taps();
    let (row, column) = match pass.forward {
        true => (taps, pass.g.ic * taps),
        false => (pass.g.ic * taps, taps),
    };
    cx.threads().for_each_chunk(packed, k * full, |i, packed| {
        let nr = packed.len() / k;
        let exist = nr.min(columns - i * full);
        let weights = &weights[i * full * column..];
        // All taps of a few channels at a time, which lie side by side in `weights`, for a few columns,
        // whose distance may be a power of two.
        for start in (0..pass.input().channels).step_by(16) {
            for first in (0..nr).step_by(8) {
                for block in pass.blocks().filter(|block| block.channels.contains(&start)) {
                    let depth = block.channels.len();
                    let packed = &mut packed[block.k0 * nr..][..block.len() * nr];
                    for channel in start..block.channels.end.min(start + 16) {
                        let c = channel - block.channels.start;
                        for tap in 0..block.taps {
                            let out =
                                &mut packed[(tap * depth + c) * nr..][first..nr.min(first + 8)];
                            let i = channel * row + block.first_tap + tap;
                            pack_columns(
                                weights,
                                i + first * column,
                                column,
                                out,
                                exist - first.min(exist),
                            );
                        }
                    }
                }
            }
        }
    });
}

/// Packs a weight for each column of `out`: the first `exist`, from `start` on at distance `stride`,
/// then zeros.
#[inline(always)]
fn pack_columns(weights: &[f32], start: usize, stride: usize, out: &mut [f32], exist: usize) {
    if let Ok(out) = <&mut [f32; 8]>::try_from(&mut *out)
        && exist >= 8
    {
        let weights = &weights[start..];
        for j in 0..8 {
            out[j] = weights[j * stride];
        }
        return;
    }
    for (j, out) in out.iter_mut().enumerate() {
        *out = if j < exist { weights[start + j * stride] } else { 0.0 };
    }
}

/// How the output is cut into tasks: chunks of pixels and, where those are few, of panels too.
struct Cuts {
    pixels: usize,
    /// Pixels of a chunk.
    rows: usize,
    /// Chunks of columns.
    splits: usize,
    /// Columns of a chunk: a multiple of the widest panel.
    columns: usize,
}

/// Tasks that even a small convolution is cut into, if they are large enough.
pub(super) const TASKS: usize = 16;

/// Multiply-adds that are worth a task: about 40 microseconds.
pub(super) const TASK_MACS: usize = 1 << 21;

impl Cuts {
    fn of(pass: &Pass) -> Self {
        let (pixels, channels) = (pass.pixels(), pass.output().channels);
        let tasks = TASKS.min(pixels * channels * pass.k() / TASK_MACS).max(1);
        // Pixels first, down to 48 a task; then columns.
        let most = pixels.div_ceil(tasks).clamp(48, MC);
        let (chunks, rows) = cut(pixels, most, 1);
        let splits = tasks.div_ceil(chunks);
        let columns = channels.div_ceil(splits).next_multiple_of(MAX_NR);
        Self { pixels, rows, splits: channels.div_ceil(columns), columns }
    }

    /// Chunks of columns are computed apart, since rows of the output interleave them.
    fn scratch_len(&self) -> usize {
        let chunks = self.pixels.div_ceil(self.rows);
        if self.splits > 1 { chunks * self.splits * self.rows * self.columns } else { 0 }
    }
}

fn run(cx: &Context, pass: &Pass, operands: Operands<'_>, scratch: &mut [f32]) {
    let Operands { a: src, b: packed, storage, bias, activation, dst, .. } = operands;
    let packed = Packed::new(packed, storage);
    let relu = activation == Activation::Relu;
    let (cuts, stride, channels) = (Cuts::of(pass), pass.output().stride, pass.output().channels);
    let task = |first: usize, columns: Range<usize>, dst: &mut [f32], ldc: usize| {
        let pixels = first..cuts.pixels.min(first + cuts.rows);
        cx.threads().with_buffer(|buffer| {
            let gather =
                Gather { pass, src, packed, bias, relu, pixels, columns, dst, ldc, buffer };
            (cx.isa().conv2d.gather)(gather);
        });
    };
    if cuts.splits == 1 {
        cx.threads().for_each_chunk(dst, cuts.rows * stride, |i, dst| {
            task(i * cuts.rows, 0..channels, dst, stride);
            if channels < stride {
                dst.chunks_exact_mut(stride).for_each(|pixel| pixel[channels..].fill(0.0));
            }
        });
        return;
    }
    let part = cuts.rows * cuts.columns;
    cx.threads().for_each_chunk(scratch, part, |i, dst| {
        let (chunk, column) = (i / cuts.splits, i % cuts.splits * cuts.columns);
        let columns = column..channels.min(column + cuts.columns);
        task(chunk * cuts.rows, columns, dst, cuts.columns);
    });
    let scratch = &*scratch;
    cx.threads().for_each_chunk(dst, cuts.rows * stride, |chunk, dst| {
        let parts = &scratch[chunk * cuts.splits * part..];
        for (i, pixel) in dst.chunks_exact_mut(stride).enumerate() {
            let (pixel, pad) = pixel.split_at_mut(channels);
            for (out, part) in pixel.chunks_mut(cuts.columns).zip(parts.chunks(part)) {
                out.copy_from_slice(&part[i * cuts.columns..][..out.len()]);
            }
            pad.fill(0.0);
        }
    });
}

/// The part of a pass that one task computes.
pub(crate) struct Gather<'a> {
    pass: &'a Pass,
    src: &'a [f32],
    packed: Packed<'a>,
    bias: Option<&'a [f32]>,
    relu: bool,
    /// Output pixels, at most [`MC`].
    pixels: Range<usize>,
    /// Output channels, starting at a panel.
    columns: Range<usize>,
    /// The output from the first of `pixels` and `columns` on.
    dst: &'a mut [f32],
    /// Floats between pixels of `dst`.
    ldc: usize,
    buffer: &'a mut [f32],
}

impl SimdOp for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        match self.packed {
            Packed::F32(packed) => self.stored_as(simd, packed),
            Packed::Bf16(packed) => self.stored_as(simd, packed),
            Packed::F16(packed) => self.stored_as(simd, packed),
        }
    }
}

impl Gather<'_> {
    #[inline(always)]
    fn stored_as<S: Simd, W: Stored>(self, simd: S, packed: &[W]) {
        let Self { pass, src, bias, relu, pixels, columns, dst, ldc, buffer, .. } = self;
        let a = &mut buffer.as_chunks_mut::<A_STRIDE>().0[..MC];
        let mut rows = [0; MC];
        let (k, channels) = (pass.k(), pass.output().channels);
        let full = PANEL_VECTORS * S::LANES;
        let weights = |column: usize, block: &Block| {
            let nr = panel_vectors(S::LANES, channels - column) * S::LANES;
            &packed[k * column + block.k0 * nr..][..block.len() * nr]
        };
        let mut relu_pending = relu;
        let mut blocks = pass.blocks().enumerate();
        let mut following = blocks.next();
        while let Some((i, block)) = following.take() {
            following = blocks.next();
            let after =
                following.as_ref().map_or(&[][..], |(_, next)| weights(columns.start, next));
            let count = gather(simd, pass, &block, src, &pixels, a, &mut rows);
            let complete = count == pixels.len();
            if i == 0 && !complete {
                for pixel in dst.chunks_mut(ldc).take(pixels.len()) {
                    match bias {
                        Some(bias) => {
                            pixel[..columns.len()].copy_from_slice(&bias[columns.clone()])
                        }
                        None => pixel[..columns.len()].fill(0.0),
                    }
                }
            }
            let relu = relu && following.is_none() && complete;
            relu_pending &= !relu;
            for column in columns.clone().step_by(full) {
                let nr = panel_vectors(S::LANES, channels - column) * S::LANES;
                let b = weights(column, &block);
                let next = match column + full < columns.end {
                    true => weights(column + full, &block),
                    false => after,
                };
                let ahead = Ahead::new(next, &[]);
                let start = start(bias.map(|bias| &bias[..channels]), column, nr);
                let out = Output {
                    c: &mut *dst,
                    ldc,
                    rows: match complete {
                        true => OutputRows::First(count),
                        false => OutputRows::Listed(&rows[..count]),
                    },
                    // Whole vectors end before the stride does: lanes past the channels are pad.
                    column: column - columns.start,
                    start: (i == 0 && complete).then_some(&start),
                    relu,
                    adds: false,
                };
                panel(simd, channels - column, Rows(a), b, ahead, out);
            }
        }
        if relu_pending {
            let zero = simd.splat(0.0);
            for pixel in dst.chunks_mut(ldc).take(pixels.len()) {
                // Whole vectors again.
                for x in
                    pixel[..columns.len().next_multiple_of(S::LANES)].chunks_exact_mut(S::LANES)
                {
                    simd.store(simd.max(zero, simd.load(x)), x);
                }
            }
        }
    }
}

/// Packs the rows of `a` for `block` and the output pixels `pixels`, and lists in `rows` which of
/// the pixels they belong to. Returns their number.
#[inline(always)]
fn gather<S: Simd>(
    simd: S,
    pass: &Pass,
    block: &Block,
    src: &[f32],
    pixels: &Range<usize>,
    a: &mut [Row],
    rows: &mut [u32; MC],
) -> usize {
    let stride = pass.input().stride;
    let depth = block.channels.len();
    let whole = depth.next_multiple_of(S::LANES);
    let taps = || block.first_tap..block.first_tap + block.taps;
    let mut count = 0;
    let mut pixel = pixels.start;
    while pixel < pixels.end {
        let span = pass.span(pixel..pixels.end);
        let listed = pixel - pixels.start;
        pixel += span.x.len();
        if block.taps == 1 {
            let (ky, kx) = pass.tap(block.first_tap);
            let Some(row) = pass.input_row(ky, &span) else { continue };
            let row = &src[row * stride..];
            for (x, ix) in pass.reach_x(kx).within(span.x.clone()) {
                let from = &row[ix * stride + block.channels.start..][..whole];
                copy_whole(simd, from, &mut a[count][..whole]);
                rows[count] = (listed + x - span.x.start) as u32;
                count += 1;
            }
            continue;
        }
        if taps().all(|tap| pass.input_row(pass.tap(tap).0, &span).is_none()) {
            continue;
        }
        let a = &mut a[count..][..span.x.len()];
        for (tap, start) in taps().zip((0..).step_by(depth)) {
            let (ky, kx) = pass.tap(tap);
            let (reach, row) = (pass.reach_x(kx), pass.input_row(ky, &span));
            // Several taps at once are those of a pass that leaves no output out.
            debug_assert_eq!(reach.output_step, 1);
            let connected = reach.output..reach.output + reach.count;
            let first = connected.start.clamp(span.x.start, span.x.end);
            let end = match row {
                Some(_) => connected.end.clamp(first, span.x.end),
                None => first,
            };
            let (before, rest) = a.split_at_mut(first - span.x.start);
            let (reached, after) = rest.split_at_mut(end - first);
            clear(before, start, depth);
            clear(after, start, depth);
            let Some(row) = row.filter(|_| first < end) else { continue };
            let input = row + reach.input + (first - reach.output) * reach.input_step;
            let pixels = src[input * stride..].chunks(reach.input_step * stride);
            for (row, pixel) in reached.iter_mut().zip(pixels) {
                if whole == S::LANES {
                    simd.store(simd.load(pixel), &mut row[start..]);
                } else {
                    copy_whole(simd, &pixel[..whole], &mut row[start..][..whole]);
                }
            }
        }
        for (row, pixel) in rows[count..].iter_mut().zip(listed..).take(span.x.len()) {
            *row = pixel as u32;
        }
        count += span.x.len();
    }
    count
}

/// Zeros at `start..start + len` of every row.
#[inline(always)]
fn clear(a: &mut [Row], start: usize, len: usize) {
    a.iter_mut().for_each(|row| row[start..start + len].fill(0.0));
}
