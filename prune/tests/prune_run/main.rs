//! Pruning runs that stop anywhere and go on.

mod after;
#[path = "../common/mod.rs"]
mod common;
#[path = "../reproduce/few.rs"]
mod few;

use common::small_graph;
use pleach_core::checkpoint::{self, Dtype, Meta};
use pleach_core::network::Network;
use pleach_kernels::{Context, Isa};
use pleach_prune::PruneError;
use pleach_prune::phases::{
    Event, Order, Outcome, Phases, PruneConfig, Pruner, RunObserver, State,
};
use pleach_prune::prune_run::{self, Job, PLAN, PRUNED, PruneRunError, STATE};
use pleach_prune::run_dir::RunDir;
use pleach_prune::target::{Target, Unit};
use pleach_prune::train_run::METRICS;
use pleach_prune::trainer::{Observer, Silent, StepReport};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn context() -> Context {
    Context::new(Isa::from_env().unwrap(), 2)
}

fn untrained() -> Network {
    Network::init(small_graph(), 3)
}

fn config() -> PruneConfig {
    let mut config = PruneConfig {
        target: Some(Target { unit: Unit::Macs, amount: "3x".parse().expect("an amount") }),
        max_drop: 3.0,
        recovery: 3.0,
        calibration: 100,
        global_step: 0.1,
        global_epochs: 2.5,
        layerwise_step: 0.3,
        layerwise_epochs: 1.5,
        final_epochs: 2.5,
        ..PruneConfig::default()
    };
    (config.tune.batch, config.final_tune.batch) = (50, 50);
    config
}

/// Every choice of phases, with and without a budget and a teacher.
fn configs() -> Vec<PruneConfig> {
    let teacher = pleach_core::loss::Distillation { weight: 0.5, temperature: 4.0 };
    vec![
        config(),
        PruneConfig { criterion: "random".into(), phases: Phases::Layerwise, ..config() },
        PruneConfig {
            criterion: "taylor".into(),
            phases: Phases::Global,
            max_drop: 100.0,
            distillation: Some(teacher),
            ..config()
        },
        PruneConfig { epochs_budget: Some(6.0), max_drop: 100.0, ..config() },
        PruneConfig {
            layerwise_order: Order::Sensitivity,
            phases: Phases::Layerwise,
            max_drop: 100.0,
            ..config()
        },
        PruneConfig {
            target: Some(Target {
                unit: Unit::Latency,
                amount: "1.5x".parse().expect("an amount"),
            }),
            max_drop: 100.0,
            ..config()
        },
        PruneConfig { epochs_budget: Some(0.0), max_drop: 100.0, ..config() },
        // Some removals are undone, and all are.
        PruneConfig { max_drop: -5.0, recovery: 0.0, ..config() },
        PruneConfig { max_drop: -100.0, recovery: 0.0, ..config() },
    ]
}

/// A run's state and networks after they have been in files.
fn through_files(folder: &Path, pruner: &Pruner<'_>) -> (State, Option<Network>, Option<Network>) {
    let state = serde_json::to_string(pruner.state()).expect("it is JSON");
    let state: State = serde_json::from_str(&state).expect("it is a state");
    assert_eq!(state, *pruner.state());
    let load = |network: &Network| {
        let path = folder.join("network.safetensors");
        checkpoint::save(&path, network, &Meta::default(), Dtype::F32, true).expect("it is finite");
        checkpoint::load(&path).expect("it is sound").network
    };
    let standing = (state.network() > 0).then(|| load(pruner.network()));
    let candidate = pruner.candidate().map(load);
    (state, standing, candidate)
}

/// What a run is compared by, without times.
fn what_counts(outcome: Outcome) -> (String, Value, Vec<Vec<f32>>) {
    let steps = serde_json::to_value(&outcome.steps).expect("it is JSON");
    let params = outcome.network.params().iter().map(|param| param.value.clone());
    let rest = format!("{:?} {:?} {}", outcome.pruned, outcome.test_drop, outcome.epochs);
    (outcome.plan.to_json() + &rest, without_times(steps), params.collect())
}

fn without_times(mut value: Value) -> Value {
    match &mut value {
        Value::Array(values) => {
            values.iter_mut().for_each(|value| *value = without_times(value.take()))
        }
        Value::Object(fields) => {
            fields.retain(|key, _| !["seconds", "images_per_s"].contains(&key.as_str()));
        }
        _ => {}
    }
    value
}

#[test]
fn a_run_goes_on_from_any_of_its_states_to_the_same_bits() {
    let (cx, dataset, base) = (context(), few::dataset(), untrained());
    let folder = tempfile::tempdir().expect("a folder");
    let mut kinds = BTreeMap::new();
    for config in configs() {
        let first =
            Pruner::new(&cx, &dataset, &base, "small", &config, &mut Silent).expect("it begins");
        // What was measured on this machine is in the state too.
        let begin = || {
            let (state, ..) = through_files(folder.path(), &first);
            let begun = Pruner::resume(&cx, &dataset, &base, &config, state, None, None);
            begun.expect("it begins")
        };
        let mut whole = begin();
        while !whole.is_finished() {
            whole.step(&mut Silent).expect("it works");
        }
        let accepted = whole.state().steps().iter().filter(|step| step.accepted).count();
        *kinds.entry("accepted").or_insert(0) += accepted;
        *kinds.entry("undone").or_insert(0) += whole.state().steps().len() - accepted;

        // Each step is made by a run that knows of the ones before from files only.
        let mut resumed = begin();
        while !resumed.is_finished() {
            let candidates = usize::from(resumed.candidate().is_some());
            *kinds.entry("candidates").or_insert(0) += candidates;
            let (state, standing, candidate) = through_files(folder.path(), &resumed);
            let next = Pruner::resume(&cx, &dataset, &base, &config, state, standing, candidate);
            resumed = next.expect("it goes on");
            resumed.step(&mut Silent).expect("it works");
        }
        let (whole, resumed) = (what_counts(whole.outcome()), what_counts(resumed.outcome()));
        assert!(whole == resumed, "{config:?}");
    }
    assert!(kinds.values().all(|&count| count >= 3), "all kinds of states occur: {kinds:?}");
}

#[test]
fn a_state_without_its_networks_or_with_others_is_refused() {
    let (cx, dataset, base, config) = (context(), few::dataset(), untrained(), config());
    let folder = tempfile::tempdir().expect("a folder");
    let mut pruner =
        Pruner::new(&cx, &dataset, &base, "small", &config, &mut Silent).expect("it begins");
    while pruner.state().network() == 0 || pruner.candidate().is_none() {
        pruner.step(&mut Silent).expect("it works");
    }
    let (state, standing, candidate) = through_files(folder.path(), &pruner);
    let resume = |standing: &Option<Network>, candidate: &Option<Network>| {
        let (standing, candidate) = (standing.clone(), candidate.clone());
        let state = state.clone();
        Pruner::resume(&cx, &dataset, &base, &config, state, standing, candidate).err()
    };
    assert!(resume(&standing, &candidate).is_none());
    for (standing, candidate, says) in [
        (&standing, &None, "the candidate network is not there, expected there"),
        (&None, &candidate, "the standing network is another one"),
        (&candidate, &candidate, "the standing network is another one"),
        (&standing, &standing, "the candidate network is another one"),
    ] {
        let error = resume(standing, candidate).expect("it is refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// Stops before a step, or in the middle of one.
struct Stop {
    steps: usize,
    in_training: bool,
}

impl Observer for Stop {
    fn step(&mut self, _: &StepReport) -> bool {
        !(self.in_training && self.steps == 0)
    }
}

impl RunObserver for Stop {
    fn event(&mut self, _: &Event<'_>) {}

    fn goes_on(&mut self) -> bool {
        let goes_on = self.steps > 0 || self.in_training;
        self.steps = self.steps.saturating_sub(1);
        goes_on
    }
}

fn prune(run: &RunDir, observer: &mut dyn RunObserver) -> Result<Outcome, PruneRunError> {
    prune_by(&config(), run, observer)
}

fn prune_by(
    config: &PruneConfig,
    run: &RunDir,
    observer: &mut dyn RunObserver,
) -> Result<Outcome, PruneRunError> {
    let meta = Meta { model: "small".into(), ..Meta::default() };
    let job = Job { model: "small", meta: &meta, config, after: None };
    prune_run::prune(&context(), &few::dataset(), run, &job, &untrained(), observer)
}

/// What a finished run leaves: the network, the plan, and the metrics without times.
fn left(run: &RunDir) -> (Vec<u8>, String, Vec<Value>) {
    let read = |name| fs::read_to_string(run.file(name)).expect("it is there");
    let lines = read(METRICS);
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("it is JSON"));
    let network = fs::read(run.file(PRUNED)).expect("it is there");
    (network, read(PLAN), lines.map(without_times).collect())
}

type Files = BTreeMap<String, Vec<u8>>;

fn files(run: &RunDir) -> Files {
    let entries = fs::read_dir(run.path()).expect("it is there").map(|entry| entry.expect("one"));
    let files = entries.map(|entry| {
        let name = entry.file_name().into_string().expect("a plain name");
        (name, fs::read(entry.path()).expect("it can be read"))
    });
    files.filter(|(name, _)| name != "run.lock").collect()
}

fn folder_with(files: &Files) -> (tempfile::TempDir, RunDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let run = RunDir::create(Some(folder.path()), "prune", false).expect("it is empty");
    for (name, bytes) in files {
        fs::write(run.file(name), bytes).expect("it can be written");
    }
    (folder, run)
}

/// A state is saved in this order: metrics, networks, `state.json`, and then others' networks go.
#[test]
fn a_run_goes_on_wherever_in_the_saving_of_a_state_it_was_killed() {
    let (_folder, whole) = folder_with(&Files::new());
    prune(&whole, &mut Silent).expect("it works");
    let expected = left(&whole);

    let (_folder, run) = folder_with(&Files::new());
    let mut before = Files::new();
    for steps in 0.. {
        let stopped = prune(&run, &mut Stop { steps: steps.min(1), in_training: false });
        let after = files(&run);
        // Killed before the state took the other's place, with and without half a line.
        let mut early = after.clone();
        early.remove(STATE);
        early.extend(before.get(STATE).map(|state| (STATE.into(), state.clone())));
        early.extend(before.iter().filter(|(name, _)| name.starts_with("state.")).map(own));
        early.entry(METRICS.into()).or_default().extend(b"{\"event\":\"st");
        // Killed after it did.
        let mut late = after.clone();
        late.extend(before.iter().filter(|(name, _)| !after.contains_key(*name)).map(own));
        // A tenth of the states are enough to go on from to the end.
        for files in [early, late].iter().filter(|_| steps % 5 == 0) {
            let (_folder, run) = folder_with(files);
            prune(&run, &mut Silent).expect("it goes on");
            assert!(left(&run) == expected, "killed after {steps} steps");
            prune_run::forget(&run).expect("it can be removed");
            let names: Vec<String> = self::files(&run).into_keys().collect();
            assert_eq!(names, [METRICS, PLAN, PRUNED]);
        }
        if stopped.is_ok() {
            assert!(steps > 10, "there are steps to stop before: {steps}");
            assert!(left(&run) == expected);
            return;
        }
        let interrupted =
            |error: &PruneRunError| matches!(error, PruneRunError::Prune(PruneError::Interrupted));
        assert!(stopped.as_ref().is_err_and(interrupted), "{stopped:?}");
        before = after;
    }
}

fn own((name, bytes): (&String, &Vec<u8>)) -> (String, Vec<u8>) {
    (name.clone(), bytes.clone())
}

#[test]
fn a_run_goes_on_after_an_interruption_within_an_epoch() {
    let (_folder, whole) = folder_with(&Files::new());
    prune(&whole, &mut Silent).expect("it works");
    let (_folder, run) = folder_with(&Files::new());
    let mut stop = Stop { steps: 4, in_training: true };
    assert!(matches!(prune(&run, &mut stop), Err(PruneRunError::Prune(PruneError::Train(_)))));
    prune(&run, &mut Silent).expect("it goes on");
    assert!(left(&run) == left(&whole));
}

#[test]
fn what_a_teacher_said_is_kept_until_its_fine_tuning_is_over() {
    let mut config = PruneConfig {
        phases: Phases::Layerwise,
        max_drop: 100.0,
        distillation: Some(pleach_core::loss::Distillation { weight: 0.5, temperature: 4.0 }),
        ..config()
    };
    (config.layerwise_epochs, config.final_epochs, config.final_tune.views) = (0.1, 3.5, 1);
    let (_folder, whole) = folder_with(&Files::new());
    prune_by(&config, &whole, &mut Silent).expect("it works");

    let (_folder, run) = folder_with(&Files::new());
    let answers = || {
        let names = files(&run).into_keys().filter(|name| name.ends_with(".npy"));
        names.map(|name| fs::read(run.file(&name)).expect("it is there")).collect::<Vec<_>>()
    };
    let mut said = Vec::new();
    while prune_by(&config, &run, &mut Stop { steps: 1, in_training: false }).is_err() {
        said.extend(answers());
    }
    assert!(left(&run) == left(&whole));
    assert_eq!(said.len(), 3, "one view, after each epoch but the last");
    assert!(said[0] == said[2], "of all images, so that nothing is asked any more");
    assert!(answers().is_empty());
}

#[test]
fn a_state_of_another_run_or_none_is_refused_by_its_path() {
    let (_folder, run) = folder_with(&Files::new());
    prune(&run, &mut Stop { steps: 3, in_training: false }).expect_err("it is stopped");
    let before = files(&run);

    let refuse = |base: &Network, config: &PruneConfig, says: &str| {
        let (cx, dataset, meta) = (context(), few::dataset(), Meta::default());
        let job = Job { model: "small", meta: &meta, config, after: None };
        let error = prune_run::prune(&cx, &dataset, &run, &job, base, &mut Silent);
        let error = error.expect_err("it is refused").to_string();
        assert!(error.contains("state.json: ") && error.contains(says), "{error}");
    };
    refuse(&Network::init(small_graph(), 4), &config(), "the base network's SHA-256 is");
    let other = PruneConfig { seed: 1, ..config() };
    refuse(&untrained(), &other, "its settings are others");
    assert!(files(&run) == before, "what is refused stays");

    let text = fs::read_to_string(run.file(STATE)).expect("it is there");
    for (from, to, says) in [
        ("pleach.prune-state/1", "pleach.prune-state/9", "its schema is pleach.prune-state/9"),
        ("\"trial\"", "\"trail\"", "unknown field `trail`"),
        ("{", "[", "it is malformed"),
    ] {
        fs::write(run.file(STATE), text.replacen(from, to, 1)).expect("it can be written");
        refuse(&untrained(), &config(), says);
    }
}
