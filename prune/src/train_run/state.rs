//! Where a training run is, as its checkpoints' extra metadata have it.

use super::{Job, TrainRunError};
use crate::environment::warn_of_other_isa;
use crate::trainer::fingerprint;
use pleach_core::Network;
use pleach_core::checkpoint::{Checkpoint, Meta};
use pleach_kernels::Context;

const EPOCH: &str = "epoch";
const BEST_EPOCH: &str = "best_epoch";
const BEST_ACCURACY: &str = "best_accuracy";
const ISA: &str = "isa";
const TEACHER: &str = "teacher_sha256";

/// Where a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) epoch: u64,
    /// 0: the network that there was.
    pub(super) best_epoch: u64,
    /// Nothing without images to validate on.
    pub(super) best_accuracy: Option<f64>,
}

impl State {
    /// As `checkpoint` has it, which `file` holds, if it is one of a run that trains this network.
    pub(super) fn of(
        file: &str,
        checkpoint: &Checkpoint,
        (network, meta): (&Network, &Meta),
        validates: bool,
    ) -> Result<Self, TrainRunError> {
        let foreign = |key, expected: &str, found: String| TrainRunError::Foreign {
            file: file.into(),
            key,
            expected: expected.into(),
            found,
        };
        if checkpoint.network.graph() != network.graph() {
            let (expected, found) = ("that of the run's model", "another one".to_owned());
            return Err(foreign("the architecture", expected, found));
        }
        let named = |meta: &Meta| meta.dataset.clone().unwrap_or_else(|| "none".into());
        let (expected, found) = (named(meta), named(&checkpoint.meta));
        if expected != found {
            return Err(foreign("the data set", &expected, found));
        }
        let extra = &checkpoint.meta.extra;
        let text = |key: &str| extra.get(key).map_or("", String::as_str);
        let count = |key: &'static str| {
            let found = text(key);
            found.parse().map_err(|_| foreign(key, "a number of epochs", format!("{found:?}")))
        };
        let accuracy = || {
            let accuracy: Option<f64> = text(BEST_ACCURACY).parse().ok();
            let found = || format!("{:?}", text(BEST_ACCURACY));
            let accuracy = accuracy.filter(|accuracy| (0.0..=1.0).contains(accuracy));
            accuracy.ok_or_else(|| foreign(BEST_ACCURACY, "a fraction from 0 to 1", found()))
        };
        Ok(Self {
            epoch: count(EPOCH)?,
            best_epoch: count(BEST_EPOCH)?,
            best_accuracy: validates.then(accuracy).transpose()?,
        })
    }

    /// With what checkpoints say besides.
    pub(super) fn meta(&self, meta: &Meta) -> Meta {
        let mut meta = meta.clone();
        meta.extra.insert(EPOCH.into(), self.epoch.to_string());
        meta.extra.insert(BEST_EPOCH.into(), self.best_epoch.to_string());
        if let Some(accuracy) = self.best_accuracy {
            // The shortest text that reads back as the same number.
            meta.extra.insert(BEST_ACCURACY.into(), accuracy.to_string());
        }
        meta
    }
}

/// What a run's bits depend on that is not in its checkpoint otherwise.
pub(super) struct Known {
    isa: &'static str,
    /// The teacher's fingerprint.
    teacher: Option<String>,
}

impl Known {
    pub(super) fn new(cx: &Context, job: &Job) -> Self {
        let teacher = job.teacher.as_ref().map(|(teacher, _)| fingerprint(teacher));
        Self { isa: cx.isa().name, teacher }
    }

    /// With what the last checkpoint says besides.
    pub(super) fn meta(&self, mut meta: Meta) -> Meta {
        meta.extra.insert(ISA.into(), self.isa.into());
        if let Some(teacher) = &self.teacher {
            meta.extra.insert(TEACHER.into(), teacher.clone());
        }
        meta
    }

    /// Refuses a last checkpoint of training with another teacher, or without the optimiser's state, and warns of
    /// another instruction set.
    pub(super) fn check(&self, file: &str, last: &Checkpoint) -> Result<(), TrainRunError> {
        let foreign = |key, expected: String, found: String| {
            Err(TrainRunError::Foreign { file: file.into(), key, expected, found })
        };
        if last.network.params().iter().all(|param| param.slots.is_empty()) {
            return foreign("the optimiser's state", "there".into(), "missing".into());
        }
        // Earlier versions left both out.
        let said = |key: &str| last.meta.extra.get(key);
        match (&self.teacher, said(TEACHER)) {
            (Some(now), Some(then)) if now != then => {
                return foreign("the teacher's SHA-256", now.clone(), then.clone());
            }
            _ => {}
        }
        if let Some(then) = said(ISA) {
            warn_of_other_isa(then, self.isa);
        }
        Ok(())
    }
}
