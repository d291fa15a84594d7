//! Fully connected layers.

use crate::{Numbers, assert_close, dense, doubles, map, on_every_isa};
use pleach_kernels::{channel_stride, linear};
use proptest::prelude::*;

/// `(n, inputs, outputs)`: fewer images than a tile, odd sizes, and several tasks.
const SHAPES: [(usize, usize, usize); 11] = [
    (0, 5, 3),
    (1, 1, 1),
    (1, 17, 3),
    (2, 2100, 1030),
    (3, 37, 130),
    (4, 512, 10),
    (5, 130, 37),
    (7, 16, 16),
    (128, 512, 10),
    (33, 300, 257),
    (9, 1000, 700),
];

struct Case {
    shape: (usize, usize, usize),
    src: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    diff_dst: Vec<f32>,
}

impl Case {
    fn new(shape: (usize, usize, usize)) -> Self {
        let (n, inputs, outputs) = shape;
        let mut numbers = Numbers((n + 1000 * inputs + outputs) as u64);
        Self {
            shape,
            src: map(n, inputs, || numbers.real()),
            weights: (0..inputs * outputs).map(|_| numbers.real()).collect(),
            bias: (0..outputs).map(|_| numbers.real()).collect(),
            diff_dst: map(n, outputs, || numbers.real()),
        }
    }

    /// Sums over `depth` products, of magnitude at most 1, in f32.
    fn assert_sums(&self, found: &[f64], expected: &[f64], depth: usize, isa: &str) {
        let tolerance = (depth + 2) as f64 * f64::from(f32::EPSILON) / 2.0;
        assert_close(found, expected, tolerance, &format!("{:?} on {isa}", self.shape));
    }

    fn check(&self) {
        let (n, inputs, outputs) = self.shape;
        let (src, weights) = (dense(&self.src, inputs), doubles(&self.weights));
        let (bias, diff_dst) = (doubles(&self.bias), dense(&self.diff_dst, outputs));
        let mut dst = vec![0.0; n * outputs];
        let mut diff_src = vec![0.0; n * inputs];
        let mut diff_weights = vec![0.0; inputs * outputs];
        let mut diff_bias = vec![0.0; outputs];
        for (i, o) in (0..n).flat_map(|i| (0..outputs).map(move |o| (i, o))) {
            let g = diff_dst[i * outputs + o];
            diff_bias[o] += g;
            for k in 0..inputs {
                let (x, w) = (src[i * inputs + k], weights[o * inputs + k]);
                dst[i * outputs + o] += x * w;
                diff_src[i * inputs + k] += g * w;
                diff_weights[o * inputs + k] += g * x;
            }
        }
        let biased: Vec<f64> = dst.iter().enumerate().map(|(i, x)| x + bias[i % outputs]).collect();

        for (bias, expected) in [(Some(&self.bias[..]), biased), (None, dst)] {
            let run = |cx: &_| {
                let mut dst = vec![f32::NAN; n * channel_stride(outputs)];
                linear::forward(cx, n, inputs, outputs, &self.src, &self.weights, bias, &mut dst);
                dst
            };
            for (isa, dst) in on_every_isa(run) {
                self.assert_sums(&dense(&dst, outputs), &expected, inputs, isa);
            }
        }
        let run = |cx: &_| {
            let mut diff = vec![f32::NAN; n * channel_stride(inputs)];
            linear::backward_data(cx, n, inputs, outputs, &self.diff_dst, &self.weights, &mut diff);
            diff
        };
        for (isa, diff) in on_every_isa(run) {
            self.assert_sums(&dense(&diff, inputs), &diff_src, outputs, isa);
        }
        let run = |cx: &_| {
            let mut diff = vec![f32::NAN; inputs * outputs];
            linear::backward_weights(cx, n, inputs, outputs, &self.src, &self.diff_dst, &mut diff);
            diff
        };
        for (isa, diff) in on_every_isa(run) {
            self.assert_sums(&doubles(&diff), &diff_weights, n, isa);
        }
        let run = |cx: &_| {
            let mut diff = vec![f32::NAN; outputs];
            linear::backward_bias(cx, n, outputs, &self.diff_dst, &mut diff);
            diff
        };
        for (isa, diff) in on_every_isa(run) {
            self.assert_sums(&doubles(&diff), &diff_bias, n, isa);
        }
    }
}

#[test]
fn linear_and_its_gradients_match_f64() {
    SHAPES.into_iter().for_each(|shape| Case::new(shape).check());
}

#[test]
fn an_image_has_the_same_bits_in_any_batch() {
    let case = Case::new((11, 130, 37));
    let forward = |cx: &_, n: usize, src: &[f32]| {
        let mut dst = vec![f32::NAN; n * channel_stride(37)];
        linear::forward(cx, n, 130, 37, src, &case.weights, Some(&case.bias), &mut dst);
        dst
    };
    let together = on_every_isa(|cx| forward(cx, 11, &case.src));
    let alone = on_every_isa(|cx| {
        case.src.chunks(channel_stride(130)).flat_map(|src| forward(cx, 1, src)).collect()
    });
    assert_eq!(together, alone);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn linear_of_any_size_matches_f64(
        n in 1usize..12, inputs in 1usize..150, outputs in 1usize..150
    ) {
        Case::new((n, inputs, outputs)).check();
    }
}
