//! The built-in data set: ten classes of drawn shapes, each image made when it is first asked for.
//!
//! A shape of the class's outline stands anywhere in a cluttered 32x32 picture, tilted by up to half
//! a radian, in any size from a quarter of the picture to most of it, in any colours and textures,
//! partly hidden, under noise. Nothing but the outline tells the class: a linear classifier of pixels is
//! close to chance, and a small convolutional network needs its filters.
//!
//! Every outline is its own mirror image, so horizontal flips keep the class. An image is a pure
//! function of its split and index: arithmetic and `libm` only, the same bytes on every machine.

mod canvas;
mod outline;

use crate::rng::{Purpose, Stream};
use crate::{Dataset, Spec, Split};
use outline::Outline;
use std::sync::OnceLock;

/// The seed of all images. Another one makes another data set: never changed.
const SEED: u64 = 0x0073_6861_7065_7331;

/// Images of each split, in the order of [`Split::ALL`].
const IMAGES: [usize; 3] = [8_000, 2_000, 2_000];

/// The built-in data set, called `shapes`.
pub struct Shapes {
    spec: Spec,
    splits: [Vec<OnceLock<Box<[u8]>>>; 3],
}

impl Shapes {
    /// The data set with no image drawn yet.
    #[must_use]
    pub fn new() -> Self {
        let spec = Spec {
            name: "shapes".to_string(),
            classes: Outline::ALL.len(),
            channels: 3,
            height: canvas::SIDE,
            width: canvas::SIDE,
            mean: vec![0.5; 3],
            std: vec![0.24; 3],
            class_names: Outline::ALL.iter().map(|outline| outline.name().to_string()).collect(),
        };
        let splits = IMAGES.map(|images| (0..images).map(|_| OnceLock::new()).collect());
        Self { spec, splits }
    }
}

impl Default for Shapes {
    fn default() -> Self {
        Self::new()
    }
}

impl Dataset for Shapes {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn len(&self, split: Split) -> usize {
        self.splits[split as usize].len()
    }

    fn label(&self, split: Split, index: usize) -> u32 {
        assert!(index < self.len(split), "image {index} is beyond the end of the {split} split");
        (index % Outline::ALL.len()) as u32
    }

    fn pixels(&self, split: Split, index: usize) -> &[u8] {
        self.splits[split as usize][index].get_or_init(|| {
            let outline = Outline::ALL[self.label(split, index) as usize];
            let mut stream = Stream::new(SEED, Purpose::Shapes, split as u64, index as u64);
            canvas::draw(outline, &mut stream)
        })
    }
}
