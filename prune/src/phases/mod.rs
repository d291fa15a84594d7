//! The pruning run: the global phase, the layer-wise phase, and the final fine-tuning.
//!
//! Source: Min, Wang, Chen, Xu, Chen, "2PFPCE: Two-Phase Filter Pruning Based on Conditional
//! Entropy", arXiv 1809.02220. Its exact schedule was not available to us; ours is this, with the numbers of
//! [`PruneConfig`].
//!
//! **Phase I**, the global phase: score all channels, remove the lowest of the whole network, update biases,
//! fine-tune, evaluate; until the phase's share of the drop or of the target is spent. The last round stops at the
//! target. A round that loses more than the phase may is undone.
//!
//! **Phase II**, the layer-wise phase: for each group of channels (a layer, or layers that a residual sum joins), by
//! multiply-adds, largest first ([`Order`] has another): remove its lowest, update biases, fine-tune briefly; keep
//! that if the drop stays within the limit, otherwise undo it and leave the group alone from then on. Again, until
//! every group is left alone or the target is met.
//!
//! **The final fine-tuning** follows if anything was removed. Its network, after the last epoch, is the result, unless
//! it loses more validation accuracy than is allowed and the network before it does not.
//!
//! Without any fine-tuning ([`PruneConfig::epochs_budget`] of 0) channels are removed once: the lowest of the whole
//! network, or, where phase II runs alone, the same share of every group.

mod budget;
mod config;
mod foresight;
mod free;
mod global;
mod layerwise;
mod order;
mod outcome;
mod pruner;
mod record;
mod reference;
mod scoring;
mod state;
mod trial;

pub(crate) use budget::{FINAL_SHARE, WITHIN_LIMIT};
pub use config::{Order, Phases, PruneConfig, Reference};
pub use pruner::Pruner;
pub use record::{Counted, Earlier, Event, Facts, Outcome, PairedDrop, RunObserver, StepRecord};
pub use state::{State, StateError};

use crate::error::PruneError;
use pleach_core::Network;
use pleach_datasets::Dataset;
use pleach_kernels::Context;
use std::sync::Arc;

/// Prunes `base`, which the plan calls `model`. Choices are made on the validation split; the test
/// split is read once for the base and once for the result.
///
/// A target that the drop limit does not allow is no error: the outcome holds the best network and
/// says so.
///
/// # Errors
/// If the criterion is unknown or cannot score the network, values overflow in it, what the configuration replays
/// does not fit it, fine-tuning diverges, or the observer stops it.
///
/// # Panics
/// If the network and the data set do not fit.
pub fn run(
    cx: &Context,
    dataset: &Arc<dyn Dataset>,
    base: &Network,
    model: &str,
    config: &PruneConfig,
    observer: &mut dyn RunObserver,
) -> Result<Outcome, PruneError> {
    let mut pruner = Pruner::new(cx, dataset, base, model, config, observer)?;
    pruner.announce(observer);
    while !pruner.is_finished() {
        if !observer.goes_on() {
            return Err(PruneError::Interrupted);
        }
        pruner.step(observer)?;
    }
    Ok(pruner.outcome())
}
