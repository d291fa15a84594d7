//! Where the channels of a pruned network come from.

use crate::channels::{Channels, producers};
use crate::surgery::Kept;
use pleach_core::graph::{Graph, NodeId};
use std::collections::BTreeMap;

/// For every layer that produces channels (the image does not count), its width in the original network and the original index
/// of each channel it still has. Surgery numbers channels anew; this remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage(BTreeMap<NodeId, LayerLineage>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct LayerLineage {
    name: String,
    width: usize,
    indices: Vec<usize>,
}

impl Lineage {
    /// The lineage of an original network: every channel is itself.
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let layers = producers(graph).filter(|&id| id != graph.input()).map(|id| {
            let width = graph.node(id).shape.channels;
            let name = graph.node(id).name.clone();
            (id, LayerLineage { name, width, indices: (0..width).collect() })
        });
        Self(layers.collect())
    }

    /// The lineage after surgery that keeps `kept`.
    #[must_use]
    pub fn after(&self, channels: &Channels, kept: &Kept) -> Self {
        let layers = self.0.iter().map(|(&id, layer)| {
            let indices = kept.indices(channels, id);
            let indices = indices.into_iter().map(|index| layer.indices[index]).collect();
            (id, LayerLineage { indices, ..layer.clone() })
        });
        Self(layers.collect())
    }

    /// Channels of a layer in the original network.
    ///
    /// # Panics
    /// If `id` is no layer that produces channels.
    #[must_use]
    pub fn width(&self, id: NodeId) -> usize {
        self.0[&id].width
    }

    /// The original index of each channel of a layer, ascending.
    ///
    /// # Panics
    /// If `id` is no layer that produces channels.
    #[must_use]
    pub fn indices(&self, id: NodeId) -> &[usize] {
        &self.0[&id].indices
    }

    /// The original indices of the channels each layer still has, by layer name.
    #[must_use]
    pub fn kept(&self) -> BTreeMap<String, Vec<usize>> {
        self.0.values().map(|layer| (layer.name.clone(), layer.indices.clone())).collect()
    }

    /// The original indices of the channels that surgery keeping `kept` takes from each layer, by
    /// layer name; layers that lose nothing are left out.
    #[must_use]
    pub fn removed(&self, channels: &Channels, kept: &Kept) -> BTreeMap<String, Vec<usize>> {
        let mut removed = BTreeMap::new();
        for (&id, layer) in &self.0 {
            let classes = channels.outputs(id).iter().zip(&layer.indices);
            let indices: Vec<usize> = classes
                .filter(|(class, _)| !kept.contains(**class))
                .map(|(_, &index)| index)
                .collect();
            if !indices.is_empty() {
                removed.insert(layer.name.clone(), indices);
            }
        }
        removed
    }
}
