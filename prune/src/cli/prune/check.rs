//! Whether a network allows what is asked for.

use crate::cli::exit::usage;
use crate::cli::output::grouped;
use crate::cli::trainable;
use anyhow::Result;
use pleach_core::graph::Graph;
use pleach_datasets::Dataset;
use pleach_prune::channels::{ChannelId, Channels};
use pleach_prune::criteria::{self, Scores};
use pleach_prune::lineage::Lineage;
use pleach_prune::phases::{Phases, PruneConfig};
use pleach_prune::plan;
use pleach_prune::select::{Floors, lowest, most_leaving};
use pleach_prune::surgery::{self, Kept};
use pleach_prune::target::Meter;

/// Refuses what this network and these data do not allow, before anything is written.
pub(super) fn check_for(config: &PruneConfig, dataset: &dyn Dataset, graph: &Graph) -> Result<()> {
    for (training, table) in
        [(&config.tune, "prune.tune"), (&config.final_tune, "prune.final_tune")]
    {
        trainable::check(training, dataset, graph, table)?;
    }
    warn_of_idle_tuning(config, dataset);
    let channels = Channels::of(graph);
    let layers = channels.prunable_layers();
    if layers.is_empty() {
        return Err(usage("no layer of this network has channels that can be removed"));
    }
    criteria::named(&config.criterion)?.check(graph, &layers)?;
    if let Some(keeps) = &config.replay {
        plan::kept_of(graph, &channels, keeps)?;
        return Ok(());
    }
    let Some(target) = config.target else {
        return match config.epochs_budget {
            Some(0.0) => Err(usage(
                "--epochs-budget 0 prunes once, without fine-tuning, and needs to know how far: give --macs, \
                 --params, --channels or --latency",
            )),
            _ => Ok(()),
        };
    };
    let unit = target.unit;
    // What a latency target asks for is known when the run has measured the layers.
    let Some(meter) = Meter::new(unit, None) else { return Ok(()) };
    let limit = meter.limit(graph, target.amount);
    let left = |config: &PruneConfig| {
        meter.count(&surgery::shrink(graph, &channels, &least(graph, &channels, config)))
    };
    let least = left(config);
    if least <= limit {
        return Ok(());
    }
    let multiples = (0..config.round_to.ilog2()).rev().map(|log| 1 << log);
    let fits = |&round_to: &usize| left(&PruneConfig { round_to, ..config.clone() }) <= limit;
    let advice = multiples.into_iter().find(fits).map(|multiple| {
        format!(
            "; layers keep multiples of {} channels: --round-to {multiple} would do",
            config.round_to
        )
    });
    Err(usage(format!(
        "a target of {:.2}x fewer {unit} is impossible: with every layer as narrow as it may be {} of {} are left, \
         more than {}{}",
        target.amount.factor(),
        grouped(least),
        grouped(meter.count(graph)),
        grouped(limit),
        advice.unwrap_or_default()
    )))
}

/// Warns of fine-tuning that is asked for and has no step.
fn warn_of_idle_tuning(config: &PruneConfig, dataset: &dyn Dataset) {
    // A budget is shared out as the run goes.
    if config.epochs_budget.is_some() {
        return;
    }
    let (tune, last) = (config.tune.batch, config.final_tune.batch);
    let mut tunings = vec![("prune.final_epochs", config.final_epochs, last)];
    if config.phases != Phases::Layerwise && config.replay.is_none() {
        tunings.push(("prune.global_epochs", config.global_epochs, tune));
    }
    if config.phases != Phases::Global && config.replay.is_none() {
        tunings.push(("prune.layerwise_epochs", config.layerwise_epochs, tune));
    }
    for (name, epochs, batch) in tunings {
        if epochs > 0.0 && trainable::steps(epochs, batch, dataset) == 0 {
            log::warn!(
                "{name} is {epochs}, less than one step of {batch} images: nothing is fine-tuned then"
            );
        }
    }
}

/// As few channels as the floors allow.
pub(super) fn least(graph: &Graph, channels: &Channels, config: &PruneConfig) -> Kept {
    let floors = Floors::new(channels, &Lineage::of(graph), config.floor);
    let scores = Scores::from_classes(vec![0.0; channels.len()], vec![0.0; channels.len()]);
    let all = channels.prunable();
    let mut removed = lowest(channels, &all, &scores, all.len(), &floors);
    // Only phase II by steps leaves multiples.
    if config.phases == Phases::Layerwise && config.epochs_budget != Some(0.0) {
        for group in channels.groups() {
            let of_it = |channel: &ChannelId| group.channels.binary_search(channel).is_ok();
            let count = removed.iter().filter(|channel| of_it(channel)).count();
            let most = most_leaving(group.channels.len(), count, config.round_to);
            let mut kept = 0..;
            removed.retain(|channel| !of_it(channel) || kept.next() < Some(most));
        }
    }
    Kept::without(channels, &removed)
}
