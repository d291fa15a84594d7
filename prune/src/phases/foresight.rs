//! What a run does besides fine-tuning, foreseen.

use super::config::{Order, PruneConfig};
use super::global::rounds;
use super::order::tried;
use crate::target::Unit;

/// What judges a run's removals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Judging {
    /// Scorings of all channels, each on the calibration images.
    pub(crate) scorings: f64,
    /// Evaluations, each on the validation images.
    pub(crate) evaluations: f64,
}

impl PruneConfig {
    /// What is expected to judge the removals of a run that gets to its target, `fewer` times fewer of its unit
    /// than it starts with, in a network with `groups` groups of channels that can be removed. `None`: as far as the
    /// drop limit allows, which is guessed.
    pub(crate) fn judging(&self, groups: usize, fewer: Option<f64>) -> Judging {
        if self.epochs_budget == Some(0.0) {
            return Judging { scorings: 1.0, evaluations: 1.0 };
        }
        let [global, layerwise] = self.parts(fewer);
        let unit = self.target.map_or(Unit::Macs, |target| target.unit);
        let global = rounds(global, self.global_step, unit);
        let layerwise = groups as f64 * rounds(layerwise, self.layerwise_step, unit);
        let orderings = match self.layerwise_order {
            Order::Macs => 0.0,
            Order::Sensitivity => (layerwise / tried(groups).max(1) as f64).ceil(),
        };
        Judging {
            scorings: global + layerwise + orderings,
            // Phase I evaluates after surgery too; an ordering the network as it is and without a part of each group.
            evaluations: 2.0 * global + layerwise + orderings * (1 + groups) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::{Phases, Pruner};
    use crate::target::Target;
    use crate::trainer::Silent;
    use pleach_core::Network;
    use pleach_core::models;
    use pleach_core::tensor::Shape;
    use pleach_kernels::{Context, Isa};
    use std::sync::Arc;

    #[test]
    fn as_many_removals_are_foreseen_as_are_made() {
        let cx = Context::new(Isa::from_env().unwrap(), 2);
        let dataset = Arc::from(pleach_datasets::open(None).unwrap());
        let widths = "vgg-small:8,8,12,12,16,16";
        let graph = models::build(widths, Shape::new(3, 32, 32), 10).unwrap();
        let base = Network::init(graph, 1);
        for (phases, fewer, layerwise_order) in
            [(Phases::Both, 3.0, Order::Macs), (Phases::Layerwise, 2.0, Order::Sensitivity)]
        {
            let amount = format!("{fewer}x").parse().unwrap();
            let config = PruneConfig {
                phases,
                layerwise_order,
                target: Some(Target { unit: Unit::Macs, amount }),
                max_drop: 100.0,
                calibration: 20,
                epochs_budget: Some(0.1),
                ..PruneConfig::default()
            };
            let mut pruner =
                Pruner::new(&cx, &dataset, &base, "small", &config, &mut Silent).unwrap();
            while !pruner.is_finished() {
                pruner.step(&mut Silent).unwrap();
            }
            let Judging { scorings, evaluations } = config.judging(6, Some(fewer));
            let orderings = match layerwise_order {
                Order::Macs => 0.0,
                Order::Sensitivity => (evaluations - scorings) / 6.0,
            };
            let removals = pruner.state.steps.len() as f64;
            let foreseen = scorings - orderings;
            assert!(
                (0.6..=1.6).contains(&(foreseen / removals)),
                "{phases:?} {layerwise_order:?}: {foreseen} instead of {removals}"
            );
        }
    }
}
