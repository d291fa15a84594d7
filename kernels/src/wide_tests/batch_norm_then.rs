//! What follows a batch norm in its passes on wide vectors, against the same operations one after the other.

use super::{integers, map, reals};
use crate::batch_norm::{self, Gradient, Then};
use crate::dispatch::WIDE;
use crate::pool::{Pool2dGeometry, max};
use crate::{Context, add, channel_stride, relu};
use std::array;

const EPS: f32 = 1e-5;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Following {
    Nothing,
    Relu,
    AddRelu,
    ReluMaxPool,
}

const ALL: [Following; 4] =
    [Following::Nothing, Following::Relu, Following::AddRelu, Following::ReluMaxPool];

/// `[n, c, h, w]`; the last ones span several blocks of channels and several tasks.
const SHAPES: [[usize; 4]; 7] = [
    [1, 1, 2, 2],
    [2, 3, 4, 2],
    [3, 17, 2, 6],
    [2, 37, 6, 10],
    [1, 130, 4, 4],
    [9, 300, 6, 6],
    [40, 5, 16, 14],
];

/// Maps with equal values and zeros.
struct Case {
    following: Following,
    /// Height and width are even.
    g: Pool2dGeometry,
    src: Vec<f32>,
    residual: Vec<f32>,
    diff_dst: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// The output, `diff_src`, the residual's gradient, and all that is a number a channel.
type Outcome = [Vec<f32>; 8];

impl Case {
    fn new(following: Following, [n, c, ih, iw]: [usize; 4]) -> Self {
        let g = Pool2dGeometry { n, c, ih, iw, kernel: 2, stride: 2, padding: 0 };
        let (pixels, mut number) = (n * ih * iw, reals((n * 1000 + c) as u64));
        let mut weight: Vec<f32> = (0..c).map(|_| number()).collect();
        let mut bias: Vec<f32> = (0..c).map(|_| 0.5 * number()).collect();
        // The third channel's outputs are all zero, the fifth's all one number.
        weight.iter_mut().skip(2).step_by(2).take(2).for_each(|x| *x = 0.0);
        bias.iter_mut().skip(2).take(1).for_each(|x| *x = 0.0);
        let written = if following == Following::ReluMaxPool { pixels / 4 } else { pixels };
        Self {
            following,
            g,
            src: map(pixels, c, integers(14)),
            residual: map(pixels, c, reals(15)),
            diff_dst: map(written, c, reals(16)),
            weight,
            bias,
        }
    }

    fn pixels(&self) -> usize {
        self.g.n * self.g.ih * self.g.iw
    }

    /// The mean, the inverse standard deviation and the variance; `dst` is overwritten.
    fn forward(&self, cx: &Context, then: Then<'_>, dst: &mut [f32]) -> [Vec<f32>; 3] {
        let (c, pixels) = (self.g.c, self.pixels());
        let [mut mean, mut inv_std, mut var] = array::from_fn(|_| vec![f32::NAN; c]);
        let (src, weight, bias) = (&self.src, &self.weight, &self.bias);
        let (m, i, v) = (&mut mean, &mut inv_std, &mut var);
        batch_norm::forward_train(cx, pixels, c, src, weight, bias, EPS, m, i, v, then, dst);
        [mean, inv_std, var]
    }

    /// The gradients with respect to `src`, `weight` and `bias`.
    fn backward(
        &self,
        cx: &Context,
        gradient: Gradient<'_>,
        [mean, inv_std, _]: &[Vec<f32>; 3],
    ) -> [Vec<f32>; 3] {
        let (c, pixels) = (self.g.c, self.pixels());
        let [mut diff_weight, mut diff_bias] = array::from_fn(|_| vec![f32::NAN; c]);
        let (mut src, weight) = (self.src.clone(), &self.weight);
        let (s, w, b) = (&mut src, &mut diff_weight, &mut diff_bias);
        batch_norm::backward_train(cx, pixels, c, s, gradient, weight, mean, inv_std, w, b);
        [src, diff_weight, diff_bias]
    }

    fn in_its_passes(&self, cx: &Context) -> Outcome {
        let (mut dst, mut diff_dst) = (vec![f32::NAN; self.diff_dst.len()], self.diff_dst.clone());
        let (mut places, width, bias) = (vec![99; dst.len()], self.g.iw, &self.bias);
        let then = match self.following {
            Following::Nothing => Then::Nothing,
            Following::Relu => Then::Relu,
            Following::AddRelu => Then::AddRelu { residual: &self.residual },
            Following::ReluMaxPool => Then::ReluMaxPool { width, places: &mut places },
        };
        let statistics = self.forward(cx, then, &mut dst);
        let diff = &mut diff_dst;
        let gradient = match self.following {
            Following::Nothing => Gradient::Nothing { diff_dst: diff },
            Following::Relu => Gradient::Relu { diff_dst: diff, bias },
            Following::AddRelu => Gradient::AddRelu { diff_dst: diff, dst: &dst },
            Following::ReluMaxPool => {
                Gradient::ReluMaxPool { diff_dst: diff, width, places: &places }
            }
        };
        let [diff_src, diff_weight, diff_bias] = self.backward(cx, gradient, &statistics);
        let residual = if self.following == Following::AddRelu { diff_dst } else { Vec::new() };
        let [mean, inv_std, var] = statistics;
        [dst, diff_src, residual, diff_weight, diff_bias, mean, inv_std, var]
    }

    fn one_after_the_other(&self, cx: &Context) -> Outcome {
        let (g, then) = (&self.g, self.following);
        let empty = || vec![f32::NAN; g.src_len()];
        let mut dst = empty();
        let statistics = self.forward(cx, Then::Nothing, &mut dst);
        if then == Following::AddRelu {
            let normalised = dst.clone();
            add::forward(cx, &normalised, &self.residual, &mut dst);
        }
        if then != Following::Nothing {
            let unrectified = dst.clone();
            relu::forward(cx, &unrectified, &mut dst);
        }
        let (mut end, mut diff) = (dst.clone(), self.diff_dst.clone());
        if then == Following::ReluMaxPool {
            end = vec![f32::NAN; g.dst_len()];
            let mut argmax = vec![0; end.len()];
            max::forward(cx, g, &dst, &mut end, Some(&mut argmax));
            diff = empty();
            max::backward(cx, g, &self.diff_dst, &argmax, &mut diff);
        }
        if then != Following::Nothing {
            let unmasked = diff.clone();
            relu::backward(cx, &dst, &unmasked, &mut diff);
        }
        let gradient = Gradient::Nothing { diff_dst: &diff };
        let [diff_src, diff_weight, diff_bias] = self.backward(cx, gradient, &statistics);
        let residual = if then == Following::AddRelu { diff } else { Vec::new() };
        let [mean, inv_std, var] = statistics;
        [end, diff_src, residual, diff_weight, diff_bias, mean, inv_std, var]
    }
}

#[test]
fn what_follows_a_batch_norm_is_the_same_bits_in_its_passes_on_wide_vectors() {
    let (one, two) = (Context::new(&WIDE, 1), Context::new(&WIDE, 2));
    for (shape, following) in SHAPES.into_iter().flat_map(|shape| ALL.map(|then| (shape, then))) {
        let case = Case::new(following, shape);
        let (found, expected) = (case.in_its_passes(&two), case.one_after_the_other(&one));
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found.len(), expected.len(), "{following:?} {shape:?}, {i}");
            for (at, (x, y)) in found.iter().zip(expected).enumerate() {
                let same = x.to_bits() == y.to_bits();
                assert!(same, "{following:?} {shape:?}, {i}: {x} instead of {y} at {at}");
            }
        }
        // The maps.
        for map in &found[..3] {
            for pixel in map.chunks(channel_stride(shape[1])) {
                let pad = &pixel[shape[1]..];
                assert!(pad.iter().all(|x| x.to_bits() == 0), "{following:?} {shape:?}: {pad:?}");
            }
        }
    }
}
