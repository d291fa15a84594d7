use super::config::{Phases, PruneConfig};
use serde::{Deserialize, Serialize};

/// Share of an epoch budget that is kept for the final fine-tuning.
pub(crate) const FINAL_SHARE: f64 = 0.4;

/// Less than this many epochs is nothing: a thousandth is 45 images of CIFAR-10.
const NOTHING: f64 = 1e-3;

/// How many times fewer multiply-adds a drop limit is expected to allow, where it alone says how far to go.
pub(crate) const WITHIN_LIMIT: f64 = 4.0;

/// How many steps a phase still expects to take.
#[derive(Clone, Copy)]
pub(super) enum Steps {
    /// To a target.
    ToTarget(f64),
    /// As far as the drop limit allows, which nobody knows: a guess, after which there is still some of the budget.
    WithinLimit(f64),
}

/// The epochs that each part of a run may still spend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Purse {
    /// No budget: each step has its configured epochs.
    Unlimited { global: f64, layerwise: f64, last: f64 },
    /// A budget, and the most epochs of a step of either phase where there is no target.
    Limited { global: f64, layerwise: f64, last: f64, steps: [f64; 2] },
}

impl Purse {
    pub(super) fn new(config: &PruneConfig) -> Self {
        let (global, layerwise) = (config.global_epochs, config.layerwise_epochs);
        let Some(budget) = config.epochs_budget else {
            return Self::Unlimited { global, layerwise, last: config.final_epochs };
        };
        let rounds = budget * (1.0 - FINAL_SHARE);
        let share = match config.phases {
            Phases::Both => 0.5,
            Phases::Global => 1.0,
            Phases::Layerwise => 0.0,
        };
        Self::Limited {
            global: rounds * share,
            layerwise: rounds * (1.0 - share),
            last: budget * FINAL_SHARE,
            steps: [global, layerwise],
        }
    }

    /// Epochs for the next round of phase I, when so many are still expected: none of them, where they are spent and
    /// there is a target to get to. `None`: they are spent, and there is none.
    pub(super) fn global(&self, rounds: Steps) -> Option<f64> {
        match *self {
            Self::Unlimited { global, .. } => Some(global),
            Self::Limited { global, steps, .. } => portion(global, rounds, steps[0]),
        }
    }

    /// The same for the next trial of phase II.
    pub(super) fn layerwise(&self, trials: Steps) -> Option<f64> {
        match *self {
            Self::Unlimited { layerwise, .. } => Some(layerwise),
            Self::Limited { layerwise, steps, .. } => portion(layerwise, trials, steps[1]),
        }
    }

    pub(super) fn spend_global(&mut self, epochs: f64) {
        if let Self::Limited { global, .. } = self {
            *global -= epochs;
        }
    }

    pub(super) fn spend_layerwise(&mut self, epochs: f64) {
        if let Self::Limited { layerwise, .. } = self {
            *layerwise -= epochs;
        }
    }

    /// What phase I left goes to phase II, if that runs.
    pub(super) fn hand_on(&mut self, phases: Phases) {
        if let (Self::Limited { global, layerwise, .. }, Phases::Both) = (self, phases) {
            *layerwise += global.max(0.0);
            *global = 0.0;
        }
    }

    /// Epochs for the final fine-tuning: its own and all that is left.
    pub(super) fn last(&self) -> f64 {
        match *self {
            Self::Unlimited { last, .. } => last,
            Self::Limited { global, layerwise, last, .. } => (last + global + layerwise).max(0.0),
        }
    }
}

fn portion(left: f64, steps: Steps, configured: f64) -> Option<f64> {
    let left = if left > NOTHING { left } else { 0.0 };
    match steps {
        Steps::ToTarget(steps) => Some(left / steps),
        Steps::WithinLimit(_) if left == 0.0 => None,
        Steps::WithinLimit(steps) => Some(configured.min(left / steps)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_budget_is_spent_and_no_more() {
        for phases in [Phases::Both, Phases::Global, Phases::Layerwise] {
            let config =
                PruneConfig { phases, epochs_budget: Some(10.0), ..PruneConfig::default() };
            let mut purse = Purse::new(&config);
            let mut spent = 0.0;
            for rounds in [3.0, 2.0, 1.0, 1.0, 1.0] {
                let epochs = purse.global(Steps::ToTarget(rounds)).unwrap_or(0.0);
                purse.spend_global(epochs);
                spent += epochs;
            }
            purse.hand_on(phases);
            for _ in 0..4 {
                let epochs = purse.layerwise(Steps::WithinLimit(2.0)).unwrap_or(0.0);
                assert!(epochs <= config.layerwise_epochs);
                purse.spend_layerwise(epochs);
                spent += epochs;
            }
            assert!((spent + purse.last() - 10.0).abs() < 1e-9, "{phases:?}: {spent}");
        }
    }
    #[test]
    fn without_a_target_a_small_budget_is_spread_and_a_large_one_has_steps_as_configured() {
        let phases = Phases::Global;
        let budget = |epochs| PruneConfig {
            phases,
            epochs_budget: Some(epochs),
            global_epochs: 2.0,
            ..PruneConfig::default()
        };
        let mut purse = Purse::new(&budget(1.0));
        for _ in 0..20 {
            let epochs = purse.global(Steps::WithinLimit(7.0)).expect("some is left of it");
            assert!((0.0..0.1).contains(&epochs), "{epochs}");
            purse.spend_global(epochs);
        }
        assert!(purse.last() > 0.4);
        let large = Purse::new(&budget(100.0));
        assert_eq!(large.global(Steps::WithinLimit(7.0)), Some(2.0));
    }
}
