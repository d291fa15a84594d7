//! Training and pruning choose by the validation images; the test images are read for what is reported.

#[path = "common/colours.rs"]
mod colours;
mod common;
#[path = "reproduce/few.rs"]
mod few;

use common::small_graph;
use pleach_core::checkpoint::{Dtype, Meta};
use pleach_core::loss::Distillation;
use pleach_core::network::Network;
use pleach_datasets::{Dataset, Spec, Split};
use pleach_kernels::{Context, Isa};
use pleach_prune::phases::{self, Order, Outcome, Phases, PruneConfig, Reference, StepRecord};
use pleach_prune::run_dir::RunDir;
use pleach_prune::train_run::{self, Job};
use pleach_prune::trainer::{Silent, TrainConfig, Trainer};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Images of each split.
const IMAGES: usize = 200;

/// Images of one colour each, which counts how often test images are read.
struct Watched {
    colours: Arc<dyn Dataset>,
    /// Whether each test image has the next class's label.
    rotated: bool,
    reads: AtomicUsize,
}

impl Watched {
    fn new(rotated: bool) -> Arc<Self> {
        let colours = colours::of(few::dataset());
        Arc::new(Self { colours, rotated, reads: AtomicUsize::new(0) })
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

impl Dataset for Watched {
    fn spec(&self) -> &Spec {
        self.colours.spec()
    }

    fn len(&self, split: Split) -> usize {
        self.colours.len(split)
    }

    fn label(&self, split: Split, index: usize) -> u32 {
        let shift = u32::from(self.rotated && split == Split::Test);
        (self.colours.label(split, index) + shift) % 10
    }

    fn pixels(&self, split: Split, index: usize) -> &[u8] {
        self.reads.fetch_add(usize::from(split == Split::Test), Ordering::Relaxed);
        self.colours.pixels(split, index)
    }
}

fn context() -> Context {
    Context::new(Isa::from_env().unwrap(), 2)
}

fn bits(network: &Network) -> Vec<u32> {
    let values = network.params().iter().flat_map(|param| &param.value);
    values.map(|value| value.to_bits()).collect()
}

#[test]
fn training_chooses_its_best_network_without_the_test_images() {
    let cx = context();
    let config = TrainConfig { epochs: 5.0, batch: 50, ..TrainConfig::default() };
    let (meta, dtype) = (Meta::default(), Dtype::F32);
    let job = Job { meta, config, dtype, teacher: None, existing: false };
    let [plain, rotated] = [false, true].map(|rotated| {
        let watched = Watched::new(rotated);
        let dataset: Arc<dyn Dataset> = watched.clone();
        let folder = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(Some(folder.path()), "train", false).expect("it is empty");
        let network = job.config.network(small_graph());
        let trained = train_run::train(&cx, &dataset, &run, &job, network, &mut Silent);
        assert_eq!(watched.reads(), 0);
        trained.expect("it works")
    });
    assert_eq!(plain.best_epoch, rotated.best_epoch);
    assert_eq!(plain.best_accuracy, rotated.best_accuracy);
    assert!(bits(&plain.best) == bits(&rotated.best));
}

/// A network that tells the colours apart.
fn base(cx: &Context) -> Network {
    let dataset: Arc<dyn Dataset> = Watched::new(false);
    let training = TrainConfig { epochs: 60.0, batch: 50, ..TrainConfig::default() };
    let network = training.network(small_graph());
    let mut trainer = Trainer::new(cx, dataset, training, network);
    while !trainer.is_finished() {
        trainer.epoch(&mut Silent).expect("training converges");
    }
    trainer.into_network()
}

/// As far as the drop limit allows: every step is judged.
fn config() -> PruneConfig {
    let mut config = PruneConfig {
        reference: Reference::Validation,
        max_drop: 40.0,
        recovery: 20.0,
        calibration: 100,
        global_step: 0.1,
        global_epochs: 2.0,
        layerwise_step: 0.3,
        layerwise_epochs: 0.5,
        final_epochs: 2.0,
        ..PruneConfig::default()
    };
    (config.tune.batch, config.final_tune.batch) = (50, 50);
    config
}

/// The steps but for their times.
fn steps(outcome: &Outcome) -> Vec<StepRecord> {
    let steps = outcome.steps.iter();
    steps.map(|step| StepRecord { seconds: 0.0, ..step.clone() }).collect()
}

#[test]
fn a_pruning_run_chooses_without_the_test_images_and_reads_them_twice() {
    let cx = context();
    let base = base(&cx);
    let run = |config: &PruneConfig| {
        [false, true].map(|rotated| {
            let watched = Watched::new(rotated);
            let dataset: Arc<dyn Dataset> = watched.clone();
            let outcome = phases::run(&cx, &dataset, &base, "small", config, &mut Silent);
            // Of the base network, and of the pruned one.
            assert_eq!(watched.reads(), 2 * IMAGES);
            outcome.expect("it works")
        })
    };
    let others = PruneConfig {
        phases: Phases::Layerwise,
        layerwise_order: Order::Sensitivity,
        criterion: "taylor".into(),
        distillation: Some(Distillation { weight: 0.5, temperature: 4.0 }),
        ..config()
    };
    for config in [config(), others] {
        let [plain, rotated] = run(&config);
        assert!(plain.base.validation_accuracy > 0.9, "{:?}", plain.base);
        assert!(plain.steps.iter().any(|step| step.accepted), "{:?}", plain.steps);
        assert_eq!(steps(&plain), steps(&rotated));
        assert_eq!(plain.plan, rotated.plan);
        assert_eq!(plain.network.graph(), rotated.network.graph());
        assert!(bits(&plain.network) == bits(&rotated.network), "the same bits");
        let judged = |outcome: &Outcome| (outcome.drop_points, outcome.target_met, outcome.epochs);
        assert_eq!(judged(&plain), judged(&rotated));
        // What is reported of the test images does differ.
        assert!(rotated.base.accuracy < 0.1 && plain.base.accuracy > 0.9, "{:?}", rotated.base);
    }

    // And so does what is judged by them where that is asked for.
    let [plain, rotated] = run(&PruneConfig { reference: Reference::Test, ..config() });
    assert_ne!(plain.reference_accuracy, rotated.reference_accuracy);
    assert_ne!(steps(&plain), steps(&rotated));
}
