//! `pleach reproduce`

mod watch;

use super::common::{Common, DataArgs, RunArgs, read};
use super::exit::usage;
use super::{exit, interrupt, output};
use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use pleach_prune::environment::Environment;
use pleach_prune::report::PAGE;
use pleach_prune::reproduce::{self, Cell, Given, Job, Rates, Settings, Work};
use pleach_prune::run_dir::RunDir;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
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
            "narrow", "seeds", "budget", "seed",
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

/// `run.toml`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    verb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    settings: Settings,
}

fn hours(text: &str) -> Result<f64, String> {
    let hours = text.strip_suffix('h').unwrap_or(text).parse().ok();
    hours
        .filter(|hours: &f64| hours.is_finite() && *hours > 0.0)
        .ok_or_else(|| "expected a number of hours above 0".into())
}

impl File {
    fn new(common: &Common, args: &Args) -> Result<Self> {
        let Some(path) = &args.resume else {
            return Ok(Self {
                verb: "reproduce".into(),
                data: args.data.data.clone(),
                settings: settings(common.seed(), args)?,
            });
        };
        RunDir::existing(path)?;
        let path = path.join("run.toml");
        let file: Self = toml::from_str(&read(&path)?)
            .with_context(|| format!("{} is no settings file of reproduce", path.display()))?;
        if file.verb != "reproduce" {
            let (path, verb) = (path.display(), file.verb);
            return Err(usage(format!(
                "{path} has settings of {verb:?}, expected of \"reproduce\""
            )));
        }
        // The data may have moved.
        Ok(Self { data: args.data.data.clone().or(file.data), ..file })
    }
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

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    // The parser asks for --resume only where nothing is given that it conflicts with.
    if args.merge && args.resume.is_none() {
        return Err(usage(
            "--merge makes the tables of a study that is there: name it with --resume",
        ));
    }
    let cx = common.context()?;
    let mut file = File::new(common, args)?;
    let dataset = DataArgs { data: file.data.clone() }.open()?;
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
    check_use(args, &cells)?;
    if args.dry_run {
        let rates = Rates::measure(&cx, &file.settings, &*dataset)?;
        return plan(&file.settings, &cells, &rates, common.json);
    }
    let run = match &args.resume {
        Some(path) => RunDir::join(path)?,
        None => {
            reproduce::check(&cells, &args.cells, &*dataset, file.settings.seed)?;
            args.run.spare(cells.iter().filter_map(|cell| match &cell.work {
                Work::Given { net, .. } => Some(Path::new(net)),
                _ => None,
            }))?;
            let run = args.run.create("reproduce")?;
            let environment = Environment::current(cx.isa(), cx.threads().count());
            run.write("run.toml", &toml::to_string_pretty(&file)?)?;
            run.write("env.json", &output::to_json(&environment))?;
            run.share()?
        }
    };
    let job = Job { cx: &cx, dataset: &dataset, run: &run, settings: &file.settings };
    if args.list_cells {
        let missing = reproduce::report(&job)?.missing;
        let is_timed = |cell: &&Cell| matches!(cell.work, Work::Speed { .. });
        let timed: Vec<_> = cells.iter().filter(is_timed).map(|cell| &cell.id).collect();
        let lines: String =
            missing.iter().filter(|id| !timed.contains(id)).map(|id| format!("{id}\n")).collect();
        return output::print(&lines).map(|()| exit::OK);
    }

    interrupt::listen()?;
    let mut watch = Watch::new(common);
    let path = run.path().display();
    if !args.merge {
        let Settings { tables, .. } = &file.settings;
        let (tables, model) = (tables.join(", "), file.settings.model_name());
        let data = &dataset.spec().name;
        watch.line(&format!("reproducing {tables} ({model} on {data}) into {path}"));
        let result = reproduce::run(&job, &args.cells, &mut watch);
        watch.finish();
        result.inspect_err(|_| {
            watch.line(&format!("stopped; pleach reproduce --resume {path} goes on"));
        })?;
    }
    let report = reproduce::report(&job)?;
    if args.cells.is_empty() {
        reproduce::write(&run, &report)?;
    }
    if common.json {
        output::json(&report)?;
    } else if args.cells.is_empty() {
        let page = run.file(PAGE);
        let text = report.page().to_markdown();
        output::print(&format!("{text}\nFor a browser, with figures: {}\n", page.display()))?;
    }
    Ok(exit::OK)
}

/// An error if a network is named that no cell begins with.
fn check_use(args: &Args, cells: &[Cell]) -> Result<()> {
    let given = |name: &str| {
        cells.iter().any(|cell| matches!(&cell.work, Work::Given { net, .. } if net == name))
    };
    let trained = |name: &str| {
        cells.iter().any(|cell| matches!(&cell.work, Work::Train { model, .. } if model == name))
    };
    let is_used = |name: &Option<String>, used: &dyn Fn(&str) -> bool| {
        name.as_ref().is_none_or(|name| used(name))
    };
    for (flag, is_used) in [
        ("--model", is_used(&args.model, &trained)),
        ("--residual", is_used(&args.residual, &trained)),
        ("--base", is_used(&args.base, &given)),
        ("--residual-base", is_used(&args.residual_base, &given)),
        ("--narrow", is_used(&args.narrow, &trained)),
    ] {
        if !is_used {
            return Err(usage(format!(
                "{flag} has no effect: no cell of these tables begins with it"
            )));
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Plan<'a> {
    schema: &'static str,
    settings: &'a Settings,
    core_hours: f64,
    cells: &'a [Cell],
}

/// What would be done.
fn plan(settings: &Settings, cells: &[Cell], rates: &Rates, json: bool) -> Result<u8> {
    let core_hours = rates.total(cells);
    if json {
        output::json(&Plan { schema: "pleach.reproduce-plan/1", settings, core_hours, cells })?;
        return Ok(exit::OK);
    }
    let widest = cells.iter().map(|cell| cell.id.len()).max().unwrap_or_default();
    let mut text = format!("CPU hours  {:widest$}  what\n", "cell");
    for cell in cells {
        let hours = rates.hours(cell);
        text.push_str(&format!("{hours:>9.2}  {:widest$}  {}\n", cell.id, cell.about));
    }
    let count = cells.len();
    text.push_str(&format!(
        "{count} cells, {core_hours:.1} CPU hours as this machine trains now\n"
    ));
    output::print(&text)?;
    Ok(exit::OK)
}
