//! What ResNets are made of.

use super::Assembly;
use crate::graph::{GraphError, NodeId};
use crate::layers::{Add, Conv2d, Layer, MaxPool2d};

/// What comes before the blocks.
#[derive(Clone, Copy)]
pub(super) enum Stem {
    /// A 3x3 convolution.
    Small,
    /// A 7x7 convolution and 3x3 max pooling, both with stride 2.
    Large,
}

/// Where a block is.
pub(super) struct Place {
    stage: usize,
    /// Its number in the stage.
    block: usize,
    /// Of its output over its input.
    stride: usize,
}

/// Adds a block, at the next of the widths, to the output of the block before it, and says what its output is.
pub(super) type Block = fn(
    &mut Assembly,
    NodeId,
    &Place,
    outer: &mut usize,
    widths: &mut dyn FnMut() -> usize,
) -> Result<NodeId, GraphError>;

/// Every basic block has a group of its own between its two convolutions; a stage's outputs are one
/// group, which the stem makes first in stage 0 and the first block's second convolution later on.
pub(super) fn stages(blocks: &[usize]) -> Vec<usize> {
    let mut groups = vec![0];
    for (stage, &blocks) in blocks.iter().enumerate() {
        groups.push(stage);
        if stage > 0 {
            groups.push(stage);
        }
        groups.extend(vec![stage; blocks - 1]);
    }
    groups
}

/// Every bottleneck has two groups of its own between its three convolutions; a stage's outputs are one
/// group, which the first block's third convolution makes first; the stem has a group to itself.
pub(super) fn bottleneck_stages(blocks: &[usize]) -> Vec<usize> {
    let mut groups = vec![0];
    for (stage, &blocks) in blocks.iter().enumerate() {
        groups.extend([2 * stage, 2 * stage, 2 * stage + 1]);
        groups.extend(vec![2 * stage; 2 * (blocks - 1)]);
    }
    groups
}

pub(super) fn build(
    net: &mut Assembly,
    image: NodeId,
    widths: &[usize],
    blocks: &[usize],
    stem: Stem,
    block: Block,
) -> Result<NodeId, GraphError> {
    let mut widths = widths.iter().copied();
    let mut width = || widths.next().expect("one width a channel group");
    let mut outer = width();
    let conv = match stem {
        Stem::Small => Conv2d::same3x3(outer),
        Stem::Large => Conv2d { kernel: [7, 7], stride: 2, padding: 3, ..Conv2d::same3x3(outer) },
    };
    let x = net.conv("conv1", conv, image)?;
    let x = net.batch_norm("bn1", x)?;
    let mut x = net.relu("relu", x)?;
    if let Stem::Large = stem {
        let pool = MaxPool2d { kernel: 3, stride: 2, padding: 1 };
        x = net.add("maxpool", Layer::MaxPool2d(pool), &[x])?;
    }
    for (stage, &blocks) in blocks.iter().enumerate() {
        for i in 0..blocks {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = block(net, x, &Place { stage, block: i, stride }, &mut outer, &mut width)?;
        }
    }
    x = net.global_avg_pool(x)?;
    net.classifier("linear", x)
}

pub(super) fn basic_block(
    net: &mut Assembly,
    x: NodeId,
    place: &Place,
    outer: &mut usize,
    widths: &mut dyn FnMut() -> usize,
) -> Result<NodeId, GraphError> {
    let inner = widths();
    let projects = place.stage > 0 && place.block == 0;
    if projects {
        *outer = widths();
    }
    let conv = Conv2d { stride: place.stride, ..Conv2d::same3x3(inner) };
    let y = conv_bn(net, place, 1, conv, x)?;
    let y = net.relu(place.name("relu1"), y)?;
    let y = conv_bn(net, place, 2, Conv2d::same3x3(*outer), y)?;
    join(net, x, y, place, projects.then_some(*outer), "relu2")
}

/// With the stride in the 3x3 convolution, as torchvision has it.
pub(super) fn bottleneck(
    net: &mut Assembly,
    x: NodeId,
    place: &Place,
    outer: &mut usize,
    widths: &mut dyn FnMut() -> usize,
) -> Result<NodeId, GraphError> {
    let (first, second) = (widths(), widths());
    let projects = place.block == 0;
    if projects {
        *outer = widths();
    }
    let y = conv_bn(net, place, 1, Conv2d::pointwise(first), x)?;
    let y = net.relu(place.name("relu1"), y)?;
    let conv = Conv2d { stride: place.stride, ..Conv2d::same3x3(second) };
    let y = conv_bn(net, place, 2, conv, y)?;
    let y = net.relu(place.name("relu2"), y)?;
    let y = conv_bn(net, place, 3, Conv2d::pointwise(*outer), y)?;
    join(net, x, y, place, projects.then_some(*outer), "relu3")
}

/// `conv1`, `bn1` and so on.
fn conv_bn(
    net: &mut Assembly,
    place: &Place,
    number: usize,
    conv: Conv2d,
    x: NodeId,
) -> Result<NodeId, GraphError> {
    let x = net.conv(place.name(&format!("conv{number}")), conv, x)?;
    net.batch_norm(place.name(&format!("bn{number}")), x)
}

/// The sum of a block's convolutions `y` and of its input `x`, projected to `projection` channels if given.
fn join(
    net: &mut Assembly,
    x: NodeId,
    y: NodeId,
    place: &Place,
    projection: Option<usize>,
    relu: &str,
) -> Result<NodeId, GraphError> {
    let shortcut = match projection {
        Some(channels) => {
            let conv = Conv2d { stride: place.stride, ..Conv2d::pointwise(channels) };
            let shortcut = net.conv(place.name("shortcut.0"), conv, x)?;
            net.batch_norm(place.name("shortcut.1"), shortcut)?
        }
        None => x,
    };
    let y = net.add(place.name("add"), Layer::Add(Add {}), &[y, shortcut])?;
    net.relu(place.name(relu), y)
}

impl Place {
    fn name(&self, part: &str) -> String {
        format!("layer{}.{}.{part}", self.stage + 1, self.block)
    }
}
