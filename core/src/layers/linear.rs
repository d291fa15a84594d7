use super::{AxisRole, Coupling, LayerKind, ParamSpec, single};
use crate::tensor::{Init, Shape, ShapeError};
use serde::{Deserialize, Serialize};

/// Fully connected layer on flat features. Weights are `[OUT, IN]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Output features.
    pub out_features: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl LayerKind for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let input = single(inputs)?;
        if input.area() != 1 {
            return Err(ShapeError(format!("takes flat features, not maps of {input}")));
        }
        if self.out_features == 0 {
            return Err(ShapeError("has no output features".into()));
        }
        Ok(Shape::flat(self.out_features))
    }

    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let fan_in = inputs[0].channels;
        let init = Init::Uniform { fan_in };
        let mut params = vec![ParamSpec::weight(
            vec![self.out_features, fan_in],
            vec![AxisRole::OutChannels, AxisRole::InChannels],
            init,
        )];
        if self.bias {
            params.push(ParamSpec::per_channel("bias", self.out_features, init));
        }
        params
    }

    fn coupling(&self) -> Coupling {
        Coupling::Produces
    }

    fn macs(&self, inputs: &[Shape]) -> u64 {
        self.out_features as u64 * inputs[0].channels as u64
    }
}
