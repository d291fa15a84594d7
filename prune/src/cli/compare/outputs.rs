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
    /// Over all images; null where one has a logit that is not finite.
    pub(super) max_logit_difference: f64,
    /// The same as a share of an image's largest logit by the first.
    pub(super) max_relative_logit_difference: f64,
    /// The share of the images that both put into the same class: none that has a logit which is not finite.
    pub(super) same_top1: f64,
}

#[derive(Serialize)]
pub(super) struct Accuracy {
    pub(super) accuracy: f64,
    /// Null where one of the images has none that is finite.
    pub(super) loss: f64,
    /// Images that have a logit which is not finite.
    pub(super) not_finite: usize,
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
    let accuracy = |of: &Evaluation, logits: &[f32]| {
        let not_finite = logits.chunks(classes).filter(|image| !is_finite(image)).count();
        Accuracy { accuracy: of.accuracy, loss: of.loss, not_finite }
    };
    Outputs {
        dataset: dataset.spec().name.clone(),
        split: split.to_string(),
        images: a.images(),
        a: accuracy(&a, &of_a),
        b: accuracy(&b, &of_b),
        drop: PairedDrop::new(&a.correct, &b.correct),
        max_logit_difference: difference(&of_a, &of_b),
        max_relative_logit_difference: eval::difference(&of_b, &of_a, classes),
        same_top1: same_top1(&of_a, &of_b, classes) as f64 / a.images().max(1) as f64,
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

/// The largest difference of two logits; not finite if one of them is not.
fn difference(a: &[f32], b: &[f32]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, eval::maximum)
}

/// How many images both put into the same class. One that has a logit which is not finite is in none.
fn same_top1(a: &[f32], b: &[f32], classes: usize) -> usize {
    let images = a.chunks(classes).zip(b.chunks(classes));
    images.filter(|(a, b)| is_finite(a) && is_finite(b) && top(a) == top(b)).count()
}

fn is_finite(logits: &[f32]) -> bool {
    logits.iter().all(|logit| logit.is_finite())
}

/// The class of the largest logit, the first of equals.
fn top(logits: &[f32]) -> usize {
    let larger = |best: usize, (class, &logit): (usize, &f32)| {
        if logit > logits[best] { class } else { best }
    };
    logits.iter().enumerate().fold(0, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_that_are_not_finite_are_in_no_class_and_not_alike() {
        let a = [3.0, 1.0, 0.0, 2.0];
        assert_eq!((difference(&a, &a), same_top1(&a, &a, 2)), (0.0, 2));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let b = [3.5, 1.0, 0.0, bad];
            for (a, b) in [(a, b), (b, a), (b, b)] {
                assert!(!difference(&a, &b).is_finite(), "{bad}");
                assert_eq!(same_top1(&a, &b, 2), 1, "{bad}");
            }
        }
    }
}
