//! Tensors, graphs, autograd, inference and checkpoints for convolutional networks on CPUs.

pub mod graph;
pub mod layers;
pub mod network;
pub mod tensor;

pub use graph::{Graph, GraphBuilder, GraphError, NodeId};
pub use network::{Network, Param};
pub use tensor::{Shape, Tensor};
