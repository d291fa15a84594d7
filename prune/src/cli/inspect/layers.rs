//! A network's layers, one by one.

use pleach_core::NodeId;
use pleach_core::graph::{self, Graph};
use pleach_prune::channels::{ChannelGroup, Channels, producers};
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Serialize)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) kind: &'static str,
    /// Of all its inputs together.
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    /// Height and width of its output.
    pub(super) size: [usize; 2],
    pub(super) macs: u64,
    pub(super) params: u64,
    /// Of its parameters and running statistics, as f32.
    bytes: u64,
    /// Of its output for one image, as f32.
    pub(super) activation_bytes: u64,
    /// The groups that the channels of its output are in.
    pub(super) groups: Vec<usize>,
    /// Whether it makes channels that can be removed.
    prunable: bool,
    /// Why channels that it makes cannot be removed.
    unprunable: Option<String>,
    /// The same for people.
    #[serde(skip)]
    pub(super) note: String,
}

/// All layers but the image.
pub(super) fn of(graph: &Graph) -> Vec<Layer> {
    let channels = Channels::of(graph);
    let makers: Vec<NodeId> = producers(graph).collect();
    let layers = graph::rows(graph).into_iter().map(|row| {
        let groups = groups(&channels, row.id);
        let made: Vec<&ChannelGroup> = match makers.contains(&row.id) {
            true => groups.iter().map(|&group| &channels.groups()[group]).collect(),
            false => Vec::new(),
        };
        let reason = made.iter().find_map(|group| group.prunable.err());
        let inputs = graph.node(row.id).inputs.iter();
        let [height, width] = row.size;
        let notes: Vec<String> = made.iter().map(|group| note(graph, group, row.id)).collect();
        Layer {
            kind: row.kind,
            in_channels: inputs.map(|&input| graph.node(input).shape.channels).sum(),
            out_channels: row.out_channels,
            size: row.size,
            macs: row.macs,
            params: row.params,
            bytes: row.bytes,
            activation_bytes: 4 * (row.out_channels * height * width) as u64,
            groups,
            prunable: made.iter().any(|group| group.prunable.is_ok()),
            unprunable: reason.map(|reason| reason.to_string()),
            note: notes.join("; "),
            name: row.name,
        }
    });
    layers.collect()
}

/// The numbers of the groups that the channels of a layer's output are in.
fn groups(channels: &Channels, id: NodeId) -> Vec<usize> {
    let classes = channels.outputs(id).iter();
    let groups: BTreeSet<usize> = classes.map(|&class| channels.group_index(class)).collect();
    groups.into_iter().collect()
}

fn note(graph: &Graph, group: &ChannelGroup, id: NodeId) -> String {
    match &group.prunable {
        Ok(()) if group.producers.len() > 1 => {
            let others = group.producers.iter().filter(|&&other| other != id);
            let names: Vec<&str> = others.map(|&other| graph.node(other).name.as_str()).collect();
            format!("yes, with {}", names.join(", "))
        }
        Ok(()) => "yes".to_owned(),
        Err(reason) => format!("no: {reason}"),
    }
}
