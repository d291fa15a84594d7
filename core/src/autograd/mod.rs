//! Reverse-mode differentiation: forward through the nodes in order, backward in reverse.
//!
//! In training, a batch norm and what follows it ([`chains`]) run as one, to the same bits, and every
//! map's memory is used again as soon as nothing reads it any more.

mod backward;
mod chains;

use crate::graph::{Graph, NodeId};
use crate::layers::{ForwardCx, Mode, Pass, StepKey, Workspace};
use crate::network::Network;
use crate::tensor::{Shape, Tensor};
use backward::{allocate_grads, wanted};
use chains::{Chain, Step};
use pleach_kernels::{AlignedBuffer, Context};

/// The activations of a forward pass, and what a backward pass makes of them. A tape keeps its
/// memory: from the second step on, nothing large is allocated.
#[derive(Debug)]
pub struct Tape {
    mode: Mode,
    steps: Vec<Step>,
    activations: Vec<Option<Tensor>>,
    workspaces: Vec<Workspace>,
    diffs: Vec<Option<Tensor>>,
    keep: Keep,
    /// Tensors of some node's shape, for whatever has a shape that takes as much memory.
    spare: Vec<Tensor>,
    scratch: AlignedBuffer,
}

/// What outlives the passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Ends,
    All,
}

impl Default for Tape {
    fn default() -> Self {
        Self::new()
    }
}

impl Tape {
    /// A tape whose backward pass keeps the gradients with respect to the output and, where wanted,
    /// the image. Those of the nodes between share memory, in [`Mode::Train`] with the activations too.
    #[must_use]
    pub fn new() -> Self {
        Self::keeping(Keep::Ends)
    }

    /// A tape that keeps the activations of all nodes and the gradients with respect to them.
    #[must_use]
    pub fn keeping_diffs() -> Self {
        Self::keeping(Keep::All)
    }

    fn keeping(keep: Keep) -> Self {
        Self {
            mode: Mode::Eval,
            steps: Vec::new(),
            activations: Vec::new(),
            workspaces: Vec::new(),
            diffs: Vec::new(),
            keep,
            spare: Vec::new(),
            scratch: AlignedBuffer::default(),
        }
    }

    /// Runs `net` on a batch of images and returns the logits, `[N, classes]`. In [`Mode::Train`]
    /// running statistics are updated; `key` is what dropout is keyed by.
    ///
    /// # Panics
    /// If `input` is empty or its shape is not the network's.
    pub fn forward(
        &mut self,
        cx: &Context,
        net: &mut Network,
        input: &Tensor,
        mode: Mode,
        key: StepKey,
    ) -> &Tensor {
        self.forward_with(cx, net, input, mode, key, &mut |_, _| ())
    }

    /// [`Tape::forward`] that calls `after` with each layer when it has run: a stopwatch in the caller's hand
    /// gives the time of each. Layers that run in the passes of the batch norm before them count as that.
    ///
    /// # Panics
    /// As [`Tape::forward`].
    pub fn forward_with(
        &mut self,
        cx: &Context,
        net: &mut Network,
        input: &Tensor,
        mode: Mode,
        key: StepKey,
        after: &mut dyn FnMut(NodeId, Pass),
    ) -> &Tensor {
        let (graph, params) = net.split_mut();
        assert!(input.n() > 0, "a batch has images");
        assert_eq!(input.shape(), graph.input_shape(), "the shape of the images");
        self.mode = mode;
        self.prepare(graph);
        for id in graph.ids() {
            let (end, residual) = match &self.steps[id.0] {
                Step::Alone => (id, None),
                Step::Chain(chain) => (chain.end, chain.residual),
                Step::Within => continue,
            };
            let node = graph.node(id);
            let (n, shape) = (input.n(), graph.node(end).shape);
            let mut dst = match self.activations[end.0].take() {
                Some(mut dst) => {
                    dst.reshape(n, shape);
                    dst
                }
                None => self.take_spare(n, shape),
            };
            let inputs: Vec<&Tensor> = match node.inputs.as_slice() {
                [] => vec![input],
                inputs => {
                    let inputs = inputs.iter().chain(&residual);
                    inputs.map(|&input| kept(&self.activations, input)).collect()
                }
            };
            let forward = ForwardCx {
                kernels: cx,
                mode,
                key,
                node: id,
                inputs: &inputs,
                params: &mut params[node.params.clone()],
                dst: &mut dst,
                workspace: &mut self.workspaces[id.0],
                scratch: &mut self.scratch,
            };
            match &self.steps[id.0] {
                Step::Chain(chain) => chain.norm.forward_train(forward, chain.following),
                Step::Alone | Step::Within => node.layer.kind().forward(forward),
            }
            self.activations[end.0] = Some(dst);
            if let (Step::Chain(Chain { last_reader: true, .. }), Some(residual)) =
                (&self.steps[id.0], residual)
            {
                self.spare.extend(self.activations[residual.0].take());
            }
            after(id, Pass::Forward);
        }
        kept(&self.activations, graph.output())
    }

    /// Differentiates the last [`Tape::forward`]: overwrites
    /// [`Param::grad`](crate::network::Param::grad) of every trainable parameter of `net`, given
    /// `diff_output`, the gradient with respect to the logits. With `want_input_grad`, the gradient
    /// with respect to the image is [`Tape::diff`] of the input node; the first layer is spared it
    /// otherwise.
    ///
    /// # Panics
    /// If there was no forward pass of this network, in [`Mode::Train`] since the last backward pass,
    /// or `diff_output` is not shaped as its logits.
    pub fn backward(
        &mut self,
        cx: &Context,
        net: &mut Network,
        diff_output: &Tensor,
        want_input_grad: bool,
    ) {
        self.backward_with(cx, net, diff_output, want_input_grad, &mut |_, _| ());
    }

    /// [`Tape::backward`] that calls `after` with each layer and each part of its backward pass when that is
    /// done; a convolution of the image has no [`Pass::BackwardData`] unless its gradient is wanted. Layers that run in the passes of the batch norm before them count as that.
    ///
    /// # Panics
    /// As [`Tape::backward`].
    pub fn backward_with(
        &mut self,
        cx: &Context,
        net: &mut Network,
        diff_output: &Tensor,
        want_input_grad: bool,
        after: &mut dyn FnMut(NodeId, Pass),
    ) {
        let (graph, params) = net.split_mut();
        assert_eq!(self.activations.len(), graph.nodes().len(), "a forward pass of this network");
        let output = graph.output();
        let logits = kept(&self.activations, output);
        let (n, shape) = (logits.n(), logits.shape());
        assert_eq!((diff_output.n(), diff_output.shape()), (n, shape), "the shape of the logits");
        allocate_grads(graph, params);
        self.spare.extend(self.diffs.iter_mut().filter_map(Option::take));

        let wanted = wanted(graph, want_input_grad);
        let mut diff = self.take_spare(n, shape);
        diff.data_mut().copy_from_slice(diff_output.data());
        self.diffs[output.0] = Some(diff);
        for id in graph.ids().rev() {
            let (end, chain) = match &self.steps[id.0] {
                Step::Alone => (id, None),
                Step::Chain(chain) => (chain.end, Some(chain.clone())),
                Step::Within => continue,
            };
            if let Some(diff_dst) = self.diffs[end.0].take() {
                let params = &mut params[graph.node(id).params.clone()];
                match chain {
                    None => self.layer(cx, graph, params, (id, diff_dst), &wanted, after),
                    Some(chain) => {
                        self.chain(cx, graph, params, (id, &chain, diff_dst), &wanted);
                        after(id, Pass::BackwardData);
                    }
                }
            }
            if self.runs_chains() {
                self.spare.extend(self.activations[end.0].take());
            }
        }
    }

    /// The output of a node in the last forward pass. `None` for nodes that the network does not have, and
    /// in [`Mode::Train`], except on a tape [keeping them](Self::keeping_diffs), for those that run in the
    /// passes of a batch norm before others do or whose last reader is a sum in one, and for all after the backward pass.
    #[must_use]
    pub fn activation(&self, id: NodeId) -> Option<&Tensor> {
        self.activations.get(id.0)?.as_ref()
    }

    /// The gradient with respect to a node's output in the last backward pass: that of the network's
    /// output, that of the image if it was wanted, and the rest on a tape
    /// [keeping them](Self::keeping_diffs).
    #[must_use]
    pub fn diff(&self, id: NodeId) -> Option<&Tensor> {
        self.diffs.get(id.0)?.as_ref()
    }

    /// Bytes of all maps that it holds: activations, gradients and memory for either.
    #[must_use]
    pub fn map_bytes(&self) -> usize {
        let held = self.activations.iter().chain(&self.diffs).flatten().chain(&self.spare);
        held.map(|tensor| size_of_val(tensor.data())).sum()
    }

    /// Bytes of the maps that a training step of `batch` images holds after its forward pass: what it takes at least.
    #[must_use]
    pub fn map_bytes_at_least(graph: &Graph, batch: usize) -> usize {
        let steps = chains::steps(graph);
        let freed: Vec<NodeId> = steps.iter().filter_map(Step::frees).collect();
        let ends = graph.ids().zip(&steps).filter_map(|(id, step)| match step {
            Step::Alone => Some(id),
            Step::Chain(chain) => Some(chain.end),
            Step::Within => None,
        });
        let kept = ends.filter(|id| !freed.contains(id));
        let floats: usize = kept.map(|id| graph.node(id).shape.padded_len()).sum();
        floats.saturating_mul(batch).saturating_mul(size_of::<f32>())
    }

    /// Whether layers that follow a batch norm run in its passes, and maps that nothing reads any more
    /// are given up.
    fn runs_chains(&self) -> bool {
        self.mode == Mode::Train && self.keep == Keep::Ends
    }

    /// Makes ready for a forward pass of `graph`.
    fn prepare(&mut self, graph: &Graph) {
        let nodes = graph.nodes();
        let steps =
            if self.runs_chains() { chains::steps(graph) } else { vec![Step::Alone; nodes.len()] };
        self.spare.extend(self.diffs.iter_mut().filter_map(Option::take));
        if self.steps != steps {
            self.spare.extend(self.activations.iter_mut().filter_map(Option::take));
            self.steps = steps;
        }
        // What another network left.
        let fits = |spare: &Tensor| {
            let len = spare.shape().padded_len();
            nodes.iter().any(|node| node.shape.padded_len() == len)
        };
        self.spare.retain(fits);
        self.diffs.resize(nodes.len(), None);
        self.activations.resize(nodes.len(), None);
        self.workspaces.resize_with(nodes.len(), Workspace::default);
    }

    /// A tensor of unspecified contents.
    fn take_spare(&mut self, n: usize, shape: Shape) -> Tensor {
        let len = shape.padded_len();
        match self.spare.iter().rposition(|spare| spare.shape().padded_len() == len) {
            Some(i) => {
                let mut tensor = self.spare.swap_remove(i);
                tensor.reshape(n, shape);
                tensor
            }
            None => Tensor::zeros(n, shape),
        }
    }
}

/// The activation of a node that others read.
fn kept(activations: &[Option<Tensor>], id: NodeId) -> &Tensor {
    activations[id.0].as_ref().expect("a forward pass, in training since the last backward pass")
}
