use super::{Coupling, LayerKind, ParamSpec, single};
use crate::tensor::{Init, Shape, ShapeError};
use serde::{Deserialize, Serialize};

/// Batch normalisation (Ioffe and Szegedy 2015) over `[N, H, W]`, with an affine map and running
/// statistics, as PyTorch's: the running variance is the unbiased one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm2d {
    /// Added to the variance.
    pub eps: f32,
    /// Share of the newest batch in the running statistics.
    pub momentum: f32,
}

impl Default for BatchNorm2d {
    /// PyTorch's defaults: `eps` 1e-5, `momentum` 0.1.
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1 }
    }
}

impl LayerKind for BatchNorm2d {
    fn name(&self) -> &'static str {
        "batch_norm2d"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        single(inputs)
    }

    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let channels = inputs[0].channels;
        vec![
            ParamSpec::per_channel("weight", channels, Init::Ones),
            ParamSpec::per_channel("bias", channels, Init::Zeros),
            ParamSpec::statistic("running_mean", channels, Init::Zeros),
            ParamSpec::statistic("running_var", channels, Init::Ones),
        ]
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }
}
