//! Settings from flags, the environment, a file, a preset and defaults, and `pleach config`.

mod file;
mod layers;
mod planned;
mod problem;
mod show;
mod tree;

pub(super) use file::Source;
pub(super) use layers::{Layers, Origin};
pub(super) use planned::Planned;
pub(super) use show::{Args, run};
pub(super) use tree::{Assignment, to_value};

use clap::Args as ClapArgs;
use pleach_prune::settings::SettingError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The settings of a verb, in the form of its `run.toml`.
pub(super) trait Settings: Default + Serialize + DeserializeOwned {
    /// The verb; its own settings stand in a table of this name.
    const VERB: &'static str;
    /// What is asked of a user who has not named what the run works on.
    const UNNAMED: &'static str;

    /// Whether the run has something to work on.
    fn is_named(&self) -> bool;

    /// Refuses values that are out of range.
    fn check(&self) -> Result<(), SettingError>;

    /// Settings that a run with these others never reads.
    fn idle(&self) -> Vec<Idle>;

    /// What the run reads, where it may be a file or a folder.
    fn files(&self) -> Vec<&Path>;
}

/// A setting that is never read.
pub(super) struct Idle {
    /// The setting, or a table of them.
    pub(super) key: &'static str,
    /// Why not, and what to set instead.
    pub(super) why: &'static str,
}

/// Where settings come from besides the verb's own flags.
#[derive(ClapArgs)]
pub(super) struct ConfigArgs {
    /// A settings file: the run.toml of an earlier run, or any part of one
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Set any key of that file: prune.con_ent.bins=16; nothing after the = unsets; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<Assignment>,
}

/// The environment's variables that are text.
pub(super) fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// A flag as an origin.
pub(super) fn flag(name: &str) -> Origin {
    Origin::Flag(name.to_owned())
}
