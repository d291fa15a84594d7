use super::{Coupling, LayerKind, single};
use crate::tensor::{Shape, ShapeError};
use serde::{Deserialize, Serialize};

/// `[C, H, W]` to `[C * H * W, 1, 1]`, channel by channel, row by row, as PyTorch does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

impl LayerKind for Flatten {
    fn name(&self) -> &'static str {
        "flatten"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(Shape::flat(single(inputs)?.len()))
    }

    fn coupling(&self) -> Coupling {
        Coupling::Spreads
    }
}
