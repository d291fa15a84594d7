use super::global::rounds_for;
use super::order;
use super::pruner::Pruner;
use super::state::{Stage, Sweep};
use super::trial::Removal;
use crate::channels::{ChannelGroup, ChannelId};
use crate::error::PruneError;
use crate::select::{most_leaving, share_leaving};
use pleach_core::graph::NodeId;
use std::collections::BTreeSet;

/// The removal of the next trial of phase II (see [`super`]), of the first group in the sweep's queue; `None`: the
/// phase is over.
pub(super) fn next(pruner: &mut Pruner<'_>) -> Result<Option<Removal>, PruneError> {
    let target = pruner.config.target;
    let limit = target.map_or(0, |target| pruner.limit(target));
    loop {
        if target.is_some_and(|target| pruner.count(target) <= limit) {
            return Ok(None);
        }
        let Some(group) = sweep(pruner).queue.front().cloned() else {
            if !sweep(pruner).tried {
                return Ok(None);
            }
            let queue = order::queue(pruner)?.into();
            let sweep = sweep(pruner);
            (sweep.queue, sweep.tried) = (queue, false);
            continue;
        };
        if sweep(pruner).done.contains(&group) {
            sweep(pruner).queue.pop_front();
            continue;
        }
        let candidates = candidates(pruner, &group);
        let (all, multiple) = (candidates.len(), pruner.config.round_to);
        let amount = share_leaving(all, pruner.config.layerwise_step, multiple);
        let scored = pruner.score()?;
        let mut removed = pruner.choose(&candidates, &scored.scores, amount);
        // A floor may have cut it short.
        removed.truncate(most_leaving(all, removed.len(), multiple));
        let left = all - pruner.enough(&removed, target, limit);
        removed.truncate(all - left / multiple * multiple);
        if removed.is_empty() {
            let sweep = sweep(pruner);
            sweep.queue.pop_front();
            sweep.done.insert(group);
            continue;
        }
        let trials = target.map(|target| {
            let left = pruner.count(target) as f64 / limit.max(1) as f64;
            let sweeps = rounds_for(left, pruner.config.layerwise_step);
            let done = sweep(pruner).done.clone();
            sweeps * (groups_left(pruner, &done) as f64)
        });
        return Ok(pruner.state.purse.layerwise(trials).map(|epochs| Removal {
            layers: group,
            removed,
            scored,
            epochs,
            limit: pruner.config.layerwise_drop(),
        }));
    }
}

fn sweep<'a>(pruner: &'a mut Pruner<'_>) -> &'a mut Sweep {
    match &mut pruner.state.stage {
        Stage::Layerwise(sweep) => sweep,
        _ => unreachable!("phase II is at hand"),
    }
}

pub(super) fn names(pruner: &Pruner<'_>, producers: &[NodeId]) -> Vec<String> {
    let graph = pruner.network.graph();
    producers.iter().map(|&id| graph.node(id).name.clone()).collect()
}

fn candidates(pruner: &Pruner<'_>, name: &[String]) -> Vec<ChannelId> {
    let is_it = |group: &&ChannelGroup| names(pruner, &group.producers) == name;
    let group = pruner.channels.groups().iter().find(is_it);
    group.map(|group| group.channels.clone()).unwrap_or_default()
}

fn groups_left(pruner: &Pruner<'_>, done: &BTreeSet<Vec<String>>) -> usize {
    let groups = pruner.channels.groups().iter();
    let left = |group: &&ChannelGroup| {
        group.prunable.is_ok() && !done.contains(&names(pruner, &group.producers))
    };
    groups.filter(left).count()
}
