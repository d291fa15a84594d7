//! What is measured on the calibration images, in one pass.

use pleach_core::graph::NodeId;
use std::collections::BTreeMap;

/// What to measure beyond losses and the layers' responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Mean maps at the inputs of consumers, for the bias update `mean`.
    pub means: bool,
    /// Responses at the inputs of consumers, for the bias update `max_entropy`.
    pub input_responses: bool,
    /// Gradients, for Taylor importance: a backward pass a batch.
    pub gradients: bool,
}

impl Wants {
    /// What either wants.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            means: self.means || other.means,
            input_responses: self.input_responses || other.input_responses,
            gradients: self.gradients || other.gradients,
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The label of every image.
    pub labels: Vec<u32>,
    /// The cross-entropy of every image (without label smoothing) in the network as it is.
    pub losses: Vec<f64>,
    /// Images that the network classifies correctly.
    pub correct: usize,
    /// For each layer with channels that can be removed.
    pub layers: BTreeMap<NodeId, LayerEvidence>,
    /// For each node with such channels whose output layers take that make channels of their own;
    /// empty unless wanted.
    pub inputs: BTreeMap<NodeId, InputEvidence>,
}

/// What was measured of one layer's filters, at its answer (see
/// [`answer_of`](crate::channels::answer_of)).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerEvidence {
    /// Its filters.
    pub channels: usize,
    /// The mean of each filter's map for each image, `[channels, images]`.
    pub responses: Vec<f32>,
    /// The share of each filter's values, over pixels and images, that are not positive: after a
    /// ReLU, zeros.
    pub zero_share: Vec<f64>,
    /// Each filter's Taylor importance (see the criterion), if gradients were wanted.
    pub taylor: Option<Vec<f64>>,
}

/// What was measured where layers take their input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputEvidence {
    /// The mean map over all images, `[channels, height, width]`.
    pub mean: Vec<f64>,
    /// The mean of each channel's map for each image, `[channels, images]`; empty unless wanted.
    pub responses: Vec<f32>,
}

impl Evidence {
    /// What was measured of a layer.
    ///
    /// # Panics
    /// If the layer has no channels that can be removed.
    #[must_use]
    pub fn layer(&self, id: NodeId) -> &LayerEvidence {
        self.layers.get(&id).expect("evidence is collected of every layer that can be pruned")
    }
}

impl LayerEvidence {
    /// The responses of one filter, an image each.
    #[must_use]
    pub fn responses(&self, channel: usize) -> &[f32] {
        let images = self.responses.len() / self.channels;
        &self.responses[channel * images..(channel + 1) * images]
    }
}
