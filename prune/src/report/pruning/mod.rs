//! A pruning run as a page, from what the run has left in its folder.

mod filters;
mod outcome;
mod several;
mod tuning;

pub use outcome::headline;
pub use several::{NamedResult, runs, runs_table};

use super::page::drawable;
use super::result::{PruneResult, RESULT, RESULT_SCHEMA};
use super::{Block, Page, Section, machine};
use crate::plan::{Plan, PlanError};
use crate::prune_run::PLAN;
use crate::run_dir::{RunDir, RunDirError};
use crate::target::Unit;
use crate::train_run::METRICS;
use serde_json::Value;
use std::path::PathBuf;
use std::{fs, io};

/// The page's file in the run's folder.
pub const PAGE: &str = "report.html";
/// What the names of its figures' files begin with.
pub(crate) const FIGURE_PREFIX: &str = "figure-";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The run has no result yet.
    #[error("{}: there is no result.json: the run is not finished, or none of pruning", .0.display())]
    Unfinished(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what a pruning run writes.
    #[error("{}: {found}, expected what a pruning run writes", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        found: String,
    },
    /// The plan is none.
    #[error("{}: {source}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PlanError,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] RunDirError),
}

/// What a finished run left.
struct Run {
    result: PruneResult,
    /// What was removed, where that was kept.
    plan: Option<Plan>,
    /// The lines of the metrics.
    metrics: Vec<Value>,
    /// The settings, as text.
    settings: String,
    environment: Value,
}

/// The report of the finished pruning run in `run`; if it has no plan any more, without what the plan says.
///
/// # Errors
/// If the run is not finished, or a file of it cannot be read or is no such file.
pub fn pruning(folder: &RunDir) -> Result<Page, ReportError> {
    let run = Run::read(folder)?;
    let sections = [
        Some(outcome::result(&run.result)),
        Some(outcome::steps(&run.result, run.plan.as_ref())),
        outcome::time(&run.result),
        run.plan.as_ref().map(filters::widths),
        filters::scores(&run),
        tuning::curves(&run),
    ];
    let sections: Vec<Section> = sections.into_iter().flatten().collect();
    // The result's own figures are drawable.
    drawable(&sections).map_err(|found| malformed(folder, METRICS, found))?;
    let PruneResult { model, dataset, base, pruned, drop, .. } = &run.result;
    let factor = base.macs as f64 / pruned.facts.macs.max(1) as f64;
    let name = |name: &str, other: &str| if name.is_empty() { other } else { name }.to_owned();
    Ok(Page {
        title: format!(
            "{} on {}: {factor:.2}x fewer multiply-adds, {:.2} points of accuracy {}",
            name(model, "A network"),
            name(dataset, "its data set"),
            drop.points.abs(),
            if drop.points < 0.0 { "gained" } else { "lost" }
        ),
        summary: outcome::summary(&run.result),
        sections,
        repeat: run.repeat(),
        figure_prefix: FIGURE_PREFIX,
    })
}

/// Writes [`pruning`]'s page as `report.html` into the run's folder, and each figure as
/// `figure-NAME.svg`.
///
/// # Errors
/// As [`pruning`], and if the operating system refuses.
pub fn write_pruning(run: &RunDir) -> Result<(), ReportError> {
    let page = pruning(run)?;
    for figure in page.sections.iter().flat_map(|section| &section.figures) {
        run.write(&page.figure_file(figure), &figure.to_svg())?;
    }
    Ok(run.write(PAGE, &page.to_html())?)
}

/// The result of the finished pruning run in `run`.
///
/// # Errors
/// If the run is not finished, or its result cannot be read or is none.
pub fn result(run: &RunDir) -> Result<PruneResult, ReportError> {
    if !run.file(RESULT).exists() {
        return Err(ReportError::Unfinished(run.path().into()));
    }
    let result = json(run, RESULT, &read(run, RESULT)?)?;
    if result["schema"] != RESULT_SCHEMA {
        return Err(malformed(run, RESULT, format!("its schema is {}", result["schema"])));
    }
    let result: PruneResult = serde_json::from_value(result)
        .map_err(|error| malformed(run, RESULT, error.to_string()))?;
    let sections = [Some(outcome::result(&result)), outcome::time(&result)];
    let sections = sections.into_iter().flatten().chain([outcome::steps(&result, None)]);
    let sections: Vec<Section> = sections.collect();
    drawable(&sections).map_err(|found| malformed(run, RESULT, found))?;
    Ok(result)
}

fn read(run: &RunDir, name: &str) -> Result<String, ReportError> {
    let path = run.file(name);
    fs::read_to_string(&path).map_err(|source| ReportError::Read { path, source })
}

fn json(run: &RunDir, name: &str, text: &str) -> Result<Value, ReportError> {
    serde_json::from_str(text).map_err(|error| malformed(run, name, error.to_string()))
}

fn malformed(run: &RunDir, name: &str, found: String) -> ReportError {
    ReportError::Malformed { path: run.file(name), found }
}

impl Run {
    fn read(run: &RunDir) -> Result<Self, ReportError> {
        let result = result(run)?;
        let plan = match read(run, PLAN) {
            Err(ReportError::Read { path, source }) if source.kind() == io::ErrorKind::NotFound => {
                log::warn!("{} is not there: what was removed is left out", path.display());
                None
            }
            text => Some(
                Plan::from_json(&text?)
                    .map_err(|source| ReportError::Plan { path: run.file(PLAN), source })?,
            ),
        };
        let lines = read(run, METRICS)?;
        let metrics =
            lines.lines().map(|line| json(run, METRICS, line)).collect::<Result<_, _>>()?;
        let environment = json(run, "env.json", &read(run, "env.json")?)?;
        Ok(Self { result, plan, metrics, settings: read(run, "run.toml")?, environment })
    }

    fn repeat(&self) -> Vec<Block> {
        let PruneResult { seed, sha256, target, .. } = &self.result;
        let timed = target.is_some_and(|target| target.unit == Unit::Latency);
        let pruned = match timed {
            true => {
                "pruned.safetensors; another run measures layers anew, and may choose otherwise"
            }
            false => "pruned.safetensors, which comes out with the same bits",
        };
        let mut inputs = "the base network and the data";
        let mut files = vec![("base", "the base network's file"), ("pruned", pruned)];
        if sha256.contains_key("after") {
            inputs = "the base network, the data and the run that this one goes on from";
            files.insert(1, ("after", "pruned.safetensors of the run that this one goes on from"));
        }
        let hashes = files.into_iter().map(|(key, what)| {
            let hash = sha256.get(key).map_or("not a file, or not recorded", String::as_str);
            format!("{hash}  {what}\n")
        });
        let block = |text: &str, code: String| Block { text: text.into(), code, tables: vec![] };
        vec![
            block(
                &format!("With the settings below in run.toml, and {inputs} where they say:"),
                "pleach prune --config run.toml --out again\n".into(),
            ),
            block(&format!("Settings; the seed is {seed}:"), self.settings.clone()),
            block("SHA-256:", hashes.collect()),
            block("Machine:", machine(&self.environment) + "\n"),
        ]
    }
}
