//! ONNX models, out and in.

mod error;
mod export;
mod external;
mod import;
mod momentum;
mod proto;
mod tensor;
mod wire;

pub use error::{OnnxError, Problem};

use crate::checkpoint::{Checkpoint, CheckpointError, Meta, map, write_atomically};
use crate::network::Network;
use external::Files;
use proto::Model;
use std::ops::RangeInclusive;
use std::path::Path;
use wire::Malformed;

/// The version of ONNX's operators that is written.
const OPSET: i64 = 17;

/// The versions of ONNX's operators that are read.
const OPSETS: RangeInclusive<i64> = 7..=22;

/// What an exported file is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// Whether batch norms stay nodes of their own. Otherwise they are folded in `f64` into the
    /// convolution or linear layer before them, if there is one and nothing else reads its output.
    pub keep_bn: bool,
}

/// The dimensions of a value beside the batch. Both are the same to this crate's layers where maps are of
/// 1x1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// `[N, C, H, W]`.
    Maps,
    /// `[N, C]`.
    Flat,
}

impl Rank {
    /// The number of dimensions, the batch's included.
    fn dims(self) -> i64 {
        match self {
            Self::Maps => 4,
            Self::Flat => 2,
        }
    }

    /// What values of this rank are called.
    fn noun(self) -> &'static str {
        match self {
            Self::Maps => "maps of",
            Self::Flat => "features of",
        }
    }
}

/// Reads the model in the file at `path`, and the files beside it that its weights are in.
///
/// # Errors
/// If a file cannot be read, is not sound, or describes a network that has no counterpart here; of
/// the last kind, everything is listed in one error.
pub fn load(path: &Path) -> Result<Checkpoint, OnnxError> {
    let bytes = map(path)?;
    let model = parse(path, &bytes)?;
    let files = match &model.graph {
        Some(graph) => Files::open(path, graph)?,
        None => Files::default(),
    };
    import::network(path, bytes.len(), &model, &files)
}

/// [`load`] from the file's bytes; `path` is only what errors call it.
///
/// # Errors
/// As [`load`], and if weights are in another file.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Checkpoint, OnnxError> {
    import::network(path, bytes.len(), &parse(path, bytes)?, &Files::default())
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Model<'a>, OnnxError> {
    proto::model(bytes).map_err(|Malformed { offset, expected, found }| OnnxError::Format {
        path: path.into(),
        offset,
        expected,
        found,
    })
}

/// The bytes of the file that [`save`] would write. They are a function of the arguments.
///
/// # Errors
/// If a value is not finite or a variance negative, or the file would be larger than 2 GiB.
pub fn to_bytes(
    network: &Network,
    meta: &Meta,
    options: &ExportOptions,
) -> Result<Vec<u8>, OnnxError> {
    export::model(Path::new("ONNX model"), network, meta, options)
}

/// Writes `network` to `path` as an ONNX model, whole or not at all (see [`write_atomically`]).
///
/// # Errors
/// As [`to_bytes`], and if the operating system refuses.
pub fn save(
    path: &Path,
    network: &Network,
    meta: &Meta,
    options: &ExportOptions,
) -> Result<(), OnnxError> {
    let bytes = export::model(path, network, meta, options)?;
    write_atomically(path, |writer| writer.write_all(&bytes))
        .map_err(|source| CheckpointError::Io { action: "write", path: path.into(), source })?;
    Ok(())
}
