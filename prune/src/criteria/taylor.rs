use super::{Criterion, ScoreCx};
use crate::evidence::Wants;
use pleach_core::graph::NodeId;

/// First-order Taylor importance of a filter's parameters: Molchanov et al. 2019, "Importance
/// Estimation for Neural Network Pruning". Of its two forms for a set of parameters we take the sum
/// of the single importances, `sum_s (g_s w_s)^2` (the other squares the sum), over the filter's
/// weights and bias, with `g` the gradient of a batch's mean loss, averaged over the calibration
/// batches. Gradients are taken with frozen statistics, so the size of the batches matters as in
/// the paper: larger ones measure the mean gradient, smaller ones its spread too.
pub struct Taylor;

impl Criterion for Taylor {
    fn name(&self) -> &'static str {
        "taylor"
    }

    fn wants(&self) -> Wants {
        Wants { gradients: true, ..Wants::default() }
    }

    fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32> {
        let importance = cx.evidence.layer(layer).taylor.as_ref();
        let importance = importance.expect("the evidence was collected with gradients");
        importance.iter().map(|&score| score as f32).collect()
    }
}
