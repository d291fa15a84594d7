//! What is written, and what training state is called.

use super::safetensors::{Entry, Values};
use super::{CheckpointError, Dtype, Meta, check_finite, check_param, meta};
use crate::graph::{Graph, GraphParam};
use crate::network::Network;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a checkpoint's file holds.
pub(super) struct Contents<'a> {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) entries: Vec<Entry<'a>>,
}

impl<'a> Contents<'a> {
    pub(super) fn new(
        path: &Path,
        network: &'a Network,
        meta: &Meta,
        dtype: Dtype,
        training_state: bool,
    ) -> Result<Self, CheckpointError> {
        let dtype = if training_state { Dtype::F32 } else { dtype };
        let (graph, mut entries, mut state) = (network.graph(), Vec::new(), Vec::new());
        for (param, place) in network.params().iter().zip(graph.params()) {
            let floats = |name, values| Entry {
                name,
                dtype: dtype.name(),
                shape: place.spec.dims.clone(),
                values: Values::Floats(values),
            };
            check_param(path, place, &param.value)?;
            entries.push(floats(place.name.clone(), &param.value));
            if training_state {
                for (slot, values) in param.slots.iter().enumerate() {
                    state.push(floats(slot_name(slot, place), values));
                }
                if !param.slow.is_empty() {
                    state.push(floats(slow_name(place), &param.slow));
                }
                if !param.frozen.is_empty() {
                    state.push(Entry {
                        name: frozen_name(place),
                        dtype: "BOOL",
                        shape: vec![param.frozen.len()],
                        values: Values::Bools(&param.frozen),
                    });
                }
            }
        }
        let params = param_names(graph);
        if let Some(entry) = state.iter().find(|entry| params.contains(entry.name.as_str())) {
            return Err(CheckpointError::Name { path: path.into(), tensor: entry.name.clone() });
        }
        entries.append(&mut state);
        for entry in &entries {
            if let Values::Floats(values) = entry.values {
                check_finite(path, &entry.name, values, dtype)?;
            }
        }
        Ok(Self { metadata: meta::write(graph, meta), entries })
    }
}

/// The names of all parameters. A tensor with one of these is that parameter, also where training state of
/// another would be called the same.
pub(super) fn param_names(graph: &Graph) -> BTreeSet<&str> {
    graph.params().iter().map(|place| place.name.as_str()).collect()
}

pub(super) fn slot_name(slot: usize, place: &GraphParam) -> String {
    format!("optimizer.{slot}.{}", place.name)
}

pub(super) fn slow_name(place: &GraphParam) -> String {
    format!("lookahead.{}", place.name)
}

pub(super) fn frozen_name(place: &GraphParam) -> String {
    format!("frozen.{}", place.name)
}
