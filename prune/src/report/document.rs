use crate::phases::{Facts, Outcome, PairedDrop, PruneConfig, StepRecord};
use pleach_core::infer::Plan;
use pleach_core::models;
use pleach_core::network::Network;
use pleach_kernels::Context;
use serde::{Deserialize, Serialize};

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
    /// Accuracy (a fraction) on a sample of the training images, as they are.
    pub train_accuracy: f64,
    /// The drop of test accuracy.
    pub drop: PairedDrop,
    /// Points lost against the reference, on its split, by which the run decided.
    pub drop_points: f64,
    /// The reference: `validation` or `test`.
    pub reference: String,
    /// Whether the target was met within the drop limit.
    pub target_met: bool,
    /// Epochs of fine-tuning since the base network.
    pub epochs: f64,
    /// Every removal, those that were undone too.
    pub steps: Vec<StepRecord>,
    /// The layers that took removed channels for which nothing stands in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_bias_update: Vec<String>,
    /// Seconds.
    pub seconds: f64,
}

impl RunReport {
    pub(crate) fn new(
        cx: &Context,
        name: &str,
        config: &PruneConfig,
        outcome: &Outcome,
        train_accuracy: f64,
    ) -> Self {
        Self {
            name: name.into(),
            config: config.clone(),
            base: outcome.base.clone(),
            pruned: outcome.pruned.clone(),
            widths: models::widths(outcome.network.graph()),
            activation_bytes: activation_bytes(cx, &outcome.network),
            train_accuracy,
            drop: outcome.test_drop,
            drop_points: outcome.drop_points,
            reference: outcome.reference.into(),
            target_met: outcome.target_met,
            epochs: outcome.epochs,
            steps: outcome.steps.clone(),
            without_bias_update: outcome.without_bias_update.clone(),
            seconds: outcome.seconds,
        }
    }
}

/// Bytes that the activations of one image take in inference.
pub(crate) fn activation_bytes(cx: &Context, network: &Network) -> usize {
    Plan::new(cx, network, 1).arena_bytes()
}
