//! Trains, prunes, saves, loads and measures small networks again and again, and checks that resident memory
//! does not grow: `cargo run --release -p pleach-prune --example soak -- MINUTES [THREADS]`.
//!
//! An allocator keeps much of what is freed, the more so the more threads have come and gone: with glibc's,
//! memory grows for some ten rounds, from 82 to 219 MiB on two threads, and stays there (220 MiB after
//! two hours). `MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=1048576` shows what the program itself holds, 60 MiB.

use anyhow::{Context as _, Result, bail};
use pleach_core::checkpoint::{self, Dtype, Meta};
use pleach_core::{Network, Plan, Shape, Tensor, models};
use pleach_datasets::{Dataset, Split};
use pleach_kernels::{Context, Isa};
use pleach_prune::eval::evaluate;
use pleach_prune::phases::PruneConfig;
use pleach_prune::prune_run::{self, Job};
use pleach_prune::run_dir::RunDir;
use pleach_prune::target::{Target, Unit};
use pleach_prune::trainer::{Silent, TrainConfig, Trainer};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The networks, in turn.
const SPECS: [&str; 4] = ["vgg-small", "resnet20", "concat-small", "mobile-small"];

/// Rounds before memory is compared: until every network has been met, and the allocator has what it keeps.
const WARM_UP: usize = 3 * SPECS.len();

/// Bytes that the last rounds may have above the first: allocators round, and keep what is free.
const SLACK: u64 = 16 << 20;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let minutes: f64 = args.next().context("usage: soak MINUTES [THREADS]")?.parse()?;
    let threads = args.next().map_or(Ok(2), |threads| threads.parse())?;
    let dataset: Arc<dyn Dataset> = Arc::from(pleach_datasets::open(None)?);
    let (started, mut resident) = (Instant::now(), Vec::new());
    while started.elapsed() < Duration::from_secs_f64(60.0 * minutes)
        || resident.len() < WARM_UP + 2 * SPECS.len()
    {
        round(resident.len(), threads, &dataset)?;
        let bytes = resident_bytes()?;
        resident.push(bytes);
        let (seconds, mib) = (started.elapsed().as_secs_f64(), bytes as f64 / f64::from(1 << 20));
        eprintln!("round {}: {seconds:.0} s, {mib:.1} MiB", resident.len());
    }
    let compared = &resident[WARM_UP..];
    let part = (compared.len() / 4).max(SPECS.len());
    let (first, last) = (&compared[..part], &compared[compared.len() - part..]);
    let [first, last] = [first, last].map(|part| part.iter().max().copied().unwrap_or(0));
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    eprintln!(
        "{} rounds; at most {:.1} MiB at first, {:.1} in the end",
        resident.len(),
        mib(first),
        mib(last)
    );
    if last > first + SLACK {
        bail!("resident memory grew by {:.1} MiB", mib(last - first));
    }
    Ok(())
}

/// Everything once, with the next network and another seed.
fn round(number: usize, threads: usize, dataset: &Arc<dyn Dataset>) -> Result<()> {
    let (spec, seed) = (SPECS[number % SPECS.len()], number as u64);
    let cx = Context::new(Isa::from_env()?, threads);
    let graph = models::build(spec, Shape::new(3, 32, 32), 10)?;
    let train = TrainConfig { epochs: 0.1, seed, ..TrainConfig::default() };
    let mut trainer = Trainer::new(&cx, Arc::clone(dataset), train, Network::init(graph, seed));
    trainer.epoch(&mut Silent)?;
    let network = trainer.into_network();

    let folder = tempfile::tempdir()?;
    let run = RunDir::create(Some(folder.path()), "prune", false)?;
    let target = Target { unit: Unit::Macs, amount: "1.5x".parse()? };
    let config = PruneConfig {
        target: Some(target),
        max_drop: 100.0,
        epochs_budget: Some(0.1),
        calibration: 500,
        seed,
        ..PruneConfig::default()
    };
    let meta = Meta { model: spec.split(':').next().unwrap_or(spec).into(), ..Meta::default() };
    let job = Job { model: spec, meta: &meta, config: &config, after: None };
    let outcome = prune_run::prune(&cx, dataset, &run, &job, &network, &mut Silent)?;

    let path = run.file("again.safetensors");
    checkpoint::save(&path, &outcome.network, &meta, Dtype::F16, false)?;
    let again = checkpoint::load(&path)?.network;
    let found = evaluate(&cx, &again, dataset, Split::Test, None);
    anyhow::ensure!(found.loss.is_finite(), "{spec}, seed {seed}: a loss of {}", found.loss);
    for batch in [1, 7, 128] {
        let images = Tensor::zeros(batch, again.graph().input_shape());
        Plan::new(&cx, &again, batch).run(&cx, &images);
    }
    Ok(())
}

/// Resident memory of this process, as Linux counts it.
fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("soak needs Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? << 10)
}
