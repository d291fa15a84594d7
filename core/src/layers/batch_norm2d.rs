use super::{BackwardCx, Coupling, ForwardCx, LayerKind, Mode, ParamSpec, single};
use crate::network::Param;
use crate::tensor::{Init, Shape, ShapeError};
use pleach_kernels::batch_norm;
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
        let src = cx.inputs[0];
        let (pixels, channels) = (src.n() * src.shape().area(), src.shape().channels);
        let [weight, bias, running_mean, running_var] = four(cx.params);
        let (kernels, src, dst) = (cx.kernels, src.data(), cx.dst.data_mut());
        let (weight, bias) = (&weight.value, &bias.value);
        match cx.mode {
            Mode::Train => {
                let statistics = cx.workspace.floats.take(3 * channels);
                let (mean, rest) = statistics.split_at_mut(channels);
                let (inv_std, var) = rest.split_at_mut(channels);
                batch_norm::forward_train(
                    kernels, pixels, channels, src, weight, bias, self.eps, mean, inv_std, var, dst,
                );
                // Of a single pixel the unbiased variance is undefined; PyTorch refuses it.
                let unbiased = pixels as f32 / (pixels.max(2) - 1) as f32;
                for (running, &mean) in running_mean.value.iter_mut().zip(&*mean) {
                    *running += self.momentum * (mean - *running);
                }
                for (running, &var) in running_var.value.iter_mut().zip(&*var) {
                    *running += self.momentum * (var * unbiased - *running);
                }
            }
            Mode::Eval => {
                let (mean, var) = (&running_mean.value, &running_var.value);
                batch_norm::forward_eval(
                    kernels, pixels, channels, src, weight, bias, mean, var, self.eps, dst,
                );
            }
        }
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
                let (mean, rest) = cx.workspace.floats.split_at(channels);
                let inv_std = &rest[..channels];
                batch_norm::backward_train(
                    kernels,
                    pixels,
                    channels,
                    src,
                    diff_dst,
                    weight,
                    mean,
                    inv_std,
                    diff_src,
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

fn four(params: &mut [Param]) -> &mut [Param; 4] {
    params.try_into().expect("weight, bias, running_mean and running_var")
}
