//! `pleach report`

use super::common::{Common, read, refuse_to_overwrite};
use super::exit::{self, usage};
use super::{links, output};
use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use pleach_core::checkpoint::write_atomically;
use pleach_prune::report::{self, NamedResult, PAGE, Page, PruneResult, RESULT, RESULT_SCHEMA};
use pleach_prune::reproduce::{self, REPORT, Report};
use pleach_prune::run_dir::RunDir;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Make a report again, of a study or of a pruning run, from the JSON in its folder; or compare pruning runs
///
/// Without -o all files of the report are written again: report.html and each figure as SVG; of a study also report.md,
/// and each table as CSV, LaTeX and JSON. Several pruning runs make one table, a row each, which is printed as Markdown.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The folder of a study (pleach reproduce) or of a finished pruning run, or its report.json or result.json; or
    /// several pruning runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Write this file alone, of the kind that its name ends in: .html, .md or .json, of several runs also .csv or .tex;
    /// - prints Markdown, or with --json what the run's JSON has
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite that file
    #[arg(short, long, requires = "out")]
    force: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    run: String,
    /// Of a study; null otherwise.
    cells: Option<usize>,
    missing: Option<&'a [String]>,
    out: String,
}

/// What a report is made of.
enum Source {
    Study(Box<Report>),
    /// The pruning run's result, as its file has it.
    Pruning(Value),
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    match &args.runs[..] {
        [run] => one(common, args, run),
        runs => several(common, args, runs),
    }
}

fn one(common: &Common, args: &Args, run: &Path) -> Result<u8> {
    let (folder, source) = load(run)?;
    let name = match &source {
        Source::Study(_) => REPORT,
        Source::Pruning(_) => RESULT,
    };
    // The rest of the report is from the files beside it.
    if !run.is_dir() && run.file_name() != Some(name.as_ref()) {
        return Err(usage(format!("{}: name the run's folder, or {name} in it", run.display())));
    }
    let page = || match &source {
        Source::Study(report) => drawable(report.page(), &folder.join(REPORT)),
        Source::Pruning(_) => Ok(report::pruning(&RunDir::existing(&folder)?)?),
    };
    let json = || match &source {
        Source::Study(report) => output::to_json(report),
        Source::Pruning(result) => output::to_json(result),
    };
    let markdown =
        |from: &Path| -> Result<String> { Ok(page()?.to_markdown(links::to_files(from, &folder))) };
    let out = match &args.out {
        Some(out) if out == Path::new("-") => {
            let text = if common.json { json() } else { markdown(Path::new("."))? };
            output::print(&text)?;
            return Ok(exit::OK);
        }
        Some(out) => {
            write(args, out, ".html, .md or .json", |kind| {
                Ok(Some(match kind {
                    "html" => page()?.to_html(),
                    "md" => markdown(folder_of(out))?,
                    "json" => json(),
                    _ => return Ok(None),
                }))
            })?;
            out.clone()
        }
        None => {
            page()?;
            match &source {
                Source::Study(report) => reproduce::write(&RunDir::join(&folder)?, report)?,
                Source::Pruning(_) => report::write_pruning(&RunDir::resume(&folder)?)?,
            }
            folder.join(PAGE)
        }
    };
    let cells = match &source {
        Source::Study(report) => Some((report.cells.len(), report.missing.as_slice())),
        Source::Pruning(_) => None,
    };
    if common.json {
        output::json(&Document {
            schema: "pleach.report/1",
            run: output::shown(run),
            cells: cells.map(|(done, _)| done),
            missing: cells.map(|(_, missing)| missing),
            out: output::shown(&out),
        })?;
    } else {
        let out = out.display();
        output::print(&match cells {
            Some((done, missing)) => {
                format!("{done} of {} cells are in {out}\n", done + missing.len())
            }
            None => format!("{out}\n"),
        })?;
    }
    Ok(exit::OK)
}

/// `pleach.runs/1`.
#[derive(Serialize)]
struct Runs<'a> {
    schema: &'static str,
    runs: Vec<NamedRun<'a>>,
}

#[derive(Serialize)]
struct NamedRun<'a> {
    run: &'a str,
    result: &'a PruneResult,
}

fn several(common: &Common, args: &Args, paths: &[PathBuf]) -> Result<u8> {
    let named = |path: &PathBuf| match load(path)? {
        (folder, Source::Pruning(result)) => {
            let result = serde_json::from_value(result)
                .with_context(|| format!("{} has no result of a pruning run", folder.display()))?;
            let shown = path.display().to_string();
            Ok(NamedResult { name: shown.trim_end_matches('/').to_owned(), result })
        }
        (_, Source::Study(_)) => {
            let only = "is a study: only pruning runs are compared";
            Err(usage(format!("{} {only}", path.display())))
        }
    };
    let runs = paths.iter().map(named).collect::<Result<Vec<NamedResult>>>()?;
    let document = Runs {
        schema: "pleach.runs/1",
        runs: runs
            .iter()
            .map(|NamedResult { name, result }| NamedRun { run: name, result })
            .collect(),
    };
    match &args.out {
        Some(out) if out != Path::new("-") => {
            write(args, out, ".html, .md, .csv, .tex or .json", |kind| {
                Ok(Some(match kind {
                    "html" => drawable(report::runs(&runs), out)?.to_html(),
                    "md" => report::runs_table(&runs).to_markdown(),
                    "csv" => report::runs_table(&runs).to_csv(),
                    "tex" => report::runs_table(&runs).to_latex(),
                    "json" => output::to_json(&document),
                    _ => return Ok(None),
                }))
            })?;
            match common.json {
                true => output::json(&document)?,
                false => output::print(&format!("{}\n", out.display()))?,
            }
        }
        _ if common.json => output::json(&document)?,
        _ => output::print(&report::runs_table(&runs).to_markdown())?,
    }
    Ok(exit::OK)
}

/// Writes the file that was asked for, of the kind that its name ends in, if `text` knows that kind, one of `kinds`.
fn write(
    args: &Args,
    out: &Path,
    kinds: &str,
    text: impl FnOnce(&str) -> Result<Option<String>>,
) -> Result<()> {
    refuse_to_overwrite(out, args.force)?;
    let kind = out.extension().and_then(|extension| extension.to_str());
    let Some(text) = text(kind.unwrap_or_default())? else {
        return Err(usage(format!("{}: expected a name that ends in {kinds}", out.display())));
    };
    write_atomically(out, |file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", out.display()))
}

/// The folder of a study or run, and what its report is made of.
fn load(run: &Path) -> Result<(PathBuf, Source)> {
    let shown = run.display();
    let named = |name: &&str| run.join(name).exists();
    let path = match run.is_dir() {
        true => [REPORT, RESULT].iter().find(|name| named(name)).map(|name| run.join(name)),
        false => Some(run.to_owned()),
    };
    let Some(path) = path else {
        return Err(usage(format!(
            "{shown} has neither {REPORT} nor {RESULT}: name the folder of a study (pleach reproduce) or of a \
             finished pruning run"
        )));
    };
    if !path.exists() {
        return Err(usage(format!("{shown}: there is no such study or run")));
    }
    let malformed = || format!("{} is no report of a study or run", path.display());
    let text = read(&path)?;
    let value: Value = serde_json::from_str(&text).with_context(malformed)?;
    let source = match value["schema"].as_str() {
        Some(reproduce::SCHEMA) => {
            let report: Report = serde_json::from_value(value).with_context(malformed)?;
            report.settings.check().with_context(malformed)?;
            Source::Study(Box::new(report))
        }
        Some(RESULT_SCHEMA) => Source::Pruning(value),
        found => {
            let found =
                found.map_or_else(|| "no schema".into(), |found| format!("schema {found:?}"));
            let expected = format!("expected {:?} or {RESULT_SCHEMA:?}", reproduce::SCHEMA);
            return Err(usage(format!("{} has {found}, {expected}", path.display())));
        }
    };
    Ok((folder_of(&path).to_owned(), source))
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// The page, if the numbers that `of` has can be drawn.
fn drawable(page: Page, of: &Path) -> Result<Page> {
    match page.check() {
        Ok(()) => Ok(page),
        Err(found) => bail!("{}: {found}", of.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleach_prune::reproduce::Settings;
    use serde_json::json;

    #[test]
    fn settings_of_a_study_that_are_out_of_range_are_refused_with_the_file_s_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(REPORT);
        let load_with = |seeds: u64| {
            let mut settings = Settings::quick(1);
            settings.effort.seeds = seeds;
            let report = json!({
                "schema": reproduce::SCHEMA,
                "dataset": "shapes",
                "settings": settings,
                "cells": [],
                "missing": [],
                "seconds": 0.0,
            });
            std::fs::write(&path, report.to_string()).unwrap();
            load(folder.path()).map(|(folder, _)| folder)
        };
        assert_eq!(load_with(3).unwrap(), folder.path());
        let error = format!("{:#}", load_with(1_000_000_000_000).unwrap_err());
        let says = format!("{} is no report of a study or run: ", path.display());
        assert!(error.starts_with(&says), "{error}");
        assert!(error.contains("settings.effort.seeds is 1000000000000, expected"), "{error}");
    }
}
