//! The order in which a sweep of phase II tries the groups of channels.

use super::config::{Order, PruneConfig};
use super::layerwise::names;
use super::pruner::Pruner;
use super::record::{Event, RunObserver};
use super::state::Stage;
use crate::channels::{ChannelGroup, ChannelId};
use crate::error::PruneError;
use crate::select::{most_leaving, share_leaving};
use crate::surgery::{self, Kept};
use crate::target::{Meter, Unit};
use pleach_core::graph::NodeId;

/// The groups of the next sweep, first to last, each named by its layers.
///
/// # Errors
/// If a criterion cannot score the network or the observer ends the run.
pub(super) fn queue(
    pruner: &mut Pruner<'_>,
    observer: &mut dyn RunObserver,
) -> Result<Vec<Vec<String>>, PruneError> {
    match pruner.config.layerwise_order {
        Order::Macs => Ok(by_macs(pruner)),
        Order::Sensitivity => by_sensitivity(pruner, observer),
    }
}

fn prunable<'a>(pruner: &'a Pruner<'_>) -> impl Iterator<Item = &'a ChannelGroup> {
    pruner.channels.groups().iter().filter(|group| group.prunable.is_ok())
}

fn by_macs(pruner: &Pruner<'_>) -> Vec<Vec<String>> {
    let graph = pruner.network.graph();
    let mut groups: Vec<(u64, &[NodeId])> = prunable(pruner)
        .map(|group| {
            let macs = group.producers.iter().map(|&id| graph.node_macs(id)).sum();
            (macs, &*group.producers)
        })
        .collect();
    groups.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    groups.into_iter().map(|(_, producers)| names(pruner, producers)).collect()
}

fn by_sensitivity(
    pruner: &mut Pruner<'_>,
    observer: &mut dyn RunObserver,
) -> Result<Vec<Vec<String>>, PruneError> {
    let groups: Vec<(Vec<String>, Vec<ChannelId>)> = prunable(pruner)
        .map(|group| (names(pruner, &group.producers), group.channels.clone()))
        .filter(|(name, _)| match &pruner.state.stage {
            Stage::Layerwise(sweep) => !sweep.done.contains(name),
            _ => true,
        })
        .collect();
    let all = groups.len();
    observer.event(&Event::Ordering { done: 0, groups: all });
    let scored = pruner.score()?;
    let unit = pruner.config.target.map_or(Unit::Macs, |target| target.unit);
    let meter = Meter::new(unit, pruner.state.times.as_ref());
    let meter = meter.expect("a state has the times that its target is counted by");
    let before = meter.count(pruner.network.graph());
    let loss = pruner.loss(&pruner.network);
    let mut costs = Vec::with_capacity(groups.len());
    for (done, (name, channels)) in groups.into_iter().enumerate() {
        if !observer.goes_on() {
            return Err(PruneError::Interrupted);
        }
        let &PruneConfig { layerwise_step, round_to, .. } = pruner.config;
        let amount = share_leaving(channels.len(), layerwise_step, round_to);
        let mut removed = pruner.choose(&channels, &scored.scores, amount);
        // A floor may have cut it short.
        removed.truncate(most_leaving(channels.len(), removed.len(), round_to));
        if removed.is_empty() {
            continue;
        }
        let kept = Kept::without(&pruner.channels, &removed);
        let graph = surgery::shrink(pruner.network.graph(), &pruner.channels, &kept);
        let saved = before.saturating_sub(meter.count(&graph)).max(1);
        let harm = pruner.loss_without(&removed, &scored) - loss;
        costs.push((cost(harm, saved as f64), name));
        observer.event(&Event::Ordering { done: done + 1, groups: all });
    }
    costs.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    costs.truncate(tried(costs.len()));
    Ok(costs.into_iter().map(|(_, name)| name).collect())
}

/// What orders removals that raise the loss by `harm` and save so much: the harm for what is saved; where there is
/// none, what saves more comes first; what makes the loss infinite last.
fn cost(harm: f64, saved: f64) -> f64 {
    match harm {
        harm if harm > 0.0 => harm / saved,
        harm if harm <= 0.0 => harm * saved,
        _ => f64::INFINITY,
    }
}

/// Of so many groups that are ordered by sensitivity, how many a sweep tries before all are ordered anew.
pub(super) fn tried(groups: usize) -> usize {
    groups.div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_saves_more_for_its_harm_comes_first_and_what_has_no_loss_last() {
        let removals = [
            ("better, and saves much", -0.1, 100.0),
            ("better, and saves little", -0.1, 1.0),
            ("worse, and saves much", 0.1, 100.0),
            ("worse, and saves little", 0.1, 1.0),
            ("overflows", f64::INFINITY - f64::INFINITY, 1000.0),
        ];
        let costs = removals.map(|(_, harm, saved)| cost(harm, saved));
        assert!(costs.is_sorted_by(|a, b| a < b), "{costs:?}");
    }
}
