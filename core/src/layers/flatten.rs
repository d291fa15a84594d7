use super::pass::copy;
use super::{BackwardCx, Coupling, ForwardCx, LayerKind, single};
use crate::tensor::{Shape, ShapeError};
use pleach_kernels::{Context, channel_stride};
use serde::{Deserialize, Serialize};

/// `[C, H, W]` to `[C * H * W, 1, 1]`, channel by channel, row by row, as PyTorch does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

impl LayerKind for Flatten {
    fn name(&self) -> &'static str {
        "flatten"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(Shape::flat(single(inputs)?.len()))
    }

    fn coupling(&self) -> Coupling {
        Coupling::Spreads
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        spread(cx.kernels, cx.inputs[0].shape(), cx.inputs[0].data(), cx.dst.data_mut());
    }

    fn backward(&self, cx: BackwardCx<'_>) {
        let Some(diff_src) = &mut cx.diff_inputs[0] else { return };
        let (diff_dst, shape) = (cx.diff_dst.data(), diff_src.shape());
        let (area, stride) = (shape.area(), channel_stride(shape.channels));
        let image = cx.diff_dst.shape().padded_len();
        let diff_src = diff_src.data_mut();
        if area == 1 {
            return copy(cx.kernels, diff_dst, diff_src);
        }
        cx.kernels.threads().for_each_chunk(diff_src, area * stride, |i, diff_src| {
            let diff_dst = &diff_dst[i * image..][..shape.len()];
            for (pixel, lanes) in diff_src.chunks_exact_mut(stride).enumerate() {
                let (values, pad) = lanes.split_at_mut(shape.channels);
                for (channel, value) in values.iter_mut().enumerate() {
                    *value = diff_dst[channel * area + pixel];
                }
                pad.fill(0.0);
            }
        });
    }
}

/// Writes maps of `shape` to `dst` as flat features.
pub(crate) fn spread(cx: &Context, shape: Shape, src: &[f32], dst: &mut [f32]) {
    let (area, stride) = (shape.area(), channel_stride(shape.channels));
    if area == 1 {
        return copy(cx, src, dst);
    }
    cx.threads().for_each_chunk(dst, Shape::flat(shape.len()).padded_len(), |i, dst| {
        let src = &src[i * area * stride..][..area * stride];
        let (values, pad) = dst.split_at_mut(shape.len());
        for (channel, map) in values.chunks_exact_mut(area).enumerate() {
            for (value, pixel) in map.iter_mut().zip(src.chunks_exact(stride)) {
                *value = pixel[channel];
            }
        }
        pad.fill(0.0);
    });
}
