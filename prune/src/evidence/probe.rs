//! What is measured of one node's maps, image by image.

use pleach_core::{Shape, Tensor};
use pleach_kernels::{Context, channel_stride};

/// What is measured of one node's maps for each image.
#[derive(Default)]
pub(super) struct Probe {
    /// `[images, channels]`.
    pub(super) means: Vec<f32>,
    /// Positive values of each channel over all images.
    positive: Vec<u64>,
}

#[derive(Clone)]
struct ImageSums {
    sums: Vec<f64>,
    positive: Vec<u32>,
}

impl Probe {
    pub(super) fn add(&mut self, cx: &Context, maps: &Tensor) {
        let Shape { channels, .. } = maps.shape();
        let (stride, area) = (channel_stride(channels), maps.shape().area());
        let empty = ImageSums { sums: vec![0.0; channels], positive: vec![0; channels] };
        let mut images = vec![empty; maps.n()];
        cx.threads().for_each_chunk(&mut images, 1, |n, image| {
            let ImageSums { sums, positive } = &mut image[0];
            for pixel in maps.data()[n * area * stride..(n + 1) * area * stride].chunks(stride) {
                for ((sum, positive), &value) in sums.iter_mut().zip(&mut *positive).zip(pixel) {
                    *sum += f64::from(value);
                    *positive += u32::from(value > 0.0);
                }
            }
        });
        self.positive.resize(channels, 0);
        for image in images {
            self.means.extend(image.sums.iter().map(|sum| (sum / area as f64) as f32));
            for (total, n) in self.positive.iter_mut().zip(image.positive) {
                *total += u64::from(n);
            }
        }
    }

    pub(super) fn zero_share(&self, values: f64) -> Vec<f64> {
        self.positive.iter().map(|&n| 1.0 - n as f64 / values).collect()
    }
}
