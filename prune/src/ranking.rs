//! How well criteria rank filters: their scores beside the loss that removing each filter alone costs.

use crate::channels::{ChannelId, Channels};
use crate::criteria::{self, ConEnt, CriterionError, Join, Normalise, ScoreCx, Scores};
use crate::error::PruneError;
use crate::eval::evaluate;
use crate::evidence::{self, Wants};
use crate::surgery::{self, Kept};
use pleach_core::network::Network;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_datasets::{Dataset, Split, class_balanced};
use pleach_kernels::Context;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Arc;

/// What is ranked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingConfig {
    /// Channels drawn from each group (a plain layer's filters), or all if it has fewer.
    pub filters: usize,
    /// Calibration images, on which losses are measured too.
    pub calibration: usize,
    /// Calibration images, filters and random scores.
    pub seed: u64,
}

/// Criteria's rank correlations with measured losses, and what these come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranking {
    /// One a criterion, and one for each of [`ConEnt::variants`].
    pub rows: Vec<RankRow>,
    /// One a group of channels, in graph order.
    pub groups: Vec<RankedGroup>,
}

/// Spearman's rank correlation of a criterion's scores with the loss increases. 1 would be the order of
/// the measured losses themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankRow {
    /// The criterion.
    pub criterion: String,
    /// Within a group, the mean over groups: what layer-wise pruning needs.
    pub within: f64,
    /// Over all filters together, each layer's scores divided by their mean: what global pruning needs.
    pub across: f64,
}

/// The filters drawn from one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankedGroup {
    /// The layers that make them.
    pub layers: Vec<String>,
    /// How much the mean loss rises, in nats, when one of them alone is removed; one a filter.
    pub loss_increases: Vec<f64>,
}

/// Removes filters of `network` one at a time, nothing standing in for them, and ranks every criterion
/// that can score it by what that costs. `progress` is told the filters done of all, and ends it with a
/// `Break`: then there is no result.
///
/// # Errors
/// If values overflow in the network or in what is left of it, or a criterion fails on a layer that it said it could
/// score.
///
/// # Panics
/// If the network and the data set do not fit.
pub fn rank(
    cx: &Context,
    dataset: &Arc<dyn Dataset>,
    network: &Network,
    config: &RankingConfig,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Option<Ranking>, PruneError> {
    let graph = network.graph();
    let channels = Channels::of(graph);
    let names = criteria::fitting(graph, &channels);
    let indices = class_balanced(&**dataset, Split::Train, config.calibration, config.seed);
    let wants = Wants { gradients: true, ..Wants::default() };
    let evidence =
        evidence::calibrate(cx, &mut network.clone(), &channels, dataset, indices.clone(), wants);
    if let Some(what) = evidence.not_finite(graph) {
        return Err(PruneError::NotFinite(what));
    }
    let base = evidence.losses.iter().sum::<f64>() / evidence.losses.len().max(1) as f64;

    let drawn: Vec<Vec<ChannelId>> = channels
        .groups()
        .iter()
        .enumerate()
        // A group's last channel stays: its removal would leave no network.
        .filter(|(_, group)| group.prunable.is_ok() && group.channels.len() > 1)
        .map(|(number, group)| {
            let mut drawn = group.channels.clone();
            Rng::new(config.seed, Purpose::Measurement, 1, number as u64).shuffle(&mut drawn);
            drawn.truncate(config.filters);
            drawn.sort_unstable();
            drawn
        })
        .collect();
    let makers = |filter: ChannelId| -> Vec<String> {
        let producers = &channels.group(filter).producers;
        producers.iter().map(|&id| graph.node(id).name.clone()).collect()
    };
    let total: usize = drawn.iter().map(Vec::len).sum();
    let mut done = 0;
    let mut increases: Vec<Vec<f64>> = Vec::with_capacity(drawn.len());
    for filters in &drawn {
        let mut group = Vec::with_capacity(filters.len());
        for &filter in filters {
            if progress(done, total).is_break() {
                return Ok(None);
            }
            let pruned = surgery::prune(network, &channels, &Kept::without(&channels, &[filter]));
            let found = evaluate(cx, &pruned, dataset, Split::Train, Some(indices.clone()));
            if !found.loss.is_finite() {
                let what = format!("the loss without a filter of {}", makers(filter).join(", "));
                return Err(PruneError::NotFinite(what));
            }
            group.push(found.loss - base);
            done += 1;
        }
        increases.push(group);
    }

    let row = |label: String, name: &str, con_ent: &ConEnt| {
        let score_cx = ScoreCx {
            network,
            evidence: &evidence,
            base_losses: &evidence.losses,
            con_ent,
            seed: config.seed,
            step: 1,
        };
        let criterion = criteria::named(name)?;
        let scores =
            Scores::new(criterion, &score_cx, &channels, Normalise::default(), Join::default())?;
        let of = |filters: &Vec<ChannelId>| -> Vec<f64> {
            filters.iter().map(|&filter| scores.of(filter)).collect()
        };
        let within: Vec<f64> =
            drawn.iter().zip(&increases).filter_map(|(f, i)| spearman(&of(f), i)).collect();
        let all: Vec<f64> = drawn.iter().flat_map(of).collect();
        Ok(RankRow {
            criterion: label,
            within: within.iter().sum::<f64>() / within.len().max(1) as f64,
            across: spearman(&all, &increases.concat()).unwrap_or(0.0),
        })
    };
    let default = ConEnt::default();
    let con_ent = criteria::CRITERIA[0].name();
    let rows = names.iter().map(|&name| row(name.to_owned(), name, &default));
    let variants = ConEnt::variants();
    let variants =
        variants.iter().map(|(what, variant)| row(format!("{con_ent} ({what})"), con_ent, variant));
    let rows = rows.chain(variants).collect::<Result<Vec<_>, CriterionError>>()?;
    let groups = drawn.iter().zip(increases).map(|(filters, loss_increases)| RankedGroup {
        layers: filters.first().map(|&filter| makers(filter)).unwrap_or_default(),
        loss_increases,
    });
    Ok(Some(Ranking { rows, groups: groups.collect() }))
}

/// Spearman's rank correlation of two lists, ties at their mean rank; none if either has no two different
/// values.
///
/// # Panics
/// If their lengths differ.
#[must_use]
fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "pairs of values");
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let sum = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    let scale = (sum(&a, &a) * sum(&b, &b)).sqrt();
    (scale > 0.0).then(|| sum(&a, &b) / scale)
}

/// Each value's rank from 0, that of equal ones the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|&i, &j| values[i].total_cmp(&values[j]).is_eq()) {
        let rank = first as f64 + (equal.len() as f64 - 1.0) / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_correlate_as_spearman_says() {
        // scipy.stats.spearmanr([1, 2, 2, 4, 5], [5, 6, 7, 8, 7]).statistic
        let rho = spearman(&[1.0, 2.0, 2.0, 4.0, 5.0], &[5.0, 6.0, 7.0, 8.0, 7.0]).unwrap();
        assert!((rho - 0.763_157_894_736_842).abs() < 1e-12, "{rho}");
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[9.0, 4.0, 1.0]), Some(-1.0));
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[], &[]), None);
    }
}
