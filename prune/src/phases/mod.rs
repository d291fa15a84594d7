//! The pruning run: the global phase, the layer-wise phase, and the final fine-tuning.
//!
//! Source: Min, Wang, Chen, Xu, Chen, "2PFPCE: Two-Phase Filter Pruning Based on Conditional
//! Entropy", arXiv 1809.02220. Its exact schedule is not public; ours is stated in [`PruneConfig`]
//! and in the docs of the phases.

mod budget;
mod config;
mod driver;
mod global;
mod layerwise;
mod record;
mod reference;

pub use config::{Phases, PruneConfig, Reference};
pub use record::{Event, Facts, Outcome, PairedDrop, RunObserver, StepRecord};

use crate::error::PruneError;
use budget::Purse;
use driver::Driver;
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
/// If the criterion is unknown or cannot score the network, fine-tuning diverges, or the observer
/// stops it. What was accepted until then went to the observer.
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
    let mut driver = Driver::new(cx, dataset, base, model, config, observer)?;
    if config.epochs_budget == Some(0.0) {
        global::once(&mut driver)?;
    } else {
        let mut purse = Purse::new(config);
        if config.phases != Phases::Layerwise {
            global::run(&mut driver, &mut purse)?;
            purse.hand_on(config.phases);
        }
        if config.phases != Phases::Global {
            layerwise::run(&mut driver, &mut purse)?;
        }
        if !driver.steps.is_empty() {
            driver.finish(purse.last())?;
        }
    }
    let reached =
        config.target.is_none_or(|target| driver.count(target) <= target.limit(base.graph()));
    let test = driver.test();
    // Against a test accuracy only a test accuracy is a fair drop: steps are judged by validation
    // images, but a base that has seen those leaves something of them in the network.
    let drop_points = driver.drop_of(match driver.reference.0 {
        "test" => test.accuracy,
        _ => driver.accuracy,
    });
    let base_graph = base.graph();
    Ok(Outcome {
        base: Facts::new(base_graph, &driver.base_test, driver.base_validation),
        pruned: Facts::new(driver.network.graph(), &test, driver.accuracy),
        test_drop: PairedDrop::new(&driver.base_test.correct, &test.correct),
        reference: driver.reference.0,
        reference_accuracy: driver.reference.1,
        drop_points,
        target_met: reached && drop_points <= config.max_drop,
        epochs: driver.epochs,
        without_bias_update: driver
            .without_bias_update
            .iter()
            .map(|&id| base_graph.node(id).name.clone())
            .collect(),
        steps: driver.steps,
        plan: driver.plan,
        network: driver.network,
    })
}
