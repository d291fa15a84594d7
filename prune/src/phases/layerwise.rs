use super::budget::Steps;
use super::global::rounds_for;
use super::order;
use super::pruner::Pruner;
use super::record::RunObserver;
use super::state::{Stage, Sweep};
use super::trial::Removal;
use crate::channels::{ChannelGroup, ChannelId};
use crate::criteria::Scores;
use crate::error::PruneError;
use crate::select::{most_leaving, share_leaving};
use crate::target::{Target, Unit};
use pleach_core::graph::NodeId;
use std::collections::BTreeSet;

/// A removal that leaves multiples is far beyond the target from this share of it on.
const FAR: f64 = 0.01;

/// The removal of the next trial of phase II (see [`super`]), of a group in the sweep's queue; `None`: the phase
/// is over.
pub(super) fn next(
    pruner: &mut Pruner<'_>,
    observer: &mut dyn RunObserver,
) -> Result<Option<Removal>, PruneError> {
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
            let queue = order::queue(pruner, observer)?.into();
            let sweep = sweep(pruner);
            (sweep.queue, sweep.tried) = (queue, false);
            continue;
        };
        if sweep(pruner).done.contains(&group) {
            sweep(pruner).queue.pop_front();
            continue;
        }
        let scored = pruner.score()?;
        let group = match target {
            Some(target) => nearest(pruner, group, &scored.scores, (target, limit)),
            None => group,
        };
        let removed = removal(pruner, &group, &scored.scores, limit);
        if removed.is_empty() {
            let sweep = sweep(pruner);
            sweep.queue.pop_front();
            sweep.done.insert(group);
            continue;
        }
        let done = sweep(pruner).done.clone();
        let groups = groups_left(pruner, &done) as f64;
        let step = pruner.config.layerwise_step;
        let trials = |fewer, unit| rounds_for(fewer, step, unit) * groups;
        let trials = match target {
            Some(target) => Steps::ToTarget(trials(pruner.left(target, limit), target.unit)),
            None => Steps::WithinLimit(trials(pruner.config.parts(None)[1], Unit::Macs)),
        };
        return Ok(pruner.state.purse.layerwise(trials).map(|epochs| Removal {
            layers: group,
            removed,
            scored,
            epochs,
            limit: pruner.config.layerwise_drop(),
        }));
    }
}

/// What a trial of `group` removes: nothing, if its floor or its multiple leave no more to take.
fn removal(pruner: &Pruner<'_>, group: &[String], scores: &Scores, limit: u64) -> Vec<ChannelId> {
    let candidates = candidates(pruner, group);
    let (all, multiple) = (candidates.len(), pruner.config.round_to);
    let amount = share_leaving(all, pruner.config.layerwise_step, multiple);
    let mut removed = pruner.choose(&candidates, scores, amount);
    // A floor may have cut it short.
    removed.truncate(most_leaving(all, removed.len(), multiple));
    let left = all - pruner.enough(&removed, pruner.config.target, limit);
    removed.truncate(all - left / multiple * multiple);
    removed
}

/// The group whose turn it is: `first`, the first of the queue, unless whole multiples take it [far](FAR) beyond the
/// target. Then whichever stays nearest to it has its turn, in the order of the queue and of the network.
fn nearest(
    pruner: &mut Pruner<'_>,
    first: Vec<String>,
    scores: &Scores,
    (target, limit): (Target, u64),
) -> Vec<String> {
    let far = (FAR * limit as f64) as u64;
    let beyond = |group: &Vec<String>| {
        let removed = removal(pruner, group, scores, limit);
        if removed.is_empty() {
            return u64::MAX;
        }
        let beyond = limit.saturating_sub(pruner.count_without(&removed, target));
        if beyond > far { beyond } else { 0 }
    };
    if pruner.config.round_to == 1 || beyond(&first) == 0 {
        return first;
    }
    let Stage::Layerwise(Sweep { queue, done, .. }) = &pruner.state.stage else {
        unreachable!("phase II is at hand")
    };
    let groups = pruner.channels.groups().iter().filter(|group| group.prunable.is_ok());
    let others = groups.map(|group| names(pruner, &group.producers));
    let open = queue.iter().cloned().chain(others).filter(|group| !done.contains(group));
    let nearest = open.min_by_key(beyond).unwrap_or(first);
    let queue = &mut sweep(pruner).queue;
    queue.retain(|group| *group != nearest);
    queue.push_front(nearest.clone());
    nearest
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
