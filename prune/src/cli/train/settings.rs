//! The flags and the file that make a training run's configuration.

use super::super::common::read;
use super::super::exit::usage;
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use pleach_core::checkpoint::Dtype;
use pleach_core::optim::{Optimizer, Schedule};
use pleach_prune::trainer::TrainConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How to train. What is not given is as the configuration file has it, or else the default.
#[derive(Args)]
pub(super) struct Settings {
    /// The model, at its usual widths or at given ones: vgg16:21,43,67,...
    #[arg(short, long, value_name = "NAME")]
    pub(super) model: Option<String>,
    /// Passes over the training images [default: 15]
    #[arg(short, long, value_name = "E", value_parser = epochs)]
    epochs: Option<f64>,
    /// Images of a step [default: 128]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: Option<u32>,
    /// The largest learning rate [default: 0.05; adam: 0.001]
    #[arg(long, value_name = "RATE", value_parser = rate, allow_negative_numbers = true)]
    lr: Option<f32>,
    /// The learning rate over the run [default: one-cycle]
    #[arg(long, value_enum, value_name = "NAME")]
    schedule: Option<ScheduleName>,
    /// How gradients change weights [default: sgd]
    #[arg(long, value_enum, value_name = "NAME")]
    optimizer: Option<OptimizerName>,
    /// The L2 penalty of weights [default: 0.0005]
    #[arg(long, value_name = "L", value_parser = decay, allow_negative_numbers = true)]
    weight_decay: Option<f32>,
    /// Share of the labels that is spread over all classes [default: 0.1]
    #[arg(long, value_name = "FRACTION", value_parser = smoothing, allow_negative_numbers = true)]
    label_smoothing: Option<f32>,
    /// Train on the images as they are, without random crops and flips
    #[arg(long)]
    no_augment: bool,
    /// Compute convolutions term by term, without Winograd's and Toeplitz's algorithms: slower, to compare
    #[arg(long)]
    direct: bool,
    /// The type of the weights in best.safetensors [default: f32]
    #[arg(long, value_enum, value_name = "TYPE")]
    dtype: Option<DtypeName>,
    /// Settings of an earlier run: its run.toml
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ScheduleName {
    /// Always the largest
    Constant,
    /// A tenth from half of the run on, a hundredth from three quarters
    Step,
    /// A short rise, then half a cosine down to 0
    Cosine,
    /// A quarter of the run up, the rest down
    OneCycle,
}

#[derive(Clone, Copy, ValueEnum)]
enum OptimizerName {
    /// Stochastic gradient descent with Nesterov momentum 0.9
    Sgd,
    Adam,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DtypeName {
    #[default]
    F32,
    F16,
    Bf16,
}

/// `run.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    verb: String,
    pub(super) model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<PathBuf>,
    #[serde(default)]
    dtype: DtypeName,
    pub(super) train: TrainConfig,
}

impl File {
    /// Reads a settings file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = read(path)?;
        let file: Self = toml::from_str(&text)
            .with_context(|| format!("{} is no settings file of train", path.display()))?;
        if file.verb != "train" {
            let (path, verb) = (path.display(), file.verb);
            return Err(usage(format!("{path} has settings of {verb:?}, expected of \"train\"")));
        }
        Ok(file)
    }

    /// The file's text.
    pub(super) fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string_pretty(self)?)
    }

    pub(super) fn dtype(&self) -> Dtype {
        match self.dtype {
            DtypeName::F32 => Dtype::F32,
            DtypeName::F16 => Dtype::F16,
            DtypeName::Bf16 => Dtype::Bf16,
        }
    }
}

impl Settings {
    /// The settings of a new run.
    pub(super) fn file(&self, seed: Option<u64>, data: Option<&Path>) -> Result<File> {
        let file = match (&self.config, &self.model) {
            (Some(path), _) => File::read(path)?,
            (None, Some(model)) => File {
                verb: "train".into(),
                model: model.clone(),
                data: None,
                dtype: DtypeName::F32,
                train: TrainConfig::default(),
            },
            (None, None) => {
                return Err(usage("name a model to train (--model), such as vgg-small or vgg16"));
            }
        };
        Ok(self.over(file, seed, data))
    }

    /// `file` with what the flags say.
    pub(super) fn over(&self, mut file: File, seed: Option<u64>, data: Option<&Path>) -> File {
        let train = &mut file.train;
        set(&mut file.model, self.model.clone());
        set(&mut file.dtype, self.dtype);
        set(&mut train.seed, seed);
        if let Some(data) = data {
            file.data = Some(data.into());
        }
        set(&mut train.epochs, self.epochs);
        set(&mut train.batch, self.batch.map(|images| images as usize));
        if let Some(name) = self.optimizer {
            let weight_decay = match train.optimizer {
                Optimizer::Sgd { weight_decay, .. } | Optimizer::Adam { weight_decay, .. } => {
                    weight_decay
                }
            };
            (train.optimizer, train.lr) = match name {
                OptimizerName::Sgd => {
                    (Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay }, 0.05)
                }
                // The values of the paper (Kingma and Ba 2015, algorithm 1).
                OptimizerName::Adam => {
                    (Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay }, 0.001)
                }
            };
        }
        set(&mut train.lr, self.lr);
        if let Some(decay) = self.weight_decay {
            match &mut train.optimizer {
                Optimizer::Sgd { weight_decay, .. } | Optimizer::Adam { weight_decay, .. } => {
                    *weight_decay = decay;
                }
            }
        }
        set(&mut train.label_smoothing, self.label_smoothing);
        train.augment &= !self.no_augment;
        train.direct |= self.direct;
        if let Some(name) = self.schedule {
            train.schedule = match name {
                ScheduleName::Constant => Schedule::Constant {},
                ScheduleName::Step => Schedule::Step { milestones: vec![0.5, 0.75], gamma: 0.1 },
                ScheduleName::Cosine => Schedule::Cosine { warmup: 0.05, floor: 0.0 },
                ScheduleName::OneCycle => TrainConfig::default().schedule,
            };
        }
        file
    }
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

fn number(text: &str, expected: &str, fits: impl Fn(f64) -> bool) -> Result<f64, String> {
    text.parse().ok().filter(|&number| fits(number)).ok_or_else(|| format!("expected {expected}"))
}

fn epochs(text: &str) -> Result<f64, String> {
    number(text, "a number, more than 0", |x| x > 0.0 && x < 1e6)
}

fn rate(text: &str) -> Result<f32, String> {
    number(text, "a number, more than 0", |x| x > 0.0 && x < 1e30).map(|x| x as f32)
}

fn decay(text: &str) -> Result<f32, String> {
    number(text, "a number, 0 or more", |x| (0.0..1e9).contains(&x)).map(|x| x as f32)
}

fn smoothing(text: &str) -> Result<f32, String> {
    number(text, "a fraction, 0 or more and less than 1", |x| (0.0..1.0).contains(&x))
        .map(|x| x as f32)
}
