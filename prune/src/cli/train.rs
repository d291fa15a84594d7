//! `pleach train`

mod settings;

use super::common::{self, Common, DataArgs, DryRunArg, RunArgs};
use super::config::{ConfigArgs, Planned};
use super::exit::usage;
use super::lines::{self, Training};
use super::progress::Progress;
use super::{exit, interrupt, output};
use anyhow::Result;
use clap::Args as ClapArgs;
use pleach_core::checkpoint;
use pleach_core::{Graph, Shape, models};
use pleach_datasets::{Dataset, Split, WholeTraining};
use pleach_prune::environment::Environment;
use pleach_prune::eval::evaluate;
use pleach_prune::run_dir::RunDir;
use pleach_prune::train_run::{self, BEST, Event, Job, RunObserver, TrainRunError, Trained};
use pleach_prune::trainer::{Observer, StepReport, TrainConfig, TrainError};
use serde::{Deserialize, Serialize};
pub(super) use settings::File;
use settings::Settings;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// Train a network from scratch
///
/// The run's folder gets best.safetensors (the best epoch by validation accuracy; with --all-images the last), last.safetensors
/// (to go on from), metrics.jsonl, result.json, run.toml and env.json.
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
    model: String,
    dataset: String,
    seed: u64,
    epochs: u64,
    best_epoch: u64,
    /// Nothing if the validation images were trained on.
    #[serde(default)]
    validation_accuracy: Option<f64>,
    test_accuracy: f64,
    test_loss: f64,
    macs: u64,
    params: u64,
    bytes: u64,
    best: PathBuf,
}

const SCHEMA: &str = "pleach.train/1";

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let cx = common.context()?;
    let (resume, config) = (args.resume.as_deref(), args.config.config.as_deref());
    let planned =
        Planned::<File>::new(resume, config, args.dry.dry_run, |file| args.layers(common, file))?;
    let file = &planned.file;
    let mut dataset = DataArgs { data: file.data.clone() }.open()?;
    if file.all_images {
        dataset = Arc::new(WholeTraining::new(dataset));
    }
    let spec = dataset.spec();
    let image = Shape::new(spec.channels, spec.height, spec.width);
    let graph = models::build(&file.model, image, spec.classes)?;
    check_batch(file, &*dataset)?;
    if args.dry.dry_run {
        return plan(common, file, &graph, &*dataset, planned.place(&args.run)?);
    }
    let meta = common::meta(file.model.split(':').next().unwrap_or_default(), spec);
    let run = planned.begin(&args.run, &Environment::current(cx.isa(), cx.threads().count()))?;
    interrupt::listen()?;

    let mut watch = Watch { progress: Progress::new(common.style()), lines: Training::default() };
    watch.progress.line(&format!(
        "training {} ({:.1} M MACs, {:.2} M parameters) on {} into {}",
        file.model,
        graph.macs() as f64 / 1e6,
        graph.trainable() as f64 / 1e6,
        spec.name,
        run.path().display()
    ));
    let job = Job { meta, config: file.train.clone(), dtype: file.dtype() };
    let network = file.train.network(graph);
    let trained = train_run::train(&cx, &dataset, &run, &job, network, &mut watch);
    watch.progress.finish();
    let trained = trained.inspect_err(|error| {
        // What diverged once diverges again.
        let resumes = !matches!(error, TrainRunError::Train(TrainError::Diverged { .. }));
        watch.progress.line(&epitaph(&run, resumes));
    })?;
    let document = match finished(&run) {
        Some(document) => document,
        None => {
            let test = evaluate(&cx, &trained.best, &dataset, Split::Test, None);
            let document = document(file, &run, &spec.name, &trained, test.accuracy, test.loss);
            run.write("result.json", &output::to_json(&document))?;
            document
        }
    };
    if common.json {
        output::json(&document)?;
    } else {
        let chosen = match document.validation_accuracy {
            Some(accuracy) => format!("the best by validation accuracy, {:.2} %", 100.0 * accuracy),
            None => "the last, without validation".to_owned(),
        };
        output::print(&format!(
            "{}: {:.2} % of the test images are right, loss {:.4} (epoch {} of {}, {chosen})\n",
            document.best.display(),
            100.0 * document.test_accuracy,
            document.test_loss,
            document.best_epoch,
            document.epochs,
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
    out: PathBuf,
}

/// Says what would be done.
fn plan(
    common: &Common,
    file: &File,
    graph: &Graph,
    dataset: &dyn Dataset,
    out: PathBuf,
) -> Result<u8> {
    let TrainConfig { epochs, batch, .. } = file.train;
    let images = dataset.len(Split::Train);
    let document = PlanDocument {
        schema: "pleach.train-plan/1",
        model: &file.model,
        dataset: &dataset.spec().name,
        macs: graph.macs(),
        params: graph.trainable(),
        images,
        epochs,
        steps: (epochs * (images / batch) as f64).round() as u64,
        out,
    };
    if common.json {
        output::json(&document)?;
    } else {
        output::print(&format!(
            "would train {} ({:.1} M MACs, {:.2} M parameters) on {} images of {} for {epochs} epochs, {} steps of \
             {batch}, into {}\n",
            document.model,
            document.macs as f64 / 1e6,
            document.params as f64 / 1e6,
            output::grouped(images as u64),
            document.dataset,
            output::grouped(document.steps),
            document.out.display()
        ))?;
    }
    Ok(exit::OK)
}

fn check_batch(file: &File, dataset: &dyn Dataset) -> Result<()> {
    let (batch, images) = (file.train.batch, dataset.len(Split::Train));
    if batch > images {
        let name = &dataset.spec().name;
        return Err(usage(format!(
            "a batch of {batch} is more than the {images} training images of {name}"
        )));
    }
    let steps = file.train.epochs * (images / batch) as f64;
    if steps.round() < 1.0 {
        let epochs = file.train.epochs;
        return Err(usage(format!("{epochs} epochs are less than one step of {batch} images")));
    }
    Ok(())
}

fn document(
    file: &File,
    run: &RunDir,
    dataset: &str,
    trained: &Trained,
    test_accuracy: f64,
    test_loss: f64,
) -> Document {
    let graph = trained.best.graph();
    Document {
        schema: SCHEMA.into(),
        model: file.model.clone(),
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
        best: run.file(BEST),
    }
}

/// The result of a run that was finished before, so that the test images are not read again.
fn finished(run: &RunDir) -> Option<Document> {
    let text = fs::read_to_string(run.file("result.json")).ok()?;
    serde_json::from_str(&text).ok().filter(|document: &Document| document.schema == SCHEMA)
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
        self.lines.event(event, &mut self.progress);
    }
}
