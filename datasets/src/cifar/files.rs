//! The files of a data set, from a folder or an archive.

use super::{Layout, layout, names, records};
use crate::archive::TarGz;
use crate::{DataError, mmap};
use memmap2::Mmap;
use std::fs;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// The bytes of one file.
pub(super) struct Contents {
    pub(super) path: PathBuf,
    bytes: Bytes,
}

enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// Maps the layout's files from `folder`; the names file may be absent.
pub(super) fn from_folder(
    layout: &Layout,
    folder: &Path,
) -> Result<(Vec<Contents>, Option<Contents>), DataError> {
    for name in crate::registry::list(folder)? {
        refuse_foreign(layout, folder, &name)?;
    }
    let mut files = Vec::with_capacity(layout.files.len());
    for file in layout.files {
        let path = folder.join(file.name);
        let len = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => return Err(DataError::unexpected(&path, "a file", "a folder")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(missing(layout, &path, file));
            }
            Err(error) => return Err(DataError::io(&path, error)),
        };
        records::check_len(layout, &path, len, file.records)?;
        let bytes = Bytes::Mapped(mmap::map(&path)?);
        files.push(Contents { path, bytes });
    }
    let path = folder.join(layout.names_file);
    let names = match fs::File::open(&path) {
        Ok(file) => Some(read_names(path, file)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(DataError::io(&path, error)),
    };
    Ok((files, names))
}

/// Reads the layout's files out of the `.tar.gz` at `archive`, one after the other; memory holds
/// these files and nothing else. The archive is read to its end, so that its checksum is checked.
pub(super) fn from_archive(
    layout: &Layout,
    archive: &Path,
) -> Result<(Vec<Contents>, Option<Contents>), DataError> {
    let mut files: Vec<Option<Contents>> = layout.files.iter().map(|_| None).collect();
    let mut names = None;
    let mut tar = TarGz::open(archive)?;
    tar.for_each(|member| {
        refuse_foreign(layout, &archive.join(member.folder()), &member.name())?;
        let path = archive.join(&member.path);
        if member.name() == layout.names_file {
            names = Some(read_names(path, member)?);
            return Ok(true);
        }
        let Some(i) = layout.files.iter().position(|file| file.name == member.name()) else {
            return Ok(true);
        };
        if let Some(first) = &files[i] {
            let found = format!("a second one after {}", first.path.display());
            return Err(DataError::unexpected(&path, "one such file", found));
        }
        records::check_len(layout, &path, member.len, layout.files[i].records)?;
        let mut bytes = vec![0; layout.files[i].records * layout.record_len()];
        member.read_exact(&mut bytes).map_err(|error| member.fail(&error))?;
        files[i] = Some(Contents { path, bytes: Bytes::Owned(bytes) });
        Ok(true)
    })?;
    tar.finish()?;
    let files = files.into_iter().zip(layout.files).map(|(contents, file)| {
        let path = archive.join(layout.folder).join(file.name);
        contents.ok_or_else(|| missing(layout, &path, file))
    });
    Ok((files.collect::<Result<_, _>>()?, names))
}

fn missing(layout: &Layout, path: &Path, file: &layout::DataFile) -> DataError {
    let bytes = file.records * layout.record_len();
    DataError::unexpected(path, format!("a file of {bytes} bytes"), "no such file")
}

/// The other CIFAR's record files do not belong beside this one's.
fn refuse_foreign(layout: &Layout, folder: &Path, name: &str) -> Result<(), DataError> {
    let others = layout::ALL.iter().filter(|other| other.name != layout.name);
    for other in others {
        if other.files.iter().any(|file| file.name == name) {
            let expected = format!("files of {} only", layout.name);
            let found = format!("a file of {}", other.name);
            return Err(DataError::unexpected(&folder.join(name), expected, found));
        }
    }
    Ok(())
}

fn read_names(path: PathBuf, file: impl Read) -> Result<Contents, DataError> {
    let mut text = Vec::new();
    file.take(names::MAX_LEN + 1)
        .read_to_end(&mut text)
        .map_err(|error| DataError::io(&path, error))?;
    if text.len() as u64 > names::MAX_LEN {
        let expected = format!("at most {} bytes of class names", names::MAX_LEN);
        return Err(DataError::malformed(&path, names::MAX_LEN as usize, expected, "more"));
    }
    Ok(Contents { path, bytes: Bytes::Owned(text) })
}
