//! What a pickle makes that has parts.

use super::pickle::Value;

/// The values of a tensor in the archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    /// The name of its file.
    pub(super) key: &'a str,
    /// The type of its values, as safetensors writes it.
    pub(super) dtype: &'static str,
    /// The number of its values.
    pub(super) len: u64,
}

/// A tensor as the pickle describes it: nothing of it is checked.
#[derive(Clone, Debug)]
pub(super) struct Tensor<'a> {
    /// Where it is described, in bytes from the file's start.
    pub(super) at: usize,
    pub(super) storage: Storage<'a>,
    /// Its first value in the storage.
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// Everything that has parts.
#[derive(Debug, Default)]
pub(super) struct Objects<'a> {
    pub(super) tuples: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<Tensor<'a>>,
}

impl<'a> Objects<'a> {
    pub(super) fn dict(&self, id: usize) -> &[(Value<'a>, Value<'a>)] {
        &self.dicts[id]
    }

    pub(super) fn tensor(&self, id: usize) -> &Tensor<'a> {
        &self.tensors[id]
    }

    /// A value as a phrase.
    pub(super) fn describe(&self, value: Value<'a>) -> String {
        match value {
            Value::None => "None".into(),
            Value::Bool => "a boolean".into(),
            Value::Int(number) => number.to_string(),
            Value::Float => "a number".into(),
            Value::Text(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
            Value::Global(_) => "a function or type".into(),
            Value::List => "a list".into(),
            Value::Tuple(_) => "a tuple".into(),
            Value::Storage(_) => "a storage".into(),
            Value::Tensor(_) => "a tensor".into(),
            Value::Dict(id) => {
                const SHOWN: usize = 4;
                let keys = self.dicts[id].iter().take(SHOWN).filter_map(|&(key, _)| match key {
                    Value::Text(key) => Some(key.chars().take(80).collect::<String>()),
                    _ => None,
                });
                let more = if self.dicts[id].len() > SHOWN { ", ..." } else { "" };
                format!("a dictionary of {}{more}", keys.collect::<Vec<_>>().join(", "))
            }
        }
    }
}
