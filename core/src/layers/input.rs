use super::pass::copy;
use super::{BackwardCx, Coupling, ForwardCx, LayerKind};
use crate::tensor::{Shape, ShapeError};
use serde::{Deserialize, Serialize};

/// The image that goes into the network. Its channels are given, so nothing prunes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Shape of one image.
    pub shape: Shape,
}

impl LayerKind for Input {
    fn name(&self) -> &'static str {
        "input"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        match inputs {
            [] => Ok(self.shape),
            _ => Err(ShapeError(format!("takes no input, not {}", inputs.len()))),
        }
    }

    fn coupling(&self) -> Coupling {
        Coupling::Produces
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        copy(cx.kernels, cx.inputs[0].data(), cx.dst.data_mut());
    }

    fn backward(&self, _: BackwardCx<'_>) {}
}
