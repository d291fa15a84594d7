use super::config::PruneConfig;
use super::record::{Event, RunObserver, StepRecord};
use super::reference::reference;
use crate::bias_update;
use crate::channels::{ChannelId, Channels};
use crate::criteria::{self, Criterion, ScoreCx, Scores};
use crate::error::PruneError;
use crate::eval::{self, Evaluation, evaluate};
use crate::evidence::{self, Evidence, Wants};
use crate::freeze;
use crate::lineage::Lineage;
use crate::plan::{Plan, PlanStep};
use crate::select::{Floors, lowest};
use crate::surgery::{self, Kept};
use crate::target::Target;
use crate::trainer::{TrainConfig, Trainer};
use pleach_core::Network;
use pleach_core::graph::{Graph, NodeId};
use pleach_core::loss::Distillation;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_datasets::{Dataset, Split, class_balanced};
use pleach_kernels::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Calibration images on which debug builds compare each surgery with masking.
const CHECKED: usize = 8;

/// A run in progress: the network that stands, and all that a step needs.
pub(super) struct Driver<'a> {
    cx: &'a Context,
    dataset: Arc<dyn Dataset>,
    pub(super) config: &'a PruneConfig,
    criterion: &'static dyn Criterion,
    pub(super) observer: &'a mut dyn RunObserver,
    calibration: Vec<usize>,
    base_losses: Vec<f64>,
    /// The base, where fine-tuning listens to it.
    teacher: Option<(Network, Distillation)>,
    pub(super) base_graph: Graph,
    /// The network after the last accepted step.
    pub(super) network: Network,
    pub(super) channels: Channels,
    lineage: Lineage,
    /// Its validation accuracy.
    pub(super) accuracy: f64,
    pub(super) base_test: Evaluation,
    pub(super) base_validation: f64,
    pub(super) reference: (&'static str, f64),
    pub(super) plan: Plan,
    pub(super) steps: Vec<StepRecord>,
    pub(super) epochs: f64,
    pub(super) without_bias_update: BTreeSet<NodeId>,
    scorings: u64,
    tunings: u64,
}

/// What a scoring found, valid until the network changes.
pub(super) struct Scored {
    evidence: Evidence,
    pub(super) scores: Scores,
    con_ent: Scores,
}

/// What is to be removed in one step.
pub(super) struct Removal<'a> {
    pub(super) phase: &'static str,
    pub(super) layers: Vec<String>,
    pub(super) removed: &'a [ChannelId],
    pub(super) scored: &'a Scored,
    pub(super) epochs: f64,
    /// The most that may be lost, in points.
    pub(super) limit: f64,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        cx: &'a Context,
        dataset: &Arc<dyn Dataset>,
        base: &Network,
        model: &str,
        config: &'a PruneConfig,
        observer: &'a mut dyn RunObserver,
    ) -> Result<Self, PruneError> {
        let criterion = criteria::named(&config.criterion)?;
        let channels = Channels::of(base.graph());
        criterion.check(base.graph(), &channels.prunable_layers())?;
        let validation = evaluate(cx, base, dataset, Split::Validation, None);
        let base_test = evaluate(cx, base, dataset, Split::Test, None);
        let reference = reference(config.reference, &validation, &base_test);
        let seed = config.seed;
        let calibration = class_balanced(&**dataset, Split::Train, config.calibration, seed);
        observer.event(&Event::Base {
            macs: base.graph().macs(),
            validation: validation.accuracy,
            test: base_test.accuracy,
            reference: reference.0,
        });
        let mut driver = Self {
            cx,
            dataset: Arc::clone(dataset),
            config,
            criterion,
            observer,
            calibration,
            base_losses: Vec::new(),
            teacher: config.distillation.map(|distillation| (base.clone(), distillation)),
            base_graph: base.graph().clone(),
            network: base.clone(),
            lineage: Lineage::of(base.graph()),
            plan: Plan::new(model, base.graph()),
            channels,
            accuracy: validation.accuracy,
            base_test,
            base_validation: validation.accuracy,
            reference,
            steps: Vec::new(),
            epochs: 0.0,
            without_bias_update: BTreeSet::new(),
            scorings: 0,
            tunings: 0,
        };
        freeze::clear(&mut driver.network);
        driver.base_losses = driver.collect(Wants::default()).losses;
        Ok(driver)
    }

    /// Points that `accuracy` has lost against the reference.
    pub(super) fn drop_of(&self, accuracy: f64) -> f64 {
        100.0 * (self.reference.1 - accuracy)
    }

    /// How much of the target's unit the network has.
    pub(super) fn count(&self, target: Target) -> u64 {
        target.unit.count(self.network.graph())
    }

    /// Measures the network as it stands and scores all its channels.
    pub(super) fn score(&mut self) -> Result<Scored, PruneError> {
        let wants = self.criterion.wants().or(self.config.bias_update.wants());
        let evidence = self.collect(wants);
        self.scorings += 1;
        let cx = ScoreCx {
            network: &self.network,
            evidence: &evidence,
            base_losses: &self.base_losses,
            con_ent: &self.config.con_ent,
            seed: self.config.seed,
            step: self.scorings,
        };
        let of = |criterion: &dyn Criterion| {
            let (normalise, join) = (self.config.normalise, self.config.join);
            Scores::new(criterion, &cx, &self.channels, normalise, join)
        };
        let scores = of(self.criterion)?;
        let con_ent = match self.criterion.name() {
            "con_ent" => scores.clone(),
            _ => of(criteria::CRITERIA[0])?,
        };
        Ok(Scored { evidence, scores, con_ent })
    }

    fn collect(&mut self, wants: Wants) -> Evidence {
        let (network, indices) = (&mut self.network, self.calibration.clone());
        evidence::calibrate(self.cx, network, &self.channels, &self.dataset, indices, wants)
    }

    /// The lowest `amount` of `candidates`, or as few of them as already meet `target`.
    pub(super) fn choose(
        &self,
        candidates: &[ChannelId],
        scores: &Scores,
        amount: usize,
        target: Option<Target>,
        limit: u64,
    ) -> Vec<ChannelId> {
        let floors = Floors::new(&self.channels, &self.lineage, self.config.floor);
        let mut removed = lowest(&self.channels, candidates, scores, amount, &floors);
        let Some(target) = target else { return removed };
        let meets = |count: usize| {
            let kept = Kept::without(&self.channels, &removed[..count]);
            let graph = surgery::shrink(self.network.graph(), &self.channels, &kept);
            target.unit.count(&graph) <= limit
        };
        if removed.is_empty() || !meets(removed.len()) {
            return removed;
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
        removed.truncate(enough);
        removed
    }

    /// Removes channels, updates biases, fine-tunes, evaluates; keeps the result if the drop stays
    /// within the limit. Returns whether it did.
    pub(super) fn attempt(&mut self, removal: &Removal<'_>) -> Result<bool, PruneError> {
        let started = Instant::now();
        let kept = Kept::without(&self.channels, removal.removed);
        let scores = &removal.scored.scores;
        let (network, skipped) = self.cut(&kept, removal.scored);
        self.without_bias_update.extend(skipped);
        // Phase II tries so many removals that a second evaluation of each would double its cost.
        let after_surgery = (removal.phase != "layerwise" || removal.epochs == 0.0)
            .then(|| evaluate(self.cx, &network, &self.dataset, Split::Validation, None).accuracy);
        let (network, epochs) =
            self.tune(removal.phase, network, removal.epochs, &self.config.tune.clone())?;
        let accuracy = match after_surgery {
            Some(accuracy) if epochs == 0.0 => accuracy,
            _ => evaluate(self.cx, &network, &self.dataset, Split::Validation, None).accuracy,
        };
        let drop_points = self.drop_of(accuracy);
        let accepted = drop_points <= removal.limit;
        let graph = network.graph();
        let record = StepRecord {
            phase: removal.phase.into(),
            layers: removal.layers.clone(),
            removed: removal.removed.len(),
            macs: graph.macs(),
            params: graph.trainable(),
            accuracy_after_surgery: after_surgery,
            accuracy,
            drop_points,
            epochs,
            seconds: started.elapsed().as_secs_f64(),
            accepted,
        };
        self.plan.steps.push(PlanStep {
            phase: removal.phase.into(),
            criterion: self.criterion.name().into(),
            removed: self.lineage.removed(&self.channels, &kept),
            scores: self.scores_of(&kept, scores),
            accuracy_before: self.accuracy,
            accuracy_after_surgery: after_surgery,
            accuracy_after_tuning: (epochs > 0.0).then_some(accuracy),
            drop_points,
            macs: record.macs,
            accepted,
        });
        if accepted {
            self.lineage = self.lineage.after(&self.channels, &kept);
            self.channels = Channels::of(network.graph());
            self.network = network;
            self.accuracy = accuracy;
            self.plan.kept = self.lineage.kept();
        }
        self.observer.event(&Event::Step(&record, &self.network));
        self.steps.push(record);
        Ok(accepted)
    }

    /// Validation accuracy right after removing `removed`, which is then undone.
    pub(super) fn accuracy_without(&self, removed: &[ChannelId], scored: &Scored) -> f64 {
        let (network, _) = self.cut(&Kept::without(&self.channels, removed), scored);
        evaluate(self.cx, &network, &self.dataset, Split::Validation, None).accuracy
    }

    /// The network after bias updates and surgery, with the filters to freeze marked; and the layers
    /// without an update. Debug builds compare it with the masked network.
    fn cut(&self, kept: &Kept, scored: &Scored) -> (Network, Vec<NodeId>) {
        let Scored { evidence, con_ent, .. } = scored;
        let mut network = self.network.clone();
        self.freeze(&mut network, kept, evidence);
        let (channels, update) = (&self.channels, self.config.bias_update);
        let skipped =
            bias_update::apply(self.cx, &mut network, channels, kept, evidence, update, con_ent);
        let pruned = surgery::prune(&network, channels, kept);
        if cfg!(debug_assertions) {
            let some = self.calibration[..self.calibration.len().min(CHECKED)].to_vec();
            let images = eval::images(
                &self.dataset,
                self.base_graph.input_shape(),
                Split::Train,
                Some(some),
            );
            let difference = surgery::verify(self.cx, &network, channels, kept, &pruned, &images);
            assert!(
                difference <= surgery::TOLERANCE,
                "surgery is masking, but logits differ by {difference:e}"
            );
        }
        (pruned, skipped)
    }

    /// The final fine-tuning of the network as it stands.
    pub(super) fn finish(&mut self, epochs: f64) -> Result<(), PruneError> {
        let mut network = self.network.clone();
        let evidence = self.collect(Wants::default());
        self.freeze(&mut network, &Kept::all(&self.channels), &evidence);
        let (network, used) =
            self.tune("final", network, epochs, &self.config.final_tune.clone())?;
        if used > 0.0 {
            self.network = network;
            freeze::clear(&mut self.network);
            let evaluation =
                evaluate(self.cx, &self.network, &self.dataset, Split::Validation, None);
            self.accuracy = evaluation.accuracy;
        }
        Ok(())
    }

    /// Test accuracy of the network as it stands.
    pub(super) fn test(&self) -> Evaluation {
        evaluate(self.cx, &self.network, &self.dataset, Split::Test, None)
    }

    fn freeze(&self, network: &mut Network, kept: &Kept, evidence: &Evidence) {
        let rule = (self.config.freeze, self.config.freeze_rank);
        let con_ent = &self.config.con_ent;
        freeze::apply(network, &self.channels, kept, evidence, rule, con_ent, &self.base_losses);
    }

    fn tune(
        &mut self,
        phase: &'static str,
        network: Network,
        epochs: f64,
        config: &TrainConfig,
    ) -> Result<(Network, f64), PruneError> {
        self.tunings += 1;
        let seed = Rng::new(self.config.seed, Purpose::FineTuning, self.tunings, 0).next_u64();
        let config = TrainConfig { epochs, seed, ..config.clone() };
        let images = self.dataset.len(Split::Train) as f64;
        let mut trainer = Trainer::new(self.cx, Arc::clone(&self.dataset), config, network);
        if let Some((teacher, distillation)) = &self.teacher {
            trainer = trainer.with_teacher(teacher, *distillation);
        }
        if !trainer.is_finished() {
            self.observer.event(&Event::Tuning { phase, epochs });
        }
        let mut used = 0.0;
        while !trainer.is_finished() {
            let report = trainer.epoch(self.observer)?;
            used += report.images as f64 / images;
            self.observer.event(&Event::Epoch(&report));
        }
        self.epochs += used;
        Ok((trainer.into_network(), used))
    }

    /// The scores of what is not kept, by layer, in the order of the layer's channels.
    fn scores_of(&self, kept: &Kept, scores: &Scores) -> BTreeMap<String, Vec<f64>> {
        let graph = self.network.graph();
        let layers = self.channels.prunable_layers().into_iter().map(|id| {
            let classes = self.channels.outputs(id).iter().filter(|class| !kept.contains(**class));
            (graph.node(id).name.clone(), classes.map(|&class| scores.of(class)).collect())
        });
        layers.filter(|(_, scores): &(String, Vec<f64>)| !scores.is_empty()).collect()
    }
}
