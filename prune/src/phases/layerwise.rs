use super::budget::Purse;
use super::driver::{Driver, Removal};
use super::global::rounds_for;
use crate::channels::ChannelId;
use crate::error::PruneError;
use crate::select::share_of;
use pleach_core::graph::NodeId;
use std::collections::BTreeSet;

/// Phase II: for each group of channels (a layer, or layers that a residual sum joins), by
/// multiply-adds left, largest first: remove its lowest, update biases, fine-tune briefly; keep that
/// if the drop stays within the limit, otherwise undo it and leave the group alone from then on.
/// Again, until every group is left alone or the target is met.
pub(super) fn run(driver: &mut Driver<'_>, purse: &mut Purse) -> Result<(), PruneError> {
    let target = driver.config.target;
    let limit = target.map_or(0, |target| target.limit(&driver.base_graph));
    let mut done: BTreeSet<Vec<NodeId>> = BTreeSet::new();
    loop {
        let groups = by_macs(driver);
        let mut tried = false;
        for producers in groups {
            if target.is_some_and(|target| driver.count(target) <= limit) {
                return Ok(());
            }
            if done.contains(&producers) {
                continue;
            }
            let candidates = candidates(driver, &producers);
            let amount = share_of(candidates.len(), driver.config.layerwise_step);
            let scored = driver.score()?;
            let removed = driver.choose(&candidates, &scored.scores, amount, target, limit);
            if removed.is_empty() {
                done.insert(producers);
                continue;
            }
            let trials = target.map(|target| {
                let left = driver.count(target) as f64 / limit.max(1) as f64;
                let sweeps = rounds_for(left, driver.config.layerwise_step);
                sweeps * (groups_left(driver, &done) as f64)
            });
            let Some(epochs) = purse.layerwise(trials) else { return Ok(()) };
            let graph = driver.network.graph();
            let layers = producers.iter().map(|&id| graph.node(id).name.clone()).collect();
            let before = driver.epochs;
            let accepted = driver.attempt(&Removal {
                phase: "layerwise",
                layers,
                removed: &removed,
                scored: &scored,
                epochs,
                limit: driver.config.layerwise_drop(),
            })?;
            purse.spend_layerwise(driver.epochs - before);
            tried = true;
            if !accepted {
                done.insert(producers);
            }
        }
        if !tried {
            return Ok(());
        }
    }
}

/// The prunable groups, named by their layers, by the multiply-adds of their layers and of those
/// that take their channels, largest first.
fn by_macs(driver: &Driver<'_>) -> Vec<Vec<NodeId>> {
    let graph = driver.network.graph();
    let groups = driver.channels.groups().iter().filter(|group| group.prunable.is_ok());
    let mut groups: Vec<(u64, Vec<NodeId>)> = groups
        .map(|group| {
            let macs = group.producers.iter().map(|&id| graph.node_macs(id)).sum();
            (macs, group.producers.clone())
        })
        .collect();
    groups.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    groups.into_iter().map(|(_, producers)| producers).collect()
}

fn candidates(driver: &Driver<'_>, producers: &[NodeId]) -> Vec<ChannelId> {
    let groups = driver.channels.groups().iter();
    let mut of = groups.filter(|group| group.producers == producers);
    of.next().map(|group| group.channels.clone()).unwrap_or_default()
}

fn groups_left(driver: &Driver<'_>, done: &BTreeSet<Vec<NodeId>>) -> usize {
    let groups = driver.channels.groups().iter();
    groups.filter(|group| group.prunable.is_ok() && !done.contains(&group.producers)).count()
}
