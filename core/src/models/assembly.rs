use crate::graph::{Graph, GraphBuilder, GraphError, NodeId};
use crate::layers::{BatchNorm2d, Conv2d, Flatten, GlobalAvgPool, Layer, Linear, MaxPool2d, Relu};
use crate::tensor::Shape;

/// A builder that knows the blocks which models share.
pub(super) struct Assembly {
    builder: GraphBuilder,
    classes: usize,
}

impl Assembly {
    pub(super) fn new(image: Shape, classes: usize) -> Result<(Self, NodeId), GraphError> {
        let (builder, input) = GraphBuilder::new(image)?;
        Ok((Self { builder, classes }, input))
    }

    pub(super) fn finish(self, output: NodeId) -> Result<Graph, GraphError> {
        self.builder.finish(output)
    }

    pub(super) fn add(
        &mut self,
        name: impl Into<String>,
        layer: Layer,
        inputs: &[NodeId],
    ) -> Result<NodeId, GraphError> {
        self.builder.add(name, layer, inputs)
    }

    pub(super) fn conv(
        &mut self,
        name: impl Into<String>,
        conv: Conv2d,
        x: NodeId,
    ) -> Result<NodeId, GraphError> {
        self.add(name, Layer::Conv2d(conv), &[x])
    }

    pub(super) fn batch_norm(
        &mut self,
        name: impl Into<String>,
        x: NodeId,
    ) -> Result<NodeId, GraphError> {
        self.add(name, Layer::BatchNorm2d(BatchNorm2d::default()), &[x])
    }

    pub(super) fn relu(
        &mut self,
        name: impl Into<String>,
        x: NodeId,
    ) -> Result<NodeId, GraphError> {
        self.add(name, Layer::Relu(Relu {}), &[x])
    }

    pub(super) fn max_pool2x2(
        &mut self,
        name: impl Into<String>,
        x: NodeId,
    ) -> Result<NodeId, GraphError> {
        self.add(name, Layer::MaxPool2d(MaxPool2d { kernel: 2, stride: 2, padding: 0 }), &[x])
    }

    /// `prefix.0`, `prefix.1`, `prefix.2`: convolution, batch norm, ReLU.
    pub(super) fn conv_bn_relu(
        &mut self,
        prefix: &str,
        conv: Conv2d,
        x: NodeId,
    ) -> Result<NodeId, GraphError> {
        let x = self.conv(format!("{prefix}.0"), conv, x)?;
        let x = self.batch_norm(format!("{prefix}.1"), x)?;
        self.relu(format!("{prefix}.2"), x)
    }

    pub(super) fn global_avg_pool(&mut self, x: NodeId) -> Result<NodeId, GraphError> {
        self.add("pool", Layer::GlobalAvgPool(GlobalAvgPool {}), &[x])
    }

    pub(super) fn flatten(&mut self, x: NodeId) -> Result<NodeId, GraphError> {
        self.add("flatten", Layer::Flatten(Flatten {}), &[x])
    }

    /// The linear layer that makes the logits.
    pub(super) fn classifier(&mut self, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
        self.add(name, Layer::Linear(Linear { out_features: self.classes, bias: true }), &[x])
    }
}
