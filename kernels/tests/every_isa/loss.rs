//! Softmax cross-entropy.

use crate::{Numbers, assert_close, contexts, dense, doubles, map, numeric_gradient, on_every_isa};
use pleach_kernels::{channel_stride, softmax};

/// The definition: the cross-entropy of the smoothed target and the softmax, averaged over images.
fn mean_loss(logits: &[f64], labels: &[u32], classes: usize, smoothing: f64) -> f64 {
    let image = |(logits, &label): (&[f64], &u32)| {
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        let term = |(c, x): (usize, &f64)| {
            let at_label = if c == label as usize { 1.0 - smoothing } else { 0.0 };
            -(at_label + smoothing / classes as f64) * (x.exp() / sum).ln()
        };
        logits.iter().enumerate().map(term).sum::<f64>()
    };
    logits.chunks(classes).zip(labels).map(image).sum::<f64>() / labels.len() as f64
}

#[test]
fn cross_entropy_and_its_gradient_match_the_definition() {
    for (n, classes) in [(1, 1), (1, 2), (3, 10), (40, 17), (37, 100)] {
        let mut numbers = Numbers(n as u64);
        let logits = map(n, classes, || 5.0 * numbers.real());
        let labels: Vec<u32> = (0..n).map(|_| (numbers.next() % classes as u64) as u32).collect();
        for smoothing in [0.0, 0.1, 1.0] {
            let loss = |x: &[f64]| mean_loss(x, &labels, classes, f64::from(smoothing));
            let x = dense(&logits, classes);
            let gradient = numeric_gradient(&x, loss);
            let run = |cx: &_| {
                let mut losses = vec![f64::NAN; n];
                let mut alone = vec![f64::NAN; n];
                let mut diff = vec![f32::NAN; n * channel_stride(classes)];
                let diff_dst = Some(&mut diff[..]);
                let logits = &logits;
                softmax::cross_entropy(
                    cx,
                    n,
                    classes,
                    logits,
                    &labels,
                    smoothing,
                    &mut losses,
                    diff_dst,
                );
                softmax::cross_entropy(
                    cx, n, classes, logits, &labels, smoothing, &mut alone, None,
                );
                assert_eq!(losses, alone, "losses do not depend on whether gradients are wanted");
                assert_close(&[losses.iter().sum::<f64>() / n as f64], &[loss(&x)], 1e-12, "loss");
                diff
            };
            for (isa, diff) in on_every_isa(run) {
                let what = format!("{n} x {classes}, smoothing {smoothing}, on {isa}");
                assert_close(&dense(&diff, classes), &gradient, 1e-7, &what);
            }
        }
    }
}

/// `torch.nn.functional.cross_entropy(torch.tensor([[1., 2., 3.]]), torch.tensor([0]),
/// label_smoothing=0.1)`: by hand, ln(e + e^2 + e^3) = 3.4076059644; 0.9 * 2.4076059644 + 0.1 / 3 *
/// (2.4076059644 + 1.4076059644 + 0.4076059644).
#[test]
fn label_smoothing_is_that_of_pytorch() {
    for cx in contexts() {
        let mut logits = vec![0.0; 16];
        logits[..3].copy_from_slice(&[1.0, 2.0, 3.0]);
        let mut losses = [0.0];
        softmax::cross_entropy(&cx, 1, 3, &logits, &[0], 0.1, &mut losses, None);
        assert_close(&losses, &[2.307_605_964_4], 1e-7, cx.isa().name);
    }
}

#[test]
fn huge_logits_do_not_overflow() {
    for cx in contexts() {
        let mut logits = vec![0.0; 16];
        logits[..2].copy_from_slice(&[3e38, -3e38]);
        let (mut losses, mut diff) = ([0.0], vec![f32::NAN; 16]);
        softmax::cross_entropy(&cx, 1, 2, &logits, &[0], 0.0, &mut losses, Some(&mut diff));
        assert_eq!(losses, [0.0]);
        assert_eq!(doubles(&diff), [0.0; 16]);
    }
}

#[test]
#[should_panic(expected = "label 2 is not below 2 classes")]
fn a_label_beyond_the_classes_panics() {
    let cx = &contexts()[0];
    softmax::cross_entropy(cx, 1, 2, &[0.0; 16], &[2], 0.0, &mut [0.0], None);
}
