use super::Resizing;
use pleach_core::graph::Graph;
use pleach_core::network::Network;
use pleach_core::optim::{Lookahead, Optimizer, Schedule};
use pleach_datasets::batches;
use serde::{Deserialize, Serialize};

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training split; a fraction stops within one.
    pub epochs: f64,
    /// Images of a step.
    pub batch: usize,
    /// The largest learning rate.
    pub lr: f32,
    /// How gradients change parameters.
    pub optimizer: Optimizer,
    /// The learning rate over the run.
    pub schedule: Schedule,
    /// Slow weights that training returns to; `None`: none.
    #[serde(default)]
    pub lookahead: Option<Lookahead>,
    /// Label smoothing, in `[0, 1)`.
    pub label_smoothing: f32,
    /// Random crops and flips.
    pub augment: bool,
    /// Pixels around an image before it is cropped to its size again.
    #[serde(default = "crop_padding")]
    pub crop_padding: usize,
    /// What they are.
    #[serde(default)]
    pub border: Border,
    /// Pixels of the sides of a square that is cut out of each image; 0: none.
    #[serde(default)]
    pub cutout: usize,
    /// Share of the images into which a part of another one is pasted, at most half of the image, and whose labels
    /// are mixed as their pixels are (CutMix), in `[0, 1]`.
    #[serde(default)]
    pub cutmix: f32,
    /// Ways in which an image is cropped, flipped, cut and pasted into, taken in turn; 0: another one each epoch. A
    /// teacher is asked once about each, so that a few save most of its time.
    #[serde(default)]
    pub views: u64,
    /// Small images at first, which grow; `None`: as they are from the first epoch on. A teacher sees them as they
    /// are.
    #[serde(default)]
    pub resizing: Option<Resizing>,
    /// The values that training from scratch begins with.
    #[serde(default)]
    pub start: Start,
    /// Whether convolutions are computed term by term only, never by minimal filtering: slower, for comparing.
    #[serde(default)]
    pub direct: bool,
    /// Order, augmentation and dropout.
    pub seed: u64,
}

impl Default for TrainConfig {
    /// From scratch: one cycle with a peak of 0.05 and a quarter of it warm-up, Nesterov momentum 0.9,
    /// weight decay 5e-4, lookahead, label smoothing 0.1, convolutions that begin as the identity. For plain
    /// networks; [`TrainConfig::for_graph`] has the rate for others.
    fn default() -> Self {
        Self {
            epochs: 15.0,
            batch: 128,
            lr: 0.05,
            optimizer: Optimizer::sgd(),
            schedule: Schedule::one_cycle(),
            lookahead: Some(Lookahead::default()),
            label_smoothing: 0.1,
            augment: true,
            crop_padding: crop_padding(),
            border: Border::Black,
            cutout: 0,
            cutmix: 0.0,
            views: 0,
            resizing: None,
            start: Start::Identity,
            direct: false,
            seed: 42,
        }
    }
}

impl TrainConfig {
    /// The default for networks of this structure: eight times the rate for residual ones, which learn best so.
    #[must_use]
    pub fn for_graph(graph: &Graph) -> Self {
        let default = Self::default();
        let factor = if graph.is_residual() { 8.0 } else { 1.0 };
        Self { lr: factor * default.lr, ..default }
    }

    /// The recipe, for networks of this structure, that 15 epochs of VGG-16 and 22 of ResNet-18 on CIFAR-10 went by
    /// (93.28 and 94.73 % of the test images): Muon, and images with mirrored borders of which a square is cut
    /// out.
    #[must_use]
    pub fn best_for_graph(graph: &Graph) -> Self {
        let common = Self { border: Border::Reflect, ..Self::for_graph(graph) };
        if graph.is_residual() {
            let (optimizer, lr) = (Optimizer::muon(10.0), Optimizer::MUON_LR);
            return Self { optimizer, lr, cutout: 8, ..common };
        }
        Self {
            batch: 512,
            lr: 0.05,
            optimizer: Optimizer::muon(2.0),
            schedule: Schedule::OneCycle { warmup: 0.25, start_div: 10.0, end_div: 20.0 },
            cutout: 4,
            ..common
        }
    }

    /// `graph` as training from scratch begins with it.
    #[must_use]
    pub fn network(&self, graph: Graph) -> Network {
        match self.start {
            Start::Identity => Network::init_identity(graph, self.seed),
            Start::Random => Network::init(graph, self.seed),
        }
    }
}

fn crop_padding() -> usize {
    batches::CROP_PADDING
}

/// What is around an image that is cropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// Black pixels.
    #[default]
    Black,
    /// The image's own, mirrored.
    Reflect,
}

impl From<Border> for batches::Border {
    fn from(border: Border) -> Self {
        match border {
            Border::Black => Self::Black,
            Border::Reflect => Self::Reflect,
        }
    }
}

/// The values that training from scratch begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Convolutions one behind another pass maps on: [`Network::init_identity`].
    #[default]
    Identity,
    /// Every layer's own distribution: [`Network::init`].
    Random,
}
