use super::{BackwardCx, Coupling, ForwardCx, LayerKind};
use crate::tensor::{Shape, ShapeError, Tensor};
use pleach_kernels::{Context, channel_stride};
use serde::{Deserialize, Serialize};

/// Pixels a task.
const PIXELS: usize = 1024;

/// The channels of all inputs, one input after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concat {}

impl LayerKind for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let [first, rest @ ..] = inputs else {
            return Err(ShapeError("has no inputs".into()));
        };
        if let Some(other) =
            rest.iter().find(|s| (s.height, s.width) != (first.height, first.width))
        {
            return Err(ShapeError(format!("joins maps of different sizes, {first} and {other}")));
        }
        Ok(Shape { channels: inputs.iter().map(|s| s.channels).sum(), ..*first })
    }

    fn coupling(&self) -> Coupling {
        Coupling::Concatenates
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        let inputs = cx.inputs.iter().map(|input| (input.data(), input.shape().channels));
        join(cx.kernels, cx.dst.shape().channels, inputs, cx.dst.data_mut());
    }

    fn backward(&self, cx: BackwardCx<'_>) {
        let diff_dst = cx.diff_dst;
        let (diff_dst, stride) = (diff_dst.data(), channel_stride(diff_dst.shape().channels));
        let mut first = 0;
        for (input, diff) in cx.inputs.iter().zip(cx.diff_inputs) {
            let channels = input.shape().channels;
            let part_stride = channel_stride(channels);
            let diff = diff.as_mut().map_or(&mut [][..], Tensor::data_mut);
            cx.kernels.threads().for_each_chunk(diff, PIXELS * part_stride, |i, diff| {
                for (pixel, lanes) in diff.chunks_exact_mut(part_stride).enumerate() {
                    let start = (i * PIXELS + pixel) * stride + first;
                    let (values, pad) = lanes.split_at_mut(channels);
                    values.copy_from_slice(&diff_dst[start..start + channels]);
                    pad.fill(0.0);
                }
            });
            first += channels;
        }
    }
}

/// Writes the channels of all `inputs`, pairs of maps and their numbers of channels, side by side to
/// `dst`, which has `channels`.
pub(crate) fn join<'a>(
    cx: &Context,
    channels: usize,
    inputs: impl Iterator<Item = (&'a [f32], usize)> + Clone + Sync,
    dst: &mut [f32],
) {
    let stride = channel_stride(channels);
    cx.threads().for_each_chunk(dst, PIXELS * stride, |i, dst| {
        for (pixel, lanes) in dst.chunks_exact_mut(stride).enumerate() {
            let pixel = i * PIXELS + pixel;
            let mut rest = lanes;
            for (src, channels) in inputs.clone() {
                let (part, after) = rest.split_at_mut(channels);
                part.copy_from_slice(&src[pixel * channel_stride(channels)..][..channels]);
                rest = after;
            }
            rest.fill(0.0);
        }
    });
}
