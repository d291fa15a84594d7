use crate::{Dataset, Spec, Split};
use std::path::Path;
use std::sync::Arc;

/// A data set whose validation images are for training too, behind those of training: nothing is left to
/// choose by, so this is for training once more what was chosen before.
pub struct WholeTraining {
    parts: Arc<dyn Dataset>,
}

impl WholeTraining {
    /// All training images of `parts`, its validation images included.
    #[must_use]
    pub fn new(parts: Arc<dyn Dataset>) -> Self {
        Self { parts }
    }

    fn locate(&self, split: Split, index: usize) -> (Split, usize) {
        match split {
            Split::Train => match index.checked_sub(self.parts.len(Split::Train)) {
                Some(beyond) => (Split::Validation, beyond),
                None => (Split::Train, index),
            },
            Split::Validation => panic!("image {index} of a validation split without images"),
            Split::Test => (Split::Test, index),
        }
    }
}

impl Dataset for WholeTraining {
    fn spec(&self) -> &Spec {
        self.parts.spec()
    }

    fn len(&self, split: Split) -> usize {
        match split {
            Split::Train => self.parts.len(Split::Train) + self.parts.len(Split::Validation),
            Split::Validation => 0,
            Split::Test => self.parts.len(Split::Test),
        }
    }

    fn label(&self, split: Split, index: usize) -> u32 {
        let (split, index) = self.locate(split, index);
        self.parts.label(split, index)
    }

    fn pixels(&self, split: Split, index: usize) -> &[u8] {
        let (split, index) = self.locate(split, index);
        self.parts.pixels(split, index)
    }

    fn files(&self) -> Vec<(&Path, &[u8])> {
        self.parts.files()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{class_counts, open};

    #[test]
    fn every_image_of_training_and_validation_is_there_once_in_order() {
        let parts: Arc<dyn Dataset> = open(None).expect("it is built in").into();
        let whole = WholeTraining::new(Arc::clone(&parts));
        let train = parts.len(Split::Train);
        assert_eq!(whole.len(Split::Train), train + parts.len(Split::Validation));
        assert!(whole.is_empty(Split::Validation));
        assert_eq!(whole.len(Split::Test), parts.len(Split::Test));
        let mut counts = class_counts(&*parts, Split::Train);
        for (count, more) in counts.iter_mut().zip(class_counts(&*parts, Split::Validation)) {
            *count += more;
        }
        assert_eq!(class_counts(&whole, Split::Train), counts);
        for (index, split, part) in [
            (0, Split::Train, 0),
            (train - 1, Split::Train, train - 1),
            (train, Split::Validation, 0),
            (whole.len(Split::Train) - 1, Split::Validation, parts.len(Split::Validation) - 1),
        ] {
            assert_eq!(whole.pixels(Split::Train, index), parts.pixels(split, part));
            assert_eq!(whole.label(Split::Train, index), parts.label(split, part));
        }
    }
}
