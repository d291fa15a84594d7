//! Batches of normalised images: shuffled, cropped and flipped from a seed.
//!
//! Batch `k` of epoch `e` is a pure function of the data set and its [`BatchSpec`]: [`fill`] makes
//! it from nothing else, and a [`Loader`] only makes the same batches ahead of time.

mod augment;
mod loader;
mod shrink;
mod spec;

pub use augment::Border;
pub use loader::Loader;
pub use shrink::Shrink;
pub use spec::{BatchSpec, CROP_PADDING};

use crate::Dataset;
use crate::rng::{Purpose, Stream};
use augment::{Area, Paste, View};

/// Some images, ready for a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// How many.
    pub n: usize,
    /// `[n, height, width, channel_stride]`, normalised; lanes beyond the channels are zero.
    pub images: Vec<f32>,
    /// `[n]` classes.
    pub labels: Vec<u32>,
    /// `[n]` classes of what is pasted into each image and its share of the pixels, 0 where nothing is; empty
    /// without [`BatchSpec::cutmix`].
    pub pasted: Vec<(u32, f32)>,
    /// `[n]` places in the split.
    pub samples: Vec<usize>,
}

/// Writes batch `index` of `spec` to `images` (`[n, height, width, channel_stride]`, all of it
/// overwritten) and its classes to `labels` (cleared first), those of what is pasted left out, and
/// returns `n`.
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
    /// If `spec` has an empty batch or a stride below the channels, or the data set has not one mean and deviation a
    /// channel.
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
        let normalised = [shape.mean.len(), shape.std.len()];
        assert_eq!(normalised, [shape.channels; 2], "a mean and a deviation a channel");
        let values = shape.mean.iter().zip(&shape.std);
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
            image.fill(0.0);
            self.write(sample, &Area::whole(shape.height, shape.width), image);
            if let Some(Paste { other, area }) = self.paste(sample) {
                self.write(other, &area, image);
            }
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

    /// What is pasted into `sample`, whose other image is one of the epoch.
    fn paste(&self, sample: usize) -> Option<Paste> {
        if self.spec.cutmix == 0.0 {
            return None;
        }
        let images = self.spec.images(self.dataset);
        let paste = Paste::draw(self.spec, sample, images, self.size())?;
        let indices = self.spec.indices.as_ref();
        let other = indices.map_or(paste.other, |indices| indices[paste.other]);
        Some(Paste { other, ..paste })
    }

    /// Sets a square of `image` to the mean.
    fn cut_out(&self, sample: usize, image: &mut [f32]) {
        let Area { rows, columns } = Area::cutout(self.spec, sample, self.size());
        let width = self.dataset.spec().width;
        for y in rows {
            let pixel = |x: usize| (y * width + x) * self.spec.channel_stride;
            // Normalised, the mean is zero.
            image[pixel(columns.start)..pixel(columns.end)].fill(0.0);
        }
    }

    /// Rows and columns of an image.
    fn size(&self) -> (usize, usize) {
        let shape = self.dataset.spec();
        (shape.height, shape.width)
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
        batch.pasted.clear();
        if self.spec.cutmix > 0.0 {
            let pixels = (shape.height * shape.width) as f32;
            batch.pasted.extend(batch.samples.iter().map(|&sample| match self.paste(sample) {
                Some(Paste { other, area }) => {
                    let label = self.dataset.label(self.spec.split, other);
                    (label, area.pixels() as f32 / pixels)
                }
                None => (0, 0.0),
            }));
        }
    }

    /// Writes what is seen of `sample` in this epoch, `[channels, height, width]` bytes, to `area` of `image`, as
    /// floats `[height, width, channel_stride]`.
    fn write(&self, sample: usize, area: &Area, image: &mut [f32]) {
        let Self { spec, dataset, .. } = self;
        let (height, width) = self.size();
        let view = if spec.augment { View::draw(spec, sample) } else { View::default() };
        let pixels = dataset.pixels(spec.split, sample);
        let (stride, border) = (spec.channel_stride, spec.border);
        for y in area.rows.clone() {
            let row = &mut image[y * width * stride..][..width * stride];
            let from_y = border.source(y, view.down, height);
            for (plane, (source, values)) in
                pixels.chunks_exact(height * width).zip(&self.values).enumerate()
            {
                let source = from_y.map(|y| &source[y * width..][..width]);
                let row = row.chunks_exact_mut(stride).enumerate().take(area.columns.end);
                for (x, pixel) in row.skip(area.columns.start) {
                    let x = if view.mirrored { width - 1 - x } else { x };
                    let from = border.source(x, view.right, width);
                    let byte = source.and_then(|row| row.get(from?)).copied().unwrap_or(0);
                    pixel[plane] = values[usize::from(byte)];
                }
            }
        }
    }
}
