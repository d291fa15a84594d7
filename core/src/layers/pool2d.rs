//! Pooling over windows: the largest value, or the mean.

use super::{BackwardCx, Coupling, ForwardCx, LayerKind, single, window};
use crate::tensor::{Shape, ShapeError};
use pleach_kernels::pool::{Pool2dGeometry, avg, max};
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

/// The windows of either.
#[derive(Clone, Copy)]
struct Windows {
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Windows {
    fn output_shape(self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let Self { kernel, stride, padding } = self;
        let input = single(inputs)?;
        if kernel > 15 || padding > kernel / 2 {
            return Err(ShapeError(format!(
                "has a window of {kernel} (at most 15) and a padding of {padding} (at most half of it)"
            )));
        }
        Ok(Shape {
            channels: input.channels,
            height: window(input.height, kernel, stride, padding)?,
            width: window(input.width, kernel, stride, padding)?,
        })
    }

    fn geometry(self, n: usize, input: Shape) -> Pool2dGeometry {
        let Self { kernel, stride, padding } = self;
        let Shape { channels: c, height: ih, width: iw } = input;
        Pool2dGeometry { n, c, ih, iw, kernel, stride, padding }
    }
}

impl MaxPool2d {
    fn windows(&self) -> Windows {
        let Self { kernel, stride, padding } = *self;
        Windows { kernel, stride, padding }
    }

    /// The windows over `n` maps shaped `input`.
    pub(crate) fn geometry(&self, n: usize, input: Shape) -> Pool2dGeometry {
        self.windows().geometry(n, input)
    }
}

impl AvgPool2d {
    fn windows(&self) -> Windows {
        let Self { kernel, stride, padding } = *self;
        Windows { kernel, stride, padding }
    }

    /// The windows over `n` maps shaped `input`.
    pub(crate) fn geometry(&self, n: usize, input: Shape) -> Pool2dGeometry {
        self.windows().geometry(n, input)
    }
}

impl LayerKind for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        self.windows().output_shape(inputs)
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        let (src, dst, argmax) = (cx.inputs[0], cx.dst.data_mut(), &mut cx.workspace.bytes);
        argmax.resize(dst.len(), 0);
        let geometry = self.geometry(src.n(), src.shape());
        max::forward(cx.kernels, &geometry, src.data(), dst, Some(argmax));
    }

    fn backward(&self, cx: BackwardCx<'_>) {
        if let Some(diff_src) = &mut cx.diff_inputs[0] {
            let (kernels, src, argmax) = (cx.kernels, cx.inputs[0], &cx.workspace.bytes);
            let geometry = self.geometry(src.n(), src.shape());
            max::backward(kernels, &geometry, cx.diff_dst.data(), argmax, diff_src.data_mut());
        }
    }
}

impl LayerKind for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        self.windows().output_shape(inputs)
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        let src = cx.inputs[0];
        let geometry = self.geometry(src.n(), src.shape());
        avg::forward(cx.kernels, &geometry, src.data(), cx.dst.data_mut());
    }

    fn backward(&self, mut cx: BackwardCx<'_>) {
        let (kernels, src, diff_dst) = (cx.kernels, cx.inputs[0], cx.diff_dst.data());
        let geometry = self.geometry(src.n(), src.shape());
        if let Some(diff_src) = cx.diff_src() {
            avg::backward(kernels, &geometry, diff_dst, diff_src);
        }
    }
}
