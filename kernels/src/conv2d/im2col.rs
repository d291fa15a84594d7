//! Convolution as an explicit matrix product: every patch of the input copied to a row.
//!
//! Rows of `columns` are output pixels, its columns (tap, channel) pairs, so copies are contiguous.

use super::algorithm::{Algorithm, Operands, nothing_packed, weights_as_they_are};
use super::cost::Cost;
use super::{Activation, Conv2dGeometry};
use crate::gemm::{Gemm, gemm, gemm_matrixmultiply};
use crate::{Context, relu};

/// Images are taken together until their rows are this many, to keep small maps parallel while the
/// columns of large maps stay small.
const ROWS: usize = 1024;

pub(crate) const FORWARD: Algorithm = Algorithm {
    name: "im2col",
    applies: |g| g.groups == 1,
    fuses: false,
    widens: false,
    filtering: false,
    cost: |_, _| Cost::BASELINE,
    packed_len: weights_as_they_are,
    pack: pack_forward,
    scratch_len: |g| group(g).0 * k(g),
    run: |cx, g, operands, scratch| forward(gemm, cx, g, operands, scratch),
};

pub(crate) const FORWARD_MATRIXMULTIPLY: Algorithm = Algorithm {
    name: "im2col_matrixmultiply",
    run: |cx, g, operands, scratch| forward(gemm_matrixmultiply, cx, g, operands, scratch),
    ..FORWARD
};

pub(crate) const BACKWARD_DATA: Algorithm = Algorithm {
    pack: pack_backward,
    run: |cx, g, operands, scratch| backward_data(gemm, cx, g, operands, scratch),
    ..FORWARD
};

pub(crate) const BACKWARD_DATA_MATRIXMULTIPLY: Algorithm = Algorithm {
    name: "im2col_matrixmultiply",
    run: |cx, g, operands, scratch| backward_data(gemm_matrixmultiply, cx, g, operands, scratch),
    ..BACKWARD_DATA
};

pub(crate) const BACKWARD_WEIGHTS: Algorithm = Algorithm {
    packed_len: nothing_packed,
    scratch_len: |g| group(g).0 * (k(g) + g.oc) + g.oc * k(g),
    run: |cx, g, operands, scratch| backward_weights(gemm, cx, g, operands, scratch),
    ..FORWARD
};

pub(crate) const BACKWARD_WEIGHTS_MATRIXMULTIPLY: Algorithm = Algorithm {
    name: "im2col_matrixmultiply",
    run: |cx, g, operands, scratch| backward_weights(gemm_matrixmultiply, cx, g, operands, scratch),
    ..BACKWARD_WEIGHTS
};

/// Columns of `columns`.
fn k(g: &Conv2dGeometry) -> usize {
    g.ic * g.taps()
}

/// Rows of `columns`, and the images they come from.
fn group(g: &Conv2dGeometry) -> (usize, usize) {
    let pixels = g.oh() * g.ow();
    let images = (ROWS / pixels).clamp(1, g.n.max(1));
    (images * pixels, images)
}

/// `[OC, IC, KH, KW]` to `[KH, KW, IC, OC]`.
fn pack_forward(cx: &Context, g: &Conv2dGeometry, weights: &[f32], packed: &mut [f32]) {
    cx.threads().for_each_chunk(packed, g.ic * g.oc, |tap, packed| {
        for (c, row) in packed.chunks_exact_mut(g.oc).enumerate() {
            for (o, out) in row.iter_mut().enumerate() {
                *out = weights[(o * g.ic + c) * g.taps() + tap];
            }
        }
    });
}

/// `[OC, IC, KH, KW]` to `[OC, KH, KW, IC]`.
fn pack_backward(cx: &Context, g: &Conv2dGeometry, weights: &[f32], packed: &mut [f32]) {
    cx.threads().for_each_chunk(packed, k(g), |o, packed| {
        let filter = &weights[o * k(g)..][..k(g)];
        for (i, out) in packed.iter_mut().enumerate() {
            let (tap, c) = (i / g.ic, i % g.ic);
            *out = filter[c * g.taps() + tap];
        }
    });
}

/// The input pixel, counted within its image, that output `(y, x)` reads through tap `(ky, kx)`,
/// unless it is padding.
fn source(g: &Conv2dGeometry, y: usize, x: usize, ky: usize, kx: usize) -> Option<usize> {
    let iy = (y * g.stride + ky).checked_sub(g.padding).filter(|&i| i < g.ih)?;
    let ix = (x * g.stride + kx).checked_sub(g.padding).filter(|&i| i < g.iw)?;
    Some(iy * g.iw + ix)
}

/// The patches of the images of `src`.
fn fill_columns(cx: &Context, g: &Conv2dGeometry, src: &[f32], columns: &mut [f32]) {
    let (ow, image) = (g.ow(), g.ih * g.iw * g.src_stride());
    cx.threads().for_each_chunk(columns, ow * k(g), |row, columns| {
        let (n, y) = (row / g.oh(), row % g.oh());
        let src = &src[n * image..][..image];
        for (x, patch) in columns.chunks_exact_mut(k(g)).enumerate() {
            for (tap, part) in patch.chunks_exact_mut(g.ic).enumerate() {
                match source(g, y, x, tap / g.kw, tap % g.kw) {
                    Some(i) => part.copy_from_slice(&src[i * g.src_stride()..][..g.ic]),
                    None => part.fill(0.0),
                }
            }
        }
    });
}

fn forward(
    gemm: Gemm,
    cx: &Context,
    g: &Conv2dGeometry,
    operands: Operands<'_>,
    columns: &mut [f32],
) {
    let Operands { a: src, b: weights, bias, activation, dst, .. } = operands;
    let (pixels, images) = group(g);
    let (k, ds) = (k(g), g.dst_stride());
    let src = src.chunks(images * g.ih * g.iw * g.src_stride());
    for (src, dst) in src.zip(dst.chunks_mut(pixels * ds)) {
        let rows = dst.len() / ds;
        let columns = &mut columns[..rows * k];
        fill_columns(cx, g, src, columns);
        gemm(cx, rows, g.oc, k, columns, k, weights, g.oc, dst, ds, true);
        cx.threads().for_each_chunk(dst, 64 * ds, |_, dst| {
            for pixel in dst.chunks_exact_mut(ds) {
                finish(&mut pixel[..g.oc], bias, activation);
                pixel[g.oc..].fill(0.0);
            }
        });
    }
}

/// Bias and activation of one pixel.
fn finish(pixel: &mut [f32], bias: Option<&[f32]>, activation: Activation) {
    if let Some(bias) = bias {
        pixel.iter_mut().zip(bias).for_each(|(x, &b)| *x += b);
    }
    if activation == Activation::Relu {
        pixel.iter_mut().for_each(|x| *x = relu::of(*x));
    }
}

fn backward_data(
    gemm: Gemm,
    cx: &Context,
    g: &Conv2dGeometry,
    operands: Operands<'_>,
    columns: &mut [f32],
) {
    let Operands { a: diff_dst, b: weights, dst: diff_src, .. } = operands;
    let (pixels, images) = group(g);
    let (k, ss, ds, image) = (k(g), g.src_stride(), g.dst_stride(), g.oh() * g.ow());
    let diff_dst = diff_dst.chunks(pixels * ds);
    for (diff_dst, diff_src) in diff_dst.zip(diff_src.chunks_mut(images * g.ih * g.iw * ss)) {
        let rows = diff_dst.len() / ds;
        let columns = &mut columns[..rows * k];
        gemm(cx, rows, k, g.oc, diff_dst, ds, weights, k, columns, k, true);
        let columns = &*columns;
        cx.threads().for_each_chunk(diff_src, g.ih * g.iw * ss, |n, diff_src| {
            diff_src.fill(0.0);
            let patches = columns[n * image * k..][..image * k].chunks_exact(k);
            for (i, patch) in patches.enumerate() {
                for (tap, part) in patch.chunks_exact(g.ic).enumerate() {
                    if let Some(i) = source(g, i / g.ow(), i % g.ow(), tap / g.kw, tap % g.kw) {
                        let pixel = &mut diff_src[i * ss..][..g.ic];
                        pixel.iter_mut().zip(part).for_each(|(x, &p)| *x += p);
                    }
                }
            }
        });
    }
}

fn backward_weights(
    gemm: Gemm,
    cx: &Context,
    g: &Conv2dGeometry,
    operands: Operands<'_>,
    scratch: &mut [f32],
) {
    let Operands { a: src, b: diff_dst, dst: diff_weights, .. } = operands;
    let (pixels, images) = group(g);
    let (k, ds) = (k(g), g.dst_stride());
    let (sums, scratch) = scratch.split_at_mut(g.oc * k);
    let (columns, transposed) = scratch.split_at_mut(pixels * k);
    let src = src.chunks(images * g.ih * g.iw * g.src_stride());
    sums.fill(0.0);
    for (src, diff_dst) in src.zip(diff_dst.chunks(pixels * ds)) {
        let rows = diff_dst.len() / ds;
        let columns = &mut columns[..rows * k];
        fill_columns(cx, g, src, columns);
        let transposed = &mut transposed[..g.oc * rows];
        cx.threads().for_each_chunk(transposed, rows, |o, row| {
            row.iter_mut().zip(diff_dst.chunks_exact(ds)).for_each(|(out, pixel)| *out = pixel[o]);
        });
        gemm(cx, g.oc, k, rows, transposed, rows, columns, k, sums, k, false);
    }
    let sums = &*sums;
    cx.threads().for_each_chunk(diff_weights, k, |o, filter| {
        for (i, &sum) in sums[o * k..][..k].iter().enumerate() {
            let (tap, c) = (i / g.ic, i % g.ic);
            filter[c * g.taps() + tap] = sum;
        }
    });
}
