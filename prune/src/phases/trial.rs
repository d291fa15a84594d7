//! Trying a smaller network: surgery, fine-tuning, judgement.

use super::pruner::Pruner;
use super::record::{Event, RunObserver, StepRecord};
use super::scoring::Scored;
use super::state::{Removed, Stage, Trial, take};
use crate::bias_update::{self, BiasUpdate};
use crate::channels::ChannelId;
use crate::error::PruneError;
use crate::eval;
use crate::evidence::{Evidence, Wants};
use crate::freeze;
use crate::plan::PlanStep;
use crate::surgery::{self, Kept};
use crate::trainer::{TrainConfig, Trainer};
use pleach_core::Network;
use pleach_core::graph::NodeId;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_datasets::Split;
use std::sync::Arc;
use std::time::Instant;

/// Calibration images on which debug builds compare each surgery with masking.
const CHECKED: usize = 8;

/// What is to be removed in one step.
pub(super) struct Removal {
    pub(super) layers: Vec<String>,
    pub(super) removed: Vec<ChannelId>,
    pub(super) scored: Scored,
    pub(super) epochs: f64,
    /// The most that may be lost, in points.
    pub(super) limit: f64,
}

impl Pruner<'_> {
    /// Makes the candidate without what is to be removed.
    pub(super) fn try_without(&mut self, removal: &Removal) {
        let kept = Kept::without(&self.channels, &removal.removed);
        let (network, skipped) = self.cut(&kept, &removal.scored);
        let names = skipped.iter().map(|&id| self.network.graph().node(id).name.clone());
        // Phase II tries so many removals that a second evaluation of each would double its cost.
        let phase = self.state.phase();
        let after_surgery =
            (phase != "layerwise" || removal.epochs == 0.0).then(|| self.validate(&network));
        let removed = Removed {
            layers: removal.layers.clone(),
            channels: removal.removed.len(),
            limit: removal.limit,
            without_bias_update: names.collect(),
            step: PlanStep {
                phase: phase.into(),
                criterion: self.criterion.name().into(),
                removed: self.lineage.removed(&self.channels, &kept),
                scores: self.scores_of(&kept, &removal.scored.scores),
                accuracy_before: self.state.accuracy,
                accuracy_after_surgery: after_surgery,
                accuracy_after_tuning: None,
                drop_points: 0.0,
                macs: network.graph().macs(),
                accepted: false,
            },
        };
        self.start_trial(Some(removed), removal.epochs, network);
    }

    /// The candidate of the final fine-tuning: the network as it stands.
    pub(super) fn try_as_it_is(&mut self) -> Result<(), PruneError> {
        let epochs = self.state.purse.last();
        if epochs > 0.0 {
            self.give_back_free_channels();
        }
        let returned = self.returned_channels();
        let wants = if returned.is_empty() { BiasUpdate::None } else { self.config.bias_update };
        let evidence = self.collect(Wants { means: wants.wants().means, ..Wants::default() })?;
        let mut network = self.network.clone();
        if wants != BiasUpdate::None {
            // Nothing needs to stand in for them any more.
            let kept = Kept::without(&self.channels, &returned);
            bias_update::take_back(self.cx, &mut network, &self.channels, &kept, &evidence);
        }
        self.freeze(&mut network, &Kept::all(&self.channels), &evidence);
        self.start_trial(None, epochs, network);
        Ok(())
    }

    fn start_trial(&mut self, removal: Option<Removed>, epochs: f64, candidate: Network) {
        self.state.tunings += 1;
        self.state.trial = Some(Trial { removal, epochs, done: 0, used: 0.0, seconds: 0.0 });
        self.candidate = Some(candidate);
    }

    /// Fine-tunes the candidate for its next epoch, and judges it after the last.
    pub(super) fn tune(
        &mut self,
        started: Instant,
        observer: &mut dyn RunObserver,
    ) -> Result<(), PruneError> {
        let (phase, images) = (self.state.phase(), self.dataset.len(Split::Train) as f64);
        let network = self.candidate.take().expect("a trial has a candidate");
        let mut trainer = self.trainer(network);
        let trial = self.state.trial.as_mut().expect("a trial was begun");
        if !trainer.is_finished() {
            if trial.done == 0 {
                observer.event(&Event::Tuning { phase, epochs: trial.epochs });
            }
            let report = trainer.epoch(observer)?;
            trial.done = trainer.epochs_done();
            trial.used += report.images as f64 / images;
            observer.event(&Event::Epoch { epoch: &report, left: trainer.left() });
        }
        if !trainer.is_finished() {
            trial.seconds += started.elapsed().as_secs_f64();
            self.rest(trainer);
            return Ok(());
        }
        let network = trainer.into_network();
        let trial = self.state.trial.take().expect("a trial was begun");
        self.state.epochs += trial.used;
        let seconds = trial.seconds;
        match trial.removal {
            Some(removed) => {
                let record = self.judge(removed, trial.used, network);
                let seconds = seconds + started.elapsed().as_secs_f64();
                self.conclude(StepRecord { seconds, ..record }, observer);
            }
            None => self.keep_tuned(trial.used, network),
        }
        Ok(())
    }

    /// The training of the trial's candidate, which stands where the trial does.
    pub(super) fn trainer(&mut self, candidate: Network) -> Trainer {
        let trial = self.state.trial.as_ref().expect("a trial was begun");
        let config = match self.state.stage {
            Stage::Final => &self.config.final_tune,
            _ => &self.config.tune,
        };
        let (purpose, number) = (Purpose::FineTuning, self.state.tunings);
        let seed = Rng::new(self.config.seed, purpose, number, 0).next_u64();
        let config = TrainConfig { epochs: trial.epochs, seed, ..config.clone() };
        let dataset = Arc::clone(&self.dataset);
        let trainer = Trainer::resume(self.cx, dataset, config, candidate, trial.done);
        match (self.config.distillation, self.teacher.take()) {
            (None, _) => trainer,
            (Some(_), Some(teacher)) => trainer.taught_by(teacher),
            (Some(distillation), None) => trainer.with_teacher(self.base, distillation),
        }
    }

    /// Keeps the candidate and its teacher until the next epoch.
    pub(super) fn rest(&mut self, trainer: Trainer) {
        let (candidate, teacher) = trainer.into_parts();
        (self.candidate, self.teacher) = (Some(candidate), teacher);
    }

    /// Lets the candidate take the standing network's place, or not.
    fn judge(&mut self, removed: Removed, epochs: f64, network: Network) -> StepRecord {
        let Removed { layers, channels, limit, without_bias_update, mut step } = removed;
        let tuned = epochs > 0.0;
        let accuracy = match step.accuracy_after_surgery {
            Some(accuracy) if !tuned => accuracy,
            _ => self.validate(&network),
        };
        step.accuracy_after_tuning = tuned.then_some(accuracy);
        step.drop_points = self.drop_of(accuracy);
        step.accepted = step.drop_points <= limit;
        let record = StepRecord {
            phase: step.phase.clone(),
            layers,
            removed: channels,
            macs: step.macs,
            params: network.graph().trainable(),
            accuracy_after_surgery: step.accuracy_after_surgery,
            accuracy,
            drop_points: step.drop_points,
            epochs,
            seconds: 0.0,
            accepted: step.accepted,
        };
        if step.accepted {
            self.state.without_bias_update.extend(without_bias_update);
            take(&mut self.state.plan.kept, &step.removed);
            self.state.accuracy = accuracy;
            self.stand(network);
            self.state.network += 1;
        }
        self.state.plan.steps.push(step);
        record
    }

    /// What a judgement means for the phase at hand.
    fn conclude(&mut self, record: StepRecord, observer: &mut dyn RunObserver) {
        observer.event(&Event::Step(&record));
        let state = &mut self.state;
        let over = match &mut state.stage {
            Stage::Global => {
                state.purse.spend_global(record.epochs);
                !record.accepted
            }
            Stage::Layerwise(sweep) => {
                state.purse.spend_layerwise(record.epochs);
                sweep.conclude(record.accepted);
                false
            }
            Stage::Once | Stage::Replay | Stage::Final | Stage::Done => true,
        };
        state.steps.push(record);
        if over {
            self.leave_phase();
        }
    }

    /// The end of the final fine-tuning: its network stands, unless it alone loses more than is allowed.
    fn keep_tuned(&mut self, epochs: f64, mut network: Network) {
        if epochs > 0.0 {
            freeze::clear(&mut network);
            let accuracy = self.validate(&network);
            let most = self.config.max_drop;
            if self.drop_of(accuracy) <= most || self.drop_of(self.state.accuracy) > most {
                self.state.accuracy = accuracy;
                self.state.given_back.clear();
                self.stand(network);
                self.state.network += 1;
            } else {
                self.take_back_free_channels();
                log::warn!(
                    "the final fine-tuning lost more accuracy than is allowed: the network before it is kept"
                );
            }
        } else {
            // Of less than a step: the accuracy is that without them.
            self.take_back_free_channels();
        }
        self.leave_phase();
    }

    /// Validation accuracy right after removing `removed`, which is then undone.
    pub(super) fn accuracy_without(&self, removed: &[ChannelId], scored: &Scored) -> f64 {
        self.validate(&self.without(removed, scored))
    }

    /// Validation loss, in nats, right after removing `removed`, which is then undone.
    pub(super) fn loss_without(&self, removed: &[ChannelId], scored: &Scored) -> f64 {
        self.loss(&self.without(removed, scored))
    }

    fn without(&self, removed: &[ChannelId], scored: &Scored) -> Network {
        self.cut(&Kept::without(&self.channels, removed), scored).0
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
            let shape = self.base.graph().input_shape();
            let images = eval::images(&self.dataset, shape, Split::Train, Some(some));
            let difference = surgery::verify(self.cx, &network, channels, kept, &pruned, &images);
            assert!(
                difference <= surgery::TOLERANCE,
                "surgery is masking, but logits differ by {difference:e}"
            );
        }
        (pruned, skipped)
    }

    fn freeze(&self, network: &mut Network, kept: &Kept, evidence: &Evidence) {
        let rule = (self.config.freeze, self.config.freeze_rank);
        let con_ent = &self.config.con_ent;
        freeze::apply(network, &self.channels, kept, evidence, rule, con_ent, &self.base_losses);
    }
}

#[cfg(test)]
mod tests {
    use crate::phases::{Phases, PruneConfig, Pruner};
    use crate::target::{Target, Unit};
    use crate::trainer::Silent;
    use pleach_core::Network;
    use pleach_core::loss::Distillation;
    use pleach_core::models;
    use pleach_core::tensor::Shape;
    use pleach_kernels::{Context, Isa};
    use std::sync::Arc;

    #[test]
    fn a_teacher_is_the_same_for_all_epochs_of_a_trial_and_for_no_other() {
        let cx = Context::new(Isa::from_env().unwrap(), 2);
        let dataset = Arc::from(pleach_datasets::open(None).unwrap());
        let graph = models::build("vgg-small:2,2,3,3,4,4", Shape::new(3, 32, 32), 10).unwrap();
        let base = Network::init(graph, 1);
        let amount = "1.1x".parse().unwrap();
        let config = PruneConfig {
            phases: Phases::Layerwise,
            target: Some(Target { unit: Unit::Macs, amount }),
            max_drop: 100.0,
            calibration: 50,
            layerwise_step: 0.5,
            layerwise_epochs: 0.02,
            final_epochs: 2.0,
            distillation: Some(Distillation { weight: 0.5, temperature: 4.0 }),
            ..PruneConfig::default()
        };
        let mut pruner = Pruner::new(&cx, &dataset, &base, "small", &config, &mut Silent).unwrap();
        let mut kept = 0;
        while !pruner.is_finished() {
            pruner.step(&mut Silent).unwrap();
            let under_way = pruner.state.trial.as_ref().is_some_and(|trial| trial.done > 0);
            assert_eq!(pruner.teacher.is_some(), under_way);
            kept += usize::from(under_way);
        }
        assert_eq!(kept, 1, "between the two final epochs");
    }
}
