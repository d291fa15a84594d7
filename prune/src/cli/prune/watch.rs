//! What a pruning run tells as it goes.

use crate::cli::interrupt;
use crate::cli::lines::Pruning;
use crate::cli::progress::{Progress, Style};
use pleach_prune::phases::{Event, RunObserver};
use pleach_prune::prune_run::PRUNED;
use pleach_prune::run_dir::RunDir;
use pleach_prune::trainer::{Observer, StepReport};

/// Watches a run: a line a step and an epoch.
pub(super) struct Watch {
    progress: Progress,
    lines: Pruning,
}

impl Watch {
    pub(super) fn new(style: Style) -> Self {
        Self { progress: Progress::new(style), lines: Pruning::default() }
    }

    pub(super) fn line(&self, text: &str) {
        self.progress.line(text);
    }

    /// The bar goes.
    pub(super) fn finish(&self) {
        self.progress.finish();
    }
}

impl Observer for Watch {
    fn step(&mut self, report: &StepReport) -> bool {
        self.lines.step(report, &self.progress);
        !interrupt::is_requested()
    }
}

impl RunObserver for Watch {
    fn event(&mut self, event: &Event<'_>) {
        self.lines.event(event, &self.progress);
    }

    fn goes_on(&mut self) -> bool {
        !interrupt::is_requested()
    }
}

/// What is left after a run that stopped, and how it goes on, if it can.
pub(super) fn epitaph(run: &RunDir, resumes: bool) -> String {
    let pruned = run.file(PRUNED);
    let left = match pruned.exists() {
        true => format!("; the network after the last accepted step is {}", pruned.display()),
        false => " before any step was accepted".to_owned(),
    };
    let resume = match resumes {
        true => format!("; pleach prune --resume {} goes on", run.path().display()),
        // What failed once fails again.
        false => String::new(),
    };
    format!("pruning stopped{left}{resume}")
}
