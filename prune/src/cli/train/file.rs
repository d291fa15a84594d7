//! The settings of a training run, as its folder has them.

use super::Args;
use crate::cli::common::Common;
use crate::cli::config::{self, Idle, Layers, Source};
use crate::cli::weights::DtypeName;
use anyhow::Result;
use pleach_core::loss::Distillation;
use pleach_core::{Shape, models};
use pleach_prune::settings::{SOME, SettingError, TEMPERATURE};
use pleach_prune::trainer::TrainConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The model whose settings hold where none is named, or one that there is not, and for networks that there are.
const PLAIN: &str = "vgg16";

/// What a network learns from besides the labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Teacher {
    /// The network; empty if it is not named.
    #[serde(default)]
    pub(super) net: String,
    /// The fraction of the loss that compares the two.
    #[serde(default = "distill")]
    distill: f32,
    /// What logits are divided by for that.
    #[serde(default = "temperature")]
    temperature: f32,
}

fn distill() -> f32 {
    0.7
}

fn temperature() -> f32 {
    Distillation::TEMPERATURE
}

impl Teacher {
    pub(super) fn distillation(&self) -> Distillation {
        Distillation { weight: self.distill, temperature: self.temperature }
    }

    fn check(&self) -> Result<(), SettingError> {
        let Self { net, distill, temperature } = self;
        if net.is_empty() {
            let (expected, found) = ("a network to learn from (--teacher)", "unset".into());
            return Err(SettingError { key: "teacher.net".into(), expected, found });
        }
        SOME.check("teacher.distill".into(), f64::from(*distill))?;
        TEMPERATURE.check("teacher.temperature".into(), f64::from(*temperature))
    }
}

/// `run.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct File {
    verb: String,
    /// Empty if it is not named, and where training begins with a network that there is.
    #[serde(default)]
    pub(super) model: String,
    /// That network.
    #[serde(default)]
    pub(super) init: Option<String>,
    /// The architecture of its file, if that does not say it.
    #[serde(default)]
    pub(super) arch: Option<String>,
    #[serde(default)]
    pub(super) data: Option<PathBuf>,
    /// Whether the validation images are trained on too.
    #[serde(default)]
    pub(super) all_images: bool,
    #[serde(default)]
    pub(super) dtype: DtypeName,
    #[serde(default)]
    pub(super) teacher: Option<Teacher>,
    pub(super) train: TrainConfig,
}

impl Default for File {
    /// No model, and the defaults.
    fn default() -> Self {
        Self {
            verb: "train".into(),
            model: String::new(),
            init: None,
            arch: None,
            data: None,
            all_images: false,
            dtype: DtypeName::default(),
            teacher: None,
            train: TrainConfig::default(),
        }
    }
}

impl config::Settings for File {
    const VERB: &'static str = "train";
    const UNNAMED: &'static str = "name a model to train (--model), such as vgg-small or vgg16, or a network to begin \
                                   with (--init)";

    fn is_named(&self) -> bool {
        !self.model.is_empty() || self.init.is_some()
    }

    fn check(&self) -> Result<(), SettingError> {
        if let (Some(init), false) = (&self.init, self.model.is_empty()) {
            let (expected, found) = ("unset where a model is named", init.clone());
            return Err(SettingError { key: "init".into(), expected, found });
        }
        if let Some(teacher) = &self.teacher {
            teacher.check()?;
        }
        self.train.check("train")
    }

    fn idle(&self) -> Vec<Idle> {
        let rules: [(bool, &[&'static str], &'static str); 4] = [
            (
                !self.train.augment,
                &["train.crop_padding", "train.border"],
                "images are not augmented; leave out --no-augment",
            ),
            (
                self.train.epochs <= 1.0,
                &["train.resizing"],
                "one epoch has no later one in which images could grow; set --epochs above 1",
            ),
            (self.init.is_some(), &["train.start"], "training begins with the network of --init"),
            (self.init.is_none(), &["arch"], "it is of the network to begin with; set --init"),
        ];
        let holding = rules.into_iter().filter(|(holds, _, _)| *holds);
        holding.flat_map(|(_, keys, why)| keys.iter().map(move |key| Idle { key, why })).collect()
    }

    fn files(&self) -> Vec<&Path> {
        let teacher = self.teacher.as_ref().map(|teacher| Path::new(&teacher.net));
        let init = self.init.as_ref().map(Path::new);
        [init, teacher, self.data.as_deref()].into_iter().flatten().collect()
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
        self.settings.lay_preset(&mut layers, &graph);
        layers.file::<File>(file)?;
        layers.environment("train", config::variables())?;
        layers.put(&common.origin("seed"), "train.seed", common.seed_given());
        layers.put(&common.origin("data"), "data", self.data.text()?);
        self.settings.lay_beginning(&mut layers)?;
        self.settings.lay(&mut layers, &defaults.train);
        layers.set(&self.config.set)?;
        Ok(layers)
    }
}
