//! Networks as users name them: a file (a checkpoint, a state dict that PyTorch saved, an ONNX model), or
//! a model at its usual or at given widths.

use pleach_core::checkpoint::{self, Checkpoint, CheckpointError, Format, Meta, Normalisation};
use pleach_core::graph::Graph;
use pleach_core::models::{self, ModelError};
use pleach_core::onnx::{self, OnnxError};
use pleach_core::{Network, Shape};
use pleach_datasets::Spec;
use std::fmt;
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

/// What an argument names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A model, which has random weights.
    Model,
    /// A file with an ONNX model, which says its architecture.
    Onnx,
    /// A file with a checkpoint, which says its architecture too.
    Checkpoint,
    /// A file with weights alone.
    StateDict,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "the name of a model",
            Self::Onnx => "an ONNX model",
            Self::Checkpoint => "a checkpoint",
            Self::StateDict => "a state dict",
        })
    }
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
    /// An architecture is named for what has its own.
    #[error(
        "the architecture {arch} (--arch) has no effect: {argument} is {kind}, which says its own"
    )]
    IdleArchitecture {
        /// The architecture.
        arch: String,
        /// The network.
        argument: String,
        /// What that is.
        kind: Kind,
    },
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
    /// The architecture of state dicts; without it, the one that their names and shapes say. Nothing else takes one.
    pub arch: Option<&'a str>,
    /// One image, of state dicts and of models by name.
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
    /// If it is neither, the file is not a network's, or an architecture is named that it has no use for.
    pub fn net(&self, argument: &str) -> Result<Net, NetError> {
        let (net, kind) = self.find(argument)?;
        self.check_use(argument, kind)?;
        Ok(net)
    }

    /// The networks that `arguments` name. The architecture is that of the state dicts among them.
    ///
    /// # Errors
    /// As [`Resolve::net`]; an architecture is in vain if none of them has a use for it.
    pub fn nets<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Vec<Net>, NetError> {
        let arguments = arguments.iter().map(AsRef::<str>::as_ref);
        let found = arguments.clone().map(|argument| self.find(argument));
        let found = found.collect::<Result<Vec<(Net, Kind)>, NetError>>()?;
        if found.iter().all(|(_, kind)| *kind != Kind::StateDict) {
            let mut each = arguments.zip(&found);
            each.try_for_each(|(argument, (_, kind))| self.check_use(argument, *kind))?;
        }
        Ok(found.into_iter().map(|(net, _)| net).collect())
    }

    fn find(&self, argument: &str) -> Result<(Net, Kind), NetError> {
        let path = Path::new(argument);
        if path.is_dir() {
            return Err(NetError::Folder { path: path.into(), found: checkpoints(path) });
        }
        if path.exists() {
            let (Checkpoint { network, meta }, kind) = self.read(path)?;
            let net = Net { name: argument.into(), network, meta, file: Some(path.into()) };
            return Ok((net, kind));
        }
        self.check_arch()?;
        if looks_like_a_path(argument) {
            return Err(NetError::Missing(path.into()));
        }
        let (model, widths) = models::parse(argument).map_err(|source| match source {
            ModelError::Unknown { .. } => NetError::Neither { argument: argument.into(), source },
            source => NetError::Model(source),
        })?;
        let graph = model.graph(&widths, self.image, self.classes).map_err(NetError::Model)?;
        let net = Net {
            name: argument.into(),
            network: Network::init(graph, self.seed),
            meta: Meta { model: model.name.into(), ..Meta::default() },
            file: None,
        };
        Ok((net, Kind::Model))
    }

    /// The network in the file at `path`, whatever its format.
    ///
    /// # Errors
    /// If the file cannot be read, is not sound, does not say its architecture, or one is named that it has no use
    /// for.
    pub fn file(&self, path: &Path) -> Result<(Checkpoint, Kind), NetError> {
        let (checkpoint, kind) = self.read(path)?;
        self.check_use(&path.display().to_string(), kind)?;
        Ok((checkpoint, kind))
    }

    fn read(&self, path: &Path) -> Result<(Checkpoint, Kind), NetError> {
        self.check_arch()?;
        let state_dict = || checkpoint::load_state_dict(path, self.arch, self.image, None);
        Ok(match Format::of(path)? {
            Format::Onnx => (onnx::load(path)?, Kind::Onnx),
            Format::Torch => (state_dict()?, Kind::StateDict),
            Format::Safetensors => match checkpoint::load(path) {
                Err(CheckpointError::NoArchitecture { .. }) => (state_dict()?, Kind::StateDict),
                result => (result?, Kind::Checkpoint),
            },
        })
    }

    /// Refuses an architecture that there is not.
    fn check_arch(&self) -> Result<(), NetError> {
        self.arch.map_or(Ok(()), |arch| models::parse(arch).map(drop).map_err(NetError::Model))
    }

    /// Refuses an architecture for what has its own.
    fn check_use(&self, argument: &str, kind: Kind) -> Result<(), NetError> {
        match self.arch {
            Some(arch) if kind != Kind::StateDict => {
                let (arch, argument) = (arch.into(), argument.into());
                Err(NetError::IdleArchitecture { arch, argument, kind })
            }
            _ => Ok(()),
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
    fn an_architecture_is_named_for_state_dicts_alone() {
        let plain = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/exchange/plain.pth");
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let image = Shape::new(3, 6, 6);
        let plainly = Resolve { arch: None, image, classes: 2, seed: 1 };
        let Net { network, meta, .. } = plainly.net(plain).expect("its architecture is recognised");
        let (own, model) = (path("own.safetensors"), path("model.onnx"));
        checkpoint::save(own.as_ref(), &network, &meta, Default::default(), false)
            .expect("it is saved");
        let options = onnx::ExportOptions::default();
        onnx::save(model.as_ref(), &network, &meta, &options).expect("it is saved");

        let named = Resolve { arch: Some("concat-small"), ..plainly };
        assert!(named.net(plain).is_ok());
        let (_, kind) = named.file(plain.as_ref()).expect("it is the architecture");
        assert_eq!(kind, Kind::StateDict);
        let idle = |result: Result<(), NetError>| match result {
            Err(NetError::IdleArchitecture { kind, .. }) => Some(kind),
            _ => None,
        };
        for (argument, kind) in
            [(&*own, Kind::Checkpoint), (&*model, Kind::Onnx), ("concat-small", Kind::Model)]
        {
            assert!(plainly.net(argument).is_ok(), "{argument}");
            assert_eq!(idle(named.net(argument).map(drop)), Some(kind));
            assert_eq!(idle(named.nets(&[argument, argument]).map(drop)), Some(kind));
            let both = named.nets(&[argument, plain]).expect("one takes it");
            assert_eq!([&*both[0].name, &*both[1].name], [argument, plain]);
            let unknown = Resolve { arch: Some("concat-smal"), ..plainly }.nets(&[argument]);
            assert!(matches!(unknown, Err(NetError::Model(_))), "{unknown:?}");
        }
        assert_eq!(idle(named.file(own.as_ref()).map(drop)), Some(Kind::Checkpoint));
    }

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
