use super::config::{Phases, PruneConfig};
use super::record::{Earlier, Event, RunObserver};
use super::reference::reference;
use super::state::{Stage, State, Sweep};
use super::{global, layerwise};
use crate::channels::Channels;
use crate::criteria::{self, Criterion};
use crate::error::PruneError;
use crate::eval::evaluate;
use crate::evidence::Wants;
use crate::freeze;
use crate::latency::LayerTimes;
use crate::lineage::Lineage;
use crate::plan::{self, Plan};
use crate::target::{Meter, Target, Unit};
use crate::trainer::Teacher;
use pleach_core::Network;
use pleach_datasets::{Dataset, Split, class_balanced};
use pleach_kernels::Context;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// A pruning run in progress. What a step does is a pure function of the [`State`] and the networks as
/// they are before it, the base network, the configuration, the data and the instruction set: that is
/// why a run goes on exactly from what is saved after any step.
pub struct Pruner<'a> {
    pub(super) cx: &'a Context,
    pub(super) dataset: Arc<dyn Dataset>,
    pub(super) config: &'a PruneConfig,
    pub(super) criterion: &'static dyn Criterion,
    pub(super) base: &'a Network,
    pub(super) calibration: Vec<usize>,
    pub(super) base_losses: Vec<f64>,
    /// What drops are counted against, and its accuracy.
    pub(super) reference: (&'static str, f64),
    pub(super) state: State,
    /// The network that stands, its channels, and where these come from.
    pub(super) network: Network,
    pub(super) channels: Channels,
    pub(super) lineage: Lineage,
    /// The network that the state's trial fine-tunes.
    pub(super) candidate: Option<Network>,
    /// What teaches it, which lasts as long as the trial does.
    pub(super) teacher: Option<Teacher>,
}

impl<'a> Pruner<'a> {
    /// The pruning of `base`, which the plan calls `model`, from the start. Before that, a latency target
    /// measures the layers' times, which `observer` may end.
    ///
    /// # Errors
    /// If the criterion is unknown or cannot score the network, values overflow in it, or the observer ends
    /// the measurement.
    ///
    /// # Panics
    /// If the network and the data set do not fit.
    pub fn new(
        cx: &'a Context,
        dataset: &Arc<dyn Dataset>,
        base: &'a Network,
        model: &str,
        config: &'a PruneConfig,
        observer: &mut dyn RunObserver,
    ) -> Result<Self, PruneError> {
        criteria::named(&config.criterion)?
            .check(base.graph(), &Channels::of(base.graph()).prunable_layers())?;
        let started = Instant::now();
        let [validation, test] =
            [Split::Validation, Split::Test].map(|split| evaluate(cx, base, dataset, split, None));
        for (split, found) in [("validation", &validation), ("test", &test)] {
            if !found.loss.is_finite() {
                return Err(PruneError::NotFinite(format!("the loss on the {split} images")));
            }
        }
        let mut state = State::new(config, Plan::new(model, base.graph()), validation, test);
        if config.target.is_some_and(|target| target.unit == Unit::Latency) {
            state.times = Some(times(cx, base, config, observer)?);
        }
        state.seconds = started.elapsed().as_secs_f64();
        Self::resume(cx, dataset, base, config, state, None, None)
    }

    /// This pruning, not begun yet, from where another of the same base network ended: steps, epochs and the
    /// plan are counted on, and phase I goes its share of the way from there to the target.
    ///
    /// # Errors
    /// If network and plan do not fit together or the base.
    pub fn after(mut self, earlier: Earlier) -> Result<Self, PruneError> {
        let Earlier { network, mut plan, epochs, without_bias_update } = earlier;
        // Layers that a plan does not name keep everything.
        let mut kept = Lineage::of(self.base.graph()).kept();
        kept.append(&mut plan.kept);
        plan.kept = kept;
        let removals = plan.steps.len() as u64;
        // Each had one, and each run of those before, which had a removal at least, one more in the end: none is to
        // shuffle images as another did.
        let tunings = 2 * removals + 1;
        let without_bias_update = without_bias_update.into_iter().collect();
        let scorings = removals;
        self.state = State { plan, epochs, scorings, tunings, without_bias_update, ..self.state };
        self.state.check(self.config, self.base.graph(), network.graph(), None)?;
        self.state.accuracy = self.validate(&network);
        self.state.network += 1;
        self.stand(network);
        if let Some(target) = self.config.target {
            let all = self.meter(target).count(self.base.graph());
            self.state.start = self.count(target) as f64 / all as f64;
        }
        Ok(self)
    }

    /// The pruning that stands at `state`; with its `standing` network, if that is not the base, and the
    /// `candidate` that it fine-tunes, if it does, both with their training state.
    ///
    /// # Errors
    /// If these do not fit together, or the criterion is unknown or cannot score the network.
    ///
    /// # Panics
    /// If the base network and the data set do not fit.
    pub fn resume(
        cx: &'a Context,
        dataset: &Arc<dyn Dataset>,
        base: &'a Network,
        config: &'a PruneConfig,
        state: State,
        standing: Option<Network>,
        candidate: Option<Network>,
    ) -> Result<Self, PruneError> {
        let mut unfrozen = base.clone();
        freeze::clear(&mut unfrozen);
        let graph = standing.as_ref().unwrap_or(base).graph();
        state.check(config, base.graph(), graph, candidate.as_ref().map(Network::graph))?;
        let criterion = criteria::named(&config.criterion)?;
        let channels = Channels::of(base.graph());
        criterion.check(base.graph(), &channels.prunable_layers())?;
        let mut pruner = Self {
            cx,
            dataset: Arc::clone(dataset),
            config,
            criterion,
            base,
            calibration: class_balanced(&**dataset, Split::Train, config.calibration, config.seed),
            base_losses: Vec::new(),
            reference: reference(config.reference, &state.validation, &state.test),
            state,
            network: unfrozen,
            channels,
            lineage: Lineage::of(base.graph()),
            candidate,
            teacher: None,
        };
        pruner.base_losses = pruner.collect(Wants::default())?.losses;
        if let Some(standing) = standing {
            pruner.stand(standing);
        }
        if let Some(candidate) = pruner.candidate.take() {
            let trainer = pruner.trainer(candidate);
            pruner.rest(trainer);
        }
        Ok(pruner)
    }

    /// Tells the observer where the run begins, or goes on.
    pub fn announce(&self, observer: &mut dyn RunObserver) {
        let State { validation, test, .. } = &self.state;
        observer.event(&Event::Base {
            macs: self.base.graph().macs(),
            validation: validation.accuracy,
            test: test.accuracy,
            reference: self.reference.0,
        });
        let trial = self.state.trial.as_ref();
        if trial.is_some() || !self.state.steps.is_empty() || self.is_finished() {
            observer.event(&Event::GoesOn {
                phase: self.state.phase(),
                steps: self.state.steps.len(),
                epochs: self.state.epochs + trial.map_or(0.0, |trial| trial.used),
            });
        }
        if let Some(trial) = trial {
            observer.event(&Event::Tuning { phase: self.state.phase(), epochs: trial.epochs });
        }
    }

    /// Where the run stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The network that stands: that after the last accepted step, or after the final fine-tuning.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network that is being fine-tuned.
    #[must_use]
    pub fn candidate(&self) -> Option<&Network> {
        self.candidate.as_ref()
    }

    /// What it is taught by.
    pub(crate) fn teacher_mut(&mut self) -> Option<&mut Teacher> {
        self.teacher.as_mut()
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.stage == Stage::Done
    }

    /// Goes on by what is done in one piece: removing channels and an epoch of fine-tuning, or another
    /// epoch; and the judgement after the last.
    ///
    /// # Errors
    /// If fine-tuning diverges or the observer stops the run, or a criterion cannot score the network or values
    /// overflow in it. The run is then between two steps and not to be gone on with.
    ///
    /// # Panics
    /// If the run is finished.
    pub fn step(&mut self, observer: &mut dyn RunObserver) -> Result<(), PruneError> {
        let started = Instant::now();
        if self.state.trial.is_some() || self.begin(observer)? {
            self.tune(started, observer)?;
        }
        self.state.seconds += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Begins the next trial, unless the phase is over. Returns whether it did.
    fn begin(&mut self, observer: &mut dyn RunObserver) -> Result<bool, PruneError> {
        let next = match self.state.stage {
            Stage::Once => global::once(self)?,
            Stage::Replay => global::replay(self)?,
            Stage::Global => global::next(self)?,
            Stage::Layerwise(_) => layerwise::next(self, observer)?,
            Stage::Final => {
                self.try_as_it_is()?;
                return Ok(true);
            }
            Stage::Done => panic!("a finished run has no next step"),
        };
        match &next {
            Some(removal) => self.try_without(removal),
            None => self.leave_phase(),
        }
        Ok(next.is_some())
    }

    /// Ends the phase at hand; the next is still to begin.
    pub(super) fn leave_phase(&mut self) {
        let phases = self.config.phases;
        let state = &mut self.state;
        // Without a removal of its own, or one that stands, there is nothing to fine-tune.
        let is_pruned = state.steps.iter().any(|step| step.accepted);
        let last = if is_pruned { Stage::Final } else { Stage::Done };
        state.stage = match state.stage {
            Stage::Global if phases == Phases::Both => {
                state.purse.hand_on(phases);
                Stage::Layerwise(Sweep::default())
            }
            Stage::Replay | Stage::Global | Stage::Layerwise(_) => last,
            Stage::Once | Stage::Final | Stage::Done => Stage::Done,
        };
    }

    /// `network` is what stands from now on; the plan says what it keeps.
    pub(super) fn stand(&mut self, network: Network) {
        let (base, channels) = (self.base.graph(), Channels::of(self.base.graph()));
        let kept = plan::kept(base, &channels, &self.state.plan);
        let kept = kept.expect("a run's plan fits its base, which a state is checked for");
        self.lineage = Lineage::of(base).after(&channels, &kept);
        self.channels = Channels::of(network.graph());
        self.network = network;
    }

    /// Points that `accuracy` has lost against the reference.
    pub(super) fn drop_of(&self, accuracy: f64) -> f64 {
        points(self.reference.1, accuracy)
    }

    /// How much of the target's unit the network has.
    pub(super) fn count(&self, target: Target) -> u64 {
        self.meter(target).count(self.network.graph())
    }

    /// The most of the target's unit that may be left of the base network's.
    pub(super) fn limit(&self, target: Target) -> u64 {
        self.meter(target).limit(self.base.graph(), target.amount)
    }

    /// How many times more than that the network still has.
    pub(super) fn left(&self, target: Target, limit: u64) -> f64 {
        self.count(target) as f64 / limit.max(1) as f64
    }

    pub(super) fn meter(&self, target: Target) -> Meter<'_> {
        let meter = Meter::new(target.unit, self.state.times.as_ref());
        meter.expect("a state has the times that its target is counted by")
    }

    pub(super) fn validate(&self, network: &Network) -> f64 {
        evaluate(self.cx, network, &self.dataset, Split::Validation, None).accuracy
    }

    pub(super) fn loss(&self, network: &Network) -> f64 {
        evaluate(self.cx, network, &self.dataset, Split::Validation, None).loss
    }
}

/// Points from one accuracy down to another, without what their binary fractions leave of a difference: 50 of 5,000
/// images are one point, and no more than one.
fn points(from: f64, to: f64) -> f64 {
    /// Parts of a point, far finer than an image of any data set.
    const PARTS: f64 = 1e9;
    (100.0 * (from - to) * PARTS).round() / PARTS
}

/// The times of the base network's layers.
fn times(
    cx: &Context,
    base: &Network,
    config: &PruneConfig,
    observer: &mut dyn RunObserver,
) -> Result<LayerTimes, PruneError> {
    let cx = Context::new(cx.isa(), config.latency_threads);
    let go_on = &mut |_, _| match observer.goes_on() {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let times = LayerTimes::measure(&cx, base, config.latency_batch, go_on);
    times.ok_or(PruneError::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::points;

    #[test]
    fn as_many_points_as_are_allowed_are_not_more() {
        let accuracy = |correct: u32| f64::from(correct) / 5000.0;
        for base in 1000..=5000 {
            for allowed in (0..=500).step_by(5) {
                let limit = f64::from(allowed) / 50.0;
                let drop = |lost: u32| points(accuracy(base), accuracy(base - lost));
                assert!(drop(allowed) <= limit, "{allowed} of {base}");
                assert!(drop(allowed + 1) > limit, "{allowed} of {base}, and one");
            }
        }
    }
}
