//! What one task computes: the left matrix is gathered block by block and multiplied by the panels of weights.

use crate::conv2d::taps::{Block, Pass};
use crate::gemm::ahead::Ahead;
use crate::gemm::blocking::{A_STRIDE, MC, Row};
use crate::gemm::left::Rows;
use crate::gemm::micro::{Output, OutputRows, PANEL_VECTORS, panel, panel_vectors, start};
use crate::gemm::pack::copy_whole;
use crate::gemm::stored::{Packed, Stored};
use crate::simd::{Simd, SimdOp};
use std::ops::Range;

/// The part of a pass that one task computes.
pub(crate) struct Gather<'a> {
    pub(super) pass: &'a Pass,
    pub(super) src: &'a [f32],
    pub(super) packed: Packed<'a>,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) relu: bool,
    /// Output pixels, at most [`MC`].
    pub(super) pixels: Range<usize>,
    /// Output channels, starting at a panel.
    pub(super) columns: Range<usize>,
    /// The output from the first of `pixels` and `columns` on.
    pub(super) dst: &'a mut [f32],
    /// Floats between pixels of `dst`.
    pub(super) ldc: usize,
    pub(super) buffer: &'a mut [f32],
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
