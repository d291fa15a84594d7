//! A network's structure as a value.
//!
//! A [`Graph`] that exists is valid: only [`GraphBuilder`] makes one, and it checks everything, so
//! running a graph cannot fail. Whatever reads a network is a plain loop over [`Graph::nodes`],
//! which stand in topological order.

mod builder;
mod display;

pub(crate) use builder::is_name;
pub use builder::{GraphBuilder, GraphError};
pub use display::{Row, rows};

use crate::layers::{Layer, ParamSpec};
use crate::tensor::Shape;
use std::ops::Range;

/// The position of a node in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// One layer in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique name; PyTorch's module path where there is one, such as `features.3`.
    pub name: String,
    /// What it does.
    pub layer: Layer,
    /// Where its inputs come from: earlier nodes.
    pub inputs: Vec<NodeId>,
    /// Shape of its output, per image.
    pub shape: Shape,
    /// Its parameters, as positions in [`Graph::params`] and in a network's values.
    pub params: Range<usize>,
}

/// The structure of a network: nodes in topological order, the first of which is the image.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    params: Vec<GraphParam>,
    consumers: Vec<Vec<NodeId>>,
    output: NodeId,
}

/// A parameter in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphParam {
    /// Full name, `node.param`, as in PyTorch's state dict: `features.3.weight`.
    pub name: String,
    /// The node it belongs to.
    pub node: NodeId,
    /// What it is.
    pub spec: ParamSpec,
}

impl GraphParam {
    /// Bytes of its values as f32.
    pub(crate) fn bytes(&self) -> u64 {
        self.spec.len() as u64 * 4
    }
}

impl Graph {
    /// All nodes in topological order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All node positions in topological order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// The node at `id`.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The node called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name).map(NodeId)
    }

    /// The node of the image.
    #[must_use]
    pub fn input(&self) -> NodeId {
        NodeId(0)
    }

    /// The node whose output is the network's: the logits.
    #[must_use]
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// Shape of one image.
    #[must_use]
    pub fn input_shape(&self) -> Shape {
        self.nodes[0].shape
    }

    /// Shape of the network's output, per image.
    #[must_use]
    pub fn output_shape(&self) -> Shape {
        self.node(self.output).shape
    }

    /// The nodes that take `id`'s output, each as often as it takes it.
    #[must_use]
    pub fn consumers(&self, id: NodeId) -> &[NodeId] {
        &self.consumers[id.0]
    }

    /// The same nodes with other layers, `layer` of each but the image's, for images of shape `image`; all shapes are
    /// inferred again.
    ///
    /// # Errors
    /// If a layer cannot take its inputs, or something is too large.
    pub fn rebuilt(
        &self,
        image: Shape,
        layer: impl Fn(NodeId) -> Layer,
    ) -> Result<Self, GraphError> {
        let (mut builder, _) = GraphBuilder::new(image)?;
        for id in self.ids().skip(1) {
            let node = self.node(id);
            builder.add(node.name.as_str(), layer(id), &node.inputs)?;
        }
        builder.finish(self.output)
    }

    /// The same structure, with the same parameters, for images of another shape.
    ///
    /// # Errors
    /// If a layer cannot take them, or would have other parameters.
    pub fn for_images(&self, image: Shape) -> Result<Self, GraphError> {
        let graph = self.rebuilt(image, |id| self.node(id).layer.clone())?;
        match self.params.iter().zip(&graph.params).find(|(ours, its)| ours != its) {
            Some((ours, _)) => Err(GraphError::OtherParams(self.node(ours.node).name.clone())),
            None => Ok(graph),
        }
    }

    /// Whether maps are added anywhere, as in residual networks.
    #[must_use]
    pub fn is_residual(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.layer, Layer::Add(_)))
    }

    /// Shapes of a node's inputs.
    #[must_use]
    pub fn input_shapes(&self, id: NodeId) -> Vec<Shape> {
        self.node(id).inputs.iter().map(|&input| self.node(input).shape).collect()
    }

    /// All parameters, node by node.
    #[must_use]
    pub fn params(&self) -> &[GraphParam] {
        &self.params
    }

    /// Multiply-adds of one node, per image.
    #[must_use]
    pub fn node_macs(&self, id: NodeId) -> u64 {
        self.node(id).layer.kind().macs(&self.input_shapes(id))
    }

    /// Multiply-adds of all convolutions and linear layers, per image; [`u64::MAX`] where there are more.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.ids().map(|id| self.node_macs(id)).fold(0, u64::saturating_add)
    }

    /// Trainable parameters of one node.
    #[must_use]
    pub fn node_trainable(&self, id: NodeId) -> u64 {
        let params = &self.params[self.node(id).params.clone()];
        params.iter().filter(|p| p.spec.trainable).map(|p| p.spec.len() as u64).sum()
    }

    /// Trainable parameters of the network.
    #[must_use]
    pub fn trainable(&self) -> u64 {
        self.ids().map(|id| self.node_trainable(id)).sum()
    }

    /// Bytes of all parameters and running statistics as f32.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.params.iter().map(GraphParam::bytes).sum()
    }
}
