//! Pruning that leaves a run behind and goes on where it stopped.
//!
//! After each step of the [`Pruner`] the run is saved: the networks under names that say which they are
//! (`state.network-3.safetensors`, the network after the third accepted removal;
//! `state.tuning-8-2.safetensors`, the candidate of the eighth fine-tuning after two epochs), and then,
//! by one rename, [`STATE`], which has everything else and says which of them count. So a run that was
//! killed at any moment goes on from its last full step, and ends with the same bits as one that was
//! not. `pruned.safetensors` and `plan.json` are those of the last accepted removal, and in the end those
//! of the run; `metrics.jsonl` has a line a removal and a line an epoch. What a teacher said of views that come again
//! is in files of its own beside them (`state.answers-*.npy`).

mod saved;

use crate::error::PruneError;
use crate::phases::{Earlier, Event, Outcome, PruneConfig, Pruner, RunObserver};
use crate::run_dir::{RunDir, RunDirError};
use crate::trainer::{Observer, StepReport, Teacher};
use pleach_core::Network;
use pleach_core::checkpoint::{self, CheckpointError, Dtype, Meta};
use pleach_datasets::Dataset;
use pleach_kernels::Context;
use saved::{Known, Store};
use std::sync::Arc;

/// Where the run stands.
pub const STATE: &str = "state.json";
/// The network after the last accepted removal; in the end, the run's.
pub const PRUNED: &str = "pruned.safetensors";
/// What a latency target is counted by: a [`LayerTimes`](crate::latency::LayerTimes).
pub const LATENCY: &str = "latency.json";
/// What was removed to make it.
pub const PLAN: &str = "plan.json";

/// What is pruned, and how.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The original network's name in the plan.
    pub model: &'a str,
    /// What checkpoints say of the network.
    pub meta: &'a Meta,
    /// How it is pruned.
    pub config: &'a PruneConfig,
    /// What it goes on from instead of the base network.
    pub after: Option<&'a Earlier>,
}

/// Why a run failed. What it saved last is good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneRunError {
    /// Pruning stopped.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Another file cannot be.
    #[error(transparent)]
    Run(#[from] RunDirError),
    /// The saved state is not one of this run.
    #[error("{file}: {what} {found}, expected {expected}: this run cannot go on from it")]
    Foreign {
        /// The file.
        file: String,
        /// What is wrong.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
}

/// Prunes `base` in `run`, or goes on with what is in it. The files that it goes on from stay until
/// [`forget`].
///
/// # Errors
/// If pruning fails or is interrupted, something cannot be read or written, or what the run has saved is
/// of another base network, data set or configuration.
///
/// # Panics
/// If the network and the data set do not fit.
pub fn prune(
    cx: &Context,
    dataset: &Arc<dyn Dataset>,
    run: &RunDir,
    job: &Job<'_>,
    base: &Network,
    observer: &mut dyn RunObserver,
) -> Result<Outcome, PruneRunError> {
    let Job { model, meta, config, after } = *job;
    let known = Known::new(cx, &**dataset, base, config, after)?;
    let mut store = Store::new(run, meta, known);
    let mut pruner = match store.load()? {
        Some(last) => {
            let (standing, candidate) = (last.standing, last.candidate);
            let mut pruner =
                Pruner::resume(cx, dataset, base, config, last.state, standing, candidate)?;
            if let Some(answers) = pruner.teacher_mut().and_then(Teacher::answers_mut) {
                run.recall(answers)?;
            }
            pruner
        }
        None => {
            let pruner = Pruner::new(cx, dataset, base, model, config, observer)?;
            match after {
                Some(earlier) => pruner.after(earlier.clone())?,
                None => pruner,
            }
        }
    };
    let mut metrics = Metrics { observer, tells_epochs: false, lines: Vec::new(), phase: "" };
    pruner.announce(&mut metrics);
    if let Some(times) = pruner.state().times() {
        let json = serde_json::to_string(times).expect("times are finite");
        run.write(LATENCY, &(json + "\n"))?;
    }
    store.save(&mut pruner, &[])?;
    while !pruner.is_finished() {
        if !metrics.observer.goes_on() {
            return Err(PruneError::Interrupted.into());
        }
        pruner.step(&mut metrics)?;
        store.save(&mut pruner, &std::mem::take(&mut metrics.lines))?;
    }
    let outcome = pruner.outcome();
    checkpoint::save(&run.file(PRUNED), &outcome.network, meta, Dtype::F32, false)?;
    run.write(PLAN, &outcome.plan.to_json())?;
    Ok(outcome)
}

/// Removes what a run goes on from: it is finished, and whatever is still wanted of it is kept.
///
/// # Errors
/// If the operating system refuses.
pub fn forget(run: &RunDir) -> Result<(), RunDirError> {
    // In this order, networks without a state are never more than rubbish.
    run.remove(STATE)?;
    run.remove_state(&[])
}

/// An observer that also makes the lines of the metrics.
struct Metrics<'a> {
    observer: &'a mut dyn RunObserver,
    phase: &'static str,
    /// A fraction of an epoch in each of hundreds of trials is not worth a line.
    tells_epochs: bool,
    lines: Vec<String>,
}

impl Metrics<'_> {
    fn line(&mut self, event: &str, phase: Option<&str>, record: &impl serde::Serialize) {
        let mut record = serde_json::to_value(record).expect("records have nothing JSON lacks");
        record["event"] = event.into();
        if let Some(phase) = phase {
            record["phase"] = phase.into();
        }
        self.lines.push(record.to_string());
    }
}

impl Observer for Metrics<'_> {
    fn step(&mut self, report: &StepReport) -> bool {
        self.observer.step(report)
    }
}

impl RunObserver for Metrics<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Tuning { phase, epochs } => {
                (self.phase, self.tells_epochs) = (phase, *epochs >= 1.0);
            }
            Event::Epoch { epoch, .. } if self.tells_epochs => {
                self.line("epoch", Some(self.phase), epoch);
            }
            Event::Step(step) => self.line("step", None, step),
            Event::Base { .. }
            | Event::GoesOn { .. }
            | Event::Ordering { .. }
            | Event::Epoch { .. } => {}
        }
        self.observer.event(event);
    }
}
