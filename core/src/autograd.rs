//! Reverse-mode differentiation: forward through the nodes in order, backward in reverse.

use crate::graph::{Graph, NodeId};
use crate::layers::{BackwardCx, ForwardCx, Mode, Pass, StepKey, Workspace};
use crate::network::{Network, Param};
use crate::tensor::{Shape, Tensor};
use pleach_kernels::{AlignedBuffer, Context, add};

/// The activations of a forward pass, and what a backward pass makes of them. A tape keeps its
/// memory: from the second step of one batch size on, nothing large is allocated.
#[derive(Debug)]
pub struct Tape {
    mode: Mode,
    activations: Vec<Tensor>,
    workspaces: Vec<Workspace>,
    diffs: Vec<Option<Tensor>>,
    keep: Keep,
    spare: Vec<Tensor>,
    scratch: AlignedBuffer,
}

/// Which gradients of activations outlive the backward pass.
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
    /// the image. Those of the nodes between share memory.
    #[must_use]
    pub fn new() -> Self {
        Self::keeping(Keep::Ends)
    }

    /// A tape whose backward pass keeps the gradients with respect to all nodes.
    #[must_use]
    pub fn keeping_diffs() -> Self {
        Self::keeping(Keep::All)
    }

    fn keeping(keep: Keep) -> Self {
        Self {
            mode: Mode::Eval,
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
    /// gives the time of each.
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
        self.prepare(graph, input.n());
        self.mode = mode;
        for id in graph.ids() {
            let node = graph.node(id);
            let (earlier, rest) = self.activations.split_at_mut(id.0);
            let inputs: Vec<&Tensor> = match node.inputs.as_slice() {
                [] => vec![input],
                inputs => inputs.iter().map(|input| &earlier[input.0]).collect(),
            };
            node.layer.kind().forward(ForwardCx {
                kernels: cx,
                mode,
                key,
                node: id,
                inputs: &inputs,
                params: &mut params[node.params.clone()],
                dst: &mut rest[0],
                workspace: &mut self.workspaces[id.0],
                scratch: &mut self.scratch,
            });
            after(id, Pass::Forward);
        }
        &self.activations[graph.output().0]
    }

    /// Differentiates the last [`Tape::forward`]: overwrites [`Param::grad`] of every trainable
    /// parameter of `net`, given `diff_output`, the gradient with respect to the logits. With
    /// `want_input_grad`, the gradient with respect to the image is [`Tape::diff`] of the input
    /// node; the first layer is spared it otherwise.
    ///
    /// # Panics
    /// If there was no forward pass of this network, or `diff_output` is not shaped as its logits.
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
    /// done.
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
        let logits = &self.activations[output.0];
        let (n, shape) = (logits.n(), logits.shape());
        assert_eq!((diff_output.n(), diff_output.shape()), (n, shape), "the shape of the logits");
        allocate_grads(graph, params);
        self.spare.extend(self.diffs.iter_mut().filter_map(Option::take));

        let wanted = wanted(graph, want_input_grad);
        let mut diff = self.take_spare(n, shape);
        diff.data_mut().copy_from_slice(diff_output.data());
        self.diffs[output.0] = Some(diff);
        for id in graph.ids().rev() {
            let Some(diff_dst) = self.diffs[id.0].take() else { continue };
            let node = graph.node(id);
            let mut pass = Pass::BackwardData;
            let mut diff_inputs: Vec<Option<Tensor>> = Vec::with_capacity(node.inputs.len());
            for &input in &node.inputs {
                let shape = graph.node(input).shape;
                diff_inputs.push(wanted[input.0].then(|| self.take_spare(n, shape)));
            }
            if !node.inputs.is_empty() {
                let inputs: Vec<&Tensor> =
                    node.inputs.iter().map(|input| &self.activations[input.0]).collect();
                node.layer.kind().backward(BackwardCx {
                    kernels: cx,
                    mode: self.mode,
                    inputs: &inputs,
                    params: &mut params[node.params.clone()],
                    dst: &self.activations[id.0],
                    diff_dst: &diff_dst,
                    diff_inputs: &mut diff_inputs,
                    workspace: &mut self.workspaces[id.0],
                    scratch: &mut self.scratch,
                    data_done: &mut || {
                        after(id, Pass::BackwardData);
                        pass = Pass::BackwardWeights;
                    },
                });
            }
            for (&input, diff) in node.inputs.iter().zip(diff_inputs) {
                if let Some(diff) = diff {
                    self.add_diff(cx, input, diff);
                }
            }
            after(id, pass);
            if self.keep == Keep::All || id == output || id == graph.input() {
                self.diffs[id.0] = Some(diff_dst);
            } else {
                self.spare.push(diff_dst);
            }
        }
    }

    /// The output of a node in the last forward pass.
    ///
    /// # Panics
    /// If there was no forward pass of a network with such a node.
    #[must_use]
    pub fn activation(&self, id: NodeId) -> &Tensor {
        &self.activations[id.0]
    }

    /// The gradient with respect to a node's output in the last backward pass: that of the network's
    /// output, that of the image if it was wanted, and the rest on a tape
    /// [keeping them](Self::keeping_diffs).
    #[must_use]
    pub fn diff(&self, id: NodeId) -> Option<&Tensor> {
        self.diffs.get(id.0)?.as_ref()
    }

    /// Shapes every buffer for `n` images.
    fn prepare(&mut self, graph: &Graph, n: usize) {
        let nodes = graph.nodes();
        if self.activations.first().is_some_and(|image| image.n() != n)
            || self.activations.len() != nodes.len()
        {
            self.spare.clear();
        }
        self.diffs.clear();
        self.diffs.resize(nodes.len(), None);
        self.workspaces.resize_with(nodes.len(), Workspace::default);
        self.activations.truncate(nodes.len());
        for (i, node) in nodes.iter().enumerate() {
            match self.activations.get_mut(i) {
                Some(activation) => activation.reshape(n, node.shape),
                None => self.activations.push(Tensor::zeros(n, node.shape)),
            }
        }
    }

    /// A tensor of unspecified contents.
    fn take_spare(&mut self, n: usize, shape: Shape) -> Tensor {
        let len = n * shape.padded_len();
        match self.spare.iter().rposition(|spare| spare.data().len() == len) {
            Some(i) => {
                let mut tensor = self.spare.swap_remove(i);
                tensor.reshape(n, shape);
                tensor
            }
            None => Tensor::zeros(n, shape),
        }
    }

    /// Adds one consumer's share to the gradient of `id`. Consumers come in one order, from the last
    /// node to the first.
    fn add_diff(&mut self, cx: &Context, id: NodeId, diff: Tensor) {
        match &mut self.diffs[id.0] {
            Some(sum) => {
                add::accumulate(cx, diff.data(), sum.data_mut());
                self.spare.push(diff);
            }
            empty => *empty = Some(diff),
        }
    }
}

/// For each node, whether the backward pass needs the gradient with respect to its output.
fn wanted(graph: &Graph, want_input_grad: bool) -> Vec<bool> {
    let mut wanted = vec![false; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        let params = &graph.params()[node.params.clone()];
        wanted[i] = params.iter().any(|param| param.spec.trainable)
            || node.inputs.iter().any(|input| wanted[input.0])
            || (i == graph.input().0 && want_input_grad);
    }
    wanted
}

fn allocate_grads(graph: &Graph, params: &mut [Param]) {
    for (param, place) in params.iter_mut().zip(graph.params()) {
        if place.spec.trainable {
            param.grad.resize(place.spec.len(), 0.0);
        }
    }
}
