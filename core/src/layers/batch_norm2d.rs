use super::pass::copy;
use super::{BackwardCx, Coupling, ForwardCx, LayerKind, Mode, ParamSpec, Workspace, single};
use crate::network::Param;
use crate::tensor::{Init, Shape, ShapeError, Tensor};
use pleach_kernels::batch_norm::{self, Gradient, Then};
use pleach_kernels::{AlignedBuffer, Context};
use serde::{Deserialize, Serialize};

/// Batch normalisation (Ioffe and Szegedy 2015) over `[N, H, W]`, with an affine map and running
/// statistics, as PyTorch's: the running variance is the unbiased one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm2d {
    /// Added to the variance.
    pub eps: f32,
    /// Share of the newest batch in the running statistics.
    pub momentum: f32,
}

impl Default for BatchNorm2d {
    /// PyTorch's defaults: `eps` 1e-5, `momentum` 0.1.
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1 }
    }
}

/// The layers after a batch norm that are computed in its passes in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Following {
    /// None.
    Nothing,
    /// A ReLU.
    Relu,
    /// A sum, whose other input is the second one, and a ReLU.
    AddRelu,
    /// A ReLU and 2x2 max pooling.
    ReluMaxPool,
}

/// The maps of a backward pass through a batch norm and what follows it.
pub(crate) struct BackwardMaps<'a> {
    /// The input; becomes its gradient.
    pub(crate) src: &'a mut Tensor,
    /// The output of what follows; of [`Following::AddRelu`] only, it is read.
    pub(crate) dst: Option<&'a Tensor>,
    /// The gradient with respect to `dst`; becomes that of the sum's other input, if there is a sum.
    pub(crate) diff_dst: &'a mut Tensor,
}

impl BatchNorm2d {
    /// The forward pass in training, to the output of what follows.
    pub(crate) fn forward_train(&self, cx: ForwardCx<'_>, following: Following) {
        let src = cx.inputs[0];
        let (pixels, channels) = (src.n() * src.shape().area(), src.shape().channels);
        let [weight, bias, running_mean, running_var] = four(cx.params);
        let (kernels, dst) = (cx.kernels, cx.dst.data_mut());
        let (weight, bias) = (&weight.value, &bias.value);
        let Workspace { floats, bytes } = cx.workspace;
        let then = match following {
            Following::Nothing => Then::Nothing,
            Following::Relu => Then::Relu,
            Following::AddRelu => Then::AddRelu { residual: cx.inputs[1].data() },
            Following::ReluMaxPool => {
                bytes.resize(dst.len(), 0);
                Then::ReluMaxPool { width: src.shape().width, places: bytes }
            }
        };
        let [mean, inv_std, var] = statistics(floats, channels);
        let (src, eps) = (src.data(), self.eps);
        batch_norm::forward_train(
            kernels, pixels, channels, src, weight, bias, eps, mean, inv_std, var, then, dst,
        );
        for (running, &mean) in running_mean.value.iter_mut().zip(&*mean) {
            *running += self.momentum * (mean - *running);
        }
        // Of a single pixel the unbiased variance is undefined, and PyTorch refuses it: the running one stays.
        if pixels > 1 {
            let unbiased = pixels as f32 / (pixels - 1) as f32;
            for (running, &var) in running_var.value.iter_mut().zip(&*var) {
                *running += self.momentum * (var * unbiased - *running);
            }
        }
    }

    /// The backward pass in training, from the gradient with respect to the output of what follows.
    pub(crate) fn backward_train(
        &self,
        kernels: &Context,
        following: Following,
        params: &mut [Param],
        workspace: &mut Workspace,
        maps: BackwardMaps<'_>,
    ) {
        let shape = maps.src.shape();
        let (pixels, channels) = (maps.src.n() * shape.area(), shape.channels);
        let [weight, bias, ..] = four(params);
        let diff_dst = maps.diff_dst.data_mut();
        let Workspace { floats, bytes } = workspace;
        let gradient = match following {
            Following::Nothing => Gradient::Nothing { diff_dst },
            Following::Relu => Gradient::Relu { diff_dst, bias: &bias.value },
            Following::AddRelu => {
                let dst = maps.dst.expect("what a sum made is kept").data();
                Gradient::AddRelu { diff_dst, dst }
            }
            Following::ReluMaxPool => {
                Gradient::ReluMaxPool { diff_dst, width: shape.width, places: bytes }
            }
        };
        let [mean, inv_std, _] = statistics(floats, channels);
        let (src, weight, diff_weight) = (maps.src.data_mut(), &weight.value, &mut weight.grad);
        let diff_bias = &mut bias.grad;
        batch_norm::backward_train(
            kernels,
            pixels,
            channels,
            src,
            gradient,
            weight,
            mean,
            inv_std,
            diff_weight,
            diff_bias,
        );
    }
}

impl LayerKind for BatchNorm2d {
    fn name(&self) -> &'static str {
        "batch_norm2d"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        if !(self.eps > 0.0 && self.eps.is_finite() && (0.0..=1.0).contains(&self.momentum)) {
            return Err(ShapeError(format!(
                "has an eps of {} (above 0) and a momentum of {} (in [0, 1])",
                self.eps, self.momentum
            )));
        }
        single(inputs)
    }

    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let channels = inputs[0].channels;
        vec![
            ParamSpec::per_channel("weight", channels, Init::Ones),
            ParamSpec::per_channel("bias", channels, Init::Zeros),
            ParamSpec::statistic("running_mean", channels, Init::Zeros),
            ParamSpec::statistic("running_var", channels, Init::Ones),
        ]
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        if cx.mode == Mode::Train {
            return self.forward_train(cx, Following::Nothing);
        }
        let (src, dst) = (cx.inputs[0], cx.dst.data_mut());
        let (pixels, channels) = (src.n() * src.shape().area(), src.shape().channels);
        let [weight, bias, mean, var] = four(cx.params).each_ref().map(|param| &param.value);
        let (kernels, src, eps) = (cx.kernels, src.data(), self.eps);
        batch_norm::forward_eval(kernels, pixels, channels, src, weight, bias, mean, var, eps, dst);
    }

    fn backward(&self, cx: BackwardCx<'_>) {
        let src = cx.inputs[0];
        let (pixels, channels) = (src.n() * src.shape().area(), src.shape().channels);
        let [weight, bias, running_mean, running_var] = four(cx.params);
        let (kernels, src, diff_dst) = (cx.kernels, src.data(), cx.diff_dst.data());
        let diff_src = match &mut cx.diff_inputs[0] {
            Some(diff_src) => diff_src.data_mut(),
            None => cx.scratch.take(src.len()),
        };
        let (diff_weight, diff_bias) = (&mut weight.grad, &mut bias.grad);
        let weight = &weight.value;
        match cx.mode {
            Mode::Train => {
                copy(kernels, src, diff_src);
                let [mean, inv_std, _] = statistics(&mut cx.workspace.floats, channels);
                batch_norm::backward_train(
                    kernels,
                    pixels,
                    channels,
                    diff_src,
                    Gradient::Nothing { diff_dst },
                    weight,
                    mean,
                    inv_std,
                    diff_weight,
                    diff_bias,
                );
            }
            Mode::Eval => {
                let (mean, var) = (&running_mean.value, &running_var.value);
                batch_norm::backward_eval(
                    kernels,
                    pixels,
                    channels,
                    src,
                    diff_dst,
                    weight,
                    mean,
                    var,
                    self.eps,
                    diff_src,
                    diff_weight,
                    diff_bias,
                );
            }
        }
    }
}

/// The batch's `mean`, `inv_std` and `var` in a workspace.
fn statistics(floats: &mut AlignedBuffer, channels: usize) -> [&mut [f32]; 3] {
    let (mean, rest) = floats.take(3 * channels).split_at_mut(channels);
    let (inv_std, var) = rest.split_at_mut(channels);
    [mean, inv_std, var]
}

fn four(params: &mut [Param]) -> &mut [Param; 4] {
    params.try_into().expect("weight, bias, running_mean and running_var")
}
