//! Every kind of layer, and graphs whose outputs fan out, against central differences.

use pleach_core::autograd::Tape;
use pleach_core::graph::{Graph, GraphBuilder, NodeId};
use pleach_core::layers::{
    Add, AvgPool2d, BatchNorm2d, Concat, Conv2d, Dropout, Flatten, GlobalAvgPool, Groups, Layer,
    Linear, MaxPool2d, Mode, Relu, StepKey,
};
use pleach_core::loss;
use pleach_core::network::Network;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::tensor::{Shape, Tensor};
use pleach_kernels::{Context, Isa, channel_stride};

/// The distance of the two points of a difference. Outputs are around 1, so their rounding (2^-24)
/// moves a difference quotient by 1e-5 times the root of their number.
const STEP: f32 = 1.0 / 256.0;

const IMAGES: usize = 3;
const KEY: StepKey = StepKey { seed: 5, step: 7 };

/// The place of a kind among all: a new kind does not compile until it has one here, and then fails
/// `every_kind_of_layer_has_a_sample` until it is in [`samples`].
fn place(layer: &Layer) -> usize {
    match layer {
        Layer::Input(_) => 0,
        Layer::Conv2d(_) => 1,
        Layer::BatchNorm2d(_) => 2,
        Layer::Relu(_) => 3,
        Layer::MaxPool2d(_) => 4,
        Layer::AvgPool2d(_) => 5,
        Layer::GlobalAvgPool(_) => 6,
        Layer::Linear(_) => 7,
        Layer::Add(_) => 8,
        Layer::Concat(_) => 9,
        Layer::Flatten(_) => 10,
        Layer::Dropout(_) => 11,
    }
}

const KINDS: usize = 12;

/// Adds nodes named by their position.
struct Net {
    builder: GraphBuilder,
    nodes: usize,
}

impl Net {
    fn new(image: Shape) -> (Self, NodeId) {
        let (builder, image) = GraphBuilder::new(image).expect("a small image");
        (Self { builder, nodes: 0 }, image)
    }

    fn add(&mut self, layer: Layer, inputs: &[NodeId]) -> NodeId {
        self.nodes += 1;
        self.builder.add(format!("n{}", self.nodes), layer, inputs).expect("the layer fits")
    }

    fn conv(&mut self, out_channels: usize, stride: usize, input: NodeId) -> NodeId {
        let conv = Conv2d { stride, ..Conv2d::same3x3(out_channels) };
        self.add(Layer::Conv2d(conv), &[input])
    }

    fn bn(&mut self, input: NodeId) -> NodeId {
        self.add(Layer::BatchNorm2d(BatchNorm2d::default()), &[input])
    }

    fn relu(&mut self, input: NodeId) -> NodeId {
        self.add(Layer::Relu(Relu {}), &[input])
    }

    fn flat(mut self, input: NodeId) -> Graph {
        let output = self.add(Layer::Flatten(Flatten {}), &[input]);
        self.builder.finish(output).expect("a whole graph")
    }
}

/// A graph of a single layer on a `[5, 5, 6]` image, flattened.
fn alone(layer: Layer) -> Graph {
    let (mut net, image) = Net::new(Shape::new(5, 5, 6));
    let x = net.add(layer, &[image]);
    net.flat(x)
}

fn linear(out_features: usize, bias: bool) -> Graph {
    let (mut net, image) = Net::new(Shape::new(5, 5, 6));
    let x = net.add(Layer::Flatten(Flatten {}), &[image]);
    let x = net.add(Layer::Linear(Linear { out_features, bias }), &[x]);
    net.builder.finish(x).expect("a whole graph")
}

/// Two blocks as ResNet's, the second with stride 2 and a projection.
fn residual() -> Graph {
    let (mut net, image) = Net::new(Shape::new(3, 6, 6));
    let x = net.conv(4, 1, image);
    let y = net.conv(4, 1, x);
    let y = net.bn(y);
    let sum = net.add(Layer::Add(Add {}), &[y, x]);
    let x = net.relu(sum);
    let y = net.conv(18, 2, x);
    let y = net.bn(y);
    let projection = Conv2d { stride: 2, ..Conv2d::pointwise(18) };
    let shortcut = net.add(Layer::Conv2d(projection), &[x]);
    let shortcut = net.bn(shortcut);
    let sum = net.add(Layer::Add(Add {}), &[y, shortcut]);
    let x = net.relu(sum);
    let x = net.add(Layer::GlobalAvgPool(GlobalAvgPool {}), &[x]);
    let x = net.add(Layer::Linear(Linear { out_features: 4, bias: true }), &[x]);
    net.builder.finish(x).expect("a whole graph")
}

/// One output taken by four nodes, one of which takes it twice.
fn fan_out() -> Graph {
    let (mut net, image) = Net::new(Shape::new(3, 4, 4));
    let x = net.conv(17, 1, image);
    let twice = net.add(Layer::Add(Add {}), &[x, x]);
    let y = net.conv(2, 1, x);
    let joined = net.add(Layer::Concat(Concat {}), &[y, x, twice, image, x]);
    net.flat(joined)
}

fn samples() -> Vec<(&'static str, Graph)> {
    let pool = |kernel, stride, padding| MaxPool2d { kernel, stride, padding };
    let mean = |kernel, stride, padding| AvgPool2d { kernel, stride, padding };
    let same = Conv2d::same3x3(7);
    let rectangle = Conv2d { kernel: [3, 2], padding: 0, ..same.clone() };
    let depthwise = Conv2d { groups: Groups::Depthwise, ..same.clone() };
    vec![
        ("convolution", alone(Layer::Conv2d(same.clone()))),
        ("convolution with bias", alone(Layer::Conv2d(Conv2d { bias: true, ..same.clone() }))),
        ("strided convolution", alone(Layer::Conv2d(Conv2d { stride: 2, ..same }))),
        ("rectangular convolution", alone(Layer::Conv2d(rectangle))),
        ("pointwise convolution", alone(Layer::Conv2d(Conv2d::pointwise(19)))),
        ("strided depthwise", alone(Layer::Conv2d(Conv2d { stride: 2, ..depthwise.clone() }))),
        ("depthwise with bias", alone(Layer::Conv2d(Conv2d { bias: true, ..depthwise }))),
        ("batch norm", alone(Layer::BatchNorm2d(BatchNorm2d { eps: 0.1, momentum: 0.1 }))),
        ("relu", alone(Layer::Relu(Relu {}))),
        ("max pool", alone(Layer::MaxPool2d(pool(2, 2, 0)))),
        ("overlapping max pool", alone(Layer::MaxPool2d(pool(3, 2, 1)))),
        ("average pool", alone(Layer::AvgPool2d(mean(2, 2, 0)))),
        ("overlapping average pool", alone(Layer::AvgPool2d(mean(3, 2, 1)))),
        ("global average pool", alone(Layer::GlobalAvgPool(GlobalAvgPool {}))),
        ("linear", linear(17, false)),
        ("linear with bias", linear(3, true)),
        ("dropout", alone(Layer::Dropout(Dropout { p: 0.4 }))),
        ("flatten", alone(Layer::Flatten(Flatten {}))),
        ("residual", residual()),
        ("fan-out", fan_out()),
    ]
}

/// Multiples of 1 / 32 away from zero in random order, each value once as far as there are values:
/// no difference crosses the kink of a ReLU or changes the winner of a window.
fn values(len: usize, rng: &mut Rng) -> Vec<f32> {
    let mut values: Vec<f32> = (0..len).map(|i| ((i % 250) as f32 - 125.0 + 0.5) / 32.0).collect();
    rng.shuffle(&mut values);
    values
}

/// A network whose batch norms are not at their first values, and a batch of images.
fn case(graph: Graph) -> (Network, Tensor, Tensor) {
    let mut rng = Rng::new(11, Purpose::Test, 0, 0);
    let mut net = Network::init(graph, 3);
    let names: Vec<&str> = net.graph().params().iter().map(|param| param.spec.name).collect();
    for (param, name) in net.params_mut().iter_mut().zip(names) {
        let offset = if name == "running_var" { 1.0 } else { 0.0 };
        if param.value.iter().all(|&x| x == param.value[0]) {
            param.value.fill_with(|| offset + 0.2 + 0.5 * rng.uniform() as f32);
        }
    }
    let shape = net.graph().input_shape();
    let images = Tensor::from_nchw(IMAGES, shape, &values(IMAGES * shape.len(), &mut rng));
    let shape = net.graph().output_shape();
    let weights: Vec<f32> =
        (0..IMAGES * shape.len()).map(|_| 2.0 * rng.uniform() as f32 - 1.0).collect();
    let weights = Tensor::from_nchw(IMAGES, shape, &weights);
    (net, images, weights)
}

/// The loss of these tests, the sum of `weights * logits`: `weights` is its gradient.
fn objective(
    cx: &Context,
    tape: &mut Tape,
    net: &mut Network,
    images: &Tensor,
    weights: &Tensor,
    mode: Mode,
) -> f64 {
    let logits = tape.forward(cx, net, images, mode, KEY);
    let products = logits.data().iter().zip(weights.data());
    products.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum()
}

/// Left and right difference quotients of `f` around `x`.
fn slopes(x: f32, mut f: impl FnMut(f32) -> f64) -> [f64; 2] {
    let [below, at, above] = [x - STEP, x, x + STEP].map(|x| (f64::from(x), f(x)));
    [(at.1 - below.1) / (at.0 - below.0), (above.1 - at.1) / (above.0 - at.0)]
}

/// A gradient lies between its left and right slopes, or near them: where a ReLU inside a network
/// changes sides in between, they differ, and the gradient is one of them.
fn assert_between(what: &str, slopes: &[[f64; 2]], grad: &[f32]) {
    assert_eq!(slopes.len(), grad.len(), "{what}: lengths");
    let largest = grad.iter().fold(0.0f64, |largest, &x| largest.max(f64::from(x).abs()));
    let allowed = 2e-3 * largest.max(1.0);
    for (i, (&[left, right], &grad)) in slopes.iter().zip(grad).enumerate() {
        let (low, high) = (left.min(right) - allowed, left.max(right) + allowed);
        let inside = (low..=high).contains(&f64::from(grad));
        assert!(inside, "{what}: {grad} at {i}, by differences {left} and {right}");
    }
}

fn check(name: &str, graph: Graph, mode: Mode) {
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let (mut net, images, weights) = case(graph);
    let mut tape = Tape::new();
    objective(&cx, &mut tape, &mut net, &images, &weights, mode);
    tape.backward(&cx, &mut net, &weights, true);
    let image_grad = tape.diff(net.graph().input()).expect("it was wanted").to_nchw();

    let base = images.to_nchw();
    let image_slopes: Vec<[f64; 2]> = (0..base.len())
        .map(|i| {
            slopes(base[i], |x| {
                let mut values = base.clone();
                values[i] = x;
                let images = Tensor::from_nchw(IMAGES, images.shape(), &values);
                objective(&cx, &mut tape, &mut net, &images, &weights, mode)
            })
        })
        .collect();
    assert_between(&format!("{name}, {mode:?}, image"), &image_slopes, &image_grad);

    for index in 0..net.params().len() {
        let place = &net.graph().params()[index];
        let what = format!("{name}, {mode:?}, {}", place.name);
        if !place.spec.trainable {
            assert!(net.params()[index].grad.is_empty(), "{what} has a gradient");
            continue;
        }
        let base = net.params()[index].value.clone();
        let param_slopes: Vec<[f64; 2]> = (0..base.len())
            .map(|i| {
                let slopes = slopes(base[i], |x| {
                    net.params_mut()[index].value[i] = x;
                    objective(&cx, &mut tape, &mut net, &images, &weights, mode)
                });
                net.params_mut()[index].value[i] = base[i];
                slopes
            })
            .collect();
        assert_between(&what, &param_slopes, &net.params()[index].grad);
    }
}

#[test]
fn every_kind_of_layer_has_a_sample() {
    let mut seen = [false; KINDS];
    for (_, graph) in samples() {
        graph.nodes().iter().for_each(|node| seen[place(&node.layer)] = true);
    }
    assert_eq!(seen, [true; KINDS], "kinds with a sample, in the order of `place`");
}

#[test]
fn gradients_agree_with_central_differences_in_training() {
    for (name, graph) in samples() {
        check(name, graph, Mode::Train);
    }
}

#[test]
fn gradients_agree_with_central_differences_with_frozen_statistics() {
    for (name, graph) in samples() {
        check(name, graph, Mode::Eval);
    }
}

#[test]
fn the_gradient_of_the_loss_agrees_with_central_differences() {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let mut rng = Rng::new(3, Purpose::Test, 0, 0);
    let shape = Shape::flat(11);
    let logits: Vec<f32> = (0..4 * 11).map(|_| 3.0 * rng.normal() as f32).collect();
    let labels = [3, 0, 10, 3];
    for smoothing in [0.0, 0.2] {
        let at = |logits: &[f32], diff: Option<&mut Tensor>| {
            let logits = Tensor::from_nchw(4, shape, logits);
            loss::cross_entropy(&cx, &logits, &labels, smoothing, diff).mean
        };
        let mut diff = Tensor::zeros(4, shape);
        at(&logits, Some(&mut diff));
        for (i, diff) in diff.to_nchw().into_iter().enumerate() {
            let [left, right] = slopes(logits[i], |x| {
                let mut logits = logits.clone();
                logits[i] = x;
                at(&logits, None)
            });
            let middle = (left + right) / 2.0;
            assert!((middle - f64::from(diff)).abs() < 1e-5, "{diff}, by differences {middle}");
        }
    }
}

#[test]
fn the_gradient_of_the_image_is_computed_only_where_it_is_wanted() {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let (mut net, images, weights) = case(residual());
    let mut tape = Tape::keeping_diffs();
    objective(&cx, &mut tape, &mut net, &images, &weights, Mode::Train);
    tape.backward(&cx, &mut net, &weights, true);
    let wanted = net.clone();
    assert!(net.graph().ids().all(|id| tape.diff(id).is_some()));
    objective(&cx, &mut tape, &mut net, &images, &weights, Mode::Train);
    tape.backward(&cx, &mut net, &weights, false);
    assert!(tape.diff(net.graph().input()).is_none());
    for (a, b) in net.params().iter().zip(wanted.params()) {
        assert_eq!(a.grad, b.grad);
    }
}

#[test]
fn a_used_tape_computes_the_same_bits_as_a_new_one_and_leaves_pad_lanes_zero() {
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let mut used = Tape::keeping_diffs();
    for (name, graph) in samples() {
        for mode in [Mode::Train, Mode::Eval] {
            let (mut net, images, weights) = case(graph.clone());
            let mut other = net.clone();
            let mut new = Tape::keeping_diffs();
            let all_ones =
                Tensor::from_nchw(9, images.shape(), &vec![1.0; 9 * images.shape().len()]);
            used.forward(&cx, &mut net.clone(), &all_ones, mode, KEY);
            let a = objective(&cx, &mut used, &mut net, &images, &weights, mode);
            let b = objective(&cx, &mut new, &mut other, &images, &weights, mode);
            assert_eq!(a.to_bits(), b.to_bits(), "{name}");
            used.backward(&cx, &mut net, &weights, true);
            new.backward(&cx, &mut other, &weights, true);
            assert_eq!(net, other, "{name}");
            for id in net.graph().ids() {
                let diffs = [used.diff(id).expect("kept"), new.diff(id).expect("kept")];
                assert_eq!(diffs[0].data(), diffs[1].data(), "{name}, gradient of node {}", id.0);
                let maps = [used.activation(id).expect("kept"), new.activation(id).expect("kept")];
                assert_eq!(maps[0].data(), maps[1].data(), "{name}");
                for tensor in [maps[0], diffs[0]] {
                    let channels = tensor.shape().channels;
                    for pixel in tensor.data().chunks_exact(channel_stride(channels)) {
                        assert!(pixel[channels..].iter().all(|&x| x == 0.0), "{name}, {}", id.0);
                    }
                }
            }
        }
    }
}
