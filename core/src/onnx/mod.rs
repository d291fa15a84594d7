//! ONNX models, out and in.
//!
//! A network leaves as a model of opset 17 and IR version 8, whose batch is symbolic, whose initialisers have
//! PyTorch's state-dict names, and whose metadata is a checkpoint's (`pleach.model`, `pleach.normalisation`,
//! ...; see [`checkpoint`](crate::checkpoint)) without the graph. Batch norms are folded in `f64`, as in
//! inference, or kept ([`ExportOptions`]). A model with its batch norms kept comes back as the same graph
//! with the same bits; a folded one computes the same logits. Optimiser state and frozen rows are not part
//! of a model.
//!
//! What comes in, of opset 7 to 22, is a graph like any other, to be pruned and trained:
//!
//! | operator | becomes |
//! | --- | --- |
//! | `Conv` | [`Conv2d`](crate::layers::Conv2d), of one group or depthwise |
//! | `BatchNormalization` | [`BatchNorm2d`](crate::layers::BatchNorm2d) |
//! | `Relu`, `Clip` from 0 upwards | [`Relu`](crate::layers::Relu) |
//! | `MaxPool` | [`MaxPool2d`](crate::layers::MaxPool2d) |
//! | `AveragePool` | [`AvgPool2d`](crate::layers::AvgPool2d), or over the whole map the next |
//! | `GlobalMaxPool`, `ReduceMax` over axes 2 and 3, of square maps | [`MaxPool2d`](crate::layers::MaxPool2d) |
//! | `GlobalAveragePool`, `ReduceMean` over axes 2 and 3 | [`GlobalAvgPool`](crate::layers::GlobalAvgPool) |
//! | `Gemm`, `MatMul` with an `Add` after it or without | [`Linear`](crate::layers::Linear) |
//! | `Add` of two maps | [`Add`](crate::layers::Add) |
//! | `Concat` of channels | [`Concat`](crate::layers::Concat) |
//! | `Flatten`, `Reshape` to a list an image | [`Flatten`](crate::layers::Flatten) |
//! | `Dropout` | [`Dropout`](crate::layers::Dropout) |
//! | `Identity`, `Constant`, `Squeeze` and `Unsqueeze` of single pixels | nothing |
//! | `Shape`, `ConstantOfShape`, and `Gather`, `Slice`, `Squeeze`, `Unsqueeze`, `Reshape`, `Concat` and `Cast` of sizes | nothing, but the shape for a `Reshape` or pads |
//! | `Transpose` of constant matrices, `Cast` of floats to `FLOAT` | nothing |
//!
//! Strides must be equal, windows of pools square, dilations 1, padding equal on all sides as far as windows
//! reach, and means those of whole windows. There is one input, images `[N, C, H, W]` of `float` with a fixed size, and one output.
//! Parameters are constants of type `float`, in the file or, by [`load`] only, in files beside it. Nodes that
//! cannot be taken over are listed all at once, each with its reason ([`OnnxError::Unsupported`]); nodes that
//! the output does not need are ignored. Layers are called after their parameters where these have
//! state-dict names (`features.0.weight`: `features.0`), or else after their nodes. A parameter that several
//! layers share becomes one for each.
//!
//! A reader's memory is that of the file times a small constant: there are at most 2^17 nodes, attributes and
//! initialisers, at most twice as many parameters as the file holds and 2^20 more, and no nesting: graphs
//! inside of nodes, as `If` has, are skipped unread. All sizes are checked.
//!
//! Sources: the ONNX specification, <https://onnx.ai/onnx/repo-docs/IR.html> and
//! <https://onnx.ai/onnx/operators/>, and for the bytes, the encoding of Protocol Buffers.

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

/// The largest message of Protocol Buffers, 2 GiB less a byte.
const MAX_BYTES: u64 = i32::MAX as u64;

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
/// If a file cannot be read, the model's is larger than 2 GiB, one is not sound, or it describes a network that has no counterpart here; of
/// the last kind, everything is listed in one error.
pub fn load(path: &Path) -> Result<Checkpoint, OnnxError> {
    let bytes = copied(path, &map(path)?)?;
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

/// The bytes of a mapped model: its texts are used where they stand, and must not change any more.
fn copied(path: &Path, mapped: &[u8]) -> Result<Vec<u8>, OnnxError> {
    let (bytes, limit) = (mapped.len() as u64, MAX_BYTES);
    match bytes <= limit {
        true => Ok(mapped.to_vec()),
        false => Err(OnnxError::TooLarge { path: path.into(), bytes, limit }),
    }
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
