//! A network as the fewest steps: batch norms folded into convolutions, ReLUs into what they follow,
//! layers that do nothing in use removed.

use crate::graph::{Graph, Node, NodeId};
use crate::layers::{BatchNorm2d, Conv2d, Groups, Layer};
use crate::network::{Network, Param};
use crate::tensor::Shape;
use pleach_kernels::conv2d::Conv2dGeometry;
use pleach_kernels::pool::Pool2dGeometry;

/// Something a step reads: the image, or the output of an earlier step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Image,
    Step(usize),
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
    uses: usize,
}

/// What a step does. Geometries are those of one image.
#[derive(Debug)]
pub(super) enum Op {
    /// Also linear layers, as convolutions of the whole map, and batch norms that follow no
    /// convolution, as depthwise 1x1 convolutions.
    Conv {
        geometry: Conv2dGeometry,
        weights: Vec<f32>,
        bias: Option<Vec<f32>>,
        relu: bool,
    },
    Add {
        relu: bool,
    },
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
    let mut simplifier = Simplifier { net, steps: Vec::new(), values: Vec::new() };
    for id in net.graph().ids() {
        simplifier.node(id);
    }
    let output = simplifier.values[net.graph().output().0];
    (simplifier.steps, output)
}

struct Simplifier<'a> {
    net: &'a Network,
    steps: Vec<Step>,
    /// The value of each node so far.
    values: Vec<Value>,
}

impl Simplifier<'_> {
    fn node(&mut self, id: NodeId) {
        let graph = self.net.graph();
        let node = graph.node(id);
        let Some(&first) = node.inputs.first() else {
            return self.values.push(Value::Image);
        };
        let params = &self.net.params()[node.params.clone()];
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
                let (scale, shift) = affine(layer, params);
                if self.fold(input, &scale, &shift) {
                    return self.same(id, input);
                }
                pointwise(shape, &scale, &shift)
            }
            Layer::Relu(_) => match self.fuse_relu(input) {
                true => return self.same(id, input),
                false => Op::Relu,
            },
            Layer::Conv2d(layer) => conv(geometry(layer, shape, node.shape), params),
            Layer::Linear(layer) => conv(
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
                params,
            ),
            Layer::MaxPool2d(layer) => Op::MaxPool(layer.geometry(1, shape)),
            Layer::AvgPool2d(layer) => Op::AvgPool(layer.geometry(1, shape)),
            Layer::GlobalAvgPool(_) => Op::GlobalAvgPool,
            Layer::Add(_) => Op::Add { relu: false },
            Layer::Concat(_) => Op::Concat,
            Layer::Flatten(_) => Op::Flatten,
        };
        self.push(id, node, op);
    }

    fn push(&mut self, id: NodeId, node: &Node, op: Op) {
        self.values.push(Value::Step(self.steps.len()));
        self.steps.push(Step {
            name: node.name.clone(),
            op,
            inputs: node.inputs.iter().map(|input| self.values[input.0]).collect(),
            shape: node.shape,
            uses: uses(self.net.graph(), id),
        });
    }

    /// Node `id` is the value that it reads; its readers read that instead.
    fn same(&mut self, id: NodeId, value: Value) {
        self.values.push(value);
        if let Value::Step(step) = value {
            self.steps[step].uses += uses(self.net.graph(), id);
            self.steps[step].uses -= 1;
        }
    }

    fn shape(&self, value: Value) -> Shape {
        match value {
            Value::Image => self.net.graph().input_shape(),
            Value::Step(step) => self.steps[step].shape,
        }
    }

    /// Makes the convolution that computes `value` multiply its channels by `scale` and add `shift`, if
    /// there is one and nothing else reads its output.
    fn fold(&mut self, value: Value, scale: &[f64], shift: &[f64]) -> bool {
        let Value::Step(step) = value else { return false };
        let Step { op, uses: 1, .. } = &mut self.steps[step] else { return false };
        let Op::Conv { geometry, weights, bias, relu: false } = op else { return false };
        let row = weights.len() / geometry.oc;
        for (weights, &scale) in weights.chunks_exact_mut(row).zip(scale) {
            weights.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
        }
        let bias = bias.get_or_insert_with(|| vec![0.0; scale.len()]);
        for (bias, (&scale, &shift)) in bias.iter_mut().zip(scale.iter().zip(shift)) {
            *bias = (f64::from(*bias) * scale + shift) as f32;
        }
        true
    }

    /// Whether `value` is, or can be made, the output of a ReLU.
    fn fuse_relu(&mut self, value: Value) -> bool {
        let Value::Step(step) = value else { return false };
        let step = &mut self.steps[step];
        match &mut step.op {
            Op::Relu => true,
            Op::Conv { relu, .. } | Op::Add { relu } => {
                *relu |= step.uses == 1;
                *relu
            }
            _ => false,
        }
    }
}

/// How many read a node's output, the outside world included.
fn uses(graph: &Graph, id: NodeId) -> usize {
    graph.consumers(id).len() + usize::from(id == graph.output())
}

/// Whether all that is done with a node's output is to read it by linear layers.
fn only_linear_readers(graph: &Graph, id: NodeId) -> bool {
    id != graph.output()
        && graph.consumers(id).iter().all(|&reader| match graph.node(reader).layer {
            Layer::Linear(_) => true,
            Layer::Dropout(_) => only_linear_readers(graph, reader),
            _ => false,
        })
}

/// A batch norm in use, as a factor and an addend a channel.
fn affine(layer: &BatchNorm2d, params: &[Param]) -> (Vec<f64>, Vec<f64>) {
    let [weight, bias, mean, var] = params else {
        panic!("a batch norm has four parameters");
    };
    let eps = f64::from(layer.eps);
    let scale: Vec<f64> = weight
        .value
        .iter()
        .zip(&var.value)
        .map(|(&weight, &var)| f64::from(weight) / (f64::from(var) + eps).sqrt())
        .collect();
    let shift = bias.value.iter().zip(&mean.value).zip(&scale);
    let shift = shift.map(|((&bias, &mean), scale)| f64::from(bias) - f64::from(mean) * scale);
    (scale.clone(), shift.collect())
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
    Op::Conv { geometry, weights: narrow(scale), bias: Some(narrow(shift)), relu: false }
}

fn conv(geometry: Conv2dGeometry, params: &[Param]) -> Op {
    let bias = params.get(1).map(|bias| bias.value.clone());
    Op::Conv { geometry, weights: params[0].value.clone(), bias, relu: false }
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
