//! The tile of AVX-512, and vectors as wide as a pixel's padding, tested on CPUs without it.

mod batch_norm_then;
mod conv2d_passes;

use crate::batch_norm::{self, Gradient, Then};
use crate::conv2d::{self, Activation, Conv2dGeometry};
use crate::dispatch::WIDE;
use crate::gemm::{gemm, gemm_matrixmultiply};
use crate::optimizer::{self, AdamStep};
use crate::pool::{Pool2dGeometry, avg, global_avg, max};
use crate::{AlignedBuffer, Context, Isa, add, channel_stride, linear, reduce, relu};

/// Integers from -3 to 3, whose sums of products are exact.
fn integers(seed: u64) -> impl FnMut() -> f32 {
    let mut next = bits(seed);
    move || (next() % 7) as f32 - 3.0
}

/// Uniform in [-1, 1).
fn reals(seed: u64) -> impl FnMut() -> f32 {
    let mut next = bits(seed);
    move || next() as f32 / (1 << 23) as f32 - 1.0
}

/// Seeded numbers of 24 bits.
fn bits(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    }
}

/// `[pixels, channels]` with the channel stride; pad lanes are zero.
fn map(pixels: usize, channels: usize, mut number: impl FnMut() -> f32) -> Vec<f32> {
    let stride = channel_stride(channels);
    let mut map = vec![0.0; pixels * stride];
    map.chunks_mut(stride).for_each(|pixel| pixel[..channels].fill_with(&mut number));
    map
}

#[test]
fn wide_tiles_multiply_small_integers_exactly() {
    let cx = Context::new(&WIDE, 1);
    for [m, n, k] in [[1, 1, 1], [7, 33, 5], [8, 32, 256], [9, 31, 257], [50, 130, 70], [23, 16, 3]]
    {
        let [a, b, start] = [(m * k, 4), (k * n, 5), (m * n, 6)].map(|(len, seed)| {
            std::iter::repeat_with(integers(seed)).take(len).collect::<Vec<_>>()
        });
        let [found, expected] = [gemm, gemm_matrixmultiply].map(|gemm| {
            let mut c = start.clone();
            gemm(&cx, m, n, k, &a, k, &b, n, &mut c, n, false);
            c
        });
        assert_eq!(found, expected, "{m} x {n} x {k}");
    }
}

/// The outputs of the operations on maps of `channels` channels.
fn operations(cx: &Context, channels: usize) -> Vec<(&'static str, Vec<f32>)> {
    let (n, size, c) = (3, 7, channels);
    let pixels = n * size * size;
    let (src, diff_dst) = (map(pixels, c, integers(7)), map(pixels, c, integers(8)));
    let [weight, bias] = [9, 10].map(|seed| vector(c, seed));
    let empty = || vec![f32::NAN; src.len()];
    let mut found = Vec::new();

    let [mut mean, mut inv_std, mut var] = std::array::from_fn(|_| vec![f32::NAN; c]);
    let (mut dst, eps) = (empty(), 1e-5);
    let (m, i, v) = (&mut mean, &mut inv_std, &mut var);
    batch_norm::forward_train(
        cx,
        pixels,
        c,
        &src,
        &weight,
        &bias,
        eps,
        m,
        i,
        v,
        Then::Nothing,
        &mut dst,
    );
    found.push(("batch_norm::forward_train", dst));
    let mut dst = empty();
    batch_norm::forward_eval(cx, pixels, c, &src, &weight, &bias, &mean, &var, eps, &mut dst);
    found.push(("batch_norm::forward_eval", dst));
    let (mut diff, mut dw, mut db) = (src.clone(), vec![f32::NAN; c], vec![f32::NAN; c]);
    let (g, w) = (Gradient::Nothing { diff_dst: &diff_dst }, &weight);
    let (d, dw_, db_) = (&mut diff, &mut dw, &mut db);
    batch_norm::backward_train(cx, pixels, c, d, g, w, &mean, &inv_std, dw_, db_);
    found.push(("batch_norm::backward_train", [diff, dw, db].concat()));

    let (mut diff, mut dw, mut db) = (empty(), vec![f32::NAN; c], vec![f32::NAN; c]);
    let (d, dw_, db_) = (&mut diff, &mut dw, &mut db);
    batch_norm::backward_eval(
        cx, pixels, c, &src, &diff_dst, &weight, &mean, &var, eps, d, dw_, db_,
    );
    found.push(("batch_norm::backward_eval", [diff, dw, db].concat()));

    let mut sums = vec![f32::NAN; c];
    reduce::channel_sums_f32(cx, pixels, c, &diff_dst, &mut sums);
    found.push(("reduce", sums));

    let [mut rectified, mut diff, mut sum] = std::array::from_fn(|_| empty());
    relu::forward(cx, &src, &mut rectified);
    relu::backward(cx, &rectified, &diff_dst, &mut diff);
    add::forward(cx, &rectified, &diff, &mut sum);
    add::accumulate(cx, &src, &mut sum);
    let mut rectified_sum = sum.clone();
    add::accumulate_relu(cx, &src, &mut rectified_sum);
    found.push(("relu and add", [rectified, diff, sum, rectified_sum].concat()));

    let g = Pool2dGeometry { n, c, ih: size, iw: size, kernel: 3, stride: 2, padding: 1 };
    let [mut largest, mut means] = std::array::from_fn(|_| vec![f32::NAN; g.dst_len()]);
    let mut argmax = vec![0; g.dst_len()];
    let [mut to_largest, mut to_means, mut spread] = std::array::from_fn(|_| empty());
    max::forward(cx, &g, &src, &mut largest, Some(&mut argmax));
    max::backward(cx, &g, &largest, &argmax, &mut to_largest);
    avg::forward(cx, &g, &src, &mut means);
    avg::backward(cx, &g, &means, &mut to_means);
    let mut global = vec![f32::NAN; n * channel_stride(c)];
    global_avg::forward(cx, n, size * size, c, &src, &mut global);
    global_avg::backward(cx, n, size * size, c, &global, &mut spread);
    found.push(("pools", [largest, means, to_largest, to_means, global, spread].concat()));

    let weights = vector(c * 19, 11);
    let mut dst = vec![f32::NAN; pixels * channel_stride(19)];
    linear::forward(cx, pixels, c, 19, &src, &weights, Some(&weights[..19]), &mut dst);
    let (mut diff, mut diff_weights) = (empty(), vec![f32::NAN; weights.len()]);
    linear::backward_data(cx, pixels, c, 19, &dst, &weights, &mut diff);
    linear::backward_weights(cx, pixels, c, 19, &src, &dst, &mut diff_weights);
    found.push(("linear", [dst, diff, diff_weights].concat()));

    let (kh, kw, padding) = (3, 3, 1);
    for stride in [1, 2] {
        let (ih, iw) = (size, size);
        let g = Conv2dGeometry { n, ic: c, ih, iw, oc: c, kh, kw, stride, padding, groups: c };
        let (weights, scratch) = (vector(g.weights_len(), 12), &mut AlignedBuffer::default());
        let (mut dst, mut diff) = (vec![f32::NAN; g.dst_len()], empty());
        let mut diff_weights = vec![f32::NAN; weights.len()];
        let activation = Activation::Relu;
        conv2d::forward(cx, &g, &src, &weights, Some(&bias), activation, &mut dst, scratch);
        conv2d::backward_data(cx, &g, &dst, &weights, &mut diff, scratch);
        conv2d::backward_weights(cx, &g, &src, &dst, &mut diff_weights, scratch);
        found.push(("depthwise", [dst, diff, diff_weights].concat()));
    }

    let (mut value, mut velocity, mut m, mut v) = (src.clone(), empty(), empty(), empty());
    for state in [&mut velocity, &mut m, &mut v] {
        state.fill(0.0);
    }
    optimizer::sgd(cx, 0.1, 0.9, true, 0.01, &diff_dst, &mut value, &mut velocity);
    let (lr, beta1, beta2, eps) = (0.1, 0.9, 0.999, 1e-8);
    let step = AdamStep { lr, beta1, beta2, eps, weight_decay: 0.01, step: 1 };
    optimizer::adam(cx, step, &diff_dst, &mut value, &mut m, &mut v);
    found.push(("optimizer", [value, velocity, m, v].concat()));
    found
}

fn vector(len: usize, seed: u64) -> Vec<f32> {
    std::iter::repeat_with(integers(seed)).take(len).collect()
}

#[test]
fn operations_on_wide_vectors_agree_with_the_portable_ones() {
    let portable = Isa::named("portable").expect("every build has it");
    for channels in [2, 3, 16, 17, 37, 130, 300] {
        let wide = operations(&Context::new(&WIDE, 2), channels);
        let expected = operations(&Context::new(portable, 1), channels);
        for ((name, found), (_, expected)) in wide.iter().zip(&expected) {
            // Sums of integers are exact; what follows a division differs by its rounding.
            for (i, (x, y)) in found.iter().zip(expected).enumerate() {
                let close = (x - y).abs() <= 2e-5 * (1.0 + y.abs());
                assert!(close, "{name}, {channels} channels: {x} instead of {y} at {i}");
            }
        }
    }
}
