use super::{AxisRole, BackwardCx, Coupling, ForwardCx, LayerKind, ParamSpec, single};
use crate::tensor::{Init, Shape, ShapeError};
use pleach_kernels::linear;
use serde::{Deserialize, Serialize};

/// Fully connected layer on flat features. Weights are `[OUT, IN]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Output features.
    pub out_features: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl LayerKind for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let input = single(inputs)?;
        if input.area() != 1 {
            return Err(ShapeError(format!("takes flat features, not maps of {input}")));
        }
        if self.out_features == 0 {
            return Err(ShapeError("has no output features".into()));
        }
        Ok(Shape::flat(self.out_features))
    }

    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let fan_in = inputs[0].channels;
        let init = Init::Uniform { fan_in };
        let mut params = vec![ParamSpec::weight(
            vec![self.out_features, fan_in],
            vec![AxisRole::OutChannels, AxisRole::InChannels],
            init,
        )];
        if self.bias {
            params.push(ParamSpec::per_channel("bias", self.out_features, init));
        }
        params
    }

    fn coupling(&self) -> Coupling {
        Coupling::Produces
    }

    fn macs(&self, inputs: &[Shape]) -> u64 {
        self.out_features as u64 * inputs[0].channels as u64
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        let (n, inputs) = (cx.inputs[0].n(), cx.inputs[0].shape().channels);
        let (src, dst) = (cx.inputs[0].data(), cx.dst.data_mut());
        let weights = &cx.params[0].value;
        let bias = cx.params.get(1).map(|bias| bias.value.as_slice());
        linear::forward(cx.kernels, n, inputs, self.out_features, src, weights, bias, dst);
    }

    fn backward(&self, cx: BackwardCx<'_>) {
        let (n, inputs, outputs) =
            (cx.inputs[0].n(), cx.inputs[0].shape().channels, self.out_features);
        let (kernels, src, diff_dst) = (cx.kernels, cx.inputs[0].data(), cx.diff_dst.data());
        if let Some(diff_src) = &mut cx.diff_inputs[0] {
            let (weights, diff_src) = (&cx.params[0].value, diff_src.data_mut());
            linear::backward_data(kernels, n, inputs, outputs, diff_dst, weights, diff_src);
        }
        (cx.data_done)();
        let diff_weights = &mut cx.params[0].grad;
        linear::backward_weights(kernels, n, inputs, outputs, src, diff_dst, diff_weights);
        if let Some(bias) = cx.params.get_mut(1) {
            linear::backward_bias(kernels, n, outputs, diff_dst, &mut bias.grad);
        }
    }
}
