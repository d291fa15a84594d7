//! Pruning runs in a folder whose target is a latency, by what they measure.

mod common;
#[path = "reproduce/few.rs"]
mod few;

use common::small_graph;
use pleach_core::checkpoint::Meta;
use pleach_core::network::Network;
use pleach_kernels::{Context, Isa};
use pleach_prune::PruneError;
use pleach_prune::latency::LayerTimes;
use pleach_prune::phases::{Event, Outcome, Phases, PruneConfig, RunObserver};
use pleach_prune::prune_run::{self, Job, LATENCY, PLAN, PRUNED, PruneRunError, STATE};
use pleach_prune::run_dir::RunDir;
use pleach_prune::target::{Target, Unit};
use pleach_prune::train_run::METRICS;
use pleach_prune::trainer::{Observer, Silent};
use serde_json::Value;
use std::fs;
use tempfile::TempDir;

fn base() -> Network {
    Network::init(small_graph(), 3)
}

/// Whether the target is met depends on the machine; what is lost does not stop it.
fn config() -> PruneConfig {
    let mut config = PruneConfig {
        target: Some(Target { unit: Unit::Latency, amount: "1.9x".parse().expect("an amount") }),
        latency_batch: 2,
        phases: Phases::Global,
        criterion: "random".into(),
        max_drop: 100.0,
        calibration: 100,
        global_step: 0.1,
        global_epochs: 0.5,
        final_epochs: 0.5,
        ..PruneConfig::default()
    };
    (config.tune.batch, config.final_tune.batch) = (50, 50);
    config
}

fn prune(run: &RunDir, observer: &mut dyn RunObserver) -> Result<Outcome, PruneRunError> {
    let (cx, config) = (Context::new(Isa::from_env().unwrap(), 2), config());
    let meta = Meta { model: "small".into(), ..Meta::default() };
    let job = Job { model: "small", meta: &meta, config: &config, after: None };
    prune_run::prune(&cx, &few::dataset(), run, &job, &base(), observer)
}

/// Ends a run after so many removals.
struct Removals(usize);

impl Observer for Removals {}

impl RunObserver for Removals {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Step(_) = event {
            self.0 -= 1;
        }
    }

    fn goes_on(&mut self) -> bool {
        self.0 > 0
    }
}

fn is_interrupted(result: &Result<Outcome, PruneRunError>) -> bool {
    matches!(result, Err(PruneRunError::Prune(PruneError::Interrupted)))
}

fn folder() -> (TempDir, RunDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let run = RunDir::create(Some(folder.path()), "prune", false).expect("it is empty");
    (folder, run)
}

fn read(run: &RunDir, name: &str) -> String {
    fs::read_to_string(run.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a finished run leaves: the network, the plan, and the metrics without times.
fn left(run: &RunDir) -> (Vec<u8>, String, Vec<Value>) {
    let without_times = |line: &str| {
        let mut line: Value = serde_json::from_str(line).expect("it is JSON");
        let fields = line.as_object_mut().expect("an object");
        fields.retain(|key, _| !["seconds", "images_per_s"].contains(&key.as_str()));
        line
    };
    let network = fs::read(run.file(PRUNED)).expect("it is there");
    (network, read(run, PLAN), read(run, METRICS).lines().map(without_times).collect())
}

#[test]
fn a_run_with_a_latency_target_goes_on_by_the_table_that_it_measured() {
    let ((_folder, at_once), (_other, by_steps)) = (folder(), folder());
    let stopped = prune(&at_once, &mut Removals(1));
    assert!(is_interrupted(&stopped), "{stopped:?}");
    let table = read(&at_once, LATENCY);
    let times: LayerTimes = serde_json::from_str(&table).expect("it is a table");
    times.check(base().graph()).expect("it has every layer");
    assert_eq!((times.threads, times.batch), (1, 2));
    for entry in fs::read_dir(at_once.path()).expect("it is there") {
        let name = entry.expect("one").file_name().into_string().expect("a plain name");
        if name != "run.lock" {
            fs::copy(at_once.file(&name), by_steps.file(&name)).expect("it can be written");
        }
    }

    // To the end, and removal by removal, without the file, which nothing is read from.
    let outcome = prune(&at_once, &mut Silent).expect("it goes on");
    let stepped = loop {
        fs::remove_file(by_steps.file(LATENCY)).expect("it is there");
        let stopped = prune(&by_steps, &mut Removals(1));
        assert_eq!(read(&by_steps, LATENCY), table);
        if !is_interrupted(&stopped) {
            break stopped.expect("it goes on");
        }
    };
    assert_eq!(read(&at_once, LATENCY), table);
    assert!(left(&at_once) == left(&by_steps));
    assert_eq!((&stepped.times, &stepped.target), (&outcome.times, &outcome.target));

    let counted = outcome.target.expect("there is a target");
    assert_eq!(counted.unit, Unit::Latency);
    assert_eq!(counted.base, times.predict(base().graph()).round() as u64);
    assert_eq!(counted.left, times.predict(outcome.network.graph()).round() as u64);
    assert_eq!(outcome.times, Some(times));
    assert_eq!(outcome.target_met, counted.left <= counted.limit, "{counted:?}");
    assert!(!outcome.plan.steps.is_empty());
    prune_run::forget(&at_once).expect("it can be removed");
    assert!(!at_once.file(STATE).exists() && at_once.file(LATENCY).exists());
}
