//! What is said of training as it goes.

use serde::{Deserialize, Serialize};

/// Why training stopped early.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The loss is not finite.
    #[error(
        "training diverged: a loss of {loss} in step {step} (epoch {epoch}); a lower learning rate may help"
    )]
    Diverged {
        /// The epoch, from 1.
        epoch: u64,
        /// The step of the run, from 1.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// The observer asked to stop.
    #[error("interrupted in step {step}")]
    Interrupted {
        /// Steps done.
        step: u64,
    },
}

/// One step, as it happens.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: u64,
    /// Steps of the run.
    pub steps: u64,
    /// Mean loss of its images, in nats, label smoothing included.
    pub loss: f64,
    /// Its learning rate.
    pub lr: f32,
    /// Images trained on since the epoch began, over the seconds it took.
    pub images_per_s: f64,
}

/// One epoch, or what is left of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Images trained on.
    pub images: u64,
    /// Mean loss in nats, label smoothing included.
    pub loss: f64,
    /// Share of the augmented images classified correctly while training.
    pub accuracy: f64,
    /// The last learning rate.
    pub lr: f32,
    /// Seconds, without evaluation.
    pub seconds: f64,
    /// Images a second.
    pub images_per_s: f64,
}

/// Watches training and may stop it.
pub trait Observer {
    /// After each step. `false` stops the run.
    fn step(&mut self, report: &StepReport) -> bool {
        let _ = report;
        true
    }
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
