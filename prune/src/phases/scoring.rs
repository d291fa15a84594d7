//! Measuring the network that stands, and choosing what to remove of it.

use super::pruner::Pruner;
use crate::channels::ChannelId;
use crate::criteria::{self, Criterion, ScoreCx, Scores};
use crate::error::PruneError;
use crate::evidence::{self, Evidence, Wants};
use crate::select::{Floors, lowest};
use crate::surgery::{self, Kept};
use crate::target::Target;
use std::collections::BTreeMap;

/// What a scoring found, valid until the network changes.
pub(super) struct Scored {
    pub(super) evidence: Evidence,
    pub(super) scores: Scores,
    pub(super) con_ent: Scores,
}

impl Pruner<'_> {
    /// Measures the network as it stands and scores all its channels.
    pub(super) fn score(&mut self) -> Result<Scored, PruneError> {
        let wants = self.criterion.wants().or(self.config.bias_update.wants());
        let evidence = self.collect(wants)?;
        self.state.scorings += 1;
        let cx = ScoreCx {
            network: &self.network,
            evidence: &evidence,
            base_losses: &self.base_losses,
            con_ent: &self.config.con_ent,
            seed: self.config.seed,
            step: self.state.scorings,
        };
        let of = |criterion: &dyn Criterion| {
            let (normalise, join) = (self.config.normalise, self.config.join);
            Scores::new(criterion, &cx, &self.channels, normalise, join)
        };
        let scores = of(self.criterion)?;
        self.state.plan.last_scores = self.all_scores(&scores);
        if self.state.plan.scores.is_empty() && self.network.graph() == self.base.graph() {
            let layers = self.channels.prunable_layers().into_iter();
            let graph = self.network.graph();
            let first = layers
                .map(|id| (graph.node(id).name.clone(), self.criterion.score(&cx, id)))
                .collect();
            self.state.plan.scores = first;
        }
        let con_ent = match self.criterion.name() {
            "con_ent" => scores.clone(),
            _ => of(criteria::CRITERIA[0])?,
        };
        Ok(Scored { evidence, scores, con_ent })
    }

    /// What is measured of the network as it stands, all of it finite.
    pub(super) fn collect(&mut self, wants: Wants) -> Result<Evidence, PruneError> {
        let (network, indices) = (&mut self.network, self.calibration.clone());
        let found =
            evidence::calibrate(self.cx, network, &self.channels, &self.dataset, indices, wants);
        found
            .not_finite(self.network.graph())
            .map_or(Ok(found), |what| Err(PruneError::NotFinite(what)))
    }

    /// The lowest `amount` of `candidates`.
    pub(super) fn choose(
        &self,
        candidates: &[ChannelId],
        scores: &Scores,
        amount: usize,
    ) -> Vec<ChannelId> {
        let floors = Floors::new(&self.channels, &self.lineage, self.config.floor);
        lowest(&self.channels, candidates, scores, amount, &floors)
    }

    /// How much of the target's unit is left without `removed`.
    pub(super) fn count_without(&self, removed: &[ChannelId], target: Target) -> u64 {
        let kept = Kept::without(&self.channels, removed);
        let graph = surgery::shrink(self.network.graph(), &self.channels, &kept);
        self.meter(target).count(&graph)
    }

    /// As few of `removed`, from the first on, as already meet `target`, or all.
    pub(super) fn enough(
        &self,
        removed: &[ChannelId],
        target: Option<Target>,
        limit: u64,
    ) -> usize {
        let Some(target) = target else { return removed.len() };
        let meets = |count: usize| self.count_without(&removed[..count], target) <= limit;
        if removed.is_empty() || !meets(removed.len()) {
            return removed.len();
        }
        let (mut too_few, mut enough) = (0, removed.len());
        while enough - too_few > 1 {
            let middle = too_few + (enough - too_few) / 2;
            if meets(middle) {
                enough = middle;
            } else {
                too_few = middle;
            }
        }
        enough
    }

    /// The scores of all channels that can be removed, by layer, with their numbers in the original network.
    fn all_scores(&self, scores: &Scores) -> BTreeMap<String, Vec<(usize, f64)>> {
        let graph = self.network.graph();
        let layers = self.channels.prunable_layers().into_iter().map(|id| {
            let classes = self.channels.outputs(id).iter();
            let indices = self.lineage.indices(id).iter().copied();
            // A layer may have others beside, such as those that are joined with the image's.
            let can_go = |class| self.channels.group(class).prunable.is_ok();
            let those = indices.zip(classes).filter(|&(_, &class)| can_go(class));
            let scores = those.map(|(index, &class)| (index, scores.of(class)));
            (graph.node(id).name.clone(), scores.collect())
        });
        layers.collect()
    }

    /// The scores of what is not kept, by layer, in the order of the layer's channels.
    pub(super) fn scores_of(&self, kept: &Kept, scores: &Scores) -> BTreeMap<String, Vec<f64>> {
        let graph = self.network.graph();
        let layers = self.channels.prunable_layers().into_iter().map(|id| {
            let classes = self.channels.outputs(id).iter().filter(|class| !kept.contains(**class));
            (graph.node(id).name.clone(), classes.map(|&class| scores.of(class)).collect())
        });
        layers.filter(|(_, scores): &(String, Vec<f64>)| !scores.is_empty()).collect()
    }
}
