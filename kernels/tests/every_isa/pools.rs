//! Max, average and global average pooling.

use crate::{Numbers, assert_close, contexts, dense, map, on_every_isa};
use pleach_kernels::channel_stride;
use pleach_kernels::pool::{Pool2dGeometry, avg, global_avg, max};
use proptest::prelude::*;

/// `[n, c, ih, iw, kernel, stride, padding]`; the last three span several tasks.
const SHAPES: [[usize; 7]; 12] = [
    [1, 1, 1, 1, 1, 1, 0],
    [2, 3, 2, 2, 2, 2, 0],
    [1, 17, 5, 7, 2, 2, 0],
    [2, 37, 6, 4, 3, 2, 1],
    [1, 3, 9, 8, 3, 1, 1],
    [3, 130, 3, 3, 2, 1, 1],
    [2, 16, 7, 9, 3, 3, 0],
    [1, 5, 8, 8, 2, 3, 0],
    [1, 1, 9, 9, 5, 2, 2],
    [8, 64, 32, 32, 2, 2, 0],
    [5, 37, 33, 31, 3, 2, 1],
    [300, 130, 2, 2, 2, 2, 0],
];

fn geometry([n, c, ih, iw, kernel, stride, padding]: [usize; 7]) -> Pool2dGeometry {
    Pool2dGeometry { n, c, ih, iw, kernel, stride, padding }
}

/// The input pixels of the window at output `(image, oy, ox)`, with their places, in order.
fn window(g: &Pool2dGeometry, [image, oy, ox]: [usize; 3]) -> Vec<(usize, usize)> {
    let inside = |o: usize, k: usize, size: usize| {
        (o * g.stride + k).checked_sub(g.padding).filter(|i| *i < size)
    };
    let mut pixels = Vec::new();
    for place in 0..g.kernel * g.kernel {
        let y = inside(oy, place / g.kernel, g.ih);
        let x = inside(ox, place % g.kernel, g.iw);
        if let (Some(y), Some(x)) = (y, x) {
            pixels.push(((image * g.ih + y) * g.iw + x, place));
        }
    }
    pixels
}

fn outputs(g: &Pool2dGeometry) -> impl Iterator<Item = [usize; 3]> {
    let (oh, ow) = (g.oh(), g.ow());
    (0..g.n * oh * ow).map(move |i| [i / (oh * ow), i / ow % oh, i % ow])
}

/// Few distinct values, so that windows have equal ones.
fn case(g: &Pool2dGeometry) -> (Vec<f32>, Vec<f32>) {
    let mut numbers = Numbers(g.src_len() as u64);
    let src = map(g.n * g.ih * g.iw, g.c, || numbers.integer());
    let diff_dst = map(g.n * g.oh() * g.ow(), g.c, || numbers.integer());
    (src, diff_dst)
}

fn check_max(g: &Pool2dGeometry) {
    let (src, diff_dst) = case(g);
    let (x, diff) = (dense(&src, g.c), dense(&diff_dst, g.c));
    let (mut expected, mut places) = (Vec::new(), Vec::new());
    let mut expected_diff = vec![0.0; x.len()];
    for output in outputs(g) {
        for c in 0..g.c {
            let mut best = (f64::NEG_INFINITY, 0, 0);
            for (pixel, place) in window(g, output) {
                if x[pixel * g.c + c] > best.0 {
                    best = (x[pixel * g.c + c], pixel, place);
                }
            }
            expected_diff[best.1 * g.c + c] += diff[expected.len()];
            expected.push(best.0);
            places.push(best.2 as f64);
        }
    }
    let forward = |cx: &_| {
        let (mut dst, mut plain) = (vec![f32::NAN; g.dst_len()], vec![f32::NAN; g.dst_len()]);
        let mut argmax = vec![255; g.dst_len()];
        max::forward(cx, g, &src, &mut dst, Some(&mut argmax));
        max::forward(cx, g, &src, &mut plain, None);
        assert_eq!(dst, plain, "maxima do not depend on whether their places are wanted");
        dst.extend(argmax.iter().map(|&place| f32::from(place)));
        dst
    };
    for (isa, found) in on_every_isa(forward) {
        let (dst, argmax) = found.split_at(g.dst_len());
        assert_eq!(dense(dst, g.c), expected, "{g:?} on {isa}");
        let rows = argmax.chunks(channel_stride(g.c)).flat_map(|row| &row[..g.c]);
        assert!(rows.map(|&place| f64::from(place)).eq(places.iter().copied()), "{g:?} on {isa}");
        let argmax: Vec<u8> = argmax.iter().map(|&place| place as u8).collect();
        let backward = |cx: &_| {
            let mut diff_src = vec![f32::NAN; g.src_len()];
            max::backward(cx, g, &diff_dst, &argmax, &mut diff_src);
            diff_src
        };
        for (isa, found) in on_every_isa(backward) {
            assert_eq!(dense(&found, g.c), expected_diff, "{g:?} on {isa}");
        }
    }
}

fn check_avg(g: &Pool2dGeometry) {
    let (src, diff_dst) = case(g);
    let (x, diff) = (dense(&src, g.c), dense(&diff_dst, g.c));
    let area = (g.kernel * g.kernel) as f64;
    let mut expected = Vec::new();
    let mut expected_diff = vec![0.0; x.len()];
    for output in outputs(g) {
        let window = window(g, output);
        for c in 0..g.c {
            for (pixel, _) in &window {
                expected_diff[pixel * g.c + c] += diff[expected.len()] / area;
            }
            expected.push(window.iter().map(|(pixel, _)| x[pixel * g.c + c]).sum::<f64>() / area);
        }
    }
    let forward = |cx: &_| {
        let mut dst = vec![f32::NAN; g.dst_len()];
        avg::forward(cx, g, &src, &mut dst);
        dst
    };
    for (isa, found) in on_every_isa(forward) {
        assert_close(&dense(&found, g.c), &expected, 5e-7, &format!("{g:?} on {isa}"));
    }
    let backward = |cx: &_| {
        let mut diff_src = vec![f32::NAN; g.src_len()];
        avg::backward(cx, g, &diff_dst, &mut diff_src);
        diff_src
    };
    for (isa, found) in on_every_isa(backward) {
        assert_close(&dense(&found, g.c), &expected_diff, 5e-7, &format!("{g:?} on {isa}"));
    }
}

#[test]
fn max_pooling_and_its_gradient_match_the_definition() {
    SHAPES.into_iter().for_each(|shape| check_max(&geometry(shape)));
}

#[test]
fn average_pooling_and_its_gradient_match_the_definition() {
    SHAPES.into_iter().for_each(|shape| check_avg(&geometry(shape)));
}

#[test]
fn max_pooling_shows_nan_and_lets_infinity_lose() {
    for kernel in [2, 3] {
        let g = geometry([1, 1, kernel, kernel, kernel, kernel, 0]);
        for cx in contexts() {
            for nan in 0..kernel * kernel {
                let mut src = vec![0.0; g.src_len()];
                src.chunks_mut(16).for_each(|pixel| pixel[0] = f32::INFINITY);
                src[nan * 16] = f32::NAN;
                let (mut dst, mut argmax) = (vec![0.0; 16], vec![0; 16]);
                max::forward(&cx, &g, &src, &mut dst, Some(&mut argmax));
                assert!(dst[0].is_nan(), "{kernel} {nan} on {}", cx.isa().name);
                assert_eq!(usize::from(argmax[0]), nan);
                src.chunks_mut(16).for_each(|pixel| pixel[0] = f32::NEG_INFINITY);
                max::forward(&cx, &g, &src, &mut dst, Some(&mut argmax));
                assert_eq!((dst[0], argmax[0]), (f32::NEG_INFINITY, 0));
            }
        }
    }
}

#[test]
fn global_average_pooling_and_its_gradient_match_the_definition() {
    for (n, pixels, channels) in [(1, 1, 1), (3, 9, 17), (2, 81, 37), (5, 4, 130), (40, 100, 100)] {
        let mut numbers = Numbers(n as u64);
        let src = map(n * pixels, channels, || numbers.real());
        let diff_dst = map(n, channels, || numbers.real());
        let x = dense(&src, channels);
        let mean = |(i, c): (usize, usize)| {
            let image = &x[i * pixels * channels..][..pixels * channels];
            image.iter().skip(c).step_by(channels).sum::<f64>() / pixels as f64
        };
        let all = (0..n).flat_map(|i| (0..channels).map(move |c| (i, c)));
        let expected: Vec<f64> = all.map(mean).collect();
        let forward = |cx: &_| {
            let mut dst = vec![f32::NAN; diff_dst.len()];
            global_avg::forward(cx, n, pixels, channels, &src, &mut dst);
            dst
        };
        for (isa, found) in on_every_isa(forward) {
            assert_close(&dense(&found, channels), &expected, 1e-6, isa);
        }
        let diff = dense(&diff_dst, channels);
        let spread = |i: usize| diff[i / (pixels * channels) * channels + i % channels];
        let expected: Vec<f64> = (0..x.len()).map(|i| spread(i) / pixels as f64).collect();
        let backward = |cx: &_| {
            let mut diff_src = vec![f32::NAN; src.len()];
            global_avg::backward(cx, n, pixels, channels, &diff_dst, &mut diff_src);
            diff_src
        };
        for (isa, found) in on_every_isa(backward) {
            assert_close(&dense(&found, channels), &expected, 1e-7, isa);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn pools_of_any_geometry_match_the_definition(
        (n, c) in (1usize..4, 1usize..40),
        (ih, iw) in (1usize..10, 1usize..10),
        (kernel, stride) in (1usize..5, 1usize..4),
        padding in 0usize..3,
    ) {
        let padding = padding.min(kernel / 2);
        let kernel = kernel.min(ih.min(iw) + 2 * padding);
        let padding = padding.min(kernel / 2);
        let kernel = kernel.min(ih.min(iw) + 2 * padding);
        let g = Pool2dGeometry { n, c, ih, iw, kernel, stride, padding };
        check_max(&g);
        check_avg(&g);
    }
}
