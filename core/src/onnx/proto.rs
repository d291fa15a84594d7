//! The messages of `onnx.proto` that describe a network, read from the wire.
//!
//! Field numbers are those of <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>. Text and values
//! stay in the file's bytes. Messages of other kinds are skipped unread, graphs within attributes too, so
//! that the depth of nesting is that of this file's functions; repeated messages count against one
//! [`MAX_MESSAGES`].

use super::tensor::Tensor;
use super::wire::{Field, Malformed, Reader, Value, malformed};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Nodes, attributes, initialisers, entries and dimensions that a file may have in all. Large
/// convolutional networks have a few thousand; at about 200 bytes each these are at most 26 MB.
const MAX_MESSAGES: usize = 1 << 17;

/// `ModelProto`.
#[derive(Debug)]
pub(super) struct Model<'a> {
    /// The version of ONNX's own operators.
    pub(super) opset: Option<i64>,
    pub(super) graph: Option<Graph<'a>>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// `GraphProto`.
#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) initializers: Vec<Rc<Tensor<'a>>>,
    pub(super) has_sparse_initializers: bool,
    pub(super) inputs: Vec<ValueInfo<'a>>,
    pub(super) outputs: Vec<ValueInfo<'a>>,
}

/// `NodeProto`.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) name: &'a str,
    pub(super) op: &'a str,
    pub(super) domain: &'a str,
    pub(super) attributes: Vec<(&'a str, Attribute<'a>)>,
}

/// The value of an `AttributeProto`.
#[derive(Debug)]
pub(super) enum Attribute<'a> {
    Float(f32),
    Int(i64),
    Text(&'a [u8]),
    Tensor(Rc<Tensor<'a>>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    /// A graph, a type, a list of these or of texts, or a reference to a function's attribute.
    Other,
}

/// `ValueInfoProto`.
#[derive(Debug, Default)]
pub(super) struct ValueInfo<'a> {
    pub(super) name: &'a str,
    /// `TensorProto.DataType` of a tensor's elements; 0 of anything else.
    pub(super) element: i64,
    /// `None`: not stated.
    pub(super) dims: Option<Vec<Dim<'a>>>,
}

/// `TensorShapeProto.Dimension`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dim<'a> {
    Value(i64),
    Symbol(&'a str),
}

impl Node<'_> {
    /// What a user finds the node by.
    pub(super) fn title(&self) -> &str {
        let output = self.outputs.first().copied().unwrap_or_default();
        [self.name, output].into_iter().find(|name| !name.is_empty()).unwrap_or("a node")
    }
}

/// The model that `bytes` are.
pub(super) fn model(bytes: &[u8]) -> Result<Model<'_>, Malformed> {
    let mut parser = Parser { messages: 0 };
    let mut model = Model { opset: None, graph: None, metadata: BTreeMap::new() };
    let mut reader = Reader::new(bytes, 0);
    while let Some(field) = reader.next()? {
        match field.number {
            7 if model.graph.is_some() => {
                return Err(malformed(field.offset, "one graph", "a second one"));
            }
            7 => model.graph = Some(parser.graph(&field)?),
            8 => parser.opset(&field, &mut model)?,
            14 => {
                let (key, value) = parser.entry(&field)?;
                if model.metadata.insert(key.into(), value.into()).is_some() {
                    let found = format!("{key:?} again");
                    return Err(malformed(field.offset, "each key of the metadata once", found));
                }
            }
            _ => {}
        }
    }
    Ok(model)
}

/// What counts the messages.
pub(super) struct Parser {
    messages: usize,
}

impl Parser {
    /// A reader of the message in `field`.
    fn message<'a>(&mut self, field: &Field<'a>) -> Result<Reader<'a>, Malformed> {
        self.messages += 1;
        if self.messages > MAX_MESSAGES {
            let expected = format!("at most {MAX_MESSAGES} nodes, attributes and tensors");
            return Err(malformed(field.offset, expected, "another one"));
        }
        field.message()
    }

    fn opset(&mut self, field: &Field<'_>, model: &mut Model<'_>) -> Result<(), Malformed> {
        let (mut domain, mut version) = ("", 0);
        let mut reader = self.message(field)?;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => domain = field.text()?,
                2 => version = field.int()?,
                _ => {}
            }
        }
        if is_onnx(domain) && model.opset.replace(version).is_some() {
            return Err(malformed(field.offset, "one version of ONNX's operators", "a second one"));
        }
        Ok(())
    }

    /// `StringStringEntryProto`.
    pub(super) fn entry<'a>(&mut self, field: &Field<'a>) -> Result<(&'a str, &'a str), Malformed> {
        let mut entry = ("", "");
        let mut reader = self.message(field)?;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => entry.0 = field.text()?,
                2 => entry.1 = field.text()?,
                _ => {}
            }
        }
        Ok(entry)
    }

    fn graph<'a>(&mut self, field: &Field<'a>) -> Result<Graph<'a>, Malformed> {
        let mut graph = Graph::default();
        let mut reader = self.message(field)?;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => graph.nodes.push(self.node(&field)?),
                5 => graph.initializers.push(Rc::new(self.tensor(&field)?)),
                11 => graph.inputs.push(self.value_info(&field)?),
                12 => graph.outputs.push(self.value_info(&field)?),
                15 => graph.has_sparse_initializers = true,
                _ => {}
            }
        }
        Ok(graph)
    }

    fn node<'a>(&mut self, field: &Field<'a>) -> Result<Node<'a>, Malformed> {
        let mut node = Node::default();
        let mut reader = self.message(field)?;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => node.inputs.push(field.text()?),
                2 => node.outputs.push(field.text()?),
                3 => node.name = field.text()?,
                4 => node.op = field.text()?,
                5 => node.attributes.push(self.attribute(&field)?),
                7 => node.domain = field.text()?,
                _ => {}
            }
        }
        Ok(node)
    }

    fn attribute<'a>(&mut self, field: &Field<'a>) -> Result<(&'a str, Attribute<'a>), Malformed> {
        let mut reader = self.message(field)?;
        let (mut name, mut kind, mut is_reference) = ("", 0, false);
        let (mut float, mut int, mut text, mut tensor) = (None, None, None, None);
        let (mut floats, mut ints) = (Vec::new(), Vec::new());
        while let Some(field) = reader.next()? {
            match field.number {
                1 => name = field.text()?,
                2 => float = Some(field.float()?),
                3 => int = Some(field.int()?),
                4 => text = Some(field.bytes()?),
                5 => tensor = Some(Rc::new(self.tensor(&field)?)),
                7 => push_floats(&field, &mut floats)?,
                8 => push_ints(&field, &mut ints)?,
                20 => kind = field.int()?,
                21 => is_reference = !field.bytes()?.is_empty(),
                _ => {}
            }
        }
        // `AttributeProto.AttributeType`; a value that is not there is the default of its kind.
        let value = match kind {
            _ if is_reference => Attribute::Other,
            1 => Attribute::Float(float.unwrap_or_default()),
            2 => Attribute::Int(int.unwrap_or_default()),
            3 => Attribute::Text(text.unwrap_or_default()),
            4 => tensor.map_or(Attribute::Other, Attribute::Tensor),
            6 => Attribute::Floats(floats),
            7 => Attribute::Ints(ints),
            _ => Attribute::Other,
        };
        Ok((name, value))
    }

    fn tensor<'a>(&mut self, field: &Field<'a>) -> Result<Tensor<'a>, Malformed> {
        let reader = self.message(field)?;
        Tensor::parse(self, reader)
    }

    fn value_info<'a>(&mut self, field: &Field<'a>) -> Result<ValueInfo<'a>, Malformed> {
        let mut info = ValueInfo::default();
        let mut reader = self.message(field)?;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => info.name = field.text()?,
                2 => self.kind(&field, &mut info)?,
                _ => {}
            }
        }
        Ok(info)
    }

    /// `TypeProto`, of a tensor.
    fn kind<'a>(&mut self, field: &Field<'a>, info: &mut ValueInfo<'a>) -> Result<(), Malformed> {
        let mut reader = self.message(field)?;
        while let Some(field) = reader.next()? {
            if field.number != 1 {
                continue;
            }
            let mut reader = self.message(&field)?;
            while let Some(field) = reader.next()? {
                match field.number {
                    1 => info.element = field.int()?,
                    2 => info.dims = Some(self.dims(&field)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn dims<'a>(&mut self, field: &Field<'a>) -> Result<Vec<Dim<'a>>, Malformed> {
        let mut dims = Vec::new();
        let mut reader = self.message(field)?;
        while let Some(field) = reader.next()? {
            if field.number != 1 {
                continue;
            }
            let mut dim = Dim::Symbol("");
            let mut reader = self.message(&field)?;
            while let Some(field) = reader.next()? {
                match field.number {
                    1 => dim = Dim::Value(field.int()?),
                    2 => dim = Dim::Symbol(field.text()?),
                    _ => {}
                }
            }
            dims.push(dim);
        }
        Ok(dims)
    }
}

/// Whether `domain` is that of ONNX's own operators.
pub(super) fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Adds the integers of a repeated field, which may be packed.
pub(super) fn push_ints(field: &Field<'_>, ints: &mut Vec<i64>) -> Result<(), Malformed> {
    match field.value {
        Value::Bytes(_) => {
            let mut reader = field.message()?;
            while let Some(value) = reader.next_varint()? {
                ints.push(value.cast_signed());
            }
        }
        _ => ints.push(field.int()?),
    }
    Ok(())
}

fn push_floats(field: &Field<'_>, floats: &mut Vec<f32>) -> Result<(), Malformed> {
    match field.value {
        Value::Bytes(bytes) => {
            let (values, rest) = bytes.as_chunks();
            if !rest.is_empty() {
                return Err(field.unlike("a multiple of four bytes"));
            }
            floats.extend(values.iter().map(|&value| f32::from_le_bytes(value)));
        }
        _ => floats.push(field.float()?),
    }
    Ok(())
}
