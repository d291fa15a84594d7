//! The flags that make a training run's configuration.

use crate::cli::config::{self, Layers, Origin, flag};
use crate::cli::exit::usage;
use crate::cli::weights::DtypeName;
use anyhow::Result;
use clap::ValueEnum;
use pleach_core::graph::Graph;
use pleach_core::optim::{Optimizer, Schedule};
use pleach_prune::settings::{
    AMOUNT, EPOCHS, FRACTION, LESS_THAN_ONE, POSITIVE, Range, SOME, TEMPERATURE,
};
use pleach_prune::trainer::TrainConfig;
use serde::Serialize;

/// How to train. What is not given is as the configuration file has it, or else the preset, or else the default.
#[derive(clap::Args)]
pub(super) struct Settings {
    /// The model, at its usual widths or at given ones: vgg16:21,43,67,...
    #[arg(short, long, value_name = "NAME")]
    model: Option<String>,
    /// Begin with this network instead of a fresh one: a checkpoint, pruned or not, a state dict that PyTorch saved, an
    /// ONNX model
    #[arg(long, value_name = "NET", conflicts_with = "model")]
    init: Option<String>,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long)]
    arch: Option<String>,
    /// Learn from what this network says of the same images, too (knowledge distillation)
    #[arg(long, value_name = "NET")]
    teacher: Option<String>,
    /// The fraction of the loss that compares the network with its teacher [default: 0.7]
    #[arg(long, value_name = "FRACTION", value_parser = some, allow_negative_numbers = true)]
    distill: Option<f32>,
    /// What logits are divided by for that comparison [default: 4]
    #[arg(long, value_name = "T", value_parser = temperature, allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Passes over the training images [default: 15]
    #[arg(short, long, value_name = "E", value_parser = epochs)]
    epochs: Option<f64>,
    /// Images of a step [default: 128]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: Option<u32>,
    /// The largest learning rate [default: 0.05; residual models from scratch: 0.4; adam: 0.001; muon: 0.03]
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
    /// Begin with images shrunk to this many pixels a side, for half of the epochs (progressive resizing): faster,
    /// for networks that pool whatever maps are left at their end
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(4..=65536))]
    start_size: Option<u32>,
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

impl Settings {
    /// The preset, for networks of the structure of `graph`.
    pub(super) fn lay_preset(&self, layers: &mut Layers, graph: &Graph) {
        if let Some(preset) = self.preset {
            layers.preset(preset.name(), "train", &preset.config(graph));
        }
    }

    /// What training begins with: another thing than that of a file below takes its place.
    pub(super) fn lay_beginning(&self, layers: &mut Layers) -> Result<()> {
        if let Some(model) = self.model.as_deref() {
            let model_flag = flag("--model");
            layers.imply(&model_flag, "init", None::<&str>);
            layers.imply(&model_flag, "arch", None::<&str>);
            layers.put(&model_flag, "model", Some(model));
        }
        if let Some(init) = self.init.as_deref() {
            let init_flag = flag("--init");
            if layers.get("init") != init {
                layers.imply(&init_flag, "arch", None::<&str>);
            }
            layers.imply(&init_flag, "model", "");
            layers.put(&init_flag, "init", Some(init));
        }
        layers.put(&flag("--arch"), "arch", self.arch.as_deref());
        if !layers.get("init").is_null() && matches!(self.preset, Some(Preset::Best)) {
            return Err(usage(
                "--preset best is for training from scratch: leave it out with --init",
            ));
        }
        Ok(())
    }

    pub(super) fn lay(&self, layers: &mut Layers, defaults: &TrainConfig) {
        layers.put(&flag("--teacher"), "teacher.net", self.teacher.as_deref());
        layers.put(&flag("--distill"), "teacher.distill", self.distill);
        layers.put(&flag("--temperature"), "teacher.temperature", self.temperature);
        layers.put(&flag("--dtype"), "dtype", self.dtype);
        layers.put(&flag("--epochs"), "train.epochs", self.epochs);
        layers.put(&flag("--batch"), "train.batch", self.batch);
        if let Some(name) = self.optimizer {
            let (optimizer, lr) = name.with(layers.get("train.optimizer.weight_decay"), defaults);
            let origin = flag("--optimizer");
            choose(layers, &origin, "train.optimizer", &optimizer);
            layers.imply(&origin, "train.lr", lr);
        }
        layers.put(&flag("--lr"), "train.lr", self.lr);
        layers.put(&flag("--weight-decay"), "train.optimizer.weight_decay", self.weight_decay);
        layers.put(&flag("--label-smoothing"), "train.label_smoothing", self.label_smoothing);
        layers.put(&flag("--no-augment"), "train.augment", self.no_augment.then_some(false));
        layers.put(&flag("--crop-padding"), "train.crop_padding", self.crop_padding);
        layers.put(&flag("--cutout"), "train.cutout", self.cutout);
        layers.put(&flag("--cutmix"), "train.cutmix", self.cutmix);
        layers.put(&flag("--start-size"), "train.resizing.start", self.start_size);
        layers.put(&flag("--all-images"), "all_images", self.all_images.then_some(true));
        layers.put(&flag("--direct"), "train.direct", self.direct.then_some(true));
        if let Some(name) = self.schedule {
            choose(layers, &flag("--schedule"), "train.schedule", &name.schedule());
        }
    }
}

/// A kind, with its usual settings unless there are others.
fn choose(layers: &mut Layers, origin: &Origin, key: &str, usual: &impl Serialize) {
    let usual = config::to_value(usual);
    layers.imply(origin, key, &usual);
    layers.put(origin, &format!("{key}.kind"), usual.get("kind"));
}

impl OptimizerName {
    /// The optimiser, with this weight decay if it is one, and its usual largest learning rate.
    fn with(self, decay: serde_json::Value, defaults: &TrainConfig) -> (serde_json::Value, f32) {
        let (optimizer, lr) = match self {
            Self::Sgd => (defaults.optimizer, defaults.lr),
            Self::Adam => (Optimizer::adam(), 0.001),
            Self::Muon => {
                let lr = Optimizer::MUON_LR;
                (Optimizer::muon(defaults.lr / lr), lr)
            }
        };
        let mut optimizer = config::to_value(&optimizer);
        if !decay.is_null() {
            optimizer["weight_decay"] = decay;
        }
        (optimizer, lr)
    }
}

impl ScheduleName {
    fn schedule(self) -> Schedule {
        match self {
            Self::Constant => Schedule::Constant {},
            Self::Step => Schedule::step(),
            Self::Cosine => Schedule::cosine(),
            Self::OneCycle => Schedule::one_cycle(),
        }
    }
}

fn narrow(range: Range, text: &str) -> Result<f32, String> {
    range.parse(text).map(|number| number as f32)
}

fn epochs(text: &str) -> Result<f64, String> {
    EPOCHS.parse(text)
}

fn rate(text: &str) -> Result<f32, String> {
    narrow(POSITIVE, text)
}

fn temperature(text: &str) -> Result<f32, String> {
    narrow(TEMPERATURE, text)
}

fn decay(text: &str) -> Result<f32, String> {
    narrow(AMOUNT, text)
}

fn fraction(text: &str) -> Result<f32, String> {
    narrow(FRACTION, text)
}

fn some(text: &str) -> Result<f32, String> {
    narrow(SOME, text)
}

fn smoothing(text: &str) -> Result<f32, String> {
    narrow(LESS_THAN_ONE, text)
}
