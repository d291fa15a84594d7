//! A model as a network: its nodes one after the other, each by the function of its operator.

mod attributes;
mod conv;
mod elementwise;
mod linear;
mod names;
mod order;
mod pool;
mod shapes;
mod window;

use super::external::Files;
use super::proto::{self, Dim, Graph, Model, Node, ValueInfo};
use super::tensor::{FLOAT, Tensor};
use super::{OPSETS, OnnxError, Problem, Rank};
use crate::checkpoint::{Checkpoint, check_param, read_provenance};
use crate::graph::{GraphBuilder, GraphError, NodeId};
use crate::layers::Layer;
use crate::network::{Network, Param};
use crate::tensor::Shape;
use byteorder::{ByteOrder, LittleEndian};
use names::Names;
use std::collections::{BTreeMap, HashMap, HashSet};
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
    /// A constant.
    Constant(Rc<Tensor<'a>>),
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

/// How to take over an operator.
struct Op {
    name: &'static str,
    /// The attributes that it may have.
    attributes: &'static [&'static str],
    /// Gives the value of the node's first output.
    import: for<'a> fn(&mut Importer<'_, 'a>, &Node<'a>) -> Result<Value<'a>, Refusal>,
}

const WINDOW: &[&str] = &[
    "auto_pad",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "group",
    "kernel_shape",
    "pads",
    "storage_order",
    "strides",
];

/// Every operator that is taken over.
const OPS: &[Op] = &[
    Op { name: "Add", attributes: &[], import: elementwise::add },
    Op { name: "AveragePool", attributes: WINDOW, import: pool::average },
    Op {
        name: "BatchNormalization",
        attributes: &["epsilon", "momentum", "spatial", "training_mode"],
        import: elementwise::batch_normalization,
    },
    Op { name: "Clip", attributes: &["max", "min"], import: elementwise::clip },
    Op { name: "Concat", attributes: &["axis"], import: shapes::concat },
    Op {
        name: "Constant",
        attributes: &["value", "value_float", "value_floats", "value_int", "value_ints"],
        import: shapes::constant,
    },
    Op { name: "Conv", attributes: WINDOW, import: conv::conv },
    Op { name: "Dropout", attributes: &["ratio", "seed"], import: elementwise::dropout },
    Op { name: "Flatten", attributes: &["axis"], import: shapes::flatten },
    Op { name: "Gemm", attributes: &["alpha", "beta", "transA", "transB"], import: linear::gemm },
    Op { name: "GlobalAveragePool", attributes: &[], import: pool::global_average },
    Op { name: "Identity", attributes: &[], import: shapes::identity },
    Op { name: "MatMul", attributes: &[], import: linear::mat_mul },
    Op { name: "MaxPool", attributes: WINDOW, import: pool::max },
    Op {
        name: "ReduceMean",
        attributes: &["axes", "keepdims", "noop_with_empty_axes"],
        import: pool::reduce_mean,
    },
    Op { name: "Relu", attributes: &[], import: elementwise::relu },
    Op { name: "Reshape", attributes: &["allowzero"], import: shapes::reshape },
    Op { name: "Squeeze", attributes: &["axes"], import: shapes::squeeze },
    Op { name: "Unsqueeze", attributes: &["axes"], import: shapes::unsqueeze },
];

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

/// A network being made.
struct Importer<'m, 'a> {
    graph: &'m Graph<'a>,
    files: &'m Files,
    metadata: &'m BTreeMap<String, String>,
    opset: i64,
    /// The number of images, if the model fixes it.
    batch: Option<i64>,
    builder: GraphBuilder,
    values: HashMap<&'a str, Value<'a>>,
    /// How many read a value, the outside world included, and the last node that does.
    readers: HashMap<&'a str, (usize, usize)>,
    params: Vec<Param>,
    names: Names,
    /// The outputs of sums that are the bias of the layer before them.
    absorbed: HashSet<&'a str>,
    /// Values that parameters may still have.
    room: usize,
}

impl<'m, 'a> Importer<'m, 'a> {
    fn count_readers(&mut self, order: &[usize], output: &'a str) {
        for &i in order {
            for &input in &self.graph.nodes[i].inputs {
                let (count, last) = self.readers.entry(input).or_default();
                (*count, *last) = (*count + 1, i);
            }
        }
        self.readers.entry(output).or_default().0 += 1;
    }

    /// Takes over all nodes; gives those for which that is not possible.
    fn nodes(&mut self, order: &[usize]) -> Vec<Problem> {
        let mut problems: Vec<(usize, Problem)> = Vec::new();
        // Constants first: a layer may look ahead for what is added to it.
        let (constants, layers): (Vec<_>, Vec<_>) = (0..order.len())
            .partition(|&place| matches!(self.graph.nodes[order[place]].op, "Constant"));
        for place in constants.into_iter().chain(layers) {
            let node = &self.graph.nodes[order[place]];
            let value = self.node(node);
            let mut is_lost = value.is_err();
            let reason = match &value {
                Err(Refusal::Because(reason)) => Some(reason.clone()),
                Err(Refusal::Follows) => None,
                Ok(_) => {
                    let read = node.outputs.iter().skip(1).find(|&&name| self.is_read(name));
                    is_lost = read.is_some();
                    read.map(|name| format!("has a second output, {name:?}, which is read"))
                }
            };
            if let Some(reason) = reason {
                let (node, op) = (node.title().to_owned(), op_name(node));
                problems.push((place, Problem { node, op, reason }));
            }
            if is_lost {
                node.outputs.iter().for_each(|&name| drop(self.values.insert(name, Value::Lost)));
            } else if let (Some(&name), Ok(value)) = (node.outputs.first(), value) {
                self.values.insert(name, value);
            }
        }
        problems.sort_by_key(|&(place, _)| place);
        problems.into_iter().map(|(_, problem)| problem).collect()
    }

    fn node(&mut self, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
        let op = OPS.iter().find(|op| op.name == node.op && proto::is_onnx(node.domain));
        let Some(op) = op else {
            return refuse("is no operator that has a layer here");
        };
        let mut seen = HashSet::new();
        for (name, _) in &node.attributes {
            if !op.attributes.contains(name) {
                return refuse(format!("has an attribute {name:?}, whose meaning is not known"));
            }
            if !seen.insert(name) {
                return refuse(format!("has the attribute {name} twice"));
            }
        }
        (op.import)(self, node)
    }

    fn is_read(&self, name: &str) -> bool {
        !name.is_empty() && self.readers.contains_key(name)
    }

    /// The node that reads the first output of `node`, if there is one and nothing else does.
    fn only_reader(&self, node: &Node<'a>) -> Option<&'m Node<'a>> {
        match self.readers.get(node.outputs.first()?) {
            Some(&(1, reader)) => Some(&self.graph.nodes[reader]),
            _ => None,
        }
    }

    /// The value that is input `i`, if there is one.
    fn value(&self, node: &Node<'a>, i: usize) -> Result<Option<&Value<'a>>, Refusal> {
        match node.inputs.get(i) {
            None | Some(&"") => Ok(None),
            Some(name) => match self.values.get(name) {
                Some(value) => Ok(Some(value)),
                None => refuse(format!("reads {name:?}, which nothing makes")),
            },
        }
    }

    /// Input `i`, a layer's output.
    fn operand(&self, node: &Node<'a>, i: usize) -> Result<Operand, Refusal> {
        match self.value(node, i)? {
            Some(&Value::Layer(id, rank)) => {
                Ok(Operand { id, rank, shape: self.builder.shape(id) })
            }
            Some(Value::Constant(_)) => {
                refuse(format!("reads the constant {:?} where only a map will do", node.inputs[i]))
            }
            Some(Value::Lost) => Err(Refusal::Follows),
            None => refuse(format!("has no input {i}")),
        }
    }

    /// Input `i`, `[N, C, H, W]`.
    fn maps(&self, node: &Node<'a>, i: usize) -> Result<Operand, Refusal> {
        match self.operand(node, i)? {
            operand if operand.rank == Rank::Maps => Ok(operand),
            _ => refuse("takes flat features where maps are taken"),
        }
    }

    /// Input `i`, a constant, if there is one.
    fn constant(&self, node: &Node<'a>, i: usize) -> Result<Option<Rc<Tensor<'a>>>, Refusal> {
        match self.value(node, i)? {
            None => Ok(None),
            Some(Value::Constant(tensor)) => Ok(Some(Rc::clone(tensor))),
            Some(Value::Layer(..)) => refuse(format!(
                "computes its input {i}, {:?}; only constants are taken there",
                node.inputs[i]
            )),
            Some(Value::Lost) => Err(Refusal::Follows),
        }
    }

    /// Input `i`, a parameter.
    fn param(&self, node: &Node<'a>, i: usize) -> Result<Rc<Tensor<'a>>, Refusal> {
        match self.constant(node, i)? {
            Some(tensor) => Ok(tensor),
            None => refuse(format!("has no input {i}")),
        }
    }

    /// The values of a parameter, which counts against what a network may have.
    fn floats(&mut self, tensor: &Tensor<'_>) -> Result<Vec<f32>, Refusal> {
        let bytes = tensor.float_bytes(self.files)?;
        let mut values = vec![0.0; bytes.len() / 4];
        let Some(room) = self.room.checked_sub(values.len()) else {
            return refuse(format!(
                "reads {:?} once more, which makes far more parameters than the file has",
                tensor.name
            ));
        };
        LittleEndian::read_f32_into(bytes, &mut values);
        self.room = room;
        Ok(values)
    }

    /// A layer for `node`, with the values of all its parameters, which the model calls `param_names`.
    fn add(
        &mut self,
        node: &Node<'a>,
        layer: Layer,
        inputs: &[NodeId],
        params: Vec<Vec<f32>>,
        param_names: &[&'a str],
    ) -> Result<NodeId, Refusal> {
        let name = self.names.of(node, param_names);
        self.add_named(name, layer, inputs, params)
    }

    /// [`Importer::add`] under a name of [`Importer::names`].
    fn add_named(
        &mut self,
        name: String,
        layer: Layer,
        inputs: &[NodeId],
        params: Vec<Vec<f32>>,
    ) -> Result<NodeId, Refusal> {
        let id = self.builder.add(name, layer, inputs).map_err(|error| match error {
            GraphError::Shape { source, .. } => Refusal::Because(source.0),
            error => Refusal::Because(format!("cannot be a layer: {error}")),
        })?;
        self.params.extend(params.into_iter().map(|value| Param { value, ..Param::default() }));
        Ok(id)
    }

    /// [`Importer::add`] of a layer without parameters that takes `operand` and keeps its rank.
    fn keep(&mut self, node: &Node<'a>, layer: Layer, x: Operand) -> Result<Value<'a>, Refusal> {
        let id = self.add(node, layer, &[x.id], Vec::new(), &[])?;
        Ok(Value::Layer(id, x.rank))
    }
}

/// The operator, with its domain unless that is ONNX's own.
fn op_name(node: &Node<'_>) -> String {
    match proto::is_onnx(node.domain) {
        true => node.op.into(),
        false => format!("{}.{}", node.domain, node.op),
    }
}
