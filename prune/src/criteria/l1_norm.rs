use super::{Criterion, ScoreCx, filters};
use pleach_core::graph::NodeId;

/// The sum of a filter's absolute weights, without bias: Li et al. 2017, "Pruning Filters for
/// Efficient ConvNets", section 3.1. Breaks the ties of every other criterion.
pub struct L1Norm;

impl Criterion for L1Norm {
    fn name(&self) -> &'static str {
        "l1"
    }

    fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32> {
        let norm = |filter: &[f32]| filter.iter().map(|w| f64::from(w.abs())).sum::<f64>() as f32;
        filters(cx.network, layer).map(norm).collect()
    }
}
