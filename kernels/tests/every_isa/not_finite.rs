//! NaN, infinities and denormal numbers.
//!
//! A NaN goes to every output that depends on it, through every algorithm, ReLU and pooling, weights of
//! zero included, and never to another image. Minimal filtering also spreads it over the rest of a tile,
//! and makes NaN of infinities. Denormal numbers are computed with like any others.

use crate::conv2d::{Case, geometry};
use crate::{Numbers, contexts, map};
use pleach_kernels::conv2d::{
    self, Activation, Algorithm, BACKWARD_DATA, BACKWARD_WEIGHTS, Conv2dGeometry, FORWARD, Pooling,
    PreparedConv2d,
};
use pleach_kernels::gemm::{gemm, gemm_matrixmultiply};
use pleach_kernels::pool::{Pool2dGeometry, avg, global_avg, max};
use pleach_kernels::{add, batch_norm, channel_stride, linear, relu};

/// Geometries of at least two images to which, together, every algorithm applies.
fn geometries() -> Vec<Conv2dGeometry> {
    let plain = [
        [2, 3, 9, 8, 17, 3, 1, 1],
        [2, 37, 8, 8, 24, 3, 1, 1],
        [3, 20, 2, 2, 19, 3, 1, 1],
        [2, 18, 9, 9, 16, 3, 2, 1],
        [2, 5, 8, 8, 20, 3, 2, 1],
        [2, 17, 7, 6, 33, 1, 1, 0],
        [2, 2, 11, 12, 5, 5, 2, 2],
    ];
    let depthwise = [[2, 19, 9, 8, 19, 3, 1, 1], [2, 3, 9, 9, 3, 5, 2, 2]];
    let depthwise = depthwise.map(|shape| Conv2dGeometry { groups: shape[1], ..geometry(shape) });
    plain.map(geometry).into_iter().chain(depthwise).collect()
}

/// Small integers, zeros among them.
fn case(g: Conv2dGeometry) -> Case {
    Case::integers(g)
}

/// The input pixel, of the image and place given, that output pixel `(oy, ox)` takes for tap `(ky, kx)`.
fn takes(g: &Conv2dGeometry, [oy, ox, ky, kx]: [usize; 4], [y, x]: [usize; 2]) -> bool {
    oy * g.stride + ky == y + g.padding && ox * g.stride + kx == x + g.padding
}

fn depends(g: &Conv2dGeometry, [oy, ox]: [usize; 2], pixel: [usize; 2]) -> bool {
    (0..g.kh).any(|ky| (0..g.kw).any(|kx| takes(g, [oy, ox, ky, kx], pixel)))
}

/// Places of one bad value: image, row, column, channel.
fn places(h: usize, w: usize, c: usize) -> [[usize; 4]; 4] {
    [[0, 0, 0, 0], [1, h - 1, w - 1, c - 1], [0, h / 2, w / 2, c / 2], [1, 0, w / 2, 0]]
}

fn at([n, y, x, c]: [usize; 4], h: usize, w: usize, channels: usize) -> usize {
    ((n * h + y) * w + x) * channel_stride(channels) + c
}

/// Asserts what a bad value may do to a map of a pass: `found` has it, `clean` has not.
fn assert_spread(
    what: &str,
    by: &Algorithm,
    (h, w, c): (usize, usize, usize),
    (clean, found): (&[f32], &[f32]),
    image: usize,
    depends: impl Fn(usize, usize, usize) -> bool,
    is_bad: impl Fn(f32) -> bool,
) {
    for n in 0..clean.len() / (h * w * channel_stride(c)) {
        for (y, x, ch) in
            (0..h).flat_map(|y| (0..w).flat_map(move |x| (0..c).map(move |ch| (y, x, ch))))
        {
            let i = at([n, y, x, ch], h, w, c);
            let (clean, found) = (clean[i], found[i]);
            let same = clean.to_bits() == found.to_bits();
            match n == image && depends(y, x, ch) {
                true => assert!(is_bad(found), "{what}: {found} at {n}, {y}, {x}, {ch}"),
                false if n == image && by.filtering => {
                    assert!(same || !found.is_finite(), "{what}")
                }
                false => assert!(same, "{what}: {found} for {clean} at {n}, {y}, {x}, {ch}"),
            }
        }
    }
}

#[test]
fn a_nan_reaches_every_output_that_depends_on_it_and_no_other_image() {
    for cx in contexts() {
        for g in geometries() {
            let clean = case(g);
            for by in FORWARD.iter().filter(|by| (by.applies)(&g)) {
                for activation in [Activation::None, Activation::Relu] {
                    let expected = clean.forward(&cx, by, true, activation);
                    for place @ [n, y, x, c] in places(g.ih, g.iw, g.ic) {
                        let mut bad = clean.clone();
                        bad.src[at(place, g.ih, g.iw, g.ic)] = f32::NAN;
                        let found = bad.forward(&cx, by, true, activation);
                        let what = format!("{} on {} {g:?}", by.name, cx.isa().name);
                        let maps = (&expected[..], &found[..]);
                        let reached = |oy, ox, oc| {
                            depends(&g, [oy, ox], [y, x]) && (g.groups == 1 || oc == c)
                        };
                        let dims = (g.oh(), g.ow(), g.oc);
                        assert_spread(&what, by, dims, maps, n, reached, f32::is_nan);
                    }
                }
            }
        }
    }
}

#[test]
fn a_nan_in_a_gradient_reaches_every_gradient_that_depends_on_it() {
    for cx in contexts() {
        for g in geometries() {
            let clean = case(g);
            for by in BACKWARD_DATA.iter().filter(|by| (by.applies)(&g)) {
                let expected = clean.backward_data(&cx, by);
                for place @ [n, oy, ox, oc] in places(g.oh(), g.ow(), g.oc) {
                    let mut bad = clean.clone();
                    bad.diff_dst[at(place, g.oh(), g.ow(), g.oc)] = f32::NAN;
                    let found = bad.backward_data(&cx, by);
                    let what = format!("{} on {} {g:?}", by.name, cx.isa().name);
                    let reached =
                        |y, x, ic| depends(&g, [oy, ox], [y, x]) && (g.groups == 1 || ic == oc);
                    let (dims, maps) = ((g.ih, g.iw, g.ic), (&expected[..], &found[..]));
                    assert_spread(&what, by, dims, maps, n, reached, f32::is_nan);
                }
            }
            for by in BACKWARD_WEIGHTS.iter().filter(|by| (by.applies)(&g)) {
                for place @ [_, y, x, c] in places(g.ih, g.iw, g.ic) {
                    let mut bad = clean.clone();
                    bad.src[at(place, g.ih, g.iw, g.ic)] = f32::NAN;
                    let (expected, found) =
                        (clean.backward_weights(&cx, by), bad.backward_weights(&cx, by));
                    let group = g.ic / g.groups;
                    for (i, (clean, found)) in expected.iter().zip(&found).enumerate() {
                        let (kx, ky) = (i % g.kw, i / g.kw % g.kh);
                        let (ic, oc) = (i / g.taps() % group, i / g.taps() / group);
                        let ic = if g.groups == 1 { ic } else { oc };
                        let pixels =
                            || (0..g.oh()).flat_map(|oy| (0..g.ow()).map(move |ox| [oy, ox]));
                        let taken =
                            ic == c && pixels().any(|[oy, ox]| takes(&g, [oy, ox, ky, kx], [y, x]));
                        let same = clean.to_bits() == found.to_bits();
                        let what = format!("{} on {} {g:?} at {i}", by.name, cx.isa().name);
                        match taken {
                            true => assert!(found.is_nan(), "{what}: {found}"),
                            false if by.filtering && ic == c => {
                                assert!(same || found.is_nan(), "{what}");
                            }
                            false => assert!(same, "{what}: {found} for {clean}"),
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn an_infinity_leaves_no_output_finite_that_depends_on_it_and_no_other_image() {
    for cx in contexts() {
        for g in geometries() {
            let clean = case(g);
            for by in FORWARD.iter().filter(|by| (by.applies)(&g)) {
                let expected = clean.forward(&cx, by, false, Activation::None);
                for place @ [n, y, x, c] in places(g.ih, g.iw, g.ic) {
                    for infinity in [f32::INFINITY, f32::NEG_INFINITY] {
                        let mut bad = clean.clone();
                        bad.src[at(place, g.ih, g.iw, g.ic)] = infinity;
                        let found = bad.forward(&cx, by, false, Activation::None);
                        let what = format!("{} on {} {g:?}", by.name, cx.isa().name);
                        let reached = |oy, ox, oc| {
                            depends(&g, [oy, ox], [y, x]) && (g.groups == 1 || oc == c)
                        };
                        let (dims, maps) = ((g.oh(), g.ow(), g.oc), (&expected[..], &found[..]));
                        assert_spread(&what, by, dims, maps, n, reached, |x| !x.is_finite());
                    }
                }
            }
        }
    }
}

#[test]
fn what_follows_a_convolution_shows_nan() {
    let g = geometry([2, 5, 8, 8, 19, 3, 1, 1]);
    for cx in contexts() {
        for by in FORWARD.iter().filter(|by| (by.applies)(&g)) {
            let case = case(g);
            let mut residual = vec![0.0; g.dst_len()];
            residual[at([1, 3, 4, 7], 8, 8, 19)] = f32::NAN;
            let (weights, bias) = (&case.weights, Some(&case.bias[..]));
            let conv = PreparedConv2d::new(&cx, &g, weights, bias, Activation::Relu, Some(by))
                .pooled(Pooling::Max2x2);
            let mut dst = vec![-1.0; g.dst_len() / 4];
            let mut scratch = vec![f32::NAN; conv.scratch_len(g.n)];
            conv.forward(&cx, g.n, &case.src, Some(&residual), &mut dst, &mut scratch);
            let nans: Vec<usize> = (0..dst.len()).filter(|&i| dst[i].is_nan()).collect();
            let what = format!("{} on {}", by.name, cx.isa().name);
            assert_eq!(nans, [at([1, 1, 2, 7], 4, 4, 19)], "{what}");
        }
    }
}

#[test]
fn a_nan_in_a_row_of_a_product_makes_nan_of_that_row_only() {
    let (m, n, k) = (13, 37, 70);
    for cx in contexts() {
        for product in [gemm, gemm_matrixmultiply] {
            let run = |bad: Option<f32>| {
                let mut numbers = Numbers(1);
                let [mut a, b] = [m * k, k * n]
                    .map(|len| (0..len).map(|_| numbers.integer()).collect::<Vec<_>>());
                a[5 * k + 33] = bad.unwrap_or(a[5 * k + 33]);
                let mut c = vec![1.0; m * n];
                product(&cx, m, n, k, &a, k, &b, n, &mut c, n, false);
                c
            };
            let (clean, found) = (run(None), run(Some(f32::NAN)));
            for (i, (clean, found)) in clean.iter().zip(found).enumerate() {
                assert_eq!(found.is_nan(), i / n == 5, "{} at {i}", cx.isa().name);
                assert!(found.is_nan() || found == *clean);
            }
        }
    }
}

#[test]
fn a_nan_stays_in_its_image_and_channel_through_the_other_operations() {
    let (n, size, c) = (2, 6, 19);
    let (pixels, bad) = (n * size * size, [1, 2, 3, 18]);
    for cx in contexts() {
        let mut numbers = Numbers(3);
        let mut src = map(pixels, c, || numbers.integer());
        src[at(bad, size, size, c)] = f32::NAN;
        let count = |values: &[f32]| values.iter().filter(|x| x.is_nan()).count();
        let is_nan = |values: &[f32], place, size| values[at(place, size, size, c)].is_nan();
        let mut dst = vec![0.0; src.len()];

        relu::forward(&cx, &src, &mut dst);
        assert!(is_nan(&dst, bad, size) && count(&dst) == 1, "ReLU");
        for sum in [add::forward, add::forward_relu] {
            sum(&cx, &src, &src.iter().map(|x| x + 1.0).collect::<Vec<_>>(), &mut dst);
            assert!(is_nan(&dst, bad, size) && count(&dst) == 1, "sum");
        }
        let ones = vec![1.0; c];
        batch_norm::forward_eval(&cx, pixels, c, &src, &ones, &ones, &ones, &ones, 1e-5, &mut dst);
        assert!(is_nan(&dst, bad, size) && count(&dst) == 1, "batch norm");

        let g = Pool2dGeometry { n, c, ih: size, iw: size, kernel: 2, stride: 2, padding: 0 };
        let mut pooled = vec![0.0; g.dst_len()];
        max::forward(&cx, &g, &src, &mut pooled, None);
        assert!(is_nan(&pooled, [1, 1, 1, 18], size / 2) && count(&pooled) == 1, "max pooling");
        avg::forward(&cx, &g, &src, &mut pooled);
        assert!(is_nan(&pooled, [1, 1, 1, 18], size / 2) && count(&pooled) == 1, "average pooling");
        let mut means = vec![0.0; n * channel_stride(c)];
        global_avg::forward(&cx, n, size * size, c, &src, &mut means);
        assert!(is_nan(&means, [1, 0, 0, 18], 1) && count(&means) == 1, "global average pooling");

        let weights = vec![0.0; 5 * c];
        let mut dst = vec![0.0; n * channel_stride(5)];
        linear::forward(&cx, n, c, 5, &means, &weights, None, &mut dst);
        let image = &dst[channel_stride(5)..];
        assert!(image[..5].iter().all(|x| x.is_nan()) && count(&dst) == 5, "linear");
    }
}

#[test]
fn denormal_inputs_give_what_larger_ones_give_scaled() {
    // Multiples of 2^-140, which is 512 of the smallest number, leave room for the halves of filtering.
    let small = f32::from_bits(1 << 9);
    assert!(small.is_subnormal() && small == 2f32.powi(-140));
    let scaled = |values: &[f32]| values.iter().map(|x| x * small).collect::<Vec<f32>>();
    for cx in contexts() {
        for g in geometries() {
            let case = case(g);
            let tiny =
                Case { src: scaled(&case.src), diff_dst: scaled(&case.diff_dst), ..case.clone() };
            let exact = |by: &&Algorithm| {
                (by.applies)(&g) && !by.name.contains("4x4") && !by.name.contains("8x8")
            };
            let what = |by: &Algorithm| format!("{} on {} {g:?}", by.name, cx.isa().name);
            for by in FORWARD.iter().filter(exact) {
                let forward = |case: &Case| case.forward(&cx, by, false, Activation::Relu);
                assert_eq!(forward(&tiny), scaled(&forward(&case)), "{}", what(by));
            }
            for by in BACKWARD_DATA.iter().filter(exact) {
                let (tiny, case) = (tiny.backward_data(&cx, by), case.backward_data(&cx, by));
                assert_eq!(tiny, scaled(&case), "{}", what(by));
            }
            for by in BACKWARD_WEIGHTS.iter().filter(exact) {
                let tiny = Case { src: case.src.clone(), ..tiny.clone() };
                let (tiny, case) = (tiny.backward_weights(&cx, by), case.backward_weights(&cx, by));
                assert_eq!(tiny, scaled(&case), "{}", what(by));
            }
        }
    }
}

#[test]
fn every_algorithm_is_among_those_that_are_tested_so() {
    let lists: [&[conv2d::Algorithm]; 3] = [FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS];
    for by in lists.into_iter().flatten() {
        assert!(geometries().iter().any(|g| (by.applies)(g)), "{}", by.name);
    }
}
