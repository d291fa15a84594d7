//! What a pruning run tells and keeps as it goes.

use super::super::interrupt;
use super::super::progress::{Progress, Style};
use pleach_core::checkpoint::{self, Dtype, Meta};
use pleach_core::network::Network;
use pleach_prune::phases::{Event, RunObserver, StepRecord};
use pleach_prune::run_dir::RunDir;
use pleach_prune::trainer::{EpochReport, Observer, StepReport};
use serde_json::json;

/// Watches a run: a line a step and an epoch, `metrics.jsonl`, and the network after each accepted step.
pub(super) struct Watch<'a> {
    progress: Progress,
    run: &'a RunDir,
    meta: &'a Meta,
    base_macs: u64,
    phase: &'static str,
    epochs: f64,
    /// Whether a step was accepted, so that there is a pruned network.
    saved: bool,
    error: Option<anyhow::Error>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(style: Style, run: &'a RunDir, meta: &'a Meta, base_macs: u64) -> Self {
        let progress = Progress::new(style);
        Self { progress, run, meta, base_macs, phase: "", epochs: 0.0, saved: false, error: None }
    }

    pub(super) fn line(&self, text: &str) {
        self.progress.line(text);
    }

    /// The bar goes.
    pub(super) fn finish(&self) {
        self.progress.finish();
    }

    /// What could not be written, if anything.
    pub(super) fn take_error(&mut self) -> Option<anyhow::Error> {
        self.error.take()
    }

    /// What is left after a run that failed.
    pub(super) fn epitaph(&self) -> String {
        if self.saved {
            let path = self.run.file("pruned.safetensors");
            format!(
                "pruning stopped; the network after the last accepted step is {}",
                path.display()
            )
        } else {
            "pruning stopped before any step was accepted".to_owned()
        }
    }

    fn keep(&mut self, result: anyhow::Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }

    fn step_line(&self, step: &StepRecord) -> String {
        let place = match &step.layers[..] {
            [] => String::new(),
            layers => format!(" {}", layers.join("+")),
        };
        let surgery = step.accuracy_after_surgery.map_or(String::new(), |accuracy| {
            format!(" (after surgery {:.2} %)", 100.0 * accuracy)
        });
        format!(
            "{}{place}: {} channels removed, {:.1} M MACs ({:.2}x fewer), val {:.2} %{surgery}, drop \
             {:.2}, {:.1} s{}",
            step.phase,
            step.removed,
            step.macs as f64 / 1e6,
            self.base_macs as f64 / step.macs.max(1) as f64,
            100.0 * step.accuracy,
            step.drop_points,
            step.seconds,
            if step.accepted { "" } else { ", undone" }
        )
    }

    fn step_ended(&mut self, step: &StepRecord, network: &Network) -> anyhow::Result<()> {
        self.line(&self.step_line(step));
        if step.accepted {
            let path = self.run.file("pruned.safetensors");
            checkpoint::save(&path, network, self.meta, Dtype::F32, false)?;
            self.saved = true;
        }
        let mut record = serde_json::to_value(step)?;
        record["event"] = json!("step");
        Ok(self.run.append("metrics.jsonl", &record.to_string())?)
    }

    fn epoch_ended(&self, epoch: &EpochReport) -> anyhow::Result<()> {
        self.line(&format!(
            "  {} epoch {}: loss {:.4}, acc {:.2} %, lr {:.4}, {:.0} img/s",
            self.phase,
            epoch.epoch,
            epoch.loss,
            100.0 * epoch.accuracy,
            epoch.lr,
            epoch.images_per_s
        ));
        let mut record = serde_json::to_value(epoch)?;
        record["event"] = json!("epoch");
        record["phase"] = json!(self.phase);
        Ok(self.run.append("metrics.jsonl", &record.to_string())?)
    }
}

impl Observer for Watch<'_> {
    fn step(&mut self, report: &StepReport) -> bool {
        if report.step == 1 {
            self.progress.start(format!("fine-tuning ({})", self.phase), report.steps);
        }
        self.progress.set(report.step, || {
            format!(
                "loss {:.3}, lr {:.4}, {:.0} img/s",
                report.loss, report.lr, report.images_per_s
            )
        });
        !interrupt::is_requested() && self.error.is_none()
    }
}

impl RunObserver for Watch<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Base { validation, test, reference } => self.line(&format!(
                "base: validation {:.2} %, test {:.2} %; drops are counted against {reference}",
                100.0 * validation,
                100.0 * test
            )),
            Event::Tuning { phase, epochs } => {
                (self.phase, self.epochs) = (phase, *epochs);
                if *phase == "final" && *epochs > 0.0 {
                    self.line(&format!("final fine-tuning: {epochs:.2} epochs"));
                }
            }
            // A fraction of an epoch in each of hundreds of trials is not worth a line.
            Event::Epoch(epoch) if self.epochs >= 1.0 => {
                let result = self.epoch_ended(epoch);
                self.keep(result);
            }
            Event::Epoch(_) => {}
            Event::Step(step, network) => {
                let result = self.step_ended(step, network);
                self.keep(result);
            }
        }
    }
}
