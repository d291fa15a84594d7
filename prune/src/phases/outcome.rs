//! What a finished run made.

use super::pruner::Pruner;
use super::record::{Counted, Facts, Outcome, PairedDrop};
use crate::eval::evaluate;
use crate::freeze;
use pleach_core::graph::Graph;
use pleach_datasets::Split;

impl Pruner<'_> {
    /// What the run made. Reads the test images once.
    ///
    /// # Panics
    /// If the run is not finished.
    #[must_use]
    pub fn outcome(mut self) -> Outcome {
        assert!(self.is_finished(), "an outcome is that of a finished run");
        // Where nothing was tuned in the end, it has those of its last removal.
        freeze::clear(&mut self.network);
        let target = self.config.target.map(|target| Counted {
            unit: target.unit,
            base: self.meter(target).count(self.base.graph()),
            limit: self.limit(target),
            left: self.count(target),
        });
        let reached = target.is_none_or(|target| target.left <= target.limit);
        let base: &Graph = self.base.graph();
        let test = evaluate(self.cx, &self.network, &self.dataset, Split::Test, None);
        // Against a test accuracy only a test accuracy is a fair drop: steps are judged by validation
        // images, but a base that has seen those leaves something of them in the network.
        let drop_points = self.drop_of(match self.reference.0 {
            "test" => test.accuracy,
            _ => self.state.accuracy,
        });
        let state = self.state;
        let names = base.nodes().iter().map(|node| &node.name);
        let without_bias_update = names.filter(|name| state.without_bias_update.contains(*name));
        Outcome {
            base: Facts::new(base, &state.test, state.validation.accuracy),
            pruned: Facts::new(self.network.graph(), &test, state.accuracy),
            test_drop: PairedDrop::new(&state.test.correct, &test.correct),
            reference: self.reference.0,
            reference_accuracy: self.reference.1,
            drop_points,
            target,
            times: state.times,
            target_met: reached && drop_points <= self.config.max_drop,
            epochs: state.epochs,
            without_bias_update: without_bias_update.cloned().collect(),
            seconds: state.seconds,
            steps: state.steps,
            plan: state.plan,
            network: self.network,
        }
    }
}
