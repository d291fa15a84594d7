//! `pleach prune`

mod document;
mod settings;
mod watch;

use super::common::{self, Common, DataArgs, RunArgs};
use super::progress::Progress;
use super::{bench, exit, interrupt, output};
use anyhow::Result;
use clap::Args as ClapArgs;
use document::Document;
use pleach_core::Network;
use pleach_core::checkpoint::{self, Dtype, Meta};
use pleach_datasets::{Dataset, Split};
use pleach_kernels::Context;
use pleach_prune::channels::Channels;
use pleach_prune::environment::Environment;
use pleach_prune::eval;
use pleach_prune::latency::Config;
use pleach_prune::phases::{self, Outcome, PruneConfig};
use pleach_prune::plan::{self, Plan};
use pleach_prune::run_dir::RunDir;
use pleach_prune::surgery;
use settings::Settings;
use std::sync::Arc;
use watch::Watch;

/// Remove filters from a network, fine-tune it, and measure what it gained and lost
///
/// Give a target (--macs, --params or --channels), a largest drop of accuracy (--max-drop), or both.
/// If the drop does not allow the target, the best network is saved and the exit code is 3.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The network
    #[arg(required_unless_present = "config")]
    net: Option<String>,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long)]
    arch: Option<String>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    settings: Settings,
    /// Compare the pruned network with the masked one; they must agree to 1e-4
    #[arg(long)]
    verify: bool,
    /// Seconds of speed measurement at the end, for each batch size and number of threads; 0: none
    #[arg(long, default_value_t = 3.0, value_parser = bench::seconds)]
    bench_seconds: f64,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let (net, data) = (args.net.as_deref(), args.data.data.as_deref());
    let file = args.settings.file(common.seed_given(), net, data)?;
    let config = &file.prune;
    let cx = common.context()?;
    let dataset = DataArgs { data: file.data.clone() }.open()?;
    let net = common::net_for_data(&file.net, args.arch.as_deref(), &*dataset, config.seed)?;
    settings::check_for(config, net.network.graph())?;
    let run = args.run.create("prune")?;
    let environment = Environment::current(cx.isa(), cx.threads().count());
    run.write("run.toml", &file.to_toml()?)?;
    run.write("env.json", &output::to_json(&environment))?;
    interrupt::listen()?;

    let model = model_name(&net.meta, &file.net);
    let meta = Meta { extra: net.meta.extra.clone(), ..common::meta(&model, dataset.spec()) };
    let mut watch = Watch::new(common.style(), &run, &meta, net.network.graph().macs());
    watch.line(&format!(
        "pruning {} on {} into {}",
        net.name,
        dataset.spec().name,
        run.path().display()
    ));
    let outcome = phases::run(&cx, &dataset, &net.network, &model, config, &mut watch);
    if let Some(error) = watch.take_error() {
        return Err(error);
    }
    let outcome = outcome.inspect_err(|_| watch.line(&watch.epitaph()))?;
    watch.finish();

    let path = run.file("pruned.safetensors");
    checkpoint::save(&path, &outcome.network, &meta, Dtype::F32, false)?;
    run.write("plan.json", &outcome.plan.to_json())?;
    let difference = match args.verify {
        true => Some(difference(&cx, &net.network, &outcome.plan, &dataset)?),
        false => None,
    };
    let mut progress = Progress::new(common.style());
    let measurement = if args.bench_seconds > 0.0 {
        let bench = Config {
            seconds: args.bench_seconds,
            seed: config.seed,
            ..Config::new(cx.isa(), cx.threads().count())
        };
        bench::measure(
            &[("base", &net.network), ("pruned", &outcome.network)],
            &bench,
            &mut progress,
        )
    } else {
        Default::default()
    };
    let document = Document::new(config, &outcome, &measurement);
    run.write("result.json", &output::to_json(&document))?;
    if common.json {
        output::json(&document)?;
    } else {
        output::print(&document.text(&measurement, &run))?;
    }
    if let Some(difference) = difference {
        let allowed = surgery::TOLERANCE;
        watch.line(&format!(
            "surgery changes logits by {difference:.1e} relative to masking, {allowed:.0e} allowed"
        ));
        if difference > allowed {
            log::error!("the pruned network is not the masked one: this is a bug");
            return Ok(exit::MISSED);
        }
    }
    Ok(match (interrupt::is_requested(), outcome.target_met) {
        (true, _) => interrupt::code(),
        (false, true) => exit::OK,
        (false, false) => {
            log::warn!("{}", missed(config, &outcome, &run));
            exit::MISSED
        }
    })
}

/// The model's name in plans and checkpoints: what the file says, else what the user says.
fn model_name(meta: &Meta, argument: &str) -> String {
    if meta.model.is_empty() { argument.to_owned() } else { meta.model.clone() }
}

fn missed(config: &PruneConfig, outcome: &Outcome, run: &RunDir) -> String {
    let mut reasons = Vec::new();
    if let Some(target) = config.target {
        let unit = target.unit;
        let count = unit.count(outcome.network.graph());
        reasons.push(format!("{} {unit} are left", output::grouped(count)));
    }
    let (drop, most) = (outcome.drop_points, config.max_drop);
    reasons.push(format!("{drop:.2} points of accuracy are lost, at most {most:.2} are allowed"));
    let path = run.file("pruned.safetensors");
    format!("the target was missed: {}; the best network is {}", reasons.join(", "), path.display())
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
