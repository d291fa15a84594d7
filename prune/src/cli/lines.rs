//! What is said of training and pruning as they go, one line each.

use super::output;
use super::progress::{Progress, duration};
use pleach_prune::phases::{self, StepRecord};
use pleach_prune::train_run::{self, Epoch};
use pleach_prune::trainer::{EpochReport, StepReport};
use std::time::Instant;

/// Beside a bar.
pub(super) fn step(report: &StepReport) -> String {
    format!("loss {:.3}, lr {:.4}, {:.0} img/s", report.loss, report.lr, report.images_per_s)
}

/// When the epoch that goes on began.
struct Began(Instant);

impl Default for Began {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Began {
    /// The epoch ended: the time that `left` more like it take. The next one begins.
    fn eta(&mut self, left: f64) -> String {
        let began = std::mem::take(self).0;
        duration(began.elapsed().mul_f64(left))
    }
}

/// A training, as it goes.
#[derive(Default)]
pub(super) struct Training {
    /// Epochs of the run.
    epochs: u64,
    began: Began,
    /// Validation accuracies of the epochs since training began or went on.
    accuracies: Vec<f64>,
}

impl Training {
    pub(super) fn event(&mut self, event: &train_run::Event<'_>, progress: &Progress) {
        match *event {
            train_run::Event::Before(accuracy) => {
                progress.line(&format!("it begins with val {:.2} %", 100.0 * accuracy));
            }
            train_run::Event::Begins { done, epochs, steps } => {
                (self.epochs, self.began) = (epochs, Began::default());
                if done >= epochs {
                    progress.line("all epochs are done");
                } else if done > 0 {
                    progress.line(&format!("going on after epoch {done} of {epochs}"));
                }
                progress.start("training", steps);
            }
            train_run::Event::Epoch { epoch, left } => {
                self.accuracies.extend(epoch.validation.iter().map(|found| found.accuracy));
                let eta = self.began.eta(left);
                progress.line(&self.epoch(epoch, &eta));
            }
        }
    }

    fn epoch(&self, epoch: &Epoch, eta: &str) -> String {
        let training = &epoch.training;
        let (validation, best) = match &epoch.validation {
            Some(found) => (
                format!("val {:.2} %, ", 100.0 * found.accuracy),
                format!(
                    ", best {:.2} % {}",
                    100.0 * found.best_accuracy,
                    sparkline(&self.accuracies)
                ),
            ),
            None => Default::default(),
        };
        format!(
            "epoch {:>3}/{}: loss {:.4}, acc {:.2} %, {validation}lr {:.5}, {:.0} img/s, eta {eta}{best}",
            training.epoch,
            self.epochs,
            training.loss,
            100.0 * training.accuracy,
            training.lr,
            training.images_per_s,
        )
    }
}

/// The last values as a curve of block characters, from the smallest of these to the largest.
fn sparkline(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    /// Values in a line beside everything else.
    const WIDTH: usize = 24;
    let values = &values[values.len().saturating_sub(WIDTH)..];
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let block = |&value: &f64| {
        let height = (value - least) / (most - least).max(f64::MIN_POSITIVE);
        BLOCKS[((height * BLOCKS.len() as f64) as usize).min(BLOCKS.len() - 1)]
    };
    values.iter().map(block).collect()
}

/// A pruning run, as it goes.
#[derive(Default)]
pub(super) struct Pruning {
    base_macs: u64,
    /// What is being fine-tuned, and for how many epochs.
    phase: &'static str,
    epochs: f64,
    began: Began,
    /// Whether it has not made a step yet.
    is_new: bool,
}

impl Pruning {
    /// Whether the epochs of this fine-tuning are told: a fraction of one in each of hundreds of trials is
    /// not worth a line.
    fn tells_epochs(&self) -> bool {
        self.epochs >= 1.0
    }

    pub(super) fn step(&mut self, report: &StepReport, progress: &Progress) {
        if std::mem::take(&mut self.is_new) {
            progress.start(format!("fine-tuning ({})", self.phase), report.steps);
        }
        progress.set(report.step, || step(report));
    }

    pub(super) fn event(&mut self, event: &phases::Event<'_>, progress: &Progress) {
        match event {
            phases::Event::Base { macs, validation, test, reference } => {
                self.base_macs = *macs;
                progress.line(&format!(
                    "base: validation {:.2} %, test {:.2} %; drops are counted against {reference}",
                    100.0 * validation,
                    100.0 * test
                ));
            }
            phases::Event::GoesOn { phase, steps, epochs } => {
                let done = format!("after {steps} removals and {epochs:.2} epochs of fine-tuning");
                progress.line(&match *phase {
                    "done" => format!("pruning is done, {done}"),
                    phase => format!("going on ({phase}) {done}"),
                });
            }
            phases::Event::Ordering { done: 0, groups } => {
                progress.start("sensitivity of layers", *groups as u64);
            }
            phases::Event::Ordering { done, .. } => progress.set(*done as u64, String::new),
            phases::Event::Tuning { phase, epochs } => {
                (self.phase, self.epochs, self.is_new) = (phase, *epochs, true);
                self.began = Began::default();
                if *phase == "final" && *epochs > 0.0 {
                    progress.line(&format!("final fine-tuning: {epochs:.2} epochs"));
                }
            }
            phases::Event::Epoch { epoch, left } => {
                if self.tells_epochs() {
                    let eta = self.began.eta(*left);
                    progress.line(&self.epoch(epoch, &eta));
                }
            }
            phases::Event::Step(step) => progress.line(&self.removal(step)),
        }
    }

    fn epoch(&self, epoch: &EpochReport, eta: &str) -> String {
        format!(
            "  {} epoch {}/{}: loss {:.4}, acc {:.2} %, lr {:.4}, {:.0} img/s, eta {eta}",
            self.phase,
            epoch.epoch,
            self.epochs.ceil(),
            epoch.loss,
            100.0 * epoch.accuracy,
            epoch.lr,
            epoch.images_per_s
        )
    }

    fn removal(&self, step: &StepRecord) -> String {
        let place = match &step.layers[..] {
            [] => String::new(),
            layers => format!(" {}", layers.join("+")),
        };
        let surgery = step.accuracy_after_surgery.map_or(String::new(), |accuracy| {
            format!(" (after surgery {:.2} %)", 100.0 * accuracy)
        });
        format!(
            "{}{place}: {} removed, {:.1} M MACs ({:.2}x fewer), val {:.2} %{surgery}, drop \
             {:.2}, {:.1} s{}",
            step.phase,
            output::counted(step.removed as f64, "channel"),
            step.macs as f64 / 1e6,
            self.base_macs as f64 / step.macs.max(1) as f64,
            100.0 * step.accuracy,
            step.drop_points,
            step.seconds,
            if step.accepted { "" } else { ", undone" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn a_sparkline_spans_from_the_smallest_to_the_largest_of_the_last_values() {
        assert_eq!(sparkline(&[1.0, 2.0, 1.5, 3.0]), "▁▅▃█");
        assert_eq!(sparkline(&[0.5]), "▁");
        assert_eq!(sparkline(&[]), "");
        let rising: Vec<f64> = (0..100).map(f64::from).collect();
        let text = sparkline(&rising);
        assert_eq!((text.chars().count(), text.chars().last()), (24, Some('█')));
    }
}
