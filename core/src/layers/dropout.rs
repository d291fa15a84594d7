use super::{Coupling, LayerKind, single};
use crate::tensor::{Shape, ShapeError};
use serde::{Deserialize, Serialize};

/// In training, zeroes each value with probability `p` and scales the rest by `1 / (1 - p)`
/// (Srivastava et al. 2014); the identity otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability of zeroing a value, in `[0, 1)`.
    pub p: f32,
}

impl LayerKind for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        if !(0.0..1.0).contains(&self.p) {
            return Err(ShapeError(format!("has a probability of {}, outside [0, 1)", self.p)));
        }
        single(inputs)
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }
}
