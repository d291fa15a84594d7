use pleach_kernels::channel_stride;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The shape of one image's maps, `[C, H, W]`. The batch is not part of it. Flat features are maps
/// with `height == width == 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Channels, `C`.
    pub channels: usize,
    /// Rows, `H`.
    pub height: usize,
    /// Columns, `W`.
    pub width: usize,
}

impl Shape {
    /// `[channels, height, width]`.
    #[must_use]
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Flat features: `[channels, 1, 1]`.
    #[must_use]
    pub const fn flat(channels: usize) -> Self {
        Self::new(channels, 1, 1)
    }

    /// Pixels of one map, `H * W`.
    #[must_use]
    pub const fn area(self) -> usize {
        self.height * self.width
    }

    /// Values of one image, `C * H * W`.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no shape in a valid graph is empty")]
    pub const fn len(self) -> usize {
        self.channels * self.area()
    }

    /// Floats that one image takes in memory, pad lanes included.
    #[must_use]
    pub const fn padded_len(self) -> usize {
        channel_stride(self.channels) * self.area()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}, {}]", self.channels, self.height, self.width)
    }
}

/// Why a layer cannot take its inputs: a sentence without its subject, such as
/// `adds maps of different shapes, [8, 4, 4] and [8, 2, 2]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(pub String);
