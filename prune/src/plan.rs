//! The record of a pruning run, from which its network's shape can be made again.

use crate::channels::{ChannelId, Channels};
use crate::lineage::Lineage;
use crate::surgery::{self, Kept, SurgeryError};
use pleach_core::Network;
use pleach_core::graph::Graph;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The schema that this version writes and reads.
pub const SCHEMA: &str = "pleach.plan/1";

/// What was removed, why, and what it did. All channel numbers are those of the original network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// The original network, as models are named.
    pub model: String,
    /// The channel groups of the original network, what cannot be pruned included.
    pub groups: Vec<PlanGroup>,
    /// The criterion's scores of the original network's filters, by layer name, neither normalised nor joined;
    /// none before the first removal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, Vec<f32>>,
    /// The channels of layers some of which only go together, which their groups count once: by layer name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub widths: BTreeMap<String, usize>,
    /// The steps, in order; those that were undone too.
    pub steps: Vec<PlanStep>,
    /// The channels that were removed and given back, because they cost no time: ascending, by layer name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub returned: BTreeMap<String, Vec<usize>>,
    /// The channels that each layer keeps in the end, ascending, by layer name.
    pub kept: BTreeMap<String, Vec<usize>>,
    /// What the last scoring gave each channel that the network had then, by layer name; none in plans of earlier
    /// versions and of runs that scored nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub last_scores: BTreeMap<String, Vec<(usize, f64)>>,
}

/// A channel group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanGroup {
    /// The layers that make its channels.
    pub layers: Vec<String>,
    /// Its channels.
    pub channels: usize,
    /// Why they cannot be removed, if they cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unprunable: Option<String>,
}

/// What a layer is to keep of its channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keeps {
    /// The layer.
    pub layer: String,
    /// Its channels in the original network.
    pub of: usize,
    /// Those that it keeps, ascending.
    pub kept: Vec<usize>,
}

/// One removal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanStep {
    /// `global`, `layerwise`, `once` or `replay`.
    pub phase: String,
    /// The criterion's name.
    pub criterion: String,
    /// The channels removed from each layer, ascending, by layer name.
    pub removed: BTreeMap<String, Vec<usize>>,
    /// Their scores after normalising and joining, in the same order.
    pub scores: BTreeMap<String, Vec<f64>>,
    /// Validation accuracy (a fraction) of the network before the step.
    pub accuracy_before: f64,
    /// Right after surgery, if measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_after_surgery: Option<f64>,
    /// After fine-tuning, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_after_tuning: Option<f64>,
    /// The drop against the base in points (percent) of validation accuracy at the end of the step.
    pub drop_points: f64,
    /// Multiply-adds per image after the step.
    pub macs: u64,
    /// Whether the step stands; if not, it was undone.
    pub accepted: bool,
}

/// Why a plan cannot be read or replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Not JSON, or not of this form.
    #[error("the plan is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another schema.
    #[error("the plan has schema {0:?}, expected {SCHEMA:?}")]
    Schema(String),
    /// A layer that the network lacks, or that makes no channels.
    #[error("the plan keeps channels of {0}, which is no layer of this network with filters")]
    UnknownLayer(String),
    /// Channels that are out of order or out of range.
    #[error("the plan keeps channel {index} of {layer}: channels must ascend and be below {width}")]
    Index {
        /// The layer.
        layer: String,
        /// The offending channel.
        index: usize,
        /// The layer's channels in this network.
        width: usize,
    },
    /// A layer of another width.
    #[error(
        "the plan is for a network whose {layer} has {expected} filters, but this one's has {found}"
    )]
    Width {
        /// The layer.
        layer: String,
        /// Its channels in the plan's original network.
        expected: usize,
        /// Its channels here.
        found: usize,
    },
    /// A channel goes while another stays that lives and dies with it.
    #[error(
        "the plan removes channel {removed} of {layer} but keeps channel {kept} of {other}, which goes with it"
    )]
    Torn {
        /// The layer that loses its channel.
        layer: String,
        /// That channel.
        removed: usize,
        /// The layer that keeps one.
        other: String,
        /// That channel.
        kept: usize,
    },
    /// Surgery cannot do it.
    #[error("the plan does not fit the network: {0}")]
    Surgery(#[from] SurgeryError),
}

impl Plan {
    /// A plan without steps for a network of this structure.
    #[must_use]
    pub fn new(model: impl Into<String>, graph: &Graph) -> Self {
        let channels = Channels::of(graph);
        let groups = channels.groups().iter().map(|group| PlanGroup {
            layers: group.producers.iter().map(|&id| graph.node(id).name.clone()).collect(),
            channels: group.channels.len(),
            unprunable: group.prunable.err().map(|reason| reason.to_string()),
        });
        let mut plan = Self {
            schema: SCHEMA.into(),
            model: model.into(),
            groups: groups.collect(),
            scores: BTreeMap::new(),
            widths: BTreeMap::new(),
            steps: Vec::new(),
            returned: BTreeMap::new(),
            kept: Lineage::of(graph).kept(),
            last_scores: BTreeMap::new(),
        };
        let widths = plan.kept.iter().map(|(layer, kept)| (layer.clone(), kept.len()));
        plan.widths = widths.filter(|(layer, width)| plan.width(layer) != *width).collect();
        plan
    }

    /// The groups that a layer's channels are in: several, where parts of them go with those of different layers.
    pub fn groups_of<'a>(&'a self, layer: &str) -> impl Iterator<Item = &'a PlanGroup> {
        self.groups.iter().filter(move |group| group.layers.iter().any(|name| name == layer))
    }

    /// The channels of a layer in the original network.
    #[must_use]
    pub fn width(&self, layer: &str) -> usize {
        let counted = || self.groups_of(layer).map(|group| group.channels).sum();
        self.widths.get(layer).copied().unwrap_or_else(counted)
    }

    /// Why none of a layer's channels can be removed, if so.
    #[must_use]
    pub fn unprunable(&self, layer: &str) -> Option<&str> {
        let mut reasons = self.groups_of(layer).map(|group| group.unprunable.as_deref());
        let first = reasons.next()??;
        reasons.all(|reason| reason.is_some()).then_some(first)
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// If `json` is not a plan of this schema.
    pub fn from_json(json: &str) -> Result<Self, PlanError> {
        let schema = serde_json::from_str::<SchemaOnly>(json)?.schema;
        if schema != SCHEMA {
            return Err(PlanError::Schema(schema));
        }
        Ok(serde_json::from_str(json)?)
    }

    /// What each layer keeps, with its width.
    ///
    /// # Errors
    /// If the plan keeps channels of a layer that is in none of its groups.
    pub fn keeps(&self) -> Result<Vec<Keeps>, PlanError> {
        let keeps = self.kept.iter().map(|(layer, kept)| match self.width(layer) {
            0 => Err(PlanError::UnknownLayer(layer.clone())),
            of => Ok(Keeps { layer: layer.clone(), of, kept: kept.clone() }),
        });
        keeps.collect()
    }

    /// Writes a plan: indented, keys in a fixed order, a newline at the end. Numbers that are not finite, of which
    /// runs have none, would become `null`, which no plan is read with.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a plan has nothing JSON lacks");
        json.push('\n');
        json
    }
}

#[derive(Deserialize)]
struct SchemaOnly {
    schema: String,
}

/// The original network with the channels that the plan keeps: exactly the pruned network's shape
/// and channels. Its weights are the original's, without bias updates and fine-tuning, which a plan
/// does not hold. Layers that the plan does not name keep everything.
///
/// # Errors
/// If the plan does not fit the network.
pub fn replay(network: &Network, plan: &Plan) -> Result<Network, PlanError> {
    let channels = Channels::of(network.graph());
    let kept = kept(network.graph(), &channels, plan)?;
    Ok(surgery::prune(network, &channels, &kept))
}

/// The classes of the original network's channels that the plan keeps.
///
/// # Errors
/// If the plan does not fit the network.
pub fn kept(graph: &Graph, channels: &Channels, plan: &Plan) -> Result<Kept, PlanError> {
    classes(graph, channels, plan.kept.iter())
}

/// The classes of the original network's channels that layers are to keep. Layers that are not named keep
/// everything.
///
/// # Errors
/// If `keeps` does not fit the network.
pub fn kept_of(graph: &Graph, channels: &Channels, keeps: &[Keeps]) -> Result<Kept, PlanError> {
    for Keeps { layer, of, .. } in keeps {
        if let Some(id) = graph.find(layer) {
            let (found, expected) = (graph.node(id).shape.channels, *of);
            if found != expected {
                return Err(PlanError::Width { layer: layer.clone(), expected, found });
            }
        }
    }
    classes(graph, channels, keeps.iter().map(|keeps| (&keeps.layer, &keeps.kept)))
}

fn classes<'a>(
    graph: &Graph,
    channels: &Channels,
    keeps: impl Iterator<Item = (&'a String, &'a Vec<usize>)>,
) -> Result<Kept, PlanError> {
    let lineage = Lineage::of(graph).kept();
    let mut stays: Vec<Vec<bool>> =
        graph.nodes().iter().map(|node| vec![true; node.shape.channels]).collect();
    for (layer, indices) in keeps {
        let id = graph.find(layer).filter(|_| lineage.contains_key(layer));
        let id = id.ok_or_else(|| PlanError::UnknownLayer(layer.clone()))?;
        let width = stays[id.0].len();
        stays[id.0].fill(false);
        let mut next = 0;
        for &index in indices {
            if index < next || index >= width {
                return Err(PlanError::Index { layer: layer.clone(), index, width });
            }
            stays[id.0][index] = true;
            next = index + 1;
        }
    }
    let mut kept = Kept::all(channels);
    for class in (0..channels.len()).map(ChannelId) {
        let members = channels.members(class);
        let removed = members.iter().find(|(id, index)| !stays[id.0][*index]);
        let Some(&(layer, removed)) = removed else { continue };
        if let Some(&(other, kept)) = members.iter().find(|(id, index)| stays[id.0][*index]) {
            // The image stays whatever the plan says; the check below gives that reason.
            if other != graph.input() {
                let name = |id| graph.node(id).name.clone();
                return Err(PlanError::Torn {
                    layer: name(layer),
                    removed,
                    other: name(other),
                    kept,
                });
            }
        }
        kept.remove(class);
    }
    kept.check(graph, channels)?;
    Ok(kept)
}
