//! `pleach report`

use super::common::{Common, read, refuse_to_overwrite};
use super::exit::{self, usage};
use super::output;
use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use pleach_core::checkpoint::write_atomically;
use pleach_prune::report::{self, PAGE, RESULT, RESULT_SCHEMA};
use pleach_prune::reproduce::{self, REPORT, Report};
use pleach_prune::run_dir::RunDir;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Make a report again, of a study or of a pruning run, from the JSON in its folder
///
/// Without -o all files of the report are written again: report.html and each figure as SVG; of a study also
/// report.md, and each table as CSV, LaTeX and JSON.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The folder of a study (pleach reproduce) or of a finished pruning run, or its report.json or result.json
    run: PathBuf,
    /// Write this file alone, of the kind that its name ends in: .html, .md or .json; - prints Markdown
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite that file
    #[arg(short, long, requires = "out")]
    force: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    run: &'a Path,
    /// Of a study; null otherwise.
    cells: Option<usize>,
    missing: Option<&'a [String]>,
    out: &'a Path,
}

/// What a report is made of.
enum Source {
    Study(Box<Report>),
    /// The pruning run's result, as its file has it.
    Pruning(Value),
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let (folder, source) = load(&args.run)?;
    let page = |run: &RunDir| match &source {
        Source::Study(report) => Ok(report.page()),
        Source::Pruning(_) => report::pruning(run),
    };
    let out = match &args.out {
        Some(out) if out == Path::new("-") => {
            output::print(&page(&RunDir::existing(&folder)?)?.to_markdown())?;
            return Ok(exit::OK);
        }
        Some(out) => {
            refuse_to_overwrite(out, args.force)?;
            let page = || page(&RunDir::existing(&folder)?);
            let text = match out.extension().and_then(|extension| extension.to_str()) {
                Some("html") => page()?.to_html(),
                Some("md") => page()?.to_markdown(),
                Some("json") => match &source {
                    Source::Study(report) => output::to_json(report),
                    Source::Pruning(result) => output::to_json(result),
                },
                _ => {
                    let expected = "expected a name that ends in .html, .md or .json";
                    return Err(usage(format!("{}: {expected}", out.display())));
                }
            };
            write_atomically(out, |file| file.write_all(text.as_bytes()))
                .with_context(|| format!("cannot write {}", out.display()))?;
            out.clone()
        }
        None => {
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
            run: &args.run,
            cells: cells.map(|(done, _)| done),
            missing: cells.map(|(_, missing)| missing),
            out: &out,
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
            Source::Study(Box::new(serde_json::from_value(value).with_context(malformed)?))
        }
        Some(RESULT_SCHEMA) => Source::Pruning(value),
        found => {
            let found =
                found.map_or_else(|| "no schema".into(), |found| format!("schema {found:?}"));
            let expected = format!("expected {:?} or {RESULT_SCHEMA:?}", reproduce::SCHEMA);
            return Err(usage(format!("{} has {found}, {expected}", path.display())));
        }
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")).to_owned(), source))
}
