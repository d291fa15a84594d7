//! The network in the making, and what functions of operators ask of it.

use super::names::Names;
use super::ops::OPS;
use super::{Operand, Refusal, Value, refuse};
use crate::graph::{GraphBuilder, GraphError, NodeId};
use crate::layers::Layer;
use crate::network::Param;
use crate::onnx::external::Files;
use crate::onnx::proto::{self, Graph, Node};
use crate::onnx::tensor::Tensor;
use crate::onnx::{Problem, Rank};
use crate::text::shortened;
use byteorder::{ByteOrder, LittleEndian};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

/// A network being made.
pub(super) struct Importer<'m, 'a> {
    pub(super) graph: &'m Graph<'a>,
    pub(super) files: &'m Files,
    pub(super) metadata: &'m BTreeMap<String, String>,
    pub(super) opset: i64,
    /// The number of images, if the model fixes it.
    pub(super) batch: Option<i64>,
    pub(super) builder: GraphBuilder,
    pub(super) values: HashMap<&'a str, Value<'a>>,
    /// How many read a value, the outside world included, and the last node that does.
    pub(super) readers: HashMap<&'a str, (usize, Option<usize>)>,
    pub(super) params: Vec<Param>,
    pub(super) names: Names,
    /// The outputs of sums that are the bias of the layer before them.
    pub(super) absorbed: HashSet<&'a str>,
    /// Values that parameters may still have.
    pub(super) room: usize,
}

impl<'m, 'a> Importer<'m, 'a> {
    pub(super) fn count_readers(&mut self, order: &[usize], output: &'a str) {
        for &i in order {
            for &input in &self.graph.nodes[i].inputs {
                let (count, last) = self.readers.entry(input).or_default();
                (*count, *last) = (*count + 1, Some(i));
            }
        }
        self.readers.entry(output).or_default().0 += 1;
    }

    /// Takes over all nodes; gives those for which that is not possible.
    pub(super) fn nodes(&mut self, order: &[usize]) -> Vec<Problem> {
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
                problems.push((place, Problem { node, op, reason: shortened(reason) }));
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
            if !op.attributes.iter().any(|group| group.contains(name)) {
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
    pub(super) fn only_reader(&self, node: &Node<'a>) -> Option<&'m Node<'a>> {
        match self.readers.get(node.outputs.first()?) {
            Some(&(1, Some(reader))) => Some(&self.graph.nodes[reader]),
            _ => None,
        }
    }

    /// The value that is input `i`, if there is one.
    pub(super) fn value(&self, node: &Node<'a>, i: usize) -> Result<Option<&Value<'a>>, Refusal> {
        match node.inputs.get(i) {
            None | Some(&"") => Ok(None),
            Some(name) => match self.values.get(name) {
                Some(value) => Ok(Some(value)),
                None => refuse(format!("reads {name:?}, which nothing makes")),
            },
        }
    }

    /// Input `i`, a layer's output.
    pub(super) fn operand(&self, node: &Node<'a>, i: usize) -> Result<Operand, Refusal> {
        match self.value(node, i)? {
            Some(&Value::Layer(id, rank)) => {
                Ok(Operand { id, rank, shape: self.builder.shape(id) })
            }
            Some(Value::Padded(..)) => refuse(format!(
                "reads {:?}, maps with zeros around them, which only convolutions and pools do",
                node.inputs[i]
            )),
            Some(Value::Constant(_)) => {
                refuse(format!("reads the constant {:?} where only a map will do", node.inputs[i]))
            }
            Some(Value::Sizes(_)) => {
                refuse(format!("reads the sizes {:?} where only a map will do", node.inputs[i]))
            }
            Some(Value::Lost) => Err(Refusal::Follows),
            None => refuse(format!("has no input {i}")),
        }
    }

    /// Input `i`, `[N, C, H, W]`.
    pub(super) fn maps(&self, node: &Node<'a>, i: usize) -> Result<Operand, Refusal> {
        match self.operand(node, i)? {
            operand if operand.rank == Rank::Maps => Ok(operand),
            _ => refuse("takes flat features where maps are taken"),
        }
    }

    /// Input `i`, a constant, if there is one.
    pub(super) fn constant(
        &self,
        node: &Node<'a>,
        i: usize,
    ) -> Result<Option<Rc<Tensor<'a>>>, Refusal> {
        match self.value(node, i)? {
            None => Ok(None),
            Some(Value::Constant(tensor)) => Ok(Some(Rc::clone(tensor))),
            Some(Value::Layer(..) | Value::Padded(..) | Value::Sizes(_)) => refuse(format!(
                "computes its input {i}, {:?}; only constants are taken there",
                node.inputs[i]
            )),
            Some(Value::Lost) => Err(Refusal::Follows),
        }
    }

    /// Input `i`, a parameter.
    pub(super) fn param(&self, node: &Node<'a>, i: usize) -> Result<Rc<Tensor<'a>>, Refusal> {
        match self.constant(node, i)? {
            Some(tensor) => Ok(tensor),
            None => refuse(format!("has no input {i}")),
        }
    }

    /// The values of a parameter, which counts against what a network may have.
    pub(super) fn floats(&mut self, tensor: &Tensor<'_>) -> Result<Vec<f32>, Refusal> {
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
    pub(super) fn add(
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
    pub(super) fn add_named(
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
    pub(super) fn keep(
        &mut self,
        node: &Node<'a>,
        layer: Layer,
        x: Operand,
    ) -> Result<Value<'a>, Refusal> {
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
