//! What can go wrong in a pruning run.

use crate::criteria::CriterionError;
use crate::phases::StateError;
use crate::plan::PlanError;
use crate::surgery::SurgeryError;
use crate::trainer::TrainError;

/// Why pruning failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// Filters cannot be scored.
    #[error(transparent)]
    Criterion(#[from] CriterionError),
    /// A plan cannot be read or replayed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Channels cannot be removed.
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    /// Fine-tuning stopped.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A run does not go on from this state.
    #[error(transparent)]
    State(#[from] StateError),
    /// Values overflow in the network.
    #[error("{0} is not finite: values overflow in this network")]
    NotFinite(String),
    /// The observer asked to stop between two steps.
    #[error("interrupted")]
    Interrupted,
}
