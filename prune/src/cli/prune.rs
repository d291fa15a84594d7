//! `pleach prune`

mod after;
mod check;
mod document;
mod dry;
mod file;
mod idle;
mod settings;
mod watch;

use super::common::{self, Common, DataArgs, DryRunArg, RunArgs};
use super::config::{ConfigArgs, Planned};
use super::progress::Progress;
use super::{bench, exit, interrupt, output};
use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use document::Findings;
pub(super) use file::File;
use pleach_core::Network;
use pleach_core::checkpoint::Meta;
use pleach_datasets::{Dataset, Split};
use pleach_kernels::Context;
use pleach_prune::PruneError;
use pleach_prune::channels::Channels;
use pleach_prune::environment::Environment;
use pleach_prune::eval;
use pleach_prune::latency::{Config, LayerRow, Measurement};
use pleach_prune::net::Net;
use pleach_prune::phases::{Counted, Outcome, PruneConfig};
use pleach_prune::plan::{self, Plan};
use pleach_prune::prune_run::{self, Job, LATENCY, PRUNED, PruneRunError};
use pleach_prune::report::{self, PruneResult, RESULT};
use pleach_prune::run_dir::RunDir;
use pleach_prune::surgery;
use pleach_prune::target::Unit;
use pleach_prune::trainer::TrainError;
use settings::Settings;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use watch::{Watch, epitaph};

/// Remove filters from a network, fine-tune it, and measure what it gained and lost
///
/// Give a target (--macs, --params, --channels or --latency), a largest drop of accuracy (--max-drop), or both.
/// If the drop does not allow the target, the best network is saved and the exit code is 3.
///
/// The run's folder gets pruned.safetensors, report.html with its figures, plan.json, result.json,
/// metrics.jsonl, run.toml and env.json, and until the run is finished what it goes on from: a run that was interrupted or killed
/// goes on with --resume, and ends with the same bits as one that was not.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The network
    net: Option<String>,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long)]
    arch: Option<String>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    dry: DryRunArg,
    /// Go on with a run where it stopped, after its last removal or epoch; one that has not begun starts
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "force", "config"])]
    pub(super) resume: Option<PathBuf>,
    /// Go on from what this finished run left of the same network, to a target beyond its own; what is lost is
    /// counted from the network itself. That run stays as it is, and where it is until this one is finished
    #[arg(long, value_name = "RUN", conflicts_with = "plan")]
    after: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Compare the pruned network with the masked one; they must agree to 1e-4
    #[arg(long)]
    verify: bool,
    /// Seconds of speed measurement at the end, for each batch size and number of threads; 0: none
    /// [default: 3]
    #[arg(long, value_parser = bench::seconds)]
    bench_seconds: Option<f64>,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let (resume, config) = (args.resume.as_deref(), args.config.config.as_deref());
    let planned =
        Planned::<File>::new(resume, config, args.dry.dry_run, |file| args.layers(common, file))?;
    if let Some(run) = planned.existing()
        && let Some(document) = document::of(run)?
    {
        if args.dry.dry_run {
            log::warn!("the run in {} is finished: nothing would be done", run.path().display());
        } else {
            report::write_pruning(run)?;
            prune_run::forget(run)?;
        }
        return tell(common, &document, &planned.file.prune, run);
    }
    let file = &planned.file;
    let config = &file.prune;
    let cx = common.context()?;
    let resumed = planned.existing().is_some();
    let (dataset, net) = opened(file, resumed).map_err(|error| planned.located(error))?;
    check::check_for(config, &*dataset, net.network.graph())?;
    let mut sha256 = inputs(file)?;
    let after = file.after.as_deref();
    let after = after.map(|run| after::earlier(run, file, &net.network, &sha256, &*dataset));
    let after = after.transpose().map_err(|error| planned.located(error))?;
    let earlier = file.earlier();
    args.run.spare([Path::new(&file.net)].into_iter().chain(earlier.as_deref()))?;
    if args.dry.dry_run {
        return dry::run(common, file, net.network.graph(), planned.place(&args.run)?);
    }
    let run = planned.begin(&args.run, &Environment::current(cx.isa(), cx.threads().count()))?;
    interrupt::listen()?;

    let model = common::model_name(&net.meta, &file.net);
    let meta = Meta { extra: net.meta.extra.clone(), ..common::meta(&model, dataset.spec()) };
    let mut watch = Watch::new(common.style());
    let from = match &file.after {
        Some(after) => format!(" from where {} ended", after.display()),
        None => String::new(),
    };
    watch.line(&format!(
        "pruning {} on {}{from} into {}",
        net.name,
        dataset.spec().name,
        run.path().display()
    ));
    let timed = config.target.is_some_and(|target| target.unit == Unit::Latency);
    if timed && !run.file(LATENCY).exists() {
        watch.line("measuring what each layer takes at all widths");
    }
    let job = Job { model: &model, meta: &meta, config, after: after.as_ref() };
    let outcome = prune_run::prune(&cx, &dataset, &run, &job, &net.network, &mut watch);
    watch.finish();
    let outcome = outcome.inspect_err(|error| watch.line(&epitaph(&run, resumes(error))))?;

    let difference = match file.verify {
        true => Some(difference(&cx, &net.network, &outcome.plan, &dataset)?),
        false => None,
    };
    let (speed, layers) = measured(common, &cx, file, &net.network, &outcome);
    if interrupt::is_requested() {
        watch.line(&epitaph(&run, true));
        return Ok(interrupt::code());
    }
    sha256.extend(self::sha256(&run.file(PRUNED))?.map(|hash| ("pruned".to_owned(), hash)));
    let dataset = &*dataset.spec().name;
    let findings = Findings { model: &model, dataset, speed, layers, sha256 };
    let document = document::result(config, &outcome, findings);
    run.write(RESULT, &output::to_json(&document))?;
    report::write_pruning(&run)?;
    prune_run::forget(&run)?;
    if let Some(difference) = difference {
        let allowed = surgery::TOLERANCE;
        watch.line(&format!(
            "surgery changes logits by {difference:.1e} relative to masking, {allowed:.0e} allowed"
        ));
    }
    let code = tell(common, &document, config, &run)?;
    if difference.is_some_and(|difference| difference > surgery::TOLERANCE) {
        log::error!("the pruned network is not the masked one: this is a bug");
        return Ok(exit::MISSED);
    }
    Ok(code)
}

/// Whether a run that stopped so has better luck when it goes on.
fn resumes(error: &PruneRunError) -> bool {
    match error {
        PruneRunError::Prune(error) => matches!(
            error,
            PruneError::Interrupted | PruneError::Train(TrainError::Interrupted { .. })
        ),
        PruneRunError::Foreign { .. } => false,
        _ => true,
    }
}

/// The data and the network.
fn opened(file: &File, resumed: bool) -> Result<(Arc<dyn Dataset>, Net)> {
    let dataset = DataArgs { data: file.data.clone() }.open()?;
    let (arch, seed) = (file.arch.as_deref(), file.prune.seed);
    let net = common::net_for_run(&file.net, arch, &*dataset, seed, resumed)?;
    Ok((dataset, net))
}

/// The hashes of the networks' files that the run begins with.
fn inputs(file: &File) -> Result<BTreeMap<String, String>> {
    let files = [("base", Some(PathBuf::from(&file.net))), ("after", file.earlier())];
    let hashes = files.into_iter().filter_map(|(name, path)| {
        let hash = sha256(&path?).transpose()?;
        Some(hash.map(|hash| (name.to_owned(), hash)))
    });
    hashes.collect()
}

/// The SHA-256 of a file in hexadecimal; `None` if there is none of this name.
fn sha256(path: &Path) -> Result<Option<String>> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(format!("{:x}", Sha256::digest(bytes))))
}

/// The speed of both networks, and where their time goes at the first batch size and number of threads; what is not finished when an interruption comes is left out.
fn measured(
    common: &Common,
    cx: &Context,
    file: &File,
    base: &Network,
    outcome: &Outcome,
) -> (Measurement, Vec<LayerRow>) {
    if file.bench_seconds <= 0.0 {
        return Default::default();
    }
    let (seconds, seed) = (file.bench_seconds, file.prune.seed);
    let bench = Config { seconds, seed, ..Config::new(cx.isa(), cx.threads().count()) };
    let nets = [("base", base), ("pruned", &outcome.network)];
    let progress = Progress::new(common.style());
    let speed = bench::measure(&nets, &bench, &progress);
    let (batches, threads) = (bench.batches[..1].to_vec(), bench.threads[..1].to_vec());
    let layers = bench::measure_layers(&nets, &Config { batches, threads, ..bench }, &progress);
    (speed, layers)
}

/// Prints the result. Returns the exit code.
fn tell(common: &Common, document: &PruneResult, config: &PruneConfig, run: &RunDir) -> Result<u8> {
    if common.json {
        output::json(document)?;
    } else {
        output::print(&document::text(document, run))?;
    }
    if document.target_met {
        return Ok(exit::OK);
    }
    let mut reasons = Vec::new();
    let mut what = "limit";
    if let Some(Counted { unit, left, limit, .. }) = document.target
        && left > limit
    {
        let [left, limit] = [left, limit].map(output::grouped);
        reasons.push(format!("{left} {unit} are left, at most {limit} are wanted"));
        what = "target";
    }
    let (drop, most) = (document.drop_points, config.max_drop);
    if drop > most {
        let lost = format!("{drop:.2} points of accuracy are lost, at most {most:.2} are allowed");
        reasons.push(lost);
    }
    let (reasons, path) = (reasons.join(", "), run.file(PRUNED));
    log::warn!("the {what} was missed: {reasons}; the best network is {}", path.display());
    Ok(exit::MISSED)
}

/// How far the original network with the plan's channels alone is from the original network with the
/// others held at zero, on some test images.
fn difference(
    cx: &Context,
    base: &Network,
    plan: &Plan,
    dataset: &Arc<dyn Dataset>,
) -> Result<f64> {
    let channels = Channels::of(base.graph());
    let kept = plan::kept(base.graph(), &channels, plan)?;
    let pruned = surgery::prune(base, &channels, &kept);
    let images = eval::images(dataset, base.graph().input_shape(), Split::Test, None);
    Ok(surgery::verify(cx, base, &channels, &kept, &pruned, &images))
}
