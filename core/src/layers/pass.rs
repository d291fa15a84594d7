//! What a layer gets when it runs.

use crate::graph::NodeId;
use crate::network::Param;
use crate::tensor::Tensor;
use pleach_kernels::{AlignedBuffer, Context};
use serde::{Deserialize, Serialize};

/// How layers that know training from use behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch norm normalises by the batch and updates its running statistics; dropout drops.
    Train,
    /// Batch norm normalises by its running statistics; dropout is the identity.
    Eval,
}

/// A part of a training step's work for one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// The output.
    Forward,
    /// The gradients with respect to the inputs; of layers other than convolutions and linear layers, those
    /// with respect to parameters too.
    BackwardData,
    /// The gradients with respect to the weights and the bias of a convolution or linear layer.
    BackwardWeights,
}

/// What the random numbers of one step are keyed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepKey {
    /// The run's seed.
    pub seed: u64,
    /// The step, counted through the whole run.
    pub step: u64,
}

/// What a layer's forward pass leaves for its backward pass, beside inputs and output.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// Batch norm: `mean`, `inv_std` and `var` of the batch. Dropout: the factor of each value.
    pub floats: AlignedBuffer,
    /// Max pooling, within a batch norm's passes too: the place of each window's winner.
    pub bytes: Vec<u8>,
}

/// A forward pass through one layer.
#[derive(Debug)]
pub struct ForwardCx<'a> {
    /// What kernels run with.
    pub kernels: &'a Context,
    /// Training or use.
    pub mode: Mode,
    /// What random numbers are keyed by, together with `node`.
    pub key: StepKey,
    /// The layer's position.
    pub node: NodeId,
    /// Inputs; the image itself for [`super::Input`].
    pub inputs: &'a [&'a Tensor],
    /// The layer's parameters, in the order of [`super::LayerKind::params`]; running statistics
    /// change in [`Mode::Train`].
    pub params: &'a mut [Param],
    /// The output, of its final shape: overwritten, pad lanes with zeros.
    pub dst: &'a mut Tensor,
    /// Left for the backward pass.
    pub workspace: &'a mut Workspace,
    /// Memory for any use, of unspecified contents.
    pub scratch: &'a mut AlignedBuffer,
}

/// A backward pass through one layer, after a forward pass in the same mode.
pub struct BackwardCx<'a> {
    /// What kernels run with.
    pub kernels: &'a Context,
    /// The mode of the forward pass.
    pub mode: Mode,
    /// The inputs of the forward pass.
    pub inputs: &'a [&'a Tensor],
    /// The layer's parameters; [`Param::grad`] of the trainable ones has its length and is
    /// overwritten.
    pub params: &'a mut [Param],
    /// The output of the forward pass, for layers that [read it](super::LayerKind::backward_reads_output);
    /// for others it may be gone.
    pub dst: Option<&'a Tensor>,
    /// The gradient of the loss with respect to the output.
    pub diff_dst: &'a Tensor,
    /// The gradients with respect to the inputs, of their final shapes: overwritten, pad lanes with
    /// zeros. `None` where nobody wants it.
    pub diff_inputs: &'a mut [Option<Tensor>],
    /// What the forward pass left.
    pub workspace: &'a mut Workspace,
    /// Memory for any use, of unspecified contents.
    pub scratch: &'a mut AlignedBuffer,
    /// Called by convolutions and linear layers when the gradients with respect to the inputs are done and
    /// those with respect to the weights begin.
    pub data_done: &'a mut dyn FnMut(),
}

impl<'a> BackwardCx<'a> {
    /// The output of the forward pass of a layer that reads it.
    pub(super) fn output(&self) -> &'a Tensor {
        self.dst.expect("the output of a layer whose backward pass reads it")
    }

    /// The memory of the first input's gradient, if it is wanted.
    pub(super) fn diff_src(&mut self) -> Option<&mut [f32]> {
        self.diff_inputs[0].as_mut().map(Tensor::data_mut)
    }
}

/// Copies `src` to `dst` on all threads.
pub(super) fn copy(cx: &Context, src: &[f32], dst: &mut [f32]) {
    /// Floats a task: 256 KB, long enough to pay for starting it.
    const CHUNK: usize = 64 * 1024;
    cx.threads().for_each_chunk(dst, CHUNK, |i, dst| {
        dst.copy_from_slice(&src[i * CHUNK..][..dst.len()]);
    });
}
