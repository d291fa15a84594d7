//! ResNets (He et al. 2015) for 32x32 images, with a 3x3 stem, and for large ones, with torchvision's: basic
//! blocks or bottlenecks, projection shortcuts (the paper's option B) where a block changes size or width,
//! global average pooling. Names are those of the usual PyTorch code for CIFAR: `conv1`, `layer1.0.conv1`,
//! `layer2.0.shortcut.0`, `linear`.

mod blocks;

use super::{Assembly, ModelKind};
use blocks::{Stem, basic_block, bottleneck, bottleneck_stages, build, stages};

/// Blocks of each stage.
const BLOCKS_18: &[usize] = &[2, 2, 2, 2];
const BLOCKS_34: &[usize] = &[3, 4, 6, 3];
const BLOCKS_101: &[usize] = &[3, 4, 23, 3];
const BLOCKS_152: &[usize] = &[3, 8, 36, 3];

pub(super) const RESNET18: ModelKind = ModelKind {
    name: "resnet18",
    about: "ResNet-18 with a 3x3 stem, 555.4 M MACs on 32x32",
    stage_widths: &[64, 128, 256, 512],
    stages: || stages(BLOCKS_18),
    build: |net, x, widths| build(net, x, widths, BLOCKS_18, Stem::Small, basic_block),
    rename: |name| rename(name, BLOCKS_18),
};

pub(super) const RESNET34: ModelKind = ModelKind {
    name: "resnet34",
    about: "ResNet-34 with a 3x3 stem, 1159.4 M MACs on 32x32",
    stages: || stages(BLOCKS_34),
    build: |net, x, widths| build(net, x, widths, BLOCKS_34, Stem::Small, basic_block),
    rename: |name| rename(name, BLOCKS_34),
    ..RESNET18
};

pub(super) const RESNET50: ModelKind = ModelKind {
    name: "resnet50",
    about: "ResNet-50 with a 3x3 stem, 1297.8 M MACs on 32x32",
    // Two a stage: inside its blocks, and between them. The stem has the first.
    stage_widths: &[64, 256, 128, 512, 256, 1024, 512, 2048],
    stages: || bottleneck_stages(BLOCKS_34),
    build: |net, x, widths| build(net, x, widths, BLOCKS_34, Stem::Small, bottleneck),
    rename: |name| rename(name, BLOCKS_34),
};

pub(super) const RESNET101: ModelKind = ModelKind {
    name: "resnet101",
    about: "ResNet-101 with a 3x3 stem, 2510.0 M MACs on 32x32",
    stages: || bottleneck_stages(BLOCKS_101),
    build: |net, x, widths| build(net, x, widths, BLOCKS_101, Stem::Small, bottleneck),
    rename: |name| rename(name, BLOCKS_101),
    ..RESNET50
};

pub(super) const RESNET152: ModelKind = ModelKind {
    name: "resnet152",
    about: "ResNet-152 with a 3x3 stem, 3722.1 M MACs on 32x32",
    stages: || bottleneck_stages(BLOCKS_152),
    build: |net, x, widths| build(net, x, widths, BLOCKS_152, Stem::Small, bottleneck),
    rename: |name| rename(name, BLOCKS_152),
    ..RESNET50
};

pub(super) const RESNET18_IMAGENET: ModelKind = ModelKind {
    name: "resnet18-imagenet",
    about: "ResNet-18 with a strided 7x7 stem and a pool, 37.0 M MACs on 32x32",
    build: |net, x, widths| build(net, x, widths, BLOCKS_18, Stem::Large, basic_block),
    ..RESNET18
};

pub(super) const RESNET34_IMAGENET: ModelKind = ModelKind {
    name: "resnet34-imagenet",
    about: "ResNet-34 with a strided 7x7 stem and a pool, 74.8 M MACs on 32x32",
    build: |net, x, widths| build(net, x, widths, BLOCKS_34, Stem::Large, basic_block),
    ..RESNET34
};

pub(super) const RESNET50_IMAGENET: ModelKind = ModelKind {
    name: "resnet50-imagenet",
    about: "ResNet-50 with a strided 7x7 stem and a pool, 83.4 M MACs on 32x32",
    build: |net, x, widths| build(net, x, widths, BLOCKS_34, Stem::Large, bottleneck),
    ..RESNET50
};

pub(super) const RESNET101_IMAGENET: ModelKind = ModelKind {
    name: "resnet101-imagenet",
    about: "ResNet-101 with a strided 7x7 stem and a pool, 159.2 M MACs on 32x32",
    build: |net, x, widths| build(net, x, widths, BLOCKS_101, Stem::Large, bottleneck),
    ..RESNET101
};

pub(super) const RESNET152_IMAGENET: ModelKind = ModelKind {
    name: "resnet152-imagenet",
    about: "ResNet-152 with a strided 7x7 stem and a pool, 235.0 M MACs on 32x32",
    build: |net, x, widths| build(net, x, widths, BLOCKS_152, Stem::Large, bottleneck),
    ..RESNET152
};

pub(super) const RESNET20: ModelKind = ModelKind {
    name: "resnet20",
    about: "ResNet-20 with projection shortcuts, 40.8 M MACs on 32x32",
    stage_widths: &[16, 32, 64],
    stages: || stages(&[3, 3, 3]),
    build: |net, x, widths| build(net, x, widths, &[3, 3, 3], Stem::Small, basic_block),
    rename: |name| rename(name, &[3, 3, 3]),
};

pub(super) const RESNET56: ModelKind = ModelKind {
    name: "resnet56",
    about: "ResNet-56 with projection shortcuts, 125.7 M MACs on 32x32",
    stage_widths: &[16, 32, 64],
    stages: || stages(&[9, 9, 9]),
    build: |net, x, widths| build(net, x, widths, &[9, 9, 9], Stem::Small, basic_block),
    rename: |name| rename(name, &[9, 9, 9]),
};

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
