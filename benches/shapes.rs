//! The convolutions of real networks for 32x32 images.

use pleach_kernels::conv2d::Conv2dGeometry;

/// Widths of a VGG-16 that was pruned by conditional entropy.
pub(crate) const PRUNED: [usize; 13] = [21, 43, 67, 73, 101, 93, 71, 53, 37, 29, 23, 19, 31];

/// Widths of VGG-16.
pub(crate) const DENSE: [usize; 13] =
    [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512];

/// Map sizes of the 13 convolutions of VGG-16.
const SIZES: [usize; 13] = [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2];

/// A square convolution without groups.
pub(crate) fn conv(
    n: usize,
    ic: usize,
    oc: usize,
    size: usize,
    k: usize,
    stride: usize,
) -> Conv2dGeometry {
    let padding = k / 2;
    Conv2dGeometry { n, ic, ih: size, iw: size, oc, kh: k, kw: k, stride, padding, groups: 1 }
}

/// `64->128@16`, with the kernel and stride where they are not 3x3 and 1.
pub(crate) fn name(g: &Conv2dGeometry) -> String {
    let mut name = format!("{}->{}@{}", g.ic, g.oc, g.ih);
    if g.kh != 3 {
        name += &format!(",{0}x{0}", g.kh);
    }
    if g.stride != 1 {
        name += &format!(",stride{}", g.stride);
    }
    name
}

/// The convolutions of VGG-16 at `widths`, each once.
pub(crate) fn vgg16(n: usize, widths: &[usize; 13]) -> Vec<Conv2dGeometry> {
    let inputs = [3].into_iter().chain(widths.iter().copied());
    let all = inputs.zip(widths).zip(SIZES).map(|((ic, &oc), size)| conv(n, ic, oc, size, 3, 1));
    distinct(all)
}

/// The convolutions of ResNet-18 that VGG-16 lacks: strided ones and projections.
pub(crate) fn resnet18(n: usize) -> Vec<Conv2dGeometry> {
    let stages = [(64, 128, 32), (128, 256, 16), (256, 512, 8)];
    let strided = stages.into_iter().flat_map(|(ic, oc, size)| {
        [conv(n, ic, oc, size, 3, 2), conv(n, ic, oc, size, 1, 2), conv(n, oc, oc, size / 2, 3, 1)]
    });
    distinct(strided)
}

fn distinct(all: impl Iterator<Item = Conv2dGeometry>) -> Vec<Conv2dGeometry> {
    let mut distinct = Vec::new();
    for g in all {
        if !distinct.contains(&g) {
            distinct.push(g);
        }
    }
    distinct
}
