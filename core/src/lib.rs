//! Tensors, graphs, autograd, inference and checkpoints for convolutional networks on CPUs.
//!
//! # Values that are not finite
//! Files with parameters that are not finite, or variances below zero, are neither read nor written: the error
//! names the tensor. Images are taken as they are: in inference, one with a NaN has logits of NaN, and the
//! other images of its batch the logits that they have without it. Where values overflow, a network's logits
//! are not finite; then the [`loss`] is NaN and the image counts as wrong.

pub mod autograd;
pub mod checkpoint;
pub mod graph;
pub mod infer;
pub mod layers;
pub mod loss;
pub mod models;
pub mod network;
pub mod npy;
pub mod onnx;
pub mod optim;
pub mod pytorch;
pub mod tensor;

pub use autograd::Tape;
pub use graph::{Graph, GraphBuilder, GraphError, NodeId};
pub use infer::Plan;
pub use layers::{Mode, StepKey};
pub use network::{Network, Param};
pub use optim::{Optimizer, Schedule};
pub use tensor::{Shape, Tensor};
