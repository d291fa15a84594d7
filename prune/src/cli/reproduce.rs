//! `pleach reproduce`

use super::common::{self, Common, DataArgs, RunArgs, read};
use super::exit::usage;
use super::lines::{self, Pruning, Training};
use super::progress::Progress;
use super::{exit, interrupt, output};
use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use pleach_core::graph::Graph;
use pleach_core::{Network, Shape, models};
use pleach_prune::environment::Environment;
use pleach_prune::phases;
use pleach_prune::report;
use pleach_prune::reproduce::{self, Base, Job, ReproduceConfig, ReproduceObserver, TABLES};
use pleach_prune::run_dir::RunDir;
use pleach_prune::train_run;
use pleach_prune::trainer::{Observer, StepReport};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Do the whole job: a base network, the phases together and one by one, criteria, speed, tables
///
/// The base is trained here unless --base names it. The run's folder gets the tables as Markdown, JSON
/// and CSV, and a folder with the network of each part.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// A small VGG, within three minutes on two cores with the built-in data set
    #[arg(long)]
    quick: bool,
    /// The base network, instead of one that is trained here
    #[arg(long, value_name = "NET")]
    base: Option<String>,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long, requires = "base")]
    arch: Option<String>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Go on with a run at the first part that is not done
    #[arg(
        long,
        value_name = "RUN",
        conflicts_with_all = ["out", "force", "quick", "base", "arch", "seed"]
    )]
    resume: Option<PathBuf>,
}

/// `run.toml`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    verb: String,
    quick: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    seed: u64,
}

impl File {
    fn new(common: &Common, args: &Args) -> Result<Self> {
        let Some(path) = &args.resume else {
            let Args { quick, base, arch, .. } = args;
            return Ok(Self {
                verb: "reproduce".into(),
                quick: *quick,
                base: base.clone(),
                arch: arch.clone(),
                data: args.data.data.clone(),
                seed: common.seed(),
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

    fn config(&self) -> ReproduceConfig {
        if self.quick {
            ReproduceConfig::quick(self.seed)
        } else {
            ReproduceConfig::full(self.seed)
        }
    }
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let cx = common.context()?;
    let file = File::new(common, args)?;
    let config = file.config();
    let dataset = DataArgs { data: file.data.clone() }.open()?;
    let spec = dataset.spec();
    let base = match &file.base {
        Some(name) => Some(common::net_for_data(name, file.arch.as_deref(), &*dataset, file.seed)?),
        None => None,
    };
    let image = Shape::new(spec.channels, spec.height, spec.width);
    let untrained = models::build(&config.model, image, spec.classes)?;
    let (model, graph) = match &base {
        Some(net) => (net.meta.model.clone(), net.network.graph()),
        None => (config.model.clone(), &untrained),
    };
    let meta = common::meta(&model, spec);
    let mut watch = Watch::new(common, graph);
    let run = match &args.resume {
        Some(path) => RunDir::existing(path)?,
        None => {
            let run = args.run.create("reproduce")?;
            let environment = Environment::current(cx.isa(), cx.threads().count());
            run.write("run.toml", &toml::to_string_pretty(&file)?)?;
            run.write("env.json", &output::to_json(&environment))?;
            run
        }
    };
    interrupt::listen()?;
    let path = run.path().display();
    watch.progress.line(&format!("reproducing {model} on {} into {path}", spec.name));
    let job =
        Job { cx: &cx, dataset: &dataset, run: &run, meta: &meta, resume: args.resume.is_some() };
    let base = base.map(|net| Base { name: net.name, network: net.network });
    let fresh = || Network::init(untrained.clone(), file.seed);
    let report = reproduce::run(&job, &config, base, fresh, &mut watch);
    watch.progress.finish();
    let report = report.inspect_err(|_| {
        watch.progress.line(&format!("stopped; pleach reproduce --resume {path} goes on"));
    })?;
    if common.json {
        output::json(&report)?;
    } else {
        let tables = run.file(TABLES);
        output::print(&format!("{}\nin {}\n", report::to_markdown(&report), tables.display()))?;
    }
    Ok(exit::OK)
}

struct Watch {
    progress: Progress,
    base_macs: u64,
    part: String,
    /// Of the part that runs, the one or the other.
    training: Option<Training>,
    pruning: Pruning,
}

impl Watch {
    fn new(common: &Common, base: &Graph) -> Self {
        let base_macs = base.macs();
        let (progress, pruning) = (Progress::new(common.style()), Pruning::new(base_macs));
        Self { progress, base_macs, part: String::new(), training: None, pruning }
    }
}

impl Observer for Watch {
    fn step(&mut self, report: &StepReport) -> bool {
        match self.training {
            Some(_) => self.progress.set(report.step, || lines::step(report)),
            None => self.pruning.step(report, &mut self.progress),
        }
        !interrupt::is_requested()
    }
}

impl train_run::RunObserver for Watch {
    fn event(&mut self, event: &train_run::Event<'_>) {
        self.training.get_or_insert_default().event(event, &mut self.progress);
    }
}

impl phases::RunObserver for Watch {
    fn event(&mut self, event: &phases::Event<'_>) {
        self.training = None;
        self.pruning.event(event, &self.progress);
    }
}

impl ReproduceObserver for Watch {
    fn part(&mut self, title: &str) {
        self.progress.line(&format!("-- {title}"));
        self.part = title.to_owned();
        self.training = None;
        self.pruning = Pruning::new(self.base_macs);
    }

    fn progress(&mut self, done: usize, of: usize) -> ControlFlow<()> {
        if done == 0 {
            self.progress.start(self.part.clone(), of as u64);
        }
        self.progress.set(done as u64, String::new);
        if interrupt::is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
