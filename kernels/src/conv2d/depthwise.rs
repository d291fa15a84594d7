//! Depthwise convolution: every channel has a filter of its own.
//!
//! Vectors run over channels, so filters are packed `[KH, KW, C]` with the channel stride.
//! backward_data at stride 1 is the forward pass of the flipped filters; at other strides each input
//! gathers from the outputs that read it.

mod kernels;

use super::algorithm::{Algorithm, Operands, no_scratch, nothing_packed};
use super::cost::Cost;
use super::{Activation, Conv2dGeometry};
use crate::Context;
use crate::dispatch::enter;
use crate::simd::Simd;
use kernels::{Correlate, Gather, Weights};

/// Floats written by a task at least.
const CHUNK: usize = 16 * 1024;

/// Chunks of the output's rows that backward_weights reduces one by one.
const MAX_CHUNKS: usize = 16;

/// The kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    correlate: fn(Correlate<'_>),
    gather: fn(Gather<'_>),
    weights: fn(Weights<'_>),
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self {
            correlate: |op| enter::<S, _>(op),
            gather: |op| enter::<S, _>(op),
            weights: |op| enter::<S, _>(op),
        }
    }
}

pub(crate) const FORWARD: Algorithm = Algorithm {
    name: "depthwise",
    applies: |g| g.groups > 1,
    fuses: false,
    widens: false,
    filtering: false,
    cost: |_, _| Cost::ONLY,
    packed_len,
    pack: |cx, g, weights, packed| pack(cx, g, weights, packed, |tap| tap),
    scratch_len: no_scratch,
    run: forward,
};

pub(crate) const BACKWARD_DATA: Algorithm = Algorithm {
    pack: |cx, g, weights, packed| {
        let flip = g.stride == 1;
        pack(cx, g, weights, packed, |tap| if flip { g.taps() - 1 - tap } else { tap });
    },
    run: backward_data,
    ..FORWARD
};

pub(crate) const BACKWARD_WEIGHTS: Algorithm = Algorithm {
    packed_len: nothing_packed,
    scratch_len: |g| chunks(g).0 * g.taps() * g.src_stride(),
    run: backward_weights,
    ..FORWARD
};

fn packed_len(_: &Context, g: &Conv2dGeometry) -> usize {
    g.taps() * g.src_stride()
}

/// `[C, 1, KH, KW]` to `[KH, KW, C]` with zeroed pad lanes; tap `t` comes from `source(t)`.
fn pack(
    cx: &Context,
    g: &Conv2dGeometry,
    weights: &[f32],
    packed: &mut [f32],
    source: impl Fn(usize) -> usize + Sync,
) {
    cx.threads().for_each_chunk(packed, g.src_stride(), |tap, packed| {
        packed[g.ic..].fill(0.0);
        for (out, filter) in packed.iter_mut().zip(weights.chunks_exact(g.taps())) {
            *out = filter[source(tap)];
        }
    });
}

fn forward(cx: &Context, g: &Conv2dGeometry, operands: Operands<'_>, _: &mut [f32]) {
    let Operands { a: src, b: packed, bias, activation, dst, .. } = operands;
    let row = g.ow() * g.dst_stride();
    let rows = CHUNK.div_ceil(row);
    cx.threads().for_each_chunk(dst, rows * row, |i, dst| {
        (cx.isa().depthwise.correlate)(Correlate {
            g,
            pad: [g.padding as isize; 2],
            src,
            packed,
            bias,
            relu: activation == Activation::Relu,
            out: [g.oh(), g.ow()],
            first_row: i * rows,
            dst,
        });
    });
}

fn backward_data(cx: &Context, g: &Conv2dGeometry, operands: Operands<'_>, _: &mut [f32]) {
    let Operands { a: diff_dst, b: packed, dst: diff_src, .. } = operands;
    let row = g.iw * g.src_stride();
    let rows = CHUNK.div_ceil(row);
    // At stride 1, the roles of the maps are exchanged.
    let exchanged = Conv2dGeometry { ih: g.oh(), iw: g.ow(), ..*g };
    let pad = [g.kh, g.kw].map(|k| k as isize - 1 - g.padding as isize);
    cx.threads().for_each_chunk(diff_src, rows * row, |i, diff_src| {
        let first_row = i * rows;
        if g.stride == 1 {
            (cx.isa().depthwise.correlate)(Correlate {
                g: &exchanged,
                pad,
                src: diff_dst,
                packed,
                bias: None,
                relu: false,
                out: [g.ih, g.iw],
                first_row,
                dst: diff_src,
            });
        } else {
            (cx.isa().depthwise.gather)(Gather { g, diff_dst, packed, first_row, diff_src });
        }
    });
}

/// Chunks of the output's rows, counted through all images, and rows in a chunk.
fn chunks(g: &Conv2dGeometry) -> (usize, usize) {
    let rows = g.n * g.oh();
    let chunk = rows.div_ceil(MAX_CHUNKS).max(CHUNK.div_ceil(g.ow() * g.dst_stride()));
    (rows.div_ceil(chunk), chunk)
}

fn backward_weights(
    cx: &Context,
    g: &Conv2dGeometry,
    operands: Operands<'_>,
    partials: &mut [f32],
) {
    let Operands { a: src, b: diff_dst, dst: diff_weights, .. } = operands;
    let (chunk, len) = (chunks(g).1, g.taps() * g.src_stride());
    cx.threads().for_each_chunk(partials, len, |i, sums| {
        let rows = i * chunk..(g.n * g.oh()).min((i + 1) * chunk);
        (cx.isa().depthwise.weights)(Weights { g, src, diff_dst, rows, sums });
    });
    for (c, filter) in diff_weights.chunks_exact_mut(g.taps()).enumerate() {
        for (tap, out) in filter.iter_mut().enumerate() {
            let sums = partials.chunks_exact(len).map(|sums| sums[tap * g.src_stride() + c]);
            *out = sums.map(f64::from).sum::<f64>() as f32;
        }
    }
}
