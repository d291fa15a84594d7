//! Tensors of activations, their shapes, and the random numbers that fill parameters.

pub mod init;
pub mod rng;
mod shape;

pub use init::Init;
pub use shape::{Shape, ShapeError};

use pleach_kernels::{AlignedBuffer, channel_stride};

/// A batch of maps, `[N, C, H, W]` to the reader and channels-last in memory: value `(n, c, y, x)`
/// lies at `((n * H + y) * W + x) * stride + c`, with the channel stride rounded up to
/// [`pleach_kernels::CHANNEL_ALIGN`]. Pad lanes are zero.
#[derive(Clone, Debug)]
pub struct Tensor {
    n: usize,
    shape: Shape,
    data: AlignedBuffer,
}

impl Tensor {
    /// `n` maps of zeros.
    #[must_use]
    pub fn zeros(n: usize, shape: Shape) -> Self {
        Self { n, shape, data: AlignedBuffer::zeros(n * shape.padded_len()) }
    }

    /// From dense values in `[N, C, H, W]` order.
    ///
    /// # Panics
    /// If `values` is not `n * shape.len()` long.
    #[must_use]
    pub fn from_nchw(n: usize, shape: Shape, values: &[f32]) -> Self {
        assert_eq!(values.len(), n * shape.len(), "values of {n} maps of {shape}");
        let mut tensor = Self::zeros(n, shape);
        let stride = channel_stride(shape.channels);
        let area = shape.height * shape.width;
        for (i, map) in values.chunks_exact(area.max(1)).enumerate() {
            let (image, channel) = (i / shape.channels, i % shape.channels);
            for (pixel, &value) in map.iter().enumerate() {
                tensor.data[(image * area + pixel) * stride + channel] = value;
            }
        }
        tensor
    }

    /// The values in dense `[N, C, H, W]` order.
    #[must_use]
    pub fn to_nchw(&self) -> Vec<f32> {
        let stride = channel_stride(self.shape.channels);
        let area = self.shape.height * self.shape.width;
        let mut values = Vec::with_capacity(self.n * self.shape.len());
        for image in 0..self.n {
            for channel in 0..self.shape.channels {
                values.extend(
                    (0..area).map(|pixel| self.data[(image * area + pixel) * stride + channel]),
                );
            }
        }
        values
    }

    /// The number of images.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// The shape of one image's maps.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Memory as the kernels see it, `[N, H, W, channel stride]`.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Memory as the kernels see it; pad lanes must stay zero.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The channels of one pixel, without pad lanes.
    #[must_use]
    pub fn pixel(&self, n: usize, y: usize, x: usize) -> &[f32] {
        let stride = channel_stride(self.shape.channels);
        let start = ((n * self.shape.height + y) * self.shape.width + x) * stride;
        &self.data[start..start + self.shape.channels]
    }

    /// Makes this a batch of `n` maps of `shape`, reusing the memory where it suffices. The contents
    /// are unspecified afterwards, pad lanes included.
    pub fn reshape(&mut self, n: usize, shape: Shape) {
        self.data.resize(n * shape.padded_len());
        (self.n, self.shape) = (n, shape);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_values_survive_the_round_trip_and_pad_lanes_are_zero() {
        let shape = Shape::new(3, 2, 5);
        let values: Vec<f32> = (1..=60u8).map(f32::from).collect();
        let tensor = Tensor::from_nchw(2, shape, &values);
        assert_eq!(tensor.to_nchw(), values);
        assert_eq!(tensor.pixel(1, 1, 4), [40.0, 50.0, 60.0]);
        assert_eq!(tensor.data().iter().filter(|&&v| v == 0.0).count(), 2 * 10 * 13);
    }
}
