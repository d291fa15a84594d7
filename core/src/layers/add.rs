use super::pass::copy;
use super::{BackwardCx, Coupling, ForwardCx, LayerKind};
use crate::tensor::{Shape, ShapeError};
use pleach_kernels::add;
use serde::{Deserialize, Serialize};

/// The sum of two maps of the same shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {}

impl LayerKind for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        match inputs {
            [a, b] if a == b => Ok(*a),
            [a, b] => Err(ShapeError(format!("adds maps of different shapes, {a} and {b}"))),
            _ => Err(ShapeError(format!("takes two inputs, not {}", inputs.len()))),
        }
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        add::forward(cx.kernels, cx.inputs[0].data(), cx.inputs[1].data(), cx.dst.data_mut());
    }

    fn backward(&self, cx: BackwardCx<'_>) {
        for diff in cx.diff_inputs.iter_mut().flatten() {
            copy(cx.kernels, cx.diff_dst.data(), diff.data_mut());
        }
    }
}
