//! Training that leaves a run behind and goes on where it stopped.
//!
//! After each epoch `last.safetensors` has the network with its optimiser's state, `best.safetensors`
//! the network of the best epoch by validation accuracy (without images to validate on, of the last), and
//! `metrics.jsonl` a line. A run that was interrupted goes on from its last full epoch and ends with the same
//! bits as one that was not. Until then, what a teacher said of views that come again is there too
//! (`state.answers-*.npy`).

mod state;

use crate::eval::{EVAL_BATCH, Evaluation, evaluate};
use crate::run_dir::{RunDir, RunDirError};
use crate::trainer::{Answers, EpochReport, Observer, Teacher, TrainConfig, TrainError, Trainer};
use pleach_core::Network;
use pleach_core::checkpoint::{self, CheckpointError, Dtype, Meta};
use pleach_core::loss::Distillation;
use pleach_datasets::{Dataset, Split};
use pleach_kernels::Context;
use serde::{Deserialize, Serialize};
use state::{Known, State};
use std::fs;
use std::io;
use std::sync::Arc;

/// The network after the last full epoch, with its optimiser's state.
pub const LAST: &str = "last.safetensors";
/// The network of the best epoch by validation accuracy; without images to validate on, of the last.
pub const BEST: &str = "best.safetensors";
/// One line an epoch.
pub const METRICS: &str = "metrics.jsonl";

/// What is trained, and how.
#[derive(Clone, Debug)]
pub struct Job {
    /// What checkpoints say of the network.
    pub meta: Meta,
    /// How it is trained.
    pub config: TrainConfig,
    /// The type of the weights in [`BEST`].
    pub dtype: Dtype,
    /// The network that it learns from too, and how much.
    pub teacher: Option<(Network, Distillation)>,
    /// Whether it is a network that there was: it is then the best until an epoch is better.
    pub existing: bool,
}

/// An epoch and where it leaves the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// The training.
    #[serde(flatten)]
    pub training: EpochReport,
    /// What the validation images say; nothing without such images.
    #[serde(flatten)]
    pub validation: Option<Validation>,
}

/// An epoch by the validation images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Validation accuracy (a fraction).
    #[serde(rename = "validation_accuracy")]
    pub accuracy: f64,
    /// Mean validation loss in nats, without label smoothing.
    #[serde(rename = "validation_loss")]
    pub loss: f64,
    /// The best validation accuracy so far.
    pub best_accuracy: f64,
}

/// What happens in a run, as it happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// The validation accuracy (a fraction) of a network that there was, before its first epoch.
    Before(f64),
    /// Training begins, or goes on.
    Begins {
        /// Epochs done.
        done: u64,
        /// Epochs of the run.
        epochs: u64,
        /// Steps of the run.
        steps: u64,
    },
    /// An epoch ended and was saved.
    Epoch {
        /// What it was.
        epoch: &'a Epoch,
        /// What is left of the run, in epochs that take as long ([`Trainer::left`]).
        left: f64,
    },
}

/// Watches a run; may stop it in training (see [`Observer`]).
pub trait RunObserver: Observer {
    /// Something happened.
    fn event(&mut self, event: &Event<'_>);
}

impl RunObserver for crate::trainer::Silent {
    fn event(&mut self, _: &Event<'_>) {}
}

/// What a run made.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The best network by validation accuracy, or without images to validate on the last, as [`BEST`] has it.
    pub best: Network,
    /// Its epoch, from 1; 0: the network that there was.
    pub best_epoch: u64,
    /// Its validation accuracy (a fraction); nothing without images to validate on.
    pub best_accuracy: Option<f64>,
    /// Epochs of the run.
    pub epochs: u64,
    /// Seconds of all its epochs, in however many goes, without evaluation.
    pub seconds: f64,
}

/// Why a run failed. What it saved last is good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainRunError {
    /// Training stopped.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Another file cannot be.
    #[error(transparent)]
    Run(#[from] RunDirError),
    /// Values overflow in the network that training is to begin with.
    #[error("its validation loss is {0}: values overflow in the network that training begins with")]
    NotFinite(f64),
    /// The last checkpoint is not one of this run.
    #[error("{file}: {key} is {found}, expected {expected}: it is not a checkpoint of this run")]
    Foreign {
        /// The checkpoint.
        file: String,
        /// What is wrong.
        key: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
}

/// Trains `network` in `run`, or goes on with what is in it: with [`LAST`] there, `network` gives
/// only the structure.
///
/// # Errors
/// If training diverges or is interrupted, or something cannot be read or written.
///
/// # Panics
/// If the run has no epochs.
pub fn train(
    cx: &Context,
    dataset: &Arc<dyn Dataset>,
    run: &RunDir,
    job: &Job,
    network: Network,
    observer: &mut dyn RunObserver,
) -> Result<Trained, TrainRunError> {
    let config = job.config.clone();
    let validates = !dataset.is_empty(Split::Validation);
    let known = Known::new(cx, job);
    let (mut trainer, mut best) = match saved(run, job, &network, (&known, validates))? {
        Some((network, state)) => {
            (Trainer::resume(cx, Arc::clone(dataset), config, network, state.epoch), state)
        }
        None => {
            let mut best = State::default();
            if job.existing && validates {
                let accuracy = accuracy_before(cx, &network, dataset)?;
                best.best_accuracy = Some(accuracy);
                save_best(run, job, &network, &best)?;
                observer.event(&Event::Before(accuracy));
            }
            (Trainer::new(cx, Arc::clone(dataset), config, network), best)
        }
    };
    if let Some((teacher, distillation)) = &job.teacher {
        trainer = trainer.with_teacher(teacher, *distillation);
    }
    if let Some(answers) = answers(&mut trainer) {
        run.recall(answers)?;
    }
    let epochs = trainer.epochs();
    assert!(epochs > 0, "a run has epochs");
    forget_later_epochs(run, trainer.epochs_done())?;
    let (done, steps) = (trainer.epochs_done(), trainer.steps());
    observer.event(&Event::Begins { done, epochs, steps });
    while !trainer.is_finished() {
        let training = trainer.epoch(observer)?;
        let validation = validation(cx, &trainer, dataset)?;
        best.epoch = trainer.epochs_done();
        let accuracy = validation.as_ref().map(|validation| validation.accuracy);
        // Nothing is less than any accuracy.
        if accuracy.is_none() || accuracy > best.best_accuracy {
            (best.best_epoch, best.best_accuracy) = (best.epoch, accuracy);
            save_best(run, job, trainer.network(), &best)?;
        }
        let validation = validation.zip(best.best_accuracy).map(|(found, best_accuracy)| {
            Validation { accuracy: found.accuracy, loss: found.loss, best_accuracy }
        });
        if let Some(answers) = answers(&mut trainer) {
            run.keep(answers)?;
        }
        let epoch = Epoch { training, validation };
        let line = serde_json::to_string(&epoch).expect("an epoch has nothing JSON lacks");
        // Lines of epochs that are not in the checkpoint are dropped when the run goes on, so that in
        // this order none is missing and none is there twice.
        run.append(METRICS, &[line])?;
        let (last, meta) = (run.file(LAST), known.meta(best.meta(&job.meta)));
        checkpoint::save(&last, trainer.network(), &meta, Dtype::F32, true)?;
        observer.event(&Event::Epoch { epoch: &epoch, left: trainer.left() });
    }
    run.forget_answers()?;
    Ok(Trained {
        best: checkpoint::load(&run.file(BEST))?.network,
        best_epoch: best.best_epoch,
        best_accuracy: best.best_accuracy,
        epochs,
        seconds: seconds(run)?,
    })
}

/// What the network's teacher said, where some of it comes again.
fn answers(trainer: &mut Trainer) -> Option<&mut Answers> {
    trainer.teacher_mut().and_then(Teacher::answers_mut)
}

/// The network of the last full epoch of `run` and where it stands; nothing before the first. `network` gives the
/// structure.
fn saved(
    run: &RunDir,
    job: &Job,
    network: &Network,
    (known, validates): (&Known, bool),
) -> Result<Option<(Network, State)>, TrainRunError> {
    let last = run.file(LAST);
    if !last.exists() {
        return Ok(None);
    }
    let checkpoint = checkpoint::load(&last)?;
    let file = last.display().to_string();
    let state = State::of(&file, &checkpoint, (network, &job.meta), validates)?;
    known.check(&file, &checkpoint)?;
    Ok(Some((checkpoint.network, state)))
}

/// The validation accuracy (a fraction) of a network that there was.
fn accuracy_before(
    cx: &Context,
    network: &Network,
    dataset: &Arc<dyn Dataset>,
) -> Result<f64, TrainRunError> {
    let before = evaluate(cx, network, dataset, Split::Validation, None);
    match before.loss.is_finite() {
        true => Ok(before.accuracy),
        false => Err(TrainRunError::NotFinite(before.loss)),
    }
}

fn save_best(
    run: &RunDir,
    job: &Job,
    network: &Network,
    best: &State,
) -> Result<(), CheckpointError> {
    checkpoint::save(&run.file(BEST), network, &best.meta(&job.meta), job.dtype, false)
}

/// What the validation images say of the network as it is now; nothing without such images, when a few of
/// training show whether it overflows.
fn validation(
    cx: &Context,
    trainer: &Trainer,
    dataset: &Arc<dyn Dataset>,
) -> Result<Option<Evaluation>, TrainError> {
    let none = dataset.is_empty(Split::Validation);
    let (split, images) = match none {
        true => (Split::Train, Some((0..EVAL_BATCH.min(dataset.len(Split::Train))).collect())),
        false => (Split::Validation, None),
    };
    let found = evaluate(cx, trainer.network(), dataset, split, images);
    if !found.loss.is_finite() {
        // In training mode batch norm hides what overflows with the running statistics.
        let (epoch, loss) = (trainer.epochs_done(), found.loss);
        return Err(TrainError::Diverged { epoch, step: trainer.steps_done(), loss });
    }
    Ok((!none).then_some(found))
}

/// The lines of the metrics, each with its epoch; nothing before the first.
fn metrics(run: &RunDir) -> Result<Vec<(String, Option<Epoch>)>, TrainRunError> {
    let path = run.file(METRICS);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text.map_err(|source| RunDirError::Io { action: "read", path, source })?,
    };
    Ok(text.lines().map(|line| (line.to_owned(), serde_json::from_str(line).ok())).collect())
}

/// Takes from the metrics the lines of epochs that are done again.
fn forget_later_epochs(run: &RunDir, done: u64) -> Result<(), TrainRunError> {
    let mut lines = metrics(run)?;
    let all = lines.len();
    lines.retain(|(_, epoch)| epoch.as_ref().is_some_and(|epoch| epoch.training.epoch <= done));
    if lines.len() < all {
        let kept: String = lines.iter().map(|(line, _)| format!("{line}\n")).collect();
        run.write(METRICS, &kept)?;
    }
    Ok(())
}

/// Seconds of all epochs.
fn seconds(run: &RunDir) -> Result<f64, TrainRunError> {
    let lines = metrics(run)?;
    Ok(lines.iter().filter_map(|(_, epoch)| epoch.as_ref()).map(|e| e.training.seconds).sum())
}
