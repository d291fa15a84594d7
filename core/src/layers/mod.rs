//! Layers: one file a kind, which answers every question that the engine asks about it.
//!
//! A new kind is a file with its settings and their [`LayerKind`], such as this one for `-x`:
//!
//! ```
//! use pleach_core::layers::{BackwardCx, Coupling, ForwardCx, LayerKind};
//! use pleach_core::tensor::ShapeError;
//! use pleach_core::Shape;
//!
//! /// `-x`.
//! struct Negate {}
//!
//! impl LayerKind for Negate {
//!     fn name(&self) -> &'static str {
//!         "negate"
//!     }
//!
//!     fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
//!         match inputs {
//!             [input] => Ok(*input),
//!             _ => Err(ShapeError(format!("takes one input, not {}", inputs.len()))),
//!         }
//!     }
//!
//!     // Pruning asks nothing else: a channel goes with the channel that it is made of.
//!     fn coupling(&self) -> Coupling {
//!         Coupling::Keeps
//!     }
//!
//!     // Pad lanes hold zeros, and keep them.
//!     fn forward(&self, cx: ForwardCx<'_>) {
//!         for (dst, src) in cx.dst.data_mut().iter_mut().zip(cx.inputs[0].data()) {
//!             *dst = 0.0 - src;
//!         }
//!     }
//!
//!     fn backward(&self, cx: BackwardCx<'_>) {
//!         if let Some(diff_src) = &mut cx.diff_inputs[0] {
//!             for (diff_src, diff_dst) in diff_src.data_mut().iter_mut().zip(cx.diff_dst.data()) {
//!                 *diff_src = 0.0 - diff_dst;
//!             }
//!         }
//!     }
//! }
//!
//! let shape = Shape::new(3, 32, 32);
//! assert_eq!(Negate {}.output_shape(&[shape]).unwrap(), shape);
//! assert!(Negate {}.output_shape(&[shape, shape]).is_err());
//! ```
//!
//! It becomes part of the engine by its variant of [`Layer`] and the arm in [`Layer::kind`], which checkpoints,
//! tables, training and pruning follow. The test of gradients against finite differences fails until it has a
//! sample of the kind. The compiler then names what is left: how plans run it (`infer/simplify.rs` and
//! `infer/step.rs`, by a kernel of its own or as another layer), and what it is in ONNX and PyTorch code, or that
//! there it is nothing.

mod add;
mod batch_norm2d;
mod concat;
mod conv2d;
mod dropout;
mod flatten;
mod global_avg_pool;
mod input;
mod linear;
mod pass;
mod pool2d;
mod relu;

pub use add::Add;
pub use batch_norm2d::BatchNorm2d;
pub(crate) use batch_norm2d::{BackwardMaps, Following};
pub use concat::Concat;
pub(crate) use concat::join;
pub use conv2d::{Conv2d, Groups};
pub use dropout::Dropout;
pub use flatten::Flatten;
pub(crate) use flatten::spread;
pub use global_avg_pool::GlobalAvgPool;
pub use input::Input;
pub use linear::Linear;
pub use pass::{BackwardCx, ForwardCx, Mode, Pass, StepKey, Workspace};
pub use pool2d::{AvgPool2d, MaxPool2d};
pub use relu::Relu;

use crate::tensor::{Init, Shape, ShapeError};
use pleach_kernels::Context;
use pleach_kernels::conv2d::Algorithm;
use serde::{Deserialize, Serialize};

/// What a layer is, with its settings but without its parameters' values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Layer {
    /// The image.
    Input(Input),
    /// Convolution.
    Conv2d(Conv2d),
    /// Batch normalisation.
    BatchNorm2d(BatchNorm2d),
    /// Rectified linear unit.
    Relu(Relu),
    /// Max pooling.
    MaxPool2d(MaxPool2d),
    /// Average pooling.
    AvgPool2d(AvgPool2d),
    /// Average over all pixels.
    GlobalAvgPool(GlobalAvgPool),
    /// Fully connected layer.
    Linear(Linear),
    /// Element-wise sum.
    Add(Add),
    /// Concatenation of channels.
    Concat(Concat),
    /// Maps to flat features.
    Flatten(Flatten),
    /// Dropout.
    Dropout(Dropout),
}

impl Layer {
    /// The layer as what every kind has in common.
    #[must_use]
    pub fn kind(&self) -> &dyn LayerKind {
        match self {
            Self::Input(layer) => layer,
            Self::Conv2d(layer) => layer,
            Self::BatchNorm2d(layer) => layer,
            Self::Relu(layer) => layer,
            Self::MaxPool2d(layer) => layer,
            Self::AvgPool2d(layer) => layer,
            Self::GlobalAvgPool(layer) => layer,
            Self::Linear(layer) => layer,
            Self::Add(layer) => layer,
            Self::Concat(layer) => layer,
            Self::Flatten(layer) => layer,
            Self::Dropout(layer) => layer,
        }
    }

    /// The same layer with `channels` output channels, if it is of a kind that states their number
    /// ([`Coupling::Produces`]); `None` otherwise.
    #[must_use]
    pub fn with_out_channels(&self, channels: usize) -> Option<Self> {
        match self {
            Self::Conv2d(layer) if layer.groups == Groups::One => {
                Some(Self::Conv2d(Conv2d { out_channels: channels, ..layer.clone() }))
            }
            Self::Linear(layer) => {
                Some(Self::Linear(Linear { out_features: channels, ..layer.clone() }))
            }
            _ => None,
        }
    }
}

/// Everything the engine asks of a kind of layer.
pub trait LayerKind {
    /// The kind's name, as in checkpoints and tables: `conv2d`, `batch_norm2d`, ...
    fn name(&self) -> &'static str;
    /// The shape of the output.
    ///
    /// # Errors
    /// If the layer cannot take these inputs.
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError>;
    /// The parameters, in a fixed order. Names are the last component of PyTorch's path.
    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let _ = inputs;
        Vec::new()
    }
    /// How output channels hang together with input channels.
    fn coupling(&self) -> Coupling;
    /// Multiply-adds of convolutions and linear layers per image.
    fn macs(&self, inputs: &[Shape]) -> u64 {
        let _ = inputs;
        0
    }
    /// The algorithm by which a convolution computes a pass in training, for `n` images.
    fn algorithm(
        &self,
        cx: &Context,
        pass: Pass,
        n: usize,
        inputs: &[Shape],
    ) -> Option<&'static Algorithm> {
        let _ = (cx, pass, n, inputs);
        None
    }
    /// Whether the backward pass reads the output of the forward pass.
    fn backward_reads_output(&self) -> bool {
        false
    }
    /// Computes the output.
    fn forward(&self, cx: ForwardCx<'_>);
    /// Computes the gradients with respect to parameters and wanted inputs.
    fn backward(&self, cx: BackwardCx<'_>);
}

/// How the channels of a layer's output hang together with those of its inputs: all that pruning
/// needs to know of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coupling {
    /// Output channels are the layer's own; all input channels go into each of them. Parameters'
    /// [`AxisRole::InChannels`] axes run over the input channels.
    Produces,
    /// Output channel `c` exists where channel `c` of every input does.
    Keeps,
    /// Output channels are those of the first input, then those of the second, and so on.
    Concatenates,
    /// Input channel `c` becomes the output channels `c * block .. (c + 1) * block`, where `block`
    /// is the input's area.
    Spreads,
}

/// What an axis of a parameter runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisRole {
    /// The layer's output channels.
    OutChannels,
    /// The layer's input channels.
    InChannels,
    /// Something pruning does not touch.
    Other,
}

/// A parameter of a layer, without its values.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Last component of the name: `weight`, `bias`, `running_mean`, `running_var`.
    pub name: &'static str,
    /// Dimensions in PyTorch's order.
    pub dims: Vec<usize>,
    /// What each dimension runs over.
    pub axes: Vec<AxisRole>,
    /// Whether the optimiser changes it (running statistics: no).
    pub trainable: bool,
    /// Whether weight decay applies by default (weights of convolutions and linear layers).
    pub decays: bool,
    /// Its first values.
    pub init: Init,
}

impl ParamSpec {
    /// A trainable weight of a convolution or linear layer, `[OC, IC, ...rest]`, with weight decay.
    #[must_use]
    pub fn weight(dims: Vec<usize>, axes: Vec<AxisRole>, init: Init) -> Self {
        Self { name: "weight", dims, axes, trainable: true, decays: true, init }
    }

    /// Whether it is the filters of a convolution, each of which sees all input channels.
    #[must_use]
    pub fn is_filters(&self) -> bool {
        self.dims.len() == 4
            && self.axes.starts_with(&[AxisRole::OutChannels, AxisRole::InChannels])
    }

    /// One trainable value an output channel, without weight decay.
    #[must_use]
    pub fn per_channel(name: &'static str, channels: usize, init: Init) -> Self {
        let (dims, axes) = (vec![channels], vec![AxisRole::OutChannels]);
        Self { name, dims, axes, trainable: true, decays: false, init }
    }

    /// One running statistic an output channel.
    #[must_use]
    pub fn statistic(name: &'static str, channels: usize, init: Init) -> Self {
        Self { trainable: false, ..Self::per_channel(name, channels, init) }
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether it has no values (never in a valid graph).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The single input of a layer that takes exactly one.
pub(crate) fn single(inputs: &[Shape]) -> Result<Shape, ShapeError> {
    match inputs {
        [input] => Ok(*input),
        _ => Err(ShapeError(format!("takes one input, not {}", inputs.len()))),
    }
}

/// Kernels, strides and paddings are at most this: far above any in use, and low enough that no size
/// computed from them overflows.
const MAX_WINDOW: usize = 255;

/// Output length of a window of `kernel` sliding with `stride` over `len` values padded by `padding`
/// on both sides.
pub(crate) fn window(
    len: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Result<usize, ShapeError> {
    if kernel == 0 || stride == 0 {
        return Err(ShapeError(format!("has a kernel of {kernel} and a stride of {stride}")));
    }
    if kernel.max(stride).max(padding) > MAX_WINDOW {
        return Err(ShapeError(format!(
            "has a kernel of {kernel}, a stride of {stride} and a padding of {padding} (at most \
             {MAX_WINDOW} each)"
        )));
    }
    match (len + 2 * padding).checked_sub(kernel) {
        Some(rest) => Ok(rest / stride + 1),
        None => Err(ShapeError(format!(
            "has a window of {kernel} on {len} values padded by {padding} on each side"
        ))),
    }
}
