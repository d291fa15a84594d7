//! A study's `run.toml`, and the flags that it is made of.

use super::Args;
use crate::cli::common::{Common, read};
use crate::cli::exit::usage;
use anyhow::{Context as _, Result};
use pleach_datasets::Dataset;
use pleach_prune::reproduce::{self, Cell, Effort, Given, Settings, Work};
use pleach_prune::run_dir::RunDir;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const VERB: &str = "reproduce";

/// `run.toml`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    verb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<PathBuf>,
    pub(super) settings: Settings,
}

/// What the files of all verbs have.
#[derive(Deserialize)]
struct OfVerb {
    verb: String,
}

impl File {
    /// What the flags say, or the file of the study that is gone on with.
    pub(super) fn new(common: &Common, args: &Args) -> Result<Self> {
        match &args.resume {
            Some(run) => Self::of(run, common, args),
            None => Ok(Self {
                verb: VERB.into(),
                data: args.data.text()?.map(PathBuf::from),
                settings: settings(common.seed(), args)?,
            }),
        }
    }

    fn of(run: &Path, common: &Common, args: &Args) -> Result<Self> {
        RunDir::existing(run)?;
        let path = run.join("run.toml");
        if !path.exists() {
            let run = run.display();
            return Err(usage(format!("{run} has no run.toml: there is nothing to go on with")));
        }
        // Before its settings are read: whoever begins it writes these first.
        let is_begun = is_begun(run);
        let text = read(&path)?;
        let malformed = || format!("{} is no settings file of {VERB}", path.display());
        let OfVerb { verb } = toml::from_str(&text).with_context(malformed)?;
        if verb != VERB {
            let path = path.display();
            return Err(usage(format!("{path} has settings of {verb:?}, expected of {VERB:?}")));
        }
        let file: Self = toml::from_str(&text).with_context(malformed)?;
        let begun = file.settings.seed;
        if let Some(seed) = common.seed_given().filter(|&seed| seed != begun) {
            let (path, origin) = (path.display(), common.origin("seed"));
            return Err(usage(format!(
                "the study was begun with seed {begun} (see {path}), not with {seed}: leave {origin} out"
            )));
        }
        let data = args.data.text()?;
        if let (Some(data), None, true) = (data, &file.data, is_begun) {
            let (path, origin) = (path.display(), common.origin("data"));
            return Err(usage(format!(
                "the study was begun with the built-in data (see {path}), not with {data}: leave {origin} out"
            )));
        }
        // It may have moved.
        Ok(Self { data: data.map(PathBuf::from).or(file.data), ..file })
    }

    /// The files that it names.
    pub(super) fn files(&self) -> Vec<&Path> {
        let Settings { base, residual_base, .. } = &self.settings;
        let nets = [base, residual_base].into_iter().flatten().map(|given| Path::new(&given.net));
        self.data.as_deref().into_iter().chain(nets).collect()
    }
}

/// Whether a study in a folder has begun: someone who does it again may bring the settings alone, and the data when it
/// begins.
pub(super) fn is_begun(run: &Path) -> bool {
    run.join("env.json").exists()
}

fn settings(seed: u64, args: &Args) -> Result<Settings> {
    let mut settings = match args.quick {
        true => Settings::quick(seed),
        false => Settings::full(seed),
    };
    if !args.tables.is_empty() {
        let names = args.tables.iter().map(|id| Ok(reproduce::named(id)?.id.to_owned()));
        settings.tables = names.collect::<Result<_>>()?;
        let mut seen = BTreeSet::new();
        settings.tables.retain(|table| seen.insert(table.clone()));
    }
    let given = |net: &String, arch: Option<&String>| Given {
        net: net.clone(),
        arch: arch.cloned(),
        name: None,
    };
    settings.base = args.base.as_ref().map(|net| given(net, args.arch.as_ref()));
    settings.residual_base = args.residual_base.as_ref().map(|net| given(net, None));
    if let Some(model) = &args.model {
        settings.model.clone_from(model);
    }
    if let Some(residual) = &args.residual {
        settings.residual.clone_from(residual);
    }
    if let Some(narrow) = &args.narrow {
        settings.narrow.clone_from(narrow);
        settings.narrow_nobn = None;
    }
    settings.effort.seeds = args.seeds.unwrap_or(settings.effort.seeds);
    Ok(settings)
}

/// An error if a flag is given that no cell goes by.
pub(super) fn check_use(
    args: &Args,
    settings: &Settings,
    dataset: &dyn Dataset,
    cells: &[Cell],
) -> Result<()> {
    let given = |name: &str| {
        cells.iter().any(|cell| matches!(&cell.work, Work::Given { net, .. } if net == name))
    };
    let trained = |name: &str| {
        cells.iter().any(|cell| matches!(&cell.work, Work::Train { model, .. } if model == name))
    };
    // With one seed, methods are compared on a base of that model that is given.
    let narrow = |name: &str| {
        let is_base = |base: &Given| name == settings.model && given(&base.net);
        trained(name) || settings.base.as_ref().is_some_and(is_base)
    };
    let is_used = |name: &Option<String>, used: &dyn Fn(&str) -> bool| {
        name.as_ref().is_none_or(|name| used(name))
    };
    for (flag, is_used) in [
        ("--model", is_used(&args.model, &trained)),
        ("--residual", is_used(&args.residual, &trained)),
        ("--base", is_used(&args.base, &given)),
        ("--residual-base", is_used(&args.residual_base, &given)),
        ("--narrow", is_used(&args.narrow, &narrow)),
    ] {
        if !is_used {
            return Err(usage(format!(
                "{flag} has no effect: no cell of these tables begins with it"
            )));
        }
    }
    let over = |seeds| {
        let effort = Effort { seeds, ..settings.effort };
        reproduce::cells(&Settings { effort, ..settings.clone() }, dataset)
    };
    if args.seeds.is_some() && over(1)? == over(2)? {
        return Err(usage("--seeds has no effect: these tables compare nothing over seeds"));
    }
    Ok(())
}
