//! Weights that other codes saved: PyTorch's names, the architecture named by the user or recognised by
//! names and shapes.

use super::raw::RawTensor;
use super::safetensors::SafeTensors;
use super::{Checkpoint, CheckpointError, FLOATS, Meta, Mismatch, check_param, mmap, pth};
use crate::graph::{Graph, GraphParam};
use crate::layers::Layer;
use crate::models::{self, MODELS, ModelError, ModelKind};
use crate::network::{Network, Param};
use crate::tensor::Shape;
use std::collections::BTreeMap;
use std::path::Path;

/// The tensors of a file under the names that it gives them.
type Tensors<'a> = BTreeMap<String, RawTensor<'a>>;

/// Reads a state dict, either plain safetensors or what `torch.save` wrote, of a network for images of
/// shape `image` that `arch` names (`vgg16`, or `vgg16:W,W,...`), or else of the one model whose names
/// and shapes it has. Widths that `arch` does not give, and the number of classes where `classes` does
/// not, are those of the weights. Names are PyTorch's, with or without leading `module.`;
/// `num_batches_tracked` is ignored. A bias that the architecture does not have, of a convolution before a
/// batch norm, is subtracted from the batch norm's running mean, which is the same network.
///
/// # Errors
/// As [`super::load`], and if there is no such architecture, or the tensors are those of no model. All
/// tensors that are missing, have no place or another shape are listed in one error.
pub fn load_state_dict(
    path: &Path,
    arch: Option<&str>,
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
    arch: Option<&str>,
    image: Shape,
    classes: Option<usize>,
) -> Result<Checkpoint, CheckpointError> {
    let arch = arch.map(models::parse).transpose()?;
    let mut tensors = if pth::is_torch(bytes) {
        pth::parse(path, bytes)?
    } else {
        SafeTensors::parse(path, bytes)?.into_raw()
    };
    tensors.retain(|name, _| !name.ends_with("num_batches_tracked"));
    let Fit { model, graph, sources, biases, mismatches } = match &arch {
        Some((model, widths)) => Fit::new(model, widths, image, classes, &tensors)?,
        None => recognise(path, image, classes, &tensors)?,
    };
    if !mismatches.is_empty() {
        let list: Vec<String> = models::widths(&graph).iter().map(usize::to_string).collect();
        let architecture = format!("{}:{}", model.name, list.join(","));
        return Err(CheckpointError::Weights { path: path.into(), architecture, mismatches });
    }
    let mut params = Vec::with_capacity(sources.len());
    let values = |theirs: &str| tensors[theirs].to_f32().expect("what is no floats is a mismatch");
    for (i, (theirs, place)) in sources.into_iter().zip(graph.params()).enumerate() {
        let mut value = values(theirs.expect("what is missing is a mismatch"));
        if let Some(theirs) = biases.get(&i) {
            value.iter_mut().zip(values(theirs)).for_each(|(mean, bias)| *mean -= bias);
        }
        check_param(path, place, &value)?;
        params.push(Param { value, ..Param::default() });
    }
    let meta = Meta { model: model.name.into(), ..Meta::default() };
    Ok(Checkpoint { network: Network::with_params(graph, params), meta })
}

/// How the tensors of a file fit a model.
struct Fit<'t> {
    model: &'static ModelKind,
    graph: Graph,
    /// The name in the file of each parameter.
    sources: Vec<Option<&'t str>>,
    /// The names in the file of biases, by the parameter that they are subtracted from.
    biases: BTreeMap<usize, &'t str>,
    mismatches: Vec<Mismatch>,
}

impl<'t> Fit<'t> {
    fn new(
        model: &'static ModelKind,
        widths: &[usize],
        image: Shape,
        classes: Option<usize>,
        tensors: &'t Tensors<'_>,
    ) -> Result<Self, ModelError> {
        let mut mismatches = Vec::new();
        let mut canonical: BTreeMap<String, &str> = BTreeMap::new();
        for theirs in tensors.keys() {
            let name = model.canonical(theirs);
            if let Some(other) = canonical.insert(name.clone(), theirs) {
                let found = [other.to_owned(), theirs.to_owned()];
                mismatches.push(Mismatch::Twice { name, found });
            }
        }
        let shape =
            |name: &str| canonical.get(name).map(|&theirs| tensors[theirs].shape.as_slice());
        let graph = infer_graph(model, widths, image, classes, shape)?;
        let mut sources = Vec::with_capacity(graph.params().len());
        for place in graph.params() {
            let theirs = canonical.remove(&place.name);
            let expected = place.spec.dims.clone();
            match theirs.map(|theirs| &tensors[theirs]) {
                Some(tensor) if tensor.shape != expected => {
                    let (name, found) = (theirs.unwrap_or_default().into(), tensor.shape.clone());
                    mismatches.push(Mismatch::Shape { name, expected, found });
                }
                Some(tensor) if !tensor.is_float() => {
                    let (name, expected) = (theirs.unwrap_or_default().into(), FLOATS);
                    mismatches.push(Mismatch::Dtype { name, expected, found: tensor.dtype });
                }
                Some(_) => {}
                None => mismatches.push(Mismatch::Missing { name: place.name.clone(), expected }),
            }
            sources.push(theirs);
        }
        let mut biases = BTreeMap::new();
        for (name, theirs) in canonical {
            match mean_for_bias(&graph, &name, &tensors[theirs]) {
                Some(mean) => {
                    biases.insert(mean, theirs);
                }
                None => {
                    let found = tensors[theirs].shape.clone();
                    mismatches.push(Mismatch::Unexpected { name: theirs.into(), found });
                }
            }
        }
        Ok(Self { model, graph, sources, biases, mismatches })
    }

    /// The parameters that the file has.
    fn found(&self) -> usize {
        self.sources.iter().flatten().count()
    }
}

/// The running mean, as a position in [`Graph::params`], from which a tensor is to be subtracted that is the
/// bias of a convolution without one.
fn mean_for_bias(graph: &Graph, name: &str, tensor: &RawTensor<'_>) -> Option<usize> {
    let id = graph.find(name.strip_suffix(".bias")?)?;
    let (Layer::Conv2d(_), &[next]) = (&graph.node(id).layer, graph.consumers(id)) else {
        return None;
    };
    let Layer::BatchNorm2d(_) = graph.node(next).layer else { return None };
    let mut params = graph.node(next).params.clone();
    let mean = params.find(|&i| graph.params()[i].spec.name == "running_mean")?;
    let fits = tensor.is_float() && tensor.shape == graph.params()[mean].spec.dims;
    fits.then_some(mean)
}

/// The fit of the only model that the tensors fit.
fn recognise<'t>(
    path: &Path,
    image: Shape,
    classes: Option<usize>,
    tensors: &'t Tensors<'_>,
) -> Result<Fit<'t>, CheckpointError> {
    // The one with the largest share of its parameters there, if that is most of them.
    let share = |fit: &Fit<'_>| fit.found() as f64 / fit.sources.len() as f64;
    let nearness = |a: &Fit<'_>, b: &Fit<'_>| {
        let by_share = share(a).total_cmp(&share(b));
        by_share.then_with(|| b.mismatches.len().cmp(&a.mismatches.len()))
    };
    let (mut fitting, mut closest) = (Vec::new(), None);
    for model in MODELS {
        // A model that cannot have the widths of the weights, or not for these images, is not meant.
        let Ok(fit) = Fit::new(model, &[], image, classes, tensors) else { continue };
        if fit.mismatches.is_empty() {
            fitting.push(fit);
        } else if closest.as_ref().is_none_or(|closest| nearness(&fit, closest).is_ge()) {
            // Not all of them are kept: of a file of very many tensors each lists them all.
            closest = Some(fit);
        }
    }
    if fitting.len() == 1 {
        return Ok(fitting.remove(0));
    }
    let closest = closest.filter(|fit| share(fit) > 0.5);
    let closest = closest.map(|fit| (fit.model.name, fit.mismatches));
    Err(CheckpointError::NoArchitecture { path: path.into(), closest })
}

/// The graph at the widths that the weights have, whose shapes `shape` gives by this crate's names; the
/// usual ones where they do not say.
fn infer_graph<'s>(
    model: &ModelKind,
    widths: &[usize],
    image: Shape,
    classes: Option<usize>,
    shape: impl Fn(&str) -> Option<&'s [usize]>,
) -> Result<Graph, ModelError> {
    /// Classes of a network whose weights do not say: any number will do, for its classifier is missing.
    const ANY: usize = 10;
    let usual = model.graph(widths, image, classes.unwrap_or(ANY))?;
    let rows = |place: &GraphParam| {
        let shape = shape(&place.name)?;
        let says = shape.len() == place.spec.dims.len() && !shape.contains(&0);
        says.then(|| shape[0])
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
    model.graph(&found, image, classes.unwrap_or(found_classes))
}
