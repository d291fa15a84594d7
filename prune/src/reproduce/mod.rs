//! The whole job in one run: a base network trained or given, the phases together and one by one,
//! criteria and bias updates side by side, measured speed; and the tables of all that.
//!
//! Every part leaves its JSON in the run's folder when it is done, so a run that was interrupted goes
//! on with the first part that is not.

mod config;
mod part;

use crate::compare::{CompareConfig, Curve, compare};
use crate::criteria::CriterionError;
use crate::error::PruneError;
use crate::latency::{self, Measurement};
use crate::phases::{self, PruneConfig};
use crate::report::{self, BaseReport, Report, RunReport, SCHEMA, TrainingReport};
use crate::run_dir::{RunDir, RunDirError};
use crate::train_run::{self, TrainRunError};
use pleach_core::checkpoint::{self, CheckpointError, Dtype, Meta};
use pleach_core::network::Network;
use pleach_datasets::Dataset;
use pleach_kernels::Context;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

pub use config::ReproduceConfig;
use part::{Timed, folder, forget, part, to_json};

/// The report's file in the run's folder.
pub const REPORT: &str = "report.json";
/// The tables' file in the run's folder.
pub const TABLES: &str = "report.md";

const BASE: &str = "base";
const TRAINING: &str = "training.json";
const RUN: &str = "run.json";
const CURVES: &str = "curves.json";
const LATENCY: &str = "latency.json";
const PRUNED: &str = "pruned.safetensors";

/// A base that is given.
#[derive(Clone, Debug)]
pub struct Base {
    /// What it is called.
    pub name: String,
    /// The network.
    pub network: Network,
}

/// Where it all goes, and on what.
#[derive(Clone)]
pub struct Job<'a> {
    /// Instruction set and threads.
    pub cx: &'a Context,
    /// The data.
    pub dataset: &'a Arc<dyn Dataset>,
    /// The run's folder.
    pub run: &'a RunDir,
    /// What checkpoints say of the networks.
    pub meta: &'a Meta,
    /// Whether parts that are done in the folder count as done; otherwise they go.
    pub resume: bool,
}

/// Watches it all.
pub trait ReproduceObserver: phases::RunObserver + train_run::RunObserver {
    /// A part begins.
    fn part(&mut self, title: &str);
    /// So much of a part without training is done; a `Break` ends the run.
    fn progress(&mut self, done: usize, of: usize) -> ControlFlow<()>;
}

impl ReproduceObserver for crate::trainer::Silent {
    fn part(&mut self, _: &str) {}

    fn progress(&mut self, _: usize, _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Why it stopped. Parts that are done stay done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReproduceError {
    /// In the training of the base.
    #[error(transparent)]
    Train(#[from] TrainRunError),
    /// In a pruning run.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// In the comparison of criteria.
    #[error(transparent)]
    Criterion(#[from] CriterionError),
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Another file cannot be written.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// A part's file cannot be read.
    #[error("{}: expected a part of this report, found {found}", path.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// The observer asked to stop outside training.
    #[error("interrupted")]
    Interrupted,
}

/// Does all of `config` with `base`, or with a network of its model trained here (`untrained` has its
/// structure and first values), and writes [`REPORT`], [`TABLES`] and a CSV file a table.
///
/// # Errors
/// If training diverges, the observer stops it, or a file cannot be read or written.
///
/// # Panics
/// If a network and the data set do not fit.
pub fn run(
    job: &Job<'_>,
    config: &ReproduceConfig,
    base: Option<Base>,
    untrained: impl FnOnce() -> Network,
    observer: &mut dyn ReproduceObserver,
) -> Result<Report, ReproduceError> {
    if !job.resume {
        forget(job.run, CURVES)?;
        forget(job.run, LATENCY)?;
    }
    let (base, training) = match base {
        Some(base) => (base, None),
        None => trained(job, config, untrained, observer)?,
    };
    let mut seconds = training.as_ref().map_or(0.0, |training| training.seconds);
    let mut runs = Vec::with_capacity(config.runs.len());
    let mut networks = vec![("base".to_owned(), base.network.clone())];
    for (name, prune) in &config.runs {
        let (report, network) = pruned(job, name, prune, &base.network, observer)?;
        seconds += report.seconds;
        runs.push(report);
        networks.push((name.clone(), network));
    }

    let curves: Timed<Vec<Curve>> = part(job.run, CURVES, || curves(job, config, &base, observer))?;
    let latency: Timed<Measurement> =
        part(job.run, LATENCY, || measured(job, config, &networks, observer))?;
    seconds += curves.seconds + latency.seconds;
    let report = Report {
        schema: SCHEMA.into(),
        model: job.meta.model.clone(),
        dataset: job.dataset.spec().name.clone(),
        config: config.clone(),
        base: BaseReport {
            name: base.name,
            facts: runs.first().map(|run| run.base.clone()),
            activation_bytes: report::activation_bytes(job.cx, &base.network),
            training,
        },
        runs,
        curves: curves.value,
        latency: latency.value,
        seconds,
    };
    job.run.write(REPORT, &to_json(&report))?;
    job.run.write(TABLES, &report::to_markdown(&report))?;
    for table in report::tables(&report) {
        job.run.write(&format!("{}.csv", table.name), &table.to_csv())?;
    }
    Ok(report)
}

fn trained(
    job: &Job<'_>,
    config: &ReproduceConfig,
    untrained: impl FnOnce() -> Network,
    observer: &mut dyn ReproduceObserver,
) -> Result<(Base, Option<TrainingReport>), ReproduceError> {
    let run = folder(job, BASE)?;
    let training = part(&run, TRAINING, || {
        observer.part(&format!("training {}", config.model));
        let training = train_run::Job {
            meta: job.meta.clone(),
            config: config.train.clone(),
            dtype: Dtype::F32,
        };
        let trained =
            train_run::train(job.cx, job.dataset, &run, &training, untrained(), observer)?;
        Ok(TrainingReport {
            epochs: trained.epochs,
            best_epoch: trained.best_epoch,
            best_accuracy: trained.best_accuracy,
            seconds: trained.seconds,
        })
    })?;
    let network = checkpoint::load(&run.file(train_run::BEST))?.network;
    Ok((Base { name: config.model.clone(), network }, Some(training)))
}

fn pruned(
    job: &Job<'_>,
    name: &str,
    config: &PruneConfig,
    base: &Network,
    observer: &mut dyn ReproduceObserver,
) -> Result<(RunReport, Network), ReproduceError> {
    let run = folder(job, name)?;
    let report = part(&run, RUN, || {
        observer.part(&format!("pruning: {name}"));
        let started = Instant::now();
        let Job { cx, dataset, meta, .. } = *job;
        let outcome = phases::run(cx, dataset, base, &meta.model, config, observer)?;
        checkpoint::save(&run.file(PRUNED), &outcome.network, meta, Dtype::F32, false)?;
        run.write("plan.json", &outcome.plan.to_json())?;
        Ok(RunReport::new(cx, name, config, &outcome, started.elapsed().as_secs_f64()))
    })?;
    Ok((report, checkpoint::load(&run.file(PRUNED))?.network))
}

fn curves(
    job: &Job<'_>,
    config: &ReproduceConfig,
    base: &Base,
    observer: &mut dyn ReproduceObserver,
) -> Result<Timed<Vec<Curve>>, ReproduceError> {
    observer.part("criteria side by side");
    let started = Instant::now();
    let every = CompareConfig::every_criterion(&base.network, config.seed);
    let (shares, calibration) = (config.shares.clone(), config.calibration);
    let every = CompareConfig { shares, calibration, ..every };
    let mut progress = |done, of| observer.progress(done, of);
    let value = compare(job.cx, job.dataset, &base.network, &every, &mut progress)?;
    if value.len() < every.curves.len() {
        return Err(ReproduceError::Interrupted);
    }
    Ok(Timed { seconds: started.elapsed().as_secs_f64(), value })
}

fn measured(
    job: &Job<'_>,
    config: &ReproduceConfig,
    networks: &[(String, Network)],
    observer: &mut dyn ReproduceObserver,
) -> Result<Timed<Measurement>, ReproduceError> {
    observer.part("speed");
    let started = Instant::now();
    let defaults = latency::Config::new(job.cx.isa(), job.cx.threads().count());
    let (seconds, seed) = (config.latency_seconds, config.seed);
    let timing = latency::Config { seconds, seed, ..defaults };
    let nets: Vec<(&str, &Network)> = networks.iter().map(|(name, net)| (&**name, net)).collect();
    let mut stopped = false;
    let value = latency::measure(&nets, &timing, &mut |_, done, of| {
        let flow = observer.progress(done, of);
        stopped |= flow.is_break();
        flow
    });
    if stopped {
        return Err(ReproduceError::Interrupted);
    }
    Ok(Timed { seconds: started.elapsed().as_secs_f64(), value })
}
