use super::{Criterion, ScoreCx};
use pleach_core::graph::NodeId;
use pleach_core::tensor::rng::{Purpose, Rng};

/// Uniform numbers, a pure function of seed, step, layer and index.
pub struct Random;

impl Criterion for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32> {
        let mut rng = Rng::new(cx.seed, Purpose::Criterion, cx.step, layer.0 as u64);
        let filters = cx.network.graph().node(layer).shape.channels;
        (0..filters).map(|_| rng.uniform() as f32).collect()
    }
}
