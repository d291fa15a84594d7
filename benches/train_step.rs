//! Training steps of whole networks, batch 128, two threads. `pleach bench --train --per-layer` tells
//! where the time of a step goes.
//!
//! `cargo bench --bench train_step [-- FILTER]` times the steps whose name contains the filter.

use criterion::{Criterion, Throughput};
use pleach_core::autograd::Tape;
use pleach_core::layers::{Mode, StepKey};
use pleach_core::loss;
use pleach_core::models;
use pleach_core::network::Network;
use pleach_core::optim::Optimizer;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::tensor::{Shape, Tensor};
use pleach_kernels::{Context, Isa};
use std::time::Duration;

const BATCH: usize = 128;
const THREADS: usize = 2;
const SGD: Optimizer = Optimizer::sgd();
const KEY: StepKey = StepKey { seed: 0, step: 0 };

/// Names of rows, and what they are: VGG-16 dense and pruned by conditional entropy, ResNet-18.
const MODELS: [(&str, &str); 3] = [
    ("vgg16", "vgg16"),
    ("vgg16-pruned", "vgg16:21,43,67,73,101,93,71,53,37,29,23,19,31"),
    ("resnet18", "resnet18"),
];

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
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let test = std::env::args().any(|arg| arg == "--test");
    let cx = Context::new(Isa::from_env().unwrap(), THREADS);
    let mut group = criterion.benchmark_group("train_step");
    let batch = if test { 2 } else { BATCH };
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(batch as u64));
    for (name, spec) in MODELS {
        let mut training = Training::new(spec, batch);
        group.bench_function(name, |b| b.iter(|| training.step(&cx)));
    }
    group.finish();
}
