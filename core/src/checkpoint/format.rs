use super::{CheckpointError, pth};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The formats of files that have networks or weights in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Safetensors: a checkpoint of this crate ([`super::load`]) or a state dict
    /// ([`super::load_state_dict`]).
    Safetensors,
    /// What `torch.save` writes ([`super::load_state_dict`]).
    Torch,
    /// An ONNX model ([`crate::onnx::load`]).
    Onnx,
}

impl Format {
    /// The format of the file at `path`: what its first bytes say, or else its name.
    ///
    /// # Errors
    /// If the file cannot be read, or neither says anything.
    pub fn of(path: &Path) -> Result<Self, CheckpointError> {
        let io = |action| move |source| CheckpointError::Io { action, path: path.into(), source };
        let file = File::open(path).map_err(io("open"))?;
        let is_file = file.metadata().map_err(io("read"))?.is_file();
        let mut bytes = Vec::new();
        file.take(16).read_to_end(&mut bytes).map_err(io("read"))?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let extension = extension.map(str::to_ascii_lowercase).unwrap_or_default();
        let by_name = || match extension.as_str() {
            "onnx" => Some(Self::Onnx),
            "pth" | "pt" => Some(Self::Torch),
            "safetensors" => Some(Self::Safetensors),
            // Whoever reads it says what it is.
            _ if !is_file => Some(Self::Safetensors),
            _ => None,
        };
        let unknown = || CheckpointError::NoNetwork { path: path.into() };
        Self::from_bytes(&bytes).or_else(by_name).ok_or_else(unknown)
    }

    /// What the first bytes of a file say.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            _ if pth::is_torch(bytes) => Some(Self::Torch),
            // The length of the header, below 2^32, then the header, a JSON object.
            [_, _, _, _, 0, 0, 0, 0, b'{', ..] => Some(Self::Safetensors),
            // A model's first field is the version of its format, a number, and its second a text or the
            // operators' versions.
            [0x08, 1..=0x20, 0x12 | 0x3A | 0x42, ..] => Some(Self::Onnx),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_is_is_what_it_begins_with_or_else_its_name() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes, expected) in [
            ("a.onnx", &b"PK\x03\x04"[..], Format::Torch),
            ("a.pth", b"\x02\0\0\0\0\0\0\0{}", Format::Safetensors),
            ("a", b"\x08\x08\x12\x07pytorch", Format::Onnx),
            ("a.ONNX", b"", Format::Onnx),
            ("a.pt", b"\x80\x02.", Format::Torch),
            ("a.safetensors", b"noise", Format::Safetensors),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(Format::of(&path).unwrap(), expected, "{name}");
        }
        let path = folder.path().join("plan.json");
        std::fs::write(&path, "{\"schema\": 1, \"steps\": []}").unwrap();
        let error = Format::of(&path).unwrap_err().to_string();
        assert!(error.ends_with(
            "plan.json is no safetensors file, nor what torch.save writes, nor an ONNX model"
        ));
    }
}
