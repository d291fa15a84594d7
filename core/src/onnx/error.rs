use crate::checkpoint::CheckpointError;
use crate::graph::GraphError;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why an ONNX file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The operating system refused, or a value or an entry of the metadata is none that a network of
    /// this crate may have.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// The bytes are not the messages that they should be.
    #[error("{}: at byte {offset}: expected {expected}, found {found}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The messages are no model that can be taken over, whatever its operators.
    #[error("{}: {reason}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Some of the model's nodes have no counterpart among this crate's layers.
    #[error("{}: {}", path.display(), lines(problems))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Each such node, in the order in which they are computed.
        problems: Vec<Problem>,
    },
    /// The layers are no network.
    #[error("{}: its layers are no network: {source}", path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// Why.
        source: GraphError,
    },
    /// The file or the network is larger than an ONNX file can be.
    #[error("{}: {bytes} bytes, of which a message holds {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that it would have.
        bytes: u64,
        /// Bytes that it may have.
        limit: u64,
    },
}

/// A node that cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The node's name, or that of its first output where it has none.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Why not: a sentence without its subject.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) {}", self.node, self.op, self.reason)
    }
}

impl OnnxError {
    pub(super) fn model(path: &Path, reason: impl Into<String>) -> Self {
        Self::Model { path: path.into(), reason: reason.into() }
    }
}

fn lines(problems: &[Problem]) -> String {
    /// Far more than anyone reads.
    const SHOWN: usize = 200;
    let mut text = match problems {
        [_] => "1 node cannot be taken over:".to_owned(),
        _ => format!("{} nodes cannot be taken over:", problems.len()),
    };
    problems.iter().take(SHOWN).for_each(|problem| text += &format!("\n  {problem}"));
    if let Some(more) = problems.len().checked_sub(SHOWN).filter(|&more| more > 0) {
        text += &format!("\n  and {more} more");
    }
    text
}
