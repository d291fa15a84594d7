//! Widths of a graph, as the models take them.

use crate::graph::{Graph, NodeId};
use crate::layers::Coupling;
use std::collections::BTreeMap;

/// Output channels that the graph forces to be equally many: those of one layer, or of the layers
/// that residual adds join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WidthGroup {
    /// Its number of channels.
    pub width: usize,
    /// The layers that make them, in graph order.
    pub producers: Vec<NodeId>,
}

/// The groups of `graph` in the order in which it first makes them. The image's channels and the
/// logits are in none.
#[must_use]
pub fn width_groups(graph: &Graph) -> Vec<WidthGroup> {
    let mut union: Vec<usize> = Vec::new();
    let mut makers: Vec<NodeId> = Vec::new();
    let mut channels: Vec<Vec<usize>> = Vec::with_capacity(graph.nodes().len());
    for id in graph.ids() {
        let node = graph.node(id);
        let inputs = || node.inputs.iter().map(|input| &channels[input.0]);
        let own: Vec<usize> = match node.layer.kind().coupling() {
            Coupling::Produces => {
                let first = union.len();
                let end = first + node.shape.channels;
                union.extend(first..end);
                makers.resize(end, id);
                (first..end).collect()
            }
            Coupling::Keeps => {
                for other in inputs().skip(1) {
                    for (&a, &b) in channels[node.inputs[0].0].iter().zip(other) {
                        let (a, b) = (root(&mut union, a), root(&mut union, b));
                        union[a.max(b)] = a.min(b);
                    }
                }
                channels[node.inputs[0].0].clone()
            }
            Coupling::Concatenates => inputs().flatten().copied().collect(),
            Coupling::Spreads => {
                let block = graph.node(node.inputs[0]).shape.area();
                inputs().flatten().flat_map(|&c| std::iter::repeat_n(c, block)).collect()
            }
        };
        channels.push(own);
    }

    let mut classes: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
    for (channel, &maker) in makers.iter().enumerate() {
        let producers = classes.entry(root(&mut union, channel)).or_default();
        if producers.last() != Some(&maker) {
            producers.push(maker);
        }
    }
    for node in [graph.input(), graph.output()] {
        for &channel in &channels[node.0] {
            classes.remove(&root(&mut union, channel));
        }
    }
    let mut groups: Vec<WidthGroup> = Vec::new();
    let mut places: BTreeMap<Vec<NodeId>, usize> = BTreeMap::new();
    for producers in classes.into_values() {
        match places.get(&producers) {
            Some(&place) => groups[place].width += 1,
            None => {
                places.insert(producers.clone(), groups.len());
                groups.push(WidthGroup { width: 1, producers });
            }
        }
    }
    groups
}

/// The widths of `graph`, one a [`WidthGroup`]: `NAME:W,W,...` with these builds a model again, pruned
/// or not.
#[must_use]
pub fn widths(graph: &Graph) -> Vec<usize> {
    width_groups(graph).iter().map(|group| group.width).collect()
}

fn root(union: &mut [usize], mut channel: usize) -> usize {
    while union[channel] != channel {
        union[channel] = union[union[channel]];
        channel = union[channel];
    }
    channel
}
