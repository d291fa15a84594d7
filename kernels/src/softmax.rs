//! Softmax followed by cross-entropy, the loss of a classifier.

use crate::{Context, channel_stride};

/// Images in a task.
const IMAGES: usize = 16;

/// Cross-entropy of the softmax of `logits`, `[n, classes]` with the channel stride, against
/// `labels`, all arithmetic in f64.
///
/// With label smoothing `s` the target of an image is `1 - s` at its label plus `s / classes`
/// everywhere, as in PyTorch. `losses[i]` is the loss of image `i` in nats. `diff`, shaped as
/// `logits`, receives the gradient of the *mean* loss over the `n` images; its pad lanes are zero. A logit
/// of NaN or plus infinity makes its image's loss NaN; one of minus infinity is a probability of 0.
///
/// # Panics
/// If lengths differ, if a label is not below `classes`, or if `smoothing` is outside `0..=1`.
pub fn cross_entropy(
    cx: &Context,
    n: usize,
    classes: usize,
    logits: &[f32],
    labels: &[u32],
    smoothing: f32,
    losses: &mut [f64],
    diff: Option<&mut [f32]>,
) {
    let stride = channel_stride(classes);
    assert_eq!(logits.len(), n * stride, "logits are [n, classes]");
    assert_eq!(labels.len(), n, "one label an image");
    assert_eq!(losses.len(), n, "one loss an image");
    assert!((0.0..=1.0).contains(&smoothing), "smoothing {smoothing} lies in 0..=1");
    if n == 0 {
        return;
    }
    let smoothing = f64::from(smoothing);
    let image = |i: usize| Image {
        logits: &logits[i * stride..][..classes],
        label: labels[i] as usize,
        smoothing,
    };
    match diff {
        Some(diff) => {
            assert_eq!(diff.len(), n * stride, "diff is [n, classes]");
            let chunks = ((losses, IMAGES), (diff, IMAGES * stride));
            cx.threads().for_each_chunk2(chunks.0, chunks.1, |task, losses, diff| {
                for (k, loss) in losses.iter_mut().enumerate() {
                    let image = image(task * IMAGES + k);
                    let normalizer = image.normalizer();
                    *loss = image.loss(normalizer);
                    image.gradient(normalizer, n, &mut diff[k * stride..][..stride]);
                }
            });
        }
        None => cx.threads().for_each_chunk(losses, IMAGES, |task, losses| {
            for (k, loss) in losses.iter_mut().enumerate() {
                let image = image(task * IMAGES + k);
                *loss = image.loss(image.normalizer());
            }
        }),
    }
}

/// Mixes what a teacher says into a loss that [`cross_entropy`] found: with `w` the `weight` and `T` the
/// `temperature`, `losses[i]` becomes `(1 - w) losses[i] + w T^2 KL(q || p)`, where `q` and `p` are the
/// softmax of the teacher's and of the student's logits over `T` (Hinton, Vinyals and Dean 2015, section
/// 2), and `diff`, the gradient of the mean loss, `(1 - w) diff + w T (p - q) / n`. All arithmetic is in
/// f64.
///
/// `logits`, `teacher` and `diff` are `[n, classes]` with the channel stride.
///
/// # Panics
/// If lengths differ, `weight` is outside `0..=1`, or `temperature` is not positive.
pub fn distill(
    cx: &Context,
    n: usize,
    classes: usize,
    (logits, teacher): (&[f32], &[f32]),
    (weight, temperature): (f32, f32),
    losses: &mut [f64],
    diff: &mut [f32],
) {
    let stride = channel_stride(classes);
    assert_eq!(logits.len(), n * stride, "logits are [n, classes]");
    assert_eq!(teacher.len(), n * stride, "the teacher's logits are [n, classes]");
    assert_eq!(diff.len(), n * stride, "diff is [n, classes]");
    assert_eq!(losses.len(), n, "one loss an image");
    assert!((0.0..=1.0).contains(&weight), "weight {weight} lies in 0..=1");
    assert!(temperature > 0.0, "temperature {temperature} is positive");
    let (weight, temperature) = (f64::from(weight), f64::from(temperature));
    let chunks = ((losses, IMAGES), (diff, IMAGES * stride));
    cx.threads().for_each_chunk2(chunks.0, chunks.1, |task, losses, diff| {
        for (k, loss) in losses.iter_mut().enumerate() {
            let at = (task * IMAGES + k) * stride;
            let (student, teacher) = (&logits[at..][..classes], &teacher[at..][..classes]);
            let log = |logits: &[f32], normalizer: f64, c: usize| {
                f64::from(logits[c]) / temperature - normalizer
            };
            let (ours, theirs) =
                (normalizer(student, temperature), normalizer(teacher, temperature));
            let mut divergence = 0.0;
            for (c, diff) in diff[k * stride..][..classes].iter_mut().enumerate() {
                let (log_p, log_q) = (log(student, ours, c), log(teacher, theirs, c));
                let (p, q) = (log_p.exp(), log_q.exp());
                divergence += q * (log_q - log_p);
                let taught = temperature * (p - q) / n as f64;
                *diff = ((1.0 - weight) * f64::from(*diff) + weight * taught) as f32;
            }
            *loss = (1.0 - weight) * *loss + weight * temperature * temperature * divergence;
        }
    });
}

/// `ln sum exp(logits / temperature)`, shifted by the largest logit so that nothing overflows.
fn normalizer(logits: &[f32], temperature: f64) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&x| ((f64::from(x) - largest) / temperature).exp()).sum();
    largest / temperature + sum.ln()
}

struct Image<'a> {
    logits: &'a [f32],
    label: usize,
    smoothing: f64,
}

impl Image<'_> {
    fn normalizer(&self) -> f64 {
        let classes = self.logits.len();
        assert!(self.label < classes, "label {} is not below {classes} classes", self.label);
        normalizer(self.logits, 1.0)
    }

    fn loss(&self, normalizer: f64) -> f64 {
        let at_label = normalizer - f64::from(self.logits[self.label]);
        if self.smoothing == 0.0 {
            return at_label;
        }
        let sum: f64 = self.logits.iter().map(|&x| normalizer - f64::from(x)).sum();
        (1.0 - self.smoothing) * at_label + self.smoothing * sum / self.logits.len() as f64
    }

    fn gradient(&self, normalizer: f64, n: usize, diff: &mut [f32]) {
        let everywhere = self.smoothing / self.logits.len() as f64;
        for (c, (diff, &x)) in diff.iter_mut().zip(self.logits).enumerate() {
            let at_label = if c == self.label { 1.0 - self.smoothing } else { 0.0 };
            let probability = (f64::from(x) - normalizer).exp();
            *diff = ((probability - everywhere - at_label) / n as f64) as f32;
        }
        diff[self.logits.len()..].fill(0.0);
    }
}
