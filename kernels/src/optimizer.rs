//! Optimiser steps over flat slices of parameters.

use crate::Context;
use crate::dispatch::enter;
use crate::par::ELEMENTWISE_CHUNK;
use crate::simd::{Simd, SimdOp};

/// State below this magnitude is set to zero: state decays geometrically where gradients are zero,
/// would become subnormal, and subnormal operands are slow. 1e-30 is far below what moves an f32
/// weight.
const TINY: f32 = 1e-30;

/// The kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    sgd: fn(Sgd<'_>),
    adam: fn(Adam<'_>),
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self { sgd: |op| enter::<S, _>(op), adam: |op| enter::<S, _>(op) }
    }
}

/// A step of stochastic gradient descent, as `torch.optim.SGD` with `dampening=0`:
/// `g = grad + weight_decay * value`, `velocity = momentum * velocity + g`,
/// `value -= lr * (nesterov ? g + momentum * velocity : velocity)`.
///
/// `velocity` is zero before the first step. Velocities below 1e-30 become zero.
///
/// # Panics
/// If the lengths differ.
pub fn sgd(
    cx: &Context,
    lr: f32,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    grad: &[f32],
    value: &mut [f32],
    velocity: &mut [f32],
) {
    assert_eq!(grad.len(), value.len(), "grad and value have one length");
    assert_eq!(velocity.len(), value.len(), "velocity and value have one length");
    let chunk = ELEMENTWISE_CHUNK;
    cx.threads().for_each_chunk2((value, chunk), (velocity, chunk), |i, value, velocity| {
        let grad = &grad[i * chunk..][..value.len()];
        let step = Sgd { lr, momentum, nesterov, weight_decay, grad, value, velocity };
        (cx.isa().optimizer.sgd)(step);
    });
}

/// The hyperparameters of a step of [`adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f32,
    /// The number of this step, from 1.
    pub step: u64,
}

/// A step of `torch.optim.Adam`: `g = grad + weight_decay * value`, `m = beta1 * m + (1 - beta1) *
/// g`, `v = beta2 * v + (1 - beta2) * g^2`, `value -= lr / (1 - beta1^step) * m /
/// (sqrt(v / (1 - beta2^step)) + eps)` (Kingma and Ba 2015, algorithm 1).
///
/// `m` and `v` are zero before step 1. Moments below 1e-30 become zero.
///
/// # Panics
/// If the lengths differ or `step` is zero.
pub fn adam(
    cx: &Context,
    step: AdamStep,
    grad: &[f32],
    value: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    assert_eq!(grad.len(), value.len(), "grad and value have one length");
    assert!(step.step > 0, "steps are counted from 1");
    cx.threads().for_each_chunk3([value, m, v], ELEMENTWISE_CHUNK, |i, [value, m, v]| {
        let grad = &grad[i * ELEMENTWISE_CHUNK..][..value.len()];
        (cx.isa().optimizer.adam)(Adam { step, grad, value, m, v });
    });
}

struct Sgd<'a> {
    lr: f32,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    grad: &'a [f32],
    value: &'a mut [f32],
    velocity: &'a mut [f32],
}

impl SimdOp for Sgd<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let rule = SgdRule {
            minus_lr: simd.splat(-self.lr),
            momentum: simd.splat(self.momentum),
            nesterov: self.nesterov,
            weight_decay: simd.splat(self.weight_decay),
        };
        let mut grad = self.grad.chunks_exact(S::LANES);
        let mut value = self.value.chunks_exact_mut(S::LANES);
        let mut velocity = self.velocity.chunks_exact_mut(S::LANES);
        for ((grad, value), velocity) in grad.by_ref().zip(value.by_ref()).zip(velocity.by_ref()) {
            let (x, v) = rule.step(simd, simd.load(grad), simd.load(value), simd.load(velocity));
            simd.store(x, value);
            simd.store(v, velocity);
        }
        let (value, velocity) = (value.into_remainder(), velocity.into_remainder());
        let grad = simd.load_partial(grad.remainder());
        let (x, v) = rule.step(simd, grad, simd.load_partial(value), simd.load_partial(velocity));
        simd.store_partial(x, value);
        simd.store_partial(v, velocity);
    }
}

struct SgdRule<V> {
    minus_lr: V,
    momentum: V,
    nesterov: bool,
    weight_decay: V,
}

impl<V: Copy> SgdRule<V> {
    /// The new value and velocity.
    #[inline(always)]
    fn step<S: Simd<F32 = V>>(&self, simd: S, grad: V, value: V, velocity: V) -> (V, V) {
        let g = simd.mul_add(self.weight_decay, value, grad);
        let velocity = simd.mul_add(self.momentum, velocity, g);
        let direction =
            if self.nesterov { simd.mul_add(self.momentum, velocity, g) } else { velocity };
        (simd.mul_add(self.minus_lr, direction, value), without_tiny(simd, velocity))
    }
}

struct Adam<'a> {
    step: AdamStep,
    grad: &'a [f32],
    value: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
}

impl SimdOp for Adam<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let AdamStep { lr, beta1, beta2, eps, weight_decay, step } = self.step;
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
        let rule = AdamRule {
            minus_lr: simd.splat((-f64::from(lr) / correction(beta1)) as f32),
            root_scale: simd.splat((1.0 / correction(beta2).sqrt()) as f32),
            keep: [simd.splat(beta1), simd.splat(beta2)],
            new: [simd.splat(1.0 - beta1), simd.splat(1.0 - beta2)],
            eps: simd.splat(eps),
            weight_decay: simd.splat(weight_decay),
        };
        let mut grad = self.grad.chunks_exact(S::LANES);
        let mut value = self.value.chunks_exact_mut(S::LANES);
        let mut m = self.m.chunks_exact_mut(S::LANES);
        let mut v = self.v.chunks_exact_mut(S::LANES);
        for (((grad, value), m), v) in
            grad.by_ref().zip(value.by_ref()).zip(m.by_ref()).zip(v.by_ref())
        {
            let old = [simd.load(value), simd.load(m), simd.load(v)];
            let new = rule.step(simd, simd.load(grad), old);
            simd.store(new[0], value);
            simd.store(new[1], m);
            simd.store(new[2], v);
        }
        let (value, m, v) = (value.into_remainder(), m.into_remainder(), v.into_remainder());
        let grad = simd.load_partial(grad.remainder());
        let old = [simd.load_partial(value), simd.load_partial(m), simd.load_partial(v)];
        let new = rule.step(simd, grad, old);
        simd.store_partial(new[0], value);
        simd.store_partial(new[1], m);
        simd.store_partial(new[2], v);
    }
}

struct AdamRule<V> {
    minus_lr: V,
    root_scale: V,
    keep: [V; 2],
    new: [V; 2],
    eps: V,
    weight_decay: V,
}

impl<V: Copy> AdamRule<V> {
    /// The new value and moments.
    #[inline(always)]
    fn step<S: Simd<F32 = V>>(&self, simd: S, grad: V, [value, m, v]: [V; 3]) -> [V; 3] {
        let g = simd.mul_add(self.weight_decay, value, grad);
        let m = simd.mul_add(self.keep[0], m, simd.mul(self.new[0], g));
        let v = simd.mul_add(self.keep[1], v, simd.mul(self.new[1], simd.mul(g, g)));
        let (m, v) = (without_tiny(simd, m), without_tiny(simd, v));
        let root = simd.mul_add(simd.sqrt(v), self.root_scale, self.eps);
        [simd.mul_add(self.minus_lr, simd.div(m, root), value), m, v]
    }
}

/// `x`, or zero where its magnitude is below [`TINY`]. NaN stays NaN.
#[inline(always)]
fn without_tiny<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let zero = simd.splat(0.0);
    let magnitude = simd.max(x, simd.sub(zero, x));
    simd.select_gt(simd.splat(TINY), magnitude, zero, x)
}
