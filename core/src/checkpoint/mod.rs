//! Networks in files: safetensors with PyTorch's names, the architecture in the metadata.
//!
//! A checkpoint holds finite values only: [`save`] refuses to replace a good file by one of a network
//! that diverged, and [`load`] refuses one that has such values all the same. Metadata, beside
//! `format`, `pt`: `pleach.graph` (the nodes as JSON), `pleach.model`, `pleach.dataset`,
//! `pleach.normalisation` and `pleach.extra.*`. Training state, where there is some, stands in tensors
//! `optimizer.<slot>.<param>` and `frozen.<param>`.

mod atomic;
mod error;
mod graph_json;
mod mmap;
pub mod safetensors;
mod state_dict;

pub use atomic::write_atomically;
pub use error::{CheckpointError, Mismatch};
pub use state_dict::{load_state_dict, read_state_dict};

use crate::graph::{Graph, GraphParam};
use crate::network::{Network, Param};
use graph_json::GraphJsonError;
use safetensors::{Entry, SafeTensors, Values, View};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a file says of its network beside structure and weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// The model's name, such as `vgg16`; of a pruned network, the one it came from.
    pub model: String,
    /// The data it was trained on.
    pub dataset: Option<String>,
    /// What its images are normalised by.
    pub normalisation: Option<Normalisation>,
    /// Anything else, such as the epoch.
    pub extra: BTreeMap<String, String>,
}

/// What makes a network's input of an image with values in `[0, 1]`: `(x - mean) / std` by channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Subtracted, one value a channel.
    pub mean: Vec<f32>,
    /// Divided by, one value a channel.
    pub std: Vec<f32>,
}

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

const GRAPH: &str = "pleach.graph";
const MODEL: &str = "pleach.model";
const DATASET: &str = "pleach.dataset";
const NORMALISATION: &str = "pleach.normalisation";
const EXTRA: &str = "pleach.extra.";
const FLOATS: &str = "F32, F16 or BF16";

/// Writes `network` to `path`, whole or not at all (see [`write_atomically`]). The bytes are a function
/// of the arguments. With `training_state`, the optimiser's slots and the frozen rows are kept too, and
/// everything is written as [`Dtype::F32`], so that training goes on with the same bits.
///
/// # Errors
/// If a value is not finite or too large for `dtype`, or the operating system refuses.
pub fn save(
    path: &Path,
    network: &Network,
    meta: &Meta,
    dtype: Dtype,
    training_state: bool,
) -> Result<(), CheckpointError> {
    let dtype = if training_state { Dtype::F32 } else { dtype };
    let mut entries = Vec::new();
    for (param, place) in network.params().iter().zip(network.graph().params()) {
        let floats = |name, values| Entry {
            name,
            dtype: dtype.name(),
            shape: place.spec.dims.clone(),
            values: Values::Floats(values),
        };
        entries.push(floats(place.name.clone(), &param.value));
        if training_state {
            for (slot, values) in param.slots.iter().enumerate() {
                entries.push(floats(slot_name(slot, place), values));
            }
            if !param.frozen.is_empty() {
                entries.push(Entry {
                    name: frozen_name(place),
                    dtype: "BOOL",
                    shape: vec![param.frozen.len()],
                    values: Values::Bools(&param.frozen),
                });
            }
        }
    }
    for entry in &entries {
        if let Values::Floats(values) = entry.values {
            check_finite(path, &entry.name, values, dtype)?;
        }
    }
    let metadata = to_metadata(network.graph(), meta);
    write_atomically(path, |file| safetensors::write(file, &metadata, &entries))
        .map_err(|source| CheckpointError::Io { action: "write", path: path.into(), source })
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
    let Some(json) = file.metadata.get(GRAPH) else {
        return Err(CheckpointError::NoArchitecture { path: path.into() });
    };
    let graph = graph_json::from_json(json).map_err(|error| match error {
        GraphJsonError::Graph(source) => CheckpointError::Graph { path: path.into(), source },
        GraphJsonError::Json(found) => CheckpointError::Metadata {
            path: path.into(),
            key: GRAPH,
            expected: "the nodes of a graph",
            found,
        },
    })?;
    let meta = from_metadata(path, &file, &graph)?;

    let mut rest: BTreeSet<&str> = file.iter().map(|(name, _)| name).collect();
    let mut mismatches = Vec::new();
    let mut params = Vec::with_capacity(graph.params().len());
    for place in graph.params() {
        let dims = &place.spec.dims;
        let mut floats = |name: &str| {
            let view = file.get(name)?;
            rest.remove(name);
            match to_values(name, &view, dims) {
                Ok(values) => Some((view, values)),
                Err(mismatch) => {
                    mismatches.push(mismatch);
                    Some((view, Vec::new()))
                }
            }
        };
        let mut param = Param::default();
        let value = floats(&place.name);
        for slot in 0.. {
            match floats(&slot_name(slot, place)) {
                Some((_, values)) => param.slots.push(values),
                None => break,
            }
        }
        match value {
            Some((_, values)) => param.value = values,
            None => mismatches
                .push(Mismatch::Missing { name: place.name.clone(), expected: dims.clone() }),
        }
        let name = frozen_name(place);
        if let Some(view) = file.get(&name) {
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
    }
    Ok(Checkpoint { network: Network::with_params(graph, params), meta })
}

fn slot_name(slot: usize, place: &GraphParam) -> String {
    format!("optimizer.{slot}.{}", place.name)
}

fn frozen_name(place: &GraphParam) -> String {
    format!("frozen.{}", place.name)
}

fn to_values(name: &str, view: &View<'_>, dims: &[usize]) -> Result<Vec<f32>, Mismatch> {
    if view.shape != dims {
        let (expected, found) = (dims.to_vec(), view.shape.to_vec());
        return Err(Mismatch::Shape { name: name.into(), expected, found });
    }
    view.to_f32().ok_or_else(|| Mismatch::Dtype {
        name: name.into(),
        expected: FLOATS,
        found: view.dtype,
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
fn check_param(path: &Path, place: &GraphParam, values: &[f32]) -> Result<(), CheckpointError> {
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

fn check_finite(
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
                false => "is not finite",
            },
        }),
        None => Ok(()),
    }
}

fn to_metadata(graph: &Graph, meta: &Meta) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([
        ("format".into(), "pt".into()),
        (GRAPH.into(), graph_json::to_json(graph)),
        (MODEL.into(), meta.model.clone()),
    ]);
    if let Some(dataset) = &meta.dataset {
        metadata.insert(DATASET.into(), dataset.clone());
    }
    if let Some(normalisation) = &meta.normalisation {
        let json = serde_json::to_string(normalisation).expect("numbers are JSON");
        metadata.insert(NORMALISATION.into(), json);
    }
    for (key, value) in &meta.extra {
        metadata.insert(format!("{EXTRA}{key}"), value.clone());
    }
    metadata
}

fn from_metadata(
    path: &Path,
    file: &SafeTensors<'_>,
    graph: &Graph,
) -> Result<Meta, CheckpointError> {
    let get = |key: &str| file.metadata.get(key).cloned();
    let normalisation = match get(NORMALISATION) {
        None => None,
        Some(json) => {
            let malformed = |found| CheckpointError::Metadata {
                path: path.into(),
                key: NORMALISATION,
                expected: "mean and std of each channel, std above 0",
                found,
            };
            let normalisation: Normalisation =
                serde_json::from_str(&json).map_err(|error| malformed(error.to_string()))?;
            let Normalisation { mean, std } = &normalisation;
            let channels = graph.input_shape().channels;
            let sound = [mean.len(), std.len()] == [channels; 2]
                && mean.iter().all(|x| x.is_finite())
                && std.iter().all(|&x| x.is_finite() && x > 0.0);
            if !sound {
                return Err(malformed(json));
            }
            Some(normalisation)
        }
    };
    let extra = file.metadata.iter().filter_map(|(key, value)| {
        key.strip_prefix(EXTRA).map(|key| (key.to_owned(), value.clone()))
    });
    Ok(Meta {
        model: get(MODEL).unwrap_or_default(),
        dataset: get(DATASET),
        normalisation,
        extra: extra.collect(),
    })
}
