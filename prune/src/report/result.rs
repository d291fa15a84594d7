//! What a pruning run found, as its `result.json` says it.

use crate::latency::{LayerRow, Ratio, Row};
use crate::phases::{Counted, Facts, PairedDrop, Phases, StepRecord};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The file in the run's folder.
pub const RESULT: &str = "result.json";

/// The schema that this version writes and reads.
pub const RESULT_SCHEMA: &str = "pleach.prune/1";

/// `result.json`: `pleach.prune/1`. What an earlier version did not write is empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PruneResult {
    /// [`RESULT_SCHEMA`].
    pub schema: String,
    /// The original network, as models are named.
    #[serde(default)]
    pub model: String,
    /// The data set's name.
    #[serde(default)]
    pub dataset: String,
    /// The criterion's name.
    pub criterion: String,
    /// The phases that ran.
    pub phases: Phases,
    /// The original network, in numbers.
    pub base: Facts,
    /// The pruned network, in numbers.
    pub pruned: Pruned,
    /// Every removal of this run, those that were undone too.
    pub steps: Vec<StepRecord>,
    /// How much faster the pruned network is.
    pub speedup: Vec<Ratio>,
    /// How fast both are, the networks being `base` and `pruned`.
    pub latency: Vec<Row>,
    /// Where their time goes, at one batch size and number of threads.
    #[serde(default)]
    pub layers: Vec<LayerRow>,
    /// What the target counts; `None` without one.
    #[serde(default)]
    pub target: Option<Counted>,
    /// Whether the target was met within the drop limit.
    pub target_met: bool,
    /// Test accuracy lost, in points.
    pub drop: PairedDrop,
    /// Points lost against the reference, on its split, by which the run decided.
    pub drop_points: f64,
    /// The reference: `validation` or `test`.
    pub reference: String,
    /// Epochs of fine-tuning since the base network, those of runs that this one goes on from too.
    pub epochs: f64,
    /// The run's seed.
    pub seed: u64,
    /// Layers whose removed inputs nothing could stand in for, for lack of a bias or batch norm.
    pub without_bias_update: Vec<String>,
    /// The SHA-256 of the files, in hexadecimal: of `base`, if that is a file, of `after`, the network that the run
    /// went on from, if that was another, and of `pruned`.
    #[serde(default)]
    pub sha256: BTreeMap<String, String>,
    /// Seconds of all removals and fine-tuning.
    #[serde(default)]
    pub seconds: f64,
}

/// The pruned network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pruned {
    /// In numbers.
    #[serde(flatten)]
    pub facts: Facts,
    /// Its widths, as models take them.
    pub widths: Vec<usize>,
}
