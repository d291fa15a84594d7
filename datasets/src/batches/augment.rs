//! What chance makes of an image: crops, flips, squares that are cut out, and parts of other images.
//!
//! All of it is a function of the seed, the view and the sample, wherever in the order the sample comes.

use super::BatchSpec;
use crate::rng::{Purpose, Stream};
use std::ops::Range;

/// What the pixels around an image are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Border {
    /// Black.
    #[default]
    Black,
    /// The image, mirrored at its outermost pixels, which are not repeated.
    Reflect,
}

impl Border {
    /// The pixel, of `size`, that is seen at `at` of an image moved by `shift`, if any is.
    pub(super) fn source(self, at: usize, shift: isize, size: usize) -> Option<usize> {
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
pub(super) struct View {
    pub(super) down: isize,
    pub(super) right: isize,
    pub(super) mirrored: bool,
}

impl View {
    /// That of `sample` in an epoch.
    pub(super) fn draw(spec: &BatchSpec, sample: usize) -> Self {
        let epoch = spec.view();
        let mut stream = Stream::new(spec.seed, Purpose::Augment, epoch, sample as u64);
        let padding = spec.padding;
        let mut shift = || stream.below(2 * padding as u32 + 1) as isize - padding as isize;
        let (down, right) = (shift(), shift());
        let at_first = Stream::new(spec.seed, Purpose::Flip, 0, sample as u64).flip();
        Self { down, right, mirrored: at_first ^ (epoch % 2 == 1) }
    }
}

/// A rectangle of an image.
pub(super) struct Area {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Area {
    /// All of an image of `height` by `width` pixels.
    pub(super) fn whole(height: usize, width: usize) -> Self {
        Self { rows: 0..height, columns: 0..width }
    }

    /// How many pixels it has.
    pub(super) fn pixels(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// `rows` by `columns` pixels around one of `height` by `width` that is drawn; what lies outside is cut off.
    fn around_a_pixel(
        stream: &mut Stream,
        (height, width): (usize, usize),
        (rows, columns): (usize, usize),
    ) -> Self {
        let mut range = |size: usize, length: usize| {
            let start = stream.below(size as u32) as isize - (length / 2) as isize;
            let inside = |at: isize| at.clamp(0, size as isize) as usize;
            inside(start)..inside(start + length as isize)
        };
        Self { rows: range(height, rows), columns: range(width, columns) }
    }

    /// What is cut out of `sample`, of `height` by `width` pixels.
    pub(super) fn cutout(spec: &BatchSpec, sample: usize, size: (usize, usize)) -> Self {
        let mut stream = Stream::new(spec.seed, Purpose::Cutout, spec.view(), sample as u64);
        Self::around_a_pixel(&mut stream, size, (spec.cutout, spec.cutout))
    }
}

/// A part of another image.
pub(super) struct Paste {
    /// Which image, of those that there are.
    pub(super) other: usize,
    pub(super) area: Area,
}

impl Paste {
    /// What is pasted into `sample`, one of `images` of `height` by `width` pixels, if anything is.
    pub(super) fn draw(
        spec: &BatchSpec,
        sample: usize,
        images: usize,
        (height, width): (usize, usize),
    ) -> Option<Self> {
        let mut stream = Stream::new(spec.seed, Purpose::Cutmix, spec.view(), sample as u64);
        if stream.uniform(0.0, 1.0) >= spec.cutmix {
            return None;
        }
        let other = stream.below(images as u32) as usize;
        let side = stream.uniform(0.0, 0.5).sqrt();
        let sides = [height, width].map(|size| (side * size as f32) as usize);
        let area = Area::around_a_pixel(&mut stream, (height, width), sides.into());
        Some(Self { other, area })
    }
}
