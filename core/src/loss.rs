//! The loss of a classifier.

use crate::tensor::Tensor;
use pleach_kernels::{Context, softmax};

/// Cross-entropy over a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// Mean over the images, in nats.
    pub mean: f64,
    /// Of each image, in nats.
    pub per_image: Vec<f64>,
    /// Images whose largest logit, of several equal ones the first, is their label's. An image with
    /// a NaN among its logits is not one.
    pub correct: usize,
    /// Which images these are.
    pub is_correct: Vec<bool>,
}

/// Cross-entropy of the softmax of `logits`, `[N, classes]`, against `labels`, in nats. With label
/// `smoothing` `s`, a target is `1 - s` at its label plus `s / classes` everywhere (Szegedy et al.
/// 2016, section 7). `diff` becomes the gradient of the *mean* loss with respect to the logits.
/// Logits that are not finite make the loss NaN.
///
/// # Panics
/// If there is not one label an image, if a label is not below the number of classes, or if
/// `smoothing` is outside `0..=1`.
pub fn cross_entropy(
    cx: &Context,
    logits: &Tensor,
    labels: &[u32],
    smoothing: f32,
    diff: Option<&mut Tensor>,
) -> Loss {
    let (n, shape) = (logits.n(), logits.shape());
    assert_eq!(shape.area(), 1, "logits are flat");
    let mut per_image = vec![0.0; n];
    let diff = diff.map(|diff| {
        diff.reshape(n, shape);
        diff.data_mut()
    });
    let classes = shape.channels;
    softmax::cross_entropy(cx, n, classes, logits.data(), labels, smoothing, &mut per_image, diff);
    let is_correct: Vec<bool> = labels
        .iter()
        .enumerate()
        .map(|(i, &label)| is_first_maximum(logits.pixel(i, 0, 0), label as usize))
        .collect();
    let correct = is_correct.iter().filter(|&&correct| correct).count();
    Loss { mean: per_image.iter().sum::<f64>() / n as f64, per_image, correct, is_correct }
}

/// False if any value is NaN.
fn is_first_maximum(values: &[f32], index: usize) -> bool {
    let value = values[index];
    values[..index].iter().all(|&x| x < value) && values[index..].iter().all(|&x| x <= value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;
    use pleach_kernels::Isa;

    fn loss(logits: &[f32], labels: &[u32], smoothing: f32) -> (Loss, Tensor) {
        let cx = Context::new(Isa::from_env().unwrap(), 1);
        let shape = Shape::flat(logits.len() / labels.len());
        let logits = Tensor::from_nchw(labels.len(), shape, logits);
        let mut diff = Tensor::zeros(1, Shape::flat(1));
        let loss = cross_entropy(&cx, &logits, labels, smoothing, Some(&mut diff));
        (loss, diff)
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_number_of_classes() {
        for smoothing in [0.0, 0.1] {
            let (loss, diff) = loss(&[7.0; 10], &[3, 0], smoothing);
            assert!(loss.per_image.iter().all(|x| (x - 5f64.ln()).abs() < 1e-12), "{loss:?}");
            assert!((loss.mean - 5f64.ln()).abs() < 1e-12);
            assert_eq!(loss.correct, 1);
            let target = 1.0 - smoothing + smoothing / 5.0;
            let expected = (0.2 - target) / 2.0;
            assert!((diff.pixel(1, 0, 0)[0] - expected).abs() < 1e-7, "{diff:?}");
        }
    }

    #[test]
    fn smoothing_mixes_in_the_mean_over_all_classes() {
        // import torch; torch.nn.functional.cross_entropy(torch.tensor([[1., 2., 4.]]),
        //     torch.tensor([1]), label_smoothing=0.3) is 0.7 * 2.169846 + 0.3 * (3.169846 +
        // 2.169846 + 0.169846) / 3, with ln(e + e^2 + e^4) = 4.169846.
        let (loss, _) = loss(&[1.0, 2.0, 4.0], &[1], 0.3);
        assert!((loss.mean - 2.069_846).abs() < 1e-6, "{loss:?}");
    }

    #[test]
    fn of_equal_logits_the_first_is_the_prediction() {
        assert_eq!(loss(&[1.0, 5.0, 5.0, 1.0, 5.0, 5.0], &[1, 2], 0.0).0.correct, 1);
    }

    #[test]
    fn logits_that_are_not_finite_make_a_loss_of_nan_and_no_image_correct() {
        for bad in [f32::NAN, f32::INFINITY] {
            for label in 0..3 {
                let (loss, _) = loss(&[bad, 0.0, bad], &[label], 0.1);
                assert!(loss.mean.is_nan(), "{bad} at label {label}: {loss:?}");
                assert!(!bad.is_nan() || loss.correct == 0);
            }
        }
    }
}
