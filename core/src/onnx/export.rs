//! A network as an ONNX model.

use super::momentum;
use super::tensor::{FLOAT, INT64};
use super::wire::Writer;
use super::{ExportOptions, MAX_BYTES, OPSET, OnnxError, Rank};
use crate::checkpoint::{Meta, check_finite, check_param, provenance};
use crate::graph::{Graph, Node, NodeId};
use crate::infer::fold_batch_norms;
use crate::layers::{Groups, Layer};
use crate::network::Network;
use crate::tensor::Shape;
use std::collections::BTreeMap;
use std::path::Path;

/// The first that goes with [`OPSET`].
const IR_VERSION: i64 = 8;

/// Names of values that no layer's output or parameter has, for those have a dot.
const IMAGE: &str = "input";
const LOGITS: &str = "logits";
const SPATIAL_AXES: &str = "spatial_axes";

/// The bytes of the file; `path` is only what errors call it.
pub(super) fn model(
    path: &Path,
    network: &Network,
    meta: &Meta,
    options: &ExportOptions,
) -> Result<Vec<u8>, OnnxError> {
    for (param, place) in network.params().iter().zip(network.graph().params()) {
        check_param(path, place, &param.value)?;
    }
    let folded;
    let network = match options.keep_bn {
        true => network,
        false => {
            folded = fold_batch_norms(network);
            &folded
        }
    };
    let graph = network.graph();
    for (param, place) in network.params().iter().zip(graph.params()) {
        check_finite(path, &place.name, &param.value, crate::checkpoint::Dtype::F32)?;
    }
    let bytes = graph.bytes();
    if bytes > MAX_BYTES {
        return Err(OnnxError::TooLarge { path: path.into(), bytes, limit: MAX_BYTES });
    }

    let mut metadata = provenance(meta);
    metadata.extend(momentum::metadata(graph));
    let mut model = Writer::default();
    model.int(1, IR_VERSION);
    model.text(2, "pleach");
    model.text(3, env!("CARGO_PKG_VERSION"));
    let name = if meta.model.is_empty() { "network" } else { &meta.model };
    model.message(7, &Exporter::new(network).graph(name));
    let mut opset = Writer::default();
    opset.text(1, "");
    opset.int(2, OPSET);
    model.message(8, &opset);
    props(&mut model, &metadata);
    match model.len() as u64 {
        bytes if bytes > MAX_BYTES => {
            Err(OnnxError::TooLarge { path: path.into(), bytes, limit: MAX_BYTES })
        }
        _ => Ok(model.into_bytes()),
    }
}

fn props(model: &mut Writer, metadata: &BTreeMap<String, String>) {
    for (key, value) in metadata {
        let mut entry = Writer::default();
        entry.text(1, key);
        entry.text(2, value);
        model.message(14, &entry);
    }
}

/// The value of an attribute.
enum Attribute {
    Float(f32),
    Int(usize),
    Ints(Vec<usize>),
}

struct Exporter<'a> {
    network: &'a Network,
    graph: &'a Graph,
    nodes: Writer,
    initializers: Writer,
    /// The rank of each node's value so far.
    ranks: Vec<Rank>,
    /// Whether a node's value is there at the other rank too.
    reshaped: Vec<bool>,
}

impl<'a> Exporter<'a> {
    fn new(network: &'a Network) -> Self {
        let graph = network.graph();
        Self {
            network,
            graph,
            nodes: Writer::default(),
            initializers: Writer::default(),
            ranks: Vec::with_capacity(graph.nodes().len()),
            reshaped: vec![false; graph.nodes().len()],
        }
    }

    fn graph(mut self, name: &str) -> Writer {
        for id in self.graph.ids() {
            self.layer(id);
        }
        let output = self.graph.output();
        if self.ranks[output.0] == Rank::Maps {
            let name = format!("{}/flat", self.graph.node(output).name);
            self.squeeze("Squeeze", &name, self.value(output), LOGITS);
        }
        if self.reshaped.contains(&true) || self.ranks[output.0] == Rank::Maps {
            let mut axes = Writer::default();
            axes.ints(1, &[2]);
            axes.int(2, INT64);
            axes.ints(7, &[2, 3]);
            axes.text(8, SPATIAL_AXES);
            self.initializers.message(5, &axes);
        }
        let mut graph = self.nodes;
        graph.text(2, name);
        graph.append(&self.initializers);
        let Shape { channels, height, width } = self.graph.input_shape();
        graph.message(11, &value_info(IMAGE, &[channels, height, width]));
        graph.message(12, &value_info(LOGITS, &[self.graph.output_shape().channels]));
        graph
    }

    /// The name of a node's value.
    fn value(&self, id: NodeId) -> String {
        let flat_output = id == self.graph.output() && self.ranks[id.0] == Rank::Flat;
        match self.graph.node(id) {
            _ if id == self.graph.input() => IMAGE.into(),
            _ if flat_output => LOGITS.into(),
            node => format!("{}.output", node.name),
        }
    }

    /// The name of a node's value at this rank.
    fn operand(&mut self, id: NodeId, rank: Rank) -> String {
        let value = self.value(id);
        if self.ranks[id.0] == rank {
            return value;
        }
        let (op, suffix) = match rank {
            Rank::Flat => ("Squeeze", "flat"),
            Rank::Maps => ("Unsqueeze", "maps"),
        };
        let node = &self.graph.node(id).name;
        let name = format!("{node}.{suffix}");
        if !std::mem::replace(&mut self.reshaped[id.0], true) {
            self.squeeze(op, &format!("{node}/{suffix}"), value, &name);
        }
        name
    }

    fn squeeze(&mut self, op: &str, name: &str, value: String, output: &str) {
        self.node(op, name, &[value, SPATIAL_AXES.into()], output, &[]);
    }

    fn layer(&mut self, id: NodeId) {
        use Attribute::{Float, Int, Ints};
        let node = self.graph.node(id);
        let ranks: Vec<Rank> = node.inputs.iter().map(|input| self.ranks[input.0]).collect();
        let joined = if ranks.contains(&Rank::Flat) { Rank::Flat } else { Rank::Maps };
        let window = |kernel: &[usize], stride: usize, padding: usize| {
            vec![
                ("kernel_shape", Ints(kernel.to_vec())),
                ("pads", Ints(vec![padding; 4])),
                ("strides", Ints(vec![stride; 2])),
            ]
        };
        let (op, taken, made, attributes) = match &node.layer {
            Layer::Input(_) => return self.ranks.push(Rank::Maps),
            Layer::Conv2d(conv) => {
                let mut attributes = match conv.groups {
                    Groups::One => Vec::new(),
                    Groups::Depthwise => vec![("group", Int(node.shape.channels))],
                };
                attributes.extend(window(&conv.kernel, conv.stride, conv.padding));
                ("Conv", Rank::Maps, Rank::Maps, attributes)
            }
            Layer::BatchNorm2d(layer) => {
                let momentum = momentum::to_onnx(layer.momentum);
                let attributes = vec![("epsilon", Float(layer.eps)), ("momentum", Float(momentum))];
                ("BatchNormalization", joined, joined, attributes)
            }
            Layer::Relu(_) => ("Relu", joined, joined, Vec::new()),
            Layer::MaxPool2d(pool) => {
                let attributes = window(&[pool.kernel; 2], pool.stride, pool.padding);
                ("MaxPool", Rank::Maps, Rank::Maps, attributes)
            }
            Layer::AvgPool2d(pool) => {
                let mut attributes = vec![("count_include_pad", Int(1))];
                attributes.extend(window(&[pool.kernel; 2], pool.stride, pool.padding));
                ("AveragePool", Rank::Maps, Rank::Maps, attributes)
            }
            Layer::GlobalAvgPool(_) => ("GlobalAveragePool", Rank::Maps, Rank::Maps, Vec::new()),
            Layer::Linear(_) => ("Gemm", Rank::Flat, Rank::Flat, vec![("transB", Int(1))]),
            Layer::Add(_) => ("Add", joined, joined, Vec::new()),
            Layer::Concat(_) => ("Concat", joined, joined, vec![("axis", Int(1))]),
            Layer::Flatten(_) => ("Flatten", joined, Rank::Flat, vec![("axis", Int(1))]),
            Layer::Dropout(_) => ("Dropout", joined, joined, Vec::new()),
        };
        let mut inputs: Vec<String> =
            node.inputs.iter().map(|&input| self.operand(input, taken)).collect();
        inputs.extend(self.initializers(node));
        self.ranks.push(made);
        self.node(op, &node.name, &inputs, &self.value(id), &attributes);
    }

    /// The names of the initialisers that a node reads, now written.
    fn initializers(&mut self, node: &Node) -> Vec<String> {
        let params = node.params.clone().map(|i| {
            let place = &self.graph.params()[i];
            (place.name.clone(), &place.spec.dims[..], &self.network.params()[i].value[..])
        });
        let ratio = match &node.layer {
            Layer::Dropout(dropout) => &[dropout.p][..],
            _ => &[],
        };
        let ratio = ratio.chunks(1).map(|p| (format!("{}.ratio", node.name), &[][..], p));
        let mut names = Vec::new();
        for (name, dims, values) in params.chain(ratio) {
            let mut tensor = Writer::default();
            let dims: Vec<i64> = dims.iter().map(|&dim| dim as i64).collect();
            tensor.ints(1, &dims);
            tensor.int(2, FLOAT);
            tensor.text(8, &name);
            tensor.floats(9, values);
            self.initializers.message(5, &tensor);
            names.push(name);
        }
        names
    }

    fn node(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[String],
        output: &str,
        attributes: &[(&str, Attribute)],
    ) {
        let mut node = Writer::default();
        inputs.iter().for_each(|input| node.text(1, input));
        node.text(2, output);
        node.text(3, name);
        node.text(4, op);
        for (name, value) in attributes {
            let mut attribute = Writer::default();
            attribute.text(1, name);
            let kind = match value {
                Attribute::Float(value) => {
                    attribute.float(2, *value);
                    1
                }
                Attribute::Int(value) => {
                    attribute.int(3, *value as i64);
                    2
                }
                Attribute::Ints(values) => {
                    values.iter().for_each(|&value| attribute.int(8, value as i64));
                    7
                }
            };
            attribute.int(20, kind);
            node.message(5, &attribute);
        }
        self.nodes.message(1, &node);
    }
}

/// The type of a value of floats, `[N, ...dims]`.
fn value_info(name: &str, dims: &[usize]) -> Writer {
    let mut shape = Writer::default();
    let mut batch = Writer::default();
    batch.text(2, "N");
    shape.message(1, &batch);
    for &dim in dims {
        let mut dimension = Writer::default();
        dimension.int(1, dim as i64);
        shape.message(1, &dimension);
    }
    let mut tensor = Writer::default();
    tensor.int(1, FLOAT);
    tensor.message(2, &shape);
    let mut kind = Writer::default();
    kind.message(1, &tensor);
    let mut info = Writer::default();
    info.text(1, name);
    info.message(2, &kind);
    info
}
