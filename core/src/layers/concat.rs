use super::{Coupling, LayerKind};
use crate::tensor::{Shape, ShapeError};
use serde::{Deserialize, Serialize};

/// The channels of all inputs, one input after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concat {}

impl LayerKind for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let [first, rest @ ..] = inputs else {
            return Err(ShapeError("has no inputs".into()));
        };
        if let Some(other) =
            rest.iter().find(|s| (s.height, s.width) != (first.height, first.width))
        {
            return Err(ShapeError(format!("joins maps of different sizes, {first} and {other}")));
        }
        Ok(Shape { channels: inputs.iter().map(|s| s.channels).sum(), ..*first })
    }

    fn coupling(&self) -> Coupling {
        Coupling::Concatenates
    }
}
