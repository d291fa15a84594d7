//! The machine that reads a pickle: a stack, a memo, and the objects that were made.

use super::Malformed;
use super::pickle::{Global, Value, opcode_name};
use byteorder::{BigEndian, ByteOrder, LittleEndian};
use std::collections::BTreeMap;

/// Instructions of a pickle; a tensor takes some forty. Each makes or moves a few words at most.
const MAX_INSTRUCTIONS: usize = 1 << 21;

/// Values on the stack; pickle itself puts a thousand entries of a dictionary there at most.
const MAX_STACK: usize = 1 << 16;

/// The most dimensions of a tensor.
const MAX_DIMS: usize = 8;

/// What errors expect where something else than a state dict begins.
const STATE_DICT_ONLY: &str = "what a state dict is made of, and nothing else, for nothing in a file is executed (write \
     it by torch.save(model.state_dict(), FILE))";

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
    tuples: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<Tensor<'a>>,
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

/// Reads a pickle that starts at byte `start` of the file.
///
/// # Errors
/// If an instruction or a name is none that a state dict needs, or the pickle makes no sense.
pub(super) fn run(bytes: &[u8], start: usize) -> Result<(Objects<'_>, Value<'_>), Malformed> {
    let mut machine = Unpickler {
        bytes,
        start,
        at: 0,
        instruction: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
        objects: Objects::default(),
    };
    for _ in 0..MAX_INSTRUCTIONS {
        if let Some(top) = machine.step()? {
            return Ok((machine.objects, top));
        }
    }
    Err(machine.fault(format!("at most {MAX_INSTRUCTIONS} instructions"), "more"))
}

struct Unpickler<'a> {
    bytes: &'a [u8],
    /// Where `bytes` start in the file.
    start: usize,
    /// Where the rest begins, and where the instruction did.
    at: usize,
    instruction: usize,
    stack: Vec<Value<'a>>,
    /// Lengths of the stack where marks were set.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value<'a>>,
    objects: Objects<'a>,
}

impl<'a> Unpickler<'a> {
    fn fault(&self, expected: impl Into<String>, found: impl Into<String>) -> Malformed {
        Malformed::new(self.start + self.instruction, expected, found)
    }

    /// One instruction; the result, if it was the last.
    fn step(&mut self) -> Result<Option<Value<'a>>, Malformed> {
        self.instruction = self.at;
        let opcode = self.take(1)?[0];
        let value = match opcode {
            0x80 => {
                let protocol = self.take(1)?[0];
                return match protocol {
                    2..=5 => Ok(None),
                    _ => Err(self.fault("a pickle of protocol 2 to 5", protocol.to_string())),
                };
            }
            0x95 => {
                self.take(8)?; // A frame's length; what is in it follows.
                return Ok(None);
            }
            b'.' => return self.pop().map(Some),
            b'(' => {
                if self.marks.len() >= MAX_STACK {
                    return Err(self.fault(format!("at most {MAX_STACK} marks"), "more"));
                }
                self.marks.push(self.stack.len());
                return Ok(None);
            }
            b'q' | b'r' | 0x94 => {
                let place = match opcode {
                    b'q' => self.take(1)?[0].into(),
                    b'r' => LittleEndian::read_u32(self.take(4)?),
                    _ => self.memo.len() as u32,
                };
                let value = *self.stack.last().ok_or_else(|| self.empty())?;
                self.memo.insert(place, value);
                return Ok(None);
            }
            b'a' | b'e' | b's' | b'u' | b'b' => {
                self.fill(opcode)?;
                return Ok(None);
            }
            b'h' => {
                let place = self.take(1)?[0].into();
                self.recall(place)?
            }
            b'j' => {
                let place = LittleEndian::read_u32(self.take(4)?);
                self.recall(place)?
            }
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool,
            b'J' | b'K' | b'M' | 0x8A => Value::Int(self.integer(opcode)?),
            b'G' => {
                BigEndian::read_f64(self.take(8)?);
                Value::Float
            }
            b'X' => {
                let len = LittleEndian::read_u32(self.take(4)?);
                Value::Text(self.text(len as usize)?)
            }
            0x8C => {
                let len = self.take(1)?[0].into();
                Value::Text(self.text(len)?)
            }
            b']' => Value::List,
            b'}' => self.dict(),
            b')' => self.tuple(Vec::new()),
            b't' => {
                let items = self.pop_mark()?;
                self.tuple(items)
            }
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(opcode - 0x84));
                let first = first.filter(|&first| first >= self.floor());
                let items = self.stack.split_off(first.ok_or_else(|| self.empty())?);
                self.tuple(items)
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.global(module, name)?,
                _ => return Err(self.fault("the name of a global", "other values")),
            },
            b'Q' => {
                let id = self.pop()?;
                self.storage(id)?
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)?
            }
            _ => return Err(self.fault(STATE_DICT_ONLY, opcode_name(opcode))),
        };
        if self.stack.len() >= MAX_STACK {
            return Err(self.fault(format!("at most {MAX_STACK} values on the stack"), "more"));
        }
        self.stack.push(value);
        Ok(None)
    }

    /// `APPEND`, `APPENDS`, `SETITEM`, `SETITEMS` and `BUILD`: something is put into what is below it.
    fn fill(&mut self, opcode: u8) -> Result<(), Malformed> {
        let items = match opcode {
            b'a' | b'b' => vec![self.pop()?],
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.pop_mark()?,
        };
        match (opcode, self.stack.last()) {
            (b'a' | b'e', Some(Value::List)) => {}
            (b's' | b'u', Some(&Value::Dict(id))) if items.len().is_multiple_of(2) => {
                let entries = items.chunks_exact(2).map(|entry| (entry[0], entry[1]));
                self.objects.dicts[id].extend(entries);
            }
            // PyTorch hangs the versions of its modules on a state dict.
            (b'b', Some(Value::Dict(_))) => {}
            (_, Some(&below)) => {
                let below = self.objects.describe(below);
                return Err(self.fault(STATE_DICT_ONLY, format!("values put into {below}")));
            }
            (_, None) => return Err(self.empty()),
        }
        Ok(())
    }

    fn empty(&self) -> Malformed {
        self.fault("a value on the stack", "none")
    }

    /// The stack's length at the last mark, below which nothing is taken.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value<'a>, Malformed> {
        match self.stack.len() > self.floor() {
            true => Ok(self.stack.pop().expect("more values than none")),
            false => Err(self.empty()),
        }
    }

    /// All that was put on the stack since the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>, Malformed> {
        let mark = self.marks.pop().ok_or_else(|| self.fault("a mark on the stack", "none"))?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.get(..len));
        let bytes = bytes.ok_or_else(|| {
            self.fault("an instruction that ends in the pickle", "the end of the pickle")
        })?;
        self.at += len;
        Ok(bytes)
    }

    fn text(&mut self, len: usize) -> Result<&'a str, Malformed> {
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.fault("text in UTF-8", "other bytes"))
    }

    /// Text up to the end of the line.
    fn line(&mut self) -> Result<&'a str, Malformed> {
        let len = self.bytes[self.at..].iter().position(|&byte| byte == b'\n');
        let len = len.ok_or_else(|| self.fault("a line", "the end of the pickle"))?;
        let line = self.text(len)?;
        self.at += 1;
        Ok(line)
    }

    fn integer(&mut self, opcode: u8) -> Result<i64, Malformed> {
        Ok(match opcode {
            b'J' => LittleEndian::read_i32(self.take(4)?).into(),
            b'K' => self.take(1)?[0].into(),
            b'M' => LittleEndian::read_u16(self.take(2)?).into(),
            _ => {
                let len = usize::from(self.take(1)?[0]);
                let bytes = self.take(len)?;
                match len {
                    0 => 0,
                    1..=8 => LittleEndian::read_int(bytes, len),
                    _ => return Err(self.fault("a number of 8 bytes", format!("{len} bytes"))),
                }
            }
        })
    }

    fn recall(&self, place: u32) -> Result<Value<'a>, Malformed> {
        let value = self.memo.get(&place).copied();
        value.ok_or_else(|| self.fault(format!("a value kept at place {place}"), "none"))
    }

    fn tuple(&mut self, items: Vec<Value<'a>>) -> Value<'a> {
        self.objects.tuples.push(items);
        Value::Tuple(self.objects.tuples.len() - 1)
    }

    fn dict(&mut self) -> Value<'a> {
        self.objects.dicts.push(Vec::new());
        Value::Dict(self.objects.dicts.len() - 1)
    }

    fn global(&self, module: &str, name: &str) -> Result<Value<'a>, Malformed> {
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
    fn storage(&mut self, id: Value<'a>) -> Result<Value<'a>, Malformed> {
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
    fn call(&mut self, function: Value<'a>, arguments: Value<'a>) -> Result<Value<'a>, Malformed> {
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
