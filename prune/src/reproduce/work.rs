//! Doing a cell.

use super::cell::{CELL_SCHEMA, Cell};
use super::cell::{Found, NetworkFile, NetworkReport, Record, TrainingReport, Work};
use super::folder::{self, Folder};
use super::{Job, ReproduceError, ReproduceObserver};
use crate::compare::{CompareConfig, CompareObserver, compare};
use crate::environment::Environment;
use crate::eval::evaluate;
use crate::latency;
use crate::net::{self, Net, NetError, Resolve};
use crate::phases::{self, Earlier, Facts};
use crate::plan::Plan;
use crate::prune_run::{self, PLAN};
use crate::ranking::{RankingConfig, rank};
use crate::report::{RunReport, activation_bytes};
use crate::run_dir::RunDir;
use crate::train_run;
use crate::trainer::{Observer, StepReport, TrainConfig};
use pleach_core::checkpoint::{self, Checkpoint, Dtype, Meta};
use pleach_core::graph::Graph;
use pleach_core::models;
use pleach_core::network::Network;
use pleach_core::tensor::Shape;
use pleach_datasets::{Spec, Split, class_balanced};
use std::fs;
use std::mem;
use std::ops::ControlFlow;
use std::time::Instant;

/// Training images, as they are, on which a network's training accuracy is measured.
pub(super) const TRAIN_SAMPLE: usize = 5_000;

/// Does `cell`, one of `cells`, unless it is done, and first what it needs. A cell that another process
/// is doing is waited for.
pub(super) fn run(
    job: &Job<'_>,
    cells: &[Cell],
    cell: &Cell,
    observer: &mut dyn ReproduceObserver,
) -> Result<Record, ReproduceError> {
    let mut told = false;
    let folder = Folder::lock(job.run, &cell.id, &mut || {
        if !mem::replace(&mut told, true) {
            observer.part(&format!("waiting for {}, which another process is doing", cell.id));
        }
        phases::RunObserver::goes_on(observer)
    })?;
    if let Some(record) = folder::record(job, cell)? {
        prune_run::forget(&folder.run)?;
        return Ok(record);
    }
    for need in cell.work.needs() {
        let needed = cells.iter().find(|other| other.id == need);
        run(job, cells, needed.expect("a study has all that its cells need"), observer)?;
    }
    observer.part(&format!("{}: {}", cell.id, cell.about));
    let started = Instant::now();
    let (found, seconds) = found(job, cell, &folder.run, observer)?;
    let record = Record {
        schema: CELL_SCHEMA.into(),
        cell: cell.clone(),
        dataset: job.dataset.spec().name.clone(),
        environment: environment(job),
        network: match cell.work.network_file() {
            Some(file) => Some(network_file(&folder.run, file)?),
            None => None,
        },
        seconds: seconds.unwrap_or_else(|| started.elapsed().as_secs_f64()),
        found,
    };
    folder.keep(&record)?;
    prune_run::forget(&folder.run)?;
    Ok(record)
}

/// A network that is given, for the images and classes of a data set.
pub(super) fn given(
    net: &str,
    arch: Option<&str>,
    spec: &Spec,
    seed: u64,
) -> Result<Net, ReproduceError> {
    let plainly = Resolve::for_data(spec, seed);
    let net = match (Resolve { arch, ..plainly }.net(net)) {
        // Earlier versions took it.
        Err(idle @ NetError::IdleArchitecture { .. }) => {
            log::warn!("{idle}");
            plainly.net(net)?
        }
        found => found?,
    };
    match net::fits(net.network.graph(), spec) {
        true => Ok(net),
        false => Err(ReproduceError::Unfit { net: net.name, dataset: spec.name.clone() }),
    }
}

/// The model that a network is, at its widths where they are not the usual ones; nothing if it is none.
pub(super) fn model_of(net: &Net) -> Option<String> {
    let graph = net.network.graph();
    let cost = |graph: &Graph| (graph.macs(), graph.trainable());
    let widths: Vec<_> = models::widths(graph).iter().map(ToString::to_string).collect();
    let name = &net.meta.model;
    let mut names = [name.clone(), format!("{name}:{}", widths.join(","))].into_iter();
    names.find(|name| {
        let built = models::build(name, graph.input_shape(), graph.output_shape().channels);
        built.is_ok_and(|built| cost(&built) == cost(graph))
    })
}

/// What the cell finds, and the seconds where they are not those of this go.
fn found(
    job: &Job<'_>,
    cell: &Cell,
    run: &RunDir,
    observer: &mut dyn ReproduceObserver,
) -> Result<(Found, Option<f64>), ReproduceError> {
    let Job { cx, dataset, .. } = *job;
    let spec = dataset.spec();
    match &cell.work {
        Work::Given { net, arch } => {
            let net = given(net, arch.as_deref(), spec, job.settings.seed)?;
            let file = run.file(cell.work.network_file().expect("it makes a network"));
            let meta = Meta { extra: Default::default(), ..net.meta };
            checkpoint::save(&file, &net.network, &meta, Dtype::F32, false)?;
            Ok((Found::Network(network_report(job, &net.network, None)), None))
        }
        Work::Train { model, config } => {
            let graph = models::build(model, image(spec), spec.classes)?;
            let meta = net::meta(models::parse(model)?.0.name, spec);
            trained(job, run, config.network(graph), meta, config, observer)
        }
        Work::Scratch { like, config } => {
            let like = network(job, like)?;
            let fresh = config.network(like.network.graph().clone());
            let meta = net::meta(&like.meta.model, spec);
            trained(job, run, fresh, meta, config, observer)
        }
        Work::Prune { base, after, config } => {
            let Checkpoint { network: base, meta } = network(job, base)?;
            let (model, meta) = (&*meta.model, net::meta(&meta.model, spec));
            let after = after.as_ref().map(|id| earlier(job, id)).transpose()?;
            let pruning = prune_run::Job { model, meta: &meta, config, after: after.as_ref() };
            let outcome = prune_run::prune(cx, dataset, run, &pruning, &base, observer)?;
            let trained = train_accuracy(job, &outcome.network);
            let report = RunReport::new(cx, &cell.id, config, &outcome, trained);
            let seconds = report.seconds;
            Ok((Found::Pruned(Box::new(report)), Some(seconds)))
        }
        Work::Curve { base, criterion, con_ent, bias_update, shares, calibration, tune, seed } => {
            let config = CompareConfig {
                curves: vec![(criterion.clone(), *bias_update)],
                shares: shares.clone(),
                con_ent: *con_ent,
                calibration: *calibration,
                tune: tune.clone(),
                seed: *seed,
            };
            let base = network(job, base)?.network;
            let curves = compare(cx, dataset, &base, &config, &mut Points(observer))?;
            let curve = curves.into_iter().next().ok_or(ReproduceError::Interrupted)?;
            Ok((Found::Curve(curve), None))
        }
        Work::Ranking { base, filters, calibration, seed } => {
            let config =
                RankingConfig { filters: *filters, calibration: *calibration, seed: *seed };
            let base = network(job, base)?.network;
            let mut progress = |done, of| observer.progress(done, of);
            let ranking = rank(cx, dataset, &base, &config, &mut progress)?;
            Ok((Found::Ranking(ranking.ok_or(ReproduceError::Interrupted)?), None))
        }
        Work::Speed { nets, seconds, seed } => {
            let networks = nets.iter().map(|net| Ok(network(job, net)?.network));
            let networks = networks.collect::<Result<Vec<_>, ReproduceError>>()?;
            let named: Vec<(&str, &Network)> =
                nets.iter().map(String::as_str).zip(&networks).collect();
            let defaults = latency::Config::new(cx.isa(), cx.threads().count());
            let timing = latency::Config { seconds: *seconds, seed: *seed, ..defaults };
            let mut stopped = false;
            let measurement = latency::measure(&named, &timing, &mut |_, done, of| {
                let flow = observer.progress(done, of);
                stopped |= flow.is_break();
                flow
            });
            match stopped {
                true => Err(ReproduceError::Interrupted),
                false => Ok((Found::Speed(measurement), None)),
            }
        }
    }
}

fn trained(
    job: &Job<'_>,
    run: &RunDir,
    network: Network,
    meta: Meta,
    config: &TrainConfig,
    observer: &mut dyn ReproduceObserver,
) -> Result<(Found, Option<f64>), ReproduceError> {
    let (config, dtype) = (config.clone(), Dtype::F32);
    let training = train_run::Job { meta, config, dtype, teacher: None, existing: false };
    let trained = train_run::train(job.cx, job.dataset, run, &training, network, observer)?;
    let training = TrainingReport {
        epochs: trained.epochs,
        best_epoch: trained.best_epoch,
        best_accuracy: trained.best_accuracy.expect("a study's data has validation images"),
        seconds: trained.seconds,
    };
    let found = Found::Network(network_report(job, &trained.best, Some(training)));
    Ok((found, Some(trained.seconds)))
}

fn network_report(
    job: &Job<'_>,
    network: &Network,
    training: Option<TrainingReport>,
) -> NetworkReport {
    let split = |split| evaluate(job.cx, network, job.dataset, split, None);
    let (test, validation) = (split(Split::Test), split(Split::Validation));
    NetworkReport {
        facts: Facts::new(network.graph(), &test, validation.accuracy),
        widths: models::widths(network.graph()),
        activation_bytes: activation_bytes(job.cx, network),
        train_accuracy: train_accuracy(job, network),
        training,
    }
}

fn train_accuracy(job: &Job<'_>, network: &Network) -> f64 {
    let sample = class_balanced(&**job.dataset, Split::Train, TRAIN_SAMPLE, job.settings.seed);
    evaluate(job.cx, network, job.dataset, Split::Train, Some(sample)).accuracy
}

/// A cell that another needs.
fn needed(job: &Job<'_>, id: &str) -> Result<Cell, ReproduceError> {
    let cell = job.cells()?.into_iter().find(|cell| cell.id == id);
    Ok(cell.expect("a study has what its cells need"))
}

/// The network of a cell that is done.
fn network(job: &Job<'_>, id: &str) -> Result<Checkpoint, ReproduceError> {
    let file = needed(job, id)?.work.network_file().expect("what cells need are networks");
    Ok(checkpoint::load(&folder::path(job.run, id).join(file))?)
}

/// What a pruning cell that is done left.
fn earlier(job: &Job<'_>, id: &str) -> Result<Earlier, ReproduceError> {
    let path = folder::path(job.run, id).join(PLAN);
    let unfit = |found: String| ReproduceError::Cell { path: path.clone(), found };
    let plan = fs::read_to_string(&path).map_err(|error| unfit(error.to_string()))?;
    let plan = Plan::from_json(&plan).map_err(|error| unfit(error.to_string()))?;
    match folder::record(job, &needed(job, id)?)?.map(|record| record.found) {
        Some(Found::Pruned(run)) => {
            let network = network(job, id)?.network;
            let without_bias_update = run.without_bias_update.clone();
            Ok(Earlier { network, plan, epochs: run.epochs, without_bias_update })
        }
        _ => Err(unfit("no pruning run that is done".into())),
    }
}

fn network_file(run: &RunDir, file: &str) -> Result<NetworkFile, ReproduceError> {
    use sha2::{Digest, Sha256};
    let path = run.file(file);
    let bytes =
        fs::read(&path).map_err(|error| ReproduceError::Cell { path, found: error.to_string() })?;
    Ok(NetworkFile { file: file.into(), sha256: format!("{:x}", Sha256::digest(bytes)) })
}

fn environment(job: &Job<'_>) -> serde_json::Value {
    let environment = Environment::current(job.cx.isa(), job.cx.threads().count());
    serde_json::to_value(environment).expect("an environment is plain data")
}

pub(super) fn image(spec: &pleach_datasets::Spec) -> Shape {
    Shape::new(spec.channels, spec.height, spec.width)
}

/// A comparison's observer that passes on to a study's.
struct Points<'a>(&'a mut dyn ReproduceObserver);

impl Observer for Points<'_> {
    fn step(&mut self, report: &StepReport) -> bool {
        self.0.step(report)
    }
}

impl CompareObserver for Points<'_> {
    fn point(&mut self, done: usize, of: usize) -> ControlFlow<()> {
        self.0.progress(done, of)
    }
}
