//! What a convolution takes over of the steps that follow it, if nothing else reads its output.

use super::simplify::{Op, Step, Value};
use crate::tensor::Shape;
use pleach_kernels::conv2d::{Activation, Pooling};
use pleach_kernels::pool::Pool2dGeometry;

/// Makes the convolution that computes `value` multiply its channels by `scale` and add `shift`, if
/// there is one and nothing else reads its output.
pub(super) fn affine(steps: &mut [Step], value: Value, scale: &[f64], shift: &[f64]) -> bool {
    let Value::Step(step) = value else { return false };
    let Step { op, inputs, uses: 1, .. } = &mut steps[step] else { return false };
    let Op::Conv { geometry, weights, bias, activation: Activation::None, pooling: Pooling::None } =
        op
    else {
        return false;
    };
    if inputs.len() > 1 {
        return false;
    }
    let row = weights.len() / geometry.oc;
    for (weights, &scale) in weights.chunks_exact_mut(row).zip(scale) {
        weights.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
    }
    let bias = bias.get_or_insert_with(|| vec![0.0; scale.len()]);
    for (bias, (&scale, &shift)) in bias.iter_mut().zip(scale.iter().zip(shift)) {
        *bias = (f64::from(*bias) * scale + shift) as f32;
    }
    true
}

/// Whether `value` is, or can be made, the output of a ReLU.
pub(super) fn relu(steps: &mut [Step], value: Value) -> bool {
    let Value::Step(step) = value else { return false };
    let step = &mut steps[step];
    match &mut step.op {
        Op::Relu => true,
        Op::Conv { activation, .. } | Op::Add(activation) => {
            if step.uses == 1 {
                *activation = Activation::Relu;
            }
            *activation == Activation::Relu
        }
        _ => false,
    }
}

/// The convolution that computes the later of `a` and `b`, if there is one and nothing else reads its
/// output, now adding the other.
pub(super) fn add(steps: &mut [Step], a: Value, b: Value) -> Option<Value> {
    let (later, other) = if a.is_before(b) { (b, a) } else { (a, b) };
    let Value::Step(step) = later else { return None };
    let Step { op, inputs, uses: 1, .. } = &mut steps[step] else { return None };
    let Op::Conv { activation: Activation::None, pooling: Pooling::None, .. } = op else {
        return None;
    };
    (inputs.len() == 1).then(|| inputs.push(other))?;
    Some(later)
}

/// Makes the convolution that computes `value` pool its outputs to `shape`, if there is one, nothing
/// else reads its output and it can.
pub(super) fn max_pool(
    steps: &mut [Step],
    value: Value,
    pool: &Pool2dGeometry,
    shape: Shape,
) -> bool {
    let Value::Step(step) = value else { return false };
    let step = &mut steps[step];
    let Op::Conv { pooling, .. } = &mut step.op else { return false };
    if *pooling == Pooling::None && step.uses == 1 && pool.halves() {
        (*pooling, step.shape) = (Pooling::Max2x2, shape);
        return true;
    }
    false
}
