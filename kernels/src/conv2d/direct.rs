//! Convolution of few input channels, as the first layer's: the inputs of some rows of outputs are copied
//! side by side, zeros around them, and read from there by every tap.
//!
//! A matrix product whose left matrix exists only as that copy: the terms of a row of taps, (column of the
//! kernel, channel) pairs, are neighbours, and the next output's start a few floats further. Sums are chains
//! in the order of implicit GEMM, so that both give the same bits.

use super::algorithm::{Algorithm, Operands, no_scratch};
use super::cost::{self, Cost};
use super::implicit_gemm::{self, TASK_MACS};
use super::{Activation, Conv2dGeometry};
use crate::gemm::ahead::{Ahead, Fetches};
use crate::gemm::blocking::KC;
use crate::gemm::left::{Left, add_products, load_panel};
use crate::gemm::micro::{Output, OutputRows, PANEL_VECTORS, panel, panel_vectors, start};
use crate::gemm::pack::copy_padded;
use crate::gemm::stored::Stored;
use crate::par::TASK_BUFFER;
use crate::simd::{Simd, SimdOp};
use std::ops::Range;

/// The most input channels. With more, implicit GEMM copies whole vectors of them.
const MAX_CHANNELS: usize = 4;

/// The most rows of outputs of a task, whose inputs should stay in the first-level cache.
const MAX_ROWS: usize = 16;

pub(crate) const FORWARD: Algorithm = Algorithm {
    name: "direct",
    applies: |g| {
        let few = g.groups == 1 && g.ic <= MAX_CHANNELS && g.taps() * g.ic <= KC;
        few && matches!(g.ic * g.stride, 1..=4 | 6 | 8) && Band::of(g).len(MAX_ROWS) <= TASK_BUFFER
    },
    fuses: false,
    widens: false,
    filtering: false,
    cost: |isa, g| Cost { run: cost::direct(isa, g), ..(implicit_gemm::FORWARD.cost)(isa, g) },
    packed_len: implicit_gemm::FORWARD.packed_len,
    pack: implicit_gemm::FORWARD.pack,
    scratch_len: no_scratch,
    run: |cx, g, operands, _| {
        let Operands { a: src, b: packed, bias, activation, dst, .. } = operands;
        let (row, relu) = (g.ow() * g.dst_stride(), activation == Activation::Relu);
        let macs = g.ow() * g.oc * g.ic * g.taps();
        let rows = TASK_MACS.div_ceil(macs).clamp(1, MAX_ROWS);
        cx.threads().for_each_chunk(dst, rows * row, |i, dst| {
            cx.threads().with_buffer(|buffer| {
                let first = i * rows;
                let op = Direct { g, src, packed, bias, relu, first, dst, buffer };
                (cx.isa().conv2d.direct)(op);
            });
        });
    },
};

/// The inputs of some rows of outputs of an image, copied with their padding.
#[derive(Clone, Copy)]
struct Band {
    /// Floats between its rows.
    row: usize,
    /// Rows of an output row, and those between the first ones of two.
    rows: usize,
    step: usize,
}

impl Band {
    fn of(g: &Conv2dGeometry) -> Self {
        Self { row: (g.iw + 2 * g.padding) * g.ic, rows: g.kh, step: g.stride }
    }

    /// Floats for `rows` rows of outputs, with a vector to spare, since copies are of whole ones.
    fn len(self, rows: usize) -> usize {
        ((rows - 1) * self.step + self.rows) * self.row + 16
    }
}

/// Some rows of outputs, counted over the batch.
pub(crate) struct Direct<'a> {
    g: &'a Conv2dGeometry,
    src: &'a [f32],
    packed: &'a [f32],
    bias: Option<&'a [f32]>,
    relu: bool,
    first: usize,
    dst: &'a mut [f32],
    buffer: &'a mut [f32],
}

impl SimdOp for Direct<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        match self.g.ic * self.g.stride {
            1 => self.rows_of::<S, 1>(simd),
            2 => self.rows_of::<S, 2>(simd),
            3 => self.rows_of::<S, 3>(simd),
            4 => self.rows_of::<S, 4>(simd),
            6 => self.rows_of::<S, 6>(simd),
            _ => self.rows_of::<S, 8>(simd),
        }
    }
}

impl Direct<'_> {
    #[inline(always)]
    fn rows_of<S: Simd, const STEP: usize>(self, simd: S) {
        let Self { g, src, packed, bias, relu, first, dst, buffer } = self;
        let (row, k, stride) = (g.ow() * g.dst_stride(), g.taps() * g.ic, g.dst_stride());
        let (band, end) = (Band::of(g), first + dst.len() / row);
        let mut next = first;
        while next < end {
            // The rows of one image.
            let (image, y) = (next / g.oh(), next % g.oh());
            let rows = y..g.oh().min(y + end - next);
            let src = &src[image * g.ih * g.iw * g.src_stride()..];
            copy(simd, g, src, &rows, &mut buffer[..band.len(rows.len())]);
            let dst = &mut dst[(next - first) * row..][..rows.len() * row];
            for column in (0..g.oc).step_by(PANEL_VECTORS * S::LANES) {
                let nr = panel_vectors(S::LANES, g.oc - column) * S::LANES;
                let b = &packed[k * column..][..k * nr];
                let start = start(bias.map(|bias| &bias[..g.oc]), column, nr);
                for (i, c) in dst.chunks_exact_mut(row).enumerate() {
                    let a = &buffer[i * band.step * band.row..];
                    let a = Strides::<STEP> { a, row: band.row, terms: g.kw * g.ic };
                    let rows = OutputRows::First(g.ow());
                    let out = Output {
                        c,
                        ldc: stride,
                        rows,
                        column,
                        start: Some(&start),
                        relu,
                        adds: false,
                    };
                    panel(simd, g.oc - column, a, b, Ahead::default(), out);
                }
            }
            let written = g.oc.next_multiple_of(S::LANES);
            if written < stride {
                dst.chunks_exact_mut(stride).for_each(|pixel| pixel[written..].fill(0.0));
            }
            next += rows.len();
        }
    }
}

/// Fills a band with the inputs of the rows `rows` of outputs of the image `src`.
#[inline(always)]
fn copy<S: Simd>(simd: S, g: &Conv2dGeometry, src: &[f32], rows: &Range<usize>, band: &mut [f32]) {
    let (len, border) = (Band::of(g).row, g.padding * g.ic);
    let count = (rows.len() - 1) * g.stride + g.kh;
    for i in 0..count {
        let band = &mut band[i * len..];
        let y = (rows.start * g.stride + i).checked_sub(g.padding).filter(|&y| y < g.ih);
        let Some(y) = y else {
            band[..len].fill(0.0);
            continue;
        };
        band[..border].fill(0.0);
        for (x, pixel) in
            src[y * g.iw * g.src_stride()..].chunks(g.src_stride()).take(g.iw).enumerate()
        {
            // What a vector writes past the pixel, the next one overwrites.
            copy_padded(simd, &pixel[..S::LANES.max(g.ic)], &mut band[border + x * g.ic..]);
        }
        band[len - border..len].fill(0.0);
    }
}

/// Rows of the left matrix `STEP` floats apart, in `terms` neighbouring floats for each row of taps.
#[derive(Clone, Copy)]
struct Strides<'a, const STEP: usize> {
    a: &'a [f32],
    /// Floats between rows of taps.
    row: usize,
    terms: usize,
}

impl<const STEP: usize> Left for Strides<'_, STEP> {
    // Colour images.
    const HALVES: bool = STEP == 3;

    #[inline(always)]
    fn multiply<S: Simd, W: Stored, const MR: usize, const NV: usize, const LOW: bool>(
        self,
        simd: S,
        _: usize,
        row: usize,
        b: &[W],
        _: &Fetches<'_>,
        sums: &mut [[S::F32; NV]; MR],
    ) {
        for (ky, b) in b.chunks_exact(self.terms * NV * S::LANES).enumerate() {
            let a = &self.a[ky * self.row + row * STEP..][..(MR - 1) * STEP + self.terms];
            for (a, b) in a.windows((MR - 1) * STEP + 1).zip(b.chunks_exact(NV * S::LANES)) {
                let b = load_panel::<S, _, NV>(simd, b);
                for i in 0..MR {
                    add_products::<S, NV, LOW>(simd, a[i * STEP], &b, &mut sums[i]);
                }
            }
        }
    }
}
