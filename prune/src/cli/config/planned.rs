//! A run that is to start or to go on.

use super::Settings;
use super::file::{Source, to_toml};
use super::layers::{Layers, Origin, Settled};
use crate::cli::common::{RunArgs, located};
use crate::cli::exit::usage;
use crate::cli::output;
use anyhow::Result;
use pleach_prune::environment::Environment;
use pleach_prune::run_dir::RunDir;
use std::path::{Path, PathBuf};

/// Settings, and the folder of a run.
pub(in crate::cli) struct Planned<T> {
    pub(in crate::cli) file: T,
    /// The folder, if it is to be gone on with.
    existing: Option<RunDir>,
    /// The folder to start in with `--resume`.
    resume: Option<PathBuf>,
}

/// The settings of a run that starts, or goes on with `resume`. `lay` says what the command's layers are
/// over the file that is given.
pub(super) fn settle<T: Settings>(
    resume: Option<&Path>,
    config: Option<&Path>,
    lay: impl Fn(Source<'_>) -> Result<Layers>,
) -> Result<Settled<T>> {
    let Some(run) = resume else {
        return lay(config.map_or(Source::None, Source::Part))?.settle();
    };
    let toml = run.join("run.toml");
    if !toml.exists() {
        let settled: Settled<T> = lay(Source::None)?.settle()?;
        if settled.settings.is_named() {
            return Ok(settled);
        }
        let missing = if run.is_dir() { "has no run.toml" } else { "is not there" };
        return Err(usage(format!(
            "{} {missing}: there is nothing to go on with; to start, {}",
            run.display(),
            T::UNNAMED
        )));
    }
    let other = |origin: &Origin| {
        usage(format!(
            "{} was begun with other settings (see {}) than {origin}: leave that out to go on with it, or start \
             another run",
            run.display(),
            toml.display()
        ))
    };
    let mut begun = Layers::over(&T::default());
    begun.file::<T>(Source::Run(&toml))?;
    let begun: Settled<T> = begun.settle()?;
    let wanted = lay(Source::Run(&toml))?;
    // It lies under the file, which has everything.
    if let Some(preset) = wanted.preset_origin() {
        return Err(other(preset));
    }
    let wanted: Settled<T> = wanted.settle()?;
    let differs = wanted.keys.iter().find(|key| {
        let Some(then) = begun.keys.iter().find(|then| then.key == key.key) else { return true };
        match key.key.as_str() {
            // It may have moved; the built-in set has no place.
            "data" => then.value.is_null() != key.value.is_null(),
            _ => then.value != key.value,
        }
    });
    match differs {
        None => Ok(wanted),
        Some(key) => Err(other(&key.origin)),
    }
}

impl<T: Settings> Planned<T> {
    /// As [`settle`]; a folder that is to be gone on with is held from now on, unless nothing is to be done.
    pub(in crate::cli) fn new(
        resume: Option<&Path>,
        config: Option<&Path>,
        dry_run: bool,
        lay: impl Fn(Source<'_>) -> Result<Layers>,
    ) -> Result<Self> {
        // Before its settings are read, so that nobody else changes them.
        let existing = match resume {
            Some(run) if run.join("run.toml").exists() => Some(match dry_run {
                true => RunDir::existing(run)?,
                false => RunDir::resume(run)?,
            }),
            _ => None,
        };
        let settled = settle::<T>(resume, config, lay)?;
        settled.log();
        if !settled.settings.is_named() {
            return Err(usage(T::UNNAMED));
        }
        Ok(Self { file: settled.settings, existing, resume: resume.map(Path::to_path_buf) })
    }

    /// The folder, if there is a run in it.
    pub(in crate::cli) fn existing(&self) -> Option<&RunDir> {
        self.existing.as_ref()
    }

    /// `error`, from opening what the run reads, with where that is looked for, if the run is gone on with and
    /// something is not there.
    pub(in crate::cli) fn located(&self, error: anyhow::Error) -> anyhow::Error {
        match &self.existing {
            Some(run) => located(run, self.file.files(), error),
            None => error,
        }
    }

    /// Where the run would be; nothing is written.
    pub(in crate::cli) fn place(&self, args: &RunArgs) -> Result<PathBuf> {
        Ok(match (&self.existing, &self.resume) {
            (Some(run), _) => run.path().into(),
            (None, Some(path)) => RunDir::planned(Some(path), T::VERB, false)?,
            (None, None) => RunDir::planned(args.out.as_deref(), T::VERB, args.force)?,
        })
    }

    /// The folder, with what it holds before the first step.
    pub(in crate::cli) fn begin(
        &self,
        args: &RunArgs,
        environment: &Environment,
    ) -> Result<RunDir> {
        // Before a folder is cleared for it.
        let settings = to_toml(&self.file)?;
        let run = match (&self.existing, &self.resume) {
            (Some(run), _) => run.clone(),
            (None, Some(path)) => RunDir::create(Some(path), T::VERB, false)?,
            (None, None) => args.create(T::VERB)?,
        };
        if self.existing.is_none() {
            run.write("run.toml", &settings)?;
        }
        if !run.file("env.json").exists() {
            run.write("env.json", &output::to_json(environment))?;
        }
        Ok(run)
    }
}
