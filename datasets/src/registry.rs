//! The data sets there are, and how a path is recognised as one of them.

use crate::archive::TarGz;
use crate::cifar::{CIFAR_10, CIFAR_100};
use crate::shapes::Shapes;
use crate::{DataError, Dataset};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// One data set.
#[derive(Clone, Copy)]
pub struct DatasetKind {
    /// Its name.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// Where it comes from.
    pub source: Source,
}

/// Where a data set comes from.
#[derive(Clone, Copy)]
pub enum Source {
    /// From this crate alone.
    BuiltIn(fn() -> Box<dyn Dataset>),
    /// From files.
    Files(&'static dyn Format),
}

/// A format of files.
pub trait Format: Sync {
    /// The folder that holds them, as the official archive names it.
    fn folder(&self) -> &'static str;

    /// Whether a file of this name is one of them: what data sets are recognised by.
    fn owns(&self, file_name: &str) -> bool;

    /// The official archive.
    fn archive(&self) -> Archive;

    /// Opens the data set and checks all of its structure.
    ///
    /// # Errors
    /// The first thing that is wrong.
    fn open(&'static self, place: &Place) -> Result<Box<dyn Dataset>, DataError>;
}

/// An archive to download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Its name, below the address of the folder it is published in.
    pub file_name: &'static str,
    /// Its SHA-256 in hexadecimal.
    pub sha256: &'static str,
}

/// Where the files of a data set lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The folder that has the files.
    Folder(PathBuf),
    /// A `.tar.gz` archive.
    Archive(PathBuf),
}

impl Place {
    /// The folder or the archive.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Archive(path) => path,
        }
    }
}

/// Every data set. The first one is used where none is named.
pub const DATASETS: &[DatasetKind] = &[
    DatasetKind {
        name: "shapes",
        summary: "built in: 10 classes of drawn shapes, 8,000 + 2,000 training and 2,000 test images",
        source: Source::BuiltIn(|| Box::new(Shapes::new())),
    },
    DatasetKind {
        name: "cifar-10",
        summary: "10 classes of photographs, 45,000 + 5,000 training and 10,000 test images",
        source: Source::Files(&CIFAR_10),
    },
    DatasetKind {
        name: "cifar-100",
        summary: "100 classes of photographs, 45,000 + 5,000 training and 10,000 test images",
        source: Source::Files(&CIFAR_100),
    },
];

/// Opens the data set at `data`, or the built-in one.
///
/// `data` is a folder with the files of a data set, or a folder above one, or a folder with the
/// official `.tar.gz`, or that archive itself; which data set it is, the names of the files tell. An archive
/// counts where the files of its data set are not there too.
///
/// # Errors
/// If no data set or more than one is there, or anything about it is wrong.
pub fn open(data: Option<&Path>) -> Result<Box<dyn Dataset>, DataError> {
    let Some(path) = data else { return Ok(Box::new(Shapes::new())) };
    let (_, format, place) = locate(path)?;
    format.open(&place)
}

type Located = (&'static DatasetKind, &'static dyn Format, Place);

/// Which data set is at `path`, and where exactly.
///
/// # Errors
/// If it is not clear.
pub(crate) fn locate(path: &Path) -> Result<Located, DataError> {
    let metadata = fs::metadata(path).map_err(|error| DataError::io(path, error))?;
    if metadata.is_dir() { locate_in_folder(path) } else { locate_in_archive(path) }
}

fn formats() -> impl Iterator<Item = (&'static DatasetKind, &'static dyn Format)> {
    DATASETS.iter().filter_map(|kind| match kind.source {
        Source::BuiltIn(_) => None,
        Source::Files(format) => Some((kind, format)),
    })
}

fn locate_in_folder(path: &Path) -> Result<Located, DataError> {
    let names = list(path)?;
    let mut found: Vec<Located> = Vec::new();
    for (kind, format) in formats() {
        let below = path.join(format.folder());
        let below_names = if below.is_dir() { list(&below)? } else { Vec::new() };
        let others = found.len();
        for (folder, names) in [(path, &names), (&below, &below_names)] {
            if names.iter().any(|name| format.owns(name)) {
                found.push((kind, format, Place::Folder(folder.to_path_buf())));
            }
        }
        let archive = format.archive().file_name;
        if found.len() == others && names.iter().any(|name| name == archive) {
            found.push((kind, format, Place::Archive(path.join(archive))));
        }
    }
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(DataError::unexpected(path, wanted(), describe(&names))),
        several => {
            let list = several
                .iter()
                .map(|(kind, _, place)| format!("{} in {}", kind.name, place.path().display()));
            let found = list.collect::<Vec<_>>().join(" and ");
            Err(DataError::unexpected(path, "the files of one data set", found))
        }
    }
}

fn locate_in_archive(path: &Path) -> Result<Located, DataError> {
    let mut magic = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read(&mut magic));
    let read = read.map_err(|error| DataError::io(path, error))?;
    if magic != [0x1f, 0x8b] {
        let expected = "a folder or a .tar.gz archive, which starts with the bytes 1f 8b";
        let found = if read < 2 {
            format!("a file of {read} bytes")
        } else {
            format!("the bytes {:02x} {:02x}", magic[0], magic[1])
        };
        return Err(DataError::malformed(path, 0, expected, found));
    }
    let mut names = Vec::new();
    let mut found = None;
    TarGz::open(path)?.for_each(|member| {
        found = formats().find(|(_, format)| format.owns(&member.name()));
        names.push(member.name());
        Ok(found.is_none())
    })?;
    let (kind, format) =
        found.ok_or_else(|| DataError::unexpected(path, wanted(), describe(&names)))?;
    Ok((kind, format, Place::Archive(path.to_path_buf())))
}

/// The names of the entries of a folder.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn list(folder: &Path) -> Result<Vec<String>, DataError> {
    let fail = |error| DataError::io(folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn wanted() -> String {
    let kinds = formats().map(|(kind, format)| format!("{} ({})", kind.name, format.folder()));
    format!("the files of {}", kinds.collect::<Vec<_>>().join(" or "))
}

fn describe(names: &[String]) -> String {
    const PYTHON: [&str; 5] =
        ["data_batch_1", "test_batch", "batches.meta", "cifar-10-batches-py", "cifar-100-python"];
    if names.iter().any(|name| PYTHON.contains(&name.as_str())) {
        return "the Python version, where the binary version is needed".to_string();
    }
    match names {
        [] => "nothing".to_string(),
        _ => {
            let more = if names.len() > 5 { ", ..." } else { "" };
            format!("{}{more}", names[..names.len().min(5)].join(", "))
        }
    }
}
