//! A model as a network: its nodes one after the other, each by the function of its operator.

mod attributes;
mod constants;
mod conv;
mod elementwise;
mod importer;
mod linear;
mod names;
mod ops;
mod order;
mod pad;
mod pool;
mod shapes;
mod sizes;
mod window;

use super::external::Files;
use super::proto::{Dim, Model, ValueInfo};
use super::tensor::{FLOAT, Tensor};
use super::{OPSETS, OnnxError, Rank};
use crate::checkpoint::{Checkpoint, check_param, read_provenance};
use crate::graph::{GraphBuilder, GraphError, NodeId};
use crate::network::Network;
use crate::tensor::Shape;
use importer::Importer;
use names::Names;
use pad::Zeros;
use sizes::Sizes;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

/// Why a node is not taken over.
pub(super) enum Refusal {
    /// For a reason of its own: a sentence without its subject.
    Because(String),
    /// It reads the value of a node that is not.
    Follows,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Because(reason)
    }
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Because(reason.into()))
}

/// A value of the model.
#[derive(Clone)]
enum Value<'a> {
    /// A layer's output.
    Layer(NodeId, Rank),
    /// A layer's output with zeros around it, for what slides windows over it.
    Padded(Operand, Zeros),
    /// A constant.
    Constant(Rc<Tensor<'a>>),
    /// Sizes of values, computed for a shape.
    Sizes(Sizes),
    /// The output of a node that was not taken over.
    Lost,
}

/// A layer's output, as another layer's input.
#[derive(Clone, Copy)]
struct Operand {
    id: NodeId,
    rank: Rank,
    shape: Shape,
}

/// The network that `model` is; `bytes` is the size of its file.
pub(super) fn network(
    path: &Path,
    bytes: usize,
    model: &Model<'_>,
    files: &Files,
) -> Result<Checkpoint, OnnxError> {
    let error = |reason: String| OnnxError::model(path, reason);
    let Some(graph) = &model.graph else {
        return Err(error("there is no graph: this is no ONNX model".into()));
    };
    let (oldest, newest) = (OPSETS.start(), OPSETS.end());
    let opset = match model.opset {
        Some(opset) if OPSETS.contains(&opset) => opset,
        Some(opset) => {
            return Err(error(format!(
                "its operators are of version {opset}; versions {oldest} to {newest} are read"
            )));
        }
        None => return Err(error("it does not say which version its operators are of".into())),
    };
    if graph.has_sparse_initializers {
        return Err(error("it has sparse initialisers; only dense ones are read".into()));
    }
    let mut values: HashMap<&str, Value<'_>> = HashMap::new();
    for tensor in &graph.initializers {
        if values.insert(tensor.name, Value::Constant(Rc::clone(tensor))).is_some() {
            return Err(error(format!("two initialisers are called {:?}", tensor.name)));
        }
    }
    let [output] = &graph.outputs[..] else {
        let names = list(graph.outputs.iter().map(|output| output.name));
        return Err(error(format!("it has {} outputs{names}, not one", graph.outputs.len())));
    };
    let order = order::order(graph, output.name).map_err(error)?;
    // Before version 4 of the format, initialisers are inputs too.
    let inputs = graph.inputs.iter().filter(|input| !values.contains_key(input.name));
    let inputs: Vec<&ValueInfo<'_>> = inputs.collect();
    let [input] = inputs[..] else {
        let names = list(inputs.iter().map(|input| input.name));
        return Err(error(format!("it has {} inputs{names}, not one image", inputs.len())));
    };
    let (shape, batch) = image(input).map_err(error)?;
    let unsound = |source: GraphError| OnnxError::Graph { path: path.into(), source };
    let (builder, id) = GraphBuilder::new(shape).map_err(unsound)?;
    values.insert(input.name, Value::Layer(id, Rank::Maps));

    let mut importer = Importer {
        graph,
        files,
        metadata: &model.metadata,
        opset,
        batch,
        builder,
        values,
        readers: HashMap::new(),
        params: Vec::new(),
        names: Names::new(),
        absorbed: HashSet::new(),
        room: bytes.saturating_add(files.len()) / 2 + MIN_ROOM,
    };
    importer.count_readers(&order, output.name);
    let problems = importer.nodes(&order);
    if !problems.is_empty() {
        return Err(OnnxError::Unsupported { path: path.into(), problems });
    }
    let output = match importer.values.get(output.name) {
        Some(Value::Layer(id, _)) => *id,
        Some(Value::Padded(..)) => return Err(error("its output is padded maps".into())),
        Some(_) => return Err(error("its output is a constant".into())),
        None => return Err(error(format!("nothing makes its output {:?}", output.name))),
    };
    let graph = importer.builder.finish(output).map_err(unsound)?;
    for (param, place) in importer.params.iter().zip(graph.params()) {
        check_param(path, place, &param.value)?;
    }
    let meta = read_provenance(path, &model.metadata, shape.channels)?;
    Ok(Checkpoint { network: Network::with_params(graph, importer.params), meta })
}

/// Values of parameters that a network may have whatever the size of its file. A parameter that several layers
/// share becomes one for each; beyond this there are at most twice as many values as a file holds.
const MIN_ROOM: usize = 1 << 20;

/// The image's shape, and the number of images if it is fixed.
fn image(input: &ValueInfo<'_>) -> Result<(Shape, Option<i64>), String> {
    let name = input.name;
    if input.element != FLOAT {
        return Err(format!("its input {name:?} is no tensor of floats"));
    }
    let Some([batch, dims @ ..]) = input.dims.as_deref() else {
        return Err(format!("its input {name:?} has no shape"));
    };
    let dims = dims.iter().map(|dim| match *dim {
        Dim::Value(dim) => usize::try_from(dim).ok(),
        Dim::Symbol(_) => None,
    });
    let batch = match *batch {
        Dim::Value(batch) => Some(batch),
        Dim::Symbol(_) => None,
    };
    match dims.collect::<Option<Vec<usize>>>().as_deref() {
        Some(&[channels, height, width]) => Ok((Shape { channels, height, width }, batch)),
        _ => {
            let shape = list(input.dims.iter().flatten().map(|dim| match *dim {
                Dim::Value(dim) => dim.to_string(),
                Dim::Symbol("") => "?".into(),
                Dim::Symbol(name) => name.to_owned(),
            }));
            Err(format!(
                "its input {name:?} has shape{shape}; it must be images of a fixed size, (N, C, H, W)"
            ))
        }
    }
}

/// The first items, in brackets.
fn list(items: impl Iterator<Item = impl AsRef<str>>) -> String {
    const SHOWN: usize = 8;
    let mut items: Vec<_> = items.take(SHOWN + 1).map(|item| item.as_ref().to_owned()).collect();
    if items.len() > SHOWN {
        items[SHOWN] = "...".into();
    }
    if items.is_empty() { String::new() } else { format!(" ({})", items.join(", ")) }
}
