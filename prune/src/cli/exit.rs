//! Why the command ends, and with which code.

use super::interrupt;
use pleach_core::checkpoint::CheckpointError;
use pleach_core::models::ModelError;
use pleach_datasets::DataError;
use pleach_prune::PruneError;
use pleach_prune::criteria::CriterionError;
use pleach_prune::net::NetError;
use pleach_prune::plan::PlanError;
use pleach_prune::prune_run::PruneRunError;
use pleach_prune::report::ReportError;
use pleach_prune::reproduce::ReproduceError;
use pleach_prune::run_dir::RunDirError;
use pleach_prune::settings::SettingError;
use pleach_prune::target::AmountError;
use pleach_prune::train_run::TrainRunError;
use pleach_prune::trainer::TrainError;

/// Nothing went wrong.
pub(super) const OK: u8 = 0;
/// Something went wrong at run time.
const RUNTIME: u8 = 1;
/// The command or its configuration is wrong.
const USAGE: u8 = 2;
/// A check failed, or a target was missed.
pub(super) const MISSED: u8 = 3;
/// Training diverged.
const DIVERGED: u8 = 4;

/// A command line that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// An error with this message, for a command line that cannot be carried out.
pub(super) fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// The exit code of an error.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(of).unwrap_or(RUNTIME)
}

fn of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = cause.downcast_ref::<PruneError>() {
        return match error {
            PruneError::Train(error) => Some(of_training(error)),
            PruneError::Criterion(_) => Some(USAGE),
            PruneError::Interrupted => Some(interrupt::code()),
            _ => None,
        };
    }
    // These show their cause as themselves, so that the cause is not in the chain.
    if let Some(PruneRunError::Prune(error)) = cause.downcast_ref::<PruneRunError>() {
        return of(error);
    }
    match cause.downcast_ref::<ReproduceError>() {
        Some(ReproduceError::Interrupted) => return Some(interrupt::code()),
        Some(ReproduceError::Train(error)) => return of(error),
        Some(ReproduceError::PruneRun(error)) => return of(error),
        Some(ReproduceError::Prune(error)) => return of(error),
        Some(ReproduceError::Net(error)) => return of(error),
        Some(
            ReproduceError::Table(_)
            | ReproduceError::NoCell(_)
            | ReproduceError::Setting(_)
            | ReproduceError::Model(_)
            | ReproduceError::Unfit { .. }
            | ReproduceError::Criterion(_),
        ) => return Some(USAGE),
        _ => {}
    }
    if let Some(TrainRunError::Train(error)) = cause.downcast_ref::<TrainRunError>() {
        return Some(of_training(error));
    }
    if let Some(error) = cause.downcast_ref::<TrainError>() {
        return Some(of_training(error));
    }
    if let Some(DataError::Interrupted { .. }) = cause.downcast_ref::<DataError>() {
        return Some(interrupt::code());
    }
    let usage = cause.is::<Usage>()
        || cause.is::<ModelError>()
        || cause.is::<CriterionError>()
        || cause.is::<AmountError>()
        || cause.is::<SettingError>()
        || cause.is::<PlanError>()
        || cause.is::<toml::de::Error>()
        || matches!(cause.downcast_ref::<ReportError>(), Some(ReportError::Unfinished(_)))
        || matches!(
            cause.downcast_ref::<NetError>(),
            Some(
                NetError::Neither { .. }
                    | NetError::Model(_)
                    | NetError::Folder { .. }
                    | NetError::IdleArchitecture { .. }
            ) | Some(NetError::Checkpoint(CheckpointError::NoArchitecture { .. }))
                | Some(NetError::Checkpoint(CheckpointError::NoNetwork { .. }))
                | Some(NetError::Checkpoint(CheckpointError::Model(_)))
        )
        || matches!(
            cause.downcast_ref::<RunDirError>(),
            Some(
                RunDirError::NotEmpty(_)
                    | RunDirError::NotAFolder(_)
                    | RunDirError::Missing(_)
                    | RunDirError::NoRun(_)
            )
        );
    usage.then_some(USAGE)
}

fn of_training(error: &TrainError) -> u8 {
    match error {
        TrainError::Diverged { .. } => DIVERGED,
        TrainError::Interrupted { .. } => interrupt::code(),
        _ => RUNTIME,
    }
}
