use super::{BackwardCx, Coupling, ForwardCx, LayerKind, single};
use crate::tensor::{Shape, ShapeError};
use pleach_kernels::pool::global_avg;
use serde::{Deserialize, Serialize};

/// The mean of each channel over all pixels: `[C, H, W]` to `[C, 1, 1]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAvgPool {}

impl LayerKind for GlobalAvgPool {
    fn name(&self) -> &'static str {
        "global_avg_pool"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(Shape::flat(single(inputs)?.channels))
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        let (src, dst) = (cx.inputs[0], cx.dst.data_mut());
        let Shape { channels, .. } = src.shape();
        let (n, pixels) = (src.n(), src.shape().area());
        global_avg::forward(cx.kernels, n, pixels, channels, src.data(), dst);
    }

    fn backward(&self, cx: BackwardCx<'_>) {
        if let Some(diff_src) = &mut cx.diff_inputs[0] {
            let (n, shape, diff_dst) = (diff_src.n(), diff_src.shape(), cx.diff_dst.data());
            let (pixels, channels) = (shape.area(), shape.channels);
            let diff_src = diff_src.data_mut();
            global_avg::backward(cx.kernels, n, pixels, channels, diff_dst, diff_src);
        }
    }
}
