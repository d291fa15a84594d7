//! What is said of a study as it goes.

use crate::cli::common::Common;
use crate::cli::interrupt;
use crate::cli::lines::{self, Pruning, Training};
use crate::cli::progress::Progress;
use pleach_prune::phases;
use pleach_prune::reproduce::ReproduceObserver;
use pleach_prune::train_run;
use pleach_prune::trainer::{Observer, StepReport};
use std::ops::ControlFlow;

pub(super) struct Watch {
    progress: Progress,
    part: String,
    /// Of the cell that runs, the one or the other.
    training: Option<Training>,
    pruning: Pruning,
}

impl Watch {
    pub(super) fn new(common: &Common) -> Self {
        let progress = Progress::new(common.style());
        Self { progress, part: String::new(), training: None, pruning: Pruning::default() }
    }

    pub(super) fn line(&self, text: &str) {
        self.progress.line(text);
    }

    pub(super) fn finish(&mut self) {
        self.progress.finish();
    }
}

impl Observer for Watch {
    fn step(&mut self, report: &StepReport) -> bool {
        match self.training {
            Some(_) => self.progress.set(report.step, || lines::step(report)),
            None => self.pruning.step(report, &self.progress),
        }
        !interrupt::is_requested()
    }
}

impl train_run::RunObserver for Watch {
    fn event(&mut self, event: &train_run::Event<'_>) {
        self.training.get_or_insert_default().event(event, &self.progress);
    }
}

impl phases::RunObserver for Watch {
    fn event(&mut self, event: &phases::Event<'_>) {
        self.training = None;
        self.pruning.event(event, &self.progress);
    }

    fn goes_on(&mut self) -> bool {
        !interrupt::is_requested()
    }
}

impl ReproduceObserver for Watch {
    fn part(&mut self, title: &str) {
        self.progress.line(&format!("-- {title}"));
        self.part = title.to_owned();
        self.training = None;
        self.pruning = Pruning::default();
    }

    fn progress(&mut self, done: usize, of: usize) -> ControlFlow<()> {
        if done == 0 {
            self.progress.start(self.part.clone(), of as u64);
        }
        self.progress.set(done as u64, String::new);
        if interrupt::is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
