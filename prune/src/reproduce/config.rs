use crate::phases::{Phases, PruneConfig};
use crate::trainer::TrainConfig;
use serde::{Deserialize, Serialize};

/// What is reproduced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReproduceConfig {
    /// The model of a base that is trained here.
    pub model: String,
    /// How it is trained.
    pub train: TrainConfig,
    /// The pruning runs, each with a name that is a folder's.
    pub runs: Vec<(String, PruneConfig)>,
    /// Fractions of each layer's channels that criteria are compared at.
    pub shares: Vec<f64>,
    /// Calibration images of that comparison.
    pub calibration: usize,
    /// Seconds of timed runs for each batch size and number of threads.
    pub latency_seconds: f64,
    /// Everything random.
    pub seed: u64,
}

impl ReproduceConfig {
    /// A small VGG, on 2 cores in less than three minutes with the built-in data set.
    #[must_use]
    pub fn quick(seed: u64) -> Self {
        let train = TrainConfig { epochs: 14.0, batch: 64, seed, ..TrainConfig::default() };
        // A small network loses more with each filter than a large one, and what it loses here the
        // final fine-tuning wins back.
        let mut prune = PruneConfig {
            max_drop: 2.0,
            recovery: 4.0,
            calibration: 1_000,
            global_epochs: 0.4,
            layerwise_step: 0.2,
            layerwise_epochs: 0.2,
            epochs_budget: Some(5.0),
            seed,
            ..PruneConfig::default()
        };
        prune.tune.batch = 64;
        prune.final_tune.batch = 64;
        Self {
            model: "vgg-small".into(),
            train,
            runs: one_by_one(&prune),
            shares: vec![0.1, 0.2, 0.3, 0.4, 0.5],
            calibration: 1_000,
            latency_seconds: 0.5,
            seed,
        }
    }

    /// The same plan for a paper's table: VGG-16, the method's own steps, 30 epochs of fine-tuning a
    /// run.
    #[must_use]
    pub fn full(seed: u64) -> Self {
        let prune = PruneConfig {
            max_drop: 2.0,
            epochs_budget: Some(30.0),
            seed,
            ..PruneConfig::default()
        };
        let mut runs = one_by_one(&prune);
        let unfrozen = PruneConfig { freeze: 0.0, ..prune };
        runs.push(("both-unfrozen".into(), unfrozen));
        Self {
            model: "vgg16".into(),
            train: TrainConfig { epochs: 60.0, seed, ..TrainConfig::default() },
            runs,
            shares: vec![0.1, 0.2, 0.3, 0.4, 0.5],
            calibration: 5_000,
            latency_seconds: 3.0,
            seed,
        }
    }
}

/// The phases together and one by one, alike in all else.
fn one_by_one(config: &PruneConfig) -> Vec<(String, PruneConfig)> {
    let phases =
        [("both", Phases::Both), ("global", Phases::Global), ("layerwise", Phases::Layerwise)];
    let runs = phases.map(|(name, phases)| (name.into(), PruneConfig { phases, ..config.clone() }));
    runs.into()
}
