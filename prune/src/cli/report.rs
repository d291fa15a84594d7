//! `pleach report`

use super::common::{Common, read, refuse_to_overwrite};
use super::exit::{self, usage};
use super::output;
use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use pleach_core::checkpoint::write_atomically;
use pleach_prune::reproduce::{self, PAGE, REPORT, Report};
use pleach_prune::run_dir::RunDir;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Make the report of a study again, from the JSON in its folder
///
/// Without -o all files of the report are written again: report.md and report.html, each table as CSV, LaTeX and
/// JSON, each figure as SVG.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The folder of a study (pleach reproduce), or its report.json
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
    cells: usize,
    missing: &'a [String],
    out: &'a Path,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let (folder, report) = load(&args.run)?;
    let out = match &args.out {
        Some(out) if out == Path::new("-") => {
            output::print(&report.to_markdown())?;
            return Ok(exit::OK);
        }
        Some(out) => {
            refuse_to_overwrite(out, args.force)?;
            let text = text(&report, out)?;
            write_atomically(out, |file| file.write_all(text.as_bytes()))
                .with_context(|| format!("cannot write {}", out.display()))?;
            out.clone()
        }
        None => {
            reproduce::write(&RunDir::join(&folder)?, &report)?;
            folder.join(PAGE)
        }
    };
    if common.json {
        output::json(&Document {
            schema: "pleach.report/1",
            run: &args.run,
            cells: report.cells.len(),
            missing: &report.missing,
            out: &out,
        })?;
    } else {
        let (done, all) = (report.cells.len(), report.cells.len() + report.missing.len());
        output::print(&format!("{done} of {all} cells are in {}\n", out.display()))?;
    }
    Ok(exit::OK)
}

/// The study's folder, and what its report was made of.
fn load(run: &Path) -> Result<(PathBuf, Report)> {
    let path = if run.is_dir() { run.join(REPORT) } else { run.to_owned() };
    if !path.exists() {
        let shown = run.display();
        return Err(usage(match run.is_dir() {
            true => {
                format!("{shown} has no {REPORT}: name the folder of a study (pleach reproduce)")
            }
            false => format!("{shown}: there is no such study"),
        }));
    }
    let report: Report = serde_json::from_str(&read(&path)?)
        .with_context(|| format!("{} is no report of a study", path.display()))?;
    if report.schema != reproduce::SCHEMA {
        return Err(usage(format!(
            "{} has schema {:?}, expected {:?}",
            path.display(),
            report.schema,
            reproduce::SCHEMA
        )));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")).to_owned(), report))
}

/// The report as a file of this name has it.
fn text(report: &Report, out: &Path) -> Result<String> {
    match out.extension().and_then(|extension| extension.to_str()) {
        Some("html") => Ok(report.page().to_html()),
        Some("md") => Ok(report.to_markdown()),
        Some("json") => Ok(output::to_json(report)),
        _ => Err(usage(format!(
            "{}: expected a name that ends in .html, .md or .json",
            out.display()
        ))),
    }
}
