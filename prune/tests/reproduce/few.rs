//! The first images of the built-in data set: enough for what is tested, and quick.

use pleach_datasets::{Dataset, Spec, Split};
use std::sync::Arc;

/// Images of each split.
const IMAGES: usize = 200;

struct Few(Arc<dyn Dataset>);

/// The first [`IMAGES`] images of each split.
pub(crate) fn dataset() -> Arc<dyn Dataset> {
    Arc::new(Few(crate::common::dataset()))
}

impl Dataset for Few {
    fn spec(&self) -> &Spec {
        self.0.spec()
    }

    fn len(&self, split: Split) -> usize {
        self.0.len(split).min(IMAGES)
    }

    fn label(&self, split: Split, index: usize) -> u32 {
        self.0.label(split, index)
    }

    fn pixels(&self, split: Split, index: usize) -> &[u8] {
        self.0.pixels(split, index)
    }
}
