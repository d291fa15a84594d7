//! Which channels live and die together.
//!
//! A symbolic loop over the graph, without numbers: every output channel of every layer that
//! produces channels starts as a class of its own, and a union-find joins classes where the layers
//! in between say that one channel exists only where another does (see
//! [`Coupling`]). Nothing here knows a kind of layer.

use pleach_core::graph::{Graph, NodeId};
use pleach_core::layers::{Coupling, Layer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A class of channels that can only be removed together, numbered in graph order from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub usize);

/// Why a class of channels cannot be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unprunable {
    /// One of them is a channel of the image, whose number is given.
    Image,
    /// One of them is an output of the network.
    Output,
}

impl fmt::Display for Unprunable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "joined with the channels of the image",
            Self::Output => "joined with the outputs of the network",
        })
    }
}

/// Classes with the same producers: the channels of one layer, or of the layers that a residual sum
/// joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelGroup {
    /// The classes, ascending.
    pub channels: Vec<ChannelId>,
    /// The layers that make them, in graph order.
    pub producers: Vec<NodeId>,
    /// The layers that they go into and end in, in graph order.
    pub consumers: Vec<NodeId>,
    /// Whether the classes can be removed, or why not.
    pub prunable: Result<(), Unprunable>,
}

/// The classes of channels of one graph.
#[derive(Clone, Debug)]
pub struct Channels {
    outputs: Vec<Vec<ChannelId>>,
    members: Vec<Vec<(NodeId, usize)>>,
    groups: Vec<ChannelGroup>,
    group_of: Vec<usize>,
}

impl Channels {
    /// The classes of `graph`.
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let mut union = UnionFind::default();
        let mut slots: Vec<Vec<usize>> = Vec::with_capacity(graph.nodes().len());
        for node in graph.nodes() {
            let inputs = || node.inputs.iter().map(|input| &slots[input.0]);
            let own = match node.layer.kind().coupling() {
                Coupling::Produces => (0..node.shape.channels).map(|_| union.add()).collect(),
                Coupling::Keeps => {
                    for other in inputs().skip(1) {
                        for (&a, &b) in slots[node.inputs[0].0].iter().zip(other) {
                            union.join(a, b);
                        }
                    }
                    slots[node.inputs[0].0].clone()
                }
                Coupling::Concatenates => inputs().flatten().copied().collect(),
                Coupling::Spreads => {
                    let block = graph.node(node.inputs[0]).shape.area();
                    inputs().flatten().flat_map(|&slot| std::iter::repeat_n(slot, block)).collect()
                }
            };
            slots.push(own);
        }

        let mut numbers = BTreeMap::new();
        let mut number = |slot: usize| {
            let next = ChannelId(numbers.len());
            *numbers.entry(union.root(slot)).or_insert(next)
        };
        let outputs: Vec<Vec<ChannelId>> =
            slots.iter().map(|own| own.iter().map(|&slot| number(slot)).collect()).collect();
        let mut members = vec![Vec::new(); numbers.len()];
        for id in producers(graph) {
            for (index, class) in outputs[id.0].iter().enumerate() {
                members[class.0].push((id, index));
            }
        }
        let (groups, group_of) = group(graph, &outputs, &members);
        Self { outputs, members, groups, group_of }
    }

    /// The number of classes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no classes (never: the image has channels).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The class of each output channel of a node. A class can stand here several times: once a
    /// pixel after a flatten layer, or in a concatenation of a layer with itself.
    #[must_use]
    pub fn outputs(&self, id: NodeId) -> &[ChannelId] {
        &self.outputs[id.0]
    }

    /// The channels that make up a class: producing layers, in graph order, and indices.
    #[must_use]
    pub fn members(&self, class: ChannelId) -> &[(NodeId, usize)] {
        &self.members[class.0]
    }

    /// All groups, in the order of their first class. Each class is in exactly one.
    #[must_use]
    pub fn groups(&self) -> &[ChannelGroup] {
        &self.groups
    }

    /// The group of a class.
    #[must_use]
    pub fn group(&self, class: ChannelId) -> &ChannelGroup {
        &self.groups[self.group_of[class.0]]
    }

    /// The position of a class's group in [`Channels::groups`].
    #[must_use]
    pub fn group_index(&self, class: ChannelId) -> usize {
        self.group_of[class.0]
    }

    /// The classes that can be removed, ascending.
    #[must_use]
    pub fn prunable(&self) -> Vec<ChannelId> {
        let all = (0..self.len()).map(ChannelId);
        all.filter(|&class| self.group(class).prunable.is_ok()).collect()
    }

    /// The layers with at least one channel that can be removed, in graph order.
    #[must_use]
    pub fn prunable_layers(&self) -> Vec<NodeId> {
        let groups = self.groups.iter().filter(|group| group.prunable.is_ok());
        let layers: BTreeSet<NodeId> = groups.flat_map(|group| &group.producers).copied().collect();
        layers.into_iter().collect()
    }
}

/// The nodes that produce channels of their own, the image included, in graph order.
pub fn producers(graph: &Graph) -> impl Iterator<Item = NodeId> {
    let is_producer = |id: &NodeId| is_producer(graph, *id);
    graph.ids().filter(is_producer)
}

fn is_producer(graph: &Graph, id: NodeId) -> bool {
    graph.node(id).layer.kind().coupling() == Coupling::Produces
}

/// The batch norm that alone takes the output of `id`, if one does.
#[must_use]
pub fn batch_norm_after(graph: &Graph, id: NodeId) -> Option<NodeId> {
    sole_consumer(graph, id).filter(|&next| matches!(graph.node(next).layer, Layer::BatchNorm2d(_)))
}

/// The node where a layer's answer is read: the layer itself, its batch norm where one follows
/// directly, and then the ReLU where one follows directly. A residual sum comes after it.
#[must_use]
pub fn answer_of(graph: &Graph, layer: NodeId) -> NodeId {
    let normalised = batch_norm_after(graph, layer).unwrap_or(layer);
    sole_consumer(graph, normalised)
        .filter(|&next| matches!(graph.node(next).layer, Layer::Relu(_)))
        .unwrap_or(normalised)
}

fn sole_consumer(graph: &Graph, id: NodeId) -> Option<NodeId> {
    match graph.consumers(id) {
        [next] if id != graph.output() => Some(*next),
        _ => None,
    }
}

fn group(
    graph: &Graph,
    outputs: &[Vec<ChannelId>],
    members: &[Vec<(NodeId, usize)>],
) -> (Vec<ChannelGroup>, Vec<usize>) {
    let mut reasons = vec![None; members.len()];
    for class in &outputs[graph.output().0] {
        reasons[class.0] = Some(Unprunable::Output);
    }
    for class in &outputs[graph.input().0] {
        reasons[class.0] = Some(Unprunable::Image);
    }
    let mut groups: Vec<ChannelGroup> = Vec::new();
    let mut places = BTreeMap::new();
    let mut group_of = Vec::with_capacity(members.len());
    for (class, (members, reason)) in members.iter().zip(&reasons).enumerate() {
        let mut producers: Vec<NodeId> = members.iter().map(|&(id, _)| id).collect();
        producers.dedup();
        let place = *places.entry((producers.clone(), *reason)).or_insert_with(|| {
            let prunable = reason.map_or(Ok(()), Err);
            let (channels, consumers) = (Vec::new(), Vec::new());
            groups.push(ChannelGroup { channels, producers, consumers, prunable });
            groups.len() - 1
        });
        groups[place].channels.push(ChannelId(class));
        group_of.push(place);
    }
    for id in producers(graph) {
        let taken = graph.node(id).inputs.iter().flat_map(|input| &outputs[input.0]);
        let places: BTreeSet<usize> = taken.map(|class| group_of[class.0]).collect();
        for place in places {
            groups[place].consumers.push(id);
        }
    }
    (groups, group_of)
}

#[derive(Default)]
struct UnionFind {
    parents: Vec<usize>,
}

impl UnionFind {
    fn add(&mut self) -> usize {
        self.parents.push(self.parents.len());
        self.parents.len() - 1
    }

    fn root(&mut self, mut slot: usize) -> usize {
        while self.parents[slot] != slot {
            self.parents[slot] = self.parents[self.parents[slot]];
            slot = self.parents[slot];
        }
        slot
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        let (first, second) = (a.min(b), a.max(b));
        self.parents[second] = first;
    }
}
