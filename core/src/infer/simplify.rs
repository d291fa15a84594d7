//! A network as the fewest steps: batch norms folded into convolutions, residual sums, ReLUs and 2x2 max
//! pooling into what they follow, layers that do nothing in use removed.

use super::fold::{affine, fold_batch_norms, uses};
use super::fuse;
use crate::graph::{Graph, Node, NodeId};
use crate::layers::{Conv2d, Groups, Layer};
use crate::network::{Network, Param};
use crate::tensor::Shape;
use pleach_kernels::conv2d::{Activation, Conv2dGeometry, Pooling};
use pleach_kernels::pool::Pool2dGeometry;
use std::mem;

/// Something a step reads: the image, or the output of an earlier step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Image,
    Step(usize),
}

impl Value {
    /// Whether it exists before `other`.
    pub(super) fn is_before(self, other: Self) -> bool {
        match (self, other) {
            (Self::Step(this), Self::Step(other)) => this < other,
            (Self::Image, Self::Step(_)) => true,
            (_, Self::Image) => false,
        }
    }
}

/// One step of an inference.
#[derive(Debug)]
pub(super) struct Step {
    /// The layer it began as.
    pub(super) name: String,
    pub(super) op: Op,
    pub(super) inputs: Vec<Value>,
    /// Shape of the output, per image.
    pub(super) shape: Shape,
    /// How many layers read the output, the outside world included.
    pub(super) uses: usize,
}

/// What a step does. Geometries are those of one image.
#[derive(Debug)]
pub(super) enum Op {
    /// Also linear layers, as convolutions of the whole map, and batch norms that follow no
    /// convolution, as depthwise 1x1 convolutions. A second input is added to its outputs, before the
    /// activation and the pooling.
    Conv {
        geometry: Conv2dGeometry,
        weights: Vec<f32>,
        bias: Option<Vec<f32>>,
        activation: Activation,
        pooling: Pooling,
    },
    Add(Activation),
    Relu,
    MaxPool(Pool2dGeometry),
    AvgPool(Pool2dGeometry),
    GlobalAvgPool,
    Concat,
    Flatten,
}

impl Op {
    /// Bytes of the weights that a run reads: four times as many as there are where F(4, 3) transforms
    /// them.
    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            Self::Conv { geometry: g, weights, .. } => {
                let transformed = (g.kh, g.kw, g.stride, g.groups) == (3, 3, 1, 1);
                size_of_val(&weights[..]) * if transformed { 4 } else { 1 }
            }
            _ => 0,
        }
    }
}

/// The steps, in order, and which value the logits are.
pub(super) fn simplify(net: &Network) -> (Vec<Step>, Value) {
    let mut net = fold_batch_norms(net);
    let (graph, params) = net.split_mut();
    let mut simplifier = Simplifier { graph, params, steps: Vec::new(), values: Vec::new() };
    for id in graph.ids() {
        simplifier.node(id);
    }
    let output = simplifier.values[graph.output().0];
    (simplifier.steps, output)
}

struct Simplifier<'a> {
    graph: &'a Graph,
    /// Those of layers that are steps by now are empty.
    params: &'a mut [Param],
    steps: Vec<Step>,
    /// The value of each node so far.
    values: Vec<Value>,
}

impl Simplifier<'_> {
    fn node(&mut self, id: NodeId) {
        let graph = self.graph;
        let node = graph.node(id);
        let Some(&first) = node.inputs.first() else {
            return self.values.push(Value::Image);
        };
        let input = self.values[first.0];
        // A flattened map that linear layers read has kept its shape.
        let shape = self.shape(input);
        let op = match &node.layer {
            Layer::Input(_) => return self.values.push(Value::Image),
            Layer::Dropout(_) => return self.same(id, input),
            Layer::Flatten(_) if shape.area() == 1 || only_linear_readers(graph, id) => {
                return self.same(id, input);
            }
            Layer::BatchNorm2d(layer) => {
                let (scale, shift) = affine(layer, &self.params[node.params.clone()]);
                pointwise(shape, &scale, &shift)
            }
            Layer::Relu(_) => match fuse::relu(&mut self.steps, input) {
                true => return self.same(id, input),
                false => Op::Relu,
            },
            Layer::Conv2d(layer) => self.conv(node, geometry(layer, shape, node.shape)),
            Layer::Linear(layer) => self.conv(
                node,
                Conv2dGeometry {
                    n: 1,
                    ic: shape.channels,
                    ih: shape.height,
                    iw: shape.width,
                    oc: layer.out_features,
                    kh: shape.height,
                    kw: shape.width,
                    stride: 1,
                    padding: 0,
                    groups: 1,
                },
            ),
            Layer::MaxPool2d(layer) => {
                let geometry = layer.geometry(1, shape);
                match fuse::max_pool(&mut self.steps, input, &geometry, node.shape) {
                    true => return self.same(id, input),
                    false => Op::MaxPool(geometry),
                }
            }
            Layer::AvgPool2d(layer) => Op::AvgPool(layer.geometry(1, shape)),
            Layer::GlobalAvgPool(_) => Op::GlobalAvgPool,
            Layer::Add(_) => match fuse::add(&mut self.steps, self.values[node.inputs[1].0], input)
            {
                Some(sum) => return self.same(id, sum),
                None => Op::Add(Activation::None),
            },
            Layer::Concat(_) => Op::Concat,
            Layer::Flatten(_) => Op::Flatten,
        };
        self.push(id, node, op);
    }

    /// A convolution with the parameters of `node`.
    fn conv(&mut self, node: &Node, geometry: Conv2dGeometry) -> Op {
        let mut values =
            self.params[node.params.clone()].iter_mut().map(|p| mem::take(&mut p.value));
        let weights = values.next().expect("a convolution has weights");
        unfused(geometry, weights, values.next())
    }

    fn push(&mut self, id: NodeId, node: &Node, op: Op) {
        self.values.push(Value::Step(self.steps.len()));
        self.steps.push(Step {
            name: node.name.clone(),
            op,
            inputs: node.inputs.iter().map(|input| self.values[input.0]).collect(),
            shape: node.shape,
            uses: uses(self.graph, id),
        });
    }

    /// Node `id` is the value that it reads; its readers read that instead.
    fn same(&mut self, id: NodeId, value: Value) {
        self.values.push(value);
        if let Value::Step(step) = value {
            self.steps[step].uses += uses(self.graph, id);
            self.steps[step].uses -= 1;
        }
    }

    fn shape(&self, value: Value) -> Shape {
        match value {
            Value::Image => self.graph.input_shape(),
            Value::Step(step) => self.steps[step].shape,
        }
    }
}

/// Whether all that is done with a node's output is to read it by linear layers.
fn only_linear_readers(graph: &Graph, id: NodeId) -> bool {
    let mut same = vec![id];
    while let Some(id) = same.pop() {
        if id == graph.output() {
            return false;
        }
        for &reader in graph.consumers(id) {
            match graph.node(reader).layer {
                Layer::Linear(_) => {}
                Layer::Dropout(_) => same.push(reader),
                _ => return false,
            }
        }
    }
    true
}

fn pointwise(shape: Shape, scale: &[f64], shift: &[f64]) -> Op {
    let geometry = Conv2dGeometry {
        n: 1,
        ic: shape.channels,
        ih: shape.height,
        iw: shape.width,
        oc: shape.channels,
        kh: 1,
        kw: 1,
        stride: 1,
        padding: 0,
        groups: shape.channels,
    };
    let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect();
    unfused(geometry, narrow(scale), Some(narrow(shift)))
}

fn unfused(geometry: Conv2dGeometry, weights: Vec<f32>, bias: Option<Vec<f32>>) -> Op {
    let (activation, pooling) = (Activation::None, Pooling::None);
    Op::Conv { geometry, weights, bias, activation, pooling }
}

fn geometry(layer: &Conv2d, input: Shape, output: Shape) -> Conv2dGeometry {
    let [kh, kw] = layer.kernel;
    Conv2dGeometry {
        n: 1,
        ic: input.channels,
        ih: input.height,
        iw: input.width,
        oc: output.channels,
        kh,
        kw,
        stride: layer.stride,
        padding: layer.padding,
        groups: match layer.groups {
            Groups::One => 1,
            Groups::Depthwise => input.channels,
        },
    }
}
