use super::{Criterion, ScoreCx};
use pleach_core::graph::NodeId;

/// Entropy `H(A)` of a filter's response: Luo and Wu 2017, "An Entropy-based Method for CNN
/// Compression", section 3.2, with the bins of conditional entropy's settings.
pub struct ActivationEntropy;

impl Criterion for ActivationEntropy {
    fn name(&self) -> &'static str {
        "entropy"
    }

    fn in_nats(&self) -> bool {
        true
    }

    fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32> {
        let scores = cx.con_ent.entropy_of_layer(cx.evidence.layer(layer));
        scores.into_iter().map(|score| score as f32).collect()
    }
}
