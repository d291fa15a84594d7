//! Batch normalisation with what follows it, against the same operations one after the other.

use crate::{Numbers, dense, map, on_every_isa};
use pleach_kernels::batch_norm::{self, Gradient, Then};
use pleach_kernels::pool::{Pool2dGeometry, max};
use pleach_kernels::{Context, add, channel_stride, relu};
use proptest::prelude::*;

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

/// Maps with equal values, zeros of both signs and, where `wild`, numbers that are none.
struct Case {
    following: Following,
    /// Channels; height and width are even.
    g: Pool2dGeometry,
    src: Vec<f32>,
    residual: Vec<f32>,
    diff_dst: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(following: Following, [n, c, ih, iw]: [usize; 4], wild: bool) -> Self {
        let g = Pool2dGeometry { n, c, ih, iw, kernel: 2, stride: 2, padding: 0 };
        let mut numbers = Numbers((n * 1000 + c) as u64);
        let mut weight: Vec<f32> = (0..c).map(|_| numbers.real()).collect();
        let mut bias: Vec<f32> = (0..c).map(|_| 0.5 * numbers.real()).collect();
        // The third channel's outputs are zeros of both signs, the fifth's are all one number.
        weight.iter_mut().skip(2).step_by(c).for_each(|x| *x = 0.0);
        bias.iter_mut().skip(2).step_by(c).for_each(|x| *x = -0.0);
        weight.iter_mut().skip(4).step_by(c).for_each(|x| *x = 0.0);
        let mut src = map(n * ih * iw, c, || numbers.integer() + 0.25);
        let mut residual = map(n * ih * iw, c, || numbers.real());
        let dst = if following == Following::ReluMaxPool { g.dst_len() } else { g.src_len() };
        let mut diff_dst = map(dst / channel_stride(c), c, || numbers.real());
        diff_dst.iter_mut().step_by(channel_stride(c)).for_each(|x| *x = -0.0);
        if wild {
            // A channel without statistics, and single numbers in channels that have them.
            src[0] = f32::INFINITY;
            let stride = channel_stride(c);
            residual[1.min(c - 1)..].iter_mut().step_by(5 * stride).for_each(|x| *x = f32::NAN);
            residual[c - 1] = f32::NEG_INFINITY;
            diff_dst[c - 1..].iter_mut().step_by(7 * stride).for_each(|x| *x = f32::NAN);
            bias[c / 2] = f32::NAN;
        }
        Self { following, g, src, residual, diff_dst, weight, bias }
    }

    fn forward(&self, cx: &Context, then: Then<'_>, dst: &mut [f32]) -> [Vec<f32>; 3] {
        let (c, pixels) = (self.g.c, self.g.n * self.g.ih * self.g.iw);
        let [mut mean, mut inv_std, mut var] = std::array::from_fn(|_| vec![f32::NAN; c]);
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
        let (c, pixels) = (self.g.c, self.g.n * self.g.ih * self.g.iw);
        let [mut diff_weight, mut diff_bias] = std::array::from_fn(|_| vec![f32::NAN; c]);
        let (mut src, weight) = (self.src.clone(), &self.weight);
        let (s, w, b) = (&mut src, &mut diff_weight, &mut diff_bias);
        batch_norm::backward_train(cx, pixels, c, s, gradient, weight, mean, inv_std, w, b);
        [src, diff_weight, diff_bias]
    }

    /// The output, `diff_src`, the residual's gradient, and all that is a number a channel.
    fn fused(&self, cx: &Context) -> Vec<f32> {
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
        [dst, diff_src, residual, diff_weight, diff_bias, statistics.concat()].concat()
    }

    /// The same, one operation after the other.
    fn unfused(&self, cx: &Context) -> Vec<f32> {
        let g = &self.g;
        let empty = || vec![f32::NAN; g.src_len()];
        let mut dst = empty();
        let statistics = self.forward(cx, Then::Nothing, &mut dst);
        if self.following == Following::AddRelu {
            let normalised = dst.clone();
            add::forward(cx, &normalised, &self.residual, &mut dst);
        }
        if self.following != Following::Nothing {
            let unrectified = dst.clone();
            relu::forward(cx, &unrectified, &mut dst);
        }
        let (mut end, mut diff) = (dst.clone(), self.diff_dst.clone());
        if self.following == Following::ReluMaxPool {
            end = vec![f32::NAN; g.dst_len()];
            let mut argmax = vec![0; end.len()];
            max::forward(cx, g, &dst, &mut end, Some(&mut argmax));
            diff = empty();
            max::backward(cx, g, &self.diff_dst, &argmax, &mut diff);
        }
        if self.following != Following::Nothing {
            let unmasked = diff.clone();
            relu::backward(cx, &dst, &unmasked, &mut diff);
        }
        let gradient = Gradient::Nothing { diff_dst: &diff };
        let [diff_src, diff_weight, diff_bias] = self.backward(cx, gradient, &statistics);
        let residual = if self.following == Following::AddRelu { diff } else { Vec::new() };
        [end, diff_src, residual, diff_weight, diff_bias, statistics.concat()].concat()
    }

    /// Asserts that both are the same bits, any NaN for any other, for any number of threads.
    fn check(&self) {
        for (isa, found) in on_every_isa(|cx| canonical(self.fused(cx))) {
            let isa = pleach_kernels::Isa::named(isa).expect("it ran");
            let expected = canonical(self.unfused(&Context::new(isa, 1)));
            let (c, g) = (self.g.c, &self.g);
            assert_eq!(found.len(), expected.len());
            for (i, (x, y)) in found.iter().zip(&expected).enumerate() {
                let (isa, then) = (isa.name, self.following);
                assert_eq!(x.to_bits(), y.to_bits(), "{x}, not {y}, at {i}, {then:?} {g:?} {isa}");
            }
            let pixels = if self.following == Following::AddRelu { 2 } else { 1 };
            let maps = self.diff_dst.len() * pixels + g.src_len();
            dense(&found[..maps], c);
        }
    }
}

/// With one NaN for all: which of two an addition passes on is no one's business.
fn canonical(mut values: Vec<f32>) -> Vec<f32> {
    values.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = f32::NAN);
    values
}

/// `[n, c, h, w]`; the last ones span several tasks and several blocks of channels.
const SHAPES: [[usize; 4]; 8] = [
    [1, 1, 2, 2],
    [2, 3, 4, 2],
    [3, 17, 2, 6],
    [2, 37, 6, 10],
    [1, 130, 4, 4],
    [9, 300, 6, 6],
    [40, 5, 16, 14],
    [16, 64, 32, 32],
];

#[test]
fn what_follows_a_batch_norm_is_the_same_bits_in_its_passes() {
    for shape in SHAPES {
        for following in ALL {
            Case::new(following, shape, false).check();
        }
    }
}

#[test]
fn what_follows_a_batch_norm_treats_nan_and_infinity_alike() {
    for shape in SHAPES.into_iter().take(6) {
        for following in ALL {
            Case::new(following, shape, true).check();
        }
    }
}

#[test]
#[should_panic(expected = "even")]
fn maps_of_odd_width_are_not_pooled() {
    let cx = Context::new(pleach_kernels::Isa::best(), 1);
    let mut case = Case::new(Following::ReluMaxPool, [1, 3, 4, 6], false);
    case.g.iw = 3;
    case.src.truncate(case.g.src_len());
    case.fused(&cx);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn what_follows_a_batch_norm_of_any_size_is_the_same_bits(
        (n, c) in (1usize..6, 1usize..300),
        (h, w) in (1usize..8, 1usize..8),
        wild in any::<bool>(),
    ) {
        for following in ALL {
            Case::new(following, [n, c, 2 * h, 2 * w], wild).check();
        }
    }
}
