//! What cells are expected to cost, in multiply-adds of forward passes.

use crate::channels::Channels;
use crate::phases::{FINAL_SHARE, PruneConfig, WITHIN_LIMIT};
use crate::reproduce::work::TRAIN_SAMPLE;
use pleach_core::graph::Graph;
use pleach_datasets::{Dataset, Split};

/// A training step takes about three times the multiply-adds of a forward pass.
const STEP: f64 = 3.0;
/// A scoring of all channels takes about as many forward passes of its calibration images: what is measured on the
/// way, layer by layer, takes as long as half of one.
const SCORING: f64 = 1.5;
/// The networks of a comparison lose 10 to 50 % of each layer's channels and take this share of their base's time:
/// measured on a VGG-16 of a quarter of the widths, whose layers then fill their vectors no better than before.
const WHILE_COMPARED: f64 = 0.8;

/// The images of a data set, by which costs are counted.
pub(super) struct Images {
    train: f64,
    validation: f64,
    test: f64,
}

impl Images {
    pub(super) fn of(dataset: &dyn Dataset) -> Self {
        let [train, validation, test] =
            [Split::Train, Split::Validation, Split::Test].map(|split| dataset.len(split) as f64);
        Self { train, validation, test }
    }

    /// So many epochs of training, each with its evaluation.
    pub(super) fn training(&self, graph: &Graph, epochs: f64) -> f64 {
        (STEP * self.train + self.validation) * epochs * graph.macs() as f64
    }

    /// A pruning run, with a budget of epochs, of a network that has the share `start` of the multiply-adds of its
    /// base, `graph`.
    pub(super) fn pruning(&self, graph: &Graph, config: &PruneConfig, start: f64) -> f64 {
        let end = config.target.map(|target| target.amount.keep);
        let channels = Channels::of(graph);
        let groups = channels.groups().iter().filter(|group| group.prunable.is_ok()).count();
        let judging = config.judging(groups, end.map(|end| start / end));
        let calibration = config.calibration as f64;
        let tuning = STEP * self.train * config.epochs_budget.unwrap_or_default();
        // The base is judged first, and the result last.
        let base = self.validation + self.test + calibration;
        let phases = (1.0 - FINAL_SHARE) * tuning
            + judging.scorings * SCORING * calibration
            + judging.evaluations * self.validation;
        let judged = calibration + self.validation + self.test + TRAIN_SAMPLE as f64;
        let last = FINAL_SHARE * tuning + judged;
        let end = end.unwrap_or(1.0 / WITHIN_LIMIT);
        (base + 0.5 * (start + end) * phases + end * last) * graph.macs() as f64
    }

    /// A comparison's curve of so many points, each evaluated right after surgery and then fine-tuned.
    pub(super) fn curve(
        &self,
        graph: &Graph,
        points: usize,
        calibration: usize,
        epochs: f64,
    ) -> f64 {
        let points = points as f64;
        let images = points * self.validation + calibration as f64;
        let tuning = points * self.training(graph, epochs);
        WHILE_COMPARED * (tuning + images * graph.macs() as f64)
    }
}
