use super::{Criterion, CriterionError, ScoreCx};
use crate::channels::batch_norm_after;
use pleach_core::graph::{Graph, NodeId};

/// The magnitude of the scale `|gamma|` of the batch norm right after a filter: Liu et al. 2017,
/// "Learning Efficient Convolutional Networks through Network Slimming", section 3 (without its
/// sparsity penalty in training).
pub struct BatchNormScale;

impl Criterion for BatchNormScale {
    fn name(&self) -> &'static str {
        "bn_scale"
    }

    fn check(&self, graph: &Graph, layers: &[NodeId]) -> Result<(), CriterionError> {
        let lacking = layers.iter().filter(|&&layer| batch_norm_after(graph, layer).is_none());
        let lacking: Vec<String> = lacking.map(|&id| graph.node(id).name.clone()).collect();
        if lacking.is_empty() { Ok(()) } else { Err(CriterionError::NoBatchNorm(lacking)) }
    }

    fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32> {
        let norm = batch_norm_after(cx.network.graph(), layer);
        let scale = norm.and_then(|norm| cx.network.param(norm, "weight"));
        let scale = scale.expect("`check` accepts layers with batch norm only");
        scale.value.iter().map(|gamma| gamma.abs()).collect()
    }
}
