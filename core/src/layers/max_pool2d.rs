use super::{BackwardCx, Coupling, ForwardCx, LayerKind, single, window};
use crate::tensor::{Shape, ShapeError, Tensor};
use pleach_kernels::max_pool::{self, Pool2dGeometry};
use serde::{Deserialize, Serialize};

/// The largest value of each window; padding never wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool2d {
    /// Height and width of the window.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Padding on each side, at most half the window.
    #[serde(default)]
    pub padding: usize,
}

impl MaxPool2d {
    fn geometry(&self, src: &Tensor) -> Pool2dGeometry {
        let Self { kernel, stride, padding } = *self;
        let Shape { channels: c, height: ih, width: iw } = src.shape();
        Pool2dGeometry { n: src.n(), c, ih, iw, kernel, stride, padding }
    }
}

impl LayerKind for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
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
        let (src, dst, argmax) = (cx.inputs[0], cx.dst.data_mut(), &mut cx.workspace.bytes);
        argmax.resize(dst.len(), 0);
        max_pool::forward(cx.kernels, &self.geometry(src), src.data(), dst, Some(argmax));
    }

    fn backward(&self, cx: BackwardCx<'_>) {
        if let Some(diff_src) = &mut cx.diff_inputs[0] {
            let (geometry, argmax) = (self.geometry(cx.inputs[0]), &cx.workspace.bytes);
            max_pool::backward(
                cx.kernels,
                &geometry,
                cx.diff_dst.data(),
                argmax,
                diff_src.data_mut(),
            );
        }
    }
}
