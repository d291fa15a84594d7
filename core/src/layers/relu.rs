use super::{BackwardCx, Coupling, ForwardCx, LayerKind, single};
use crate::tensor::{Shape, ShapeError};
use pleach_kernels::relu;
use serde::{Deserialize, Serialize};

/// `max(x, 0)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu {}

impl LayerKind for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        single(inputs)
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }

    fn backward_reads_output(&self) -> bool {
        true
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        relu::forward(cx.kernels, cx.inputs[0].data(), cx.dst.data_mut());
    }

    fn backward(&self, mut cx: BackwardCx<'_>) {
        let (kernels, dst, diff_dst) = (cx.kernels, cx.output().data(), cx.diff_dst.data());
        if let Some(diff_src) = cx.diff_src() {
            relu::backward(kernels, dst, diff_dst, diff_src);
        }
    }
}
