//! Images of which learning takes moments.

use pleach_datasets::{Dataset, Spec, Split};
use std::sync::Arc;

/// The red, green and blue of each class of [`Colours`].
const COLOURS: [[u8; 3]; 10] = [
    [0, 0, 0],
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [255, 255, 0],
    [255, 0, 255],
    [0, 255, 255],
    [255, 255, 255],
    [255, 128, 0],
    [0, 128, 255],
];

/// Images of one colour each, by which a network of any size tells their classes apart.
struct Colours {
    shape: Arc<dyn Dataset>,
    images: [Vec<u8>; 10],
}

/// As many images as `shape` has, each class's of a colour of its own.
pub(crate) fn of(shape: Arc<dyn Dataset>) -> Arc<dyn Dataset> {
    let plane = shape.spec().height * shape.spec().width;
    let image = |class: usize| -> Vec<u8> {
        COLOURS[class].into_iter().flat_map(|value| std::iter::repeat_n(value, plane)).collect()
    };
    Arc::new(Colours { shape, images: std::array::from_fn(image) })
}

impl Dataset for Colours {
    fn spec(&self) -> &Spec {
        self.shape.spec()
    }

    fn len(&self, split: Split) -> usize {
        self.shape.len(split)
    }

    fn label(&self, _: Split, index: usize) -> u32 {
        index as u32 % 10
    }

    fn pixels(&self, split: Split, index: usize) -> &[u8] {
        &self.images[self.label(split, index) as usize]
    }
}
