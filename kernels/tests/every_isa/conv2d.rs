//! Convolutions.

use crate::{Numbers, contexts, map, same_bits, tolerance};
use pleach_kernels::conv2d::{
    self, Activation, Algorithm, BACKWARD_DATA, BACKWARD_WEIGHTS, Conv2dGeometry, FORWARD, Pooling,
    PreparedConv2d, Storage,
};
use pleach_kernels::{AlignedBuffer, Context, Isa};
use proptest::prelude::*;

/// `[n, ic, ih, iw, oc, k, stride, padding]`.
const SHAPES: [[usize; 8]; 26] = [
    [1, 1, 1, 1, 1, 1, 1, 0],
    [1, 1, 1, 1, 1, 3, 1, 1],
    [2, 3, 7, 5, 17, 3, 1, 1],
    [1, 3, 35, 33, 37, 3, 1, 1],
    [1, 3, 32, 32, 64, 3, 2, 1],
    [2, 17, 9, 10, 3, 3, 1, 1],
    [2, 37, 6, 6, 53, 3, 1, 1],
    [1, 53, 13, 3, 37, 3, 2, 1],
    [3, 101, 4, 4, 130, 3, 1, 1],
    [3, 130, 2, 2, 101, 3, 1, 1],
    [1, 130, 2, 2, 53, 3, 1, 1],
    [2, 64, 8, 8, 64, 3, 1, 1],
    [2, 64, 9, 9, 32, 3, 2, 1],
    [2, 300, 5, 4, 20, 3, 1, 1],
    [1, 600, 3, 3, 18, 3, 2, 1],
    [2, 64, 8, 8, 40, 1, 1, 0],
    [2, 37, 9, 8, 101, 1, 2, 0],
    [1, 17, 11, 12, 17, 5, 1, 1],
    [1, 48, 11, 12, 33, 5, 2, 2],
    [2, 53, 5, 5, 37, 5, 1, 0],
    [5, 20, 1, 1, 10, 1, 1, 0],
    [30, 48, 3, 3, 24, 3, 1, 0],
    [2, 3, 23, 21, 40, 3, 1, 1],
    [3, 2, 9, 8, 17, 5, 3, 2],
    [1, 4, 11, 9, 24, 3, 2, 1],
    [2, 1, 18, 17, 12, 7, 1, 3],
];

/// Depthwise: `[n, channels, ih, iw, kh, kw, stride, padding]`.
const DEPTHWISE: [[usize; 8]; 14] = [
    [1, 2, 1, 1, 1, 1, 1, 0],
    [2, 3, 1, 1, 3, 3, 1, 1],
    [2, 3, 7, 5, 3, 3, 1, 1],
    [1, 17, 9, 8, 3, 3, 2, 1],
    [3, 37, 6, 6, 3, 3, 1, 1],
    [2, 130, 4, 5, 3, 3, 2, 1],
    [1, 16, 9, 9, 5, 5, 1, 2],
    [1, 20, 8, 9, 5, 5, 2, 2],
    [2, 33, 9, 9, 7, 7, 3, 3],
    [1, 37, 8, 9, 2, 4, 1, 0],
    [1, 3, 5, 9, 1, 3, 2, 2],
    [2, 17, 4, 4, 1, 1, 1, 2],
    [20, 37, 9, 9, 3, 3, 1, 1],
    [9, 130, 9, 8, 3, 3, 2, 1],
];

fn geometries() -> impl Iterator<Item = Conv2dGeometry> {
    let depthwise = |[n, c, ih, iw, kh, kw, stride, padding]: [usize; 8]| Conv2dGeometry {
        n,
        ic: c,
        ih,
        iw,
        oc: c,
        kh,
        kw,
        stride,
        padding,
        groups: c,
    };
    SHAPES.into_iter().map(geometry).chain(DEPTHWISE.into_iter().map(depthwise))
}

pub(crate) fn geometry([n, ic, ih, iw, oc, k, stride, padding]: [usize; 8]) -> Conv2dGeometry {
    Conv2dGeometry { n, ic, ih, iw, oc, kh: k, kw: k, stride, padding, groups: 1 }
}

/// The operands of all passes; pad lanes are zero.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) g: Conv2dGeometry,
    pub(crate) src: Vec<f32>,
    pub(crate) weights: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) diff_dst: Vec<f32>,
}

impl Case {
    fn new(g: Conv2dGeometry, mut number: impl FnMut() -> f32) -> Self {
        Self {
            g,
            src: map(g.src_pixels(), g.ic, &mut number),
            weights: (0..g.weights_len()).map(|_| number()).collect(),
            bias: (0..g.oc).map(|_| number()).collect(),
            diff_dst: map(g.dst_pixels(), g.oc, &mut number),
        }
    }

    pub(crate) fn reals(g: Conv2dGeometry) -> Self {
        let mut numbers = Numbers(g.macs());
        Self::new(g, || numbers.real())
    }

    pub(crate) fn integers(g: Conv2dGeometry) -> Self {
        let mut numbers = Numbers(g.macs());
        Self::new(g, || numbers.integer())
    }

    /// Everything outside the operands is NaN: outputs and scratch, which must not be read.
    pub(crate) fn forward(
        &self,
        cx: &Context,
        by: &Algorithm,
        bias: bool,
        activation: Activation,
    ) -> Vec<f32> {
        let mut dst = vec![f32::NAN; self.g.dst_len()];
        let bias = bias.then_some(&self.bias[..]);
        let (g, scratch) = (&self.g, &mut poisoned());
        conv2d::forward_with(
            by,
            cx,
            g,
            &self.src,
            &self.weights,
            bias,
            activation,
            &mut dst,
            scratch,
        );
        dst
    }

    pub(crate) fn backward_data(&self, cx: &Context, by: &Algorithm) -> Vec<f32> {
        let mut diff_src = vec![f32::NAN; self.g.src_len()];
        let (g, scratch) = (&self.g, &mut poisoned());
        conv2d::backward_data_with(
            by,
            cx,
            g,
            &self.diff_dst,
            &self.weights,
            &mut diff_src,
            scratch,
        );
        diff_src
    }

    pub(crate) fn backward_weights(&self, cx: &Context, by: &Algorithm) -> Vec<f32> {
        let mut diff = vec![f32::NAN; self.g.weights_len()];
        let (g, scratch) = (&self.g, &mut poisoned());
        conv2d::backward_weights_with(by, cx, g, &self.src, &self.diff_dst, &mut diff, scratch);
        diff
    }

    /// Every pass by every algorithm that applies, under the name `pass algorithm`, each with the
    /// length of its sums.
    pub(crate) fn every_pass(&self, cx: &Context) -> Vec<(String, usize, Vec<f32>)> {
        let g = &self.g;
        let mut found = Vec::new();
        for by in FORWARD.iter().filter(|by| (by.applies)(g)) {
            let k = g.weights_len() / g.oc + 1;
            let plain = self.forward(cx, by, false, Activation::None);
            found.push((format!("forward {}", by.name), k, plain));
            let fused = self.forward(cx, by, true, Activation::Relu);
            found.push((format!("forward+bias+relu {}", by.name), k, fused));
        }
        for by in BACKWARD_DATA.iter().filter(|by| (by.applies)(g)) {
            let k = g.weights_len() / g.ic;
            found.push((format!("backward_data {}", by.name), k, self.backward_data(cx, by)));
        }
        for by in BACKWARD_WEIGHTS.iter().filter(|by| (by.applies)(g)) {
            let diff = self.backward_weights(cx, by);
            found.push((format!("backward_weights {}", by.name), g.dst_pixels(), diff));
        }
        found
    }
}

/// A buffer larger than any scratch of these tests, full of NaN.
fn poisoned() -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeros(1 << 20);
    buffer.fill(f32::NAN);
    buffer
}

/// Whether small integers come out exact: everywhere but in F(4, 3), whose weights are rounded.
fn is_exact(name: &str) -> bool {
    !["winograd_4x4", "winograd_8x8"].iter().any(|tile| name.contains(tile))
}

/// The rows of a pass whose algorithm is the reference: the last with the same pass.
fn reference<'a>(rows: &'a [(String, usize, Vec<f32>)], name: &str) -> &'a [f32] {
    let pass = name.split(' ').next().unwrap();
    &rows.iter().find(|(name, ..)| *name == format!("{pass} reference")).unwrap().2
}

/// Every pass agrees with the reference, which rounds as often, in another order. What the `k`
/// additions of a sum are rounded by is random, and each by as much as the sum has grown till then:
/// `sqrt(k)` as a rule, and what came out where that is more. Of 1,500 random geometries none
/// differed by a third of what is allowed here.
fn assert_agrees(cx: &Context, case: &Case) {
    let rows = case.every_pass(cx);
    for (name, k, found) in &rows {
        // Intermediate values are larger than the terms, and cancel.
        let filtering = name.contains("winograd") || name.contains("toeplitz");
        let tolerance = if filtering { 10.0 } else { 2.0 } * tolerance(*k);
        let usual = (*k as f32).sqrt();
        for (i, (x, y)) in found.iter().zip(reference(&rows, name)).enumerate() {
            let tolerance = tolerance * (y.abs() / usual).max(1.0);
            assert!(
                (x - y).abs() <= tolerance,
                "{name} on {} of {:?}: {x} instead of {y} at {i}",
                cx.isa().name,
                case.g
            );
        }
    }
}

#[test]
fn every_algorithm_on_every_isa_agrees_with_the_reference() {
    for cx in contexts() {
        geometries().for_each(|shape| assert_agrees(&cx, &Case::reals(shape)));
    }
}

#[test]
fn algorithms_without_irrational_points_are_exact_on_small_integers() {
    for cx in contexts() {
        for shape in geometries() {
            let rows = Case::integers(shape).every_pass(&cx);
            for (name, _, found) in rows.iter().filter(|(name, ..)| is_exact(name)) {
                assert_eq!(found, reference(&rows, name), "{name} on {} {shape:?}", cx.isa().name);
            }
        }
    }
}

#[test]
fn the_bits_of_a_convolution_do_not_depend_on_the_number_of_threads() {
    for isa in Isa::available() {
        for shape in geometries() {
            let case = Case::reals(shape);
            let [one, two, three] =
                [1, 2, 3].map(|threads| case.every_pass(&Context::new(isa, threads)));
            for ((one, two), three) in one.iter().zip(&two).zip(&three) {
                let same = same_bits(&one.2, &two.2) && same_bits(&one.2, &three.2);
                assert!(same, "{} on {} {shape:?}", one.0, isa.name);
            }
        }
    }
}

#[test]
fn pad_lanes_come_out_zero() {
    for cx in contexts() {
        for shape in geometries() {
            let case = Case::reals(shape);
            for (name, _, found) in case.every_pass(&cx) {
                let channels = match name.split(' ').next().unwrap() {
                    "backward_weights" => continue,
                    "backward_data" => case.g.ic,
                    _ => case.g.oc,
                };
                for pixel in found.chunks(pleach_kernels::channel_stride(channels)) {
                    assert!(pixel[channels..].iter().all(|x| *x == 0.0), "{name} {shape:?}");
                }
            }
        }
    }
}

#[test]
fn a_prepared_convolution_gives_the_same_bits_for_any_batch() {
    for cx in contexts() {
        for shape in geometries() {
            let case = Case::reals(shape);
            for by in FORWARD.iter().filter(|by| (by.applies)(&case.g)) {
                let expected = case.forward(&cx, by, true, Activation::Relu);
                let one = case.g.with_batch(1);
                let (weights, bias) = (&case.weights, Some(&case.bias[..]));
                let conv =
                    PreparedConv2d::new(&cx, &one, weights, bias, Activation::Relu, Some(by));
                let mut dst = vec![f32::NAN; case.g.dst_len()];
                let mut scratch = vec![f32::NAN; conv.scratch_len(case.g.n)];
                conv.forward(&cx, case.g.n, &case.src, None, &mut dst, &mut scratch);
                assert!(same_bits(&dst, &expected), "{} on {} {shape:?}", by.name, cx.isa().name);
                let images = case.src.chunks(one.src_len()).zip(expected.chunks(one.dst_len()));
                for (src, expected) in images {
                    let mut dst = vec![f32::NAN; one.dst_len()];
                    let mut scratch = vec![f32::NAN; conv.scratch_len(1)];
                    conv.forward(&cx, 1, src, None, &mut dst, &mut scratch);
                    let tolerance = tolerance(one.weights_len() / one.oc);
                    let close = dst.iter().zip(expected).all(|(x, y)| (x - y).abs() <= tolerance);
                    assert!(close, "{} on {} {shape:?}", by.name, cx.isa().name);
                }
            }
        }
    }
}

#[test]
fn what_follows_a_convolution_is_the_same_bits_in_one_pass_as_in_several() {
    let shapes =
        [[2, 5, 8, 8, 19, 3, 1, 1], [1, 33, 6, 2, 37, 3, 1, 1], [3, 17, 2, 2, 20, 3, 1, 1]];
    let more = [[2, 3, 12, 16, 40, 3, 2, 1], [1, 20, 4, 4, 7, 1, 1, 0]];
    for cx in contexts() {
        for shape in shapes.into_iter().chain(more) {
            let mut case = Case::reals(geometry(shape));
            let (g, cs) = (case.g, case.g.dst_stride());
            case.src[0] = f32::NAN;
            for by in FORWARD.iter().filter(|by| (by.applies)(&g)) {
                // Any map of the output's shape with zeros in its pad lanes.
                let residual = case.forward(&cx, by, true, Activation::None);
                let sum = |relu: bool| -> Vec<f32> {
                    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
                    let sums = residual.iter().map(|x| x + x);
                    sums.map(|x| if x < floor { floor } else { x }).collect()
                };
                for activation in [Activation::None, Activation::Relu] {
                    for pooling in [Pooling::None, Pooling::Max2x2] {
                        let sums = sum(activation == Activation::Relu);
                        let expected: Vec<f32> = match pooling {
                            Pooling::None => sums,
                            Pooling::Max2x2 => (0..g.dst_len() / 4)
                                .map(|i| {
                                    let (pixel, c) = (i / cs, i % cs);
                                    let (row, x) = (pixel / (g.ow() / 2), pixel % (g.ow() / 2));
                                    let at = |y: usize, x: usize| sums[(y * g.ow() + x) * cs + c];
                                    let four = [(0, 0), (0, 1), (1, 0), (1, 1)]
                                        .map(|(dy, dx)| at(2 * row + dy, 2 * x + dx));
                                    let largest = |a: f32, b: f32| if a > b { a } else { b };
                                    match four.iter().any(|x| x.is_nan()) {
                                        true => f32::NAN,
                                        false => four.into_iter().reduce(largest).unwrap(),
                                    }
                                })
                                .collect(),
                        };
                        let (weights, bias) = (&case.weights, Some(&case.bias[..]));
                        let conv =
                            PreparedConv2d::new(&cx, &g, weights, bias, activation, Some(by))
                                .pooled(pooling);
                        let mut dst = vec![-1.0; expected.len()];
                        let mut scratch = vec![f32::NAN; conv.scratch_len(g.n)];
                        let residual = Some(&residual[..]);
                        conv.forward(&cx, g.n, &case.src, residual, &mut dst, &mut scratch);
                        let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
                        let same = dst.iter().zip(&expected).all(same);
                        assert!(same, "{} on {} {shape:?} {pooling:?}", by.name, cx.isa().name);
                    }
                }
            }
        }
    }
}

#[test]
fn weights_stored_in_half_the_bytes_are_the_rounded_ones() {
    for cx in contexts() {
        for shape in geometries() {
            let case = Case::reals(shape);
            let (weights, bias) = (&case.weights, Some(&case.bias[..]));
            for by in FORWARD.iter().filter(|by| (by.applies)(&case.g)) {
                for (storage, part) in [(Storage::Bf16, 1.0 / 256.0), (Storage::F16, 1.0 / 2048.0)]
                {
                    let none = Activation::None;
                    let conv = PreparedConv2d::new(&cx, &case.g, weights, bias, none, Some(by));
                    let bytes = conv.packed_bytes();
                    let conv = conv.stored_as(storage);
                    assert!(!by.widens || conv.packed_bytes() <= bytes / 2 + 4);
                    let mut dst = vec![f32::NAN; case.g.dst_len()];
                    let mut scratch = vec![f32::NAN; conv.scratch_len(case.g.n)];
                    conv.forward(&cx, case.g.n, &case.src, None, &mut dst, &mut scratch);
                    let name = format!("{} {storage:?} on {} {shape:?}", by.name, cx.isa().name);
                    if ["winograd", "toeplitz"].iter().any(|kind| by.name.starts_with(kind)) {
                        // Transformed weights are rounded: of the part, the transformations of the
                        // products make a few times as much.
                        let terms = case.g.weights_len() / case.g.oc;
                        let tolerance = 12.0 * part * (terms as f32).sqrt() + tolerance(terms);
                        let plain = case.forward(&cx, by, true, none);
                        let close = dst.iter().zip(&plain).all(|(x, y)| (x - y).abs() <= tolerance);
                        assert!(close, "{name}");
                    } else {
                        let rounded = weights.iter().map(|&weight| storage.round(weight)).collect();
                        let rounded = Case { weights: rounded, ..case.clone() };
                        let expected = rounded.forward(&cx, by, true, none);
                        assert!(same_bits(&dst, &expected), "{name}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_gradient_of_the_bias_sums_over_pixels() {
    for cx in contexts() {
        let case = Case::integers(geometry([3, 2, 5, 7, 37, 3, 1, 1]));
        let mut found = vec![f32::NAN; 37];
        conv2d::backward_bias(&cx, &case.g, &case.diff_dst, &mut found);
        let expected: Vec<f32> =
            (0..37).map(|c| case.diff_dst.iter().skip(c).step_by(48).sum()).collect();
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn any_geometry_agrees_with_the_reference(
        (n, ic, oc) in (1usize..4, 1usize..70, 1usize..70),
        (ih, iw) in (1usize..15, 1usize..15),
        (kh, kw) in (1usize..6, 1usize..6),
        (stride, padding) in (1usize..4, 0usize..3),
        depthwise in any::<bool>(),
    ) {
        let (oc, groups) = if depthwise { (ic, ic) } else { (oc, 1) };
        let (kh, kw) = (kh.min(ih + 2 * padding), kw.min(iw + 2 * padding));
        let g = Conv2dGeometry { n, ic, ih, iw, oc, kh, kw, stride, padding, groups };
        let case = Case::reals(g);
        contexts().iter().for_each(|cx| assert_agrees(cx, &case));
    }
}

/// One of 18,810 sums of 36 terms comes to 8.7 here, four standard deviations: the more it grows, the
/// more it is rounded by.
#[test]
fn a_sum_that_grows_large_may_differ_by_more() {
    let g = Conv2dGeometry {
        n: 3,
        ic: 57,
        ih: 7,
        iw: 9,
        oc: 55,
        kh: 2,
        kw: 3,
        stride: 2,
        padding: 0,
        groups: 1,
    };
    contexts().iter().for_each(|cx| assert_agrees(cx, &Case::reals(g)));
}

#[test]
fn a_context_without_filtering_computes_term_by_term() {
    let g = Conv2dGeometry {
        n: 4,
        ic: 64,
        ih: 8,
        iw: 8,
        oc: 64,
        kh: 3,
        kw: 3,
        stride: 1,
        padding: 1,
        groups: 1,
    };
    let case = Case::reals(g);
    for cx in contexts() {
        let forward = |cx: &Context| {
            let mut dst = vec![f32::NAN; g.dst_len()];
            let (src, weights, scratch) = (&case.src, &case.weights, &mut poisoned());
            conv2d::forward(cx, &g, src, weights, None, Activation::None, &mut dst, scratch);
            dst
        };
        let by = |name: &str| {
            let algorithm = conv2d::named(FORWARD, name).expect("in the list");
            case.forward(&cx, algorithm, false, Activation::None)
        };
        assert!(same_bits(&forward(&cx), &by("winograd_4x4")), "{}", cx.isa().name);
        let (without, direct) = (cx.clone().without_filtering(), by("implicit_gemm"));
        assert!(same_bits(&forward(&without), &direct), "{}", cx.isa().name);
        let prepared = |cx: &Context| {
            let none = Activation::None;
            PreparedConv2d::new(cx, &g, &case.weights, None, none, None).algorithm_name()
        };
        assert!(prepared(&cx).starts_with("winograd"), "{}", cx.isa().name);
        assert_eq!(prepared(&without), "implicit_gemm", "{}", cx.isa().name);
    }
}
