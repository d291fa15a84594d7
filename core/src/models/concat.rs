//! A small network with everything that makes pruning hard: two branches joined by concatenation
//! and read by a depthwise convolution, 1x1 and strided convolutions.

use super::{Assembly, ModelKind};
use crate::graph::{GraphError, NodeId};
use crate::layers::{Concat, Conv2d, Groups, Layer};

pub(super) const CONCAT_SMALL: ModelKind = ModelKind {
    name: "concat-small",
    about: "two branches, concatenation, depthwise, 1x1 and strided convolutions, 7.7 M MACs on 32x32",
    stage_widths: &[12, 20, 10, 36, 44],
    stages: || (0..5).collect(),
    build,
    rename: |name| match name.split_once('.') {
        Some(("linear" | "classifier", rest)) => format!("fc.{rest}"),
        _ => name.into(),
    },
};

fn build(net: &mut Assembly, image: NodeId, widths: &[usize]) -> Result<NodeId, GraphError> {
    let stem = net.conv_bn_relu("stem", Conv2d::same3x3(widths[0]), image)?;
    let left = net.conv_bn_relu("left", Conv2d::same3x3(widths[1]), stem)?;
    let right = net.conv_bn_relu("right", Conv2d::pointwise(widths[2]), stem)?;
    let x = net.add("concat", Layer::Concat(Concat {}), &[left, right])?;
    let depthwise = Conv2d { groups: Groups::Depthwise, ..Conv2d::same3x3(0) };
    let x = net.conv_bn_relu("depthwise", depthwise, x)?;
    let x = net.conv_bn_relu("expand", Conv2d::pointwise(widths[3]), x)?;
    let x = net.conv_bn_relu("down", Conv2d { stride: 2, ..Conv2d::same3x3(widths[4]) }, x)?;
    let x = net.global_avg_pool(x)?;
    net.classifier("fc", x)
}
