use crate::graph::GraphError;
use crate::models::ModelError;
use crate::text::shortened;
use std::fmt;
use std::io;
use std::mem;
use std::path::PathBuf;

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, such as `open` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a safetensors file, or not a sound one.
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
    /// Weights without an architecture, whose names and shapes are those of no model.
    #[error(
        "{} has weights but no architecture: if it is a PyTorch state dict, name its architecture \
         (--arch){}",
        path.display(),
        likeness(closest.as_ref())
    )]
    NoArchitecture {
        /// The file.
        path: PathBuf,
        /// The model that the weights are most like, if they are like one, and what does not fit.
        closest: Option<(&'static str, Vec<Mismatch>)>,
    },
    /// A file of another kind.
    #[error(
        "{} is no safetensors file, nor what torch.save writes, nor an ONNX model",
        path.display()
    )]
    NoNetwork {
        /// The file.
        path: PathBuf,
    },
    /// An entry of the metadata is malformed.
    #[error("{}: metadata {key:?}: expected {expected}, found {found}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The entry.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The architecture in the metadata is none.
    #[error("{}: its architecture is not valid: {source}", path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// Why.
        source: GraphError,
    },
    /// The architecture named does not exist.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The weights do not fit the architecture.
    #[error("{}: the weights do not fit {architecture}:{}", path.display(), lines(mismatches))]
    Weights {
        /// The file.
        path: PathBuf,
        /// The architecture, as a phrase.
        architecture: String,
        /// Everything that does not fit, in the architecture's order.
        mismatches: Vec<Mismatch>,
    },
    /// Training state of a parameter cannot be kept under its name, which another parameter has.
    #[error(
        "{}: {tensor} would be a parameter and training state of another: rename its layer",
        path.display()
    )]
    Name {
        /// The file.
        path: PathBuf,
        /// The name.
        tensor: String,
    },
    /// A value cannot be kept.
    #[error("{}: {tensor}[{index}] is {value}, which {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The value's place in it, counted densely.
        index: usize,
        /// The value.
        value: f32,
        /// Why not.
        reason: &'static str,
    },
}

/// A tensor that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The architecture has it, the file has not.
    Missing {
        /// Its name.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// The file has it, the architecture has not.
    Unexpected {
        /// Its name in the file.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// The shapes differ.
    Shape {
        /// Its name in the file.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// Its type is not one of those that hold weights.
    Dtype {
        /// Its name in the file.
        name: String,
        /// The types it may have.
        expected: &'static str,
        /// The type it has.
        found: &'static str,
    },
    /// Two tensors of the file are one of the architecture.
    Twice {
        /// The name in the architecture.
        name: String,
        /// The names in the file.
        found: [String; 2],
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, expected } => write!(f, "{name} {expected:?} is missing"),
            Self::Unexpected { name, found } => write!(f, "{name} {found:?} has no place"),
            Self::Shape { name, expected, found } => {
                write!(f, "{name}: expected shape {expected:?}, found {found:?}")
            }
            Self::Dtype { name, expected, found } => {
                write!(f, "{name}: expected {expected}, found {found}")
            }
            Self::Twice { name, found: [a, b] } => {
                write!(f, "{name} is there twice, as {a} and {b}")
            }
        }
    }
}

/// What the weights of a file are most like.
fn likeness(closest: Option<&(&'static str, Vec<Mismatch>)>) -> String {
    match closest {
        None => String::new(),
        Some((model, mismatches)) => {
            format!("; its tensors are most like those of {model}, but:{}", lines(mismatches))
        }
    }
}

/// The first mismatches of each kind, a line each, and how many more there are of it.
fn lines(mismatches: &[Mismatch]) -> String {
    const SHOWN: usize = 4;
    let mut text = String::new();
    let mut kinds = Vec::new();
    for kind in mismatches.iter().map(mem::discriminant) {
        if kinds.contains(&kind) {
            continue;
        }
        kinds.push(kind);
        let alike = || mismatches.iter().filter(|mismatch| mem::discriminant(*mismatch) == kind);
        alike().take(SHOWN).for_each(|mismatch| {
            text += &format!("\n  {}", shortened(mismatch.to_string()));
        });
        match alike().count().saturating_sub(SHOWN) {
            0 => {}
            more => text += &format!("\n  and {more} more like this"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_mismatches_a_few_of_each_kind_are_shown() {
        let missing =
            (0..9).map(|i| Mismatch::Missing { name: format!("a{i}"), expected: vec![1] });
        let unexpected = Mismatch::Unexpected { name: "b".into(), found: vec![2] };
        let all: Vec<_> = missing.chain([unexpected]).collect();
        let expected = "\n  a0 [1] is missing\n  a1 [1] is missing\n  a2 [1] is missing\n  a3 [1] is \
                        missing\n  and 5 more like this\n  b [2] has no place";
        assert_eq!(lines(&all), expected);
    }
}
