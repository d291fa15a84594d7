//! Optimiser steps.
//!
//! The golden numbers are those of this snippet, with `opt` as each test says:
//! ```python
//! x = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
//! for g in [[0.5, -0.25], [-1.0, 0.75], [0.125, 2.0]]:
//!     x.grad = torch.tensor(g, dtype=torch.float64)
//!     opt.step()
//! ```
//! They were computed by its update rules written out in Python's f64, as `sgd_in_f64` and
//! `adam_in_f64` below do.

use crate::{Numbers, assert_close, contexts, doubles, on_every_isa};
use pleach_kernels::{
    Context,
    optimizer::{self, AdamStep},
};

const GOLDEN_GRADS: [[f32; 2]; 3] = [[0.5, -0.25], [-1.0, 0.75], [0.125, 2.0]];

const ADAM: AdamStep =
    AdamStep { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 1 };

fn golden_sgd(cx: &Context, nesterov: bool) -> Vec<f64> {
    let (mut value, mut velocity) = (vec![1.0, -2.0], vec![0.0; 2]);
    for grad in &GOLDEN_GRADS {
        optimizer::sgd(cx, 0.1, 0.9, nesterov, 0.01, grad, &mut value, &mut velocity);
    }
    doubles(&value)
}

/// `torch.optim.SGD([x], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=...)`.
#[test]
fn sgd_steps_as_pytorch() {
    for cx in contexts() {
        let isa = cx.isa().name;
        assert_close(&golden_sgd(&cx, true), &[1.067_418_458_2, -2.481_191_330_8], 1e-7, isa);
        assert_close(&golden_sgd(&cx, false), &[1.036_484_749_0, -2.263_559_573_0], 1e-7, isa);
    }
}

/// `torch.optim.Adam([x], lr=0.1, weight_decay=0.01)`.
#[test]
fn adam_steps_as_pytorch() {
    for cx in contexts() {
        let (mut value, mut m, mut v) = (vec![1.0, -2.0], vec![0.0; 2], vec![0.0; 2]);
        for (step, grad) in (1..).zip(&GOLDEN_GRADS) {
            let step = AdamStep { step, ..ADAM };
            optimizer::adam(&cx, step, grad, &mut value, &mut m, &mut v);
        }
        let expected = [0.955_135_890_1, -2.019_236_034_6];
        assert_close(&doubles(&value), &expected, 2e-7, cx.isa().name);
    }
}

/// Parameters, and a gradient for each of three steps.
fn case(len: usize) -> [Vec<f32>; 4] {
    let mut numbers = Numbers(len as u64);
    std::array::from_fn(|_| (0..len).map(|_| numbers.real()).collect())
}

/// Lengths around the vectors and the tasks.
const LENGTHS: [usize; 6] = [0, 1, 15, 37, 65_536, 140_001];

fn sgd_in_f64([value, grads @ ..]: &[Vec<f32>; 4], momentum: f64, nesterov: bool) -> Vec<f64> {
    let mut value = doubles(value);
    let mut velocity = vec![0.0; value.len()];
    for grad in grads {
        for ((x, v), g) in value.iter_mut().zip(&mut velocity).zip(doubles(grad)) {
            let g = g + 0.05 * *x;
            *v = momentum * *v + g;
            *x -= 0.1 * if nesterov { g + momentum * *v } else { *v };
        }
    }
    value
}

#[test]
fn sgd_matches_f64() {
    for len in LENGTHS {
        let case = case(len);
        for (momentum, nesterov) in [(0.0, false), (0.5, false), (0.75, true)] {
            let run = |cx: &Context| {
                let [mut value, grads @ ..] = case.clone();
                let mut velocity = vec![0.0; len];
                for grad in &grads {
                    let (value, velocity) = (&mut value, &mut velocity);
                    optimizer::sgd(cx, 0.1, momentum, nesterov, 0.05, grad, value, velocity);
                }
                value
            };
            let expected = sgd_in_f64(&case, f64::from(momentum), nesterov);
            for (isa, found) in on_every_isa(run) {
                assert_close(&doubles(&found), &expected, 1e-6, isa);
            }
        }
    }
}

fn adam_in_f64([value, grads @ ..]: &[Vec<f32>; 4]) -> Vec<f64> {
    let (mut value, beta1, beta2) = (doubles(value), 0.9_f64, 0.999_f64);
    let (mut m, mut v) = (vec![0.0; value.len()], vec![0.0; value.len()]);
    for (step, grad) in (1..).zip(grads) {
        for (i, g) in doubles(grad).into_iter().enumerate() {
            let g = g + 0.01 * value[i];
            m[i] = beta1 * m[i] + (1.0 - beta1) * g;
            v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
            let (m, v) = (m[i] / (1.0 - beta1.powi(step)), v[i] / (1.0 - beta2.powi(step)));
            value[i] -= 0.1 * m / (v.sqrt() + 1e-8);
        }
    }
    value
}

#[test]
fn adam_matches_f64() {
    for len in LENGTHS {
        let case = case(len);
        let run = |cx: &Context| {
            let [mut value, grads @ ..] = case.clone();
            let (mut m, mut v) = (vec![0.0; len], vec![0.0; len]);
            for (step, grad) in (1..).zip(&grads) {
                let step = AdamStep { step, ..ADAM };
                optimizer::adam(cx, step, grad, &mut value, &mut m, &mut v);
            }
            value
        };
        let expected = adam_in_f64(&case);
        for (isa, found) in on_every_isa(run) {
            assert_close(&doubles(&found), &expected, 2e-5, isa);
        }
    }
}

#[test]
fn state_never_becomes_subnormal_and_nan_stays() {
    for cx in contexts() {
        let mut value = vec![1.0, 1.0, f32::NAN];
        let mut velocity = vec![1.0, -1.0, 0.0];
        let (mut m, mut v) = (vec![1.0, -1.0, 0.0], vec![1e-4, 1e-4, 0.0]);
        for _ in 0..2000 {
            optimizer::sgd(&cx, 0.0, 0.9, false, 0.0, &[0.0; 3], &mut value, &mut velocity);
            let step = AdamStep { lr: 0.0, beta2: 0.9, weight_decay: 0.0, ..ADAM };
            optimizer::adam(&cx, step, &[0.0; 3], &mut value, &mut m, &mut v);
            let state = [&velocity[..2], &m[..2], &v[..2]];
            state
                .iter()
                .copied()
                .flatten()
                .for_each(|x| assert!(*x == 0.0 || x.is_normal(), "{x}"));
        }
        assert_eq!(
            (&velocity[..2], &m[..2], &v[..2]),
            (&[0.0; 2][..], &[0.0; 2][..], &[0.0; 2][..])
        );
        let (mut value, mut velocity) = (vec![1.0], vec![0.0]);
        optimizer::sgd(&cx, 0.1, 0.9, true, 0.0, &[f32::NAN], &mut value, &mut velocity);
        assert!(value[0].is_nan() && velocity[0].is_nan(), "{}", cx.isa().name);
    }
}
