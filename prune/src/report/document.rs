use crate::compare::Curve;
use crate::latency::Measurement;
use crate::phases::{Facts, Outcome, PairedDrop, PruneConfig, StepRecord};
use crate::reproduce::ReproduceConfig;
use pleach_core::infer::Plan;
use pleach_core::models;
use pleach_core::network::Network;
use pleach_kernels::Context;
use serde::{Deserialize, Serialize};

/// The schema of [`Report`].
pub const SCHEMA: &str = "pleach.reproduce/1";

/// All that `reproduce` found, from which its tables are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The model.
    pub model: String,
    /// The data set.
    pub dataset: String,
    /// What was asked for.
    pub config: ReproduceConfig,
    /// The network that all runs start from.
    pub base: BaseReport,
    /// The pruning runs, in the order of the configuration.
    pub runs: Vec<RunReport>,
    /// Criteria and bias updates side by side.
    pub curves: Vec<Curve>,
    /// The speed of the base and of each run's network, which has the run's name.
    pub latency: Measurement,
    /// Seconds, all together.
    pub seconds: f64,
}

/// A base network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseReport {
    /// What it is called.
    pub name: String,
    /// What it is, in numbers; none before the first pruning run.
    pub facts: Option<Facts>,
    /// Bytes of its activations, for one image.
    pub activation_bytes: usize,
    /// How it was trained, unless it was given.
    pub training: Option<TrainingReport>,
}

/// The training of a base network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingReport {
    /// Epochs.
    pub epochs: u64,
    /// The epoch that was kept, from 1.
    pub best_epoch: u64,
    /// Its validation accuracy, a fraction.
    pub best_accuracy: f64,
    /// Seconds of its epochs, without evaluation.
    pub seconds: f64,
}

/// A pruning run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunReport {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub config: PruneConfig,
    /// The base, in numbers.
    pub base: Facts,
    /// Its network, in numbers.
    pub pruned: Facts,
    /// The network's widths.
    pub widths: Vec<usize>,
    /// Bytes of the network's activations, for one image.
    pub activation_bytes: usize,
    /// The drop of test accuracy.
    pub drop: PairedDrop,
    /// Points lost against the reference, on its split, by which the run decided.
    pub drop_points: f64,
    /// The reference: `validation` or `test`.
    pub reference: String,
    /// Whether the target was met within the drop limit.
    pub target_met: bool,
    /// Epochs of fine-tuning.
    pub epochs: f64,
    /// Every removal, those that were undone too.
    pub steps: Vec<StepRecord>,
    /// Seconds.
    pub seconds: f64,
}

impl RunReport {
    pub(crate) fn new(
        cx: &Context,
        name: &str,
        config: &PruneConfig,
        outcome: &Outcome,
        seconds: f64,
    ) -> Self {
        Self {
            name: name.into(),
            config: config.clone(),
            base: outcome.base.clone(),
            pruned: outcome.pruned.clone(),
            widths: models::widths(outcome.network.graph()),
            activation_bytes: activation_bytes(cx, &outcome.network),
            drop: outcome.test_drop,
            drop_points: outcome.drop_points,
            reference: outcome.reference.into(),
            target_met: outcome.target_met,
            epochs: outcome.epochs,
            steps: outcome.steps.clone(),
            seconds,
        }
    }
}

/// Bytes that the activations of one image take in inference.
pub(crate) fn activation_bytes(cx: &Context, network: &Network) -> usize {
    Plan::new(cx, network, 1).arena_bytes()
}
