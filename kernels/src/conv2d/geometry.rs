//! What a convolution convolves.

use crate::channel_stride;

/// The sizes of a convolution. Stride and padding are the same on both axes and all sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dGeometry {
    /// Images; of none there is nothing to compute.
    pub n: usize,
    /// Input channels.
    pub ic: usize,
    /// Input height.
    pub ih: usize,
    /// Input width.
    pub iw: usize,
    /// Output channels.
    pub oc: usize,
    /// Kernel height.
    pub kh: usize,
    /// Kernel width.
    pub kw: usize,
    /// Distance between neighbouring outputs, in input pixels.
    pub stride: usize,
    /// Rows and columns of zeros around the input.
    pub padding: usize,
    /// 1, or `ic == oc == groups` (depthwise).
    pub groups: usize,
}

impl Conv2dGeometry {
    /// Output height.
    #[must_use]
    pub fn oh(&self) -> usize {
        (self.ih + 2 * self.padding - self.kh) / self.stride + 1
    }

    /// Output width.
    #[must_use]
    pub fn ow(&self) -> usize {
        (self.iw + 2 * self.padding - self.kw) / self.stride + 1
    }

    /// Floats between neighbouring input pixels.
    #[must_use]
    pub fn src_stride(&self) -> usize {
        channel_stride(self.ic)
    }

    /// Floats between neighbouring output pixels.
    #[must_use]
    pub fn dst_stride(&self) -> usize {
        channel_stride(self.oc)
    }

    /// Input pixels of the whole batch.
    #[must_use]
    pub fn src_pixels(&self) -> usize {
        self.n * self.ih * self.iw
    }

    /// Output pixels of the whole batch.
    #[must_use]
    pub fn dst_pixels(&self) -> usize {
        self.n * self.oh() * self.ow()
    }

    /// Floats of the input, pad lanes included.
    #[must_use]
    pub fn src_len(&self) -> usize {
        self.src_pixels() * self.src_stride()
    }

    /// Floats of the output, pad lanes included.
    #[must_use]
    pub fn dst_len(&self) -> usize {
        self.dst_pixels() * self.dst_stride()
    }

    /// Floats of the weights.
    #[must_use]
    pub fn weights_len(&self) -> usize {
        self.oc * (self.ic / self.groups) * self.taps()
    }

    /// Positions of the kernel.
    #[must_use]
    pub fn taps(&self) -> usize {
        self.kh * self.kw
    }

    /// Multiply-accumulates of the whole batch, those with padding included.
    #[must_use]
    pub fn macs(&self) -> u64 {
        (self.dst_pixels() * self.weights_len()) as u64
    }

    /// The same convolution of `n` images.
    #[must_use]
    pub fn with_batch(self, n: usize) -> Self {
        Self { n, ..self }
    }

    /// # Panics
    /// If no convolution has these sizes.
    pub(crate) fn check(&self) {
        let depthwise = self.groups == self.ic && self.groups == self.oc;
        assert!(self.groups == 1 || depthwise, "neither dense nor depthwise: {self:?}");
        assert!(self.ic > 0 && self.oc > 0 && self.stride > 0, "a size is zero: {self:?}");
        let padding = self.padding.checked_mul(2);
        let padded = |size: usize| padding.and_then(|padding| size.checked_add(padding));
        let fits = |k: usize, size| padded(size).is_some_and(|size| (1..=size).contains(&k));
        let fits = fits(self.kh, self.ih) && fits(self.kw, self.iw);
        assert!(fits, "the kernel does not fit: {self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_textbook() {
        let g = Conv2dGeometry {
            n: 2,
            ic: 3,
            ih: 32,
            iw: 31,
            oc: 37,
            kh: 3,
            kw: 3,
            stride: 2,
            padding: 1,
            groups: 1,
        };
        assert_eq!((g.oh(), g.ow()), (16, 16));
        assert_eq!((g.src_len(), g.dst_len()), (2 * 32 * 31 * 16, 2 * 256 * 48));
        assert_eq!(g.macs(), 2 * 256 * 37 * 27);
    }
}
