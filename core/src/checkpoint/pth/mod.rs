//! State dicts that `torch.save` wrote: a zip archive with a pickle, which says what there is, and a
//! file of raw values for each storage.
//!
//! A pickle is a program. The reader knows only the instructions and the few names that state dicts are
//! made of, none of which it executes; anything else is refused by name. Values are read in place; time and memory are bounded by the size of the file and, for what the pickle makes, by
//! limits of their own.

mod calls;
mod objects;
mod pickle;
mod unpickler;
mod zip;

use super::CheckpointError;
use super::raw::{self, RawTensor};
use crate::text::shortened;
use objects::{Objects, Storage, Tensor};
use pickle::Value;
use std::collections::BTreeMap;
use std::path::Path;
use zip::Files;

/// How files begin that `torch.save` wrote before PyTorch 1.6: a pickle of a certain number.
const OLD: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// The most bytes of a pickle, as of a header of safetensors: a tensor takes some two hundred.
const MAX_PICKLE: usize = 100_000_000;

/// Names under which a checkpoint may have its state dict.
const WRAPPERS: [&str; 4] = ["state_dict", "model_state_dict", "model", "net"];

/// Wrappers in wrappers that are looked into.
const MAX_WRAPPERS: usize = 4;

/// Bytes that are not what they should be, and where.
#[derive(Debug)]
struct Malformed {
    offset: usize,
    expected: String,
    found: String,
}

impl Malformed {
    fn new(offset: usize, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { offset, expected: expected.into(), found: found.into() }
    }
}

/// Whether a file of these bytes is one that `torch.save` wrote, now or once.
pub(super) fn is_torch(bytes: &[u8]) -> bool {
    bytes.starts_with(zip::MAGIC) || bytes.starts_with(OLD)
}

/// The tensors of a state dict, or of the one that a checkpoint has under a usual name, by name.
///
/// # Errors
/// If the archive or the pickle is malformed, asks for anything that no state dict needs, or a tensor
/// is not within its storage.
pub(super) fn parse<'a>(
    path: &Path,
    bytes: &'a [u8],
) -> Result<BTreeMap<String, RawTensor<'a>>, CheckpointError> {
    tensors(bytes).map_err(|Malformed { offset, expected, found }| CheckpointError::Format {
        path: path.into(),
        offset: offset as u64,
        expected: shortened(expected),
        found: shortened(found),
    })
}

fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, RawTensor<'_>>, Malformed> {
    if !bytes.starts_with(zip::MAGIC) {
        let expected = "a zip archive, as torch.save writes since PyTorch 1.6";
        let found = match bytes.starts_with(OLD) {
            true => "the older format: load the file in PyTorch and save it again",
            false => "other bytes",
        };
        return Err(Malformed::new(0, expected, found));
    }
    let files = zip::files(bytes)?;
    let archive = Archive::new(bytes, &files)?;
    let pickle = archive.files[&archive.pickle].clone();
    let (start, len) = (pickle.start, pickle.len());
    if len > MAX_PICKLE {
        let expected = format!("a pickle of at most {MAX_PICKLE} bytes");
        return Err(Malformed::new(start, expected, len.to_string()));
    }
    // A copy: texts are used where they stand, and the file may be one that another process writes to.
    let pickle = bytes[pickle].to_vec();
    let (objects, top) = unpickler::run(&pickle, start)?;
    let entries = state_dict(&objects, top, start)?;
    let mut tensors = BTreeMap::new();
    let mut total = 0;
    for &(name, value) in entries {
        let (Value::Text(name), Value::Tensor(id)) = (name, value) else {
            let name = objects.describe(name);
            let found = format!("{} under the key {name}", objects.describe(value));
            return Err(Malformed::new(start, "tensors only, each under its name", found));
        };
        let tensor = archive.tensor(name, objects.tensor(id))?;
        // Storages may be shared, but what comes of it in memory must be in proportion to the file.
        total += tensor.len_bytes() as u64;
        if total > 2 * bytes.len() as u64 {
            let expected = "tensors of at most twice the file's size";
            return Err(Malformed::new(start, expected, format!("{total} bytes up to {name:?}")));
        }
        if tensors.insert(name.to_owned(), tensor).is_some() {
            return Err(Malformed::new(start, "each tensor once", format!("{name:?} twice")));
        }
    }
    Ok(tensors)
}

/// The dictionary of tensors: the outermost, or one under a usual name.
fn state_dict<'a, 'o>(
    objects: &'o Objects<'a>,
    top: Value<'a>,
    offset: usize,
) -> Result<&'o [(Value<'a>, Value<'a>)], Malformed> {
    let mut value = top;
    for _ in 0..=MAX_WRAPPERS {
        let Value::Dict(id) = value else { break };
        let entries = objects.dict(id);
        let inner = entries.iter().find_map(|&(key, value)| match (key, value) {
            (Value::Text(key), Value::Dict(_)) if WRAPPERS.contains(&key) => Some(value),
            _ => None,
        });
        match inner {
            Some(inner) => value = inner,
            None => return Ok(entries),
        }
    }
    let expected = "a state dict: a dictionary of tensors, or one under state_dict or model";
    Err(Malformed::new(offset, expected, objects.describe(top)))
}

/// The files that matter.
struct Archive<'a, 'f> {
    bytes: &'a [u8],
    files: &'f Files,
    /// The name of the pickle, and that name without `data.pkl`.
    pickle: String,
    prefix: String,
}

impl<'a, 'f> Archive<'a, 'f> {
    fn new(bytes: &'a [u8], files: &'f Files) -> Result<Self, Malformed> {
        let mut pickles = files.keys().filter_map(|name| {
            let prefix = name.strip_suffix("data.pkl")?;
            (prefix.is_empty() || prefix.find('/') == Some(prefix.len() - 1)).then_some(prefix)
        });
        let (Some(prefix), None) = (pickles.next(), pickles.next()) else {
            let expected = "one data.pkl in one folder, as torch.save writes it";
            let found = match files.len() {
                0 => "no files".to_owned(),
                _ => format!("{:?} and others", files.keys().next().map_or("", String::as_str)),
            };
            return Err(Malformed::new(0, expected, found));
        };
        let (pickle, prefix) = (format!("{prefix}data.pkl"), prefix.to_owned());
        if let Some(order) = files.get(&format!("{prefix}byteorder"))
            && bytes[order.clone()] != *b"little"
        {
            let shown = bytes[order.clone()].iter().copied().take(20).collect::<Vec<u8>>();
            let found = format!("{:?}", String::from_utf8_lossy(&shown));
            return Err(Malformed::new(order.start, "the byte order \"little\"", found));
        }
        Ok(Self { bytes, files, pickle, prefix })
    }

    fn tensor(&self, name: &str, tensor: &Tensor<'_>) -> Result<RawTensor<'a>, Malformed> {
        let Tensor { at, storage, offset, shape, strides } = tensor;
        let fault = |expected: String, found: String| Malformed::new(*at, expected, found);
        let Storage { key, dtype, len } = *storage;
        let size = raw::size_of(dtype).expect("storages are of known types");
        let file = format!("{}data/{key}", self.prefix);
        let Some(range) = self.files.get(&file) else {
            return Err(fault(
                format!("a file {file:?} with the values of {name:?}"),
                "none".into(),
            ));
        };
        let bytes = &self.bytes[range.clone()];
        if len.checked_mul(size as u64) != Some(bytes.len() as u64) {
            let expected = format!("{len} values of {dtype} in {file:?}");
            return Err(fault(expected, format!("{} bytes", bytes.len())));
        }
        if shape.len() != strides.len() {
            let found = format!("shape {shape:?} with strides {strides:?}");
            return Err(fault(format!("a stride for each dimension of {name:?}"), found));
        }
        // The values of the tensor, and the last place that it reads, counted from the storage's start.
        let count = shape.iter().try_fold(1u64, |count, &dim| count.checked_mul(dim));
        let reach = shape.iter().zip(strides).try_fold(*offset, |reach, (&dim, &stride)| {
            reach.checked_add(dim.saturating_sub(1).checked_mul(stride)?)
        });
        let fits = match (count, reach) {
            (Some(0), _) => *offset <= len,
            // Strides of 0 and others that overlap would make more of a storage than there is in it.
            (Some(count), Some(reach)) => reach < len && count <= len,
            _ => false,
        };
        if !fits {
            let expected = format!("{name:?} within the {len} values of its storage");
            let found = format!("shape {shape:?} with strides {strides:?} from value {offset}");
            return Err(fault(expected, found));
        }
        // All of these are at most `len`, which is at most the file's length; but of an empty tensor only
        // the offset is.
        let shape: Vec<usize> = shape.iter().map(|&dim| dim as usize).collect();
        let strides: Vec<usize> = strides.iter().map(|&stride| stride as usize).collect();
        let bytes = &bytes[*offset as usize * size..];
        Ok(RawTensor::strided(dtype, shape, strides, bytes))
    }
}
