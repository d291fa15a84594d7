//! Protocol Buffers' wire format: a message is a list of fields, each a number and a value of one of
//! four kinds.
//!
//! Source: the description of the encoding, <https://protobuf.dev/programming-guides/encoding/>. Groups,
//! which it deprecates and ONNX does not use, are refused. Nothing here recurses: whoever wants the
//! message in a field reads it by a [`Reader`] of its own.

use byteorder::{ByteOrder, LittleEndian};

/// Bytes that are no message, and where.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) offset: u64,
    pub(super) expected: String,
    pub(super) found: String,
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: Value<'a>,
    /// Where the value starts in the file, its length excepted.
    pub(super) offset: u64,
}

/// The fields of a message, one after the other.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Where `bytes`, what is left to read, starts in the file.
    offset: u64,
}

impl<'a> Reader<'a> {
    /// Reads the message `bytes`, which starts at byte `offset` of the file.
    pub(super) fn new(bytes: &'a [u8], offset: u64) -> Self {
        Self { bytes, offset }
    }

    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let start = self.offset;
        let tag = self.varint()?;
        let (number, kind) = (tag >> 3, tag & 7);
        // The format's largest field number is 2^29 - 1.
        let number = u32::try_from(number).ok().filter(|&n| n > 0 && n < 1 << 29);
        let Some(number) = number else {
            return Err(malformed(start, "a field number of a message", format!("tag {tag}")));
        };
        let (offset, value) = match kind {
            0 => (self.offset, Value::Varint(self.varint()?)),
            1 => {
                let offset = self.offset;
                self.take(8)?;
                (offset, Value::Fixed64)
            }
            2 => {
                let len = self.varint()?;
                (self.offset, Value::Bytes(self.take(len)?))
            }
            5 => (self.offset, Value::Fixed32(LittleEndian::read_u32(self.take(4)?))),
            _ => {
                let found = format!("wire type {kind}");
                return Err(malformed(start, "a varint, a fixed number or bytes", found));
            }
        };
        Ok(Some(Field { number, value, offset }))
    }

    /// The next varint; `None` at the end: a packed list is varints without tags.
    pub(super) fn next_varint(&mut self) -> Result<Option<u64>, Malformed> {
        if self.bytes.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (i, &byte) in self.bytes.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7F);
            // The tenth byte has room for the highest bit only.
            if i == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * i);
            if byte < 0x80 {
                self.skip(i + 1);
                return Ok(value);
            }
        }
        let found = format!("{} more bytes", self.bytes.len());
        Err(malformed(self.offset, "a number of at most 64 bits", found))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let whole = usize::try_from(len).ok().and_then(|len| self.bytes.split_at_checked(len));
        let Some((taken, _)) = whole else {
            let found = format!("{} more bytes", self.bytes.len());
            return Err(malformed(self.offset, format!("a field of {len} bytes"), found));
        };
        self.skip(taken.len());
        Ok(taken)
    }

    fn skip(&mut self, len: usize) {
        self.bytes = &self.bytes[len..];
        self.offset += len as u64;
    }
}

impl<'a> Field<'a> {
    pub(super) fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.unlike("bytes")),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, Malformed> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|error| {
            let offset = self.offset + error.valid_up_to() as u64;
            malformed(offset, "text in UTF-8", "other bytes")
        })
    }

    pub(super) fn message(&self) -> Result<Reader<'a>, Malformed> {
        Ok(Reader::new(self.bytes()?, self.offset))
    }

    /// A number of type `int64`, which is also how `int32` and enumerations are written.
    pub(super) fn int(&self) -> Result<i64, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(value.cast_signed()),
            _ => Err(self.unlike("a varint")),
        }
    }

    pub(super) fn float(&self) -> Result<f32, Malformed> {
        match self.value {
            Value::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(self.unlike("four bytes")),
        }
    }

    /// That this field's value should be `expected`.
    pub(super) fn unlike(&self, expected: &str) -> Malformed {
        let found = match self.value {
            Value::Varint(_) => "a varint".into(),
            Value::Fixed32(_) => "four bytes".into(),
            Value::Fixed64 => "eight bytes".into(),
            Value::Bytes(bytes) => format!("{} bytes with a length", bytes.len()),
        };
        malformed(self.offset, format!("{expected} in field {}", self.number), found)
    }
}

pub(super) fn malformed(
    offset: u64,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Malformed {
    Malformed { offset, expected: expected.into(), found: found.into() }
}

/// A message being written, field after field.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn int(&mut self, number: u32, value: i64) {
        self.tag(number, 0);
        self.varint(value.cast_unsigned());
    }

    pub(super) fn float(&mut self, number: u32, value: f32) {
        self.tag(number, 5);
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.tag(number, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, number: u32, text: &str) {
        self.bytes(number, text.as_bytes());
    }

    /// `values` as they lie in memory of a little-endian machine.
    pub(super) fn floats(&mut self, number: u32, values: &[f32]) {
        self.tag(number, 2);
        self.varint(size_of_val(values) as u64);
        let start = self.0.len();
        self.0.resize(start + size_of_val(values), 0);
        LittleEndian::write_f32_into(values, &mut self.0[start..]);
    }

    /// `values` packed, or nothing if there are none.
    pub(super) fn ints(&mut self, number: u32, values: &[i64]) {
        if !values.is_empty() {
            let mut packed = Self::default();
            values.iter().for_each(|value| packed.varint(value.cast_unsigned()));
            self.message(number, &packed);
        }
    }

    pub(super) fn message(&mut self, number: u32, message: &Self) {
        self.bytes(number, &message.0);
    }

    /// The fields of `other` after these.
    pub(super) fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn tag(&mut self, number: u32, kind: u64) {
        self.varint(u64::from(number) << 3 | kind);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_and_take_the_fewest_bytes() {
        let cases = [(0, 1), (127, 1), (128, 2), (300, 2), (i64::MAX, 9), (-1, 10), (i64::MIN, 10)];
        for (value, len) in cases {
            let mut writer = Writer::default();
            writer.int(1, value);
            assert_eq!(writer.len(), 1 + len, "{value}");
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes, 0);
            assert_eq!(reader.next().unwrap().unwrap().int().unwrap(), value);
            assert!(reader.next().unwrap().is_none());
        }
    }

    #[test]
    fn varints_that_never_end_or_overflow_are_refused() {
        let endless = [0x80; 30];
        let overflowing = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02];
        for bytes in [&endless[..], &endless[..3], &overflowing] {
            assert!(Reader::new(bytes, 0).next().is_err());
            assert!(Reader::new(bytes, 0).next_varint().is_err());
        }
    }
}
