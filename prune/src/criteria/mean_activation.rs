use super::{Criterion, ScoreCx};
use pleach_core::graph::NodeId;

/// The mean of a filter's answer over all pixels and images: Molchanov et al. 2017, "Pruning
/// Convolutional Neural Networks for Resource Efficient Inference", section 2.2 ("Activation").
pub struct MeanActivation;

impl Criterion for MeanActivation {
    fn name(&self) -> &'static str {
        "mean_activation"
    }

    fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32> {
        let layer = cx.evidence.layer(layer);
        let mean = |channel| {
            let responses = layer.responses(channel);
            let sum: f64 = responses.iter().copied().map(f64::from).sum();
            (sum / responses.len() as f64) as f32
        };
        (0..layer.channels).map(mean).collect()
    }
}
