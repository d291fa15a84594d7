//! `pleach reproduce`

mod file;
mod plan;
mod watch;

use super::common::{Common, DataArgs, RunArgs, located};
use super::exit::usage;
use super::{exit, interrupt, links, output};
use anyhow::Result;
use clap::Args as ClapArgs;
use file::File;
use pleach_prune::environment::Environment;
use pleach_prune::report::PAGE;
use pleach_prune::reproduce::{self, Cell, Job, Rates, Settings, Work};
use pleach_prune::run_dir::RunDir;
use serde::Serialize;
use std::path::{Path, PathBuf};
use watch::Watch;

/// Reproduce the paper's tables: base networks, both phases and each alone, criteria, speed
///
/// A study is made of cells, independent runs that are each done once: interrupted, it goes on with the
/// first that is not. The folder gets report.json, report.md and report.html, each table as CSV, LaTeX and JSON, each
/// figure as SVG, and under cells/ the networks.
///
/// Several processes, on one machine or on several that see the folder, do cells at once:
///
///   pleach reproduce T3 --data DIR -o RUN --list-cells | parallel -j 2 pleach reproduce --resume RUN
///   --threads 1 --cell
///
/// Then `pleach reproduce --resume RUN` measures speed and does what else is left, and makes the tables.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The tables, T1 to T6; the default is all
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// A small VGG and one seed, within three minutes on two cores with the built-in data set
    #[arg(long)]
    quick: bool,
    /// The model of T1 and T6 [default: vgg16]
    #[arg(long, value_name = "MODEL", conflicts_with = "base")]
    model: Option<String>,
    /// The model of T4 [default: resnet18]
    #[arg(long, value_name = "MODEL", conflicts_with = "residual_base")]
    residual: Option<String>,
    /// The base network of T1 and T6, instead of one that is trained here
    #[arg(long, value_name = "NET")]
    base: Option<String>,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long, requires = "base")]
    arch: Option<String>,
    /// The base network of T4, instead of one that is trained here
    #[arg(long, value_name = "NET")]
    residual_base: Option<String>,
    /// The model on which methods are compared over seeds
    #[arg(long, value_name = "MODEL")]
    narrow: Option<String>,
    /// Seeds that methods are compared over
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: Option<u64>,
    /// CPU hours that it may take: epochs are cut to fit
    #[arg(long, value_name = "HOURS", value_parser = hours)]
    budget: Option<f64>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Go on with a study
    #[arg(
        long,
        value_name = "RUN",
        conflicts_with_all = [
            "tables", "out", "force", "quick", "model", "residual", "base", "arch", "residual_base",
            "narrow", "seeds", "budget",
        ]
    )]
    resume: Option<PathBuf>,
    /// Do this cell, and what it needs, and make no tables; may be repeated
    #[arg(long = "cell", value_name = "ID")]
    cells: Vec<String>,
    /// Make the folder and print the names of the cells that are not done, but for measurements of speed, which want
    /// the machine for themselves; do nothing else
    #[arg(long, conflicts_with_all = ["cells", "merge"])]
    list_cells: bool,
    /// Make the tables of what is done; do nothing else
    #[arg(long, requires = "resume", conflicts_with = "cells")]
    merge: bool,
    /// Say what would be done, and the CPU hours that it takes; do nothing
    #[arg(short = 'n', long, conflicts_with_all = ["cells", "list_cells", "merge"])]
    dry_run: bool,
}

fn hours(text: &str) -> Result<f64, String> {
    let hours = text.strip_suffix('h').unwrap_or(text).parse().ok();
    hours
        .filter(|hours: &f64| hours.is_finite() && *hours > 0.0)
        .ok_or_else(|| "expected a number of hours above 0".into())
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    // The parser asks for --resume only where nothing is given that it conflicts with.
    if args.merge && args.resume.is_none() {
        return Err(usage(
            "--merge makes the tables of a study that is there: name it with --resume",
        ));
    }
    let cx = common.context()?;
    let mut file = File::new(common, args)?;
    let resumed = args.resume.as_deref().map(RunDir::existing).transpose()?;
    let explained = |file: &File, error: anyhow::Error| match &resumed {
        Some(run) => located(run, file.files(), error),
        None => error,
    };
    let dataset = DataArgs { data: file.data.clone() };
    let dataset = dataset.open().map_err(|error| explained(&file, error))?;
    if args.resume.is_none() {
        reproduce::name_given(&mut file.settings, &*dataset)?;
    }
    if let Some(budget) = args.budget {
        let settings = &file.settings;
        let rates = Rates::measure(&cx, settings, &*dataset)?;
        let found = reproduce::within(settings, &*dataset, budget, &rates)?;
        file.settings = found.map_err(|error| usage(error.to_string()))?;
    }
    // What is wrong with the settings is found before anything is written.
    let cells = reproduce::cells(&file.settings, &*dataset)?;
    file::check_use(args, &file.settings, &*dataset, &cells)?;
    reproduce::check_names(&cells, &args.cells)?;
    let job = |run| Job { cx: &cx, dataset: &dataset, run, settings: &file.settings };
    if args.dry_run {
        let missing = resumed.as_ref().map(|run| reproduce::report(&job(run))).transpose()?;
        let left =
            |cell: &Cell| missing.as_ref().is_none_or(|report| report.missing.contains(&cell.id));
        let (left, done): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(left);
        let rates = Rates::measure(&cx, &file.settings, &*dataset)?;
        return plan::show(&file.settings, &left, done.len(), &rates, common.json);
    }
    // Before there is a folder, or what was in it is gone.
    let text = toml::to_string_pretty(&file)?;
    let environment = || Environment::current(cx.isa(), cx.threads().count());
    let run = match &args.resume {
        Some(path) => {
            let run = RunDir::join(path)?;
            // From here on the data is the study's.
            if !file::is_begun(path) {
                begin(&run, &text, &environment())?;
            }
            run
        }
        None => {
            reproduce::check_given(&cells, &*dataset, file.settings.seed)?;
            args.run.spare(cells.iter().filter_map(|cell| match &cell.work {
                Work::Given { net, .. } => Some(Path::new(net)),
                _ => None,
            }))?;
            let run = args.run.create("reproduce")?;
            begin(&run, &text, &environment())?;
            run.share()?
        }
    };
    let job = job(&run);
    let mut watch = Watch::new(common);
    if args.list_cells {
        return list(common, &job, &cells, &watch);
    }

    interrupt::listen()?;
    let path = run.path().display();
    if !args.merge {
        let Settings { tables, .. } = &file.settings;
        let (tables, model) = (tables.join(", "), file.settings.model_name());
        let data = &dataset.spec().name;
        watch.line(&format!("reproducing {tables} ({model} on {data}) into {path}"));
        let result = reproduce::run(&job, &args.cells, &mut watch);
        watch.finish();
        if let Err(error) = result {
            // What failed may fail again.
            let or = match interrupt::is_requested() {
                true => "",
                false => ", and with --merge makes the tables of what is done",
            };
            watch.line(&format!("stopped; pleach reproduce --resume {path} goes on{or}"));
            return Err(explained(&file, error.into()));
        }
    }
    let report = reproduce::report(&job)?;
    if args.cells.is_empty() {
        reproduce::write(&run, &report)?;
    }
    if common.json {
        output::json(&report)?;
    } else if args.cells.is_empty() {
        let page = run.file(PAGE);
        let text = report.page().to_markdown(links::to_files(Path::new("."), run.path()));
        output::print(&format!("{text}\nFor a browser, with figures: {}\n", page.display()))?;
    }
    Ok(exit::OK)
}

/// Writes what a study's folder holds before the first cell.
fn begin(run: &RunDir, settings: &str, environment: &Environment) -> Result<()> {
    run.write("run.toml", settings)?;
    run.write("env.json", &output::to_json(environment))?;
    Ok(())
}

/// `pleach.reproduce-cells/1`.
#[derive(Serialize)]
struct Names<'a> {
    schema: &'static str,
    run: String,
    cells: &'a [String],
}

/// Prints the names of the cells that are not done, but for those that measure speed.
fn list(common: &Common, job: &Job<'_>, cells: &[Cell], watch: &Watch) -> Result<u8> {
    let mut missing = reproduce::report(job)?.missing;
    let is_timed = |cell: &&Cell| matches!(cell.work, Work::Speed { .. });
    let timed: Vec<_> = cells.iter().filter(is_timed).map(|cell| &cell.id).collect();
    missing.retain(|id| !timed.contains(&id));
    let run = job.run.path();
    if common.json {
        let (schema, run) = ("pleach.reproduce-cells/1", output::shown(run));
        output::json(&Names { schema, run, cells: &missing })?;
        return Ok(exit::OK);
    }
    watch.line(&format!("cells of {} that are not done:", run.display()));
    let lines: String = missing.iter().map(|id| format!("{id}\n")).collect();
    // An empty line would be a cell without a name.
    if !lines.is_empty() {
        output::print(&lines)?;
    }
    Ok(exit::OK)
}
