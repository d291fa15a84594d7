//! `pleach train`

mod beginning;
mod file;
mod settings;

use super::common::{Common, DataArgs, DryRunArg, RunArgs, read};
use super::config::{ConfigArgs, Planned};
use super::exit::usage;
use super::lines::{self, Training};
use super::progress::Progress;
use super::{exit, interrupt, output, trainable};
use anyhow::{Context as _, Result, bail};
use beginning::Beginning;
use clap::Args as ClapArgs;
pub(super) use file::File;
use pleach_core::Graph;
use pleach_core::checkpoint::{self, CheckpointError};
use pleach_datasets::{Dataset, Split, WholeTraining};
use pleach_prune::environment::Environment;
use pleach_prune::eval::evaluate;
use pleach_prune::report::RESULT;
use pleach_prune::run_dir::RunDir;
use pleach_prune::train_run::{self, BEST, Event, Job, RunObserver, TrainRunError, Trained};
use pleach_prune::trainer::{Observer, StepReport, TrainConfig, TrainError};
use serde::{Deserialize, Serialize};
use settings::Settings;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Train a network, from scratch or from one that there is
///
/// With --init an existing network is trained on, such as one that was pruned, and is itself the best until an epoch is
/// better; one that has seen the validation images scores higher by them than on others, and may stay the best although
/// the last is better. With --teacher it learns from another network. The run's folder gets best.safetensors (the best
/// epoch by validation accuracy; with --all-images the last), last.safetensors (to go on from), metrics.jsonl,
/// result.json, run.toml and env.json.
#[derive(ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    dry: DryRunArg,
    /// Go on with a run where it stopped; one that has not begun starts
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "force", "config"])]
    pub(super) resume: Option<PathBuf>,
}

/// `result.json`: `pleach.train/1`.
#[derive(Serialize, Deserialize)]
struct Document {
    schema: String,
    /// By its name, or by the file that training began with.
    model: String,
    /// What it learned from besides the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    teacher: Option<String>,
    dataset: String,
    seed: u64,
    epochs: u64,
    /// From 1; 0: the network that there was.
    best_epoch: u64,
    /// Nothing if the validation images were trained on.
    #[serde(default)]
    validation_accuracy: Option<f64>,
    test_accuracy: f64,
    test_loss: f64,
    macs: u64,
    params: u64,
    bytes: u64,
    best: String,
}

const SCHEMA: &str = "pleach.train/1";

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let cx = common.context()?;
    let (resume, config) = (args.resume.as_deref(), args.config.config.as_deref());
    let planned =
        Planned::<File>::new(resume, config, args.dry.dry_run, |file| args.layers(common, file))?;
    if let Some(run) = planned.existing()
        && let Some(document) = finished(run)?
    {
        if args.dry.dry_run {
            log::warn!("the run in {} is finished: nothing would be done", run.path().display());
        }
        return tell(common, &document);
    }
    let file = &planned.file;
    let resumed = planned.existing().is_some();
    let (dataset, beginning) = opened(file, resumed).map_err(|error| planned.located(error))?;
    let Beginning { name, meta, network, teacher } = beginning;
    trainable::check(&file.train, &*dataset, network.graph(), "train")?;
    check_epochs(file, &*dataset)?;
    let teacher_file = file.teacher.as_ref().map(|teacher| &*teacher.net);
    args.run.spare(file.init.as_deref().into_iter().chain(teacher_file).map(Path::new))?;
    if args.dry.dry_run {
        let out = planned.place(&args.run)?;
        return plan(common, file, (&name, network.graph()), &*dataset, out);
    }
    let run = planned.begin(&args.run, &Environment::current(cx.isa(), cx.threads().count()))?;
    interrupt::listen()?;

    let mut watch = Watch { progress: Progress::new(common.style()), lines: Training::default() };
    watch.progress.line(&format!(
        "training {name} ({}) on {} into {}",
        sizes(network.graph()),
        dataset.spec().name,
        run.path().display()
    ));
    let (config, existing) = (file.train.clone(), file.init.is_some());
    let job = Job { meta, config, dtype: file.dtype.dtype(), teacher, existing };
    let trained = train_run::train(&cx, &dataset, &run, &job, network, &mut watch);
    watch.progress.finish();
    let trained = trained.inspect_err(|error| {
        watch.progress.line(&epitaph(&run, resumes(error)));
    })?;
    let test = evaluate(&cx, &trained.best, &dataset, Split::Test, None);
    let found = (&*dataset.spec().name, test.accuracy, test.loss);
    let document = document(file, &run, name, &trained, found);
    run.write(RESULT, &output::to_json(&document))?;
    tell(common, &document)
}

/// The data, and what training begins with.
fn opened(file: &File, resumed: bool) -> Result<(Arc<dyn Dataset>, Beginning)> {
    let mut dataset = DataArgs { data: file.data.clone() }.open()?;
    if file.all_images {
        dataset = Arc::new(WholeTraining::new(dataset));
    }
    let beginning = Beginning::of(file, &*dataset, resumed)?;
    Ok((dataset, beginning))
}

/// Prints the result.
fn tell(common: &Common, document: &Document) -> Result<u8> {
    if common.json {
        output::json(document)?;
    } else {
        let chosen = match document.validation_accuracy {
            Some(accuracy) => format!("the best by validation accuracy, {:.2} %", 100.0 * accuracy),
            None => "the last, without validation".to_owned(),
        };
        let epoch = match document.best_epoch {
            0 => "as it was before the first epoch".to_owned(),
            epoch => format!("epoch {epoch} of {}", document.epochs),
        };
        output::print(&format!(
            "{}: {:.2} % of the test images are right, loss {:.4} ({epoch}, {chosen})\n",
            document.best,
            100.0 * document.test_accuracy,
            document.test_loss,
        ))?;
    }
    Ok(exit::OK)
}

/// `pleach.train-plan/1`.
#[derive(Serialize)]
struct PlanDocument<'a> {
    schema: &'static str,
    model: &'a str,
    dataset: &'a str,
    macs: u64,
    params: u64,
    images: usize,
    epochs: f64,
    steps: u64,
    out: String,
}

/// The size of a network.
fn sizes(graph: &Graph) -> String {
    let [macs, params] = [graph.macs(), graph.trainable()].map(|count| count as f64 / 1e6);
    format!("{macs:.1} M MACs, {params:.2} M parameters")
}

/// Says what would be done.
fn plan(
    common: &Common,
    file: &File,
    (model, graph): (&str, &Graph),
    dataset: &dyn Dataset,
    out: PathBuf,
) -> Result<u8> {
    let TrainConfig { epochs, batch, .. } = file.train;
    let images = dataset.len(Split::Train);
    let document = PlanDocument {
        schema: "pleach.train-plan/1",
        model,
        dataset: &dataset.spec().name,
        macs: graph.macs(),
        params: graph.trainable(),
        images,
        epochs,
        steps: trainable::steps(epochs, batch, dataset),
        out: output::shown(&out),
    };
    if common.json {
        output::json(&document)?;
    } else {
        output::print(&format!(
            "would train {model} ({}) on {} images of {} for {}, {} steps of {batch}, into {}\n",
            sizes(graph),
            output::grouped(images as u64),
            document.dataset,
            output::counted(epochs, "epoch"),
            output::grouped(document.steps),
            document.out
        ))?;
    }
    Ok(exit::OK)
}

/// Refuses less than a step.
fn check_epochs(file: &File, dataset: &dyn Dataset) -> Result<()> {
    let TrainConfig { epochs, batch, .. } = file.train;
    if trainable::steps(epochs, batch, dataset) == 0 {
        let epochs = output::counted(epochs, "epoch");
        return Err(usage(format!("{epochs} are less than one step of {batch} images")));
    }
    Ok(())
}

fn document(
    file: &File,
    run: &RunDir,
    model: String,
    trained: &Trained,
    (dataset, test_accuracy, test_loss): (&str, f64, f64),
) -> Document {
    let graph = trained.best.graph();
    Document {
        schema: SCHEMA.into(),
        model,
        teacher: file.teacher.as_ref().map(|teacher| teacher.net.clone()),
        dataset: dataset.into(),
        seed: file.train.seed,
        epochs: trained.epochs,
        best_epoch: trained.best_epoch,
        validation_accuracy: trained.best_accuracy,
        test_accuracy,
        test_loss,
        macs: graph.macs(),
        params: graph.trainable(),
        bytes: graph.bytes(),
        best: output::shown(&run.file(BEST)),
    }
}

/// The result of a run that was finished before, so that the test images are not read again.
fn finished(run: &RunDir) -> Result<Option<Document>> {
    let path = run.file(RESULT);
    if !path.exists() {
        return Ok(None);
    }
    let document: Document = serde_json::from_str(&read(&path)?)
        .with_context(|| format!("{} is no result of a training", path.display()))?;
    match document.schema == SCHEMA {
        // The folder may have moved, or be seen from elsewhere.
        true => Ok(Some(Document { best: output::shown(&run.file(BEST)), ..document })),
        false => bail!("{}: its schema is {}", path.display(), document.schema),
    }
}

/// Whether a run that stopped so has better luck when it goes on: what diverged once does again, and so on.
fn resumes(error: &TrainRunError) -> bool {
    !matches!(
        error,
        TrainRunError::Train(TrainError::Diverged { .. })
            | TrainRunError::NotFinite(_)
            | TrainRunError::Foreign { .. }
            | TrainRunError::Checkpoint(CheckpointError::Value { .. })
    )
}

/// What is left after a run that stopped, and how it goes on, if it can.
fn epitaph(run: &RunDir, resumes: bool) -> String {
    let path = run.path().display();
    let resume = match resumes {
        true => format!("; pleach train --resume {path} goes on"),
        false => String::new(),
    };
    match checkpoint::load(&run.file(train_run::LAST)) {
        Ok(checkpoint) => {
            let epoch = checkpoint.meta.extra.get("epoch").cloned().unwrap_or_default();
            format!("training stopped; {path} holds the network after epoch {epoch}{resume}")
        }
        Err(_) => format!("training stopped before the end of the first epoch{resume}"),
    }
}

struct Watch {
    progress: Progress,
    lines: Training,
}

impl Observer for Watch {
    fn step(&mut self, report: &StepReport) -> bool {
        self.progress.set(report.step, || lines::step(report));
        !interrupt::is_requested()
    }
}

impl RunObserver for Watch {
    fn event(&mut self, event: &Event<'_>) {
        self.lines.event(event, &self.progress);
    }
}
