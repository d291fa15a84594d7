//! ONNX models written by hand, sound or not: field numbers are those of `onnx.proto`.

/// A message: its fields, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 128 {
            self.0.push(value as u8 | 128);
            value /= 128;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field * 8);
        self.varint(value as u64);
        self
    }

    pub(crate) fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field * 8 + 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field * 8 + 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub(crate) fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(crate) fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
}

/// An attribute, by name and value.
pub(crate) fn int(name: &str, value: i64) -> Message {
    Message::default().text(1, name).int(3, value).int(20, 2)
}

pub(crate) fn float(name: &str, value: f32) -> Message {
    Message::default().text(1, name).float(2, value).int(20, 1)
}

pub(crate) fn text(name: &str, value: &str) -> Message {
    Message::default().text(1, name).text(4, value).int(20, 3)
}

pub(crate) fn ints(name: &str, values: &[i64]) -> Message {
    let message = Message::default().text(1, name).int(20, 7);
    values.iter().fold(message, |message, &value| message.int(8, value))
}

pub(crate) fn tensor_attribute(name: &str, value: &Message) -> Message {
    Message::default().text(1, name).message(5, value).int(20, 4)
}

/// A tensor without values.
pub(crate) fn tensor(name: &str, kind: i64, dims: &[i64]) -> Message {
    let message = Message::default().text(8, name).int(2, kind);
    dims.iter().fold(message, |message, &dim| message.int(1, dim))
}

pub(crate) const FLOAT: i64 = 1;
pub(crate) const INT64: i64 = 7;

/// A tensor of floats as raw bytes.
pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> Message {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, FLOAT, dims).bytes(9, &bytes)
}

/// A list of integers, each a field of its own.
pub(crate) fn int64s(name: &str, values: &[i64]) -> Message {
    let message = tensor(name, INT64, &[values.len() as i64]);
    values.iter().fold(message, |message, &value| message.int(7, value))
}

pub(crate) fn scalar(name: &str, value: f32) -> Message {
    tensor(name, FLOAT, &[]).float(4, value)
}

/// A tensor of floats in another file.
pub(crate) fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> Message {
    let message = tensor(name, FLOAT, dims).int(14, 1);
    entries.iter().fold(message, |message, (key, value)| {
        message.message(13, &Message::default().text(1, key).text(2, value))
    })
}

pub(crate) fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Message]) -> Message {
    let message = inputs.iter().fold(Message::default(), |message, input| message.text(1, input));
    let message = message.text(2, output).text(4, op);
    attributes.iter().fold(message, |message, attribute| message.message(5, attribute))
}

/// A value of the model: floats of these dimensions, negative ones symbolic.
pub(crate) fn value(name: &str, dims: &[i64]) -> Message {
    let shape = dims.iter().fold(Message::default(), |shape, &dim| {
        let dim = match dim {
            ..0 => Message::default().text(2, "N"),
            _ => Message::default().int(1, dim),
        };
        shape.message(1, &dim)
    });
    let kind = Message::default().int(1, FLOAT).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &kind))
}

/// A model in the making.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) graph: Message,
    pub(crate) opset: i64,
    pub(crate) metadata: Message,
}

impl Model {
    /// Images `[N, C, H, W]` are called `x`, and the output `y`.
    pub(crate) fn new(opset: i64, image: &[i64]) -> Self {
        let graph = Message::default().text(2, "g").message(11, &value("x", image));
        let graph = graph.message(12, &value("y", &[-1, -1]));
        Self { graph, opset, metadata: Message::default() }
    }

    pub(crate) fn node(
        self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[Message],
    ) -> Self {
        self.raw_node(&node(op, inputs, output, attributes))
    }

    pub(crate) fn raw_node(mut self, node: &Message) -> Self {
        self.graph = self.graph.message(1, node);
        self
    }

    pub(crate) fn initializer(mut self, tensor: &Message) -> Self {
        self.graph = self.graph.message(5, tensor);
        self
    }

    /// An initialiser of small values, all different.
    pub(crate) fn weights(self, name: &str, dims: &[i64]) -> Self {
        let len: i64 = dims.iter().product();
        let values: Vec<f32> = (0..len).map(|i| 0.1 + 0.01 * i as f32).collect();
        self.initializer(&floats(name, dims, &values))
    }

    pub(crate) fn metadata(mut self, key: &str, value: &str) -> Self {
        let entry = Message::default().text(1, key).text(2, value);
        self.metadata = self.metadata.message(14, &entry);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let opset = Message::default().text(1, "").int(2, self.opset);
        let model = Message::default().int(1, 8).message(7, &self.graph).message(8, &opset);
        [model.0, self.metadata.0.clone()].concat()
    }
}
