use super::{Coupling, LayerKind, single};
use crate::tensor::{Shape, ShapeError};
use serde::{Deserialize, Serialize};

/// The mean of each channel over all pixels: `[C, H, W]` to `[C, 1, 1]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAvgPool {}

impl LayerKind for GlobalAvgPool {
    fn name(&self) -> &'static str {
        "global_avg_pool"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(Shape::flat(single(inputs)?.channels))
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }
}
