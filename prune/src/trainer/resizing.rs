//! Training on small images first.

use pleach_core::graph::{Graph, GraphError};
use pleach_core::tensor::{Shape, Tensor};
use pleach_datasets::batches::Shrink;
use pleach_kernels::channel_stride;
use serde::{Deserialize, Serialize};

/// Images that are small at first and grow (progressive resizing): an epoch of images of half the side takes a
/// quarter of the multiply-adds. Only for networks that pool whatever maps are left at their end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resizing {
    /// Pixels a side in the first epoch.
    pub start: usize,
    /// The fraction of the epochs after which images are as large as they are.
    #[serde(default = "until")]
    pub until: f64,
}

fn until() -> f64 {
    0.5
}

impl Resizing {
    /// The image of an epoch that begins with `progress` of the run done, a fraction. Sides double in steps that
    /// take equally long: maps of `full / 2` keep to whole tiles of minimal filtering wherever those of `full` do,
    /// so that at half the side a step takes a third of the time, at three quarters 0.7 of it.
    #[must_use]
    pub fn image(&self, full: Shape, progress: f64) -> Shape {
        let side = |full: usize| {
            let done = (progress / self.until * f64::from(self.doublings(full))) as u32;
            if progress >= self.until { full } else { full.min(self.start << done) }
        };
        Shape { height: side(full.height), width: side(full.width), ..full }
    }

    /// How often a side of `full` pixels at most doubles.
    fn doublings(&self, full: usize) -> u32 {
        full.div_ceil(self.start).next_power_of_two().ilog2()
    }

    /// Checks that a network of this structure takes small images of every size.
    ///
    /// # Errors
    /// If it does not.
    pub fn check_graph(&self, graph: &Graph) -> Result<(), GraphError> {
        let full = graph.input_shape();
        let sizes = self.doublings(full.height.max(full.width));
        (0..sizes).try_for_each(|size| {
            let progress = self.until * (f64::from(size) + 0.5) / f64::from(sizes);
            graph.for_images(self.image(full, progress)).map(drop)
        })
    }
}

/// The small images of an epoch.
pub(super) struct Small {
    shrink: Shrink,
    images: Tensor,
}

impl Small {
    /// Of `image`s, of batches of `batch` `full` ones.
    pub(super) fn new(full: Shape, image: Shape, batch: usize) -> Self {
        let size = |shape: Shape| [shape.height, shape.width];
        let shrink = Shrink::new(size(full), size(image));
        Self { shrink, images: Tensor::zeros(batch, image) }
    }

    /// `images`, small.
    pub(super) fn of(&mut self, images: &Tensor) -> &Tensor {
        let stride = channel_stride(images.shape().channels);
        self.shrink.images(images.data(), self.images.data_mut(), stride);
        &self.images
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleach_core::models;

    #[test]
    fn a_network_is_checked_with_every_size() {
        let build = |model| models::build(model, Shape::new(3, 32, 32), 10).expect("a model");
        let check = |start, model| Resizing { start, until: 0.5 }.check_graph(&build(model));
        assert_eq!(check(4, "resnet20"), Ok(()));
        assert_eq!(check(32, "vgg16"), Ok(()), "images stay as they are");
        // 8 pixels cannot be halved four times; 31 can, but leave a pixel where 32 leave four.
        assert!(check(8, "vgg-small").is_err() && check(31, "vgg-small").is_err());
    }

    #[test]
    fn sides_double_and_stay_within_what_they_are() {
        let sides = |start: usize, until: f64, full: usize| -> Vec<usize> {
            let full = Shape::new(3, full, full);
            let image = |epoch: u8| Resizing { start, until }.image(full, f64::from(epoch) / 8.0);
            (0..8).map(|epoch| image(epoch).height).collect()
        };
        assert_eq!(sides(16, 0.5, 32), [16, 16, 16, 16, 32, 32, 32, 32]);
        assert_eq!(sides(8, 0.75, 32), [8, 8, 8, 16, 16, 16, 32, 32]);
        assert_eq!(sides(12, 1.0, 32), [12, 12, 12, 12, 24, 24, 24, 24]);
        assert_eq!(sides(16, 0.5, 20), [16, 16, 16, 16, 20, 20, 20, 20]);
        assert_eq!(sides(32, 0.5, 32), [32; 8]);
        assert_eq!(sides(40, 0.5, 32), [32; 8]);
        let oblong = Resizing { start: 16, until: 0.5 }.image(Shape::new(1, 8, 28), 0.3);
        assert_eq!(oblong, Shape::new(1, 8, 16));
    }
}
