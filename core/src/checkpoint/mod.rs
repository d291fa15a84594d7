//! Networks in files: safetensors with PyTorch's names, the architecture in the metadata.
//!
//! A checkpoint holds finite values only: [`save`] refuses to replace a good file by one of a network
//! that diverged, and [`load`] refuses one that has such values all the same. Metadata, beside
//! `format`, `pt`: `pleach.graph` (the nodes as JSON), `pleach.model`, `pleach.dataset`,
//! `pleach.normalisation` and `pleach.extra.*`. Training state, where there is some, stands in tensors
//! `optimizer.<slot>.<param>`, `lookahead.<param>` and `frozen.<param>`; none of these may be the name of a
//! parameter, which a tensor with such a name always is.

mod atomic;
mod contents;
mod error;
mod format;
mod graph_json;
mod header;
mod meta;
mod mmap;
mod pth;
mod raw;
pub mod safetensors;
mod state_dict;

pub use atomic::{is_temporary, write_atomically};
pub use error::{CheckpointError, Mismatch};
pub use format::Format;
pub use meta::{Meta, Normalisation};
pub(crate) use meta::{provenance, read_provenance};
pub(crate) use mmap::map;
pub(crate) use raw::{gather, widen};
pub use state_dict::{load_state_dict, read_state_dict};

use crate::graph::GraphParam;
use crate::network::{Network, Param};
use contents::{Contents, frozen_name, param_names, slot_name, slow_name};
use raw::RawTensor;
use safetensors::{SafeTensors, View};
use std::collections::BTreeSet;
use std::path::Path;

/// The type of weights in a file. In memory they are `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// Single precision.
    #[default]
    F32,
    /// IEEE half precision: 11 bits of significand, up to 65,504.
    F16,
    /// The upper half of a single: 8 bits of significand, the range of `f32`.
    Bf16,
}

/// A network from a file.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The network.
    pub network: Network,
    /// What the file says of it.
    pub meta: Meta,
}

impl Dtype {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    fn round(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::F16 => half::f16::from_f32(value).to_f32(),
            Self::Bf16 => half::bf16::from_f32(value).to_f32(),
        }
    }
}

/// Types that hold weights.
const FLOATS: &str = "F64, F32, F16 or BF16";

/// Writes `network` to `path`, whole or not at all (see [`write_atomically`]). The bytes are a function
/// of the arguments. With `training_state`, the optimiser's slots, slow weights and the frozen rows are kept too, and
/// everything is written as [`Dtype::F32`], so that training goes on with the same bits.
///
/// # Errors
/// If a value is not finite or too large for `dtype`, a running variance is negative, training state would
/// have a parameter's name, or the operating system refuses.
pub fn save(
    path: &Path,
    network: &Network,
    meta: &Meta,
    dtype: Dtype,
    training_state: bool,
) -> Result<(), CheckpointError> {
    let file = Contents::new(path, network, meta, dtype, training_state)?;
    write_atomically(path, |writer| safetensors::write(writer, &file.metadata, &file.entries))
        .map_err(|source| CheckpointError::Io { action: "write", path: path.into(), source })
}

/// The bytes of the file that [`save`] would write to `path`.
///
/// # Errors
/// As [`save`], without those of the operating system.
pub fn to_bytes(
    path: &Path,
    network: &Network,
    meta: &Meta,
    dtype: Dtype,
    training_state: bool,
) -> Result<Vec<u8>, CheckpointError> {
    let file = Contents::new(path, network, meta, dtype, training_state)?;
    let mut bytes = Vec::new();
    safetensors::write(&mut bytes, &file.metadata, &file.entries).expect("memory takes all writes");
    Ok(bytes)
}

/// Reads a file that [`save`] wrote.
///
/// # Errors
/// If the file cannot be read, is not sound, has no architecture or an invalid one, or has weights
/// that do not fit the architecture or are not finite.
pub fn load(path: &Path) -> Result<Checkpoint, CheckpointError> {
    read(path, &mmap::map(path)?)
}

/// [`load`] from the file's bytes; `path` is only what errors call it.
///
/// # Errors
/// As [`load`], without those of the operating system.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let file = SafeTensors::parse(path, bytes)?;
    let (graph, meta) = meta::read(path, &file.metadata)?;

    let names = param_names(&graph);
    let is_state = |name: &str| !names.contains(name);
    let mut rest: BTreeSet<&str> = file.iter().map(|(name, _)| name).collect();
    let mut mismatches = Vec::new();
    let mut params = Vec::with_capacity(graph.params().len());
    for place in graph.params() {
        let dims = &place.spec.dims;
        let mut floats = |name: &str| {
            let view = file.get(name)?;
            rest.remove(name);
            match to_values(name, &view.raw(), dims) {
                Ok(values) => Some(values),
                Err(mismatch) => {
                    mismatches.push(mismatch);
                    Some(Vec::new())
                }
            }
        };
        let mut param = Param::default();
        let value = floats(&place.name);
        let mut state = |name: String| if is_state(&name) { floats(&name) } else { None };
        for slot in 0.. {
            match state(slot_name(slot, place)) {
                Some(values) => param.slots.push(values),
                None => break,
            }
        }
        if let Some(values) = state(slow_name(place)) {
            param.slow = values;
        }
        match value {
            Some(values) => param.value = values,
            None => mismatches
                .push(Mismatch::Missing { name: place.name.clone(), expected: dims.clone() }),
        }
        let name = frozen_name(place);
        if let Some(view) = file.get(&name).filter(|_| is_state(&name)) {
            rest.remove(name.as_str());
            match to_frozen(&name, &view, dims[0]) {
                Ok(frozen) => param.frozen = frozen,
                Err(mismatch) => mismatches.push(mismatch),
            }
        }
        params.push(param);
    }
    mismatches.extend(rest.into_iter().filter_map(|name| {
        let found = file.get(name)?.shape.to_vec();
        Some(Mismatch::Unexpected { name: name.into(), found })
    }));
    if !mismatches.is_empty() {
        let architecture = "the architecture in the file".into();
        return Err(CheckpointError::Weights { path: path.into(), architecture, mismatches });
    }
    for (param, place) in params.iter().zip(graph.params()) {
        check_param(path, place, &param.value)?;
        for (slot, values) in param.slots.iter().enumerate() {
            check_finite(path, &slot_name(slot, place), values, Dtype::F32)?;
        }
        check_finite(path, &slow_name(place), &param.slow, Dtype::F32)?;
    }
    Ok(Checkpoint { network: Network::with_params(graph, params), meta })
}

fn to_values(name: &str, tensor: &RawTensor<'_>, dims: &[usize]) -> Result<Vec<f32>, Mismatch> {
    if tensor.shape != dims {
        let (expected, found) = (dims.to_vec(), tensor.shape.clone());
        return Err(Mismatch::Shape { name: name.into(), expected, found });
    }
    tensor.to_f32().ok_or_else(|| Mismatch::Dtype {
        name: name.into(),
        expected: FLOATS,
        found: tensor.dtype,
    })
}

fn to_frozen(name: &str, view: &View<'_>, rows: usize) -> Result<Vec<bool>, Mismatch> {
    if view.shape != [rows] {
        let (expected, found) = (vec![rows], view.shape.to_vec());
        return Err(Mismatch::Shape { name: name.into(), expected, found });
    }
    if view.dtype != "BOOL" {
        let (expected, found) = ("BOOL", view.dtype);
        return Err(Mismatch::Dtype { name: name.into(), expected, found });
    }
    Ok(view.bytes.iter().map(|&byte| byte != 0).collect())
}

/// Checks what no parameter may have: values that are not finite, and variances below 0.
pub(crate) fn check_param(
    path: &Path,
    place: &GraphParam,
    values: &[f32],
) -> Result<(), CheckpointError> {
    check_finite(path, &place.name, values, Dtype::F32)?;
    let negative = values.iter().position(|&value| value < 0.0);
    match negative.filter(|_| place.spec.name == "running_var") {
        Some(index) => Err(CheckpointError::Value {
            path: path.into(),
            tensor: place.name.clone(),
            index,
            value: values[index],
            reason: "is no variance",
        }),
        None => Ok(()),
    }
}

pub(crate) fn check_finite(
    path: &Path,
    tensor: &str,
    values: &[f32],
    dtype: Dtype,
) -> Result<(), CheckpointError> {
    match values.iter().position(|&value| !dtype.round(value).is_finite()) {
        Some(index) => Err(CheckpointError::Value {
            path: path.into(),
            tensor: tensor.into(),
            index,
            value: values[index],
            reason: match values[index].is_finite() {
                true => "does not fit the type of the weights",
                false => "is not finite as f32",
            },
        }),
        None => Ok(()),
    }
}
