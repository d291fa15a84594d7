//! What every data set answers.

use crate::rng::{Purpose, Stream};
use std::fmt;
use std::path::Path;

/// The parts of a data set.
///
/// Training sees `Train`, every choice is made on `Validation`, and `Test` is reported once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What networks are trained on.
    Train,
    /// What choices are made on.
    Validation,
    /// What is reported.
    Test,
}

impl Split {
    /// Every split.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// `train`, `validation` or `test`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The shape of a data set: its classes, its images, and how they are normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The data set's name, as in [`DATASETS`](crate::DATASETS). Networks and runs know by it what they were trained
    /// on.
    pub name: String,
    /// How many classes there are; labels are below it.
    pub classes: usize,
    /// Colour planes of an image, or other ones.
    pub channels: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// `[channels]` mean of the training pixels, as fractions of 255.
    pub mean: Vec<f32>,
    /// `[channels]` standard deviation of the training pixels, as fractions of 255; more than 0.
    pub std: Vec<f32>,
    /// One name a class, in label order.
    pub class_names: Vec<String>,
}

impl Spec {
    /// Bytes of one image.
    #[must_use]
    pub const fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }
}

/// Labelled images, readable from any thread.
///
/// Whoever implements it sees to it that calls with the same arguments return the same each time, that labels are below
/// the classes, and that each split has an image: what is computed from a data set is a function of these.
pub trait Dataset: Send + Sync {
    /// Names, sizes and normalisation.
    fn spec(&self) -> &Spec;

    /// How many images a split has.
    fn len(&self, split: Split) -> usize;

    /// The class of image `index`.
    ///
    /// # Panics
    /// If `index` is not below `len(split)`.
    fn label(&self, split: Split, index: usize) -> u32;

    /// The pixels of image `index`: bytes `[channels, height, width]`.
    ///
    /// # Panics
    /// If `index` is not below `len(split)`.
    fn pixels(&self, split: Split, index: usize) -> &[u8];

    /// Path and bytes of each file it is read from; none if it is built in.
    fn files(&self) -> Vec<(&Path, &[u8])> {
        Vec::new()
    }

    /// Whether a split has no images.
    fn is_empty(&self, split: Split) -> bool {
        self.len(split) == 0
    }
}

/// How many images each class has in a split.
#[must_use]
pub fn class_counts(dataset: &dyn Dataset, split: Split) -> Vec<usize> {
    let mut counts = vec![0; dataset.spec().classes];
    for index in 0..dataset.len(split) {
        counts[dataset.label(split, index) as usize] += 1;
    }
    counts
}

/// `n` indices of a split in random order, as evenly over the classes as `n` and the split allow.
///
/// The same arguments give the same indices. All of the split is given if `n` is larger than it.
#[must_use]
pub fn class_balanced(dataset: &dyn Dataset, split: Split, n: usize, seed: u64) -> Vec<usize> {
    let mut by_class = vec![Vec::new(); dataset.spec().classes];
    for index in 0..dataset.len(split) {
        by_class[dataset.label(split, index) as usize].push(index);
    }
    for (class, indices) in by_class.iter_mut().enumerate() {
        Stream::new(seed, Purpose::Subset, split as u64, class as u64).shuffle(indices);
    }
    let wanted = n.min(dataset.len(split));
    let longest = by_class.iter().map(Vec::len).max().unwrap_or(0);
    let mut chosen: Vec<usize> = (0..longest)
        .flat_map(|round| by_class.iter().filter_map(move |indices| indices.get(round).copied()))
        .take(wanted)
        .collect();
    Stream::new(seed, Purpose::Subset, split as u64, u64::MAX).shuffle(&mut chosen);
    chosen
}
