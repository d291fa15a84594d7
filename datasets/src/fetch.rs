//! Downloading the official archives.

use crate::registry::{Archive, Format, Place};
use crate::{DataError, verify};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

#[cfg_attr(not(feature = "download"), path = "fetch/refused.rs")]
mod http;

/// Where the official archives are published.
pub const OFFICIAL: &str = "https://www.cs.toronto.edu/~kriz";

/// Requests for one archive: the first, and those that go on where a connection broke.
const ATTEMPTS: u32 = 4;

/// A body longer than this is not one of the archives, which have 170 MB.
const MAX_LEN: u64 = 1 << 30;

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
/// `progress` is called with each piece received, and stops the download with a `Break`.
///
/// # Errors
/// If the server does not give the archive, it is not the right one, an existing archive is not the
/// right one, the disk refuses, or `progress` asked to stop. Nothing is left behind then, but the
/// archive if it is the right one and could not be opened or unpacked.
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
    let wanted = format.archive();
    let archive = dir.join(wanted.file_name);
    let downloaded = !archive.exists();
    if downloaded {
        download(&wanted, base_url, &archive, progress)?;
    } else {
        let found = verify::of_file(&archive)?.sha256;
        if found != wanted.sha256 {
            let expected = format!("sha256 {}", wanted.sha256);
            return Err(DataError::unexpected(&archive, expected, format!("sha256 {found}")));
        }
    }
    let folder = dir.join(format.folder());
    if !folder.exists() {
        unpack(format, &archive, dir, &folder)?;
    }
    Ok(Fetched { archive, folder, downloaded })
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

fn download(
    archive: &Archive,
    base_url: &str,
    target: &Path,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(), DataError> {
    let url = format!("{}/{}", base_url.trim_end_matches('/'), archive.file_name);
    let fail = |found: String| {
        Err(DataError::Download {
            url: url.clone(),
            expected: format!("an archive with sha256 {}", archive.sha256),
            found,
        })
    };
    let dir = target.parent().unwrap_or(Path::new("."));
    let temporary = builder(0o666).tempfile_in(dir).map_err(|error| DataError::io(dir, error))?;
    let mut sink = Sink { file: temporary, hasher: Sha256::new(), received: 0 };
    let mut broken = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            log::warn!("{url}: {broken}; going on from byte {}", sink.received);
            thread::sleep(Duration::from_millis(100 << attempt));
        }
        match sink.receive(&url, target, progress)? {
            Received::Whole => {
                let found = verify::hexadecimal(sink.hasher.finalize());
                if found != archive.sha256 {
                    return fail(format!("{} bytes with sha256 {found}", sink.received));
                }
                let at_target = |error| DataError::io(target, error);
                sink.file.as_file().sync_all().map_err(at_target)?;
                let persisted = sink.file.persist_noclobber(target);
                return persisted.map(drop).map_err(|error| at_target(error.error));
            }
            Received::Interrupted => return Err(DataError::Interrupted { url }),
            Received::Refused(found) => return fail(found),
            Received::Broken(found) => broken = found,
        }
    }
    Err(DataError::Unreachable { url, reason: broken, attempts: ATTEMPTS })
}

/// What has been received of an archive.
struct Sink {
    file: tempfile::NamedTempFile,
    hasher: Sha256,
    received: u64,
}

/// How a request ended.
enum Received {
    /// With the last byte.
    Whole,
    /// Early: another request may go on.
    Broken(String),
    /// With an answer that another request would get too.
    Refused(String),
    /// By the caller.
    Interrupted,
}

impl Sink {
    /// Asks for what is still missing and writes it down.
    ///
    /// # Errors
    /// If the disk refuses.
    fn receive(
        &mut self,
        url: &str,
        target: &Path,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Received, DataError> {
        let mut response = match http::get(url, self.received) {
            Ok(response) => response,
            Err(received) => return Ok(received),
        };
        let at_target = |error| DataError::io(target, error);
        if response.start != self.received {
            self.file.as_file().set_len(0).map_err(at_target)?;
            self.file.rewind().map_err(at_target)?;
            self.hasher.reset();
            self.received = 0;
        }
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = match response.body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let total = of_total(response.total);
                    let found = format!("{} bytes{total}, then {error}", self.received);
                    return Ok(Received::Broken(found));
                }
            };
            self.received += read as u64;
            if self.received > MAX_LEN {
                return Ok(Received::Refused(format!("more than {MAX_LEN} bytes")));
            }
            self.file.write_all(&buffer[..read]).map_err(at_target)?;
            self.hasher.update(&buffer[..read]);
            let so_far = Progress { received: self.received, total: response.total };
            if progress(so_far).is_break() {
                return Ok(Received::Interrupted);
            }
        }
        match response.total {
            Some(total) if self.received < total => {
                Ok(Received::Broken(format!("{} bytes{}", self.received, of_total(response.total))))
            }
            _ => Ok(Received::Whole),
        }
    }
}

fn of_total(total: Option<u64>) -> String {
    total.map_or_else(String::new, |total| format!(" of {total}"))
}

/// Temporary files and folders with the rights that any other file would get.
fn builder(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".pleach-fetch-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder
}
