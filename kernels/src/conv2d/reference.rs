//! The definition, in `f64`: what every other algorithm is tested against.

use super::algorithm::{copy, no_scratch, nothing_packed, weights_as_they_are};
use super::cost::Cost;
use super::{Activation, Algorithm, Conv2dGeometry, Operands};
use crate::{Context, relu};

pub(crate) const FORWARD: Algorithm = Algorithm {
    name: "reference",
    applies: |_| true,
    fuses: false,
    widens: false,
    filtering: false,
    cost: |_, _| Cost::BASELINE,
    packed_len: weights_as_they_are,
    pack: copy,
    scratch_len: no_scratch,
    run: forward,
};

pub(crate) const BACKWARD_DATA: Algorithm = Algorithm { run: backward_data, ..FORWARD };

pub(crate) const BACKWARD_WEIGHTS: Algorithm =
    Algorithm { packed_len: nothing_packed, run: backward_weights, ..FORWARD };

/// The input coordinate that output coordinate `o` reads through tap `k`, unless it is padding.
fn source(g: &Conv2dGeometry, o: usize, k: usize, size: usize) -> Option<usize> {
    (o * g.stride + k).checked_sub(g.padding).filter(|&i| i < size)
}

/// Calls `visit(y, x, iy, ix, ky, kx)` for every output pixel of an image and every tap that is not
/// padding.
fn for_each_tap(
    g: &Conv2dGeometry,
    mut visit: impl FnMut(usize, usize, usize, usize, usize, usize),
) {
    for (y, x) in (0..g.oh()).flat_map(|y| (0..g.ow()).map(move |x| (y, x))) {
        for (ky, kx) in (0..g.kh).flat_map(|ky| (0..g.kw).map(move |kx| (ky, kx))) {
            let (iy, ix) = (source(g, y, ky, g.ih), source(g, x, kx, g.iw));
            if let (Some(iy), Some(ix)) = (iy, ix) {
                visit(y, x, iy, ix, ky, kx);
            }
        }
    }
}

/// The input channels that output channel `o` reads.
fn inputs(g: &Conv2dGeometry, o: usize) -> std::ops::Range<usize> {
    let width = g.ic / g.groups;
    let start = o / (g.oc / g.groups) * width;
    start..start + width
}

/// Index of a weight; `c` counts within the group.
fn weight(g: &Conv2dGeometry, o: usize, c: usize, ky: usize, kx: usize) -> usize {
    ((o * (g.ic / g.groups) + c) * g.kh + ky) * g.kw + kx
}

fn forward(cx: &Context, g: &Conv2dGeometry, operands: Operands<'_>, _: &mut [f32]) {
    let Operands { a: src, b: weights, bias, activation, dst, .. } = operands;
    let (ss, ds) = (g.src_stride(), g.dst_stride());
    let image = g.oh() * g.ow() * ds;
    cx.threads().for_each_chunk(dst, image, |n, dst| {
        let mut sums = vec![0.0f64; image];
        for pixel in sums.chunks_exact_mut(ds) {
            for (o, sum) in pixel[..g.oc].iter_mut().enumerate() {
                *sum = bias.map_or(0.0, |bias| f64::from(bias[o]));
            }
        }
        for_each_tap(g, |y, x, iy, ix, ky, kx| {
            let pixel = &src[((n * g.ih + iy) * g.iw + ix) * ss..][..ss];
            let sums = &mut sums[(y * g.ow() + x) * ds..][..g.oc];
            for (o, sum) in sums.iter_mut().enumerate() {
                for (c, i) in inputs(g, o).enumerate() {
                    let w = f64::from(weights[weight(g, o, c, ky, kx)]);
                    *sum += f64::from(pixel[i]) * w;
                }
            }
        });
        for (out, sum) in dst.iter_mut().zip(sums) {
            *out = match activation {
                Activation::None => sum as f32,
                Activation::Relu => relu::of(sum as f32),
            };
        }
    });
}

fn backward_data(cx: &Context, g: &Conv2dGeometry, operands: Operands<'_>, _: &mut [f32]) {
    let Operands { a: diff_dst, b: weights, dst: diff_src, .. } = operands;
    let (ss, ds) = (g.src_stride(), g.dst_stride());
    let image = g.ih * g.iw * ss;
    cx.threads().for_each_chunk(diff_src, image, |n, diff_src| {
        let mut sums = vec![0.0f64; image];
        for_each_tap(g, |y, x, iy, ix, ky, kx| {
            let pixel = &diff_dst[((n * g.oh() + y) * g.ow() + x) * ds..][..ds];
            let sums = &mut sums[(iy * g.iw + ix) * ss..][..ss];
            for o in 0..g.oc {
                for (c, i) in inputs(g, o).enumerate() {
                    let w = f64::from(weights[weight(g, o, c, ky, kx)]);
                    sums[i] += f64::from(pixel[o]) * w;
                }
            }
        });
        diff_src.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32);
    });
}

fn backward_weights(cx: &Context, g: &Conv2dGeometry, operands: Operands<'_>, _: &mut [f32]) {
    let Operands { a: src, b: diff_dst, dst: diff_weights, .. } = operands;
    let (ss, ds) = (g.src_stride(), g.dst_stride());
    let filter = g.ic / g.groups * g.taps();
    cx.threads().for_each_chunk(diff_weights, filter, |o, diff_weights| {
        let mut sums = vec![0.0f64; filter];
        for n in 0..g.n {
            for_each_tap(g, |y, x, iy, ix, ky, kx| {
                let diff = f64::from(diff_dst[((n * g.oh() + y) * g.ow() + x) * ds + o]);
                let pixel = &src[((n * g.ih + iy) * g.iw + ix) * ss..][..ss];
                for (c, i) in inputs(g, o).enumerate() {
                    sums[weight(g, 0, c, ky, kx)] += diff * f64::from(pixel[i]);
                }
            });
        }
        diff_weights.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32);
    });
}
