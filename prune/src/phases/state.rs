//! Where a pruning run stands, as a value.

use super::budget::Purse;
use super::config::{Phases, PruneConfig};
use super::record::StepRecord;
use crate::channels::Channels;
use crate::eval::Evaluation;
use crate::latency::{LayerTimes, LayerTimesError};
use crate::plan::{self, Plan, PlanError, PlanStep};
use crate::surgery;
use crate::target::{Target, Unit};
use pleach_core::graph::Graph;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where a run stands between two steps. With the configuration, the base network, the data and the
/// networks that it numbers, it is all that the rest of the run depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The base network on the validation images.
    pub(super) validation: Evaluation,
    /// The base network on the test images.
    pub(super) test: Evaluation,
    pub(super) stage: Stage,
    /// What is being fine-tuned.
    pub(super) trial: Option<Trial>,
    /// The number of the network that stands.
    pub(super) network: u64,
    /// Its validation accuracy.
    pub(super) accuracy: f64,
    /// What the network that the run began with has of the target's unit, as a part of what the base has.
    #[serde(default = "all")]
    pub(super) start: f64,
    pub(super) purse: Purse,
    pub(super) plan: Plan,
    pub(super) steps: Vec<StepRecord>,
    /// Epochs of fine-tuning since the base network, without those of the trial.
    pub(super) epochs: f64,
    pub(super) without_bias_update: BTreeSet<String>,
    /// The free channels that the network that stands got back for the final fine-tuning, by layer, as original
    /// channel numbers. Its accuracy is that without them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) given_back: BTreeMap<String, Vec<usize>>,
    pub(super) scorings: u64,
    pub(super) tunings: u64,
    /// Seconds of all steps.
    pub(super) seconds: f64,
    /// What a latency target is counted by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) times: Option<LayerTimes>,
}

fn all() -> f64 {
    1.0
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Pruning without fine-tuning.
    Once,
    /// Removing what a plan says.
    Replay,
    /// A round of phase I.
    Global,
    /// A trial of phase II.
    Layerwise(Sweep),
    /// The final fine-tuning.
    Final,
    /// Nothing.
    Done,
}

/// A sweep of phase II over the groups of channels, each named by its layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sweep {
    /// The groups whose turn is yet to come, next first.
    pub(super) queue: VecDeque<Vec<String>>,
    /// The groups that are left alone from now on.
    pub(super) done: BTreeSet<Vec<String>>,
    /// Whether the sweep has tried any.
    pub(super) tried: bool,
}

/// A candidate that is fine-tuned and then judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// What was removed to make it; nothing for the final fine-tuning.
    pub(super) removal: Option<Removed>,
    /// Epochs that it is fine-tuned for.
    pub(super) epochs: f64,
    /// Those that are done, the last partial one included.
    pub(super) done: u64,
    /// Images that it was trained on over the training images.
    pub(super) used: f64,
    /// Seconds so far.
    pub(super) seconds: f64,
}

/// What was removed to make a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Removed {
    /// The layers of the group at hand, in phase II.
    pub(super) layers: Vec<String>,
    /// Channels; coupled ones count once.
    pub(super) channels: usize,
    /// The most that may be lost, in points.
    pub(super) limit: f64,
    /// The layers that take removed channels for which nothing stands in.
    #[serde(default)]
    pub(super) without_bias_update: Vec<String>,
    /// The plan's step, but for what the judgement adds.
    pub(super) step: PlanStep,
}

/// Why a run cannot go on from a state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Its plan does not fit the base network.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// It lacks the table of layer times that its target is counted by.
    #[error("there is a latency target, but no table of layer times")]
    NoTimes,
    /// Its table of layer times is not one of the base network.
    #[error(transparent)]
    Times(#[from] LayerTimesError),
    /// A network is missing, too many, or of another shape.
    #[error("the {network} network is {found}, expected {expected}")]
    Network {
        /// Which one.
        network: &'static str,
        /// What is given.
        found: String,
        /// What the state has.
        expected: String,
    },
}

impl State {
    /// The state before the first step.
    pub(super) fn new(
        config: &PruneConfig,
        plan: Plan,
        validation: Evaluation,
        test: Evaluation,
    ) -> Self {
        let stage = match (config.epochs_budget, config.phases) {
            _ if config.replay.is_some() => Stage::Replay,
            (Some(0.0), _) => Stage::Once,
            (_, Phases::Layerwise) => Stage::Layerwise(Sweep::default()),
            (_, Phases::Both | Phases::Global) => Stage::Global,
        };
        Self {
            accuracy: validation.accuracy,
            start: all(),
            validation,
            test,
            stage,
            trial: None,
            network: 0,
            purse: Purse::new(config),
            plan,
            steps: Vec::new(),
            epochs: 0.0,
            without_bias_update: BTreeSet::new(),
            given_back: BTreeMap::new(),
            scorings: 0,
            tunings: 0,
            seconds: 0.0,
            times: None,
        }
    }

    /// The number of the network that stands: 0 is the base, and each that takes another's place is the
    /// next.
    #[must_use]
    pub fn network(&self) -> u64 {
        self.network
    }

    /// The number of the fine-tuning that is under way, and the epochs of it that are done.
    #[must_use]
    pub fn candidate(&self) -> Option<(u64, u64)> {
        self.trial.as_ref().map(|trial| (self.tunings, trial.done))
    }

    /// The record of what was removed.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What a latency target is counted by.
    #[must_use]
    pub fn times(&self) -> Option<&LayerTimes> {
        self.times.as_ref()
    }

    /// Removals so far, those that were undone too.
    #[must_use]
    pub fn steps(&self) -> &[StepRecord] {
        &self.steps
    }

    /// What comes next: `once`, `replay`, `global`, `layerwise`, `final` or `done`.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match self.stage {
            Stage::Once => "once",
            Stage::Replay => "replay",
            Stage::Global => "global",
            Stage::Layerwise(_) => "layerwise",
            Stage::Final => "final",
            Stage::Done => "done",
        }
    }

    /// Checks that the networks have the shapes that the state says they have.
    pub(super) fn check(
        &self,
        config: &PruneConfig,
        base: &Graph,
        standing: &Graph,
        candidate: Option<&Graph>,
    ) -> Result<(), StateError> {
        match (&self.times, config.target) {
            (Some(times), _) => times.check(base)?,
            (None, Some(Target { unit: Unit::Latency, .. })) => return Err(StateError::NoTimes),
            (None, _) => {}
        }
        let channels = Channels::of(base);
        let fits = |network, plan: &Plan, graph: &Graph| {
            let kept = plan::kept(base, &channels, plan)?;
            if surgery::shrink(base, &channels, &kept) == *graph {
                return Ok(());
            }
            let (found, expected) = ("another one".into(), "that of the run's plan".into());
            Err(StateError::Network { network, found, expected })
        };
        fits("standing", &self.plan, standing)?;
        match (&self.trial, candidate) {
            (None, None) => Ok(()),
            (Some(trial), Some(graph)) => {
                let mut plan = self.plan.clone();
                if let Some(removed) = &trial.removal {
                    take(&mut plan.kept, &removed.step.removed);
                }
                fits("candidate", &plan, graph)
            }
            (trial, candidate) => {
                let said = |there: bool| if there { "there" } else { "not there" }.to_owned();
                let (found, expected) = (said(candidate.is_some()), said(trial.is_some()));
                Err(StateError::Network { network: "candidate", found, expected })
            }
        }
    }
}

/// Takes the channels `removed` from the lists of those that layers keep.
pub(super) fn take(
    kept: &mut BTreeMap<String, Vec<usize>>,
    removed: &BTreeMap<String, Vec<usize>>,
) {
    for (layer, removed) in removed {
        if let Some(kept) = kept.get_mut(layer) {
            kept.retain(|index| !removed.contains(index));
        }
    }
}

impl Sweep {
    /// The group whose turn it is has been tried.
    pub(super) fn conclude(&mut self, accepted: bool) {
        self.tried = true;
        if let Some(group) = self.queue.pop_front()
            && !accepted
        {
            self.done.insert(group);
        }
    }
}

impl Default for Sweep {
    /// The end of a sweep before the first.
    fn default() -> Self {
        Self { queue: VecDeque::new(), done: BTreeSet::new(), tried: true }
    }
}
