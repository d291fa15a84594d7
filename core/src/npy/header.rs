//! The header of a `.npy` file: a literal of a Python dictionary.

/// The most dimensions, as in NumPy 1.
const MAX_DIMS: usize = 32;

/// What a header says.
pub(super) struct Header {
    /// The type of the values, as safetensors writes it, and their bytes.
    pub(super) dtype: &'static str,
    pub(super) size: usize,
    /// Whether the first dimension is the one along which values are neighbours.
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
}

/// Bytes that are not what they should be, and where.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) offset: usize,
    pub(super) expected: String,
    pub(super) found: String,
}

impl Malformed {
    pub(super) fn new(
        offset: usize,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self { offset, expected: expected.into(), found: found.into() }
    }
}

/// Reads the header `text`, which starts at byte `start` of the file.
pub(super) fn parse(text: &[u8], start: usize) -> Result<Header, Malformed> {
    Literal { text, at: 0, start }.header()
}

/// A dictionary of three keys, in any order.
struct Literal<'a> {
    text: &'a [u8],
    at: usize,
    /// Where `text` starts in the file.
    start: usize,
}

impl<'a> Literal<'a> {
    fn header(mut self) -> Result<Header, Malformed> {
        let (mut dtype, mut fortran, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.eat(b'}') {
            let at = self.at;
            let key = self.string()?;
            self.expect(b':')?;
            let twice = match key {
                "descr" => dtype.replace(self.dtype()?).is_some(),
                "fortran_order" => fortran.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                _ => return Err(self.fault_at(at, "descr, fortran_order and shape", key)),
            };
            if twice {
                return Err(self.fault_at(at, "each key once", key));
            }
            if !self.eat(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        self.skip_spaces();
        if self.at < self.text.len() {
            return Err(self.fault("the end of the header"));
        }
        let (Some((dtype, size)), Some(fortran), Some(shape)) = (dtype, fortran, shape) else {
            return Err(self.fault("descr, fortran_order and shape"));
        };
        Ok(Header { dtype, size, fortran, shape })
    }

    fn dtype(&mut self) -> Result<(&'static str, usize), Malformed> {
        let expected = "little-endian floats: '<f4', '<f8' or '<f2'";
        self.skip_spaces();
        let at = self.at;
        if !matches!(self.text.get(at), Some(b'\'' | b'"')) {
            return Err(self.fault(expected));
        }
        match self.string()? {
            "<f2" => Ok(("F16", 2)),
            "<f4" => Ok(("F32", 4)),
            "<f8" => Ok(("F64", 8)),
            other => Err(self.fault_at(at, expected, other)),
        }
    }

    fn boolean(&mut self) -> Result<bool, Malformed> {
        self.skip_spaces();
        for (word, value) in [("True", true), ("False", false)] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.fault("True or False"))
    }

    fn shape(&mut self) -> Result<Vec<usize>, Malformed> {
        let mut shape = Vec::new();
        self.expect(b'(')?;
        while !self.eat(b')') {
            if shape.len() == MAX_DIMS {
                return Err(self.fault(&format!("at most {MAX_DIMS} dimensions")));
            }
            shape.push(self.number()?);
            if !self.eat(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(shape)
    }

    fn number(&mut self) -> Result<usize, Malformed> {
        self.skip_spaces();
        let rest = &self.text[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| self.fault("a dimension"))?;
        self.at += digits;
        self.eat(b'L'); // Python 2's long integers.
        Ok(number)
    }

    /// A string between quotes, without escapes.
    fn string(&mut self) -> Result<&'a str, Malformed> {
        self.skip_spaces();
        let quote = match self.text.get(self.at) {
            Some(&quote @ (b'\'' | b'"')) => quote,
            _ => return Err(self.fault("a string")),
        };
        let rest = &self.text[self.at + 1..];
        let len = rest.iter().position(|&byte| byte == quote || byte == b'\\');
        let text = len.filter(|&len| rest[len] == quote).map(|len| &rest[..len]);
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        let text = text.ok_or_else(|| self.fault("a string without escapes"))?;
        self.at += text.len() + 2;
        Ok(text)
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip_spaces();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        match self.eat(byte) {
            true => Ok(()),
            false => Err(self.fault(&format!("{:?}", char::from(byte)))),
        }
    }

    fn fault(&self, expected: &str) -> Malformed {
        let rest = String::from_utf8_lossy(&self.text[self.at..]);
        let rest: String = rest.chars().take(20).collect();
        self.fault_at(self.at, expected, &rest)
    }

    fn fault_at(&self, at: usize, expected: &str, found: &str) -> Malformed {
        let found = format!("{:?}", found.chars().take(60).collect::<String>());
        Malformed::new(self.start + at, expected, found)
    }
}
