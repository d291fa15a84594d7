//! CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) in the layout of the official binary versions.
//!
//! A record is its label bytes and 3,072 pixel bytes: 1,024 red, 1,024 green, 1,024 blue, each
//! row-major. CIFAR-10 has one label byte; CIFAR-100 has two, the coarse label and then the fine
//! one, which is the class. Nothing but complete data sets is accepted, but their records may be in
//! any order.

pub mod layout;
pub mod records;

mod files;
mod names;

pub use layout::{CIFAR_10, CIFAR_100, Layout};

use crate::registry::Place;
use crate::{DataError, Dataset, Spec, Split};
use byteorder::{ByteOrder, LittleEndian};
use files::Contents;
use records::{PIXELS, Records};
use std::path::Path;
use std::sync::OnceLock;

/// One training image in this many is for validation: 5,000 of 50,000.
const VALIDATION_SHARE: usize = 10;

/// The key of the hash that divides training from validation: never changed, so that no network
/// is ever validated on what another run trained on.
const PARTITION_KEY: u64 = 0x706c_6561_6368_0001;

/// A complete CIFAR data set, memory-mapped from a folder or held in memory from an archive.
pub struct Cifar {
    layout: &'static Layout,
    spec: Spec,
    /// In the order of `layout.files`.
    files: Vec<Contents>,
    names: Option<Contents>,
    partition: OnceLock<Partition>,
}

/// Indices into the training records, ascending.
struct Partition {
    train: Vec<u32>,
    validation: Vec<u32>,
}

/// Opens the data set of `layout` and checks all of its structure: every file and its size, every
/// label, the number of images of each class, the names of the classes, and that no file is a copy
/// of another.
///
/// # Errors
/// The first thing that is wrong, with its file and offset.
fn open(layout: &'static Layout, place: &Place) -> Result<Cifar, DataError> {
    let (files, names) = match place {
        Place::Folder(folder) => files::from_folder(layout, folder)?,
        Place::Archive(archive) => files::from_archive(layout, archive)?,
    };
    let mut seen = Vec::with_capacity(files.len());
    for (file, contents) in layout.files.iter().zip(&files) {
        let records = Records::parse(layout, &contents.path, contents, file.records)?;
        seen.push(records.class_counts(layout.classes));
    }
    if let Some(names) = &names {
        names::check(layout, names)?;
    }
    check_copies(&files)?;
    for split in [Split::Train, Split::Test] {
        check_balance(layout, split, &files, &seen, place.path())?;
    }
    let spec = Spec {
        name: layout.name.to_string(),
        classes: layout.classes,
        channels: 3,
        height: 32,
        width: 32,
        mean: layout.mean.to_vec(),
        std: layout.std.to_vec(),
        class_names: layout.class_names().map(ToString::to_string).collect(),
    };
    Ok(Cifar { layout, spec, files, names, partition: OnceLock::new() })
}

/// Two files with the same bytes are one file under two names.
fn check_copies(files: &[Contents]) -> Result<(), DataError> {
    for (i, file) in files.iter().enumerate() {
        if let Some(copy) = files[..i].iter().find(|other| other[..] == file[..]) {
            return Err(DataError::unexpected(
                &file.path,
                "images of its own",
                format!("a copy of {}", copy.path.display()),
            ));
        }
    }
    Ok(())
}

/// Every class has the same number of images: a file under another file's name breaks that.
fn check_balance(
    layout: &Layout,
    split: Split,
    files: &[Contents],
    counts: &[Vec<usize>],
    place: &Path,
) -> Result<(), DataError> {
    let of_split: Vec<usize> =
        (0..files.len()).filter(|&i| layout.files[i].split == split).collect();
    let path = if let [only] = of_split[..] { &files[only].path } else { place };
    let records: usize = of_split.iter().map(|&i| layout.files[i].records).sum();
    let expected = records / layout.classes;
    for (class, name) in layout.class_names().enumerate() {
        let found: usize = of_split.iter().map(|&i| counts[i][class]).sum();
        if found != expected {
            return Err(DataError::unexpected(
                path,
                format!("{expected} {split} images of class {class} ({name})"),
                format!("{found}"),
            ));
        }
    }
    Ok(())
}

impl Cifar {
    /// Record `index` of the training files one after the other, or of the test file.
    fn record(&self, split: Split, mut index: usize) -> &[u8] {
        let size = self.layout.record_len();
        for (file, contents) in self.layout.files.iter().zip(&self.files) {
            if (file.split == Split::Test) != (split == Split::Test) {
                continue;
            }
            if index < file.records {
                return &contents[index * size..][..size];
            }
            index -= file.records;
        }
        panic!("image {index} is beyond the end of the {split} split");
    }

    /// Within each class the tenth of the images with the smallest hash is for validation, so the
    /// division depends on the images and not on the order of the records.
    fn partition(&self) -> &Partition {
        self.partition.get_or_init(|| {
            let mut by_class = vec![Vec::new(); self.layout.classes];
            for index in 0..self.layout.records(Split::Train) {
                let record = self.record(Split::Train, index);
                let class = record[self.layout.label_bytes - 1] as usize;
                let hash = hash(&record[self.layout.label_bytes..]);
                by_class[class].push((hash, index as u32));
            }
            let mut validation = Vec::new();
            let mut train = Vec::new();
            for mut images in by_class {
                images.sort_unstable();
                let share = images.len() / VALIDATION_SHARE;
                validation.extend(images[..share].iter().map(|&(_, index)| index));
                train.extend(images[share..].iter().map(|&(_, index)| index));
            }
            train.sort_unstable();
            validation.sort_unstable();
            Partition { train, validation }
        })
    }

    fn locate(&self, split: Split, index: usize) -> &[u8] {
        let index = match split {
            Split::Train => self.partition().train[index] as usize,
            Split::Validation => self.partition().validation[index] as usize,
            Split::Test => index,
        };
        self.record(split, index)
    }
}

impl Dataset for Cifar {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn len(&self, split: Split) -> usize {
        let validation = self.layout.records(Split::Train) / VALIDATION_SHARE;
        match split {
            Split::Train => self.layout.records(Split::Train) - validation,
            Split::Validation => validation,
            Split::Test => self.layout.records(Split::Test),
        }
    }

    fn label(&self, split: Split, index: usize) -> u32 {
        u32::from(self.locate(split, index)[self.layout.label_bytes - 1])
    }

    fn pixels(&self, split: Split, index: usize) -> &[u8] {
        &self.locate(split, index)[self.layout.label_bytes..]
    }

    fn files(&self) -> Vec<(&Path, &[u8])> {
        let all = self.files.iter().chain(&self.names);
        all.map(|contents| (contents.path.as_path(), &contents[..])).collect()
    }
}

/// A keyed 64-bit hash of an image: eight bytes at a time, folded through a 128-bit product.
fn hash(pixels: &[u8]) -> u64 {
    debug_assert_eq!(pixels.len(), PIXELS);
    let mut state = PARTITION_KEY;
    for word in pixels.chunks_exact(8) {
        let product = u128::from(state ^ LittleEndian::read_u64(word))
            * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        state = (product as u64) ^ ((product >> 64) as u64) ^ state.rotate_left(29);
    }
    state
}
