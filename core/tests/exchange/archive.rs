//! Archives and pickles as tests need them: sound, or damaged in one way.

/// A file in an archive, and what its directory says of it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    /// Instead of the true ones.
    pub(crate) size: Option<u32>,
    pub(crate) compressed: Option<u32>,
    pub(crate) offset: Option<u32>,
    pub(crate) extra: Vec<u8>,
    /// The name in the file's own header.
    pub(crate) local_name: Option<Vec<u8>>,
}

impl Entry {
    pub(crate) fn new(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            bytes: bytes.into(),
            method: 0,
            flags: 0,
            size: None,
            compressed: None,
            offset: None,
            extra: Vec::new(),
            local_name: None,
        }
    }
}

/// An archive of these files.
pub(crate) fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let Entry { name, method, flags, .. } = entry;
        let start = bytes.len() as u32;
        let len = entry.bytes.len() as u32;
        let local_name = entry.local_name.as_ref().unwrap_or(name);
        bytes.extend(b"PK\x03\x04");
        bytes.extend([0; 4 + 2 + 4 + 4]);
        bytes.extend([len.to_le_bytes(), len.to_le_bytes()].concat());
        bytes.extend([(local_name.len() as u16).to_le_bytes(), [0; 2]].concat());
        bytes.extend(local_name);
        bytes.extend(&entry.bytes);
        directory.extend(b"PK\x01\x02\0\0\0\0");
        directory.extend([flags.to_le_bytes(), method.to_le_bytes()].concat());
        directory.extend([0; 4 + 4]);
        directory.extend(entry.compressed.unwrap_or(len).to_le_bytes());
        directory.extend(entry.size.unwrap_or(len).to_le_bytes());
        directory.extend((name.len() as u16).to_le_bytes());
        directory.extend((entry.extra.len() as u16).to_le_bytes());
        directory.extend([0; 2 + 2 + 2 + 4]);
        directory.extend(entry.offset.unwrap_or(start).to_le_bytes());
        directory.extend(name);
        directory.extend(&entry.extra);
    }
    let (start, count) = (bytes.len() as u32, entries.len() as u16);
    bytes.extend(&directory);
    bytes.extend(end(count, directory.len() as u32, start));
    bytes
}

/// The end record of an archive.
pub(crate) fn end(count: u16, size: u32, start: u32) -> Vec<u8> {
    let mut bytes = b"PK\x05\x06\0\0\0\0".to_vec();
    bytes.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    bytes.extend([size.to_le_bytes(), start.to_le_bytes()].concat());
    bytes.extend([0; 2]);
    bytes
}

/// A file as `torch.save` writes it, of this pickle and these storages.
pub(crate) fn file(pickle: &[u8], storages: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut entries = vec![Entry::new("net/data.pkl", pickle)];
    for (key, bytes) in storages {
        entries.push(Entry::new(&format!("net/data/{key}"), bytes.clone()));
    }
    zip(&entries)
}

/// A tensor as a pickle describes it.
#[derive(Clone)]
pub(crate) struct Tensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) storage: &'a str,
    pub(crate) key: &'a str,
    pub(crate) len: i64,
    pub(crate) offset: i64,
    pub(crate) shape: &'a [i64],
    pub(crate) strides: &'a [i64],
}

/// A pickle of a dictionary with these tensors.
pub(crate) fn dict(tensors: &[Tensor<'_>]) -> Vec<u8> {
    let mut bytes = b"\x80\x02}(".to_vec();
    for tensor in tensors {
        bytes.extend(text(tensor.name));
        bytes.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        bytes.extend(text("storage"));
        bytes.extend(format!("ctorch\n{}\n", tensor.storage).as_bytes());
        bytes.extend([text(tensor.key), text("cpu"), int(tensor.len), b"tQ".to_vec()].concat());
        bytes.extend(int(tensor.offset));
        for numbers in [tensor.shape, tensor.strides] {
            bytes.push(b'(');
            bytes.extend(numbers.iter().flat_map(|&number| int(number)));
            bytes.push(b't');
        }
        bytes.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    bytes.extend(b"u.");
    bytes
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

pub(crate) fn int(number: i64) -> Vec<u8> {
    [b"\x8a\x08", &number.to_le_bytes()[..]].concat()
}
