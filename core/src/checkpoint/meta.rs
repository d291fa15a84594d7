//! What a checkpoint says of its network, as the file's metadata.

use super::CheckpointError;
use super::graph_json::{self, GraphJsonError};
use crate::graph::Graph;
use crate::text::shortened;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const GRAPH: &str = "pleach.graph";
const MODEL: &str = "pleach.model";
const DATASET: &str = "pleach.dataset";
const NORMALISATION: &str = "pleach.normalisation";
const EXTRA: &str = "pleach.extra.";

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

/// The metadata of a file.
pub(super) fn write(graph: &Graph, meta: &Meta) -> BTreeMap<String, String> {
    let mut metadata = provenance(meta);
    metadata.insert("format".into(), "pt".into());
    metadata.insert(GRAPH.into(), graph_json::to_json(graph));
    metadata
}

/// What a file's metadata says beside the graph.
pub(crate) fn provenance(meta: &Meta) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([(MODEL.into(), meta.model.clone())]);
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

/// What a file's metadata says.
pub(super) fn read(
    path: &Path,
    metadata: &BTreeMap<String, String>,
) -> Result<(Graph, Meta), CheckpointError> {
    let Some(json) = metadata.get(GRAPH) else {
        return Err(CheckpointError::NoArchitecture { path: path.into(), closest: None });
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
    let meta = read_provenance(path, metadata, graph.input_shape().channels)?;
    Ok((graph, meta))
}

/// What the metadata of a network for images of `channels` channels says beside the graph.
pub(crate) fn read_provenance(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    channels: usize,
) -> Result<Meta, CheckpointError> {
    let get = |key: &str| metadata.get(key).cloned();
    let normalisation = match get(NORMALISATION) {
        None => None,
        Some(json) => {
            let malformed = |found| CheckpointError::Metadata {
                path: path.into(),
                key: NORMALISATION,
                expected: "mean and std of each channel, std above 0",
                found: shortened(found),
            };
            let normalisation: Normalisation =
                serde_json::from_str(&json).map_err(|error| malformed(error.to_string()))?;
            let Normalisation { mean, std } = &normalisation;
            let sound = [mean.len(), std.len()] == [channels; 2]
                && mean.iter().all(|x| x.is_finite())
                && std.iter().all(|&x| x.is_finite() && x > 0.0);
            if !sound {
                return Err(malformed(json));
            }
            Some(normalisation)
        }
    };
    let extra = metadata.iter().filter_map(|(key, value)| {
        key.strip_prefix(EXTRA).map(|key| (key.to_owned(), value.clone()))
    });
    Ok(Meta {
        model: get(MODEL).unwrap_or_default(),
        dataset: get(DATASET),
        normalisation,
        extra: extra.collect(),
    })
}
