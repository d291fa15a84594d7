//! The tile of AVX-512, and vectors as wide as a pixel's padding, tested on CPUs without it.

use crate::conv2d::{self, Activation, Conv2dGeometry, named};
use crate::dispatch::WIDE;
use crate::gemm::{gemm, gemm_matrixmultiply};
use crate::{AlignedBuffer, Context, channel_stride};

/// Integers from -3 to 3, whose sums of products are exact.
fn integers(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) % 7) as f32 - 3.0
    }
}

fn map(pixels: usize, channels: usize, mut number: impl FnMut() -> f32) -> Vec<f32> {
    let stride = channel_stride(channels);
    let mut map = vec![0.0; pixels * stride];
    map.chunks_mut(stride).for_each(|pixel| pixel[..channels].fill_with(&mut number));
    map
}

#[test]
fn wide_tiles_convolve_small_integers_exactly() {
    let cx = Context::new(&WIDE, 2);
    let mut scratch = AlignedBuffer::zeros(1 << 20);
    for [n, ic, size, oc, k, stride, padding] in [
        [1, 1, 1, 1, 1, 1, 0],
        [2, 3, 7, 17, 3, 1, 1],
        [2, 37, 6, 53, 3, 1, 1],
        [3, 101, 4, 130, 3, 1, 1],
        [3, 130, 2, 101, 3, 2, 1],
        [2, 64, 9, 32, 3, 2, 1],
        [1, 300, 5, 20, 3, 1, 1],
        [2, 48, 8, 40, 1, 2, 0],
    ] {
        let (ih, iw, kh, kw) = (size, size, k, k);
        let g = Conv2dGeometry { n, ic, ih, iw, oc, kh, kw, stride, padding, groups: 1 };
        let src = map(g.src_pixels(), ic, integers(1));
        let diff_dst = map(g.dst_pixels(), oc, integers(2));
        let weights: Vec<f32> = std::iter::repeat_with(integers(3)).take(g.weights_len()).collect();
        let mut results = ["implicit_gemm", "im2col", "reference"].map(|name| {
            scratch.fill(f32::NAN);
            let (mut dst, mut diff_src) =
                (vec![f32::NAN; g.dst_len()], vec![f32::NAN; g.src_len()]);
            let mut diff_weights = vec![f32::NAN; g.weights_len()];
            let (by, relu) = (named(conv2d::FORWARD, name).unwrap(), Activation::Relu);
            let bias = Some(&weights[..oc]);
            conv2d::forward_with(by, &cx, &g, &src, &weights, bias, relu, &mut dst, &mut scratch);
            let (by, diff) = (named(conv2d::BACKWARD_DATA, name).unwrap(), &mut diff_src);
            conv2d::backward_data_with(by, &cx, &g, &diff_dst, &weights, diff, &mut scratch);
            let (by, diff) = (named(conv2d::BACKWARD_WEIGHTS, name).unwrap(), &mut diff_weights);
            conv2d::backward_weights_with(by, &cx, &g, &src, &diff_dst, diff, &mut scratch);
            [dst, diff_src, diff_weights]
        });
        let [implicit_gemm, im2col, reference] = &mut results;
        assert_eq!(implicit_gemm, reference, "{g:?}");
        assert_eq!(im2col, reference, "{g:?}");
    }
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
