//! A small depthwise-separable network after MobileNet (Howard et al. 2017).

use super::{Assembly, ModelKind};
use crate::graph::{GraphError, NodeId};
use crate::layers::{Conv2d, Groups};

pub(super) const MOBILE_SMALL: ModelKind = ModelKind {
    name: "mobile-small",
    about: "a small MobileNet: a 3x3 stem and six depthwise-separable blocks, 3.5 M MACs on 32x32",
    stage_widths: &[16, 32, 48, 48, 96, 96, 128],
    stages: || (0..7).collect(),
    build,
    rename: |name| match name.split_once('.') {
        Some(("linear" | "classifier", rest)) => format!("fc.{rest}"),
        _ => name.into(),
    },
};

/// Strides of the blocks.
const STRIDES: [usize; 6] = [1, 2, 1, 2, 1, 2];

fn build(net: &mut Assembly, image: NodeId, widths: &[usize]) -> Result<NodeId, GraphError> {
    let mut x = net.conv_bn_relu("stem", Conv2d::same3x3(widths[0]), image)?;
    for (i, (&width, stride)) in widths[1..].iter().zip(STRIDES).enumerate() {
        let depthwise = Conv2d { stride, groups: Groups::Depthwise, ..Conv2d::same3x3(0) };
        x = net.conv_bn_relu(&format!("blocks.{i}.depthwise"), depthwise, x)?;
        x = net.conv_bn_relu(&format!("blocks.{i}.pointwise"), Conv2d::pointwise(width), x)?;
    }
    x = net.global_avg_pool(x)?;
    net.classifier("fc", x)
}
