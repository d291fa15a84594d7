//! The parser of record files.

use super::Layout;
use crate::DataError;
use std::path::Path;

/// Pixel bytes of a record: `[3, 32, 32]`.
pub const PIXELS: usize = 3 * 32 * 32;

/// The records of one file, all of them checked.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    label_bytes: usize,
}

impl<'a> Records<'a> {
    /// Takes `bytes`, the contents of the file at `path`, as exactly `records` records.
    ///
    /// # Errors
    /// If the file is shorter or longer than that, or a label is out of range, or two images of one
    /// class have different coarse labels (CIFAR-100).
    pub fn parse(
        layout: &Layout,
        path: &Path,
        bytes: &'a [u8],
        records: usize,
    ) -> Result<Self, DataError> {
        check_len(layout, path, bytes.len() as u64, records)?;
        let parsed = Self { bytes, label_bytes: layout.label_bytes };
        let size = layout.record_len();
        let mut coarse_of_class = [None; 256];
        for (i, record) in bytes.chunks_exact(size).enumerate() {
            let class = record[layout.label_bytes - 1];
            let offset = i * size + layout.label_bytes - 1;
            if usize::from(class) >= layout.classes {
                let expected = format!("a label below {} in record {i}", layout.classes);
                return Err(DataError::malformed(path, offset, expected, class.to_string()));
            }
            let Some(coarse_classes) = layout.coarse_classes else { continue };
            let coarse = record[0];
            if usize::from(coarse) >= coarse_classes {
                let expected = format!("a coarse label below {coarse_classes} in record {i}");
                return Err(DataError::malformed(path, i * size, expected, coarse.to_string()));
            }
            let known = *coarse_of_class[usize::from(class)].get_or_insert(coarse);
            if coarse != known {
                let expected = format!(
                    "coarse label {known} in record {i}, as before for class {class} ({})",
                    layout.class_names().nth(usize::from(class)).unwrap_or_default()
                );
                return Err(DataError::malformed(path, i * size, expected, coarse.to_string()));
            }
        }
        Ok(parsed)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / (self.label_bytes + PIXELS)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The class and the pixels of every record, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &'a [u8])> {
        let label_bytes = self.label_bytes;
        self.bytes.chunks_exact(label_bytes + PIXELS).map(move |record| {
            let (labels, pixels) = record.split_at(label_bytes);
            (u32::from(labels[label_bytes - 1]), pixels)
        })
    }

    pub(super) fn class_counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for (class, _) in self.iter() {
            counts[class as usize] += 1;
        }
        counts
    }
}

/// Checks that a file of `len` bytes holds exactly `records` records.
///
/// # Errors
/// At the end of the file if it is too short, at the first byte too many if it is too long.
pub(super) fn check_len(
    layout: &Layout,
    path: &Path,
    len: u64,
    records: usize,
) -> Result<(), DataError> {
    let size = layout.record_len();
    let expected = (records * size) as u64;
    if len == expected {
        return Ok(());
    }
    let mut found = format!("{len} bytes");
    if let Some((other, file)) = super::layout::file_of_len(len) {
        found += &format!(" (the size of {}'s {})", other.name, file.name);
    }
    Err(DataError::Malformed {
        path: path.to_path_buf(),
        offset: len.min(expected),
        expected: format!("{expected} bytes ({records} records of {size} bytes)"),
        found,
    })
}
