use crate::phases::PruneConfig;
use crate::trainer::TrainConfig;
use serde::{Deserialize, Serialize};

/// What is reproduced. The cells of a study are a function of this and of the data set's shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The tables, by their names (`T1`).
    pub tables: Vec<String>,
    /// The network of T1 and T6, a model's name or a model at given widths.
    pub model: String,
    /// The network on which methods are compared over seeds, in T2, T3 and T5: `model`, or a narrow
    /// relative of it that takes a fraction of the time. If it is `model`, `base` is compared on too, unless that is
    /// no known model.
    pub narrow: String,
    /// Its like without batch norm, for T5; none leaves those rows out.
    pub narrow_nobn: Option<String>,
    /// The residual network of T4.
    pub residual: String,
    /// A trained network in place of one of `model` that is trained here.
    pub base: Option<Given>,
    /// A trained network in place of one of `residual`.
    pub residual_base: Option<Given>,
    /// How often multiply-adds are cut, in T6, by each way of getting there.
    pub amounts: Vec<f64>,
    /// How often they are cut in T4.
    pub residual_amounts: Vec<f64>,
    /// How often they are cut in T2.
    pub freeze_amount: f64,
    /// Shares of each layer's channels that criteria and bias updates are compared at.
    pub shares: Vec<f64>,
    /// How much work goes into a cell.
    pub effort: Effort,
    /// How base networks and pruned shapes are trained from scratch. The epochs are the effort's, and the
    /// rate is that of plain networks: others have theirs by it ([`TrainConfig::for_graph`]).
    pub train: TrainConfig,
    /// What all pruning runs of the method and of its rivals have in common.
    pub prune: PruneConfig,
    /// The best that was found for a large target, which T4 and T6 put beside them, with the same epochs, and
    /// with smaller multiples of channels in networks of which a layer has less than four of them.
    #[serde(default = "PruneConfig::best")]
    pub best: PruneConfig,
    /// Everything random; comparisons over seeds use this and those after it.
    pub seed: u64,
}

/// A network that was trained before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The network, as users name networks.
    pub net: String,
    /// The architecture of a file that does not say its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// What tables call it, if it is none of the models at any widths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How much work goes into a cell. A budget scales it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effort {
    /// Epochs in which a base network is trained, and a pruned shape from scratch.
    pub base_epochs: f64,
    /// Epochs of all fine-tuning of a pruning run.
    pub prune_epochs: f64,
    /// Epochs of fine-tuning at each point of a comparison of criteria or bias updates; 0: none.
    pub curve_epochs: f64,
    /// Seeds that methods are compared over, each with a base network of its own.
    pub seeds: u64,
    /// Calibration images.
    pub calibration: usize,
    /// Filters of each layer whose removal alone is measured, for rank correlations.
    pub ranked_filters: usize,
    /// Seconds of timed runs for each batch size and number of threads.
    pub latency_seconds: f64,
}

impl Effort {
    /// Each network trained for 60 epochs, pruning runs fine-tuned for 40, three seeds.
    pub const FULL: Self = Self {
        base_epochs: 60.0,
        prune_epochs: 40.0,
        curve_epochs: 2.0,
        seeds: 3,
        calibration: 5_000,
        ranked_filters: 16,
        latency_seconds: 3.0,
    };

    /// This effort with `factor` times the epochs of each kind. What is no epoch stays: with fewer
    /// seeds or calibration images a study would answer another question.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        // Quarters of an epoch read well in tables.
        let scale = |epochs: f64| match epochs {
            0.0 => 0.0,
            _ => (4.0 * factor * epochs).round().max(1.0) / 4.0,
        };
        Self {
            base_epochs: scale(self.base_epochs),
            prune_epochs: scale(self.prune_epochs),
            curve_epochs: scale(self.curve_epochs),
            ..self
        }
    }
}

impl Settings {
    /// The paper's tables: VGG-16 and ResNet-18, comparisons over seeds on a VGG-16 of a quarter of the
    /// widths.
    #[must_use]
    pub fn full(seed: u64) -> Self {
        let widths = "16,16,32,32,64,64,64,128,128,128,128,128,128";
        Self {
            tables: super::tables::TABLES.iter().map(|table| table.id.to_owned()).collect(),
            model: "vgg16".into(),
            narrow: format!("vgg16:{widths}"),
            narrow_nobn: Some(format!("vgg16-nobn:{widths}")),
            residual: "resnet18".into(),
            base: None,
            residual_base: None,
            amounts: vec![2.0, 4.0, 6.0, 8.0, 10.0, 15.0],
            residual_amounts: vec![2.0, 3.0, 4.2],
            freeze_amount: 4.0,
            shares: vec![0.1, 0.2, 0.3, 0.4, 0.5],
            effort: Effort::FULL,
            train: TrainConfig::default(),
            prune: PruneConfig { max_drop: 2.0, recovery: 2.0, ..PruneConfig::default() },
            best: PruneConfig::best(),
            seed,
        }
    }

    /// T1, T3, T5 and T6 on a small VGG, on 2 cores in less than three minutes with the built-in data
    /// set: one seed, one amount, criteria and bias updates right after surgery only.
    #[must_use]
    pub fn quick(seed: u64) -> Self {
        // A small network loses more with each filter than a large one, and what it loses here the
        // final fine-tuning wins back.
        let mut prune = PruneConfig {
            max_drop: 2.0,
            recovery: 4.0,
            global_epochs: 0.4,
            layerwise_step: 0.2,
            layerwise_epochs: 0.2,
            ..PruneConfig::default()
        };
        prune.tune.batch = 64;
        prune.final_tune.batch = 64;
        Self {
            tables: ["T1", "T3", "T5", "T6"].map(str::to_owned).into(),
            model: "vgg-small".into(),
            narrow: "vgg-small".into(),
            narrow_nobn: None,
            amounts: Vec::new(),
            effort: Effort {
                base_epochs: 14.0,
                prune_epochs: 5.0,
                curve_epochs: 0.0,
                seeds: 1,
                calibration: 1_000,
                ranked_filters: 0,
                latency_seconds: 0.5,
            },
            // A small network bears a larger rate, and gains by it.
            train: TrainConfig { batch: 64, lr: 0.1, ..TrainConfig::default() },
            prune,
            ..Self::full(seed)
        }
    }

    /// What tables call the network of T1 and T6.
    #[must_use]
    pub fn model_name(&self) -> &str {
        name(self.base.as_ref(), &self.model)
    }

    /// What tables call that of T4.
    #[must_use]
    pub fn residual_name(&self) -> &str {
        name(self.residual_base.as_ref(), &self.residual)
    }

    /// The seeds of comparisons.
    pub(super) fn seeds(&self) -> impl Iterator<Item = u64> + use<> {
        let first = self.seed;
        (0..self.effort.seeds).map(move |i| first.wrapping_add(i))
    }
}

fn name<'a>(given: Option<&'a Given>, model: &'a str) -> &'a str {
    given.and_then(|given| given.name.as_deref()).unwrap_or(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_effort_has_other_epochs_and_nothing_else() {
        let half = Effort::FULL.scaled(0.5);
        assert_eq!((half.base_epochs, half.prune_epochs, half.curve_epochs), (30.0, 20.0, 1.0));
        assert_eq!(Effort { ..Effort::FULL }.scaled(1.0), Effort::FULL);
        assert_eq!(Effort::FULL.scaled(1e-6).curve_epochs, 0.25, "no comparison loses its point");
        let none = Effort { curve_epochs: 0.0, ..Effort::FULL };
        assert_eq!(none.scaled(0.5).curve_epochs, 0.0);
    }
}
