//! Batch normalisation.

use crate::{Numbers, assert_close, dense, doubles, map, numeric_gradient, on_every_isa};
use pleach_kernels::batch_norm::{self, Gradient, Then};
use pleach_kernels::{Context, channel_stride};
use proptest::prelude::*;

const EPS: f32 = 1e-5;

/// `(pixels, channels)`; the last ones span several tasks and several blocks of channels.
const SHAPES: [(usize, usize); 9] =
    [(1, 1), (2, 3), (9, 17), (64, 16), (81, 37), (131, 130), (300, 300), (5000, 3), (3001, 130)];

struct Case {
    pixels: usize,
    channels: usize,
    src: Vec<f32>,
    diff_dst: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    mean: Vec<f32>,
    var: Vec<f32>,
}

impl Case {
    fn new(pixels: usize, channels: usize) -> Self {
        let mut numbers = Numbers((pixels * 1000 + channels) as u64);
        let mut vector = || (0..channels).map(|_| numbers.real()).collect::<Vec<_>>();
        let (weight, bias, mean) = (vector(), vector(), vector());
        let var = vector().iter().map(|x| 0.5 + x.abs()).collect();
        let src = map(pixels, channels, || 2.0 * numbers.real() + 0.5);
        let diff_dst = map(pixels, channels, || numbers.real());
        Self { pixels, channels, src, diff_dst, weight, bias, mean, var }
    }

    fn len(&self) -> usize {
        self.pixels * channel_stride(self.channels)
    }

    /// Splits a concatenation of a map and three parameter slices.
    fn split(&self, found: &[f32]) -> (Vec<f64>, [Vec<f64>; 3]) {
        let (head, tail) = found.split_at(self.len());
        let mut params = tail.chunks(self.channels).map(doubles);
        (dense(head, self.channels), std::array::from_fn(|_| params.next().unwrap_or_default()))
    }

    /// `dst`, then `mean`, `inv_std` and `var`.
    fn forward_train(&self, cx: &Context) -> Vec<f32> {
        let c = self.channels;
        let mut dst = vec![f32::NAN; self.len()];
        let [mut mean, mut inv_std, mut var] = std::array::from_fn(|_| vec![f32::NAN; c]);
        batch_norm::forward_train(
            cx,
            self.pixels,
            c,
            &self.src,
            &self.weight,
            &self.bias,
            EPS,
            &mut mean,
            &mut inv_std,
            &mut var,
            Then::Nothing,
            &mut dst,
        );
        [dst, mean, inv_std, var].concat()
    }

    fn forward_eval(&self, cx: &Context) -> Vec<f32> {
        let mut dst = vec![f32::NAN; self.len()];
        batch_norm::forward_eval(
            cx,
            self.pixels,
            self.channels,
            &self.src,
            &self.weight,
            &self.bias,
            &self.mean,
            &self.var,
            EPS,
            &mut dst,
        );
        dst
    }

    /// `diff_src`, then `diff_weight` and `diff_bias`.
    fn backward_train(&self, cx: &Context) -> Vec<f32> {
        let c = self.channels;
        let forward = self.forward_train(cx);
        let statistics: Vec<&[f32]> = forward[self.len()..].chunks(c).collect();
        let mut diff_src = self.src.clone();
        let [mut diff_weight, mut diff_bias] = std::array::from_fn(|_| vec![f32::NAN; c]);
        batch_norm::backward_train(
            cx,
            self.pixels,
            c,
            &mut diff_src,
            Gradient::Nothing { diff_dst: &self.diff_dst },
            &self.weight,
            statistics[0],
            statistics[1],
            &mut diff_weight,
            &mut diff_bias,
        );
        [diff_src, diff_weight, diff_bias].concat()
    }

    fn backward_eval(&self, cx: &Context) -> Vec<f32> {
        let c = self.channels;
        let mut diff_src = vec![f32::NAN; self.len()];
        let [mut diff_weight, mut diff_bias] = std::array::from_fn(|_| vec![f32::NAN; c]);
        batch_norm::backward_eval(
            cx,
            self.pixels,
            c,
            &self.src,
            &self.diff_dst,
            &self.weight,
            &self.mean,
            &self.var,
            EPS,
            &mut diff_src,
            &mut diff_weight,
            &mut diff_bias,
        );
        [diff_src, diff_weight, diff_bias].concat()
    }
}

/// Mean and biased variance of each channel of a dense map, in two passes.
fn statistics(src: &[f64], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let n = (src.len() / channels) as f64;
    let column = |c: usize| src.iter().skip(c).step_by(channels);
    let mean: Vec<f64> = (0..channels).map(|c| column(c).sum::<f64>() / n).collect();
    let square = |x: f64| x * x;
    let var = (0..channels).map(|c| column(c).map(|x| square(x - mean[c])).sum::<f64>() / n);
    let var = var.collect();
    (mean, var)
}

fn normalized(src: &[f64], weight: &[f64], bias: &[f64], mean: &[f64], var: &[f64]) -> Vec<f64> {
    let each = |(i, x): (usize, &f64)| {
        let c = i % weight.len();
        (x - mean[c]) / (var[c] + f64::from(EPS)).sqrt() * weight[c] + bias[c]
    };
    src.iter().enumerate().map(each).collect()
}

#[test]
fn batch_norm_in_training_matches_two_passes_in_f64() {
    for (pixels, channels) in SHAPES {
        let case = Case::new(pixels, channels);
        let src = dense(&case.src, channels);
        let (mean, var) = statistics(&src, channels);
        let expected = normalized(&src, &doubles(&case.weight), &doubles(&case.bias), &mean, &var);
        let inv_std: Vec<f64> = var.iter().map(|v| (v + f64::from(EPS)).sqrt().recip()).collect();
        for (isa, found) in on_every_isa(|cx| case.forward_train(cx)) {
            let what = format!("{pixels} x {channels} on {isa}");
            let (dst, params) = case.split(&found);
            // One pixel divides a rounding error by sqrt(eps).
            assert_close(&dst, &expected, if pixels == 1 { 1e-4 } else { 5e-6 }, &what);
            assert_close(&params[0], &mean, 1e-6, &what);
            assert_close(&params[1], &inv_std, 2e-6, &what);
            assert_close(&params[2], &var, 1e-6, &what);
        }
    }
}

#[test]
fn statistics_survive_a_large_mean_and_an_outlier_in_front() {
    for (offset, outlier) in [(1e3, 1e3), (1e3, -1e4), (-1e4, 0.0)] {
        let mut case = Case::new(4000, 17);
        let mut numbers = Numbers(7);
        // Uniform on an interval of length sqrt(12): standard deviation 1.
        case.src = map(4000, 17, || offset + 3f32.sqrt() * numbers.real());
        case.src[..17].fill(outlier);
        let (mean, var) = statistics(&dense(&case.src, 17), 17);
        for (isa, found) in on_every_isa(|cx| case.forward_train(cx)) {
            let (_, params) = case.split(&found);
            for c in 0..17 {
                let error = (params[0][c] - mean[c]).abs();
                // The mean is rounded to f32 in the end.
                assert!(error <= 1e-4_f64.max(mean[c].abs() * 6e-8), "{isa}: mean off by {error}");
                let error = (params[2][c] - var[c]).abs() / var[c];
                assert!(error <= 1e-6, "{isa}: variance off by {error}");
            }
        }
    }
}

#[test]
fn batch_norm_in_evaluation_matches_f64() {
    for (pixels, channels) in SHAPES {
        let case = Case::new(pixels, channels);
        let params = [&case.weight, &case.bias, &case.mean, &case.var].map(|p| doubles(p));
        let [weight, bias, mean, var] = &params;
        let expected = normalized(&dense(&case.src, channels), weight, bias, mean, var);
        for (isa, found) in on_every_isa(|cx| case.forward_eval(cx)) {
            let what = format!("{pixels} x {channels} on {isa}");
            assert_close(&dense(&found, channels), &expected, 2e-6, &what);
        }
    }
}

/// Central differences of `sum diff_dst * dst` in `src`, `weight` and `bias`, where `frozen` says
/// whether the statistics are constants.
fn numeric(case: &Case, frozen: bool) -> [Vec<f64>; 3] {
    let c = case.channels;
    let src = dense(&case.src, c);
    let diff = dense(&case.diff_dst, c);
    let [weight, bias] = [&case.weight, &case.bias].map(|p| doubles(p));
    let x = [src.clone(), weight, bias].concat();
    let gradient = numeric_gradient(&x, |x| {
        let (src, params) = x.split_at(src.len());
        let (mean, var) = match frozen {
            true => (doubles(&case.mean), doubles(&case.var)),
            false => statistics(src, c),
        };
        let dst = normalized(src, &params[..c], &params[c..], &mean, &var);
        dst.iter().zip(&diff).map(|(y, g)| y * g).sum()
    });
    let (src, params) = gradient.split_at(src.len());
    [src.to_vec(), params[..c].to_vec(), params[c..].to_vec()]
}

#[test]
fn gradients_of_batch_norm_match_central_differences() {
    for (pixels, channels) in [(2, 3), (5, 17), (40, 3), (7, 37)] {
        let case = Case::new(pixels, channels);
        for frozen in [false, true] {
            let expected = numeric(&case, frozen);
            let run = |cx: &Context| {
                if frozen { case.backward_eval(cx) } else { case.backward_train(cx) }
            };
            for (isa, found) in on_every_isa(run) {
                let (diff_src, params) = case.split(&found);
                let what = format!("{pixels} x {channels}, frozen: {frozen}, on {isa}");
                // Two pixels are close in some channels: their inverse deviation is large.
                assert_close(&diff_src, &expected[0], 5e-5, &what);
                assert_close(&params[0], &expected[1], 1e-5, &what);
                assert_close(&params[1], &expected[2], 1e-5, &what);
            }
        }
    }
}

/// The three gradients by the textbook's sums in f64.
fn textbook(case: &Case) -> [Vec<f64>; 3] {
    let (c, n) = (case.channels, case.pixels as f64);
    let (src, diff) = (dense(&case.src, c), dense(&case.diff_dst, c));
    let (mean, var) = statistics(&src, c);
    let scale: Vec<f64> = var.iter().map(|v| (v + f64::from(EPS)).sqrt().recip()).collect();
    let (mut diff_weight, mut diff_bias) = (vec![0.0; c], vec![0.0; c]);
    for (i, (x, g)) in src.iter().zip(&diff).enumerate() {
        diff_weight[i % c] += g * (x - mean[i % c]) * scale[i % c];
        diff_bias[i % c] += g;
    }
    let each = |(i, (x, g)): (usize, (&f64, &f64))| {
        let k = i % c;
        let x = (x - mean[k]) * scale[k];
        f64::from(case.weight[k]) * scale[k] * (g - diff_bias[k] / n - x * diff_weight[k] / n)
    };
    [src.iter().zip(&diff).enumerate().map(each).collect(), diff_weight, diff_bias]
}

#[test]
fn gradients_of_batch_norm_match_the_textbook_on_every_size() {
    for (pixels, channels) in SHAPES.into_iter().skip(2) {
        let case = Case::new(pixels, channels);
        let expected = textbook(&case);
        for (isa, found) in on_every_isa(|cx| case.backward_train(cx)) {
            let (diff_src, params) = case.split(&found);
            let what = format!("{pixels} x {channels} on {isa}");
            assert_close(&diff_src, &expected[0], 1e-5, &what);
            // Rounding errors of sums are a random walk over the pixels.
            let tolerance = 5e-7 * (pixels as f64).sqrt();
            assert_close(&params[0], &expected[1], tolerance, &what);
            assert_close(&params[1], &expected[2], tolerance, &what);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn batch_norm_of_any_size_matches_f64(pixels in 3usize..700, channels in 1usize..300) {
        let case = Case::new(pixels, channels);
        let src = dense(&case.src, channels);
        let (mean, var) = statistics(&src, channels);
        let expected = normalized(&src, &doubles(&case.weight), &doubles(&case.bias), &mean, &var);
        let gradients = textbook(&case);
        for (isa, found) in on_every_isa(|cx| case.forward_train(cx)) {
            assert_close(&case.split(&found).0, &expected, 1e-4, isa);
        }
        for (isa, found) in on_every_isa(|cx| case.backward_train(cx)) {
            assert_close(&case.split(&found).0, &gradients[0], 1e-3, isa);
        }
    }
}
