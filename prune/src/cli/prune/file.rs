//! The settings of a run, as its folder has them.

use super::{Args, idle};
use crate::cli::common::{Common, utf8};
use crate::cli::config::{self, Idle, Layers, Source, flag};
use anyhow::Result;
use pleach_prune::phases::PruneConfig;
use pleach_prune::prune_run::PRUNED;
use pleach_prune::settings::SettingError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Seconds of speed measurement, unless others are asked for.
const BENCH_SECONDS: f64 = 3.0;

/// `run.toml`, from which the run can be made again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct File {
    verb: String,
    /// Empty if it is not named.
    pub(super) net: String,
    pub(super) arch: Option<String>,
    pub(super) data: Option<PathBuf>,
    /// The run that this one goes on from, instead of from the network as it is.
    pub(super) after: Option<PathBuf>,
    #[serde(default)]
    pub(super) verify: bool,
    #[serde(default = "bench_seconds")]
    pub(super) bench_seconds: f64,
    pub(super) prune: PruneConfig,
}

fn bench_seconds() -> f64 {
    BENCH_SECONDS
}

impl Default for File {
    /// No network, and the defaults.
    fn default() -> Self {
        Self {
            verb: "prune".into(),
            net: String::new(),
            arch: None,
            data: None,
            after: None,
            verify: false,
            bench_seconds: BENCH_SECONDS,
            prune: PruneConfig::default(),
        }
    }
}

impl config::Settings for File {
    const VERB: &'static str = "prune";
    const UNNAMED: &'static str = "name a network to prune";

    fn is_named(&self) -> bool {
        !self.net.is_empty()
    }

    fn check(&self) -> Result<(), SettingError> {
        let seconds = self.bench_seconds;
        if !(0.0..=3600.0).contains(&seconds) {
            let (key, found) = ("bench_seconds".into(), seconds.to_string());
            return Err(SettingError { key, expected: "a number of seconds, 0 to 3600", found });
        }
        if let (Some(after), Some(_)) = (&self.after, &self.prune.replay) {
            let (key, found) = ("after".into(), after.display().to_string());
            let expected = "none with a plan, which says what is left of the whole network";
            return Err(SettingError { key, expected, found });
        }
        self.prune.check("prune")
    }

    fn idle(&self) -> Vec<Idle> {
        idle::of(&self.prune)
    }

    fn files(&self) -> Vec<&Path> {
        let others = [&self.data, &self.after].into_iter().flatten().map(PathBuf::as_path);
        std::iter::once(Path::new(&self.net)).chain(others).collect()
    }
}

impl File {
    /// The network that the run goes on from, if that is another's.
    pub(super) fn earlier(&self) -> Option<PathBuf> {
        self.after.as_ref().map(|run| run.join(PRUNED))
    }
}

impl Args {
    /// The settings that the command line and the environment say, over those of `file`.
    pub(in crate::cli) fn layers(&self, common: &Common, file: Source<'_>) -> Result<Layers> {
        let mut layers = Layers::over(&File::default());
        self.settings.lay_preset(&mut layers);
        layers.file::<File>(file)?;
        layers.environment("prune", config::variables())?;
        layers.put(&common.origin("seed"), "prune.seed", common.seed_given());
        layers.put(&common.origin("data"), "data", self.data.text()?);
        if let Some(net) = self.net.as_deref() {
            // The architecture is that of the network which the file names.
            if layers.get("net") != net {
                layers.imply(&flag("NET"), "arch", None::<&str>);
            }
            layers.put(&flag("NET"), "net", Some(net));
        }
        layers.put(&flag("--arch"), "arch", self.arch.as_deref());
        layers.put(&flag("--after"), "after", utf8("--after", self.after.as_deref())?);
        layers.put(&flag("--verify"), "verify", self.verify.then_some(true));
        layers.put(&flag("--bench-seconds"), "bench_seconds", self.bench_seconds);
        self.settings.lay(&mut layers)?;
        layers.set(&self.config.set)?;
        Ok(layers)
    }
}
