//! ResNets (He et al. 2015) for 32x32 images, and with the stem for large ones: a 3x3 stem, basic blocks, projection shortcuts (the
//! paper's option B) where a block changes size, global average pooling. Names are those of the
//! usual PyTorch code for CIFAR: `conv1`, `layer1.0.conv1`, `layer2.0.shortcut.0`, `linear`.

use super::{Assembly, ModelKind};
use crate::graph::{GraphError, NodeId};
use crate::layers::{Add, Conv2d, Layer, MaxPool2d};

pub(super) const RESNET18: ModelKind = ModelKind {
    name: "resnet18",
    about: "ResNet-18 with a 3x3 stem, 555.4 M MACs on 32x32",
    stage_widths: &[64, 128, 256, 512],
    stages: || stages(&[2, 2, 2, 2]),
    build: |net, x, widths| build(net, x, widths, &[2, 2, 2, 2], Stem::Small),
    rename: |name| rename(name, &[2, 2, 2, 2]),
};

pub(super) const RESNET34: ModelKind = ModelKind {
    name: "resnet34",
    about: "ResNet-34 with a 3x3 stem, 1159.4 M MACs on 32x32",
    stages: || stages(&[3, 4, 6, 3]),
    build: |net, x, widths| build(net, x, widths, &[3, 4, 6, 3], Stem::Small),
    rename: |name| rename(name, &[3, 4, 6, 3]),
    ..RESNET18
};

pub(super) const RESNET18_IMAGENET: ModelKind = ModelKind {
    name: "resnet18-imagenet",
    about: "ResNet-18 with a strided 7x7 stem and a pool, 37.0 M MACs on 32x32",
    build: |net, x, widths| build(net, x, widths, &[2, 2, 2, 2], Stem::Large),
    ..RESNET18
};

pub(super) const RESNET34_IMAGENET: ModelKind = ModelKind {
    name: "resnet34-imagenet",
    about: "ResNet-34 with a strided 7x7 stem and a pool, 74.8 M MACs on 32x32",
    build: |net, x, widths| build(net, x, widths, &[3, 4, 6, 3], Stem::Large),
    ..RESNET34
};

pub(super) const RESNET20: ModelKind = ModelKind {
    name: "resnet20",
    about: "ResNet-20 with projection shortcuts, 40.8 M MACs on 32x32",
    stage_widths: &[16, 32, 64],
    stages: || stages(&[3, 3, 3]),
    build: |net, x, widths| build(net, x, widths, &[3, 3, 3], Stem::Small),
    rename: |name| rename(name, &[3, 3, 3]),
};

pub(super) const RESNET56: ModelKind = ModelKind {
    name: "resnet56",
    about: "ResNet-56 with projection shortcuts, 125.7 M MACs on 32x32",
    stage_widths: &[16, 32, 64],
    stages: || stages(&[9, 9, 9]),
    build: |net, x, widths| build(net, x, widths, &[9, 9, 9], Stem::Small),
    rename: |name| rename(name, &[9, 9, 9]),
};

/// What comes before the blocks.
#[derive(Clone, Copy)]
enum Stem {
    /// A 3x3 convolution.
    Small,
    /// A 7x7 convolution and 3x3 max pooling, both with stride 2.
    Large,
}

/// Every block has a group of its own between its two convolutions; a stage's outputs are one
/// group, which the stem makes first in stage 0 and the first block's second convolution later on.
fn stages(blocks: &[usize]) -> Vec<usize> {
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

fn build(
    net: &mut Assembly,
    image: NodeId,
    widths: &[usize],
    blocks: &[usize],
    stem: Stem,
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
        for block in 0..blocks {
            let inner = width();
            let resizes = stage > 0 && block == 0;
            if resizes {
                outer = width();
            }
            let stride = if resizes { 2 } else { 1 };
            let prefix = format!("layer{}.{block}", stage + 1);
            x = basic_block(net, x, &prefix, [inner, outer], stride, resizes)?;
        }
    }
    x = net.global_avg_pool(x)?;
    net.classifier("linear", x)
}

fn basic_block(
    net: &mut Assembly,
    x: NodeId,
    prefix: &str,
    [inner, outer]: [usize; 2],
    stride: usize,
    projects: bool,
) -> Result<NodeId, GraphError> {
    let name = |part: &str| format!("{prefix}.{part}");
    let y = net.conv(name("conv1"), Conv2d { stride, ..Conv2d::same3x3(inner) }, x)?;
    let y = net.batch_norm(name("bn1"), y)?;
    let y = net.relu(name("relu1"), y)?;
    let y = net.conv(name("conv2"), Conv2d::same3x3(outer), y)?;
    let y = net.batch_norm(name("bn2"), y)?;
    let shortcut = if projects {
        let conv = Conv2d { stride, ..Conv2d::pointwise(outer) };
        let shortcut = net.conv(name("shortcut.0"), conv, x)?;
        net.batch_norm(name("shortcut.1"), shortcut)?
    } else {
        x
    };
    let y = net.add(name("add"), Layer::Add(Add {}), &[y, shortcut])?;
    net.relu(name("relu2"), y)
}

/// From torchvision's words (`downsample`, `fc`), and from those of codes that number all blocks in
/// one list (`stem.0`, `layers.3.conv1`, `layers.4.down.0`).
fn rename(name: &str, blocks: &[usize]) -> String {
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    match first {
        "fc" => return format!("linear.{rest}"),
        "stem" => {
            if let Some(rest) = rest.strip_prefix("0.") {
                return format!("conv1.{rest}");
            }
            if let Some(rest) = rest.strip_prefix("1.") {
                return format!("bn1.{rest}");
            }
        }
        _ => {}
    }
    let mut name = name.to_owned();
    if first == "layers"
        && let Some((number, rest)) = rest.split_once('.')
        && let Ok(mut block) = number.parse::<usize>()
    {
        for (stage, &blocks) in blocks.iter().enumerate() {
            if block < blocks {
                name = format!("layer{}.{block}.{rest}", stage + 1);
                break;
            }
            block -= blocks;
        }
    }
    name.replacen(".downsample.", ".shortcut.", 1).replacen(".down.", ".shortcut.", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_codes_are_understood() {
        for (theirs, ours) in [
            ("module.layer2.0.downsample.0.weight", "layer2.0.shortcut.0.weight"),
            ("layer2.0.shortcut.1.bias", "layer2.0.shortcut.1.bias"),
            ("fc.weight", "linear.weight"),
            ("stem.0.weight", "conv1.weight"),
            ("stem.1.running_mean", "bn1.running_mean"),
            ("layers.0.conv1.weight", "layer1.0.conv1.weight"),
            ("layers.6.down.0.weight", "layer4.0.shortcut.0.weight"),
            ("layers.8.conv1.weight", "layers.8.conv1.weight"),
        ] {
            assert_eq!(RESNET18.canonical(theirs), ours);
        }
    }
}
