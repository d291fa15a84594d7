//! What a pickle's instructions work on, and the names that it may ask for.

/// A value on the stack. Those that have parts are objects, and stand for them by their number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    None,
    Bool,
    Int(i64),
    Float,
    Text(&'a str),
    Global(Global),
    /// What is in a list does not matter to a state dict.
    List,
    Tuple(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

/// A name that a pickle may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// The type of a storage's values.
    Storage(&'static str),
}

impl Global {
    /// The object that a state dict may mean by `module.name`.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        let global = match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "DoubleStorage") => Self::Storage("F64"),
            ("torch", "FloatStorage") => Self::Storage("F32"),
            ("torch", "HalfStorage") => Self::Storage("F16"),
            ("torch", "BFloat16Storage") => Self::Storage("BF16"),
            ("torch", "LongStorage") => Self::Storage("I64"),
            ("torch", "IntStorage") => Self::Storage("I32"),
            ("torch", "ShortStorage") => Self::Storage("I16"),
            ("torch", "CharStorage") => Self::Storage("I8"),
            ("torch", "ByteStorage") => Self::Storage("U8"),
            ("torch", "BoolStorage") => Self::Storage("BOOL"),
            _ => return None,
        };
        Some(global)
    }
}

/// What an instruction that is not understood is called.
pub(super) fn opcode_name(opcode: u8) -> String {
    let name = match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x82..=0x84 => "EXT",
        b'P' => "PERSID",
        b'B' | b'C' | 0x8E | 0x96 => "BYTES",
        b'S' | b'T' | b'U' => "STRING",
        b'I' | b'L' | b'F' | b'V' | b'd' | b'l' | b'p' | b'g' => "of protocol 0",
        0x8F..=0x91 => "of sets",
        _ => return format!("instruction {opcode:#04x}"),
    };
    format!("instruction {opcode:#04x} ({name})")
}
