//! What is timed: a network's inference or training step, and the parts that either consists of.

use super::{Config, Work};
use pleach_core::graph::Graph;
use pleach_core::infer::Plan;
use pleach_core::layers::{Pass, StepKey};
use pleach_core::loss::cross_entropy;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::{Mode, Network, NodeId, Optimizer, Tape, Tensor};
use pleach_kernels::Context;

/// A network ready to be timed.
pub(super) struct Run {
    input: Tensor,
    job: Job,
}

enum Job {
    Infer(Box<Plan>),
    Train(Box<Training>),
}

struct Training {
    network: Network,
    tape: Tape,
    labels: Vec<u32>,
    diff: Tensor,
    step: u64,
}

/// A part of the work on a batch, which is timed by itself.
pub(super) struct Part {
    /// The layer; in training, the loss or the optimiser too.
    pub(super) layer: String,
    /// The layer's kind, of a layer.
    pub(super) kind: Option<&'static str>,
    /// The pass, of a layer in training.
    pub(super) pass: Option<Pass>,
    /// What computes it.
    pub(super) kernel: String,
    /// Multiply-adds per image.
    pub(super) macs: u64,
    /// Bytes of weights, and of maps per image, where they are known.
    pub(super) bytes: Option<[usize; 2]>,
}

/// Passes of a layer in training.
const PASSES: [Pass; 3] = [Pass::Forward, Pass::BackwardData, Pass::BackwardWeights];

impl Run {
    pub(super) fn new(cx: &Context, net: (&str, &Network), batch: usize, config: &Config) -> Self {
        let (_, network) = net;
        let job = match config.work {
            Work::Infer => Job::Infer(Box::new(config.choice.plan(cx, net, batch, config.weights))),
            Work::Train => {
                let logits = network.graph().output_shape();
                Job::Train(Box::new(Training {
                    network: network.clone(),
                    tape: Tape::new(),
                    labels: (0..batch).map(|i| (i % logits.channels) as u32).collect(),
                    diff: Tensor::zeros(batch, logits),
                    step: 0,
                }))
            }
        };
        Self { input: images(network, batch, config.seed), job }
    }

    /// Works on the batch, and calls `after` with the place of each of [`Run::parts`] whenever some of it is
    /// done.
    pub(super) fn once(&mut self, cx: &Context, after: &mut (dyn FnMut(usize) + Send)) {
        let Self { input, job } = self;
        match job {
            Job::Infer(plan) => {
                std::hint::black_box(plan.run_with(cx, input, after));
            }
            Job::Train(training) => cx.threads().region(|| training.step(cx, input, after)),
        }
    }

    /// The parts, of a network that has this graph. Not all have work to do.
    pub(super) fn parts(&self, cx: &Context, graph: &Graph) -> Vec<Part> {
        let kind = |id: NodeId| graph.node(id).layer.kind().name();
        match &self.job {
            Job::Infer(plan) => {
                let parts = plan.steps().map(|step| Part {
                    layer: step.name.to_owned(),
                    kind: graph.find(step.name).map(kind),
                    pass: None,
                    kernel: step.kernel.to_owned(),
                    macs: step.macs,
                    bytes: Some([step.weight_bytes, step.map_bytes]),
                });
                parts.collect()
            }
            Job::Train(training) => training.parts(cx, self.input.n()),
        }
    }
}

impl Training {
    fn step(&mut self, cx: &Context, input: &Tensor, after: &mut dyn FnMut(usize)) {
        // So small a rate that the weights stay as they are: what is timed is always the same.
        const LR: f32 = 1e-12;
        let sgd = Optimizer::sgd();
        let Self { network, tape, labels, diff, step } = self;
        let (layers, key) = (network.graph().nodes().len(), StepKey { seed: 0, step: *step });
        let place = |id: NodeId, pass: Pass| PASSES.len() * id.0 + pass as usize;
        let mut layer = |id, pass| after(place(id, pass));
        let logits = tape.forward_with(cx, network, input, Mode::Train, key, &mut layer);
        cross_entropy(cx, logits, labels, 0.0, Some(diff));
        after(PASSES.len() * layers);
        tape.backward_with(cx, network, diff, false, &mut |id, pass| after(place(id, pass)));
        sgd.step(cx, network, LR, *step);
        after(PASSES.len() * layers + 1);
        *step += 1;
    }

    /// In the order of the places that [`Training::step`] tells.
    fn parts(&self, cx: &Context, batch: usize) -> Vec<Part> {
        let graph = self.network.graph();
        let of_layer = |id: NodeId| {
            let (node, inputs) = (graph.node(id), graph.input_shapes(id));
            let (layer, kind) = (node.layer.kind(), node.layer.kind().name());
            PASSES.map(|pass| {
                let algorithm = layer.algorithm(cx, pass, batch, &inputs);
                Part {
                    layer: node.name.clone(),
                    kind: Some(kind),
                    pass: Some(pass),
                    kernel: algorithm.map_or(kind, |by| by.name).to_owned(),
                    macs: graph.node_macs(id),
                    bytes: None,
                }
            })
        };
        let other = |layer: &str, kernel: &str| Part {
            layer: layer.to_owned(),
            kind: None,
            pass: None,
            kernel: kernel.to_owned(),
            macs: 0,
            bytes: None,
        };
        let others = [other("loss", "cross_entropy"), other("optimizer", "sgd")];
        graph.ids().flat_map(of_layer).chain(others).collect()
    }
}

/// The images that are timed.
pub(super) fn images(network: &Network, batch: usize, seed: u64) -> Tensor {
    let shape = network.graph().input_shape();
    let mut rng = Rng::new(seed, Purpose::Measurement, batch as u64, 0);
    let values: Vec<f32> = (0..batch * shape.len()).map(|_| rng.normal() as f32).collect();
    Tensor::from_nchw(batch, shape, &values)
}
