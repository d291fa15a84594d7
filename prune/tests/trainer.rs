//! The training loop on the built-in data set.

mod common;
#[path = "reproduce/few.rs"]
mod few;

use common::{dataset, small_graph};
use pleach_core::loss::Distillation;
use pleach_core::models;
use pleach_core::network::Network;
use pleach_core::optim::Schedule;
use pleach_core::tensor::Shape;
use pleach_datasets::Split;
use pleach_kernels::{Context, Isa};
use pleach_prune::trainer::{
    Border, Observer, Resizing, Silent, StepReport, TrainConfig, TrainError, Trainer,
};

fn trained(threads: usize, config: &TrainConfig) -> Trainer {
    let cx = Context::new(Isa::from_env().unwrap(), threads);
    let network = Network::init(small_graph(), config.seed);
    let mut trainer = Trainer::new(&cx, dataset(), config.clone(), network);
    while !trainer.is_finished() {
        trainer.epoch(&mut Silent).expect("training converges");
    }
    trainer
}

#[test]
fn training_gives_the_same_bits_for_every_number_of_threads() {
    let config = TrainConfig { epochs: 0.1, ..TrainConfig::default() };
    let one = trained(1, &config);
    for threads in [2, 3] {
        assert_eq!(trained(threads, &config).network(), one.network(), "{threads} threads");
    }
    let other_seed = TrainConfig { seed: 7, ..config };
    assert_ne!(trained(1, &other_seed).network(), one.network());
}

#[test]
fn each_augmentation_changes_training_and_not_by_threads() {
    let plain = TrainConfig { epochs: 0.05, ..TrainConfig::default() };
    let whole = trained(1, &plain);
    for config in [
        TrainConfig { augment: false, ..plain.clone() },
        TrainConfig { border: Border::Reflect, ..plain.clone() },
        TrainConfig { cutmix: 0.5, ..plain.clone() },
        TrainConfig { cutout: 8, ..plain },
    ] {
        let other = trained(1, &config);
        assert_ne!(other.network(), whole.network(), "{config:?}");
        assert_eq!(trained(3, &config).network(), other.network(), "{config:?}");
    }
}

#[test]
fn images_that_begin_small_change_training_and_not_by_threads_or_by_going_on() {
    let resizing = Some(Resizing { start: 12, until: 0.7 });
    let config = TrainConfig { epochs: 3.0, batch: 16, resizing, ..TrainConfig::default() };
    let plain = TrainConfig { resizing: None, ..config.clone() };
    let begin_as = |config: &TrainConfig, threads: usize, network: Network, done: u64| {
        let cx = Context::new(Isa::from_env().unwrap(), threads);
        let trainer = Trainer::resume(&cx, few::dataset(), config.clone(), network, done);
        let distillation = Distillation { weight: 0.5, temperature: 4.0 };
        // It is asked about whole images, as it takes no others.
        trainer.with_teacher(&Network::init(small_graph(), 99), distillation)
    };
    let begin = |threads, network, done| begin_as(&config, threads, network, done);
    let mut whole = begin(1, Network::init(small_graph(), 1), 0);
    let mut parts = Network::init(small_graph(), 1);
    let (mut images, mut left) = (Vec::new(), Vec::new());
    for epoch in 0..3 {
        whole.epoch(&mut Silent).expect("training converges");
        let mut trainer = begin(3, parts, epoch);
        images.push(trainer.epoch(&mut Silent).expect("training converges").images);
        left.push(trainer.left());
        parts = trainer.into_network();
        assert_eq!(whole.network(), &parts, "epoch {epoch}");
        assert_eq!(parts.graph(), &small_graph(), "epoch {epoch}");
    }
    assert_eq!(images, vec![images[0]; 3], "every image in every epoch");
    assert_eq!(left, [1.0 + 4.0, 4.0, 0.0], "sides of 12, 12 and 24 pixels");
    let mut plain = begin_as(&plain, 2, Network::init(small_graph(), 1), 0);
    for _ in 0..3 {
        plain.epoch(&mut Silent).expect("training converges");
    }
    assert_ne!(plain.network(), whole.network());
}

#[test]
fn a_stopped_epoch_of_small_images_leaves_the_network_with_its_own_structure() {
    struct StopAtOnce;
    impl Observer for StopAtOnce {
        fn step(&mut self, _: &StepReport) -> bool {
            false
        }
    }
    let resizing = Some(Resizing { start: 16, until: 1.0 });
    let config = TrainConfig { batch: 16, resizing, ..TrainConfig::default() };
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let network = Network::init(small_graph(), 1);
    let mut trainer = Trainer::new(&cx, few::dataset(), config, network);
    assert!(trainer.epoch(&mut StopAtOnce).is_err());
    assert_eq!(trainer.network().graph(), &small_graph());
}

#[test]
fn training_that_goes_on_after_an_epoch_ends_with_the_same_bits() {
    let config = TrainConfig { epochs: 1.1, ..TrainConfig::default() };
    let whole = trained(2, &config);
    assert_eq!((whole.epochs_done(), whole.left()), (2, 0.0));
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let network = Network::init(small_graph(), config.seed);
    let mut first = Trainer::new(&cx, dataset(), config.clone(), network);
    first.epoch(&mut Silent).expect("training converges");
    let mut second = Trainer::resume(&cx, dataset(), config, first.into_network(), 1);
    second.epoch(&mut Silent).expect("training converges");
    assert!(second.is_finished());
    assert_eq!(second.network(), whole.network());
}

#[test]
fn a_loss_that_is_not_finite_stops_training() {
    let config =
        TrainConfig { lr: 1e30, schedule: Schedule::Constant {}, ..TrainConfig::default() };
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let network = Network::init(small_graph(), 1);
    let result = Trainer::new(&cx, dataset(), config, network).epoch(&mut Silent);
    assert!(matches!(result, Err(TrainError::Diverged { epoch: 1, step: 2.., .. })), "{result:?}");
}

#[test]
fn an_observer_can_stop_training() {
    struct StopAtThree;
    impl Observer for StopAtThree {
        fn step(&mut self, report: &StepReport) -> bool {
            report.step < 3
        }
    }
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let network = Network::init(small_graph(), 1);
    let result =
        Trainer::new(&cx, dataset(), TrainConfig::default(), network).epoch(&mut StopAtThree);
    assert_eq!(result, Err(TrainError::Interrupted { step: 3 }));
}

#[test]
fn an_epoch_of_which_no_step_is_left_is_not_interrupted() {
    struct StopAtTheEnd;
    impl Observer for StopAtTheEnd {
        fn step(&mut self, report: &StepReport) -> bool {
            report.step < report.steps
        }
    }
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let config = TrainConfig { epochs: 1.0, batch: 50, ..TrainConfig::default() };
    let mut trainer = Trainer::new(&cx, few::dataset(), config, Network::init(small_graph(), 1));
    trainer.epoch(&mut StopAtTheEnd).expect("all of it was done");
    assert!(trainer.is_finished());
}

#[test]
fn a_teacher_changes_training_by_its_weight_and_not_by_threads() {
    let config = TrainConfig { epochs: 0.1, ..TrainConfig::default() };
    let taught = |threads: usize, weight: f32| {
        let cx = Context::new(Isa::from_env().unwrap(), threads);
        let network = Network::init(small_graph(), config.seed);
        let teacher = Network::init(small_graph(), 99);
        let distillation = Distillation { weight, temperature: 4.0 };
        let mut trainer = Trainer::new(&cx, dataset(), config.clone(), network)
            .with_teacher(&teacher, distillation);
        trainer.epoch(&mut Silent).expect("training converges");
        trainer.into_network()
    };
    let alone = trained(2, &config).into_network();
    assert_eq!(taught(2, 0.0), alone, "a teacher without weight is not listened to");
    assert_ne!(taught(2, 0.5), alone);
    assert_eq!(taught(1, 0.5), taught(3, 0.5));
}

#[test]
fn what_a_teacher_said_of_a_view_is_what_it_says_again() {
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let graph = models::build("vgg-small", Shape::new(3, 32, 32), 10).expect("it is a model");
    let teacher = Network::init(graph, 99);
    let distillation = Distillation { weight: 0.7, temperature: 4.0 };
    // Batches of many images and of few, for which convolutions are computed in other ways.
    for batch in [96, 7] {
        let config =
            TrainConfig { epochs: 5.0, views: 2, cutmix: 0.5, batch, ..TrainConfig::default() };
        let resumed = |network: Network, done: u64| {
            Trainer::resume(&cx, few::dataset(), config.clone(), network, done)
                .with_teacher(&teacher, distillation)
        };
        let mut remembers = resumed(Network::init(small_graph(), 1), 0);
        let mut network = Network::init(small_graph(), 1);
        for epoch in 0..5 {
            remembers.epoch(&mut Silent).expect("training converges");
            let mut asks = resumed(network, epoch);
            asks.epoch(&mut Silent).expect("training converges");
            network = asks.into_network();
            assert_eq!(remembers.network(), &network, "epoch {epoch}, batches of {batch}");
        }
    }
}

#[test]
#[should_panic(expected = "the network fits shapes")]
fn training_on_images_of_other_channels_is_a_bug() {
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let graph = models::build("vgg-small", Shape::new(1, 32, 32), 10).expect("it is a model");
    let _ = Trainer::new(&cx, dataset(), TrainConfig::default(), Network::init(graph, 1));
}

#[test]
#[should_panic(expected = "the network fits shapes")]
fn an_evaluation_of_other_classes_is_a_bug() {
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let graph = models::build("vgg-small", Shape::new(3, 32, 32), 12).expect("it is a model");
    let network = Network::init(graph, 1);
    let _ = pleach_prune::eval::evaluate(&cx, &network, &dataset(), Split::Test, None);
}
