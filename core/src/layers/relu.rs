use super::{Coupling, LayerKind, single};
use crate::tensor::{Shape, ShapeError};
use serde::{Deserialize, Serialize};

/// `max(x, 0)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu {}

impl LayerKind for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        single(inputs)
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }
}
