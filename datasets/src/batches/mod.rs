//! Batches of normalised images: shuffled, cropped and flipped from a seed.
//!
//! Batch `k` of epoch `e` is a pure function of the data set and its [`BatchSpec`]: [`fill`] makes
//! it from nothing else, and a [`Loader`] only makes the same batches ahead of time.

mod loader;

pub use loader::Loader;

use crate::rng::{Purpose, Stream};
use crate::{Dataset, Split};

/// The usual [`BatchSpec::padding`] (He et al. 2016, 4.2).
pub const CROP_PADDING: usize = 4;

/// What the pixels around an image are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Border {
    /// Black.
    #[default]
    Black,
    /// The image, mirrored at its outermost pixels, which are not repeated.
    Reflect,
}

/// Which images, in which order, and what is done to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSpec {
    /// The split they come from.
    pub split: Split,
    /// Images of a batch.
    pub batch: usize,
    /// Random order, another one each epoch, instead of the split's own.
    pub shuffle: bool,
    /// Crops of the image in a border of [`BatchSpec::padding`] pixels, random ones each epoch, and
    /// horizontal flips in every other epoch, from the first or from the second, as chance has it (Jordan
    /// 2024, arXiv 2404.00498: two epochs see both views of every image).
    pub augment: bool,
    /// Pixels around an image before it is cropped to its size again.
    pub padding: usize,
    /// What they are.
    pub border: Border,
    /// Pixels of the sides of a square that is set to the mean of the data set, around a pixel of the image
    /// that is drawn anew each epoch: what lies outside is cut off (DeVries and Taylor 2017, arXiv
    /// 1708.04552). 0: none.
    pub cutout: usize,
    /// Views of an image, by which crops, flips and squares are those of the first so many epochs, again and
    /// again. 0: another one each epoch.
    pub views: u64,
    /// Leave out a last batch that is not full.
    pub drop_last: bool,
    /// The seed of order and augmentation.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// Floats from one pixel to the next; those beyond the channels are zero.
    pub channel_stride: usize,
    /// Only these images of the split, in this order before shuffling.
    pub indices: Option<Vec<usize>>,
}

impl BatchSpec {
    /// Every image of a split in order, as it is: for evaluation.
    #[must_use]
    pub const fn in_order(split: Split, batch: usize, channel_stride: usize) -> Self {
        Self {
            split,
            batch,
            shuffle: false,
            augment: false,
            padding: CROP_PADDING,
            border: Border::Black,
            cutout: 0,
            views: 0,
            drop_last: false,
            seed: 0,
            epoch: 0,
            channel_stride,
            indices: None,
        }
    }

    /// One epoch of training: shuffled and augmented, full batches only.
    #[must_use]
    pub const fn training(batch: usize, channel_stride: usize, seed: u64, epoch: u64) -> Self {
        Self {
            split: Split::Train,
            batch,
            shuffle: true,
            augment: true,
            padding: CROP_PADDING,
            border: Border::Black,
            cutout: 0,
            views: 0,
            drop_last: true,
            seed,
            epoch,
            channel_stride,
            indices: None,
        }
    }

    /// The epoch that had the views of this one first.
    #[must_use]
    pub fn view(&self) -> u64 {
        self.epoch.checked_rem(self.views).unwrap_or(self.epoch)
    }

    /// Images of an epoch, before `drop_last`.
    #[must_use]
    pub fn images(&self, dataset: &dyn Dataset) -> usize {
        self.indices.as_ref().map_or_else(|| dataset.len(self.split), Vec::len)
    }

    /// Batches of an epoch.
    ///
    /// # Panics
    /// If `batch` is zero.
    #[must_use]
    pub fn batches(&self, dataset: &dyn Dataset) -> usize {
        assert!(self.batch > 0, "a batch has at least one image");
        let images = self.images(dataset);
        if self.drop_last { images / self.batch } else { images.div_ceil(self.batch) }
    }

    /// Images of batch `index`.
    ///
    /// # Panics
    /// If there is no such batch.
    #[must_use]
    pub fn batch_len(&self, dataset: &dyn Dataset, index: usize) -> usize {
        assert!(index < self.batches(dataset), "batch {index} is beyond the end of the epoch");
        self.batch.min(self.images(dataset) - index * self.batch)
    }
}

/// Some images, ready for a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// How many.
    pub n: usize,
    /// `[n, height, width, channel_stride]`, normalised; lanes beyond the channels are zero.
    pub images: Vec<f32>,
    /// `[n]` classes.
    pub labels: Vec<u32>,
    /// `[n]` places in the split.
    pub samples: Vec<usize>,
}

/// Writes batch `index` of `spec` to `images` (`[n, height, width, channel_stride]`, all of it
/// overwritten) and its classes to `labels` (cleared first), and returns `n`.
///
/// To make many batches of one epoch, an [`Epoch`] does the same without finding the order anew.
///
/// # Panics
/// If there is no such batch, or `images` is not exactly as long as it.
pub fn fill(
    dataset: &dyn Dataset,
    spec: &BatchSpec,
    index: usize,
    images: &mut [f32],
    labels: &mut Vec<u32>,
) -> usize {
    Epoch::new(dataset, spec).fill(index, images, labels)
}

/// One epoch of batches with its order found.
pub struct Epoch<'a> {
    dataset: &'a dyn Dataset,
    spec: &'a BatchSpec,
    order: Vec<usize>,
    /// The normalised value of every byte, a table a channel.
    values: Vec<[f32; 256]>,
}

impl<'a> Epoch<'a> {
    /// The epoch that `spec` names.
    ///
    /// # Panics
    /// If `spec` has an empty batch or a stride below the channels.
    #[must_use]
    pub fn new(dataset: &'a dyn Dataset, spec: &'a BatchSpec) -> Self {
        let shape = dataset.spec();
        assert!(spec.batch > 0, "a batch has at least one image");
        assert!(spec.channel_stride >= shape.channels, "a pixel's channels fit in its stride");
        let mut order =
            spec.indices.clone().unwrap_or_else(|| (0..dataset.len(spec.split)).collect());
        if spec.shuffle {
            Stream::new(spec.seed, Purpose::Shuffle, spec.epoch, spec.split as u64)
                .shuffle(&mut order);
        }
        let values = shape.mean.iter().zip(&shape.std).take(shape.channels);
        let values = values
            .map(|(mean, std)| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std))
            .collect();
        Self { dataset, spec, order, values }
    }

    /// As [`fill`].
    ///
    /// # Panics
    /// As [`fill`].
    pub fn fill(&self, index: usize, images: &mut [f32], labels: &mut Vec<u32>) -> usize {
        let n = self.spec.batch_len(self.dataset, index);
        let shape = self.dataset.spec();
        let image_len = shape.height * shape.width * self.spec.channel_stride;
        assert_eq!(images.len(), n * image_len, "the buffer is as long as the batch");
        labels.clear();
        for (&sample, image) in
            self.samples(index, n).iter().zip(images.chunks_exact_mut(image_len))
        {
            labels.push(self.dataset.label(self.spec.split, sample));
            let view = if self.spec.augment { self.view(sample) } else { View::default() };
            self.write(self.dataset.pixels(self.spec.split, sample), view, image);
            if self.spec.cutout > 0 {
                self.cut_out(sample, image);
            }
        }
        n
    }

    /// The `n` samples of batch `index`.
    fn samples(&self, index: usize, n: usize) -> &[usize] {
        &self.order[index * self.spec.batch..][..n]
    }

    /// Sets a square of `image` to the mean, wherever in the order its `sample` comes.
    fn cut_out(&self, sample: usize, image: &mut [f32]) {
        let (shape, spec) = (self.dataset.spec(), self.spec);
        let mut stream = Stream::new(spec.seed, Purpose::Cutout, spec.view(), sample as u64);
        let mut range = |size: usize| {
            let start = stream.below(size as u32) as isize - (spec.cutout / 2) as isize;
            let inside = |at: isize| at.clamp(0, size as isize) as usize;
            inside(start)..inside(start + spec.cutout as isize)
        };
        let (rows, columns) = (range(shape.height), range(shape.width));
        for y in rows {
            let pixel = |x: usize| (y * shape.width + x) * spec.channel_stride;
            // Normalised, the mean is zero.
            image[pixel(columns.start)..pixel(columns.end)].fill(0.0);
        }
    }

    /// Batch `index` in the buffers of `batch`.
    ///
    /// # Panics
    /// If there is no such batch.
    pub fn fill_batch(&self, index: usize, batch: &mut Batch) {
        let shape = self.dataset.spec();
        let n = self.spec.batch_len(self.dataset, index);
        batch.n = n;
        batch.samples.clear();
        batch.samples.extend_from_slice(self.samples(index, n));
        batch.images.resize(n * shape.height * shape.width * self.spec.channel_stride, 0.0);
        self.fill(index, &mut batch.images, &mut batch.labels);
    }

    /// The view of `sample` in this epoch, wherever in the order it comes.
    fn view(&self, sample: usize) -> View {
        let epoch = self.spec.view();
        let mut stream = Stream::new(self.spec.seed, Purpose::Augment, epoch, sample as u64);
        let padding = self.spec.padding;
        let mut shift = || stream.below(2 * padding as u32 + 1) as isize - padding as isize;
        let (down, right) = (shift(), shift());
        let at_first = Stream::new(self.spec.seed, Purpose::Flip, 0, sample as u64).flip();
        View { down, right, mirrored: at_first ^ (epoch % 2 == 1) }
    }

    /// Writes one image, `[channels, height, width]` bytes, as floats
    /// `[height, width, channel_stride]`.
    fn write(&self, pixels: &[u8], view: View, image: &mut [f32]) {
        let shape = self.dataset.spec();
        let (height, width) = (shape.height, shape.width);
        let stride = self.spec.channel_stride;
        image.fill(0.0);
        let border = self.spec.border;
        for (y, row) in image.chunks_exact_mut(width * stride).enumerate() {
            let from_y = border.source(y, view.down, height);
            for (plane, (source, values)) in
                pixels.chunks_exact(height * width).zip(&self.values).enumerate()
            {
                let source = from_y.map(|y| &source[y * width..][..width]);
                for (x, pixel) in row.chunks_exact_mut(stride).enumerate() {
                    let x = if view.mirrored { width - 1 - x } else { x };
                    let from = border.source(x, view.right, width);
                    let byte = source.and_then(|row| row.get(from?)).copied().unwrap_or(0);
                    pixel[plane] = values[usize::from(byte)];
                }
            }
        }
    }
}

impl Border {
    /// The pixel, of `size`, that is seen at `at` of an image moved by `shift`, if any is.
    fn source(self, at: usize, shift: isize, size: usize) -> Option<usize> {
        let last = size as isize - 1;
        let from = at as isize + shift;
        let from = match self {
            Self::Black => from,
            // Of an image smaller than its border, the outermost pixel at most.
            Self::Reflect if from < 0 => (-from).min(last),
            Self::Reflect if from > last => (2 * last - from).max(0),
            Self::Reflect => from,
        };
        usize::try_from(from).ok().filter(|&from| from < size)
    }
}

/// What is seen of an image: moved within its border, then maybe mirrored.
#[derive(Clone, Copy, Default)]
struct View {
    down: isize,
    right: isize,
    mirrored: bool,
}
