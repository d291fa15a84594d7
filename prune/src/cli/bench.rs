//! `pleach bench`

mod layers;

use super::common::{self, Common, DataArgs, DryRunArg};
use super::exit::{self, usage};
use super::interrupt;
use super::output;
use super::progress::Progress;
use super::weights::WeightsArg;
use anyhow::Result;
use clap::Args as ClapArgs;
use pleach_kernels::conv2d::Storage;
use pleach_prune::latency::{
    self, AlgorithmRow, Choice, Config, LayerRow, Measurement, Speedup, Work,
};
use pleach_prune::net::Resolve;
use serde::Serialize;
use std::ops::ControlFlow;

/// Measure how fast networks run on this CPU, in turn, and how many times faster than the first
///
/// Each runs right after another network, whose weights and maps have taken the caches, and at last, warm, after
/// batches of its own, as in a program that runs no other network. One that is measured alone runs after itself.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The networks; the first is the one that the others are compared with
    #[arg(required = true)]
    nets: Vec<String>,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long)]
    arch: Option<String>,
    /// Batch sizes
    #[arg(short, long, value_delimiter = ',', default_value = "1,128", value_parser = batch)]
    batch: Vec<usize>,
    /// Time whole training steps instead of inference
    #[arg(long)]
    train: bool,
    #[command(flatten)]
    weights: WeightsArg,
    /// Show where the time goes, layer by layer; with --train, pass by pass
    #[arg(long)]
    per_layer: bool,
    /// Measure which algorithm computes each convolution fastest here, and use that one
    #[arg(long, conflicts_with = "train")]
    tune: bool,
    /// Seconds of measurement for each batch size and number of threads
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    #[command(flatten)]
    dry: DryRunArg,
    #[command(flatten)]
    data: DataArgs,
}

/// `pleach.bench-plan/1`.
#[derive(Serialize)]
struct Plan<'a> {
    schema: &'static str,
    /// Each with its multiply-adds an image.
    nets: Vec<(&'a str, u64)>,
    mode: Work,
    batches: &'a [usize],
    threads: &'a [usize],
    isa: &'static str,
    seconds: f64,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    weights: &'static str,
    #[serde(flatten)]
    measurement: Measurement,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithms: Option<Vec<&'a AlgorithmRow>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<LayerRow>>,
}

pub(super) fn batch(text: &str) -> Result<usize, String> {
    /// VGG-16's activations of 4,096 images are 6 GB.
    const MOST: usize = 4096;
    match text.trim().parse() {
        Ok(images) if (1..=MOST).contains(&images) => Ok(images),
        _ => Err(format!("expected a number of images, 1 to {MOST}")),
    }
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds, 0 to 3600".to_owned()),
    }
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    if args.train && args.weights.storage() != Storage::F32 {
        return Err(usage("--weights is about inference, and --train times training steps"));
    }
    let isa = common.isa()?;
    let threads = common.thread_counts();
    let dataset = args.data.open()?;
    let resolve = Resolve::for_data(dataset.spec(), common.seed());
    let resolve = Resolve { arch: args.arch.as_deref(), ..resolve };
    let nets = resolve.nets(&args.nets)?;
    let nets: Vec<_> = nets.iter().map(|net| (net.name.as_str(), &net.network)).collect();
    let mut config = Config {
        work: if args.train { Work::Train } else { Work::Infer },
        batches: args.batch.clone(),
        weights: args.weights.storage(),
        threads,
        seconds: args.seconds,
        seed: common.seed(),
        ..Config::new(isa, 1)
    };
    for (_, network) in nets.iter().filter(|_| args.train) {
        args.batch.iter().try_for_each(|&batch| common::check_memory(network.graph(), batch))?;
    }
    if args.dry.dry_run {
        return plan(common, &nets, &config);
    }
    interrupt::listen()?;
    let progress = Progress::new(common.style());
    if args.tune {
        config.choice = Choice::Measured(latency::tune(&nets, &config, &mut watch(&progress)));
        progress.finish();
    }
    let measurement = measure(&nets, &config, &progress);
    let layers = args.per_layer.then(|| measure_layers(&nets, &config, &progress));
    let algorithms = match &config.choice {
        Choice::CostTable => None,
        Choice::Measured(tuning) => Some(tuning.rows()),
    };
    if common.json {
        let schema = "pleach.bench/1";
        let weights = args.weights.name();
        output::json(&Document { schema, weights, measurement, algorithms, layers })?;
    } else {
        let layers = layers.as_deref().map(layers::text).unwrap_or_default();
        let algorithms = algorithms.as_deref().map(algorithms_text).unwrap_or_default();
        let weights = match args.weights.storage() {
            Storage::F32 => String::new(),
            _ => format!("\nweights are stored as {}\n", args.weights.name()),
        };
        output::print(&(text(&measurement) + &weights + &algorithms + &layers))?;
    }
    Ok(if interrupt::is_requested() { interrupt::code() } else { exit::OK })
}

/// Says what would be measured, and for how long at least.
fn plan(common: &Common, nets: &[(&str, &pleach_core::Network)], config: &Config) -> Result<u8> {
    let nets = nets.iter().map(|(name, network)| (*name, network.graph().macs()));
    let plan = Plan {
        schema: "pleach.bench-plan/1",
        nets: nets.collect(),
        mode: config.work,
        batches: &config.batches,
        threads: &config.threads,
        isa: config.isa.name,
        seconds: config.seconds * (config.batches.len() * config.threads.len()) as f64,
    };
    if common.json {
        output::json(&plan)?;
        return Ok(exit::OK);
    }
    let what = match plan.mode {
        Work::Infer => "inference",
        Work::Train => "training steps",
    };
    let mut text = format!(
        "would time {what} with {} at batch {:?} on {:?} threads, {} s of it\n",
        plan.isa, plan.batches, plan.threads, plan.seconds
    );
    for (net, macs) in &plan.nets {
        text += &format!("  {net}: {} MACs an image\n", output::grouped(*macs));
    }
    output::print(&text)?;
    Ok(exit::OK)
}

/// Measures, and shows how far it is. What is not finished when an interruption comes is left out.
pub(super) fn measure(
    nets: &[(&str, &pleach_core::Network)],
    config: &Config,
    progress: &Progress,
) -> Measurement {
    let measurement = latency::measure(nets, config, &mut watch(progress));
    progress.finish();
    measurement
}

/// [`measure`] layer by layer.
pub(super) fn measure_layers(
    nets: &[(&str, &pleach_core::Network)],
    config: &Config,
    progress: &Progress,
) -> Vec<LayerRow> {
    let rows = latency::measure_layers(nets, config, &mut watch(progress));
    progress.finish();
    rows
}

/// Shows how far a measurement is, and ends it when an interruption comes.
fn watch(progress: &Progress) -> impl FnMut(&str, usize, usize) -> ControlFlow<()> {
    |title, done, rounds| {
        if interrupt::is_requested() {
            return ControlFlow::Break(());
        }
        if done == 0 {
            progress.phase(&format!("measuring, {title}"), rounds as u64);
        }
        progress.set(done as u64, String::new);
        ControlFlow::Continue(())
    }
}

/// The convolutions whose algorithm is another than the cost table's.
fn algorithms_text(layers: &[&AlgorithmRow]) -> String {
    let ms = |row: &AlgorithmRow, algorithm: &str| {
        row.ms_p50.get(algorithm).map(|ms| format!("{ms:.4}")).unwrap_or_default()
    };
    let others = layers.iter().filter(|row| row.algorithm != row.cost_table).map(|row| {
        vec![
            row.net.clone(),
            row.batch.to_string(),
            row.threads.to_string(),
            row.layer.clone(),
            row.part.to_string(),
            row.algorithm.clone(),
            ms(row, &row.algorithm),
            row.cost_table.clone(),
            ms(row, &row.cost_table),
        ]
    });
    let others: Vec<_> = others.collect();
    let (found, count) = (others.len(), layers.len());
    if others.is_empty() {
        return format!(
            "\nmeasured: the algorithms of all {count} convolutions are the cost table's\n"
        );
    }
    let header =
        ["network", "batch", "threads", "layer", "images", "measured", "ms", "cost table", "ms"];
    let table = output::table(&header, others);
    format!(
        "\nmeasured: {found} of {count} convolutions have another algorithm than the cost table's:\n{table}"
    )
}

/// The rows, and under them the ratios.
pub(super) fn text(measurement: &Measurement) -> String {
    let rows = measurement.rows.iter().map(|row| {
        let mut cells = vec![
            row.net.clone(),
            row.batch.to_string(),
            row.threads.to_string(),
            row.isa.to_owned(),
            format!("{:.1}", row.macs as f64 / 1e6),
            format!("{:.3}", row.latency_ms_p50),
            format!("{:.3}", row.latency_ms_p90),
            format!("{:.0}", row.images_per_s),
        ];
        cells.extend(row.warm_ms_p50.map(|ms| format!("{ms:.3}")));
        cells
    });
    let mut header = vec![
        "network",
        "batch",
        "threads",
        "ISA",
        "M MACs",
        "ms (median)",
        "ms (90 %)",
        "images/s",
    ];
    header.extend(
        measurement.rows.iter().any(|row| row.warm_ms_p50.is_some()).then_some("ms (warm)"),
    );
    let mut text = output::table(&header, rows.collect());
    if !measurement.ratios.is_empty() {
        text.push('\n');
        text.push_str(&ratios(measurement));
    }
    text
}

/// The ratios, with their intervals.
pub(super) fn ratios(measurement: &Measurement) -> String {
    let times = |by: &Speedup| format!("{:.2}x", by.speedup);
    let interval = |by: &Speedup| format!("{:.2}x to {:.2}x", by.low, by.high);
    let rows = measurement.ratios.iter().map(|ratio| {
        let mut cells = vec![ratio.net.clone(), ratio.batch.to_string(), ratio.threads.to_string()];
        let both = [Some(&ratio.in_turn), ratio.warm.as_ref()];
        cells.extend(both.into_iter().flatten().flat_map(|by| [times(by), interval(by)]));
        cells
    });
    let base = measurement.ratios.first().map_or("", |ratio| ratio.base.as_str());
    let mut header = vec!["network", "batch", "threads", "speed-up", "95 % interval"];
    if measurement.ratios.iter().any(|ratio| ratio.warm.is_some()) {
        header.extend(["warm", "95 % interval"]);
    }
    let table = output::table(&header, rows.collect());
    format!("against {base}:\n{table}")
}
