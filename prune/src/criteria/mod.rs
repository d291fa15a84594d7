//! What a filter is worth: one file a criterion, and how filters' scores become channels' scores.
//!
//! Every criterion scores the filters of one layer; higher is kept. A criterion is added by its file
//! and its line in [`CRITERIA`]; the documentation of each says by which paper's definition, or which reading of it,
//! it scores. Here is one, and a network that it takes half of the channels from:
//!
//! ```
//! use pleach_core::{Network, NodeId, Shape, models};
//! use pleach_datasets::{Dataset, Split, class_balanced};
//! use pleach_kernels::{Context, Isa};
//! use pleach_prune::channels::Channels;
//! use pleach_prune::criteria::{ConEnt, Criterion, Join, Normalise, ScoreCx, Scores};
//! use pleach_prune::lineage::Lineage;
//! use pleach_prune::select::{Floors, lowest};
//! use pleach_prune::surgery::{self, Kept};
//! use std::sync::Arc;
//!
//! /// The largest absolute weight of a filter.
//! struct LargestWeight;
//!
//! impl Criterion for LargestWeight {
//!     fn name(&self) -> &'static str {
//!         "largest_weight"
//!     }
//!
//!     fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32> {
//!         // `[OC, IC, KH, KW]`.
//!         let weight = &cx.network.param(layer, "weight").expect("it has filters").value;
//!         let filters = cx.network.graph().node(layer).shape.channels;
//!         weight
//!             .chunks_exact(weight.len() / filters)
//!             .map(|filter| filter.iter().fold(0.0, |largest, w| w.abs().max(largest)))
//!             .collect()
//!     }
//! }
//!
//! let graph = models::build("vgg-small:4,4,6,6,8,8", Shape::new(3, 32, 32), 10)?;
//! let mut network = Network::init(graph, 1);
//! let channels = Channels::of(network.graph());
//! let dataset: Arc<dyn Dataset> = Arc::from(pleach_datasets::open(None)?);
//!
//! // What criteria may read is measured on some training images, those things alone that they want.
//! let cx = Context::new(Isa::best(), 1);
//! let images = class_balanced(&*dataset, Split::Train, 20, 1);
//! let wants = LargestWeight.wants();
//! let evidence = pleach_prune::evidence::calibrate(
//!     &cx, &mut network, &channels, &dataset, images, wants,
//! );
//! let score_cx = ScoreCx {
//!     network: &network,
//!     evidence: &evidence,
//!     base_losses: &evidence.losses,
//!     con_ent: &ConEnt::default(),
//!     seed: 1,
//!     step: 1,
//! };
//! let scores =
//!     Scores::new(&LargestWeight, &score_cx, &channels, Normalise::default(), Join::default())?;
//!
//! // The lowest half of all channels, at least half of each layer left; and surgery.
//! let floors = Floors::new(&channels, &Lineage::of(network.graph()), 0.5);
//! let candidates = channels.prunable();
//! let removed = lowest(&channels, &candidates, &scores, candidates.len() / 2, &floors);
//! let pruned = surgery::prune(&network, &channels, &Kept::without(&channels, &removed));
//! assert!(pruned.graph().macs() < network.graph().macs() / 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation_entropy;
mod apoz;
mod batch_norm_scale;
mod combined;
mod conditional_entropy;
mod geometric_median;
mod l1_norm;
mod mean_activation;
mod random;
mod taylor;

pub use activation_entropy::ActivationEntropy;
pub use apoz::Apoz;
pub use batch_norm_scale::BatchNormScale;
pub use combined::Combined;
pub use conditional_entropy::{ConEnt, Condition, ConditionalEntropy};
pub use geometric_median::GeometricMedian;
pub use l1_norm::L1Norm;
pub use mean_activation::MeanActivation;
pub use random::Random;
pub use taylor::Taylor;

use crate::channels::{ChannelId, Channels};
use crate::evidence::{Evidence, Wants};
use pleach_core::graph::{Graph, NodeId};
use pleach_core::{Network, Param};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Every criterion, the default first.
pub const CRITERIA: &[&dyn Criterion] = &[
    &ConditionalEntropy,
    &L1Norm,
    &Apoz,
    &ActivationEntropy,
    &MeanActivation,
    &Taylor,
    &BatchNormScale,
    &GeometricMedian,
    &Combined { name: "con_ent+taylor", parts: [&ConditionalEntropy, &Taylor] },
    &Combined { name: "con_ent+l1", parts: [&ConditionalEntropy, &L1Norm] },
    &Random,
];

/// A way to score filters.
pub trait Criterion: Sync {
    /// The name users write.
    fn name(&self) -> &'static str;
    /// Whether its scores are entropies in nats, which mean the same in every layer.
    fn in_nats(&self) -> bool {
        false
    }
    /// The evidence it reads beyond losses and responses.
    fn wants(&self) -> Wants {
        Wants::default()
    }
    /// Whether it can score these layers.
    ///
    /// # Errors
    /// If the network lacks what it scores by; all layers that lack it are listed.
    fn check(&self, graph: &Graph, layers: &[NodeId]) -> Result<(), CriterionError> {
        let _ = (graph, layers);
        Ok(())
    }
    /// One score a filter of `layer`, higher is kept.
    ///
    /// # Panics
    /// If [`Criterion::check`] refuses the layer, or the evidence it wants was not collected.
    fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32>;
}

/// Why filters cannot be scored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CriterionError {
    /// No criterion has this name.
    #[error("there is no criterion {0:?}: use one of {names}", names = names().join(", "))]
    Unknown(String),
    /// Layers without batch norm cannot be scored by its scale.
    #[error("criterion bn_scale needs batch norm right after each layer, which these lack: {}", .0.join(", "))]
    NoBatchNorm(Vec<String>),
}

/// What criteria score by.
#[derive(Clone, Copy, Debug)]
pub struct ScoreCx<'a> {
    /// The network as it is.
    pub network: &'a Network,
    /// What was measured on it.
    pub evidence: &'a Evidence,
    /// The loss of every calibration image in the *unpruned* network, in the evidence's order.
    pub base_losses: &'a [f64],
    /// The settings of conditional entropy (bins and correction also hold for activation entropy).
    pub con_ent: &'a ConEnt,
    /// The run's seed, for the random criterion.
    pub seed: u64,
    /// The number of the scoring step in this run, for the random criterion.
    pub step: u64,
}

/// The criterion called `name`.
///
/// # Errors
/// If there is none.
pub fn named(name: &str) -> Result<&'static dyn Criterion, CriterionError> {
    let found = CRITERIA.iter().find(|criterion| criterion.name() == name);
    found.copied().ok_or_else(|| CriterionError::Unknown(name.to_owned()))
}

/// The names of all criteria.
#[must_use]
pub fn names() -> Vec<&'static str> {
    CRITERIA.iter().map(|criterion| criterion.name()).collect()
}

/// The names of the criteria that can score the layers of `graph`, whose channels are `channels`.
#[must_use]
pub fn fitting(graph: &Graph, channels: &Channels) -> Vec<&'static str> {
    let layers = channels.prunable_layers();
    let fit = |criterion: &&&dyn Criterion| criterion.check(graph, &layers).is_ok();
    CRITERIA.iter().filter(fit).map(|criterion| criterion.name()).collect()
}

/// How scores of different layers are made comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// Divided by the layer's mean (of magnitudes, so that no sign turns the order round).
    #[default]
    LayerMean,
    /// As they are.
    Raw,
}

/// How the scores of channels that live and die together become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// Their mean.
    #[default]
    Mean,
    /// The largest.
    Max,
    /// Their sum.
    Sum,
}

/// One score for each class of channels, higher is kept, and what breaks ties.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    scores: Vec<f64>,
    l1: Vec<f64>,
}

impl Scores {
    /// Scores every class that can be removed; the others stand at infinity.
    ///
    /// # Errors
    /// If the criterion cannot score one of the layers.
    pub fn new(
        criterion: &dyn Criterion,
        cx: &ScoreCx<'_>,
        channels: &Channels,
        normalise: Normalise,
        join: Join,
    ) -> Result<Self, CriterionError> {
        let layers = channels.prunable_layers();
        criterion.check(cx.network.graph(), &layers)?;
        let of = |criterion: &dyn Criterion| {
            let scores = layers.iter().map(|&layer| {
                let scores = criterion.score(cx, layer).into_iter().map(f64::from).collect();
                (layer, scores)
            });
            join_classes(channels, &scores.collect(), normalise, join)
        };
        Ok(Self { scores: of(criterion), l1: of(&l1_norm::L1Norm) })
    }

    /// These scores, with these L1 norms to break ties, one a class.
    ///
    /// # Panics
    /// If their numbers differ.
    #[must_use]
    pub fn from_classes(scores: Vec<f64>, l1: Vec<f64>) -> Self {
        assert_eq!(scores.len(), l1.len(), "one score and one norm a class");
        Self { scores, l1 }
    }

    /// Each class's place in its group instead of its score, as a fraction of the group: the lowest
    /// so many of these are the same share of every group, its own lowest.
    ///
    /// # Panics
    /// If `channels` has other classes than were scored.
    #[must_use]
    pub fn within_groups(&self, channels: &Channels) -> Self {
        let mut places = vec![0.0; channels.len()];
        for group in channels.groups() {
            let mut order = group.channels.clone();
            order.sort_by(|&a, &b| self.compare(a, b));
            for (place, class) in order.iter().enumerate() {
                places[class.0] = (place as f64 + 0.5) / order.len() as f64;
            }
        }
        Self { scores: places, l1: self.l1.clone() }
    }

    /// The score of a class.
    #[must_use]
    pub fn of(&self, class: ChannelId) -> f64 {
        self.scores[class.0]
    }

    /// The order of removal: by score, then by L1 norm, then by index.
    #[must_use]
    pub fn compare(&self, a: ChannelId, b: ChannelId) -> Ordering {
        let scores = self.scores[a.0].total_cmp(&self.scores[b.0]);
        scores.then(self.l1[a.0].total_cmp(&self.l1[b.0])).then(a.cmp(&b))
    }
}

/// One score for each class from the scores of each layer's filters. Classes with a channel of a
/// layer that has no scores stand at infinity.
#[must_use]
pub fn join_classes(
    channels: &Channels,
    layers: &BTreeMap<NodeId, Vec<f64>>,
    normalise: Normalise,
    join: Join,
) -> Vec<f64> {
    let scale = |scores: &Vec<f64>| {
        let mean = scores.iter().map(|s| s.abs()).sum::<f64>() / scores.len() as f64;
        match normalise {
            Normalise::LayerMean if mean > 0.0 => 1.0 / mean,
            _ => 1.0,
        }
    };
    let scales: BTreeMap<NodeId, f64> = layers.iter().map(|(&id, s)| (id, scale(s))).collect();
    let of = |class: ChannelId| {
        let members = channels.members(class).iter();
        let scores: Option<Vec<f64>> =
            members.map(|&(id, index)| Some(layers.get(&id)?.get(index)? * scales[&id])).collect();
        let scores = scores?;
        let sum: f64 = scores.iter().sum();
        Some(match join {
            Join::Mean => sum / scores.len() as f64,
            Join::Max => scores.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Join::Sum => sum,
        })
    };
    (0..channels.len()).map(|class| of(ChannelId(class)).unwrap_or(f64::INFINITY)).collect()
}

/// The weights of a layer.
fn weights(network: &Network, layer: NodeId) -> &Param {
    network.param(layer, "weight").expect("a layer that produces channels has weights")
}

/// The rows of a layer's weights: one filter each.
fn filters(network: &Network, layer: NodeId) -> impl Iterator<Item = &[f32]> {
    let weights = weights(network, layer).value.as_slice();
    weights.chunks_exact(weights.len() / network.graph().node(layer).shape.channels)
}
