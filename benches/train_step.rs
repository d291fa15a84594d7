//! Training steps of whole networks, batch 128, two threads: first a table of where the time goes,
//! by kind of layer, then the step.
//!
//! `cargo bench --bench train_step [-- FILTER]` times the steps whose name contains the filter.

#![expect(clippy::print_stdout, reason = "the table is a result")]

use criterion::{Criterion, Throughput};
use pleach_core::autograd::Tape;
use pleach_core::graph::NodeId;
use pleach_core::layers::{BackwardCx, ForwardCx, Mode, StepKey, Workspace};
use pleach_core::loss;
use pleach_core::models;
use pleach_core::network::Network;
use pleach_core::optim::Optimizer;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::tensor::{Shape, Tensor};
use pleach_kernels::{AlignedBuffer, Context, Isa};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const BATCH: usize = 128;
const THREADS: usize = 2;
const SGD: Optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };
const KEY: StepKey = StepKey { seed: 0, step: 0 };

/// Names of rows, and what they are: VGG-16 dense and pruned by conditional entropy, ResNet-18.
const MODELS: [(&str, &str); 3] = [
    ("vgg16", "vgg16"),
    ("vgg16-pruned", "vgg16:21,43,67,73,101,93,71,53,37,29,23,19,31"),
    ("resnet18", "resnet18"),
];

/// Steps a table is the fastest of.
const ROUNDS: usize = 3;

/// A network in training.
struct Training {
    net: Network,
    tape: Tape,
    images: Tensor,
    labels: Vec<u32>,
    diff: Tensor,
}

impl Training {
    fn new(spec: &str, batch: usize) -> Self {
        let shape = Shape::new(3, 32, 32);
        let graph = models::build(spec, shape, 10).expect("a model of this crate");
        let mut rng = Rng::new(1, Purpose::Measurement, 0, 0);
        let pixels: Vec<f32> =
            (0..batch * shape.len()).map(|_| 2.0 * rng.uniform() as f32 - 1.0).collect();
        Self {
            net: Network::init(graph, 0),
            tape: Tape::new(),
            images: Tensor::from_nchw(batch, shape, &pixels),
            labels: (0..batch).map(|_| rng.below(10) as u32).collect(),
            diff: Tensor::zeros(batch, Shape::flat(10)),
        }
    }

    fn step(&mut self, cx: &Context) {
        let Self { net, tape, images, labels, diff } = self;
        let logits = tape.forward(cx, net, images, Mode::Train, KEY);
        loss::cross_entropy(cx, logits, labels, 0.0, Some(diff));
        tape.backward(cx, net, diff, false);
        SGD.step(cx, net, 1e-4, 0);
    }

    /// Milliseconds of the forward and backward passes of every kind of layer, each layer run by
    /// itself on the activations and gradients of a step.
    fn by_kind(&mut self, cx: &Context) -> BTreeMap<&'static str, [f64; 2]> {
        self.tape = Tape::keeping_diffs();
        self.step(cx);
        let mut kinds: BTreeMap<&'static str, [f64; 2]> = BTreeMap::new();
        let ids: Vec<NodeId> = self.net.graph().ids().skip(1).collect();
        for id in ids {
            let name = self.net.graph().node(id).layer.kind().name();
            let sum = kinds.entry(name).or_default();
            for (sum, seconds) in sum.iter_mut().zip(self.node(cx, id)) {
                *sum += seconds * 1e3;
            }
        }
        kinds
    }

    /// Seconds of one layer, forward and backward.
    fn node(&mut self, cx: &Context, id: NodeId) -> [f64; 2] {
        let (graph, params) = self.net.split_mut();
        let node = graph.node(id);
        let kind = node.layer.kind();
        let inputs: Vec<&Tensor> =
            node.inputs.iter().filter_map(|&input| self.tape.activation(input)).collect();
        let n = self.images.n();
        let mut dst = Tensor::zeros(n, node.shape);
        let image = graph.input();
        let mut diff_inputs: Vec<Option<Tensor>> = node
            .inputs
            .iter()
            .map(|&input| (input != image).then(|| Tensor::zeros(n, graph.node(input).shape)))
            .collect();
        let diff_dst = self.tape.diff(id).expect("the tape keeps it");
        let params = &mut params[node.params.clone()];
        let (mut workspace, mut scratch) = (Workspace::default(), AlignedBuffer::default());
        let mut best = [f64::INFINITY; 2];
        // One more: the first touches fresh memory.
        for _ in 0..=ROUNDS {
            let start = Instant::now();
            kind.forward(ForwardCx {
                kernels: cx,
                mode: Mode::Train,
                key: KEY,
                node: id,
                inputs: &inputs,
                params,
                dst: &mut dst,
                workspace: &mut workspace,
                scratch: &mut scratch,
            });
            best[0] = best[0].min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            kind.backward(BackwardCx {
                kernels: cx,
                mode: Mode::Train,
                inputs: &inputs,
                params,
                dst: Some(&dst),
                diff_dst,
                diff_inputs: &mut diff_inputs,
                workspace: &mut workspace,
                scratch: &mut scratch,
                data_done: &mut || (),
            });
            best[1] = best[1].min(start.elapsed().as_secs_f64());
        }
        best
    }
}

fn print_table(cx: &Context, name: &str, training: &mut Training) {
    let batch = training.images.n();
    training.step(cx);
    let step = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        training.step(cx);
        start.elapsed().as_secs_f64()
    });
    let step = step.fold(f64::INFINITY, f64::min);
    let rate = batch as f64 / step;
    println!(
        "{name}, batch {batch}, {THREADS} threads: {:.0} ms a step, {rate:.0} img/s",
        step * 1e3
    );
    let start = Instant::now();
    SGD.step(cx, &mut training.net, 1e-4, 0);
    let optimizer = start.elapsed().as_secs_f64() * 1e3;
    println!("  {:<18} {:>9} {:>9}  share", "ms", "forward", "backward");
    let share = |ms: f64| 100.0 * ms / (step * 1e3);
    for (kind, [forward, backward]) in training.by_kind(cx) {
        let percent = share(forward + backward);
        println!("  {kind:<18} {forward:>9.1} {backward:>9.1}  {percent:>4.1}%");
    }
    println!("  {:<18} {:>9} {optimizer:>9.1}  {:>4.1}%", "optimizer", "", share(optimizer));
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let test = std::env::args().any(|arg| arg == "--test");
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let cx = Context::new(Isa::from_env().unwrap(), THREADS);
    let mut group = criterion.benchmark_group("train_step");
    let batch = if test { 2 } else { BATCH };
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(batch as u64));
    for (name, spec) in MODELS {
        if filter.as_deref().is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let mut training = Training::new(spec, batch);
        print_table(&cx, name, &mut training);
        training.tape = Tape::new();
        group.bench_function(name, |b| b.iter(|| training.step(&cx)));
    }
    group.finish();
}
