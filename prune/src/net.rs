//! Networks as users name them: a file (a checkpoint, a state dict that PyTorch saved, an ONNX model), or
//! a model at its usual or at given widths.

use pleach_core::checkpoint::{self, Checkpoint, CheckpointError, Format, Meta, Normalisation};
use pleach_core::graph::Graph;
use pleach_core::models::{self, ModelError};
use pleach_core::onnx::{self, OnnxError};
use pleach_core::{Network, Shape};
use pleach_datasets::Spec;
use std::fs;
use std::path::{Path, PathBuf};

/// A network and where it came from.
#[derive(Clone, Debug)]
pub struct Net {
    /// What the user called it.
    pub name: String,
    /// The network.
    pub network: Network,
    /// What its file says of it; of a model by name, the name alone.
    pub meta: Meta,
    /// The file, unless it is a model with random weights.
    pub file: Option<PathBuf>,
}

/// Why an argument names no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// A path to nothing.
    #[error("{}: there is no such file", .0.display())]
    Missing(PathBuf),
    /// A folder where a file is meant.
    #[error("{} is a folder: name the checkpoint in it{}", path.display(), list(found))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The files in it that may be meant.
        found: Vec<String>,
    },
    /// Neither a file nor a model.
    #[error("{argument:?} is neither a file nor a model: {source}")]
    Neither {
        /// The argument.
        argument: String,
        /// Why it is no model.
        source: ModelError,
    },
    /// The model cannot be built like this.
    #[error(transparent)]
    Model(ModelError),
    /// The file cannot be read, or is not sound.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The ONNX model cannot be read, or not be taken over.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

/// What a network that is not from a file is built for, and how.
#[derive(Clone, Copy, Debug)]
pub struct Resolve<'a> {
    /// The architecture of state dicts; without it, the one that their names and shapes say.
    pub arch: Option<&'a str>,
    /// One image.
    pub image: Shape,
    /// Classes of models by name.
    pub classes: usize,
    /// Seed of the weights of models by name.
    pub seed: u64,
}

impl Resolve<'_> {
    /// For the images and classes of a data set.
    #[must_use]
    pub fn for_data(spec: &Spec, seed: u64) -> Self {
        let image = Shape::new(spec.channels, spec.height, spec.width);
        Self { arch: None, image, classes: spec.classes, seed }
    }

    /// The network that `argument` names: a file if there is one of this name, else a model, `NAME` or
    /// `NAME:W,W,...`, with random weights.
    ///
    /// # Errors
    /// If it is neither, or the file is not a network's.
    pub fn net(&self, argument: &str) -> Result<Net, NetError> {
        let path = Path::new(argument);
        if path.is_dir() {
            return Err(NetError::Folder { path: path.into(), found: checkpoints(path) });
        }
        if path.exists() {
            let Checkpoint { network, meta } = self.file(path)?;
            return Ok(Net { name: argument.into(), network, meta, file: Some(path.into()) });
        }
        if looks_like_a_path(argument) {
            return Err(NetError::Missing(path.into()));
        }
        let (model, widths) = models::parse(argument).map_err(|source| match source {
            ModelError::Unknown { .. } => NetError::Neither { argument: argument.into(), source },
            source => NetError::Model(source),
        })?;
        let graph = model.graph(&widths, self.image, self.classes).map_err(NetError::Model)?;
        Ok(Net {
            name: argument.into(),
            network: Network::init(graph, self.seed),
            meta: Meta { model: model.name.into(), ..Meta::default() },
            file: None,
        })
    }

    /// The network in the file at `path`, whatever its format.
    ///
    /// # Errors
    /// If the file cannot be read, is not sound, or does not say its architecture.
    pub fn file(&self, path: &Path) -> Result<Checkpoint, NetError> {
        let state_dict = || checkpoint::load_state_dict(path, self.arch, self.image, None);
        match Format::of(path)? {
            Format::Onnx => Ok(onnx::load(path)?),
            Format::Torch => Ok(state_dict()?),
            Format::Safetensors => match checkpoint::load(path) {
                Err(CheckpointError::NoArchitecture { .. }) => Ok(state_dict()?),
                result => Ok(result?),
            },
        }
    }
}

/// What a checkpoint says of a network of this model that was trained on this data.
#[must_use]
pub fn meta(model: &str, spec: &Spec) -> Meta {
    let of_channels = |values: &[f32]| values.iter().take(spec.channels).copied().collect();
    let normalisation =
        Normalisation { mean: of_channels(&spec.mean), std: of_channels(&spec.std) };
    Meta {
        model: model.into(),
        dataset: Some(spec.name.clone()),
        normalisation: Some(normalisation),
        ..Meta::default()
    }
}

/// Whether a network takes the images of a data set and tells its classes apart.
#[must_use]
pub fn fits(graph: &Graph, spec: &Spec) -> bool {
    graph.input_shape() == Shape::new(spec.channels, spec.height, spec.width)
        && graph.output_shape().channels == spec.classes
}

/// How the names of files end that networks are in.
const EXTENSIONS: [&str; 4] = [".safetensors", ".pth", ".pt", ".onnx"];

fn looks_like_a_path(argument: &str) -> bool {
    argument.contains(['/', '\\']) || is_network_file(argument)
}

fn is_network_file(name: &str) -> bool {
    EXTENSIONS.iter().any(|extension| name.ends_with(extension))
}

/// The files in a folder that networks may be in, by name.
fn checkpoints(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_network_file(name)).collect();
    names.sort_unstable();
    names
}

fn list(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!(" ({})", found.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_say_of_normalisation_has_a_value_a_channel() {
        let spec = pleach_datasets::open(None).expect("it is built in").spec().clone();
        for channels in [1, 3] {
            let spec = Spec { channels, ..spec.clone() };
            let Normalisation { mean, std } =
                meta("small", &spec).normalisation.expect("it is said");
            assert_eq!([mean.len(), std.len()], [channels; 2]);
        }
    }
}
