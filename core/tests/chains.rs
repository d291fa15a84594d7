//! Training steps whose batch norms do what follows them, against steps that run every layer.

use pleach_core::autograd::Tape;
use pleach_core::graph::{Graph, GraphBuilder, GraphError, NodeId};
use pleach_core::layers::{
    Add, BatchNorm2d, Concat, Conv2d, Flatten, GlobalAvgPool, Groups, Layer, Linear, MaxPool2d,
    Mode, Pass, Relu, StepKey,
};
use pleach_core::network::Network;
use pleach_core::optim::Optimizer;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::tensor::{Shape, Tensor};
use pleach_core::{loss, models};
use pleach_kernels::{Context, Isa};

const SGD: Optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };

fn batch(n: usize, shape: Shape, step: u64) -> (Tensor, Vec<u32>) {
    let mut rng = Rng::new(6, Purpose::Test, step, 0);
    let pixels: Vec<f32> = (0..n * shape.len()).map(|_| rng.normal() as f32).collect();
    (Tensor::from_nchw(n, shape, &pixels), (0..n).map(|_| rng.below(10) as u32).collect())
}

/// Trains for three steps, the second of a smaller batch. Returns losses, gradients of all parameters
/// and of the image after each step, and all parameters, running statistics included.
fn train(cx: &Context, mut tape: Tape, mut net: Network, n: usize) -> Vec<f64> {
    let image = net.graph().input();
    let mut diff = Tensor::zeros(1, net.graph().output_shape());
    let mut found = Vec::new();
    for (step, n) in [n, n - 1, n].into_iter().enumerate() {
        let (images, labels) = batch(n, net.graph().input_shape(), step as u64);
        let key = StepKey { seed: 3, step: step as u64 };
        let logits = tape.forward(cx, &mut net, &images, Mode::Train, key);
        found.push(loss::cross_entropy(cx, logits, &labels, 0.1, Some(&mut diff)).mean);
        tape.backward(cx, &mut net, &diff, true);
        let image_diff = tape.diff(image).expect("it was wanted");
        found.extend(image_diff.data().iter().map(|&x| f64::from(x)));
        found.extend(net.params().iter().flat_map(|p| &p.grad).map(|&x| f64::from(x)));
        SGD.step(cx, &mut net, 0.05, step as u64);
    }
    found.extend(net.params().iter().flat_map(|p| &p.value).map(|&x| f64::from(x)));
    found
}

fn check(what: &str, graph: Graph, n: usize) {
    let net = Network::init(graph, 2);
    for isa in Isa::available() {
        let expected = train(&Context::new(isa, 1), Tape::keeping_diffs(), net.clone(), n);
        assert!(expected.iter().all(|x| x.is_finite()), "{what} on {}", isa.name);
        for threads in [1, 3] {
            let found = train(&Context::new(isa, threads), Tape::new(), net.clone(), n);
            assert_eq!(found.len(), expected.len());
            let same = found.iter().zip(&expected).all(|(x, y)| x.to_bits() == y.to_bits());
            assert!(same, "{what} on {}, {threads} threads", isa.name);
        }
    }
}

/// Adds nodes named by their position.
struct Net {
    builder: GraphBuilder,
    nodes: usize,
}

impl Net {
    fn new(image: Shape) -> Result<(Self, NodeId), GraphError> {
        let (builder, image) = GraphBuilder::new(image)?;
        Ok((Self { builder, nodes: 0 }, image))
    }

    fn add(&mut self, layer: Layer, inputs: &[NodeId]) -> Result<NodeId, GraphError> {
        self.nodes += 1;
        self.builder.add(format!("n{}", self.nodes), layer, inputs)
    }

    fn conv(&mut self, channels: usize, x: NodeId) -> Result<NodeId, GraphError> {
        self.add(Layer::Conv2d(Conv2d::same3x3(channels)), &[x])
    }

    fn bn(&mut self, x: NodeId) -> Result<NodeId, GraphError> {
        self.add(Layer::BatchNorm2d(BatchNorm2d::default()), &[x])
    }

    fn relu(&mut self, x: NodeId) -> Result<NodeId, GraphError> {
        self.add(Layer::Relu(Relu {}), &[x])
    }

    fn sum(&mut self, a: NodeId, b: NodeId) -> Result<NodeId, GraphError> {
        self.add(Layer::Add(Add {}), &[a, b])
    }

    fn pool(&mut self, x: NodeId) -> Result<NodeId, GraphError> {
        self.add(Layer::MaxPool2d(MaxPool2d { kernel: 2, stride: 2, padding: 0 }), &[x])
    }

    fn classify(mut self, x: NodeId) -> Result<Graph, GraphError> {
        let x = self.add(Layer::GlobalAvgPool(GlobalAvgPool {}), &[x])?;
        let fc = Linear { out_features: 10, bias: true };
        let x = self.add(Layer::Linear(fc), &[x])?;
        self.builder.finish(x)
    }
}

/// Batch norms in every situation: of the image, of a map that others read too, of a ReLU's output, whose
/// own output has several readers, before pooling of an odd map, before a sum with their own input, and as
/// either input of a sum.
fn knot() -> Result<Graph, GraphError> {
    let (mut net, image) = Net::new(Shape::new(3, 10, 6))?;
    let x = net.bn(image)?;
    let x = net.conv(19, x)?;
    let shared = net.bn(x)?;
    let y = net.relu(shared)?;
    let y = net.bn(y)?;
    let y = net.relu(y)?;
    let depthwise = Conv2d { groups: Groups::Depthwise, ..Conv2d::same3x3(0) };
    let y = net.add(Layer::Conv2d(depthwise), &[y])?;
    let y = net.bn(y)?;
    let y = net.sum(shared, y)?;
    let y = net.relu(y)?;
    let z = net.bn(y)?;
    let z = net.sum(z, y)?;
    let z = net.relu(z)?;
    let z = net.add(Layer::Concat(Concat {}), &[z, y, shared])?;
    let z = net.bn(z)?;
    let z = net.relu(z)?;
    let z = net.pool(z)?;
    let z = net.conv(7, z)?;
    let z = net.bn(z)?;
    let z = net.relu(z)?;
    let z = net.pool(z)?;
    net.classify(z)
}

/// A batch norm that is the output, after one that a sum without a ReLU follows.
fn ends() -> Result<Graph, GraphError> {
    let (mut net, image) = Net::new(Shape::new(2, 4, 4))?;
    let x = net.conv(5, image)?;
    let y = net.bn(x)?;
    let x = net.sum(y, x)?;
    let x = net.add(Layer::Flatten(Flatten {}), &[x])?;
    let x = net.add(Layer::Linear(Linear { out_features: 10, bias: true }), &[x])?;
    let x = net.bn(x)?;
    net.builder.finish(x)
}

fn model(spec: &str, size: usize) -> Graph {
    models::build(spec, Shape::new(3, size, size), 10).expect("a model")
}

#[test]
fn a_step_of_chains_is_the_same_bits_as_one_of_layers() -> Result<(), GraphError> {
    for spec in ["vgg-small", "resnet20", "concat-small", "mobile-small"] {
        check(spec, model(spec, 32), 4);
    }
    check("vgg16 on maps that become odd", model("vgg16:9,5,3,17,5,5,5,6,7,8,9,10,11", 36), 3);
    check("resnet18 with odd widths", model("resnet18:7,9,17,21", 16), 3);
    check("knot", knot()?, 5);
    check("ends", ends()?, 5);
    Ok(())
}

#[test]
fn a_tape_of_chains_gives_up_what_nothing_reads() {
    let cx = Context::new(Isa::from_env().expect("it exists"), 1);
    let mut net = Network::init(model("vgg-small", 32), 1);
    let (images, _) = batch(4, net.graph().input_shape(), 0);
    let run = |tape: &mut Tape, net: &mut Network, mode| {
        let diff = tape.forward(&cx, net, &images, mode, StepKey::default()).clone();
        let forward: Vec<bool> =
            net.graph().ids().map(|id| tape.activation(id).is_some()).collect();
        tape.backward(&cx, net, &diff, false);
        let kept = net.graph().ids().filter(|&id| tape.activation(id).is_some()).count();
        (forward, kept)
    };
    let nodes = net.graph().nodes().len();
    let (mut tape, mut whole) = (Tape::new(), Tape::keeping_diffs());
    let (forward, kept) = run(&mut tape, &mut net, Mode::Train);
    for (node, exists) in net.graph().nodes().iter().zip(forward) {
        let inner = matches!(node.layer, Layer::BatchNorm2d(_));
        assert!(!(inner && exists), "{}", node.name);
        let input = matches!(node.layer, Layer::Conv2d(_) | Layer::MaxPool2d(_));
        assert!(!input || exists, "{}", node.name);
    }
    assert_eq!(kept, 0);
    let bytes = tape.map_bytes();
    run(&mut tape, &mut net, Mode::Train);
    assert_eq!(tape.map_bytes(), bytes, "the second step needs no more memory");
    let least = Tape::map_bytes_at_least(net.graph(), images.n());
    assert!(least <= bytes && bytes < 4 * least, "{least} and {bytes}");
    assert_eq!(run(&mut whole, &mut net, Mode::Train), (vec![true; nodes], nodes));
    assert!(2 * bytes < whole.map_bytes(), "{bytes} bytes, and {}", whole.map_bytes());
    assert_eq!(run(&mut tape, &mut net, Mode::Eval), (vec![true; nodes], nodes));
}

#[test]
fn a_chain_counts_as_its_batch_norm() -> Result<(), GraphError> {
    let cx = Context::new(Isa::from_env().expect("it exists"), 1);
    let mut net = Network::init(knot()?, 1);
    let (images, _) = batch(2, net.graph().input_shape(), 0);
    let (mut tape, mut calls) = (Tape::new(), Vec::new());
    let mut after = |id: NodeId, pass| calls.push((id, pass));
    let (mode, key) = (Mode::Train, StepKey::default());
    let diff = tape.forward_with(&cx, &mut net, &images, mode, key, &mut after).clone();
    tape.backward_with(&cx, &mut net, &diff, true, &mut after);
    for id in net.graph().ids() {
        let passes: Vec<Pass> = calls.iter().filter(|call| call.0 == id).map(|c| c.1).collect();
        let within = net.graph().node(id).inputs.first().is_some_and(|&input| {
            let last = net.graph().consumers(input) == [id];
            last && matches!(net.graph().node(id).layer, Layer::Relu(_))
        });
        if matches!(net.graph().node(id).layer, Layer::BatchNorm2d(_)) {
            assert_eq!(passes, [Pass::Forward, Pass::BackwardData]);
        } else if within {
            assert_eq!(passes, []);
        }
    }
    Ok(())
}

#[test]
fn the_first_convolution_has_no_pass_for_a_gradient_that_nobody_wants() -> Result<(), GraphError> {
    let cx = Context::new(Isa::from_env().expect("it exists"), 1);
    let mut net = Network::init(ends()?, 1);
    let (images, _) = batch(2, net.graph().input_shape(), 0);
    let first = net.graph().consumers(net.graph().input())[0];
    for (wanted, expected) in [
        (false, &[Pass::BackwardWeights][..]),
        (true, &[Pass::BackwardData, Pass::BackwardWeights]),
    ] {
        let (mut tape, mut passes) = (Tape::new(), Vec::new());
        let diff = tape.forward(&cx, &mut net, &images, Mode::Train, StepKey::default()).clone();
        tape.backward_with(&cx, &mut net, &diff, wanted, &mut |id, pass| {
            if id == first {
                passes.push(pass);
            }
        });
        assert_eq!(passes, expected);
    }
    Ok(())
}

#[test]
#[should_panic(expected = "since the last backward pass")]
fn a_step_is_differentiated_once() {
    let cx = Context::new(Isa::from_env().expect("it exists"), 1);
    let mut net = Network::init(ends().expect("a whole graph"), 1);
    let (images, _) = batch(2, net.graph().input_shape(), 0);
    let mut tape = Tape::new();
    let diff = tape.forward(&cx, &mut net, &images, Mode::Train, StepKey::default()).clone();
    tape.backward(&cx, &mut net, &diff, false);
    tape.backward(&cx, &mut net, &diff, false);
}
