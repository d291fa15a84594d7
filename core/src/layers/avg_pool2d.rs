use super::{BackwardCx, Coupling, ForwardCx, LayerKind, single, window};
use crate::tensor::{Shape, ShapeError, Tensor};
use pleach_kernels::avg_pool;
use pleach_kernels::max_pool::Pool2dGeometry;
use serde::{Deserialize, Serialize};

/// The mean of each window, padding included (PyTorch's `count_include_pad`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AvgPool2d {
    /// Height and width of the window.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Padding on each side, at most half the window.
    #[serde(default)]
    pub padding: usize,
}

impl AvgPool2d {
    fn geometry(&self, src: &Tensor) -> Pool2dGeometry {
        let Self { kernel, stride, padding } = *self;
        let Shape { channels: c, height: ih, width: iw } = src.shape();
        Pool2dGeometry { n: src.n(), c, ih, iw, kernel, stride, padding }
    }
}

impl LayerKind for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let input = single(inputs)?;
        if self.kernel > 15 || self.padding > self.kernel / 2 {
            return Err(ShapeError(format!(
                "has a window of {} (at most 15) and a padding of {} (at most half of it)",
                self.kernel, self.padding
            )));
        }
        Ok(Shape {
            channels: input.channels,
            height: window(input.height, self.kernel, self.stride, self.padding)?,
            width: window(input.width, self.kernel, self.stride, self.padding)?,
        })
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        let src = cx.inputs[0];
        avg_pool::forward(cx.kernels, &self.geometry(src), src.data(), cx.dst.data_mut());
    }

    fn backward(&self, mut cx: BackwardCx<'_>) {
        let (kernels, diff_dst) = (cx.kernels, cx.diff_dst.data());
        let geometry = self.geometry(cx.inputs[0]);
        if let Some(diff_src) = cx.diff_src() {
            avg_pool::backward(kernels, &geometry, diff_dst, diff_src);
        }
    }
}
