use super::{
    AxisRole, BackwardCx, Coupling, ForwardCx, LayerKind, ParamSpec, Pass, single, window,
};
use crate::tensor::{Init, Shape, ShapeError};
use pleach_kernels::Context;
use pleach_kernels::conv2d::{self, Activation, Algorithm, Conv2dGeometry, Direction};
use serde::{Deserialize, Serialize};

/// Which input channels an output channel of a convolution sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Groups {
    /// All of them.
    #[default]
    One,
    /// Its own only: output channel `c` is made from input channel `c`.
    Depthwise,
}

/// Two-dimensional cross-correlation with a square stride and equal zero padding on all sides.
/// Weights are `[OC, IC, KH, KW]`, or `[C, 1, KH, KW]` depthwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2d {
    /// Output channels; depthwise, the number of input channels, whatever stands here.
    pub out_channels: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Step in both directions.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// Which input channels an output channel sees.
    #[serde(default)]
    pub groups: Groups,
}

impl PartialEq for Conv2d {
    fn eq(&self, other: &Self) -> bool {
        let settings = |c: &Self| (c.kernel, c.stride, c.padding, c.bias, c.groups);
        settings(self) == settings(other)
            && (self.groups == Groups::Depthwise || self.out_channels == other.out_channels)
    }
}

impl Conv2d {
    /// A 3x3 convolution, stride 1, padding 1, without bias.
    #[must_use]
    pub fn same3x3(out_channels: usize) -> Self {
        Self {
            out_channels,
            kernel: [3, 3],
            stride: 1,
            padding: 1,
            bias: false,
            groups: Groups::One,
        }
    }

    /// A 1x1 convolution without bias.
    #[must_use]
    pub fn pointwise(out_channels: usize) -> Self {
        Self { kernel: [1, 1], padding: 0, ..Self::same3x3(out_channels) }
    }

    fn channels(&self, input: Shape) -> (usize, usize) {
        match self.groups {
            Groups::One => (self.out_channels, input.channels),
            Groups::Depthwise => (input.channels, 1),
        }
    }

    fn geometry(&self, n: usize, input: Shape) -> Conv2dGeometry {
        let Shape { channels: ic, height: ih, width: iw } = input;
        let (oc, per_group) = self.channels(input);
        let [kh, kw] = self.kernel;
        let (stride, padding, groups) = (self.stride, self.padding, ic / per_group);
        Conv2dGeometry { n, ic, ih, iw, oc, kh, kw, stride, padding, groups }
    }
}

impl LayerKind for Conv2d {
    fn name(&self) -> &'static str {
        match self.groups {
            Groups::One => "conv2d",
            Groups::Depthwise => "depthwise_conv2d",
        }
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let input = single(inputs)?;
        let (out_channels, _) = self.channels(input);
        if out_channels == 0 {
            return Err(ShapeError("has no output channels".into()));
        }
        Ok(Shape {
            channels: out_channels,
            height: window(input.height, self.kernel[0], self.stride, self.padding)?,
            width: window(input.width, self.kernel[1], self.stride, self.padding)?,
        })
    }

    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let (out_channels, per_group) = self.channels(inputs[0]);
        let [kh, kw] = self.kernel;
        let in_axis = match self.groups {
            Groups::One => AxisRole::InChannels,
            Groups::Depthwise => AxisRole::Other,
        };
        let fan = match self.groups {
            Groups::One => out_channels * kh * kw,
            Groups::Depthwise => kh * kw,
        };
        let mut params = vec![ParamSpec::weight(
            vec![out_channels, per_group, kh, kw],
            vec![AxisRole::OutChannels, in_axis, AxisRole::Other, AxisRole::Other],
            Init::KaimingNormal { fan },
        )];
        if self.bias {
            params.push(ParamSpec::per_channel("bias", out_channels, Init::Zeros));
        }
        params
    }

    fn coupling(&self) -> Coupling {
        match self.groups {
            Groups::One => Coupling::Produces,
            Groups::Depthwise => Coupling::Keeps,
        }
    }

    fn macs(&self, inputs: &[Shape]) -> u64 {
        let (out_channels, per_group) = self.channels(inputs[0]);
        let area = self.output_shape(inputs).map_or(0, Shape::area);
        let [kh, kw] = self.kernel;
        (out_channels * per_group * kh * kw) as u64 * area as u64
    }

    fn algorithm(
        &self,
        cx: &Context,
        pass: Pass,
        n: usize,
        inputs: &[Shape],
    ) -> Option<&'static Algorithm> {
        let direction = match pass {
            Pass::Forward => Direction::Forward,
            Pass::BackwardData => Direction::BackwardData,
            Pass::BackwardWeights => Direction::BackwardWeights,
        };
        Some(conv2d::chosen(direction, cx, &self.geometry(n, inputs[0])))
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        let geometry = self.geometry(cx.inputs[0].n(), cx.inputs[0].shape());
        let (src, dst) = (cx.inputs[0].data(), cx.dst.data_mut());
        let weights = &cx.params[0].value;
        let bias = cx.params.get(1).map(|bias| bias.value.as_slice());
        let activation = Activation::None;
        conv2d::forward(cx.kernels, &geometry, src, weights, bias, activation, dst, cx.scratch);
    }

    fn backward(&self, cx: BackwardCx<'_>) {
        let geometry = self.geometry(cx.inputs[0].n(), cx.inputs[0].shape());
        let (kernels, src, diff_dst) = (cx.kernels, cx.inputs[0].data(), cx.diff_dst.data());
        if let Some(diff_src) = &mut cx.diff_inputs[0] {
            let (weights, diff_src) = (&cx.params[0].value, diff_src.data_mut());
            conv2d::backward_data(kernels, &geometry, diff_dst, weights, diff_src, cx.scratch);
        }
        (cx.data_done)();
        let diff_weights = &mut cx.params[0].grad;
        conv2d::backward_weights(kernels, &geometry, src, diff_dst, diff_weights, cx.scratch);
        if let Some(bias) = cx.params.get_mut(1) {
            conv2d::backward_bias(kernels, &geometry, diff_dst, &mut bias.grad);
        }
    }
}
