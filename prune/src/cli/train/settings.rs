//! The flags and the file that make a training run's configuration.

use super::Args;
use crate::cli::common::Common;
use crate::cli::config::{self, Idle, Layers, Source, flag};
use anyhow::Result;
use clap::ValueEnum;
use pleach_core::checkpoint::Dtype;
use pleach_core::graph::Graph;
use pleach_core::optim::{Optimizer, Schedule};
use pleach_core::{Shape, models};
use pleach_prune::settings::SettingError;
use pleach_prune::trainer::TrainConfig;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The model whose settings hold where none is named, or one that there is not.
const PLAIN: &str = "vgg16";

/// How to train. What is not given is as the configuration file has it, or else the preset, or else the default.
#[derive(clap::Args)]
pub(super) struct Settings {
    /// The model, at its usual widths or at given ones: vgg16:21,43,67,...
    #[arg(short, long, value_name = "NAME")]
    model: Option<String>,
    /// Passes over the training images [default: 15]
    #[arg(short, long, value_name = "E", value_parser = epochs)]
    epochs: Option<f64>,
    /// Images of a step [default: 128]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: Option<u32>,
    /// The largest learning rate [default: 0.05; residual networks: 0.4; adam: 0.001; muon: 0.03]
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
    /// Move random crops by this many pixels at most [default: 4]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(0..=16))]
    crop_padding: Option<u32>,
    /// Cut a square of this many pixels a side out of each image [default: 0, none]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(0..=32))]
    cutout: Option<u32>,
    /// Paste a rectangle of another image into this share of the images, at most half of one, and mix their labels
    /// alike (CutMix) [default: 0]
    #[arg(long, value_name = "FRACTION", value_parser = fraction, allow_negative_numbers = true)]
    cutmix: Option<f32>,
    /// Train on the validation images too, for a last time after all choices: the last epoch's network is kept
    #[arg(long)]
    all_images: bool,
    /// Compute convolutions term by term, without Winograd's and Toeplitz's algorithms: slower, to compare
    #[arg(long)]
    direct: bool,
    /// The type of the weights in best.safetensors [default: f32]
    #[arg(long, value_enum, value_name = "TYPE")]
    dtype: Option<DtypeName>,
    /// Named settings: default; or best, Muon with mirrored borders and cutout, for networks that have the width to
    /// over-fit [default: default]
    #[arg(long, value_enum, value_name = "NAME")]
    preset: Option<Preset>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Preset {
    Default,
    Best,
}

impl Preset {
    fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Best => "best",
        }
    }

    /// How a network of the structure of `graph` is trained.
    fn config(self, graph: &Graph) -> TrainConfig {
        match self {
            Self::Default => TrainConfig::for_graph(graph),
            Self::Best => TrainConfig::best_for_graph(graph),
        }
    }
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
    /// Orthogonal steps for the filters of convolutions, SGD for everything else
    Muon,
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
pub(in crate::cli) struct File {
    verb: String,
    /// Empty if it is not named.
    pub(super) model: String,
    #[serde(default)]
    pub(super) data: Option<PathBuf>,
    /// Whether the validation images are trained on too.
    #[serde(default)]
    pub(super) all_images: bool,
    #[serde(default)]
    dtype: DtypeName,
    pub(super) train: TrainConfig,
}

impl Default for File {
    /// No model, and the defaults.
    fn default() -> Self {
        Self {
            verb: "train".into(),
            model: String::new(),
            data: None,
            all_images: false,
            dtype: DtypeName::default(),
            train: TrainConfig::default(),
        }
    }
}

impl config::Settings for File {
    const VERB: &'static str = "train";
    const UNNAMED: &'static str = "name a model to train (--model), such as vgg-small or vgg16";

    fn is_named(&self) -> bool {
        !self.model.is_empty()
    }

    fn check(&self) -> Result<(), SettingError> {
        self.train.check("train")
    }

    fn idle(&self) -> Vec<Idle> {
        let why = "images are not augmented; leave out --no-augment";
        match self.train.augment {
            true => Vec::new(),
            false => ["train.crop_padding", "train.border"].map(|key| Idle { key, why }).into(),
        }
    }
}

impl File {
    pub(super) fn dtype(&self) -> Dtype {
        match self.dtype {
            DtypeName::F32 => Dtype::F32,
            DtypeName::F16 => Dtype::F16,
            DtypeName::Bf16 => Dtype::Bf16,
        }
    }
}

impl Args {
    /// The settings that the command line and the environment say, over those of `file`.
    pub(in crate::cli) fn layers(&self, common: &Common, file: Source<'_>) -> Result<Layers> {
        // The layers name the model, whose defaults lie under them.
        let model = self.over(PLAIN, common, file)?.get("model");
        self.over(model.as_str().unwrap_or(PLAIN), common, file)
    }

    /// The layers over the defaults, or the preset, for `model`.
    fn over(&self, model: &str, common: &Common, file: Source<'_>) -> Result<Layers> {
        // Whatever the images: their size does not change the kinds of layers.
        let build = |model: &str| models::build(model, Shape::new(3, 32, 32), 10);
        let graph = build(model).or_else(|_| build(PLAIN)).expect("a model that there is");
        let defaults = File { train: TrainConfig::for_graph(&graph), ..File::default() };
        let mut layers = Layers::over(&defaults);
        if let Some(preset) = self.settings.preset {
            layers.preset(preset.name(), "train", &preset.config(&graph));
        }
        layers.file::<File>(file)?;
        layers.environment("train", config::variables());
        layers.put(&common.origin("seed"), "train.seed", common.seed_given());
        layers.put(&common.origin("data"), "data", self.data.text()?);
        self.settings.lay(&mut layers, &defaults.train);
        layers.set(&self.config.set)?;
        Ok(layers)
    }
}

impl Settings {
    fn lay(&self, layers: &mut Layers, defaults: &TrainConfig) {
        layers.put(&flag("--model"), "model", self.model.as_deref());
        layers.put(&flag("--dtype"), "dtype", self.dtype);
        layers.put(&flag("--epochs"), "train.epochs", self.epochs);
        layers.put(&flag("--batch"), "train.batch", self.batch);
        if let Some(name) = self.optimizer {
            let (optimizer, lr) = name.with(layers.get("train.optimizer.weight_decay"), defaults);
            layers.imply(&flag("--optimizer"), "train.optimizer", optimizer);
            layers.imply(&flag("--optimizer"), "train.lr", lr);
        }
        layers.put(&flag("--lr"), "train.lr", self.lr);
        layers.put(&flag("--weight-decay"), "train.optimizer.weight_decay", self.weight_decay);
        layers.put(&flag("--label-smoothing"), "train.label_smoothing", self.label_smoothing);
        layers.put(&flag("--no-augment"), "train.augment", self.no_augment.then_some(false));
        layers.put(&flag("--crop-padding"), "train.crop_padding", self.crop_padding);
        layers.put(&flag("--cutout"), "train.cutout", self.cutout);
        layers.put(&flag("--cutmix"), "train.cutmix", self.cutmix);
        layers.put(&flag("--all-images"), "all_images", self.all_images.then_some(true));
        layers.put(&flag("--direct"), "train.direct", self.direct.then_some(true));
        let schedule = self.schedule.map(ScheduleName::schedule);
        layers.put(&flag("--schedule"), "train.schedule", schedule);
    }
}

impl OptimizerName {
    /// The optimiser, with this weight decay, and its usual largest learning rate.
    fn with(self, decay: serde_json::Value, defaults: &TrainConfig) -> (serde_json::Value, f32) {
        let (optimizer, lr) = match self {
            Self::Sgd => (defaults.optimizer, defaults.lr),
            // The values of the paper (Kingma and Ba 2015, algorithm 1).
            Self::Adam => {
                (Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }, 0.001)
            }
            Self::Muon => {
                let lr = Optimizer::MUON_LR;
                (Optimizer::muon(defaults.lr / lr), lr)
            }
        };
        let mut optimizer = config::to_value(&optimizer);
        optimizer["weight_decay"] = decay;
        (optimizer, lr)
    }
}

impl ScheduleName {
    fn schedule(self) -> Schedule {
        match self {
            Self::Constant => Schedule::Constant {},
            Self::Step => Schedule::Step { milestones: vec![0.5, 0.75], gamma: 0.1 },
            Self::Cosine => Schedule::Cosine { warmup: 0.05, floor: 0.0 },
            Self::OneCycle => TrainConfig::default().schedule,
        }
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

fn fraction(text: &str) -> Result<f32, String> {
    number(text, "a fraction, 0 to 1", |x| (0.0..=1.0).contains(&x)).map(|x| x as f32)
}

fn smoothing(text: &str) -> Result<f32, String> {
    number(text, "a fraction, 0 or more and less than 1", |x| (0.0..1.0).contains(&x))
        .map(|x| x as f32)
}
