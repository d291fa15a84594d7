use super::{Criterion, ScoreCx};
use pleach_core::graph::NodeId;

/// The average percentage of zeros after the ReLU, over all pixels and images: Hu et al. 2016,
/// "Network Trimming", equation 1. The filters with most zeros go first, so the score is the share
/// of other values. Where no ReLU follows directly (before a residual sum), the values that one
/// would set to zero count.
pub struct Apoz;

impl Criterion for Apoz {
    fn name(&self) -> &'static str {
        "apoz"
    }

    fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32> {
        let shares = &cx.evidence.layer(layer).zero_share;
        shares.iter().map(|share| (1.0 - share) as f32).collect()
    }
}
