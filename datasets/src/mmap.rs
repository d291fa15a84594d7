//! Read-only memory maps of data files.

#![expect(unsafe_code, reason = "a memory map is only as stable as the file behind it")]

use crate::DataError;
use memmap2::Mmap;
use std::fs::File;
use std::path::Path;

/// Maps the file at `path`.
///
/// # Errors
/// If `path` is not a regular file that can be opened and mapped.
pub(crate) fn map(path: &Path) -> Result<Mmap, DataError> {
    let fail = |source| DataError::io(path, source);
    let file = File::open(path).map_err(fail)?;
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(DataError::unexpected(path, "a file", "something that is not a file"));
    }
    // SAFETY: the map is read-only and private to this process, and nothing in this crate writes to
    // a data file in place: `fetch` renames whole files. Another process that truncates the file
    // while it is mapped ends this one with SIGBUS; like every reader of mapped data sets, this one
    // takes that risk, which cannot make it read memory that is not the file's. Should another process
    // write to the file, reading a byte gives some byte, and any will do: bytes are only read as `u8`,
    // of which every value is valid, and text is made of copies.
    unsafe { Mmap::map(&file) }.map_err(fail)
}
