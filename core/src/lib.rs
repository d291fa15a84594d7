//! Tensors, graphs, autograd, inference and checkpoints for convolutional networks on CPUs.

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
