//! The flags that make a pruning run's configuration.

use crate::cli::common::read;
use crate::cli::config::{self, Layers, flag};
use crate::cli::exit::usage;
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use pleach_core::loss::Distillation;
use pleach_prune::criteria;
use pleach_prune::phases::PruneConfig;
use pleach_prune::plan::Plan;
use pleach_prune::settings::{AMOUNT, FRACTION, POSITIVE, STEP, TEMPERATURE};
use pleach_prune::target::{Amount, Target, Unit};
use serde::Serialize;
use std::path::PathBuf;

/// How to prune. What is not given is as the configuration file, or else the preset, has it.
#[derive(Args)]
pub(super) struct Settings {
    /// Multiply-adds to remove: 10x leaves a tenth, 30% removes thirty percent
    #[arg(long, value_name = "AMOUNT", group = "target")]
    macs: Option<Amount>,
    /// Trainable parameters to remove
    #[arg(long, value_name = "AMOUNT", group = "target")]
    params: Option<Amount>,
    /// Channels to remove
    #[arg(long, value_name = "AMOUNT", group = "target")]
    channels: Option<Amount>,
    /// Time to remove at batch 1 on one thread, by the times of the layers that the run measures on this CPU
    #[arg(long, value_name = "AMOUNT", group = "target")]
    latency: Option<Amount>,
    /// With --latency, do not give back channels that cost no time
    #[arg(long)]
    no_free_channels: bool,
    /// The order of groups in phase II: macs, or sensitivity, which is no part of the method [default: macs]
    #[arg(long, value_name = "ORDER", value_parser = ["macs", "sensitivity"])]
    layerwise_order: Option<String>,
    /// Remove what this plan.json says, edited or not, instead of choosing; then only the final fine-tuning follows
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    plan: Option<PathBuf>,
    /// The most accuracy to lose, in points [default: 2]
    #[arg(long, value_name = "POINTS", value_parser = amount, allow_negative_numbers = true)]
    max_drop: Option<f64>,
    /// Which accuracy of the base the drop is counted against [default: auto]
    #[arg(long, value_name = "SPLIT", value_parser = ["auto", "validation", "test"])]
    reference: Option<String>,
    /// Phases to run [default: both]
    #[arg(long, value_name = "PHASE", value_parser = ["both", "global", "layerwise"])]
    phase: Option<String>,
    /// What filters are chosen by [default: con_ent]
    #[arg(long, value_name = "NAME", value_parser = criterion_names())]
    criterion: Option<String>,
    /// What the entropy of con_ent is conditioned on [default: loss]
    #[arg(long, value_name = "WHAT", value_parser = ["loss", "label", "loss+label"])]
    condition: Option<String>,
    /// Bins of responses [default: 32]
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(2..=65536))]
    bins: Option<u32>,
    /// Bins of the loss [default: 10]
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=65536))]
    loss_bins: Option<u32>,
    /// How responses are sorted into bins [default: per-filter]
    #[arg(long, value_name = "HOW", value_parser = ["per-filter", "per-layer", "equal-frequency"])]
    binning: Option<String>,
    /// Correct entropies for few samples [default: none]
    #[arg(long, value_name = "HOW", value_parser = ["none", "miller-madow"])]
    correction: Option<String>,
    /// How the scores of different layers are made comparable [default: layer-mean]
    #[arg(long, value_name = "HOW", value_parser = ["layer-mean", "raw"])]
    normalise: Option<String>,
    /// How the scores of channels that go together become one [default: mean]
    #[arg(long, value_name = "HOW", value_parser = ["mean", "max", "sum"])]
    join: Option<String>,
    /// What stands in for removed channels [default: mean]
    #[arg(long, value_name = "HOW", value_parser = ["none", "mean", "max-entropy"])]
    bias_update: Option<String>,
    /// Calibration images that filters are scored on [default: 5000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    calibration: Option<u32>,
    /// The fraction of its filters that a layer never goes below [default: 0.02]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    floor: Option<f64>,
    /// The fraction of each layer's filters that fine-tuning leaves as they are [default: 0.1]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    freeze: Option<f64>,
    /// What those are ranked by [default: entropy]
    #[arg(long, value_name = "BY", value_parser = ["entropy", "con-ent"])]
    freeze_rank: Option<String>,
    /// Epochs of all fine-tuning together; 0 prunes once, without fine-tuning
    #[arg(long, value_name = "E", value_parser = amount)]
    epochs_budget: Option<f64>,
    /// The fraction of the filters that a round of phase I removes [default: 0.1]
    #[arg(long, value_name = "FRACTION", value_parser = step)]
    global_step: Option<f64>,
    /// Epochs of fine-tuning after each of them; with --epochs-budget the most, and without effect if there is a target
    /// too [default: 2]
    #[arg(long, value_name = "E", value_parser = amount)]
    global_epochs: Option<f64>,
    /// The fraction of a layer's filters that a trial of phase II removes [default: 0.1]
    #[arg(long, value_name = "FRACTION", value_parser = step)]
    layerwise_step: Option<f64>,
    /// Let phase II leave layers a multiple of this many channels; those of whole vectors, 16, cost least
    /// [default: 1; 16 with --preset best]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    round_to: Option<u32>,
    /// Epochs of fine-tuning after each of them; with --epochs-budget the most, and without effect if there is a target
    /// too [default: 0.25]
    #[arg(long, value_name = "E", value_parser = amount)]
    layerwise_epochs: Option<f64>,
    /// The fraction of the drop that phase I may spend where both run [default: 0.5]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    global_drop_share: Option<f64>,
    /// Points that a step may lose beyond --max-drop, for the final fine-tuning to win back [default: 0]
    #[arg(long, value_name = "POINTS", value_parser = amount)]
    recovery: Option<f64>,
    /// The fraction of the target's logarithm that phase I goes for where both run [default: 0.5]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    global_target_share: Option<f64>,
    /// Epochs of the final fine-tuning, without a budget [default: 10]
    #[arg(long, value_name = "E", value_parser = amount)]
    final_epochs: Option<f64>,
    /// The largest learning rate of fine-tuning [default: 0.02]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    lr: Option<f32>,
    /// The largest learning rate of the final fine-tuning [default: 0.05]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    final_lr: Option<f32>,
    /// The fraction of fine-tuning's loss that compares the network with the unpruned one (knowledge
    /// distillation, which is no part of the method) [default: 0]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    distill: Option<f64>,
    /// What logits are divided by for that comparison [default: 4]
    #[arg(long, value_name = "T", value_parser = temperature, requires = "distill")]
    temperature: Option<f32>,
    /// Images of a training step [default: 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: Option<u32>,
    /// Named settings: default; 2pfpce, as the paper describes itself; or best, the best found for a large
    /// target, which is no longer the paper's method [default: default]
    #[arg(long, value_enum, value_name = "NAME")]
    preset: Option<Preset>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Preset {
    Default,
    #[value(name = "2pfpce")]
    Paper,
    Best,
}

impl Preset {
    fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Paper => "2pfpce",
            Self::Best => "best",
        }
    }

    fn config(self) -> PruneConfig {
        match self {
            Self::Default => PruneConfig::default(),
            Self::Paper => PruneConfig::paper(),
            Self::Best => PruneConfig::best(),
        }
    }
}

impl Settings {
    pub(super) fn lay_preset(&self, layers: &mut Layers) {
        if let Some(preset) = self.preset {
            layers.preset(preset.name(), "prune", &preset.config());
        }
    }

    pub(super) fn lay(&self, layers: &mut Layers) -> Result<()> {
        if let Some(path) = &self.plan {
            let read = || anyhow::Ok(Plan::from_json(&read(path)?)?.keeps()?);
            let keeps = read().with_context(|| path.display().to_string())?;
            layers.imply(&flag("--plan"), "prune.target", None::<Target>);
            layers.put(&flag("--plan"), "prune.replay", Some(keeps));
        }
        let targets = [
            (self.macs, Unit::Macs),
            (self.params, Unit::Params),
            (self.channels, Unit::Channels),
            (self.latency, Unit::Latency),
        ];
        for (amount, unit) in targets {
            if let Some(amount) = amount {
                let origin = flag(&format!("--{}", config::to_value(&unit).as_str().unwrap_or("")));
                layers.put(&origin, "prune.target", Some(Target { unit, amount }));
            }
        }
        put(layers, "--no-free-channels", "free_channels", self.no_free_channels.then_some(false));
        put(layers, "--max-drop", "max_drop", self.max_drop);
        put(layers, "--recovery", "recovery", self.recovery);
        choose(layers, "--reference", "reference", &self.reference);
        choose(layers, "--phase", "phases", &self.phase);
        put(layers, "--criterion", "criterion", self.criterion.as_deref());
        choose(layers, "--condition", "con_ent.condition", &self.condition);
        put(layers, "--bins", "con_ent.bins", self.bins);
        put(layers, "--loss-bins", "con_ent.loss_bins", self.loss_bins);
        choose(layers, "--binning", "con_ent.binning", &self.binning);
        choose(layers, "--correction", "con_ent.correction", &self.correction);
        choose(layers, "--normalise", "normalise", &self.normalise);
        choose(layers, "--join", "join", &self.join);
        choose(layers, "--bias-update", "bias_update", &self.bias_update);
        put(layers, "--calibration", "calibration", self.calibration);
        put(layers, "--floor", "floor", self.floor);
        put(layers, "--freeze", "freeze", self.freeze);
        choose(layers, "--freeze-rank", "freeze_rank", &self.freeze_rank);
        put(layers, "--epochs-budget", "epochs_budget", self.epochs_budget);
        put(layers, "--global-step", "global_step", self.global_step);
        put(layers, "--global-epochs", "global_epochs", self.global_epochs);
        put(layers, "--layerwise-step", "layerwise_step", self.layerwise_step);
        put(layers, "--round-to", "round_to", self.round_to);
        choose(layers, "--layerwise-order", "layerwise_order", &self.layerwise_order);
        put(layers, "--layerwise-epochs", "layerwise_epochs", self.layerwise_epochs);
        put(layers, "--global-drop-share", "global_drop_share", self.global_drop_share);
        put(layers, "--global-target-share", "global_target_share", self.global_target_share);
        put(layers, "--final-epochs", "final_epochs", self.final_epochs);
        put(layers, "--lr", "tune.lr", self.lr);
        put(layers, "--final-lr", "final_tune.lr", self.final_lr);
        put(layers, "--batch", "tune.batch", self.batch);
        put(layers, "--batch", "final_tune.batch", self.batch);
        self.lay_distillation(layers)
    }

    /// What a file or the environment says of the temperature stays, unless a flag says otherwise.
    fn lay_distillation(&self, layers: &mut Layers) -> Result<()> {
        let (origin, temperature) = (flag("--distill"), "prune.distillation.temperature");
        match self.distill.map(|weight| weight as f32) {
            None => {}
            Some(weight) if weight > 0.0 => {
                layers.put(&origin, "prune.distillation.weight", Some(weight));
                if layers.get(temperature).is_null() {
                    layers.imply(&origin, temperature, Distillation::TEMPERATURE);
                }
            }
            Some(_) if self.temperature.is_some() => {
                return Err(usage(
                    "--temperature has no effect: --distill 0 compares with nothing",
                ));
            }
            Some(_) => layers.put(&origin, "prune.distillation", Some(None::<Distillation>)),
        }
        put(layers, "--temperature", "distillation.temperature", self.temperature);
        Ok(())
    }
}

fn put(layers: &mut Layers, name: &str, key: &str, value: Option<impl Serialize>) {
    layers.put(&flag(name), &format!("prune.{key}"), value);
}

/// An enum by the name that its file form has, which flags write with `-` for `_`.
fn choose(layers: &mut Layers, name: &str, key: &str, value: &Option<String>) {
    put(layers, name, key, value.as_ref().map(|value| value.replace('-', "_")));
}

fn criterion_names() -> clap::builder::PossibleValuesParser {
    criteria::names().into()
}

fn amount(text: &str) -> Result<f64, String> {
    AMOUNT.parse(text)
}

fn fraction(text: &str) -> Result<f64, String> {
    FRACTION.parse(text)
}

fn step(text: &str) -> Result<f64, String> {
    STEP.parse(text)
}

fn rate(text: &str) -> Result<f32, String> {
    POSITIVE.parse(text).map(|rate| rate as f32)
}

fn temperature(text: &str) -> Result<f32, String> {
    TEMPERATURE.parse(text).map(|temperature| temperature as f32)
}
