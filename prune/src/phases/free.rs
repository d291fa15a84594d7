//! Channels that cost no time. Kernels work on vectors, so that a layer often takes as long with a few
//! channels more: before the final fine-tuning of a run with a latency target, those come back, the last
//! removed first, with the weights that they had in the base network.

use super::pruner::Pruner;
use super::state::take;
use crate::channels::{ChannelId, Channels};
use crate::plan::{self, Plan};
use crate::surgery::{self, Kept};
use crate::target::Unit;
use pleach_core::Network;
use pleach_core::graph::{Graph, NodeId};
use std::collections::{BTreeMap, VecDeque};
use std::mem;

/// By how much the predicted time may grow in all, as a part: less than two measurements differ by.
const FREE: f64 = 0.005;

impl Pruner<'_> {
    /// Gives free channels back to the network that stands, if there is a latency target.
    pub(super) fn give_back_free_channels(&mut self) {
        let Some(target) = self.config.target else { return };
        if target.unit != Unit::Latency || !self.config.free_channels {
            return;
        }
        let base = self.base.graph();
        let channels = Channels::of(base);
        let before = plan::kept(base, &channels, &self.state.plan);
        let before = before.expect("a run's plan fits its base, which a state is checked for");
        let meter = self.meter(target);
        let time = |kept: &Kept| meter.count(&surgery::shrink(base, &channels, kept));
        let now = time(&before);
        let grown = (now as f64 * (1.0 + FREE)) as u64;
        let limit = self.limit(target);
        let most = if now <= limit { grown.min(limit) } else { grown };
        let mut kept = before.clone();
        let mut queues = queues(&channels, &before, &self.state.plan, base);
        // One channel at a time, wherever the next costs least.
        loop {
            let next = queues.iter().enumerate().filter_map(|(queue, classes)| {
                let mut wider = kept.clone();
                wider.add(*classes.front()?);
                Some((time(&wider), queue))
            });
            let Some((time, queue)) = next.min() else { break };
            if time > most {
                break;
            }
            kept.add(queues[queue].pop_front().expect("it was the queue's first"));
        }
        if kept == before {
            return;
        }
        let network = with(self.base, &self.network, &channels, &before, &kept);
        self.state.given_back = returned(base, &channels, &before, &kept);
        for (layer, indices) in self.state.given_back.clone() {
            let kept = self.state.plan.kept.get_mut(&layer).expect("every layer is in the plan");
            kept.extend(&indices);
            kept.sort_unstable();
            // Some may have been given back before, by the run that this one goes on from.
            let returned = self.state.plan.returned.entry(layer).or_default();
            returned.extend(indices);
            returned.sort_unstable();
            returned.dedup();
        }
        self.stand(network);
        self.state.network += 1;
    }

    /// The channels of the network that stands that were given back.
    pub(super) fn returned_channels(&self) -> Vec<ChannelId> {
        let is_returned = |&(layer, index): &(NodeId, usize)| {
            let returned = self.state.given_back.get(&self.network.graph().node(layer).name);
            returned.is_some_and(|of| of.contains(&self.lineage.indices(layer)[index]))
        };
        let classes = (0..self.channels.len()).map(ChannelId);
        classes.filter(|&class| self.channels.members(class).iter().any(is_returned)).collect()
    }

    /// Takes back what [`Self::give_back_free_channels`] gave: the network stands again whose accuracy the state
    /// has.
    pub(super) fn take_back_free_channels(&mut self) {
        let given_back = mem::take(&mut self.state.given_back);
        if given_back.is_empty() {
            return;
        }
        let base = self.base.graph();
        let channels = Channels::of(base);
        let kept =
            |plan: &Plan| plan::kept(base, &channels, plan).expect("it is a part of the plan");
        let before = kept(&self.state.plan);
        take(&mut self.state.plan.kept, &given_back);
        take(&mut self.state.plan.returned, &given_back);
        self.state.plan.returned.retain(|_, indices| !indices.is_empty());
        let after = kept(&self.state.plan);
        self.stand(with(self.base, &self.network, &channels, &before, &after));
        self.state.network += 1;
    }
}

/// The classes that are not kept, group by group, the best first: what was removed last, and of that the
/// highest score.
fn queues(channels: &Channels, kept: &Kept, plan: &Plan, base: &Graph) -> Vec<VecDeque<ChannelId>> {
    let mut merit: BTreeMap<(&str, usize), (usize, f64)> = BTreeMap::new();
    for (number, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.accepted) {
        for (layer, indices) in &step.removed {
            let scores = step.scores.get(layer).into_iter().flatten();
            for (&index, &score) in indices.iter().zip(scores) {
                merit.insert((layer.as_str(), index), (number, score));
            }
        }
    }
    let merit_of = |class: ChannelId| {
        let (layer, index) = channels.members(class)[0];
        merit.get(&(base.node(layer).name.as_str(), index)).copied().unwrap_or((0, 0.0))
    };
    let of_group = |classes: &[ChannelId]| {
        let mut gone: Vec<ChannelId> =
            classes.iter().copied().filter(|&class| !kept.contains(class)).collect();
        gone.sort_by(|&a, &b| {
            let ((step_a, score_a), (step_b, score_b)) = (merit_of(a), merit_of(b));
            step_b.cmp(&step_a).then(score_b.total_cmp(&score_a)).then(a.cmp(&b))
        });
        gone.into()
    };
    channels.groups().iter().map(|group| of_group(&group.channels)).collect()
}

/// The channels of `after` that `before` lacks, by layer, as original channel numbers.
fn returned(
    base: &Graph,
    channels: &Channels,
    before: &Kept,
    after: &Kept,
) -> BTreeMap<String, Vec<usize>> {
    let mut returned: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for class in before.removed().filter(|&class| after.contains(class)) {
        for &(layer, index) in channels.members(class) {
            let name = &base.node(layer).name;
            returned.entry(name.clone()).or_default().push(index);
        }
    }
    returned.values_mut().for_each(|indices| indices.sort_unstable());
    returned
}

/// The base network with the channels `after`: values are those of `standing`, which has the channels
/// `before`, wherever it has them, and the base's elsewhere. Without the optimiser's state.
fn with(
    base: &Network,
    standing: &Network,
    channels: &Channels,
    before: &Kept,
    after: &Kept,
) -> Network {
    let mut merged = base.clone().without_training_state();
    surgery::paste(&mut merged, standing, channels, before);
    surgery::prune(&merged, channels, after)
}
