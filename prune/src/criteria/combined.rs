use super::{Criterion, CriterionError, ScoreCx};
use crate::evidence::Wants;
use pleach_core::graph::{Graph, NodeId};

/// Two criteria at once: the geometric mean of both scores, each over its layer's mean, so that neither
/// unit counts. A filter that is worthless to either is worthless. Ours; for criteria whose scores are
/// never negative.
pub struct Combined {
    pub(super) name: &'static str,
    pub(super) parts: [&'static dyn Criterion; 2],
}

impl Criterion for Combined {
    fn name(&self) -> &'static str {
        self.name
    }

    fn wants(&self) -> Wants {
        self.parts[0].wants().or(self.parts[1].wants())
    }

    fn check(&self, graph: &Graph, layers: &[NodeId]) -> Result<(), CriterionError> {
        self.parts.iter().try_for_each(|part| part.check(graph, layers))
    }

    fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32> {
        let [first, second] = self.parts.map(|part| over_mean(&part.score(cx, layer)));
        first.iter().zip(second).map(|(a, b)| (a * b).sqrt() as f32).collect()
    }
}

/// The scores over their mean, or as they are if that is 0.
fn over_mean(scores: &[f32]) -> Vec<f64> {
    let mean = scores.iter().map(|&score| f64::from(score)).sum::<f64>() / scores.len() as f64;
    let scale = if mean > 0.0 { 1.0 / mean } else { 1.0 };
    scores.iter().map(|&score| f64::from(score) * scale).collect()
}
