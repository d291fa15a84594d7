//! Arrays in NumPy's `.npy` files: images that go in, logits that come out.
//!
//! Source: NEP 1, "A Simple File Format for NumPy Arrays": a magic string, a version, the length of a
//! header, the header (a literal of a Python dictionary), then the values.

mod header;

use crate::checkpoint::{gather, map, widen, write_atomically};
use byteorder::{ByteOrder, LittleEndian};
use header::{Header, Malformed};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How every file begins.
const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The most bytes of a header: one of plain floats has some hundred.
const MAX_HEADER: usize = 1 << 16;

/// An array of floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its dimensions; none: a single value.
    pub shape: Vec<usize>,
    /// Its values in row-major order.
    pub values: Vec<f32>,
}

/// Why a file is no array that can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpyError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be opened as one.
    #[error(transparent)]
    Open(#[from] crate::checkpoint::CheckpointError),
    /// The file is no array of floats.
    #[error("{}: at byte {offset}: expected {expected}, found {found}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
}

/// Reads the array in the file at `path`: little-endian floats of 16, 32 or 64 bits, which are rounded
/// to the nearest `f32`, in either order of the dimensions.
///
/// # Errors
/// If the file cannot be read, is not of the format in version 1, 2 or 3, has other values, or not as many
/// as its shape says.
pub fn load(path: &Path) -> Result<Array, NpyError> {
    read(path, &map(path)?)
}

/// [`load`] from the file's bytes; `path` is only what errors call it.
///
/// # Errors
/// As [`load`], without those of the operating system.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Array, NpyError> {
    parse(bytes).map_err(|Malformed { offset, expected, found }| NpyError::Format {
        path: path.into(),
        offset: offset as u64,
        expected,
        found,
    })
}

/// Writes an array of `shape` as little-endian `f32` in row-major order, whole or not at all.
///
/// # Errors
/// What the operating system says.
///
/// # Panics
/// If `values` are not as many as `shape` says.
pub fn save(path: &Path, shape: &[usize], values: &[f32]) -> Result<(), NpyError> {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "values of shape {shape:?}");
    let write = |writer: &mut dyn Write| {
        writer.write_all(&preamble(shape))?;
        let mut bytes = [0; 4096];
        for values in values.chunks(bytes.len() / 4) {
            let bytes = &mut bytes[..4 * values.len()];
            LittleEndian::write_f32_into(values, bytes);
            writer.write_all(bytes)?;
        }
        Ok(())
    };
    write_atomically(path, write).map_err(|source| NpyError::Io {
        action: "write",
        path: path.into(),
        source,
    })
}

/// Everything before the values, in version 1.0.
fn preamble(shape: &[usize]) -> Vec<u8> {
    let dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    // A tuple of one has a comma, longer ones have none at their end.
    let dims = if shape.len() == 1 { dims.trim_end() } else { dims.trim_end_matches(", ") };
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
    // The values start at a multiple of 64, and the header's last byte is a newline.
    let start = (MAGIC.len() + 4 + text.len() + 1).next_multiple_of(64);
    text.extend(std::iter::repeat_n(' ', start - MAGIC.len() - 4 - text.len() - 1));
    text.push('\n');
    let len = u16::try_from(text.len()).expect("some numbers are a short text");
    [&MAGIC[..], &[1, 0], &len.to_le_bytes(), text.as_bytes()].concat()
}

fn parse(bytes: &[u8]) -> Result<Array, Malformed> {
    if !bytes.starts_with(MAGIC) {
        return Err(Malformed::new(0, "a .npy file, which begins with \\x93NUMPY", "other bytes"));
    }
    let cut = || Malformed::new(bytes.len(), "a version and a header", "the end of the file");
    let version = bytes.get(6..8).ok_or_else(cut)?;
    let (len, start) = match version {
        [1, 0] => (bytes.get(8..10).map(LittleEndian::read_u16).map(usize::from), 10),
        [2 | 3, 0] => (bytes.get(8..12).map(|len| LittleEndian::read_u32(len) as usize), 12),
        _ => {
            let found = format!("{}.{}", version[0], version[1]);
            return Err(Malformed::new(6, "version 1.0, 2.0 or 3.0", found));
        }
    };
    let len = len.ok_or_else(cut)?;
    if len > MAX_HEADER.min(bytes.len() - start) {
        let most = MAX_HEADER.min(bytes.len() - start);
        return Err(Malformed::new(
            8,
            format!("a header of at most {most} bytes"),
            len.to_string(),
        ));
    }
    let (text, data) = bytes[start..].split_at(len);
    // A copy of the text: the bytes may be those of a file that another process writes to.
    let text = text.to_vec();
    let Header { dtype, size, fortran, shape } = header::parse(&text, start)?;
    let count = shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
    if count.and_then(|count| count.checked_mul(size)) != Some(data.len()) {
        let expected = format!("{dtype} of shape {shape:?}");
        return Err(Malformed::new(start + len, expected, format!("{} bytes", data.len())));
    }
    let values = match fortran && !shape.contains(&0) {
        false => widen(dtype, data),
        true => {
            let mut stride = 1;
            let strides = shape.iter().map(|&dim| {
                stride *= dim;
                stride / dim
            });
            widen(dtype, &gather(data, size, &shape, &strides.collect::<Vec<_>>()))
        }
    };
    Ok(Array { values: values.expect("the header names floats"), shape })
}
