//! Files as memory.

#![expect(unsafe_code, reason = "mapping a file cannot be proven safe by the compiler")]

use super::CheckpointError;
use memmap2::Mmap;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// Maps the file at `path` for reading.
///
/// Another process that shortens the file while it is mapped can end this one with a bus error;
/// checkpoints are replaced as a whole by a rename, which leaves the old file to those who have it.
pub(crate) fn map(path: &Path) -> Result<Mmap, CheckpointError> {
    let io = |action| move |source| CheckpointError::Io { action, path: path.into(), source };
    let file = File::open(path).map_err(io("open"))?;
    if !file.metadata().map_err(io("read"))?.is_file() {
        return Err(io("read")(Error::new(ErrorKind::InvalidInput, "not a regular file")));
    }
    // SAFETY: the mapping is read-only and private to this process, and its bytes are only read as
    // `u8`, of which every value is valid. Should another process write to the file meanwhile, the
    // reader sees other bytes, all of which it checks and none of which it trusts twice: every range
    // is checked against the mapping's length, which does not change.
    unsafe { Mmap::map(&file) }.map_err(io("map"))
}
