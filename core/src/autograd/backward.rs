//! The backward pass, layer by layer and chain by chain.

use super::chains::Chain;
use super::{Keep, Tape, kept};
use crate::graph::{Graph, NodeId};
use crate::layers::{BackwardCx, BackwardMaps, Pass};
use crate::network::Param;
use crate::tensor::Tensor;
use pleach_kernels::{Context, add};

impl Tape {
    /// The backward pass of one layer.
    pub(super) fn layer(
        &mut self,
        cx: &Context,
        graph: &Graph,
        params: &mut [Param],
        (id, diff_dst): (NodeId, Tensor),
        wanted: &[bool],
        after: &mut dyn FnMut(NodeId, Pass),
    ) {
        let node = graph.node(id);
        let mut pass = Pass::BackwardData;
        let mut diff_inputs: Vec<Option<Tensor>> = Vec::with_capacity(node.inputs.len());
        for &input in &node.inputs {
            let shape = graph.node(input).shape;
            diff_inputs.push(wanted[input.0].then(|| self.take_spare(diff_dst.n(), shape)));
        }
        if !node.inputs.is_empty() {
            let inputs = node.inputs.iter().map(|&input| kept(&self.activations, input));
            let inputs: Vec<&Tensor> = inputs.collect();
            let differentiates_inputs = diff_inputs.iter().any(Option::is_some);
            node.layer.kind().backward(BackwardCx {
                kernels: cx,
                mode: self.mode,
                inputs: &inputs,
                params,
                dst: self.activations[id.0].as_ref(),
                diff_dst: &diff_dst,
                diff_inputs: &mut diff_inputs,
                workspace: &mut self.workspaces[id.0],
                scratch: &mut self.scratch,
                data_done: &mut || {
                    if differentiates_inputs {
                        after(id, Pass::BackwardData);
                    }
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
        if self.keep == Keep::All || id == graph.output() || id == graph.input() {
            self.diffs[id.0] = Some(diff_dst);
        } else {
            self.spare.push(diff_dst);
        }
    }

    /// The backward pass of a batch norm and what follows it.
    pub(super) fn chain(
        &mut self,
        cx: &Context,
        graph: &Graph,
        params: &mut [Param],
        (id, chain, mut diff_dst): (NodeId, &Chain, Tensor),
        wanted: &[bool],
    ) {
        let input = graph.node(id).inputs[0];
        let mut src = if chain.takes_over {
            self.activations[input.0].take().expect("it was kept")
        } else {
            let mut src = self.take_spare(diff_dst.n(), graph.node(input).shape);
            src.data_mut().copy_from_slice(kept(&self.activations, input).data());
            src
        };
        let workspace = &mut self.workspaces[id.0];
        let dst = self.activations[chain.end.0].as_ref();
        let maps = BackwardMaps { src: &mut src, dst, diff_dst: &mut diff_dst };
        chain.norm.backward_train(cx, chain.following, params, workspace, maps);
        let shares = [(chain.residual, diff_dst), (Some(input), src)];
        for (id, diff) in shares {
            match id {
                Some(id) if wanted[id.0] => self.add_diff(cx, id, diff),
                _ => self.spare.push(diff),
            }
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
pub(super) fn wanted(graph: &Graph, want_input_grad: bool) -> Vec<bool> {
    let mut wanted = vec![false; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        let params = &graph.params()[node.params.clone()];
        wanted[i] = params.iter().any(|param| param.spec.trainable)
            || node.inputs.iter().any(|input| wanted[input.0])
            || (i == graph.input().0 && want_input_grad);
    }
    wanted
}

pub(super) fn allocate_grads(graph: &Graph, params: &mut [Param]) {
    for (param, place) in params.iter_mut().zip(graph.params()) {
        if place.spec.trainable {
            param.grad.resize(place.spec.len(), 0.0);
        }
    }
}
