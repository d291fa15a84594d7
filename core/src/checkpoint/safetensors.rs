//! The safetensors format: a little-endian `u64` length, that many bytes of JSON, then the tensors.
//!
//! The reader trusts nothing. It accepts a file only if every byte after the header belongs to
//! exactly one tensor, so that what was read is all there is.

use super::CheckpointError;
use super::header::{Header, Info, METADATA, json_offset};
use super::raw::{RawTensor, widen};
use crate::text::shortened;
use byteorder::{ByteOrder, LittleEndian};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// The most bytes a header may have, as in the reference implementation.
pub const MAX_HEADER: u64 = 100_000_000;

/// Names, types and bits of the format's element types.
const DTYPES: &[(&str, u64)] = &[
    ("BOOL", 8),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("I64", 64),
    ("U64", 64),
    ("F64", 64),
];

/// A tensor in a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View<'a> {
    /// The type of its elements, as the format writes it: `F32`, `BF16`, ...
    pub dtype: &'static str,
    /// Its dimensions; none: a scalar.
    pub shape: &'a [usize],
    /// Its bytes, little-endian, in row-major order.
    pub bytes: &'a [u8],
    /// Where its bytes start in the file.
    pub offset: u64,
}

/// A sound safetensors file.
#[derive(Clone, Debug)]
pub struct SafeTensors<'a> {
    /// The metadata, in the order of the keys.
    pub metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Tensor>,
    data: &'a [u8],
    data_start: u64,
}

#[derive(Clone, Debug)]
struct Tensor {
    dtype: &'static str,
    shape: Vec<usize>,
    range: std::ops::Range<usize>,
}

impl<'a> SafeTensors<'a> {
    /// Reads the file's `bytes`; `path` is only what errors call it.
    ///
    /// # Errors
    /// If anything is not as the format says: a header that is too long, malformed or with a key twice,
    /// an unknown type, a size that does not follow from type and shape, tensors that overlap or leave
    /// bytes between or after them.
    pub fn parse(path: &Path, bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let format = |offset: u64, expected: String, found: String| CheckpointError::Format {
            path: path.into(),
            offset,
            expected: shortened(expected),
            found: shortened(found),
        };
        let len = bytes.len() as u64;
        if len < 8 {
            return Err(format(0, "a header length of 8 bytes".into(), format!("{len} bytes")));
        }
        let header_len = LittleEndian::read_u64(bytes);
        let limit = MAX_HEADER.min(len - 8);
        if header_len > limit {
            let expected = format!("a header length of at most {limit}");
            return Err(format(0, expected, header_len.to_string()));
        }
        let data_start = 8 + header_len;
        let (header, data) = bytes[8..].split_at(header_len as usize);
        // A copy: the bytes may be those of a file that another process writes to.
        let header = &String::from_utf8(header.to_vec()).map_err(|error| {
            let offset = 8 + error.utf8_error().valid_up_to() as u64;
            format(offset, "a header in UTF-8".into(), "other bytes".into())
        })?;
        if !header.starts_with('{') {
            let found = header.chars().next().map_or("nothing".into(), |c| format!("{c:?}"));
            return Err(format(8, "a JSON object as header".into(), found));
        }
        let parsed: Header = serde_json::from_str(header).map_err(|error| {
            let offset = 8 + json_offset(header, &error);
            format(offset, "a JSON header of the safetensors format".into(), error.to_string())
        })?;

        let mut tensors = BTreeMap::new();
        let mut order: Vec<(u64, u64, &str)> = Vec::with_capacity(parsed.tensors.len());
        for (name, info) in &parsed.tensors {
            let at_header = |expected: String, found: String| format(8, expected, found);
            let Some(&(dtype, bits)) = DTYPES.iter().find(|(dtype, _)| *dtype == info.dtype) else {
                let expected = format!("a known type of tensor {name:?}");
                return Err(at_header(expected, format!("{:?}", info.dtype)));
            };
            let [begin, end] = info.data_offsets;
            if begin > end || end > data.len() as u64 {
                let expected = format!("tensor {name:?} within {} bytes of data", data.len());
                return Err(at_header(expected, format!("bytes {begin}..{end}")));
            }
            let elements = info.shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim));
            let size = elements.and_then(|n| n.checked_mul(bits / 8));
            if size != Some(end - begin) {
                let size = size.map_or("more than 2^64".into(), |size| size.to_string());
                let expected =
                    format!("{size} bytes of tensor {name:?}, {dtype} of shape {:?}", info.shape);
                let found = format!("{} bytes", end - begin);
                return Err(format(data_start + begin, expected, found));
            }
            let Some(shape) = info.shape.iter().map(|&dim| usize::try_from(dim).ok()).collect()
            else {
                let expected = format!("dimensions of tensor {name:?} of this machine's size");
                return Err(at_header(expected, format!("{:?}", info.shape)));
            };
            let range = begin as usize..end as usize;
            tensors.insert(name.clone(), Tensor { dtype, shape, range });
            order.push((begin, end, name));
        }
        order.sort_unstable();
        let mut covered = 0;
        for (begin, end, name) in order {
            if begin != covered {
                let expected = format!("tensor {name:?} to start at byte {covered} of the data");
                return Err(format(data_start + covered, expected, format!("byte {begin}")));
            }
            covered = end;
        }
        if covered != data.len() as u64 {
            let found = format!("{} more bytes", data.len() as u64 - covered);
            return Err(format(data_start + covered, "the end of the file".into(), found));
        }
        Ok(Self { metadata: parsed.metadata, tensors, data, data_start })
    }

    /// The tensor called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<View<'_>> {
        self.tensors.get(name).map(|tensor| self.view(tensor))
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, View<'_>)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), self.view(tensor)))
    }

    /// All tensors, by name, without the header.
    pub(super) fn into_raw(self) -> BTreeMap<String, RawTensor<'a>> {
        let raw =
            |Tensor { dtype, shape, range }| RawTensor::dense(dtype, shape, &self.data[range]);
        self.tensors.into_iter().map(|(name, tensor)| (name, raw(tensor))).collect()
    }

    fn view<'s>(&'s self, tensor: &'s Tensor) -> View<'s> {
        View {
            dtype: tensor.dtype,
            shape: &tensor.shape,
            bytes: &self.data[tensor.range.clone()],
            offset: self.data_start + tensor.range.start as u64,
        }
    }
}

/// A tensor to be written.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its name.
    pub name: String,
    /// One of the format's types: `F32`, `BOOL`, ...
    pub dtype: &'static str,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Values<'a>,
}

/// The values of a tensor to be written.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Written as `F32`, `F16` or `BF16`, whichever the entry says.
    Floats(&'a [f32]),
    /// Written as `BOOL`.
    Bools(&'a [bool]),
}

/// Writes a file. Its bytes are a function of its contents: tensors stand in the order of falling
/// element size, then name, so that each is aligned, keys are sorted, and the header is padded with spaces
/// so that the data starts at a multiple of 8.
///
/// # Errors
/// What `writer` says.
///
/// # Panics
/// If two entries have one name, or a type does not hold an entry's values.
pub fn write(
    mut writer: impl Write,
    metadata: &BTreeMap<String, String>,
    entries: &[Entry<'_>],
) -> io::Result<()> {
    let mut entries: Vec<&Entry<'_>> = entries.iter().collect();
    entries.sort_by(|a, b| {
        let key = |entry: &Entry<'_>| std::cmp::Reverse(bytes_of(entry.dtype));
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    let mut header = BTreeMap::new();
    let mut end = 0;
    for entry in &entries {
        let begin = end;
        let len = match entry.values {
            Values::Floats(values) => values.len(),
            Values::Bools(values) => values.len(),
        };
        end += len as u64 * bytes_of(entry.dtype);
        let shape = entry.shape.iter().map(|&dim| dim as u64).collect();
        let info = Info { dtype: entry.dtype.into(), shape, data_offsets: [begin, end] };
        let info = serde_json::to_value(info).expect("numbers and names are JSON");
        assert!(header.insert(entry.name.as_str(), info).is_none(), "{} twice", entry.name);
    }
    let metadata = serde_json::to_value(metadata).expect("strings are JSON");
    header.insert(METADATA, metadata);
    let mut header = serde_json::to_vec(&header).expect("strings are JSON");
    header.resize(header.len().next_multiple_of(8), b' ');

    writer.write_all(&(header.len() as u64).to_le_bytes())?;
    writer.write_all(&header)?;
    let mut buffer = Vec::with_capacity(4 * CHUNK);
    for entry in entries {
        match entry.values {
            Values::Bools(values) => {
                let bytes: Vec<u8> = values.iter().map(|&value| u8::from(value)).collect();
                writer.write_all(&bytes)?;
            }
            Values::Floats(values) => {
                for values in values.chunks(CHUNK) {
                    encode(entry.dtype, values, &mut buffer);
                    writer.write_all(&buffer)?;
                }
            }
        }
    }
    writer.flush()
}

/// Floats encoded at once: 64 KB of `F32`.
const CHUNK: usize = 16 * 1024;

fn bytes_of(dtype: &str) -> u64 {
    DTYPES.iter().find(|(name, _)| *name == dtype).expect("a type of the format").1 / 8
}

fn encode(dtype: &str, values: &[f32], bytes: &mut Vec<u8>) {
    bytes.resize(values.len() * bytes_of(dtype) as usize, 0);
    match dtype {
        "F32" => LittleEndian::write_f32_into(values, bytes),
        "F16" => {
            for (bytes, &value) in bytes.chunks_exact_mut(2).zip(values) {
                LittleEndian::write_u16(bytes, half::f16::from_f32(value).to_bits());
            }
        }
        "BF16" => {
            for (bytes, &value) in bytes.chunks_exact_mut(2).zip(values) {
                LittleEndian::write_u16(bytes, half::bf16::from_f32(value).to_bits());
            }
        }
        _ => panic!("{dtype} holds no weights"),
    }
}

impl<'a> View<'a> {
    /// The values as `f32`, if the type is `F64` (rounded to the nearest), `F32`, `F16` or `BF16`.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        widen(self.dtype, self.bytes)
    }

    /// The tensor, apart from the file's header.
    pub(super) fn raw(&self) -> RawTensor<'a> {
        RawTensor::dense(self.dtype, self.shape.to_vec(), self.bytes)
    }
}
