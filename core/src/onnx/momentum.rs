//! The momentum of batch norms: ONNX keeps the share of the old statistics, this crate that of the newest
//! batch.

use crate::graph::Graph;
use crate::layers::Layer;
use std::collections::BTreeMap;

/// Metadata of a model: the momentum of the layer that the rest of the key names, where
/// [`from_onnx`] would not give it back.
const KEY: &str = "pleach.momentum.";

/// The attribute's value.
pub(super) fn to_onnx(momentum: f32) -> f32 {
    complement(momentum)
}

/// The layer's momentum.
pub(super) fn from_onnx(momentum: f32) -> f32 {
    complement(momentum)
}

/// `1 - share`, of the shortest decimal that `share` is the nearest single of: 0.9 and 0.1 are each other's.
fn complement(share: f32) -> f32 {
    let decimal: f64 = share.to_string().parse().expect("a number's digits are a number");
    (1.0 - decimal) as f32
}

/// What the attributes do not say.
pub(super) fn metadata(graph: &Graph) -> BTreeMap<String, String> {
    let exact = |momentum: f32| from_onnx(to_onnx(momentum)).to_bits() == momentum.to_bits();
    let rest = graph.nodes().iter().filter_map(|node| match &node.layer {
        Layer::BatchNorm2d(layer) if !exact(layer.momentum) => {
            Some((format!("{KEY}{}", node.name), layer.momentum.to_string()))
        }
        _ => None,
    });
    rest.collect()
}

/// The momentum of the layer called `name`, whose attribute is `momentum`.
pub(super) fn read(metadata: &BTreeMap<String, String>, name: &str, momentum: f32) -> f32 {
    let stated = metadata.get(&format!("{KEY}{name}")).and_then(|text| text.parse().ok());
    // What contradicts the attribute is left over from another network.
    let stated = stated.filter(|&stated| to_onnx(stated) == momentum);
    stated.unwrap_or_else(|| from_onnx(momentum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_momenta_survive_both_ways() {
        for momentum in [0.0, 0.001, 0.003, 0.01, 0.05, 0.1, 0.25, 0.3, 0.9, 0.99, 0.997, 1.0f32] {
            assert_eq!(from_onnx(to_onnx(momentum)), momentum);
        }
        assert_eq!((to_onnx(0.1), from_onnx(0.9)), (0.9, 0.1));
    }
}
