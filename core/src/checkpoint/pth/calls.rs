//! What the instructions of a pickle make: containers, the few things that it may name, and what calling
//! them with its arguments gives.

use super::Malformed;
use super::objects::{Storage, Tensor};
use super::pickle::{Global, Value};
use super::unpickler::{STATE_DICT_ONLY, Unpickler};

/// The most dimensions of a tensor.
const MAX_DIMS: usize = 8;

impl<'a> Unpickler<'a> {
    pub(super) fn tuple(&mut self, items: Vec<Value<'a>>) -> Value<'a> {
        self.objects.tuples.push(items);
        Value::Tuple(self.objects.tuples.len() - 1)
    }

    pub(super) fn dict(&mut self) -> Value<'a> {
        self.objects.dicts.push(Vec::new());
        Value::Dict(self.objects.dicts.len() - 1)
    }

    pub(super) fn global(&self, module: &str, name: &str) -> Result<Value<'a>, Malformed> {
        let short = |text: &str| text.chars().take(100).collect::<String>();
        let unknown = || {
            let name = format!("{}.{}", short(module), short(name));
            self.fault(STATE_DICT_ONLY, format!("the global {name:?}"))
        };
        Global::find(module, name).map(Value::Global).ok_or_else(unknown)
    }

    fn items(&self, value: Value<'a>) -> &[Value<'a>] {
        match value {
            Value::Tuple(id) => &self.objects.tuples[id],
            _ => &[],
        }
    }

    /// A persistent identifier: in PyTorch's pickles, that of a storage.
    pub(super) fn storage(&mut self, id: Value<'a>) -> Result<Value<'a>, Malformed> {
        let &[
            Value::Text("storage"),
            Value::Global(Global::Storage(dtype)),
            Value::Text(key),
            Value::Text(_),
            Value::Int(len),
            ..,
        ] = self.items(id)
        else {
            return Err(self.fault("the identifier of a storage", self.objects.describe(id)));
        };
        let len = self.natural(len)?;
        self.objects.storages.push(Storage { key, dtype, len });
        Ok(Value::Storage(self.objects.storages.len() - 1))
    }

    fn natural(&self, number: i64) -> Result<u64, Malformed> {
        u64::try_from(number).map_err(|_| self.fault("a number of at least 0", number.to_string()))
    }

    fn naturals(&self, value: Value<'a>) -> Result<Vec<u64>, Malformed> {
        let number = |&item: &Value<'a>| match item {
            Value::Int(number) => self.natural(number),
            other => Err(self.fault("a dimension or a stride", self.objects.describe(other))),
        };
        let items = self.items(value);
        if items.len() > MAX_DIMS {
            let found = items.len().to_string();
            return Err(self.fault(format!("at most {MAX_DIMS} dimensions"), found));
        }
        items.iter().map(number).collect()
    }

    /// What a call makes.
    pub(super) fn call(
        &mut self,
        function: Value<'a>,
        arguments: Value<'a>,
    ) -> Result<Value<'a>, Malformed> {
        match (function, self.items(arguments)) {
            (Value::Global(Global::OrderedDict), []) => Ok(self.dict()),
            (Value::Global(Global::RebuildParameter), &[tensor @ Value::Tensor(_), ..]) => {
                Ok(tensor)
            }
            (
                Value::Global(Global::RebuildTensor),
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    shape @ Value::Tuple(_),
                    strides @ Value::Tuple(_),
                    ..,
                ],
            ) => {
                let tensor = Tensor {
                    at: self.start + self.instruction,
                    storage: self.objects.storages[storage],
                    offset: self.natural(offset)?,
                    shape: self.naturals(shape)?,
                    strides: self.naturals(strides)?,
                };
                self.objects.tensors.push(tensor);
                Ok(Value::Tensor(self.objects.tensors.len() - 1))
            }
            _ => {
                let function = self.objects.describe(function);
                Err(self.fault(STATE_DICT_ONLY, format!("a call of {function} with other values")))
            }
        }
    }
}
