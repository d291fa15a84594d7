//! Files as memory.

#![expect(unsafe_code, reason = "mapping a file cannot be proven safe by the compiler")]

use super::CheckpointError;
use memmap2::Mmap;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// Maps the file at `path` for reading. Text is to be copied before it is checked: a `str` must not change.
///
/// Another process that shortens the file while it is mapped can end this one with a bus error;
/// checkpoints are replaced as a whole by a rename, which leaves the old file to those who have it.
pub(crate) fn map(path: &Path) -> Result<Mmap, CheckpointError> {
    let io = |action| move |source| CheckpointError::Io { action, path: path.into(), source };
    let file = File::open(path).map_err(io("open"))?;
    if !file.metadata().map_err(io("read"))?.is_file() {
        return Err(io("read")(Error::new(ErrorKind::InvalidInput, "not a regular file")));
    }
    // SAFETY: the mapping is read-only, and its length does not change. This crate never writes to a file
    // in place; that no other process does, nothing here can ensure. The bytes under these shared
    // references would change then, so what is relied on is that reading a byte that another process
    // writes gives some byte. Any will do: the bytes are only read as `u8`, of which every value is
    // valid. Whatever must stay as it was when it was checked is copied first: all text (headers, names,
    // pickles, whole ONNX models), and each number, whether a length or a weight, before it is looked at.
    // Every range is checked, where it is used, against the mapping's length.
    unsafe { Mmap::map(&file) }.map_err(io("map"))
}
