//! What an epoch of batches is.

use super::augment::Border;
use crate::{Dataset, Split};

/// The usual [`BatchSpec::padding`] (He et al. 2016, 4.2).
pub const CROP_PADDING: usize = 4;

/// Which images, in which order, and what is done to them.
#[derive(Clone, Debug, PartialEq)]
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
    /// Share of the images into which a rectangle of another one is pasted, from its own place, before squares
    /// are cut out (CutMix: Yun et al. 2019, arXiv 1905.04899). Which other image and which rectangle, of at most
    /// half the image so that the class of most of it stays, is drawn anew each epoch.
    pub cutmix: f32,
    /// Views of an image, by which crops, flips, squares and what is pasted are those of the first so many epochs, again and
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
            cutmix: 0.0,
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
            cutmix: 0.0,
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
