//! Initial values of parameters.

use super::rng::{Purpose, Rng};
use serde::{Deserialize, Serialize};

/// How a parameter gets its first values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Init {
    /// All zeros.
    Zeros,
    /// All ones.
    Ones,
    /// Normal with standard deviation `sqrt(2 / fan)`: He et al. 2015, equation 10. Convolutions
    /// use fan-out (`OC * KH * KW`), as the published ResNet and VGG training codes do.
    KaimingNormal {
        /// Connections that share one value's scale.
        fan: usize,
    },
    /// Uniform in `±1 / sqrt(fan_in)`, PyTorch's default for linear layers.
    Uniform {
        /// Inputs of one output.
        fan_in: usize,
    },
}

impl Init {
    /// Fills `values`; `index` tells the parameters of one network apart.
    pub fn fill(self, seed: u64, index: usize, values: &mut [f32]) {
        let mut rng = Rng::new(seed, Purpose::Init, index as u64, 0);
        match self {
            Self::Zeros => values.fill(0.0),
            Self::Ones => values.fill(1.0),
            Self::KaimingNormal { fan } => {
                let std = libm::sqrt(2.0 / fan as f64);
                values.fill_with(|| (rng.normal() * std) as f32);
            }
            Self::Uniform { fan_in } => {
                let bound = 1.0 / libm::sqrt(fan_in as f64);
                values.fill_with(|| ((2.0 * rng.uniform() - 1.0) * bound) as f32);
            }
        }
    }
}
