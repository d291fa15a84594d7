//! What is in a data set, and whether it is whole.

use crate::{DataError, Dataset, Split, class_counts, registry};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest deviation of a channel's mean or standard deviation, as a fraction of 255, that
/// rounding explains: the published values have four digits.
const STATISTICS_TOLERANCE: f64 = 2e-4;

/// The shape of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Class names, in label order.
    pub class_names: Vec<String>,
    /// Channels, height and width of an image.
    pub image: [usize; 3],
    /// Images of each split, in the order of [`Split::ALL`].
    pub images: [usize; 3],
    /// Per-channel mean that normalisation uses, as fractions of 255.
    pub mean: Vec<f32>,
    /// Per-channel standard deviation that normalisation uses, as fractions of 255.
    pub std: Vec<f32>,
}

/// What a verification found in a data set that is whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Its shape.
    pub info: Info,
    /// The folder or archive.
    pub path: PathBuf,
    /// Its files; one, if it is an archive.
    pub files: Vec<FileReport>,
    /// Images of each class, for each split in the order of [`Split::ALL`].
    pub class_counts: [Vec<usize>; 3],
    /// Per-channel mean of all training pixels (validation included), as fractions of 255.
    pub mean: Vec<f64>,
    /// Their per-channel standard deviation.
    pub std: Vec<f64>,
    /// What is unusual without being wrong, as sentences.
    pub warnings: Vec<String>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// The shape of `dataset`.
#[must_use]
pub fn info(dataset: &dyn Dataset) -> Info {
    let spec = dataset.spec();
    Info {
        name: spec.name.clone(),
        class_names: spec.class_names.clone(),
        image: [spec.channels, spec.height, spec.width],
        images: Split::ALL.map(|split| dataset.len(split)),
        mean: spec.mean.clone(),
        std: spec.std.clone(),
    }
}

/// Checks the data set at `path` as [`open`](crate::open) does, and reads all of it.
///
/// Records may be in any order within and across the training files, so the checksums of files are
/// reported and not judged, except that an archive which is not the official one is a warning.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(path: &Path) -> Result<Report, DataError> {
    let (_, format, place) = registry::locate(path)?;
    let dataset = format.open(&place)?;
    let mut warnings = Vec::new();
    let files = match &place {
        registry::Place::Folder(_) => {
            dataset.files().into_iter().map(|(path, bytes)| of_bytes(path, bytes)).collect()
        }
        registry::Place::Archive(path) => {
            let file = of_file(path)?;
            let official = format.archive();
            if file.sha256 != official.sha256 {
                warnings.push(format!(
                    "not the official archive {}, whose sha256 is {}",
                    official.file_name, official.sha256
                ));
            }
            vec![file]
        }
    };
    let (mean, std) = statistics(&*dataset);
    let spec = dataset.spec();
    for channel in 0..spec.channels {
        let published = [spec.mean[channel], spec.std[channel]];
        let found = [mean[channel], std[channel]];
        if published
            .iter()
            .zip(found)
            .any(|(&published, found)| (f64::from(published) - found).abs() > STATISTICS_TOLERANCE)
        {
            warnings.push(format!(
                "channel {channel} of the training images has mean {:.4} and standard deviation \
                 {:.4}, not the published {:.4} and {:.4}",
                found[0], found[1], published[0], published[1]
            ));
        }
    }
    Ok(Report {
        info: info(&*dataset),
        path: place.path().to_path_buf(),
        files,
        class_counts: Split::ALL.map(|split| class_counts(&*dataset, split)),
        mean,
        std,
        warnings,
    })
}

/// Per-channel mean and standard deviation of the training and validation pixels, as fractions
/// of 255. The sums are of integers, so they are exact and do not depend on any order.
#[must_use]
pub fn statistics(dataset: &dyn Dataset) -> (Vec<f64>, Vec<f64>) {
    let spec = dataset.spec();
    let plane = spec.height * spec.width;
    let (mut sums, mut squares) = (vec![0_u64; spec.channels], vec![0_u64; spec.channels]);
    let mut count = 0_u64;
    for split in [Split::Train, Split::Validation] {
        for index in 0..dataset.len(split) {
            let planes = dataset.pixels(split, index).chunks_exact(plane);
            for (channel, pixels) in planes.enumerate() {
                for &byte in pixels {
                    let byte = u64::from(byte);
                    sums[channel] += byte;
                    squares[channel] += byte * byte;
                }
            }
            count += plane as u64;
        }
    }
    let count = count as f64;
    let mean: Vec<f64> = sums.iter().map(|&sum| sum as f64 / count / 255.0).collect();
    let deviation = |(&squares, mean): (&u64, &f64)| {
        let square = squares as f64 / count / (255.0 * 255.0);
        (square - mean * mean).max(0.0).sqrt()
    };
    let std = squares.iter().zip(&mean).map(deviation).collect();
    (mean, std)
}

/// A SHA-256 in hexadecimal.
pub(crate) fn hexadecimal(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_bytes(path: &Path, bytes: &[u8]) -> FileReport {
    let sha256 = hexadecimal(Sha256::digest(bytes));
    FileReport { path: path.to_path_buf(), bytes: bytes.len() as u64, sha256 }
}

/// The report of a file that is read in pieces.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn of_file(path: &Path) -> Result<FileReport, DataError> {
    let fail = |error| DataError::io(path, error);
    let mut file = File::open(path).map_err(fail)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(fail(error)),
        }
    }
    Ok(FileReport { path: path.to_path_buf(), bytes, sha256: hexadecimal(hasher.finalize()) })
}
