//! Training runs that stop between two files and go on.

mod common;
#[path = "reproduce/few.rs"]
mod few;

use common::small_graph;
use pleach_core::checkpoint::{self, Checkpoint, Dtype, Meta};
use pleach_core::loss::Distillation;
use pleach_core::network::Network;
use pleach_core::npy;
use pleach_datasets::{Dataset, Spec, Split};
use pleach_kernels::{Context, Isa};
use pleach_prune::run_dir::RunDir;
use pleach_prune::train_run::{
    self, BEST, Event, Job, LAST, METRICS, RunObserver, TrainRunError, Trained,
};
use pleach_prune::trainer::{Observer, Silent, StepReport, TrainConfig};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

fn train(run: &RunDir, observer: &mut dyn RunObserver) {
    let trained = try_to_train(run, observer);
    assert_eq!(trained.expect("it works").epochs, 4);
}

/// Training with a teacher, which is asked about two views of each image.
fn try_to_train(run: &RunDir, observer: &mut dyn RunObserver) -> Result<Trained, TrainRunError> {
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let config = TrainConfig { epochs: 3.5, batch: 50, views: 2, ..TrainConfig::default() };
    let taught = Distillation { weight: 0.5, temperature: 4.0 };
    let teacher = Some((Network::init(small_graph(), 4), taught));
    let job = Job { meta: Meta::default(), config, dtype: Dtype::F32, teacher, existing: true };
    let network = Network::init(small_graph(), 3);
    train_run::train(&cx, &few::dataset(), run, &job, network, observer)
}

fn folder() -> (tempfile::TempDir, RunDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let run = RunDir::create(Some(folder.path()), "train", false).expect("it is empty");
    (folder, run)
}

const FILES: [&str; 3] = [METRICS, BEST, LAST];

/// The files after each epoch.
struct Snapshots<'a> {
    run: &'a RunDir,
    files: Vec<[Vec<u8>; 3]>,
}

impl Observer for Snapshots<'_> {}

impl RunObserver for Snapshots<'_> {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Epoch { .. } = event {
            self.files.push(FILES.map(|name| fs::read(self.run.file(name)).expect("it is there")));
        }
    }
}

/// The networks, and each epoch of the metrics with its loss.
fn left(run: &RunDir) -> (Vec<Vec<u8>>, Vec<(u64, f64)>) {
    let networks = [BEST, LAST].map(|name| fs::read(run.file(name)).expect("it is there"));
    let metrics = fs::read_to_string(run.file(METRICS)).expect("it is there");
    let lines = metrics.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("it is JSON");
        let epoch = line["epoch"].as_u64().expect("a number");
        (epoch, line["loss"].as_f64().expect("a number"))
    });
    (networks.into(), lines.collect())
}

#[test]
fn a_training_does_not_go_on_with_other_data() {
    let (_folder, run) = folder();
    train(&run, &mut Silent);
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let config = TrainConfig { epochs: 5.0, batch: 50, ..TrainConfig::default() };
    let meta = Meta { dataset: Some("cifar-10".into()), ..Meta::default() };
    let job = Job { meta, config, dtype: Dtype::F32, teacher: None, existing: false };
    let network = Network::init(small_graph(), 3);
    let refused = train_run::train(&cx, &few::dataset(), &run, &job, network, &mut Silent);
    let error = refused.expect_err("it was begun with others").to_string();
    assert!(error.contains("the data set") && error.contains("cifar-10"), "{error}");
}

#[test]
fn a_training_does_not_go_on_with_another_teacher_or_without_its_optimisers_state() {
    let (_folder, run) = folder();
    train(&run, &mut Silent);
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let go_on = |seed: u64| {
        let config = TrainConfig { epochs: 5.0, batch: 50, views: 2, ..TrainConfig::default() };
        let taught = Distillation { weight: 0.5, temperature: 4.0 };
        let teacher = Some((Network::init(small_graph(), seed), taught));
        let job = Job { meta: Meta::default(), config, dtype: Dtype::F32, teacher, existing: true };
        let network = Network::init(small_graph(), 3);
        train_run::train(&cx, &few::dataset(), &run, &job, network, &mut Silent)
    };
    let error = go_on(5).expect_err("it is another").to_string();
    assert!(error.contains("last.safetensors: the teacher's SHA-256 is "), "{error}");
    assert_eq!(go_on(4).expect("it is the same").epochs, 5);

    let last = run.file(LAST);
    let Checkpoint { network, meta, .. } = checkpoint::load(&last).expect("it is sound");
    checkpoint::save(&last, &network, &meta, Dtype::F32, false).expect("it can be written");
    let error = go_on(4).expect_err("it lacks something").to_string();
    assert!(error.contains("the optimiser's state is missing, expected there"), "{error}");
}

/// Images of one class, the first.
struct OneClass(Arc<dyn Dataset>);

impl Dataset for OneClass {
    fn spec(&self) -> &Spec {
        self.0.spec()
    }

    fn len(&self, split: Split) -> usize {
        self.0.len(split)
    }

    fn label(&self, _: Split, _: usize) -> u32 {
        0
    }

    fn pixels(&self, split: Split, index: usize) -> &[u8] {
        self.0.pixels(split, index)
    }
}

#[test]
fn a_network_that_there_was_is_the_best_until_an_epoch_is_better() {
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let dataset: Arc<dyn Dataset> = Arc::new(OneClass(few::dataset()));
    let trained = |favourite: usize| {
        let mut network = Network::init(small_graph(), 3);
        let bias = network.params_mut().last_mut().expect("that of fc");
        bias.value[favourite] = 3.0;
        let (_folder, run) = folder();
        let config = TrainConfig { epochs: 4.0, batch: 20, lr: 0.2, ..TrainConfig::default() };
        let (meta, dtype) = (Meta::default(), Dtype::F32);
        let job = Job { meta, config, dtype, teacher: None, existing: true };
        let trained =
            train_run::train(&cx, &dataset, &run, &job, network.clone(), &mut Silent).unwrap();
        assert_eq!(trained.best_accuracy, Some(1.0), "class {favourite}");
        (trained.best_epoch, trained.best == network)
    };
    assert_eq!(trained(0), (0, true), "nothing is better than all images");
    let (best_epoch, same) = trained(1);
    assert!(best_epoch > 0 && !same, "it had none, and learns all");
}

/// An epoch is saved in the order of [`FILES`], or the best network first.
#[test]
fn no_epoch_is_lost_or_there_twice_wherever_in_its_saving_a_run_was_killed() {
    let (_folder, whole) = folder();
    let mut snapshots = Snapshots { run: &whole, files: Vec::new() };
    train(&whole, &mut snapshots);
    let (networks, epochs) = left(&whole);
    assert_eq!(epochs.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let files = snapshots.files;
    for (before, after) in files.iter().zip(&files[1..]) {
        for new in [[false, true, false], [true, true, false], [true, true, true]] {
            let (_folder, run) = folder();
            for i in 0..FILES.len() {
                let bytes = if new[i] { &after[i] } else { &before[i] };
                fs::write(run.file(FILES[i]), bytes).expect("it can be written");
            }
            if !new[0] {
                run.append(METRICS, &["{\"epo".into()]).expect("it can be written");
            }
            train(&run, &mut Silent);
            assert_eq!(left(&run).1, epochs, "{new:?}");
            assert!(left(&run).0 == networks, "{new:?}");
        }
    }
}

/// Stops in the epoch after this many.
struct StopAfter(u64);

impl Observer for StopAfter {
    fn step(&mut self, _: &StepReport) -> bool {
        self.0 > 0
    }
}

impl RunObserver for StopAfter {
    fn event(&mut self, event: &Event<'_>) {
        self.0 -= u64::from(matches!(event, Event::Epoch { .. }));
    }
}

fn answers(run: &RunDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.path()).expect("it is there").map(|entry| entry.expect("one"));
    let paths = entries.map(|entry| entry.path());
    let mut answers: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "npy")).collect();
    answers.sort();
    answers
}

#[test]
fn what_a_teacher_said_outlasts_an_interruption_and_not_the_run() {
    let (_folder, whole) = folder();
    train(&whole, &mut Silent);
    assert!(answers(&whole).is_empty(), "a finished run asks nothing any more");

    let stopped = || {
        let (folder, run) = folder();
        try_to_train(&run, &mut StopAfter(2)).expect_err("it is stopped");
        let answers = answers(&run);
        assert_eq!(answers.len(), 2, "both views were seen");
        (folder, run, answers)
    };
    let (_folder, run, _) = stopped();
    train(&run, &mut Silent);
    assert!(left(&run) == left(&whole));

    // Files that are not to be read are as good as none, and those that are there are read.
    let (_folder, run, files) = stopped();
    fs::write(&files[0], "not an array").expect("it can be written");
    npy::save(&files[1], &[2, 10], &[1.0; 20]).expect("it can be written");
    train(&run, &mut Silent);
    assert!(left(&run) == left(&whole));
    let (_folder, run, files) = stopped();
    let array = npy::load(&files[0]).expect("it is an array");
    let others: Vec<f32> = array.values.iter().map(|logit| 1.0 - logit).collect();
    npy::save(&files[0], &array.shape, &others).expect("it can be written");
    train(&run, &mut Silent);
    assert!(left(&run) != left(&whole), "a teacher that said something else");
}
