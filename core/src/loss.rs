//! The loss of a classifier.

use crate::tensor::Tensor;
use pleach_kernels::{Context, softmax};
use serde::{Deserialize, Serialize};

/// Cross-entropy over a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// Mean over the images, in nats.
    pub mean: f64,
    /// Of each image, in nats.
    pub per_image: Vec<f64>,
    /// Images whose largest logit, of several equal ones the first, is their label's. An image with
    /// a logit that is not finite is not one.
    pub correct: usize,
    /// Which images these are.
    pub is_correct: Vec<bool>,
}

/// Cross-entropy of the softmax of `logits`, `[N, classes]`, against `labels`, in nats. With label
/// `smoothing` `s`, a target is `1 - s` at its label plus `s / classes` everywhere (Szegedy et al.
/// 2016, section 7). `diff` becomes the gradient of the *mean* loss with respect to the logits.
/// A logit of NaN or plus infinity makes the loss NaN; one of minus infinity is a probability of 0.
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

/// Gives a part of each image's target to the class of something else that is in it: `loss` and its gradient
/// `diff`, which [`cross_entropy`] made of `logits`, `labels` and `smoothing`, become those of `(1 - share)` times
/// the label and `share` times the other class. `others` has that class and that share of each image. What counts
/// as correct stays.
///
/// # Panics
/// If there is not one label and one other class an image, or one that has a share is not below the number of classes.
pub fn mix_labels(
    logits: &Tensor,
    (labels, smoothing): (&[u32], f32),
    others: &[(u32, f32)],
    loss: &mut Loss,
    diff: &mut Tensor,
) {
    let n = logits.n();
    assert_eq!((labels.len(), others.len()), (n, n), "a label and another class an image");
    if n == 0 {
        return;
    }
    let stride = diff.data().len() / n;
    let images = loss.per_image.iter_mut().zip(diff.data_mut().chunks_exact_mut(stride));
    let classes = labels.iter().zip(others).enumerate();
    // Cross-entropy is linear in its target, and so is its gradient.
    for ((i, (&label, &(other, share))), (per_image, diff)) in classes.zip(images) {
        let (label, other) = (label as usize, other as usize);
        let (moved, image) = (share * (1.0 - smoothing), logits.pixel(i, 0, 0));
        // A share of nothing is nothing, whatever the logits.
        if moved > 0.0 {
            *per_image += f64::from(moved) * (f64::from(image[label]) - f64::from(image[other]));
            diff[label] += moved / n as f32;
            diff[other] -= moved / n as f32;
        }
    }
    loss.mean = loss.per_image.iter().sum::<f64>() / n as f64;
}

/// How much a student listens to a teacher.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// The share of the loss that is the teacher's, in `[0, 1]`.
    pub weight: f32,
    /// What logits are divided by before they are compared, above 0.
    pub temperature: f32,
}

impl Distillation {
    /// A usual temperature.
    pub const TEMPERATURE: f32 = 4.0;
}

/// Mixes what a teacher says into `loss` and its gradient `diff`, which [`cross_entropy`] made of
/// `logits`: `(1 - w)` of it remains, and `w T^2 KL(teacher || student)` of the distributions at
/// temperature `T` is added (Hinton, Vinyals and Dean 2015, section 2). What counts as correct stays.
///
/// # Panics
/// If shapes differ, or a setting is out of range.
pub fn distill(
    cx: &Context,
    logits: &Tensor,
    teacher: &Tensor,
    distillation: Distillation,
    loss: &mut Loss,
    diff: &mut Tensor,
) {
    let (n, shape) = (logits.n(), logits.shape());
    assert_eq!((teacher.n(), teacher.shape()), (n, shape), "teacher and student see the same");
    let Distillation { weight, temperature } = distillation;
    let pair = (logits.data(), teacher.data());
    let settings = (weight, temperature);
    let losses = &mut loss.per_image;
    softmax::distill(cx, n, shape.channels, pair, settings, losses, diff.data_mut());
    loss.mean = loss.per_image.iter().sum::<f64>() / n as f64;
}

/// False if any value is not finite.
fn is_first_maximum(values: &[f32], index: usize) -> bool {
    let value = values[index];
    values.iter().all(|x| x.is_finite())
        && values[..index].iter().all(|&x| x < value)
        && values[index..].iter().all(|&x| x <= value)
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
    fn a_part_of_another_class_moves_loss_and_gradient_as_pytorch_says() {
        // import torch; F = torch.nn.functional
        // z = torch.tensor([[1., 2., 4.], [0., -1., 3.]], dtype=torch.float64, requires_grad=True)
        // t = torch.tensor([[0., 0.75, 0.25], [0., 0., 1.]], dtype=torch.float64)
        // loss = F.cross_entropy(z, t, label_smoothing=0.1)
        // loss.backward(); print(loss.item(), z.grad)
        let labels = [1, 2];
        let (mut found, mut diff) = loss(&[1.0, 2.0, 4.0, 0.0, -1.0, 3.0], &labels, 0.1);
        let logits = Tensor::from_nchw(2, Shape::flat(3), &[1.0, 2.0, 4.0, 0.0, -1.0, 3.0]);
        mix_labels(&logits, (&labels, 0.1), &[(2, 0.25), (0, 0.0)], &mut found, &mut diff);
        assert!((found.mean - 0.992_864_961_656_857).abs() < 1e-6, "{found:?}");
        let gradient = [
            [0.004_338_366, -0.297_069_07, 0.292_730_7],
            [0.006_639_645, -0.008_092_754, 0.001_453_109],
        ];
        for (i, row) in gradient.iter().enumerate() {
            for (found, expected) in diff.pixel(i, 0, 0).iter().zip(row) {
                assert!((found - expected).abs() < 1e-6, "{diff:?}");
            }
        }
    }

    #[test]
    fn a_teacher_pulls_the_student_as_pytorch_says() {
        // import torch; F = torch.nn.functional
        // z = torch.tensor([[1., 2., 4.], [0., -1., 3.]], dtype=torch.float64, requires_grad=True)
        // t = torch.tensor([[2., 0., 1.], [0., -1., 3.]], dtype=torch.float64)
        // kl = F.kl_div(F.log_softmax(z / 4, 1), F.softmax(t / 4, 1), reduction="batchmean")
        // loss = 0.3 * F.cross_entropy(z, torch.tensor([1, 2])) + 0.7 * 16 * kl
        // loss.backward(); print(loss.item(), z.grad)
        let cx = Context::new(Isa::from_env().unwrap(), 1);
        let shape = Shape::flat(3);
        let logits = Tensor::from_nchw(2, shape, &[1.0, 2.0, 4.0, 0.0, -1.0, 3.0]);
        let teacher = Tensor::from_nchw(2, shape, &[2.0, 0.0, 1.0, 0.0, -1.0, 3.0]);
        let mut diff = Tensor::zeros(1, Shape::flat(1));
        let mut loss = cross_entropy(&cx, &logits, &[1, 2], 0.0, Some(&mut diff));
        let settings = Distillation { weight: 0.7, temperature: 4.0 };
        distill(&cx, &logits, &teacher, settings, &mut loss, &mut diff);
        assert!((loss.mean - 0.869_024_016_514_860).abs() < 1e-7, "{loss:?}");
        let gradient = [
            [-0.262_511_34, -0.080_397_67, 0.342_909],
            [0.006_991_893, 0.002_572_174, -0.009_564_067],
        ];
        for (i, row) in gradient.iter().enumerate() {
            for (found, expected) in diff.pixel(i, 0, 0).iter().zip(row) {
                assert!((found - expected).abs() < 1e-6, "{diff:?}");
            }
        }
    }

    #[test]
    fn of_equal_logits_the_first_is_the_prediction() {
        assert_eq!(loss(&[1.0, 5.0, 5.0, 1.0, 5.0, 5.0], &[1, 2], 0.0).0.correct, 1);
    }

    #[test]
    fn an_image_with_a_logit_that_is_not_finite_is_not_correct() {
        for (bad, label) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
            .into_iter()
            .flat_map(|bad| (0..3).map(move |label| (bad, label)))
        {
            let (loss, _) = loss(&[0.0, bad, 1.0], &[label], 0.0);
            assert_eq!(loss.correct, 0, "{bad}, label {label}");
            let expected = match (bad == f32::NEG_INFINITY, label) {
                (true, 1) => f64::INFINITY,
                (true, label) => 1f64.exp().ln_1p() - f64::from(label / 2),
                (false, _) => f64::NAN,
            };
            let same = loss.mean == expected || (loss.mean - expected).abs() < 1e-12;
            assert!(same || loss.mean.is_nan() && expected.is_nan(), "{bad}, {label}: {loss:?}");
        }
    }
}
