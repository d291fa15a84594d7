use super::budget::WITHIN_LIMIT;
use crate::bias_update::BiasUpdate;
use crate::criteria::{ConEnt, Join, Normalise};
use crate::freeze::Rank;
use crate::plan::Keeps;
use crate::select::DEFAULT_FLOOR;
use crate::target::Target;
use crate::trainer::TrainConfig;
use pleach_core::loss::Distillation;
use pleach_core::optim::{Lookahead, Optimizer, Schedule};
use pleach_kernels::CHANNEL_ALIGN;
use serde::{Deserialize, Serialize};

/// Which phases run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phases {
    /// The global phase, then the layer-wise one.
    #[default]
    Both,
    /// Phase I alone: the lowest filters of the whole network, round by round.
    Global,
    /// Phase II alone: layer by layer, greedily.
    Layerwise,
}

/// What accuracy drops are counted against. Steps are judged by validation accuracy; the final network
/// by its accuracy on the reference's split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The base network's validation accuracy, unless that is higher than its test accuracy by more
    /// than three standard errors: then the network has seen the validation images, and its test
    /// accuracy is the honest reference.
    #[default]
    Auto,
    /// The base network's validation accuracy.
    Validation,
    /// The base network's test accuracy.
    Test,
}

/// The order in which a sweep of phase II tries the groups of channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By the multiply-adds of the layers that make them, most first.
    #[default]
    Macs,
    /// By what a trial of each would lose right after surgery, in validation loss, for each of the target's
    /// unit (multiply-adds without a target) that it would save, least first; and only the better half of them: what
    /// hurts most waits for a sweep in which it does not. Not the method's.
    Sensitivity,
}

/// A pruning run. Defaults are the method's as the documentation defines it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruneConfig {
    /// Which phases run.
    pub phases: Phases,
    /// The criterion's name.
    pub criterion: String,
    /// The settings of conditional entropy.
    pub con_ent: ConEnt,
    /// How layers' scores are made comparable.
    pub normalise: Normalise,
    /// How coupled channels' scores become one.
    pub join: Join,
    /// How far to go; `None`: as far as the drop limit allows.
    pub target: Option<Target>,
    /// Images of a batch whose time a latency target counts.
    pub latency_batch: usize,
    /// Threads that it is computed with.
    pub latency_threads: usize,
    /// Whether, with a latency target, channels that cost no time are given back before the final
    /// fine-tuning.
    pub free_channels: bool,
    /// The most validation accuracy that may be lost, in points.
    pub max_drop: f64,
    /// Points that a step may lose beyond the limit, because the final fine-tuning wins them back. The
    /// final network is held to the limit itself. 0, the method's own rule, asks that of every step,
    /// which brief fine-tuning seldom affords.
    pub recovery: f64,
    /// What the drop is counted against.
    pub reference: Reference,
    /// Calibration images.
    pub calibration: usize,
    /// The share of its filters that a layer never goes below.
    pub floor: f64,
    /// Share of the remaining filters that a round of phase I removes.
    pub global_step: f64,
    /// Epochs of fine-tuning after each round of phase I.
    pub global_epochs: f64,
    /// Share of a layer's filters that a trial of phase II removes.
    pub layerwise_step: f64,
    /// Phase II leaves every group of channels a multiple of this many: vectors that are full take as long as
    /// vectors that are not. 1: any number. The last removals are of the groups whose multiples come nearest to the
    /// target.
    #[serde(default = "any")]
    pub round_to: usize,
    /// Which groups a sweep of phase II tries first.
    #[serde(default)]
    pub layerwise_order: Order,
    /// Epochs of fine-tuning after each trial of phase II.
    pub layerwise_epochs: f64,
    /// With both phases, the share of the drop limit that phase I may spend.
    pub global_drop_share: f64,
    /// With both phases, the share of the target's logarithm that phase I goes for.
    pub global_target_share: f64,
    /// Epochs of the final fine-tuning.
    pub final_epochs: f64,
    /// Epochs of all fine-tuning together. Of these, four tenths are the final fine-tuning's; each
    /// phase spreads its part evenly over the rounds that it expects to need, and what is left over
    /// goes to the final fine-tuning too. Without a target it expects as many as get to a fourth of the
    /// multiply-adds, gives none more than its usual epochs, and always leaves something for another.
    /// 0: prune once, without fine-tuning; in the whole network, or, with phase II alone, the same share
    /// of every layer.
    pub epochs_budget: Option<f64>,
    /// Share of each layer's filters frozen in fine-tuning.
    pub freeze: f64,
    /// What frozen filters are ranked by.
    pub freeze_rank: Rank,
    /// What stands in for removed channels.
    pub bias_update: BiasUpdate,
    /// How phases fine-tune; `epochs` and `seed` are set by the run.
    pub tune: TrainConfig,
    /// How the final fine-tuning trains; `epochs` and `seed` are set by the run.
    pub final_tune: TrainConfig,
    /// How much fine-tuning listens to the unpruned network (knowledge distillation, no part of the
    /// method); `None`: not at all.
    pub distillation: Option<Distillation>,
    /// What each layer is to keep, instead of what the criterion says: one removal, whatever it loses, and the final
    /// fine-tuning, which all of a budget is for.
    pub replay: Option<Vec<Keeps>>,
    /// Everything random.
    pub seed: u64,
}

impl Default for PruneConfig {
    fn default() -> Self {
        // From a tenth of the peak up and down to a hundredth, so that each round ends settled.
        let tune = TrainConfig {
            lr: 0.02,
            optimizer: Optimizer::sgd(),
            schedule: Schedule::OneCycle { warmup: 0.2, start_div: 10.0, end_div: 100.0 },
            lookahead: None,
            label_smoothing: 0.0,
            ..TrainConfig::default()
        };
        let final_tune = TrainConfig {
            lr: 0.05,
            schedule: Schedule::OneCycle { warmup: 0.2, start_div: 10.0, end_div: 1000.0 },
            ..tune.clone()
        };
        Self {
            phases: Phases::Both,
            criterion: "con_ent".into(),
            con_ent: ConEnt::default(),
            normalise: Normalise::LayerMean,
            join: Join::Mean,
            target: None,
            latency_batch: 1,
            latency_threads: 1,
            free_channels: true,
            max_drop: 2.0,
            recovery: 0.0,
            reference: Reference::Auto,
            calibration: 5_000,
            floor: DEFAULT_FLOOR,
            global_step: 0.1,
            global_epochs: 2.0,
            layerwise_step: 0.1,
            round_to: 1,
            layerwise_order: Order::Macs,
            layerwise_epochs: 0.25,
            global_drop_share: 0.5,
            global_target_share: 0.5,
            final_epochs: 10.0,
            epochs_budget: None,
            freeze: 0.1,
            freeze_rank: Rank::Entropy,
            bias_update: BiasUpdate::Mean,
            tune,
            final_tune,
            distillation: None,
            replay: None,
            seed: 42,
        }
    }
}

/// Any number of channels is a multiple of this one.
fn any() -> usize {
    1
}

impl PruneConfig {
    /// The setting nearest to the paper as it describes itself: as the default, with the bias update
    /// from the filter of maximum conditional entropy.
    #[must_use]
    pub fn paper() -> Self {
        Self { bias_update: BiasUpdate::MaxEntropy, ..Self::default() }
    }

    /// The best that was found for a large target, which is not the method as the paper has it: conditional
    /// entropy and L1 together say which filters of a layer go, and the loss that a removal causes for
    /// each multiply-add saved, which layer is next; layers keep whole vectors of them; short fine-tuning between,
    /// long at the end and with smoothed labels, nothing frozen. What it was compared with is in
    /// `docs/experiments.md`. Steps are seldom refused, so that without a target the final network loses more
    /// than it may.
    #[must_use]
    pub fn best() -> Self {
        let default = Self::default();
        Self {
            phases: Phases::Layerwise,
            criterion: "con_ent+l1".into(),
            calibration: 2_000,
            layerwise_step: 0.25,
            round_to: CHANNEL_ALIGN,
            layerwise_order: Order::Sensitivity,
            layerwise_epochs: 0.1,
            // What a tenth of an epoch leaves lost at ten times fewer multiply-adds is 11 points.
            recovery: 20.0,
            freeze: 0.0,
            final_epochs: 40.0,
            final_tune: TrainConfig {
                lookahead: Some(Lookahead::default()),
                label_smoothing: 0.1,
                ..default.final_tune
            },
            ..default
        }
    }

    /// The most that a step of phase I may lose, in points.
    pub(super) fn global_drop(&self) -> f64 {
        let limit = match self.phases {
            Phases::Both => self.max_drop * self.global_drop_share,
            _ => self.max_drop,
        };
        limit + self.recovery
    }

    /// The most that a step of phase II may lose, in points.
    pub(super) fn layerwise_drop(&self) -> f64 {
        self.max_drop + self.recovery
    }

    /// How far phase I goes from where `start` of the target's unit are left.
    pub(super) fn global_target(&self, start: f64) -> Option<Target> {
        match self.phases {
            Phases::Both => self.target.map(|target| target.part(start, self.global_target_share)),
            _ => self.target,
        }
    }

    /// How many times fewer of something phase I and phase II make it if both together make it `fewer` times fewer.
    /// `None`: as many as the drop limit allows, of which both get the same.
    pub(super) fn parts(&self, fewer: Option<f64>) -> [f64; 2] {
        let share = match (self.phases, fewer) {
            (Phases::Both, Some(_)) => self.global_target_share,
            (Phases::Both, None) => 0.5,
            (Phases::Global, _) => 1.0,
            (Phases::Layerwise, _) => 0.0,
        };
        let fewer = fewer.unwrap_or(WITHIN_LIMIT);
        [share, 1.0 - share].map(|share| fewer.powf(share))
    }
}
