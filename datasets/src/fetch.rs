//! Downloading the official archives.

use crate::registry::{Format, Place};
use crate::{DataError, verify};
use std::fs::{self, DirEntry, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod download;
#[cfg_attr(not(feature = "download"), path = "fetch/refused.rs")]
mod http;
mod request;

/// Where the official archives are published.
pub const OFFICIAL: &str = "https://www.cs.toronto.edu/~kriz";

/// What the names of temporary files and folders begin with.
const PREFIX: &str = ".pleach-fetch-";

/// What is temporary and was not written to for so long is of a process that was killed: the requests for one archive
/// end after four hours.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes received.
    pub received: u64,
    /// Bytes of the archive, if the server says.
    pub total: Option<u64>,
}

/// What a fetch left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The archive.
    pub archive: PathBuf,
    /// The folder with the files of the data set, ready to be opened.
    pub folder: PathBuf,
    /// Whether the archive was downloaded now; otherwise it was there.
    pub downloaded: bool,
}

/// Downloads the archive of `format` from the folder at `base_url` (see [`OFFICIAL`]) into `dir`,
/// checks its SHA-256 on the way, opens it with all the checks of [`open`](crate::open), and
/// unpacks its files beside it.
///
/// What is there is kept: an archive with the right checksum is not downloaded again, and a folder
/// with the right name is not touched. Files appear whole and under their final name or not at all.
/// `progress` is called before each request, with each piece received, and several times a second while
/// nothing is; it stops the download with a `Break`. What a fetch into the same folder left that was killed
/// goes after a day.
///
/// # Errors
/// If a folder with the right name does not open, the server does not give the archive, it is not the right
/// one, an existing archive is not the right one, the disk refuses, or `progress` asked to stop. Nothing is
/// left behind then, but the archive if it is the right one and could not be opened or unpacked.
pub fn fetch(
    format: &'static dyn Format,
    base_url: &str,
    dir: &Path,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fetched, DataError> {
    let missing: Vec<&Path> = dir
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .collect();
    let result = fs::create_dir_all(dir)
        .map_err(|error| DataError::io(dir, error))
        .and_then(|()| fetch_into(format, base_url, dir, progress));
    if result.is_err() {
        for folder in missing {
            // Only what is empty goes; what is not was not made by this call alone.
            let _ = fs::remove_dir(folder);
        }
    }
    result
}

fn fetch_into(
    format: &'static dyn Format,
    base_url: &str,
    dir: &Path,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fetched, DataError> {
    tidy(dir);
    let folder = dir.join(format.folder());
    let unpacked = folder.symlink_metadata().is_ok();
    if unpacked {
        check_whole(format, &folder)?;
    }
    let wanted = format.archive();
    let archive = dir.join(wanted.file_name);
    let downloaded = !archive.exists();
    if downloaded {
        download::download(&wanted, base_url, &archive, progress)?;
    } else {
        let found = verify::of_file(&archive)?.sha256;
        if found != wanted.sha256 {
            let expected = format!("sha256 {}", wanted.sha256);
            return Err(DataError::unexpected(&archive, expected, format!("sha256 {found}")));
        }
    }
    if !unpacked {
        unpack(format, &archive, dir, &folder)?;
    }
    Ok(Fetched { archive, folder, downloaded })
}

/// Refuses a folder that is not the whole data set, such as what a copy left that broke off.
fn check_whole(format: &'static dyn Format, folder: &Path) -> Result<(), DataError> {
    match format.open(&Place::Folder(folder.to_path_buf())) {
        Ok(_) => Ok(()),
        Err(error) => {
            let found = format!("what does not open ({error}): remove it and fetch again");
            Err(DataError::unexpected(folder, "a whole data set", found))
        }
    }
}

/// Removes what fetches left that were killed.
fn tidy(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten().filter(is_stale) {
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed {
            log::warn!("{}: {error}: what an earlier fetch left stays", path.display());
        }
    }
}

fn is_stale(entry: &DirEntry) -> bool {
    let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|modified| modified.elapsed().ok());
    is_ours && age.is_some_and(|age| age > STALE)
}

/// Writes the files of the archive to a temporary folder in `dir`, then gives it its name.
fn unpack(
    format: &'static dyn Format,
    archive: &Path,
    dir: &Path,
    folder: &Path,
) -> Result<(), DataError> {
    let dataset = format.open(&Place::Archive(archive.to_path_buf()))?;
    let temporary = builder(0o777).tempdir_in(dir).map_err(|error| DataError::io(dir, error))?;
    for (path, bytes) in dataset.files() {
        let path = temporary.path().join(path.file_name().unwrap_or_default());
        let write = || {
            let mut file = File::create_new(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|error| DataError::io(&path, error))?;
    }
    fs::rename(temporary.path(), folder).map_err(|error| DataError::io(folder, error))?;
    let _renamed = temporary.keep();
    Ok(())
}

/// Temporary files and folders with the rights that any other file would get.
fn builder(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder
}
