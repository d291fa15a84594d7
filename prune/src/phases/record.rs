use crate::eval::Evaluation;
use crate::latency::LayerTimes;
use crate::plan::Plan;
use crate::target::Unit;
use crate::trainer::{EpochReport, Observer};
use pleach_core::graph::Graph;
use pleach_core::network::Network;
use serde::{Deserialize, Serialize};

/// One removal and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// `global`, `layerwise`, `once` or `replay`.
    pub phase: String,
    /// The layers of the group at hand, in phase II.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// Channels removed; coupled ones count once.
    pub removed: usize,
    /// Multiply-adds per image afterwards.
    pub macs: u64,
    /// Trainable parameters afterwards.
    pub params: u64,
    /// Validation accuracy (a fraction) right after surgery, where it was measured.
    pub accuracy_after_surgery: Option<f64>,
    /// Validation accuracy (a fraction) after fine-tuning.
    pub accuracy: f64,
    /// Points lost against the reference.
    pub drop_points: f64,
    /// Epochs of fine-tuning.
    pub epochs: f64,
    /// Seconds, all included.
    pub seconds: f64,
    /// Whether the step stands.
    pub accepted: bool,
}

/// What a network is, in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Test accuracy, a fraction.
    pub accuracy: f64,
    /// Validation accuracy, a fraction.
    pub validation_accuracy: f64,
    /// Multiply-adds per image.
    pub macs: u64,
    /// Trainable parameters.
    pub params: u64,
    /// Bytes of parameters and running statistics as f32.
    pub bytes: u64,
}

impl Facts {
    pub(crate) fn new(graph: &Graph, test: &Evaluation, validation: f64) -> Self {
        Self {
            accuracy: test.accuracy,
            validation_accuracy: validation,
            macs: graph.macs(),
            params: graph.trainable(),
            bytes: graph.bytes(),
        }
    }
}

/// A difference between two networks on the same images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedDrop {
    /// Points of accuracy lost.
    pub points: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
}

impl PairedDrop {
    /// From which images each network classifies correctly; the interval is normal, from the
    /// variance of the per-image differences.
    ///
    /// # Panics
    /// If the evaluations are not of the same, at least two, images.
    #[must_use]
    pub fn new(base: &[bool], pruned: &[bool]) -> Self {
        assert!(base.len() == pruned.len() && base.len() > 1, "two evaluations of the same images");
        let n = base.len() as f64;
        let differences = base.iter().zip(pruned).map(|(&b, &p)| f64::from(b) - f64::from(p));
        let mean = differences.clone().sum::<f64>() / n;
        let variance = differences.map(|d| (d - mean) * (d - mean)).sum::<f64>() / (n - 1.0);
        let half = 1.96 * (variance / n).sqrt();
        Self { points: 100.0 * mean, low: 100.0 * (mean - half), high: 100.0 * (mean + half) }
    }
}

/// What is counted by a target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// What is counted.
    pub unit: Unit,
    /// Of the base network.
    pub base: u64,
    /// The most that may be left.
    pub limit: u64,
    /// What is left.
    pub left: u64,
}

/// What a run made.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The pruned network.
    pub network: Network,
    /// The record of what was removed.
    pub plan: Plan,
    /// The base network in numbers.
    pub base: Facts,
    /// The pruned network in numbers.
    pub pruned: Facts,
    /// The drop of test accuracy.
    pub test_drop: PairedDrop,
    /// What validation drops were counted against: `validation` or `test`.
    pub reference: &'static str,
    /// That accuracy, a fraction.
    pub reference_accuracy: f64,
    /// Points lost against it by the network's accuracy on the same split.
    pub drop_points: f64,
    /// Every removal of this run, those that were undone too.
    pub steps: Vec<StepRecord>,
    /// What there was and is of the target's unit, if there was a target.
    pub target: Option<Counted>,
    /// What a latency target was counted by.
    pub times: Option<LayerTimes>,
    /// Whether the target was met within the drop limit.
    pub target_met: bool,
    /// Epochs of fine-tuning since the base network, all together.
    pub epochs: f64,
    /// Seconds of all steps, in however many goes.
    pub seconds: f64,
    /// Layers whose removed inputs nothing could stand in for, for lack of a bias or batch norm.
    pub without_bias_update: Vec<String>,
}

/// What a finished run left, for another of the same base network to go on from.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// Its network.
    pub network: Network,
    /// Its record of what was removed.
    pub plan: Plan,
    /// Epochs of fine-tuning since the base network.
    pub epochs: f64,
    /// The layers that took channels which it removed, and for which nothing stands in.
    pub without_bias_update: Vec<String>,
}

/// What happens in a run, as it happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// The base network was evaluated.
    Base {
        /// Its multiply-adds per image.
        macs: u64,
        /// Validation accuracy, a fraction.
        validation: f64,
        /// Test accuracy, a fraction.
        test: f64,
        /// What drops are counted against: `validation` or `test`.
        reference: &'static str,
    },
    /// A run goes on that was interrupted.
    GoesOn {
        /// What comes next: `once`, `replay`, `global`, `layerwise`, `final` or `done`.
        phase: &'static str,
        /// Removals that were tried.
        steps: usize,
        /// Epochs of fine-tuning that are done.
        epochs: f64,
    },
    /// Phase II tries what removing channels of each group of layers harms, to order them by it.
    Ordering {
        /// Groups that were tried, or had nothing to remove.
        done: usize,
        /// All of them.
        groups: usize,
    },
    /// Fine-tuning for so many epochs begins, or goes on.
    Tuning {
        /// `global`, `layerwise` or `final`.
        phase: &'static str,
        /// Epochs.
        epochs: f64,
    },
    /// An epoch of fine-tuning ended.
    Epoch {
        /// What it was.
        epoch: &'a EpochReport,
        /// What is left of this fine-tuning, in epochs that take as long
        /// ([`Trainer::left`](crate::trainer::Trainer::left)).
        left: f64,
    },
    /// A step ended.
    Step(&'a StepRecord),
}

/// Watches a run; may stop it in training (see [`Observer`]).
pub trait RunObserver: Observer {
    /// Something happened.
    fn event(&mut self, event: &Event<'_>);

    /// Between two steps, or two groups of layers that are tried. `false` stops the run.
    fn goes_on(&mut self) -> bool {
        true
    }
}

impl RunObserver for crate::trainer::Silent {
    fn event(&mut self, _: &Event<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paired_drop_counts_only_images_that_changed() {
        // 100 images: base right on 90; pruned loses 4 of them and wins 2 others.
        let base: Vec<bool> = (0..100).map(|i| i < 90).collect();
        let pruned: Vec<bool> = (0..100).map(|i| (4..92).contains(&i)).collect();
        let drop = PairedDrop::new(&base, &pruned);
        assert!((drop.points - 2.0).abs() < 1e-9);
        // Per-image differences: 4 of +1, 2 of -1; variance (6 - 100 * 0.02^2) / 99.
        let half = 196.0 * ((6.0 - 0.04) / 99.0f64 / 100.0).sqrt();
        assert!((drop.high - 2.0 - half).abs() < 1e-9 && (2.0 - drop.low - half).abs() < 1e-9);
    }
}
