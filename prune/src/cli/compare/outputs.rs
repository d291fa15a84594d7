//! What two networks make of the same images.

use pleach_core::infer::PlanOptions;
use pleach_core::{Network, Tensor};
use pleach_datasets::{Dataset, Split};
use pleach_kernels::Context;
use pleach_prune::eval::{self, Evaluation, evaluate_each};
use pleach_prune::phases::PairedDrop;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
pub(super) struct Outputs {
    pub(super) dataset: String,
    pub(super) split: String,
    pub(super) images: usize,
    pub(super) a: Accuracy,
    pub(super) b: Accuracy,
    /// Accuracy that the second lacks.
    pub(super) drop: PairedDrop,
    pub(super) max_logit_difference: f64,
    /// Of an image's largest logit by the first.
    pub(super) max_relative_logit_difference: f64,
    /// The share of the images that both put into the same class.
    pub(super) same_top1: f64,
}

#[derive(Serialize)]
pub(super) struct Accuracy {
    pub(super) accuracy: f64,
    pub(super) loss: f64,
}

/// Runs both over the images of `split`.
pub(super) fn compare(
    cx: &Context,
    dataset: &Arc<dyn Dataset>,
    split: Split,
    networks: [&Network; 2],
) -> Outputs {
    let [(a, of_a), (b, of_b)] = networks.map(|network| run(cx, dataset, split, network));
    let classes = dataset.spec().classes;
    let differences = of_a.iter().zip(&of_b).map(|(a, b)| f64::from((a - b).abs()));
    let same = of_a.chunks(classes).zip(of_b.chunks(classes));
    let same = same.filter(|(a, b)| top(a) == top(b)).count();
    let accuracy = |of: &Evaluation| Accuracy { accuracy: of.accuracy, loss: of.loss };
    Outputs {
        dataset: dataset.spec().name.clone(),
        split: split.to_string(),
        images: a.images(),
        a: accuracy(&a),
        b: accuracy(&b),
        drop: PairedDrop::new(&a.correct, &b.correct),
        max_logit_difference: differences.fold(0.0, f64::max),
        max_relative_logit_difference: eval::difference(&of_b, &of_a, classes),
        same_top1: same as f64 / a.images().max(1) as f64,
    }
}

/// A network's evaluation, and all its logits.
fn run(
    cx: &Context,
    dataset: &Arc<dyn Dataset>,
    split: Split,
    network: &Network,
) -> (Evaluation, Vec<f32>) {
    let mut all = Vec::new();
    let mut keep = |logits: &Tensor| all.extend(logits.to_nchw());
    let options = PlanOptions::default();
    let found = evaluate_each(cx, network, dataset, split, None, &options, &mut keep);
    (found, all)
}

/// The class of the largest logit, the first of equals.
fn top(logits: &[f32]) -> usize {
    let larger = |best: usize, (class, &logit): (usize, &f32)| {
        if logit > logits[best] { class } else { best }
    };
    logits.iter().enumerate().fold(0, larger)
}
