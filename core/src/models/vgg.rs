//! VGG (Simonyan and Zisserman 2015) for 32x32 images: 3x3 convolutions, five 2x2 max pools, one
//! linear layer. Names are those of the usual PyTorch code: `features.N`, pools and ReLUs counted.

use super::{Assembly, ModelKind};
use crate::graph::{GraphError, NodeId};
use crate::layers::Conv2d;

pub(super) const VGG11: ModelKind = ModelKind {
    name: "vgg11",
    about: "VGG-11 with batch norm: 8 convolutions, 152.8 M MACs on 32x32",
    stage_widths: &[64, 128, 256, 256, 512, 512, 512, 512],
    stages: || (0..8).collect(),
    build: |net, x, widths| build(net, x, widths, &[1, 2, 4, 6, 8], true),
    rename,
};

pub(super) const VGG16: ModelKind = ModelKind {
    name: "vgg16",
    about: "VGG-16 with batch norm: 13 convolutions, 313.2 M MACs on 32x32",
    stage_widths: &[64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512],
    stages: || (0..13).collect(),
    build: |net, x, widths| build(net, x, widths, &[2, 4, 7, 10, 13], true),
    rename,
};

pub(super) const VGG16_NOBN: ModelKind = ModelKind {
    name: "vgg16-nobn",
    about: "VGG-16 without batch norm, convolutions with bias: 313.2 M MACs on 32x32",
    build: |net, x, widths| build(net, x, widths, &[2, 4, 7, 10, 13], false),
    ..VGG16
};

pub(super) const VGG19: ModelKind = ModelKind {
    name: "vgg19",
    about: "VGG-19 with batch norm: 16 convolutions, 398.1 M MACs on 32x32",
    stage_widths: &[64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512, 512, 512, 512],
    stages: || (0..16).collect(),
    build: |net, x, widths| build(net, x, widths, &[2, 4, 8, 12, 16], true),
    rename,
};

pub(super) const VGG_SMALL: ModelKind = ModelKind {
    name: "vgg-small",
    about: "a VGG of 6 convolutions and 4 pools with batch norm, 7.2 M MACs on 32x32",
    stage_widths: &[16, 32, 32, 48, 64, 64],
    stages: || (0..6).collect(),
    build: |net, x, widths| build(net, x, widths, &[1, 3, 5, 6], true),
    rename,
};

/// One convolution a width, a pool after each of `pools` convolutions counted from the image.
fn build(
    net: &mut Assembly,
    image: NodeId,
    widths: &[usize],
    pools: &[usize],
    batch_norm: bool,
) -> Result<NodeId, GraphError> {
    let mut x = image;
    let mut index = 0;
    let mut name = || {
        index += 1;
        format!("features.{}", index - 1)
    };
    for (i, &width) in widths.iter().enumerate() {
        x = net.conv(name(), Conv2d { bias: !batch_norm, ..Conv2d::same3x3(width) }, x)?;
        if batch_norm {
            x = net.batch_norm(name(), x)?;
        }
        x = net.relu(name(), x)?;
        if pools.contains(&(i + 1)) {
            x = net.max_pool2x2(name(), x)?;
        }
    }
    x = net.flatten(x)?;
    net.classifier("classifier", x)
}

/// From other names of the classifier, among them that of the first layer of a sequence.
fn rename(name: &str) -> String {
    match name.split_once('.') {
        Some(("fc" | "linear" | "classifier", rest)) => {
            format!("classifier.{}", rest.strip_prefix("0.").unwrap_or(rest))
        }
        _ => name.into(),
    }
}
