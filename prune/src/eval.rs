//! Accuracy and loss of a network on a split.

use crate::net;
use pleach_core::infer::{Plan, PlanOptions};
use pleach_core::loss::cross_entropy;
use pleach_core::network::Network;
use pleach_core::tensor::{Shape, Tensor};
use pleach_datasets::batches::{self, BatchSpec, Loader};
use pleach_datasets::{Dataset, Split};
use pleach_kernels::{Context, channel_stride};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

/// Images of a batch in evaluations; part of what makes their bits repeatable.
pub const EVAL_BATCH: usize = 128;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Share of the images classified correctly.
    pub accuracy: f64,
    /// Mean cross-entropy in nats, without label smoothing.
    pub loss: f64,
    /// For each image, whether it was classified correctly.
    pub correct: Vec<bool>,
    /// Seconds, loading included.
    pub seconds: f64,
}

impl Evaluation {
    /// The number of images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.correct.len()
    }
}

/// A batch of the images of `split` at `indices`, or of its first [`EVAL_BATCH`], in order, without
/// augmentation.
///
/// # Panics
/// If `shape` is not that of the data set's images, or it has none of an index.
#[must_use]
pub fn images(
    dataset: &Arc<dyn Dataset>,
    shape: Shape,
    split: Split,
    indices: Option<Vec<usize>>,
) -> Tensor {
    let batch = indices.as_ref().map_or(EVAL_BATCH, Vec::len);
    let spec = BatchSpec::in_order(split, batch, channel_stride(shape.channels));
    let spec = BatchSpec { indices, ..spec };
    let mut images = Tensor::zeros(spec.batch_len(&**dataset, 0), shape);
    batches::fill(&**dataset, &spec, 0, images.data_mut(), &mut Vec::new());
    images
}

/// Evaluates `network` on the images of `split` (those at `indices`, if given), in order, without
/// augmentation.
///
/// # Panics
/// If network and data set do not fit ([`net::fits`]).
#[must_use]
pub fn evaluate(
    cx: &Context,
    network: &Network,
    dataset: &Arc<dyn Dataset>,
    split: Split,
    indices: Option<Vec<usize>>,
) -> Evaluation {
    evaluate_each(cx, network, dataset, split, indices, &PlanOptions::default(), &mut |_| {})
}

/// [`evaluate`] by a plan with `options`, which gives the logits of each batch to `each`.
///
/// # Panics
/// As [`evaluate`].
#[must_use]
pub fn evaluate_each(
    cx: &Context,
    network: &Network,
    dataset: &Arc<dyn Dataset>,
    split: Split,
    indices: Option<Vec<usize>>,
    options: &PlanOptions<'_>,
    each: &mut dyn FnMut(&Tensor),
) -> Evaluation {
    assert!(net::fits(network.graph(), dataset.spec()), "the network fits {}", dataset.spec().name);
    let shape = network.graph().input_shape();
    let spec = BatchSpec::in_order(split, EVAL_BATCH, channel_stride(shape.channels));
    let mut loader = Loader::new(Arc::clone(dataset), BatchSpec { indices, ..spec });
    let mut plan = Plan::with_options(cx, network, EVAL_BATCH, options);
    let mut images = Tensor::zeros(EVAL_BATCH, shape);
    let (mut correct, mut loss_sum) = (Vec::new(), 0.0);
    let started = Instant::now();
    while let Some(batch) = loader.next() {
        images.reshape(batch.n, shape);
        images.data_mut().copy_from_slice(&batch.images);
        let logits = plan.run(cx, &images);
        let loss = cross_entropy(cx, logits, &batch.labels, 0.0, None);
        each(logits);
        loss_sum += loss.per_image.iter().sum::<f64>();
        correct.extend(loss.is_correct);
        loader.give_back(batch);
    }
    let images = correct.len().max(1) as f64;
    Evaluation {
        accuracy: correct.iter().filter(|&&c| c).count() as f64 / images,
        loss: loss_sum / images,
        correct,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// The logits, `[N, classes]`, of the images `values`, `[N, C, H, W]`, which are taken as they are.
///
/// # Panics
/// If `values` are no whole number of images of the network's.
#[must_use]
pub fn logits(
    cx: &Context,
    network: &Network,
    values: &[f32],
    options: &PlanOptions<'_>,
) -> Vec<f32> {
    let shape = network.graph().input_shape();
    assert!(values.len().is_multiple_of(shape.len()), "images of {shape}");
    let batch = EVAL_BATCH.min(values.len() / shape.len()).max(1);
    let mut plan = Plan::with_options(cx, network, batch, options);
    let batches = values.chunks(batch * shape.len()).map(|values| {
        let images = Tensor::from_nchw(values.len() / shape.len(), shape, values);
        plan.run(cx, &images).to_nchw()
    });
    batches.flatten().collect()
}

/// How far logits `[N, classes]` are from those expected: the largest difference of an image's logits
/// relative to the largest magnitude among its expected ones; NaN if either has such a value.
///
/// # Panics
/// If the numbers of logits differ or are not of whole images.
#[must_use]
pub fn difference(found: &[f32], expected: &[f32], classes: usize) -> f64 {
    assert_eq!(found.len(), expected.len(), "logits of the same images");
    assert!(found.len().is_multiple_of(classes), "logits of {classes} classes");
    let images = found.chunks(classes).zip(expected.chunks(classes)).map(|(found, expected)| {
        let scale = expected.iter().fold(f32::MIN_POSITIVE, |max, x| max.max(x.abs()));
        let differences = found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs()));
        differences.fold(0.0, maximum) / f64::from(scale)
    });
    images.fold(0.0, maximum)
}

/// The larger number; NaN if either is, so that no comparison with a bound hides it.
#[must_use]
pub fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_difference_of_logits_is_that_of_the_worst_image_over_its_own_scale() {
        let expected = [1.0, -4.0, 100.0, 0.0];
        assert_eq!(difference(&expected, &expected, 2), 0.0);
        assert_eq!(difference(&[1.0, -3.0, 100.0, 5.0], &expected, 2), 0.25);
        assert_eq!(difference(&[1.0, -4.0, 150.0, 0.0], &expected, 2), 0.5);
        for place in 0..4 {
            let mut found = expected;
            found[place] = f32::NAN;
            assert!(difference(&found, &expected, 2).is_nan(), "{place}");
            assert!(difference(&expected, &found, 2).is_nan(), "{place}");
        }
        assert!(difference(&[], &[], 2) == 0.0);
    }
}
