//! The cells of a study: what each is, what it needs, what it found.

use crate::bias_update::BiasUpdate;
use crate::compare::Curve;
use crate::criteria::ConEnt;
use crate::latency::Measurement;
use crate::phases::{Facts, PruneConfig};
use crate::ranking::Ranking;
use crate::report::RunReport;
use crate::trainer::TrainConfig;
use serde::{Deserialize, Serialize};

/// One independent run of a study, with a folder of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Its name, a folder's: `t3-l1-s42`.
    pub id: String,
    /// What it is, for people.
    pub about: String,
    /// The model that its network is, or began as: how long it takes goes by how fast that trains.
    #[serde(default)]
    pub model: String,
    /// What it is expected to take, in multiply-adds of that model, three times a forward pass for a training
    /// step.
    pub macs: f64,
    /// What is to be done.
    pub work: Work,
}

impl Cell {
    /// Whether both are the same work, whatever is said of it and expected.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.work == other.work
    }
}

/// What is done in a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// Takes a network that was trained before.
    Given {
        /// The network, as users name networks.
        net: String,
        /// The architecture of a file that does not say its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arch: Option<String>,
    },
    /// Trains a model from scratch.
    Train {
        /// The model.
        model: String,
        /// How.
        config: TrainConfig,
    },
    /// Trains the shape of another cell's network from scratch.
    Scratch {
        /// That cell.
        like: String,
        /// How.
        config: TrainConfig,
    },
    /// Prunes the network of another cell.
    Prune {
        /// That cell.
        base: String,
        /// The cell, of the same base, whose pruned network it goes on from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
        /// How.
        config: Box<PruneConfig>,
    },
    /// Removes the same share of every layer's channels at once, for a number of shares, and measures
    /// accuracy right after surgery and, if asked, after fine-tuning.
    Curve {
        /// The cell with the network.
        base: String,
        /// The criterion.
        criterion: String,
        /// The settings of conditional entropy.
        #[serde(default)]
        con_ent: ConEnt,
        /// What stands in for removed channels.
        bias_update: BiasUpdate,
        /// The shares.
        shares: Vec<f64>,
        /// Calibration images.
        calibration: usize,
        /// How each point is fine-tuned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tune: Option<TrainConfig>,
        /// Calibration images and random scores.
        seed: u64,
    },
    /// Correlates criteria's ranks with the loss that removing single filters costs.
    Ranking {
        /// The cell with the network.
        base: String,
        /// Filters of each layer.
        filters: usize,
        /// Calibration images.
        calibration: usize,
        /// Calibration images, filters and random scores.
        seed: u64,
    },
    /// Measures networks' speed beside that of the first.
    Speed {
        /// The cells with the networks.
        nets: Vec<String>,
        /// Seconds for each batch size and number of threads.
        seconds: f64,
        /// Images and orders.
        seed: u64,
    },
}

impl Work {
    /// The cells whose networks it needs.
    #[must_use]
    pub fn needs(&self) -> Vec<&str> {
        match self {
            Self::Given { .. } | Self::Train { .. } => Vec::new(),
            Self::Prune { base, after, .. } => {
                [Some(base), after.as_ref()].into_iter().flatten().map(String::as_str).collect()
            }
            Self::Scratch { like: base, .. }
            | Self::Curve { base, .. }
            | Self::Ranking { base, .. } => vec![base],
            Self::Speed { nets, .. } => nets.iter().map(String::as_str).collect(),
        }
    }

    /// The file of the network that it makes.
    pub(super) fn network_file(&self) -> Option<&'static str> {
        match self {
            Self::Given { .. } => Some("base.safetensors"),
            Self::Train { .. } | Self::Scratch { .. } => Some(crate::train_run::BEST),
            Self::Prune { .. } => Some(crate::prune_run::PRUNED),
            Self::Curve { .. } | Self::Ranking { .. } | Self::Speed { .. } => None,
        }
    }
}

/// The schema of [`Record`].
pub const CELL_SCHEMA: &str = "pleach.cell/1";

/// A cell that is done: the document `cell.json` in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`CELL_SCHEMA`].
    pub schema: String,
    /// The cell.
    pub cell: Cell,
    /// The data set's name; of cells done before they had it, nothing.
    #[serde(default)]
    pub dataset: String,
    /// The machine, as `pleach env --json` shows it.
    pub environment: serde_json::Value,
    /// The network that it made.
    pub network: Option<NetworkFile>,
    /// Seconds, in one go or, of training and pruning, in several.
    pub seconds: f64,
    /// What it found.
    pub found: Found,
}

/// A network's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// Its name in the cell's folder.
    pub file: String,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// What a cell found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Found {
    /// Of a network that was given or trained from scratch.
    Network(NetworkReport),
    /// Of a pruning run.
    Pruned(Box<RunReport>),
    /// Of a criterion or bias update.
    Curve(Curve),
    /// Of all criteria.
    Ranking(Ranking),
    /// Of networks.
    Speed(Measurement),
}

/// A network that was given or trained from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkReport {
    /// The network, in numbers.
    pub facts: Facts,
    /// Its widths.
    pub widths: Vec<usize>,
    /// Bytes of its activations, for one image.
    pub activation_bytes: usize,
    /// Accuracy (a fraction) on a sample of the training images, as they are.
    pub train_accuracy: f64,
    /// Its training, unless it was given.
    pub training: Option<TrainingReport>,
}

/// A training from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingReport {
    /// Epochs.
    pub epochs: u64,
    /// The epoch that was kept, from 1.
    pub best_epoch: u64,
    /// Its validation accuracy, a fraction.
    pub best_accuracy: f64,
    /// Seconds of its epochs, without evaluation.
    pub seconds: f64,
}
