//! Weights that other codes saved: PyTorch's names, the architecture known from elsewhere.

use super::safetensors::{SafeTensors, View};
use super::{Checkpoint, CheckpointError, Meta, Mismatch, check_param, mmap, to_values};
use crate::graph::{Graph, GraphParam};
use crate::models::{self, ModelKind};
use crate::network::{Network, Param};
use crate::tensor::Shape;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads a plain safetensors file of a network that `arch` names (`vgg16`, or `vgg16:W,W,...`), for
/// images of shape `image`. Widths that `arch` does not give, and the number of classes where `classes`
/// does not, are those of the weights. Names are PyTorch's, with or without leading `module.`;
/// `num_batches_tracked` is ignored.
///
/// # Errors
/// As [`super::load`], and if there is no such architecture. All tensors that are missing, have no place
/// or another shape are listed in one error.
pub fn load_state_dict(
    path: &Path,
    arch: &str,
    image: Shape,
    classes: Option<usize>,
) -> Result<Checkpoint, CheckpointError> {
    read_state_dict(path, &mmap::map(path)?, arch, image, classes)
}

/// [`load_state_dict`] from the file's bytes; `path` is only what errors call it.
///
/// # Errors
/// As [`load_state_dict`], without those of the operating system.
pub fn read_state_dict(
    path: &Path,
    bytes: &[u8],
    arch: &str,
    image: Shape,
    classes: Option<usize>,
) -> Result<Checkpoint, CheckpointError> {
    let (model, widths) = models::parse(arch)?;
    let file = SafeTensors::parse(path, bytes)?;
    let mut mismatches = Vec::new();
    let mut tensors: BTreeMap<String, (&str, View<'_>)> = BTreeMap::new();
    for (theirs, view) in file.iter() {
        if theirs.ends_with("num_batches_tracked") {
            continue;
        }
        let name = model.canonical(theirs);
        if let Some((other, _)) = tensors.insert(name.clone(), (theirs, view)) {
            let found = [other.to_owned(), theirs.to_owned()];
            mismatches.push(Mismatch::Twice { name, found });
        }
    }
    let graph = infer_graph(model, &widths, image, classes, &tensors)?;

    let mut params = Vec::with_capacity(graph.params().len());
    for place in graph.params() {
        let value = match tensors.remove(&place.name) {
            Some((theirs, view)) => to_values(theirs, &view, &place.spec.dims),
            None => {
                let (name, expected) = (place.name.clone(), place.spec.dims.clone());
                Err(Mismatch::Missing { name, expected })
            }
        };
        match value {
            Ok(value) => params.push(Param { value, ..Param::default() }),
            Err(mismatch) => mismatches.push(mismatch),
        }
    }
    mismatches.extend(tensors.into_values().map(|(theirs, view)| Mismatch::Unexpected {
        name: theirs.into(),
        found: view.shape.to_vec(),
    }));
    if !mismatches.is_empty() {
        let list: Vec<String> = models::widths(&graph).iter().map(usize::to_string).collect();
        let architecture = format!("{}:{}", model.name, list.join(","));
        return Err(CheckpointError::Weights { path: path.into(), architecture, mismatches });
    }
    for (param, place) in params.iter().zip(graph.params()) {
        check_param(path, place, &param.value)?;
    }
    let meta = Meta { model: model.name.into(), ..Meta::default() };
    Ok(Checkpoint { network: Network::with_params(graph, params), meta })
}

/// The graph at the widths that the weights have; the usual ones where they do not say.
fn infer_graph(
    model: &ModelKind,
    widths: &[usize],
    image: Shape,
    classes: Option<usize>,
    tensors: &BTreeMap<String, (&str, View<'_>)>,
) -> Result<Graph, CheckpointError> {
    /// Classes of a network whose weights do not say: any number will do, for its classifier is missing.
    const ANY: usize = 10;
    let usual = model.graph(widths, image, classes.unwrap_or(ANY))?;
    let rows = |place: &GraphParam| {
        let (_, view) = tensors.get(&place.name)?;
        let says = view.shape.len() == place.spec.dims.len() && !view.bytes.is_empty();
        says.then(|| view.shape[0])
    };
    let weight = |id| usual.node(id).params.clone().next().map(|i| &usual.params()[i]);
    let found: Vec<usize> = models::width_groups(&usual)
        .iter()
        .map(|group| {
            let mut found = group.producers.iter().filter_map(|&id| rows(weight(id)?));
            if widths.is_empty() { found.next().unwrap_or(group.width) } else { group.width }
        })
        .collect();
    let found_classes = weight(usual.output()).and_then(rows).unwrap_or(ANY);
    Ok(model.graph(&found, image, classes.unwrap_or(found_classes))?)
}
