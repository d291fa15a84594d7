//! What a pruning run tells and keeps as it goes.

use super::super::interrupt;
use super::super::lines::Pruning;
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
    lines: Pruning,
    run: &'a RunDir,
    meta: &'a Meta,
    /// Whether a step was accepted, so that there is a pruned network.
    saved: bool,
    error: Option<anyhow::Error>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(style: Style, run: &'a RunDir, meta: &'a Meta) -> Self {
        let (progress, lines) = (Progress::new(style), Pruning::default());
        Self { progress, lines, run, meta, saved: false, error: None }
    }

    pub(super) fn line(&self, text: &str) {
        self.progress.line(text);
    }

    /// What could not be written, if anything.
    pub(super) fn take_error(&mut self) -> Option<anyhow::Error> {
        self.error.take()
    }

    /// What is left after a run that failed.
    pub(super) fn epitaph(&self) -> String {
        if self.saved {
            let path = self.run.file("pruned.safetensors");
            let path = path.display();
            format!("pruning stopped; the network after the last accepted step is {path}")
        } else {
            "pruning stopped before any step was accepted".to_owned()
        }
    }

    /// The bar goes.
    pub(super) fn finish(&self) {
        self.progress.finish();
    }

    fn keep_step(&mut self, step: &StepRecord, network: &Network) -> anyhow::Result<()> {
        if step.accepted {
            let path = self.run.file("pruned.safetensors");
            checkpoint::save(&path, network, self.meta, Dtype::F32, false)?;
            self.saved = true;
        }
        let mut record = serde_json::to_value(step)?;
        record["event"] = json!("step");
        Ok(self.run.append("metrics.jsonl", &record.to_string())?)
    }

    fn keep_epoch(&self, epoch: &EpochReport) -> anyhow::Result<()> {
        let mut record = serde_json::to_value(epoch)?;
        record["event"] = json!("epoch");
        record["phase"] = json!(self.lines.phase);
        Ok(self.run.append("metrics.jsonl", &record.to_string())?)
    }
}

impl Observer for Watch<'_> {
    fn step(&mut self, report: &StepReport) -> bool {
        self.lines.step(report, &mut self.progress);
        !interrupt::is_requested() && self.error.is_none()
    }
}

impl RunObserver for Watch<'_> {
    fn event(&mut self, event: &Event<'_>) {
        self.lines.event(event, &self.progress);
        let kept = match event {
            Event::Base { .. } | Event::Tuning { .. } => Ok(()),
            Event::Epoch(epoch) if self.lines.tells_epochs() => self.keep_epoch(epoch),
            Event::Epoch(_) => Ok(()),
            Event::Step(step, network) => self.keep_step(step, network),
        };
        if let Err(error) = kept {
            self.error.get_or_insert(error);
        }
    }
}
