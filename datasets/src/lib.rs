//! Labelled images for training and measuring: CIFAR-10, CIFAR-100, and a built-in procedural data
//! set that needs no file.
//!
//! A [`Dataset`] gives bytes; [`batches`] turns them into seeded, augmented, normalised floats in
//! buffers that the caller owns. Everything random is a pure function of its key, so the images of
//! a run are the same for every number of threads, and a resumed run needs no generator state.
//!
//! ```
//! use pleach_datasets::{Split, open};
//!
//! let dataset = open(None)?;
//! assert_eq!(dataset.spec().classes, 10);
//! assert!(dataset.label(Split::Train, 0) < 10);
//! # Ok::<(), pleach_datasets::DataError>(())
//! ```

pub mod batches;
pub mod cifar;
pub mod dataset;
pub mod error;
pub mod fetch;
pub mod registry;
pub mod shapes;
pub mod verify;

mod archive;
mod mmap;
mod rng;
mod whole;

pub use dataset::{Dataset, Spec, Split, class_balanced, class_counts};
pub use error::DataError;
pub use registry::{Archive, DATASETS, DatasetKind, open};
pub use whole::WholeTraining;
