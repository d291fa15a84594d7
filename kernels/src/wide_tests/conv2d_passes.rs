//! Convolutions on wide vectors: every algorithm of the lists, and what is prepared of them.

use super::{integers, map, reals};
use crate::conv2d::{
    self, Activation, Algorithm, BACKWARD_DATA, BACKWARD_WEIGHTS, Conv2dGeometry, Direction,
    FORWARD, Pooling, PreparedConv2d, Storage, named,
};
use crate::dispatch::WIDE;
use crate::{AlignedBuffer, Context, channel_stride};

/// `[n, ic, ih, iw, oc, k, stride, padding]`.
const SHAPES: [[usize; 8]; 22] = [
    [1, 1, 1, 1, 1, 1, 1, 0],
    [2, 3, 7, 5, 17, 3, 1, 1],
    [1, 3, 35, 33, 64, 3, 1, 1],
    [1, 3, 13, 12, 40, 3, 2, 1],
    [2, 1, 9, 8, 12, 5, 1, 2],
    [3, 2, 9, 8, 17, 5, 3, 2],
    [1, 2, 6, 7, 33, 3, 1, 1],
    [1, 4, 11, 9, 24, 3, 2, 1],
    [2, 4, 5, 6, 50, 3, 1, 1],
    [2, 37, 6, 6, 53, 3, 1, 1],
    [3, 101, 4, 4, 130, 3, 1, 1],
    [2, 5, 8, 9, 20, 3, 1, 2],
    [3, 130, 2, 2, 101, 3, 1, 1],
    [3, 53, 2, 2, 37, 3, 1, 1],
    [3, 130, 2, 2, 101, 3, 2, 1],
    [2, 64, 9, 9, 32, 3, 2, 1],
    [2, 17, 12, 10, 70, 3, 2, 1],
    [2, 20, 6, 7, 33, 3, 2, 0],
    [1, 300, 5, 5, 20, 3, 1, 1],
    [1, 600, 3, 3, 18, 3, 2, 1],
    [2, 48, 8, 8, 40, 1, 2, 0],
    [1, 48, 11, 12, 33, 5, 2, 2],
];

/// The same, depthwise.
const DEPTHWISE: [[usize; 8]; 4] = [
    [2, 3, 7, 5, 3, 3, 1, 1],
    [3, 37, 6, 6, 37, 3, 1, 1],
    [2, 130, 4, 5, 130, 3, 2, 1],
    [1, 20, 8, 9, 20, 5, 2, 2],
];

/// With outputs of even heights and widths.
const EVEN: [[usize; 8]; 5] = [
    [2, 5, 8, 8, 19, 3, 1, 1],
    [1, 33, 6, 2, 37, 3, 1, 1],
    [3, 17, 2, 2, 20, 3, 1, 1],
    [2, 3, 12, 16, 40, 3, 2, 1],
    [1, 20, 4, 4, 7, 1, 1, 0],
];

/// Of sums over more tiles than have factors at a time, with sums of a task's own and without.
const MANY_TILES: [[usize; 8]; 4] = [
    [80, 20, 13, 13, 24, 3, 1, 1],
    [60, 17, 21, 21, 40, 3, 2, 1],
    [2, 5, 11, 230, 18, 3, 1, 1],
    [106, 100, 8, 8, 56, 3, 1, 1],
];

const LISTS: [(Direction, &[Algorithm]); 3] = [
    (Direction::Forward, FORWARD),
    (Direction::BackwardData, BACKWARD_DATA),
    (Direction::BackwardWeights, BACKWARD_WEIGHTS),
];

fn dense([n, ic, ih, iw, oc, k, stride, padding]: [usize; 8]) -> Conv2dGeometry {
    Conv2dGeometry { n, ic, ih, iw, oc, kh: k, kw: k, stride, padding, groups: 1 }
}

fn depthwise(shape: [usize; 8]) -> Conv2dGeometry {
    Conv2dGeometry { groups: shape[1], ..dense(shape) }
}

fn geometries() -> impl Iterator<Item = Conv2dGeometry> {
    SHAPES.into_iter().map(dense).chain(DEPTHWISE.into_iter().map(depthwise))
}

/// The operands of all passes.
struct Case {
    g: Conv2dGeometry,
    src: Vec<f32>,
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
    activation: Activation,
    diff_dst: Vec<f32>,
}

impl Case {
    fn new(g: Conv2dGeometry, mut number: impl FnMut() -> f32) -> Self {
        Self {
            g,
            src: map(g.src_pixels(), g.ic, &mut number),
            weights: (0..g.weights_len()).map(|_| number()).collect(),
            bias: None,
            activation: Activation::None,
            diff_dst: map(g.dst_pixels(), g.oc, &mut number),
        }
    }

    /// With a bias and ReLU.
    fn integers(g: Conv2dGeometry) -> Self {
        let mut number = integers(g.macs());
        let bias = Some((0..g.oc).map(|_| number()).collect());
        Self { bias, activation: Activation::Relu, ..Self::new(g, number) }
    }

    /// With neither.
    fn reals(g: Conv2dGeometry) -> Self {
        Self::new(g, reals(g.macs()))
    }

    /// A pass. Everything outside the operands is NaN: outputs and scratch, which must not be read.
    fn pass(
        &self,
        cx: &Context,
        direction: Direction,
        by: &Algorithm,
        scratch: &mut AlignedBuffer,
    ) -> Vec<f32> {
        let Self { g, src, weights, diff_dst, activation, .. } = self;
        scratch.fill(f32::NAN);
        let mut dst = match direction {
            Direction::Forward => vec![f32::NAN; g.dst_len()],
            Direction::BackwardData => vec![f32::NAN; g.src_len()],
            Direction::BackwardWeights => vec![f32::NAN; g.weights_len()],
        };
        let (bias, d) = (self.bias.as_deref(), &mut dst);
        match direction {
            Direction::Forward => {
                conv2d::forward_with(by, cx, g, src, weights, bias, *activation, d, scratch);
            }
            Direction::BackwardData => {
                conv2d::backward_data_with(by, cx, g, diff_dst, weights, d, scratch);
            }
            Direction::BackwardWeights => {
                conv2d::backward_weights_with(by, cx, g, src, diff_dst, d, scratch);
            }
        }
        dst
    }

    /// The forward pass with weights packed once.
    fn prepared(&self, cx: &Context, by: &'static Algorithm) -> PreparedConv2d {
        let bias = self.bias.as_deref();
        PreparedConv2d::new(cx, &self.g, &self.weights, bias, self.activation, Some(by))
    }
}

/// What `conv` makes of the input of `case`: `len` floats.
fn run(
    conv: &PreparedConv2d,
    cx: &Context,
    case: &Case,
    residual: Option<&[f32]>,
    len: usize,
) -> Vec<f32> {
    let (n, mut dst) = (case.g.n, vec![f32::NAN; len]);
    let mut scratch = vec![f32::NAN; conv.scratch_len(n)];
    conv.forward(cx, n, &case.src, residual, &mut dst, &mut scratch);
    dst
}

/// Whether small integers come out exact: everywhere but in F(4, 3), whose weights are rounded.
fn is_exact(name: &str) -> bool {
    !["winograd_4x4", "winograd_8x8"].iter().any(|tile| name.starts_with(tile))
}

/// The error allowed in a sum of `k` products of factors of magnitude at most 1.
fn tolerance(k: usize) -> f32 {
    (k + 2) as f32 * f32::EPSILON
}

/// Asserts that both agree within the rounding of sums of `terms` terms, as for every other instruction set:
/// by minimal filtering intermediate values are larger than the terms, and each addition rounds by as much as
/// the sum has grown.
#[track_caller]
fn assert_near(found: &[f32], expected: &[f32], terms: usize, filtering: bool, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let tolerance = if filtering { 10.0 } else { 2.0 } * tolerance(terms);
    let usual = (terms as f32).sqrt();
    for (i, (x, y)) in found.iter().zip(expected).enumerate() {
        let near = (x - y).abs() <= tolerance * (y.abs() / usual).max(1.0);
        assert!(near, "{what}: {x} instead of {y} at {i}");
    }
}

#[test]
fn every_algorithm_convolves_on_wide_vectors() {
    let (one, two) = (Context::new(&WIDE, 1), Context::new(&WIDE, 2));
    let mut scratch = AlignedBuffer::zeros(1 << 20);
    let all = LISTS.into_iter();
    let all = all.flat_map(|(pass, list)| list.iter().map(move |by| (pass, by.name)));
    let mut left: Vec<(Direction, &str)> = all.collect();
    for g in geometries() {
        let (integers, reals) = (Case::integers(g), Case::reals(g));
        for (pass, list) in LISTS {
            let reference = named(list, "reference").expect("the last of every list");
            let exact = integers.pass(&one, pass, reference, &mut scratch);
            let near = reals.pass(&one, pass, reference, &mut scratch);
            let (terms, channels) = match pass {
                Direction::Forward => (g.weights_len() / g.oc + 1, Some(g.oc)),
                Direction::BackwardData => (g.weights_len() / g.ic, Some(g.ic)),
                Direction::BackwardWeights => (g.dst_pixels(), None),
            };
            for by in list.iter().filter(|by| (by.applies)(&g)) {
                let what = format!("{pass:?} {} {g:?}", by.name);
                left.retain(|other| *other != (pass, by.name));
                let found = integers.pass(&one, pass, by, &mut scratch);
                assert!(!is_exact(by.name) || found == exact, "{what}");
                let found = reals.pass(&two, pass, by, &mut scratch);
                assert_near(&found, &near, terms, by.filtering, &what);
                let Some(channels) = channels else { continue };
                for pixel in found.chunks(channel_stride(channels)) {
                    assert!(pixel[channels..].iter().all(|x| *x == 0.0), "pad lanes: {what}");
                }
            }
        }
    }
    assert!(left.is_empty(), "no geometry of this test has {left:?}");
}

#[test]
fn sums_over_many_tiles_agree_with_a_matrix_product_on_wide_vectors() {
    let cx = Context::new(&WIDE, 2);
    let mut scratch = AlignedBuffer::zeros(1 << 20);
    let pass = Direction::BackwardWeights;
    let plain = named(BACKWARD_WEIGHTS, "im2col_matrixmultiply").expect("cuts nothing into tiles");
    for g in MANY_TILES.map(dense) {
        let case = Case::reals(g);
        let expected = case.pass(&cx, pass, plain, &mut scratch);
        for by in BACKWARD_WEIGHTS.iter().filter(|by| by.filtering && (by.applies)(&g)) {
            let found = case.pass(&cx, pass, by, &mut scratch);
            assert_near(&found, &expected, g.dst_pixels(), true, &format!("{} {g:?}", by.name));
        }
    }
}

#[test]
fn what_follows_a_convolution_on_wide_vectors_is_the_same_bits_in_one_pass_as_in_several() {
    let cx = Context::new(&WIDE, 2);
    let mut scratch = AlignedBuffer::zeros(1 << 20);
    let mut left: Vec<&str> = FORWARD.iter().map(|by| by.name).collect();
    let other = depthwise([2, 37, 6, 8, 37, 3, 1, 1]);
    for g in EVEN.into_iter().map(dense).chain([other]) {
        let plain = Case { bias: Some(vec![0.25; g.oc]), ..Case::reals(g) };
        let residual = map(g.dst_pixels(), g.oc, reals(13));
        for by in FORWARD.iter().filter(|by| (by.applies)(&g)) {
            left.retain(|other| *other != by.name);
            let convolved = plain.pass(&cx, Direction::Forward, by, &mut scratch);
            for activation in [Activation::None, Activation::Relu] {
                let floor = if activation == Activation::Relu { 0.0 } else { f32::NEG_INFINITY };
                let sums = convolved.iter().zip(&residual).map(|(x, y)| (x + y).max(floor));
                let sums: Vec<f32> = sums.collect();
                for pooling in [Pooling::None, Pooling::Max2x2] {
                    let expected = match pooling {
                        Pooling::None => sums.clone(),
                        Pooling::Max2x2 => largest_of_four(&sums, &g),
                    };
                    let bias = plain.bias.as_deref();
                    let (weights, by) = (&plain.weights, Some(by));
                    let conv = PreparedConv2d::new(&cx, &g, weights, bias, activation, by);
                    let conv = conv.pooled(pooling);
                    let found = run(&conv, &cx, &plain, Some(&residual), expected.len());
                    let name = conv.algorithm_name();
                    assert!(found == expected, "{name} {g:?} {activation:?} {pooling:?}");
                }
            }
        }
    }
    assert!(left.is_empty(), "no geometry of this test has {left:?}");
}

/// The largest of each 2x2 pixels of the output `map`.
fn largest_of_four(map: &[f32], g: &Conv2dGeometry) -> Vec<f32> {
    let (stride, row) = (g.dst_stride(), g.ow() / 2);
    let largest = |i: usize| {
        let (pixel, c) = (i / stride, i % stride);
        let (y, x) = (2 * (pixel / row), 2 * (pixel % row));
        let at = |dy: usize, dx: usize| map[((y + dy) * g.ow() + x + dx) * stride + c];
        at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1))
    };
    (0..g.dst_len() / 4).map(largest).collect()
}

#[test]
fn weights_stored_in_half_the_bytes_are_the_rounded_ones_on_wide_vectors() {
    let cx = Context::new(&WIDE, 2);
    let mut scratch = AlignedBuffer::zeros(1 << 20);
    for g in geometries() {
        let case = Case::reals(g);
        for by in FORWARD.iter().filter(|by| (by.applies)(&g)) {
            for (storage, part) in [(Storage::Bf16, 1.0 / 256.0), (Storage::F16, 1.0 / 2048.0)] {
                let what = format!("{} {storage:?} {g:?}", by.name);
                let conv = case.prepared(&cx, by);
                let bytes = conv.packed_bytes();
                let conv = conv.stored_as(storage);
                assert!(!by.widens || conv.packed_bytes() <= bytes / 2 + 4, "{what}");
                let found = run(&conv, &cx, &case, None, g.dst_len());
                if by.filtering {
                    // Transformed weights are rounded: of the part, the transformations of the products make
                    // a few times as much.
                    let plain = case.pass(&cx, Direction::Forward, by, &mut scratch);
                    let terms = g.weights_len() / g.oc;
                    let allowed = 12.0 * part * (terms as f32).sqrt() + tolerance(terms);
                    let near = found.iter().zip(&plain).all(|(x, y)| (x - y).abs() <= allowed);
                    assert!(near, "{what}");
                    // They are not the weights as they were.
                    assert!(found != plain, "{what}");
                } else {
                    let rounded = case.weights.iter().map(|&weight| storage.round(weight));
                    let rounded = Case { weights: rounded.collect(), ..Case::reals(g) };
                    let expected = rounded.pass(&cx, Direction::Forward, by, &mut scratch);
                    assert!(found == expected, "{what}");
                }
            }
        }
    }
}
