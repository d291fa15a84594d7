//! A folder's lock: a file that the operating system locks for as long as a process has it open.

use super::{RunDirError, io_error};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

/// The file, which stays when the lock is gone.
pub(super) const FILE: &str = "run.lock";

/// Held until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// For this process alone.
    pub(super) fn exclusive(folder: &Path) -> Result<Self, RunDirError> {
        Self::take(folder, File::try_lock)
    }

    /// For this process and others that share.
    pub(super) fn shared(folder: &Path) -> Result<Self, RunDirError> {
        Self::take(folder, File::try_lock_shared)
    }

    fn take(
        folder: &Path,
        lock: impl FnOnce(&File) -> Result<(), TryLockError>,
    ) -> Result<Self, RunDirError> {
        let path = folder.join(FILE);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let mut file = file.map_err(|source| io_error("open", &path, source))?;
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
                return Err(RunDirError::InUse { path: folder.into(), pid });
            }
            // Not every file system has locks; on those a run goes without.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                log::warn!("{}: {error}: two runs at once would go unnoticed", folder.display());
            }
            Err(TryLockError::Error(error)) => return Err(io_error("lock", &path, error)),
        }
        // The number is for people only: on a full disk the lock does without.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}
