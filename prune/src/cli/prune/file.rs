//! The settings of a run that is to start or to go on, and its folder.

use super::Args;
use super::settings::set;
use crate::cli::common::{Common, read};
use crate::cli::exit::usage;
use crate::cli::output;
use anyhow::{Context as _, Result};
use pleach_prune::environment::Environment;
use pleach_prune::phases::PruneConfig;
use pleach_prune::run_dir::RunDir;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Seconds of speed measurement, unless others are asked for.
const BENCH_SECONDS: f64 = 3.0;

/// `run.toml`, from which the run can be made again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    verb: String,
    pub(super) net: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) arch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) verify: bool,
    #[serde(default = "bench_seconds")]
    pub(super) bench_seconds: f64,
    pub(super) prune: PruneConfig,
}

fn bench_seconds() -> f64 {
    BENCH_SECONDS
}

impl File {
    fn read(path: &Path) -> Result<Self> {
        let file: Self = toml::from_str(&read(path)?)
            .with_context(|| format!("{} is no settings file of prune", path.display()))?;
        if file.verb != "prune" {
            let (path, verb) = (path.display(), file.verb);
            return Err(usage(format!("{path} has settings of {verb:?}, expected of \"prune\"")));
        }
        Ok(file)
    }

    /// The settings of a new run.
    fn new(common: &Common, args: &Args) -> Result<Self> {
        let file = match (&args.settings.config, &args.net) {
            (Some(path), _) => Self::read(path)?,
            (None, Some(net)) => Self {
                verb: "prune".into(),
                net: net.clone(),
                arch: None,
                data: None,
                verify: false,
                bench_seconds: BENCH_SECONDS,
                prune: PruneConfig::default(),
            },
            (None, None) => return Err(usage("name a network to prune")),
        };
        let file = file.under(common, args)?;
        Ok(file.with_data(args))
    }

    /// The file with what the command line says, but for the data.
    fn under(mut self, common: &Common, args: &Args) -> Result<Self> {
        if let Some(net) = &args.net {
            // The architecture is that of the network which the file names.
            self.arch = self.arch.filter(|_| *net == self.net);
            self.net.clone_from(net);
        }
        if args.arch.is_some() {
            self.arch.clone_from(&args.arch);
        }
        self.verify |= args.verify;
        set(&mut self.bench_seconds, args.bench_seconds);
        self.prune = args.settings.over(self.prune, common.seed_given())?;
        Ok(self)
    }

    fn with_data(mut self, args: &Args) -> Self {
        if args.data.data.is_some() {
            self.data.clone_from(&args.data.data);
        }
        self
    }
}

/// A run that is to start or to go on.
pub(super) struct Planned {
    pub(super) file: File,
    /// The folder, if it is to be gone on with.
    existing: Option<RunDir>,
}

impl Planned {
    pub(super) fn new(common: &Common, args: &Args) -> Result<Self> {
        let Some(path) = &args.resume else {
            return Ok(Self { file: File::new(common, args)?, existing: None });
        };
        let toml = path.join("run.toml");
        if !toml.exists() {
            if args.net.is_none() {
                let missing = if path.is_dir() { "has no run.toml" } else { "is not there" };
                return Err(usage(format!(
                    "{} {missing}: there is nothing to go on with; to start, name a network",
                    path.display()
                )));
            }
            return Ok(Self { file: File::new(common, args)?, existing: None });
        }
        let run = RunDir::resume(path)?;
        let file = File::read(&toml)?;
        if file.clone().under(common, args)? != file {
            return Err(usage(format!(
                "{} was begun with other settings (see {}): leave them out to go on with it, or start \
                 another run",
                path.display(),
                toml.display()
            )));
        }
        // The data may have moved.
        Ok(Self { file: file.with_data(args), existing: Some(run) })
    }

    /// The folder, if there is a run in it.
    pub(super) fn existing(&self) -> Option<&RunDir> {
        self.existing.as_ref()
    }

    /// The folder, with what it holds before the first step.
    pub(super) fn begin(&self, args: &Args, environment: &Environment) -> Result<RunDir> {
        let run = match (&self.existing, &args.resume) {
            (Some(run), _) => run.clone(),
            (None, Some(path)) => RunDir::create(Some(path), "prune", false)?,
            (None, None) => args.run.create("prune")?,
        };
        if self.existing.is_none() {
            run.write("run.toml", &toml::to_string_pretty(&self.file)?)?;
        }
        if !run.file("env.json").exists() {
            run.write("env.json", &output::to_json(environment))?;
        }
        Ok(run)
    }
}
