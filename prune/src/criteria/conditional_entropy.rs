use super::{Criterion, ScoreCx};
use crate::entropy::{self, Binned, Binning, Correction};
use crate::evidence::LayerEvidence;
use pleach_core::graph::NodeId;
use serde::{Deserialize, Serialize};

/// What a filter's response is conditioned on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// The image's loss in the unpruned network, in quantile bins.
    #[default]
    #[serde(rename = "loss")]
    Loss,
    /// The image's label.
    #[serde(rename = "label")]
    Label,
    /// Both.
    #[serde(rename = "loss+label")]
    LossAndLabel,
}

/// The settings of conditional entropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConEnt {
    /// What responses are conditioned on.
    pub condition: Condition,
    /// Bins of responses, `B`.
    pub bins: usize,
    /// How responses are sorted into bins.
    pub binning: Binning,
    /// Quantile bins of the loss, `M`.
    pub loss_bins: usize,
    /// Correction of the entropies' bias.
    pub correction: Correction,
}

impl Default for ConEnt {
    fn default() -> Self {
        Self {
            condition: Condition::Loss,
            bins: 32,
            binning: Binning::PerFilter,
            loss_bins: 10,
            correction: Correction::None,
        }
    }
}

impl ConEnt {
    /// The default with one setting changed each, by names for tables.
    #[must_use]
    pub fn variants() -> [(&'static str, Self); 7] {
        let default = Self::default();
        [
            ("label", Self { condition: Condition::Label, ..default }),
            ("loss+label", Self { condition: Condition::LossAndLabel, ..default }),
            ("per_layer", Self { binning: Binning::PerLayer, ..default }),
            ("equal_frequency", Self { binning: Binning::EqualFrequency, ..default }),
            ("8-bins", Self { bins: 8, ..default }),
            ("128-bins", Self { bins: 128, ..default }),
            ("miller_madow", Self { correction: Correction::MillerMadow, ..default }),
        ]
    }

    /// The bins of the condition, `Z`.
    #[must_use]
    pub fn condition(&self, losses: &[f64], labels: &[u32]) -> Binned {
        let losses = || entropy::quantiles(losses, self.loss_bins);
        match self.condition {
            Condition::Loss => losses(),
            Condition::Label => entropy::classes(labels),
            Condition::LossAndLabel => entropy::joint(&losses(), &entropy::classes(labels)),
        }
    }

    /// The conditional entropy `H(A | Z)` of each filter of a layer, in nats.
    #[must_use]
    pub fn of_layer(&self, layer: &LayerEvidence, condition: &Binned) -> Vec<f64> {
        let bins = self.bins(layer);
        bins.map(|a| entropy::conditional(&a, condition, self.correction)).collect()
    }

    /// The entropy `H(A)` of each filter of a layer, in nats.
    #[must_use]
    pub fn entropy_of_layer(&self, layer: &LayerEvidence) -> Vec<f64> {
        self.bins(layer).map(|a| entropy::entropy(&a, self.correction)).collect()
    }

    fn bins(&self, layer: &LayerEvidence) -> impl Iterator<Item = Binned> {
        let (binning, count) = (self.binning, self.bins);
        let (low, high) = range(&layer.responses);
        (0..layer.channels).map(move |channel| {
            let samples = layer.responses(channel);
            match binning {
                Binning::PerFilter => {
                    let (min, max) = range(samples);
                    entropy::equal_width(samples, min, max, count)
                }
                Binning::PerLayer if samples.iter().all(|sample| *sample == samples[0]) => {
                    entropy::one_bin(samples.len())
                }
                Binning::PerLayer => entropy::equal_width(samples, low, high, count),
                Binning::EqualFrequency => {
                    let samples: Vec<f64> = samples.iter().copied().map(f64::from).collect();
                    entropy::quantiles(&samples, count)
                }
            }
        })
    }
}

fn range(samples: &[f32]) -> (f32, f32) {
    let start = (f32::INFINITY, f32::NEG_INFINITY);
    samples.iter().fold(start, |(min, max), &sample| (min.min(sample), max.max(sample)))
}

/// Conditional entropy `H(A | Z)` of a filter's response `A` given `Z`, by default the loss: our
/// reading of Min et al. 2018 (2PFPCE), whose exact formulas were not available to us. A filter that answers every
/// image alike has 0 and goes first.
pub struct ConditionalEntropy;

impl Criterion for ConditionalEntropy {
    fn name(&self) -> &'static str {
        "con_ent"
    }

    fn in_nats(&self) -> bool {
        true
    }

    fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32> {
        let condition = cx.con_ent.condition(cx.base_losses, &cx.evidence.labels);
        let scores = cx.con_ent.of_layer(cx.evidence.layer(layer), &condition);
        scores.into_iter().map(|score| score as f32).collect()
    }
}
