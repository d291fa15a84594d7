use super::{Graph, GraphParam, Node, NodeId};
use crate::layers::{Input, Layer};
use crate::tensor::{Shape, ShapeError};
use crate::text::shortened;
use std::collections::HashSet;

/// The most values a map of one image may have, pad lanes included: far above any network for small
/// images, and low enough that no size computed from it overflows.
const MAX_LEN: usize = 1 << 28;

/// The most layers of a graph: far above any network, and few enough for what compares each with each.
const MAX_LAYERS: usize = 1 << 16;

/// The most channels that all maps together may have: what is known of each channel is kept in lists.
const MAX_CHANNELS: usize = 1 << 24;

/// Why a graph cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A layer cannot take its inputs.
    #[error("layer {name} {source}")]
    Shape {
        /// The layer.
        name: String,
        /// Why.
        source: ShapeError,
    },
    /// Two nodes have one name.
    #[error("two layers are called {0}")]
    DuplicateName(String),
    /// A name is not made of letters, digits, `_`, `-` and single dots.
    #[error("{0:?} is no layer name: use letters, digits, '_', '-' and dots between them")]
    BadName(String),
    /// An input is not an earlier node of this graph.
    #[error("layer {name} takes input {input}, which is not an earlier layer")]
    UnknownInput {
        /// The layer.
        name: String,
        /// The input's position.
        input: usize,
    },
    /// A map or a parameter is too large.
    #[error("layer {name} has {what} of more than 2^28 values")]
    TooLarge {
        /// The layer.
        name: String,
        /// A map or a parameter.
        what: &'static str,
    },
    /// There are too many layers.
    #[error("layer {name} is one more than the 2^16 that a network may have")]
    TooManyLayers {
        /// The layer.
        name: String,
    },
    /// There are too many channels.
    #[error("up to layer {name} the maps have more than 2^24 channels together")]
    TooManyChannels {
        /// The layer.
        name: String,
    },
    /// A node's output reaches neither another node nor the network's output.
    #[error("the output of layer {0} goes nowhere")]
    Unused(String),
    /// For images of another shape a layer would have other parameters.
    #[error("layer {0} has other parameters for images of this size")]
    OtherParams(String),
    /// The output is not flat.
    #[error("the network's output has shape {0}, not flat logits")]
    OutputNotFlat(Shape),
}

/// Builds a [`Graph`], node by node, checking each.
///
/// ```
/// use pleach_core::graph::GraphBuilder;
/// use pleach_core::layers::{Conv2d, GlobalAvgPool, Layer, Linear, Relu};
/// use pleach_core::tensor::Shape;
///
/// let (mut builder, image) = GraphBuilder::new(Shape::new(3, 32, 32))?;
/// let x = builder.add("conv", Layer::Conv2d(Conv2d::same3x3(8)), &[image])?;
/// let x = builder.add("relu", Layer::Relu(Relu {}), &[x])?;
/// let x = builder.add("pool", Layer::GlobalAvgPool(GlobalAvgPool {}), &[x])?;
/// let x = builder.add("fc", Layer::Linear(Linear { out_features: 10, bias: true }), &[x])?;
/// let graph = builder.finish(x)?;
/// assert_eq!(graph.macs(), 3 * 8 * 9 * 1024 + 8 * 10);
/// # Ok::<(), pleach_core::graph::GraphError>(())
/// ```
#[derive(Clone, Debug)]
pub struct GraphBuilder {
    nodes: Vec<Node>,
    params: Vec<GraphParam>,
    names: HashSet<String>,
    /// Of all maps.
    channels: usize,
}

impl GraphBuilder {
    /// A graph with nothing but its image, and the image's node.
    ///
    /// # Errors
    /// If the image is empty or too large.
    pub fn new(image: Shape) -> Result<(Self, NodeId), GraphError> {
        let mut builder =
            Self { nodes: Vec::new(), params: Vec::new(), names: HashSet::new(), channels: 0 };
        let id = builder.add("input", Layer::Input(Input { shape: image }), &[])?;
        Ok((builder, id))
    }

    /// Adds a node and returns its position.
    ///
    /// # Errors
    /// If the name is taken or malformed, an input is not an earlier node, the layer cannot take
    /// its inputs, or something is too large.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        layer: Layer,
        inputs: &[NodeId],
    ) -> Result<NodeId, GraphError> {
        let name = name.into();
        if !is_name(&name) {
            return Err(GraphError::BadName(shortened(name)));
        }
        if self.names.contains(&name) {
            return Err(GraphError::DuplicateName(name));
        }
        if self.nodes.len() == MAX_LAYERS {
            return Err(GraphError::TooManyLayers { name });
        }
        if let Some(input) = inputs.iter().find(|input| input.0 >= self.nodes.len()) {
            return Err(GraphError::UnknownInput { name, input: input.0 });
        }
        if matches!(layer, Layer::Input(_)) && !self.nodes.is_empty() {
            let source = ShapeError("is a second image".into());
            return Err(GraphError::Shape { name, source });
        }
        let shapes: Vec<Shape> = inputs.iter().map(|input| self.nodes[input.0].shape).collect();
        let kind = layer.kind();
        let shape = kind
            .output_shape(&shapes)
            .map_err(|source| GraphError::Shape { name: name.clone(), source })?;
        let dims = [shape.channels, shape.height, shape.width];
        if dims.contains(&0) {
            let source = ShapeError(format!("makes empty maps of {shape}"));
            return Err(GraphError::Shape { name, source });
        }
        let padded = shape.channels.checked_next_multiple_of(pleach_kernels::CHANNEL_ALIGN);
        let dims = [padded.unwrap_or(usize::MAX), shape.height, shape.width];
        if !fits(&dims) {
            return Err(GraphError::TooLarge {
                name,
                what: "a map (with channels rounded up to 16)",
            });
        }
        // Each map has been found to have few enough for the sum not to overflow.
        let channels = self.channels + shape.channels;
        if channels > MAX_CHANNELS {
            return Err(GraphError::TooManyChannels { name });
        }
        let first = self.params.len();
        let id = NodeId(self.nodes.len());
        for spec in kind.params(&shapes) {
            if !fits(&spec.dims) {
                self.params.truncate(first);
                return Err(GraphError::TooLarge { name, what: "a parameter" });
            }
            self.params.push(GraphParam { name: format!("{name}.{}", spec.name), node: id, spec });
        }
        let params = first..self.params.len();
        self.channels = channels;
        self.names.insert(name.clone());
        self.nodes.push(Node { name, layer, inputs: inputs.to_vec(), shape, params });
        Ok(id)
    }

    /// The shape of a node's output, per image.
    ///
    /// # Panics
    /// If `id` is not a node of this graph.
    #[must_use]
    pub fn shape(&self, id: NodeId) -> Shape {
        self.nodes[id.0].shape
    }

    /// A node's layer.
    pub(crate) fn layer(&self, id: NodeId) -> &Layer {
        &self.nodes[id.0].layer
    }

    /// The graph, whose output is `output`'s.
    ///
    /// # Errors
    /// If `output` is not flat or not a node, or some node's output goes nowhere.
    pub fn finish(self, output: NodeId) -> Result<Graph, GraphError> {
        let Some(node) = self.nodes.get(output.0) else {
            return Err(GraphError::UnknownInput { name: "output".into(), input: output.0 });
        };
        if node.shape.area() != 1 {
            return Err(GraphError::OutputNotFlat(node.shape));
        }
        let mut consumers = vec![Vec::new(); self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                consumers[input.0].push(NodeId(i));
            }
        }
        for (i, node) in self.nodes.iter().enumerate() {
            if consumers[i].is_empty() && i != output.0 {
                return Err(GraphError::Unused(node.name.clone()));
            }
        }
        Ok(Graph { nodes: self.nodes, params: self.params, consumers, output })
    }
}

pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 200
        && name.split('.').all(|part| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        })
}

fn fits(dims: &[usize]) -> bool {
    let len = dims.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
    len.is_some_and(|len| len <= MAX_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Flatten;

    #[test]
    fn very_many_layers_are_refused() {
        let (mut builder, mut last) = GraphBuilder::new(Shape::new(1, 1, 1)).unwrap();
        for i in 1..MAX_LAYERS {
            last = builder.add(format!("n{i}"), Layer::Flatten(Flatten {}), &[last]).unwrap();
        }
        let found = builder.add("more", Layer::Flatten(Flatten {}), &[last]);
        assert_eq!(found, Err(GraphError::TooManyLayers { name: "more".into() }));
        assert!(builder.finish(last).is_ok());
    }

    #[test]
    fn very_many_channels_are_refused_where_each_map_is_small_enough() {
        let (mut builder, image) = GraphBuilder::new(Shape::new(1, 1 << 12, 1 << 12)).unwrap();
        let found = builder.add("flatten", Layer::Flatten(Flatten {}), &[image]);
        assert_eq!(found, Err(GraphError::TooManyChannels { name: "flatten".into() }));
        let (mut builder, image) = GraphBuilder::new(Shape::new(1, 1 << 11, 1 << 11)).unwrap();
        let mut last = image;
        for i in 0..4 {
            last = match builder.add(format!("flatten{i}"), Layer::Flatten(Flatten {}), &[last]) {
                Ok(last) => last,
                Err(error) => {
                    let name = "flatten3".into();
                    return assert_eq!((i, error), (3, GraphError::TooManyChannels { name }));
                }
            };
        }
        panic!("2^24 + 1 channels are too many");
    }
}
