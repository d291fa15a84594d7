//! Keeping the filters that tell most as they are while the others are fine-tuned.
//!
//! 2PFPCE freezes its maximum-entropy filters against over-fitting. A frozen filter keeps its
//! weights and bias, and the affine parameters of the batch norm right after it: no gradient, weight
//! decay or momentum reaches them. Running statistics are no parameters and go on.

use crate::channels::{Channels, batch_norm_after};
use crate::criteria::ConEnt;
use crate::evidence::Evidence;
use crate::surgery::Kept;
use pleach_core::Network;
use pleach_core::graph::NodeId;
use serde::{Deserialize, Serialize};

/// What filters are ranked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// The entropy `H(A)` of their responses.
    #[default]
    Entropy,
    /// Conditional entropy `H(A | Z)`.
    ConEnt,
}

/// Freezes, of each layer's kept filters, the share (a fraction, rounded to the nearest number) that
/// ranks highest; ties go to the lower index. What was frozen before is free again. Call it before
/// surgery, on the network that the evidence was collected of: surgery takes the masks along.
/// Returns the number of frozen filters.
///
/// `base_losses` are the losses in the unpruned network, as for the criterion.
pub fn apply(
    network: &mut Network,
    channels: &Channels,
    kept: &Kept,
    evidence: &Evidence,
    (share, rank): (f64, Rank),
    con_ent: &ConEnt,
    base_losses: &[f64],
) -> usize {
    clear(network);
    let condition = con_ent.condition(base_losses, &evidence.labels);
    let mut total = 0;
    for (&layer, measured) in &evidence.layers {
        let scores = match rank {
            Rank::Entropy => con_ent.entropy_of_layer(measured),
            Rank::ConEnt => con_ent.of_layer(measured, &condition),
        };
        let mut order = kept.indices(channels, layer);
        let count = (order.len() as f64 * share).round() as usize;
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        order.truncate(count);
        freeze(network, layer, measured.channels, &order);
        total += order.len();
    }
    total
}

/// Frees every filter.
pub fn clear(network: &mut Network) {
    network.params_mut().iter_mut().for_each(|param| param.frozen.clear());
}

fn freeze(network: &mut Network, layer: NodeId, width: usize, filters: &[usize]) {
    if filters.is_empty() {
        return;
    }
    let mut frozen = vec![false; width];
    filters.iter().for_each(|&filter| frozen[filter] = true);
    let norm = batch_norm_after(network.graph(), layer);
    for id in [Some(layer), norm].into_iter().flatten() {
        let (graph, params) = network.split_mut();
        for index in graph.node(id).params.clone() {
            if graph.params()[index].spec.trainable {
                params[index].frozen.clone_from(&frozen);
            }
        }
    }
}
