//! Choosing the channels to remove.

use crate::channels::{ChannelId, Channels};
use crate::criteria::Scores;
use crate::lineage::Lineage;
use pleach_core::graph::NodeId;
use std::collections::BTreeMap;

/// The share of a layer's original filters that is never undercut by default.
pub const DEFAULT_FLOOR: f64 = 0.02;

/// The fewest channels that each layer may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floors(BTreeMap<NodeId, usize>);

impl Floors {
    /// `share` (a fraction, see [`DEFAULT_FLOOR`]) of the *original* width of every layer, rounded
    /// up, and at least 1.
    #[must_use]
    pub fn new(channels: &Channels, lineage: &Lineage, share: f64) -> Self {
        let floors = channels.prunable_layers().into_iter().map(|id| {
            // 100 * 0.07 is a little more than 7.
            let floor = (lineage.width(id) as f64 * share - 1e-9).ceil() as usize;
            (id, floor.clamp(1, lineage.width(id)))
        });
        Self(floors.collect())
    }

    /// The fewest channels that a layer may have.
    ///
    /// # Panics
    /// If none of the layer's channels can be removed.
    #[must_use]
    pub fn of(&self, id: NodeId) -> usize {
        self.0[&id]
    }
}

/// How many of `candidates` a share (a fraction) is: rounded to the nearest, at least 1 if there is one.
#[must_use]
pub fn share_of(candidates: usize, share: f64) -> usize {
    ((candidates as f64 * share).round() as usize).clamp(candidates.min(1), candidates)
}

/// How many of `candidates` go if about a share (a fraction) does and a multiple of `multiple` stays: at least one
/// multiple fewer than there are, or none, where not even one stays.
///
/// # Panics
/// If `multiple` is 0.
#[must_use]
pub fn share_leaving(candidates: usize, share: f64, multiple: usize) -> usize {
    let left = candidates - share_of(candidates, share);
    let most = candidates.saturating_sub(1) / multiple;
    let multiples = ((left as f64 / multiple as f64).round() as usize).max(1).min(most);
    if multiples == 0 { 0 } else { candidates - multiples * multiple }
}

/// The most of the first `removed` of `candidates` that leave a multiple of `multiple`.
///
/// # Panics
/// If `multiple` is 0 or more are removed than there are.
#[must_use]
pub fn most_leaving(candidates: usize, removed: usize, multiple: usize) -> usize {
    candidates.saturating_sub((candidates - removed).next_multiple_of(multiple))
}

/// The `amount` candidates with the lowest scores, lowest first, as far as the floors allow: a class
/// that would take a layer below its floor is passed over. Candidates that cannot be removed are
/// passed over too. Ties go by L1 norm, then by index.
///
/// For phase I the candidates are [`Channels::prunable`]; for phase II, one group's channels.
#[must_use]
pub fn lowest(
    channels: &Channels,
    candidates: &[ChannelId],
    scores: &Scores,
    amount: usize,
    floors: &Floors,
) -> Vec<ChannelId> {
    let mut order: Vec<ChannelId> = candidates.to_vec();
    order.sort_by(|&a, &b| scores.compare(a, b));
    order.dedup();
    let mut widths: BTreeMap<NodeId, usize> = BTreeMap::new();
    for &(layer, _) in (0..channels.len()).flat_map(|i| channels.members(ChannelId(i))) {
        *widths.entry(layer).or_default() += 1;
    }
    let mut removed = Vec::new();
    for class in order {
        if removed.len() == amount {
            break;
        }
        if channels.group(class).prunable.is_err() {
            continue;
        }
        let members = channels.members(class);
        let mut losses: BTreeMap<NodeId, usize> = BTreeMap::new();
        members.iter().for_each(|&(layer, _)| *losses.entry(layer).or_default() += 1);
        let fits = losses.iter().all(|(&layer, loss)| widths[&layer] >= floors.of(layer) + loss);
        if fits {
            for (layer, loss) in losses {
                *widths.entry(layer).or_default() -= loss;
            }
            removed.push(class);
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::{most_leaving, share_leaving, share_of};

    #[test]
    fn what_a_floor_cuts_short_leaves_a_multiple_too() {
        for (candidates, removed, left) in
            [(64, 14, 64), (64, 16, 48), (64, 30, 48), (20, 3, 20), (20, 4, 16)]
        {
            assert_eq!(
                candidates - most_leaving(candidates, removed, 16),
                left,
                "{candidates}, {removed}"
            );
            assert_eq!(most_leaving(candidates, removed, 1), removed);
        }
    }

    #[test]
    fn a_share_leaves_the_nearest_multiple_below_what_there_is() {
        for (candidates, share, multiple, left) in [
            (512, 0.25, 16, 384),
            (108, 0.25, 16, 80),
            (64, 0.25, 16, 48),
            (48, 0.25, 16, 32),
            (32, 0.25, 16, 16),
            (40, 0.1, 16, 32),
            (64, 0.01, 16, 48),
            (17, 0.5, 16, 16),
            (16, 0.25, 16, 16),
            (9, 0.9, 16, 9),
            (0, 0.5, 16, 0),
        ] {
            let removed = share_leaving(candidates, share, multiple);
            assert_eq!(candidates - removed, left, "{candidates}, {share}, {multiple}");
        }
        for candidates in 2..200 {
            for share in [0.01, 0.1, 0.25, 0.5, 0.9] {
                // One channel stays, where a share may take the last.
                let removed = share_of(candidates, share).min(candidates - 1);
                assert_eq!(share_leaving(candidates, share, 1), removed);
            }
        }
    }
}
