//! Whole pruning runs on the built-in data set.

mod common;

use common::{dataset, small_graph};
use pleach_core::graph::GraphBuilder;
use pleach_core::layers::{Add, Concat, Conv2d, GlobalAvgPool, Layer, Linear};
use pleach_core::models;
use pleach_core::network::Network;
use pleach_core::tensor::Shape;
use pleach_datasets::Split;
use pleach_kernels::{Context, Isa};
use pleach_prune::PruneError;
use pleach_prune::eval::evaluate;
use pleach_prune::explain::explain;
use pleach_prune::phases::{self, Event, Order, Outcome, Phases};
use pleach_prune::phases::{PruneConfig, Reference, RunObserver};
use pleach_prune::plan::{Keeps, Plan, PlanError, replay};
use pleach_prune::target::{Target, Unit};
use pleach_prune::trainer::{Observer, Silent, TrainConfig, Trainer};

fn untrained() -> Network {
    Network::init(small_graph(), 3)
}

fn config(phases: Phases, factor: &str) -> PruneConfig {
    PruneConfig {
        phases,
        target: Some(Target { unit: Unit::Macs, amount: factor.parse().expect("an amount") }),
        max_drop: 100.0,
        epochs_budget: Some(0.5),
        calibration: 200,
        ..PruneConfig::default()
    }
}

fn run(threads: usize, config: &PruneConfig) -> Outcome {
    let cx = Context::new(Isa::from_env().unwrap(), threads);
    let outcome = phases::run(&cx, &dataset(), &untrained(), "small", config, &mut Silent);
    outcome.expect("pruning succeeds")
}

#[test]
fn every_choice_of_phases_meets_the_target_within_the_epoch_budget() {
    for phases in [Phases::Both, Phases::Global, Phases::Layerwise] {
        let outcome = run(2, &config(phases, "2x"));
        let (base, pruned) = (&outcome.base, &outcome.pruned);
        assert!(outcome.target_met && pruned.macs * 2 <= base.macs, "{phases:?}: {pruned:?}");
        // One channel fewer in each layer is 37 % here.
        assert!(pruned.macs * 3 > base.macs, "{phases:?} stops near the target: {pruned:?}");
        assert!(outcome.epochs > 0.25 && outcome.epochs < 0.52, "{}", outcome.epochs);
        let ran = |phase: &str| outcome.steps.iter().any(|step| step.phase == phase);
        assert_eq!(ran("global"), phases != Phases::Layerwise);
        assert_eq!(ran("layerwise"), phases != Phases::Global);
        let shape = replay(&untrained(), &outcome.plan).expect("the plan fits its network");
        assert_eq!(shape.graph(), outcome.network.graph());
    }
}

#[test]
fn phase_two_leaves_multiples_of_what_it_is_to_round_to() {
    for (order, round_to) in [(Order::Macs, 4), (Order::Sensitivity, 4), (Order::Macs, 3)] {
        let config =
            PruneConfig { round_to, layerwise_order: order, ..config(Phases::Layerwise, "2x") };
        let outcome = run(2, &config);
        assert!(outcome.target_met, "{order:?}, {round_to}");
        let nodes = outcome.network.graph().nodes().iter();
        let left: Vec<usize> = nodes
            .filter(|node| matches!(node.layer, Layer::Conv2d(_)))
            .map(|node| node.shape.channels)
            .collect();
        assert!(left.iter().all(|width| width.is_multiple_of(round_to)), "{order:?}: {left:?}");
    }
    // Floors of 5 and 10 channels.
    let floor = PruneConfig { floor: 0.6, round_to: 4, ..config(Phases::Layerwise, "4x") };
    let outcome = run(2, &floor);
    assert_eq!(models::widths(outcome.network.graph()), [8, 12]);
    // A layer of 8 channels cannot keep fewer in sixteens, and one of 16 neither.
    let config = PruneConfig { round_to: 16, ..config(Phases::Layerwise, "2x") };
    let outcome = run(2, &config);
    assert!(!outcome.target_met && outcome.steps.is_empty());
}

#[test]
fn by_sensitivity_a_group_that_its_floor_keeps_from_leaving_multiples_does_not_end_the_phase() {
    // Of 8 channels half must stay, but of 16 only 4 can go.
    let config = PruneConfig {
        target: None,
        floor: 0.6,
        round_to: 4,
        layerwise_order: Order::Sensitivity,
        layerwise_epochs: 0.0,
        final_epochs: 0.0,
        epochs_budget: None,
        ..config(Phases::Layerwise, "2x")
    };
    for seed in 1..6 {
        let outcome = run(2, &PruneConfig { seed, ..config.clone() });
        assert_eq!(models::widths(outcome.network.graph()), [8, 12], "{seed}");
    }
}

#[test]
fn a_budget_of_epochs_that_is_spent_does_not_end_the_way_to_a_target() {
    for phases in [Phases::Global, Phases::Layerwise, Phases::Both] {
        let target = Target { unit: Unit::Channels, amount: "50%".parse().expect("an amount") };
        let epochs_budget = Some(0.1);
        let config = PruneConfig { target: Some(target), epochs_budget, ..config(phases, "2x") };
        let outcome = run(2, &config);
        assert!(outcome.target_met, "{phases:?}: {:?}", outcome.target);
        assert!(outcome.epochs < 0.12, "{phases:?}: {}", outcome.epochs);
    }
}

#[test]
fn a_layer_whose_channels_are_in_part_the_images_loses_others() {
    let (mut b, image) = GraphBuilder::new(Shape::new(3, 32, 32)).expect("a small image");
    let mut add = |name: &str, layer, inputs: &[_]| b.add(name, layer, inputs).expect("it fits");
    let a = add("a", Layer::Conv2d(Conv2d::same3x3(6)), &[image]);
    let both = add("cat", Layer::Concat(Concat {}), &[image, a]);
    let c = add("c", Layer::Conv2d(Conv2d::pointwise(9)), &[both]);
    let sum = add("sum", Layer::Add(Add {}), &[c, both]);
    let mean = add("mean", Layer::GlobalAvgPool(GlobalAvgPool {}), &[sum]);
    let fc = add("fc", Layer::Linear(Linear { out_features: 10, bias: true }), &[mean]);
    let network = Network::init(b.finish(fc).expect("a whole network"), 1);
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let config = PruneConfig { epochs_budget: Some(0.05), ..config(Phases::Both, "1.5x") };
    let outcome = phases::run(&cx, &dataset(), &network, "it", &config, &mut Silent);
    let outcome = outcome.expect("pruning succeeds");
    assert!(outcome.target_met && outcome.plan.kept["c"].starts_with(&[0, 1, 2]));
    let scored = outcome.plan.last_scores["c"].iter();
    assert!(scored.clone().all(|(index, score)| *index >= 3 && score.is_finite()), "{scored:?}");
    let json = outcome.plan.to_json();
    assert_eq!(Plan::from_json(&json).expect("it is a plan"), outcome.plan);
    let found = explain(&outcome.plan, "c").expect("it has the layer");
    assert_eq!((found.unprunable, found.group), (None, vec!["a".to_owned(), "c".to_owned()]));
}

#[test]
fn multiples_end_as_near_to_the_target_as_they_can() {
    // Four of the second layer's channels are 0.14 of all multiply-adds, four of the first's half of them. The
    // second is tried first and does not suffice; the first, whose turn would be next, is far too much.
    let config = PruneConfig { round_to: 4, ..config(Phases::Layerwise, "1.2x") };
    let outcome = run(2, &config);
    assert!(outcome.target_met);
    assert_eq!(models::widths(outcome.network.graph()), [8, 8]);
}

#[test]
fn a_run_gives_the_same_bits_for_every_number_of_threads() {
    let config = PruneConfig { epochs_budget: Some(0.1), ..config(Phases::Both, "1.5x") };
    let one = run(1, &config);
    let three = run(3, &config);
    assert_eq!(one.network, three.network);
    assert_eq!(one.plan, three.plan);
}

#[test]
fn a_drop_limit_that_the_target_breaks_leaves_the_best_network() {
    // No network loses less than minus 100 points: every step is refused.
    for phases in [Phases::Both, Phases::Layerwise] {
        let config = PruneConfig { max_drop: -100.0, ..config(phases, "2x") };
        let outcome = run(2, &config);
        assert!(!outcome.target_met);
        assert!(!outcome.steps.is_empty() && outcome.steps.iter().all(|step| !step.accepted));
        assert_eq!(outcome.network, untrained(), "nothing was removed, so nothing is fine-tuned");
        assert_eq!(outcome.pruned.accuracy, outcome.base.accuracy);
    }
}

#[test]
fn a_final_fine_tuning_that_loses_what_is_not_allowed_to_go_is_undone() {
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let graph = models::build("vgg-small", Shape::new(3, 32, 32), 10).expect("it is a model");
    let training = TrainConfig { epochs: 1.0, ..TrainConfig::default() };
    let network = training.network(graph);
    let mut trainer = Trainer::new(&cx, dataset(), training, network);
    trainer.epoch(&mut Silent).expect("training converges");
    let base = trainer.into_network();
    // The removals are the same whatever the limit is.
    let mut config = PruneConfig {
        epochs_budget: None,
        layerwise_epochs: 0.1,
        final_epochs: 0.2,
        recovery: 1000.0,
        ..config(Phases::Layerwise, "1.1x")
    };
    // After this the network guesses.
    config.final_tune.lr = 30.0;
    let run = |config: &PruneConfig| {
        let outcome = phases::run(&cx, &dataset(), &base, "vgg-small", config, &mut Silent);
        outcome.expect("pruning succeeds")
    };
    let spoilt = run(&config);
    let before = run(&PruneConfig { final_epochs: 0.0, ..config.clone() });
    let lost = [before.drop_points, spoilt.drop_points];
    assert!(lost[0] < lost[1], "{lost:?} of {}", spoilt.base.accuracy);
    let undone = run(&PruneConfig { max_drop: 0.5 * (lost[0] + lost[1]), ..config });
    assert!(undone.target_met && undone.network == before.network, "{}", undone.drop_points);
    assert_eq!(undone.epochs, spoilt.epochs, "it is counted all the same");
}

#[test]
fn without_epochs_the_network_is_pruned_once_and_not_trained() {
    let config = PruneConfig { epochs_budget: Some(0.0), ..config(Phases::Both, "3x") };
    let outcome = run(2, &config);
    assert_eq!((outcome.steps.len(), outcome.epochs), (1, 0.0));
    assert!(outcome.target_met && outcome.pruned.macs * 3 <= outcome.base.macs);
}

#[test]
fn the_outcome_reports_what_an_evaluation_of_its_network_finds() {
    let outcome = run(2, &config(Phases::Global, "1.5x"));
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let test = evaluate(&cx, &outcome.network, &dataset(), Split::Test, None);
    assert_eq!(outcome.pruned.accuracy, test.accuracy);
    let validation = evaluate(&cx, &outcome.network, &dataset(), Split::Validation, None);
    assert_eq!(outcome.pruned.validation_accuracy, validation.accuracy);
    let points = 100.0 * (outcome.base.accuracy - outcome.pruned.accuracy);
    assert!((outcome.test_drop.points - points).abs() < 1e-9);
}

#[test]
fn the_drop_is_counted_on_the_split_of_its_reference() {
    for reference in [Reference::Validation, Reference::Test] {
        let config = PruneConfig {
            reference,
            epochs_budget: None,
            global_epochs: 0.1,
            final_epochs: 0.0,
            ..config(Phases::Global, "1.5x")
        };
        let outcome = run(2, &config);
        let (base, pruned) = (&outcome.base, &outcome.pruned);
        let lost = match reference {
            Reference::Test => base.accuracy - pruned.accuracy,
            _ => base.validation_accuracy - pruned.validation_accuracy,
        };
        assert!((outcome.drop_points - 100.0 * lost).abs() < 1e-9, "{reference:?}");
        let config = PruneConfig { max_drop: 100.0 * lost - 0.01, recovery: 200.0, ..config };
        assert!(!run(2, &config).target_met, "{reference:?}");
    }
}

#[test]
fn by_sensitivity_a_sweep_tries_the_better_half_of_the_groups() {
    let config =
        PruneConfig { layerwise_order: Order::Sensitivity, ..config(Phases::Layerwise, "2x") };
    let outcome = run(2, &config);
    assert!(outcome.target_met && outcome.pruned.macs * 2 <= outcome.base.macs);
    // Of two groups one is tried a sweep: the same group twice in a row, or the other.
    assert!(outcome.steps.iter().all(|step| step.layers.len() == 1));
    let by_macs = run(2, &PruneConfig { layerwise_order: Order::Macs, ..config });
    assert!(by_macs.steps[0].layers != by_macs.steps[1].layers, "a full sweep tries both");
}

#[test]
fn the_ordering_of_layers_is_told_and_ends_when_the_observer_says_so() {
    /// Stops once so many groups were tried.
    struct Until(usize, Vec<(usize, usize)>);
    impl Observer for Until {}
    impl RunObserver for Until {
        fn event(&mut self, event: &Event<'_>) {
            if let Event::Ordering { done, groups } = *event {
                self.1.push((done, groups));
            }
        }

        fn goes_on(&mut self) -> bool {
            self.1.last().is_none_or(|&(done, _)| done < self.0)
        }
    }
    let order = Order::Sensitivity;
    let config = PruneConfig { layerwise_order: order, ..config(Phases::Layerwise, "2x") };
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let mut until = Until(1, Vec::new());
    let stopped = phases::run(&cx, &dataset(), &untrained(), "small", &config, &mut until);
    assert!(matches!(stopped, Err(PruneError::Interrupted)), "{stopped:?}");
    assert_eq!(until.1, [(0, 2), (1, 2)]);
}

#[test]
fn what_is_given_to_be_kept_is_kept_whatever_it_loses() {
    let keeps = |of: usize| Keeps { layer: "conv2".into(), of, kept: (2..14).collect() };
    let given = |of: usize| PruneConfig {
        target: None,
        replay: Some(vec![keeps(of)]),
        max_drop: -100.0,
        epochs_budget: None,
        final_epochs: 0.0,
        ..config(Phases::Both, "2x")
    };
    let outcome = run(2, &given(16));
    assert_eq!(models::widths(outcome.network.graph()), [8, 12]);
    assert_eq!(outcome.plan.kept["conv2"], keeps(16).kept);
    assert!(matches!(&outcome.steps[..], [step] if step.phase == "replay" && step.accepted));
    assert!(outcome.epochs == 0.0 && !outcome.target_met, "{}", outcome.drop_points);

    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let refused = phases::run(&cx, &dataset(), &untrained(), "small", &given(15), &mut Silent);
    let width = PlanError::Width { layer: "conv2".into(), expected: 15, found: 16 }.to_string();
    assert!(matches!(&refused, Err(PruneError::Plan(error)) if error.to_string() == width));
}

#[test]
fn without_epochs_nothing_goes_where_nothing_may_be_lost() {
    for phases in [Phases::Both, Phases::Layerwise] {
        let config =
            PruneConfig { epochs_budget: Some(0.0), max_drop: -100.0, ..config(phases, "3x") };
        let outcome = run(2, &config);
        assert!(outcome.steps.is_empty() && !outcome.target_met, "{phases:?}");
        assert_eq!(outcome.network, untrained(), "{phases:?}");
    }
}
