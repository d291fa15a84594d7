//! Where a training run is, as its checkpoints' extra metadata have it.

use super::TrainRunError;
use pleach_core::Network;
use pleach_core::checkpoint::{Checkpoint, Meta};

const EPOCH: &str = "epoch";
const BEST_EPOCH: &str = "best_epoch";
const BEST_ACCURACY: &str = "best_accuracy";

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
