//! The convolutions of real networks for 32x32 images, and numbers to convolve.

use pleach_kernels::AlignedBuffer;
use pleach_kernels::conv2d::Conv2dGeometry;

/// Widths of a VGG-16 that was pruned by conditional entropy.
const PRUNED: [usize; 13] = [21, 43, 67, 73, 101, 93, 71, 53, 37, 29, 23, 19, 31];

/// Widths of VGG-16.
const DENSE: [usize; 13] = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512];

/// Map sizes of the 13 convolutions of VGG-16.
const SIZES: [usize; 13] = [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2];

/// Matrix products: rows, columns and terms.
pub(crate) const PRODUCTS: [[usize; 3]; 4] =
    [[1024, 64, 576], [1024, 256, 256], [256, 512, 2304], [512, 512, 512]];

/// VGG-16, what ResNet-18 has beside it, and a pruned VGG-16.
pub(crate) fn all(n: usize) -> Vec<Conv2dGeometry> {
    let dense = vgg16(n, &DENSE).into_iter().chain(resnet18(n));
    distinct(dense.chain(vgg16(n, &PRUNED)))
}

/// Numbers in [-1, 1).
pub(crate) fn numbers(len: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeros(len);
    let values = (0u32..).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32);
    buffer.iter_mut().zip(values).for_each(|(x, value)| *x = value - 1.0);
    buffer
}

/// A square convolution without groups.
fn conv(n: usize, ic: usize, oc: usize, size: usize, k: usize, stride: usize) -> Conv2dGeometry {
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
fn vgg16(n: usize, widths: &[usize; 13]) -> Vec<Conv2dGeometry> {
    let inputs = [3].into_iter().chain(widths.iter().copied());
    let all = inputs.zip(widths).zip(SIZES).map(|((ic, &oc), size)| conv(n, ic, oc, size, 3, 1));
    distinct(all)
}

/// The convolutions of ResNet-18 that VGG-16 lacks: strided ones and projections.
fn resnet18(n: usize) -> Vec<Conv2dGeometry> {
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
