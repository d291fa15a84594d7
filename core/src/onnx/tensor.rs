//! `TensorProto`: constants, in the file or beside it.

use super::external::Files;
use super::proto::{Parser, push_ints};
use super::wire::{Malformed, Reader, Value, malformed};
use byteorder::{ByteOrder, LittleEndian};
use std::borrow::Cow;

/// Dimensions that a tensor may have. Weights of convolutions have four.
const MAX_RANK: usize = 8;
/// Bytes of the name of another file: as many as Linux takes.
const MAX_LOCATION: usize = 4096;
/// Bytes of a tensor's name: what is said of each node that has it may have it whole.
const MAX_NAME: usize = 4096;

/// `TensorProto.DataType` of `float`.
pub(super) const FLOAT: i64 = 1;
pub(super) const INT32: i64 = 6;
pub(super) const INT64: i64 = 7;
const BOOL: i64 = 9;

/// A constant.
#[derive(Clone, Debug)]
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    /// None: a scalar.
    pub(super) dims: Vec<usize>,
    /// `TensorProto.DataType`.
    pub(super) kind: i64,
    pub(super) data: Data<'a>,
}

/// Where the values are.
#[derive(Clone, Debug)]
pub(super) enum Data<'a> {
    /// Here, little-endian.
    Bytes(Cow<'a, [u8]>),
    /// Here, as numbers of their own.
    Ints(Vec<i64>),
    /// In another file.
    External(Place<'a>),
}

/// A place in another file.
#[derive(Clone, Debug, Default)]
pub(super) struct Place<'a> {
    pub(super) location: &'a str,
    pub(super) offset: u64,
    pub(super) len: Option<u64>,
}

impl<'a> Tensor<'a> {
    /// A constant without a name.
    pub(super) fn ints(dims: Vec<usize>, values: Vec<i64>) -> Self {
        Self { name: "", dims, kind: INT64, data: Data::Ints(values) }
    }

    /// A constant without a name.
    pub(super) fn floats(dims: Vec<usize>, values: &[f32]) -> Self {
        let mut bytes = vec![0; size_of_val(values)];
        LittleEndian::write_f32_into(values, &mut bytes);
        Self { name: "", dims, kind: FLOAT, data: Data::Bytes(bytes.into()) }
    }

    /// The tensor whose message `reader` reads.
    pub(super) fn parse(parser: &mut Parser, mut reader: Reader<'a>) -> Result<Self, Malformed> {
        let mut tensor = Self { name: "", dims: Vec::new(), kind: 0, data: Data::Ints(Vec::new()) };
        let (mut floats, mut ints) = (Cow::Borrowed(&[][..]), Vec::new());
        let (mut raw, mut place, mut is_external) = (None, Place::default(), false);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => push_dims(&field, &mut tensor.dims)?,
                2 => tensor.kind = field.int()?,
                3 => return Err(malformed(field.offset, "a whole tensor", "a segment of one")),
                4 => push_bytes(&field, &mut floats)?,
                5 | 7 => push_ints(&field, &mut ints)?,
                8 => tensor.name = name(&field)?,
                9 => raw = Some((field.bytes()?, field.offset)),
                13 => {
                    let entry = parser.entry(&field)?;
                    place
                        .set(entry)
                        .map_err(|(expected, found)| malformed(field.offset, expected, found))?;
                }
                14 => is_external = field.int()? == 1,
                _ => {}
            }
        }
        tensor.data = match raw {
            _ if is_external => Data::External(place),
            Some((_, offset)) if !floats.is_empty() || !ints.is_empty() => {
                let found = "both of these and others";
                return Err(malformed(offset, "raw data or numbers of a tensor", found));
            }
            Some((raw, _)) => Data::Bytes(raw.into()),
            None if tensor.kind == FLOAT => Data::Bytes(floats),
            None => Data::Ints(ints),
        };
        Ok(tensor)
    }

    /// The number of values.
    pub(super) fn len(&self) -> Option<usize> {
        self.dims.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim))
    }

    /// Bytes of all values, of those types that are read from bytes.
    pub(super) fn bytes_len(&self) -> Option<usize> {
        let size = match self.kind {
            FLOAT | INT32 => 4,
            INT64 => 8,
            BOOL => 1,
            _ => return None,
        };
        self.len()?.checked_mul(size)
    }

    /// The bytes of all values, of type `float`; otherwise, why there are none.
    pub(super) fn float_bytes<'s>(&'s self, files: &'s Files) -> Result<&'s [u8], String> {
        if self.kind != FLOAT {
            return Err(self.of_kind("FLOAT"));
        }
        self.checked_bytes(files)
    }

    /// The value of a scalar of type `float`.
    pub(super) fn to_float(&self, files: &Files) -> Result<f32, String> {
        match self.float_bytes(files)?.as_chunks() {
            ([value], _) => Ok(f32::from_le_bytes(*value)),
            _ => Err(format!("has {:?} of shape {:?}, not a scalar", self.name, self.dims)),
        }
    }

    /// The values of a shape or of axes, of an integral type.
    pub(super) fn to_ints(&self, files: &Files) -> Result<Vec<i64>, String> {
        if !matches!(self.kind, INT32 | INT64 | BOOL) {
            return Err(self.of_kind("INT64"));
        }
        if self.len().is_none_or(|len| len > MAX_RANK) {
            let Self { name, dims, .. } = self;
            return Err(format!("has {name:?} of shape {dims:?}, too many values for a shape"));
        }
        match &self.data {
            Data::Ints(values) if Some(values.len()) == self.len() => Ok(values.clone()),
            Data::Ints(values) => Err(self.of_len(values.len(), self.len(), "values")),
            _ => {
                let bytes = self.checked_bytes(files)?;
                Ok(match self.kind {
                    INT64 => bytes.chunks_exact(8).map(LittleEndian::read_i64).collect(),
                    INT32 => {
                        let values = bytes.chunks_exact(4);
                        values.map(|bytes| LittleEndian::read_i32(bytes).into()).collect()
                    }
                    _ => bytes.iter().map(|&byte| byte.into()).collect(),
                })
            }
        }
    }

    /// The bytes of all values.
    fn checked_bytes<'s>(&'s self, files: &'s Files) -> Result<&'s [u8], String> {
        let expected = self.bytes_len();
        let bytes = match &self.data {
            Data::Bytes(bytes) => bytes,
            Data::Ints(values) => return Err(self.of_len(values.len(), self.len(), "values")),
            Data::External(place) => files.bytes(place, expected)?,
        };
        match Some(bytes.len()) == expected {
            true => Ok(bytes),
            false => Err(self.of_len(bytes.len(), expected, "bytes")),
        }
    }

    fn of_len(&self, found: usize, expected: Option<usize>, unit: &str) -> String {
        let expected = expected.map_or("more than 2^64".into(), |n| n.to_string());
        let Self { name, dims, .. } = self;
        format!("has {found} {unit} in {name:?} of shape {dims:?}, which takes {expected}")
    }

    fn of_kind(&self, expected: &str) -> String {
        /// `TensorProto.DataType`.
        const NAMES: [&str; 17] = [
            "UNDEFINED",
            "FLOAT",
            "UINT8",
            "INT8",
            "UINT16",
            "INT16",
            "INT32",
            "INT64",
            "STRING",
            "BOOL",
            "FLOAT16",
            "DOUBLE",
            "UINT32",
            "UINT64",
            "COMPLEX64",
            "COMPLEX128",
            "BFLOAT16",
        ];
        let kind = usize::try_from(self.kind).ok().and_then(|kind| NAMES.get(kind).copied());
        let found = kind.map_or(format!("type {}", self.kind), str::to_owned);
        format!("has {:?} of type {found}; only {expected} is read there", self.name)
    }
}

impl<'a> Place<'a> {
    fn set(&mut self, (key, value): (&'a str, &'a str)) -> Result<(), (String, String)> {
        let number = || {
            let expected = format!("a number of bytes as {key} of external data");
            value.parse().map_err(|_| (expected, format!("{value:?}")))
        };
        match key {
            "location" if value.len() > MAX_LOCATION => {
                let expected = format!("a location of at most {MAX_LOCATION} bytes");
                return Err((expected, format!("one of {}", value.len())));
            }
            "location" => self.location = value,
            "offset" => self.offset = number()?,
            "length" => self.len = Some(number()?),
            _ => {}
        }
        Ok(())
    }
}

/// A tensor's name, which what is said of many nodes may have in it.
fn name<'a>(field: &super::wire::Field<'a>) -> Result<&'a str, Malformed> {
    let name = field.text()?;
    if name.len() > MAX_NAME {
        let expected = format!("a tensor's name of at most {MAX_NAME} bytes");
        return Err(malformed(field.offset, expected, format!("one of {}", name.len())));
    }
    Ok(name)
}

fn push_dims(field: &super::wire::Field<'_>, dims: &mut Vec<usize>) -> Result<(), Malformed> {
    let mut ints = Vec::new();
    push_ints(field, &mut ints)?;
    for int in ints {
        let dim = usize::try_from(int)
            .map_err(|_| malformed(field.offset, "dimensions of at least 0", int.to_string()))?;
        if dims.len() == MAX_RANK {
            let expected = format!("a tensor of at most {MAX_RANK} dimensions");
            return Err(malformed(field.offset, expected, "more"));
        }
        dims.push(dim);
    }
    Ok(())
}

/// Adds the bytes of floats: those of packed ones as they are.
fn push_bytes<'a>(
    field: &super::wire::Field<'a>,
    bytes: &mut Cow<'a, [u8]>,
) -> Result<(), Malformed> {
    match field.value {
        Value::Bytes(packed) if packed.len() % 4 != 0 => {
            return Err(field.unlike("a multiple of four bytes"));
        }
        Value::Bytes(packed) if bytes.is_empty() => *bytes = packed.into(),
        Value::Bytes(packed) => bytes.to_mut().extend_from_slice(packed),
        _ => bytes.to_mut().extend(field.float()?.to_le_bytes()),
    }
    Ok(())
}
