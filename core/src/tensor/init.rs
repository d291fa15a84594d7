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

#[cfg(test)]
mod tests {
    use crate::tensor::Shape;
    use crate::{Network, models};

    /// With `stream`, `uniform` and `normal` of the test of random streams (`rng.rs`):
    ///
    /// ```python
    /// data, index, ic = b"", 0, 3
    /// for oc in [2, 3, 4, 5, 6, 7]:
    ///     s, std = stream(42, 1, index, 0), math.sqrt(2 / (9 * oc))
    ///     data += b"".join(struct.pack("<f", normal(s) * std) for _ in range(9 * oc * ic))
    ///     for value in [1, 0, 0, 1]:
    ///         data += struct.pack("<f", value) * oc
    ///     index, ic = index + 5, oc
    /// for size in [280, 10]:
    ///     s = stream(42, 1, index, 0)
    ///     data += b"".join(struct.pack("<f", (2 * uniform(s) - 1) / math.sqrt(28)) for _ in range(size))
    ///     index += 1
    /// hash = 0xcbf29ce484222325
    /// for byte in data: hash = (hash ^ byte) * 0x100000001b3 % 2**64
    /// print(hex(hash))
    /// ```
    #[test]
    fn a_seed_gives_the_same_network_always() {
        let graph = models::build("vgg-small:2,3,4,5,6,7", Shape::new(3, 32, 32), 10);
        let net = Network::init(graph.expect("a model"), 42);
        let values = net.params().iter().flat_map(|param| &param.value);
        // FNV-1a.
        let hash = values
            .flat_map(|value| value.to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        assert_eq!(hash, 0xf69d_682e_5723_33e8);
    }
}
