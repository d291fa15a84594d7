//! What a convolution takes over of the steps that follow it, if nothing else reads its output.

use super::simplify::{Op, Step, Value};
use crate::tensor::Shape;
use pleach_kernels::conv2d::{Activation, Pooling};
use pleach_kernels::pool::Pool2dGeometry;

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
