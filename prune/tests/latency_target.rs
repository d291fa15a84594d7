//! Pruning runs with a latency target, by tables of layer times that are known.

#[path = "common/colours.rs"]
mod colours;
mod common;
#[path = "reproduce/few.rs"]
mod few;

use common::small_graph;
use pleach_core::network::Network;
use pleach_core::{Shape, models};
use pleach_datasets::{Dataset, Split};
use pleach_kernels::{Context, Isa};
use pleach_prune::error::PruneError;
use pleach_prune::eval::evaluate;
use pleach_prune::latency::{
    Config, LAYER_TIMES_SCHEMA, LayerTime, LayerTimes, Speedup, Work, measure,
};
use pleach_prune::phases::{Event, Outcome, Phases, PruneConfig, Pruner, RunObserver, State};
use pleach_prune::plan::{Plan, replay};
use pleach_prune::target::{Target, Unit};
use pleach_prune::trainer::{Observer, Silent, TrainConfig, Trainer};
use std::ops::ControlFlow;
use std::sync::Arc;

fn base() -> Network {
    Network::init(small_graph(), 3)
}

fn config() -> PruneConfig {
    let mut config = PruneConfig {
        target: Some(Target { unit: Unit::Latency, amount: "1.9x".parse().expect("an amount") }),
        phases: Phases::Global,
        // What goes is the same however a CPU rounds sums.
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

/// `ns(inputs, outputs)` of each layer of [`small_graph`], at every width.
fn table(ns: impl Fn(&str, usize, usize) -> u64) -> LayerTimes {
    let layers = [("conv", 3..=3, 8), ("conv2", 1..=8, 16), ("fc", 1..=16, 10)];
    let layers = layers.map(|(name, inputs, outputs)| {
        let row = |ic| (1..=outputs).map(|oc| ns(name, ic, oc)).collect();
        LayerTime {
            names: vec![name.into()],
            ns: inputs.clone().map(row).collect(),
            inputs: inputs.collect(),
            outputs: (1..=outputs).collect(),
        }
    });
    let schema = LAYER_TIMES_SCHEMA.into();
    LayerTimes { schema, isa: "any".into(), threads: 1, batch: 1, layers: layers.into() }
}

/// A table by which conv takes as long with 5 channels as with 8; conv2 in steps of 4.
fn free_channels() -> LayerTimes {
    table(|name, ic, oc| match name {
        "conv" => 1000 * if oc > 4 { 2 } else { 1 },
        "conv2" => 1000 * (ic.div_ceil(4) * oc.div_ceil(4)) as u64,
        _ => 0,
    })
}

/// A run that counts by `times` instead of what it measured.
fn run(times: &LayerTimes, config: &PruneConfig) -> Outcome {
    run_on(&base(), &few::dataset(), times, config)
}

fn run_on(
    base: &Network,
    dataset: &Arc<dyn Dataset>,
    times: &LayerTimes,
    config: &PruneConfig,
) -> Outcome {
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let begun = Pruner::new(&cx, dataset, base, "small", config, &mut Silent).expect("it begins");
    let measured = begun.state().times().expect("a run with a latency target measures");
    measured.check(base.graph()).expect("it has every layer");
    let mut state = serde_json::to_value(begun.state()).expect("it is JSON");
    state["times"] = serde_json::to_value(times).expect("it is JSON");
    let state: State = serde_json::from_value(state).expect("it is a state");
    let mut pruner = Pruner::resume(&cx, dataset, base, config, state, None, None).expect("goes");
    while !pruner.is_finished() {
        pruner.step(&mut Silent).expect("it works");
    }
    pruner.outcome()
}

fn widths(plan: &Plan) -> [usize; 2] {
    ["conv", "conv2"].map(|layer| plan.kept[layer].len())
}

#[test]
fn a_latency_target_is_counted_by_the_table_and_met() {
    let times = table(|name, ic, oc| if name == "conv2" { (100 * ic * oc) as u64 } else { 1 });
    let outcome = run(&times, &config());
    let counted = outcome.target.expect("there is a target");
    let [conv, conv2] = widths(&outcome.plan);
    assert_eq!((counted.unit, counted.base), (Unit::Latency, 100 * 8 * 16 + 2));
    assert_eq!(counted.left, (100 * conv * conv2 + 2) as u64);
    assert!(outcome.target_met && counted.left <= counted.limit, "{counted:?}");
    assert!(10 * counted.left > 7 * counted.limit, "it stops near the target: {counted:?}");
    assert_eq!(outcome.times.as_ref(), Some(&times));
    assert!(outcome.plan.returned.is_empty(), "every channel costs time");
}

#[test]
fn channels_that_cost_no_time_come_back() {
    let times = free_channels();
    let with = run(&times, &config());
    let without = run(&times, &PruneConfig { free_channels: false, ..config() });
    assert_eq!(with.plan.steps, without.plan.steps, "removals are the same");
    assert!(without.plan.returned.is_empty());
    let (narrow, wide) = (widths(&without.plan), widths(&with.plan));
    assert!(
        with.target_met && with.target == without.target,
        "time is the same: {narrow:?} {wide:?}"
    );
    assert_eq!(
        wide,
        narrow.map(|width| width.next_multiple_of(4)),
        "no width is left that is free"
    );
    assert_ne!(wide, narrow, "the case has something to give back");
    let returned: usize = with.plan.returned.values().map(Vec::len).sum();
    assert_eq!(returned, wide.iter().sum::<usize>() - narrow.iter().sum::<usize>());
    let shape = replay(&base(), &with.plan).expect("the plan fits its network");
    assert_eq!(shape.graph(), with.network.graph());
    // The last removed come back first.
    for (layer, returned) in &with.plan.returned {
        let step_of = |index: &usize| {
            let steps = with.plan.steps.iter();
            steps.filter_map(|step| step.removed.get(layer)).position(|gone| gone.contains(index))
        };
        let gone = with.plan.steps.iter().filter_map(|step| step.removed.get(layer)).flatten();
        let gone = gone.filter(|index| !returned.contains(index)).filter_map(step_of).max();
        assert!(returned.iter().filter_map(step_of).min() >= gone, "{layer}: {:?}", with.plan);
    }
}

#[test]
fn channels_that_came_back_go_again_where_the_final_fine_tuning_loses_too_much() {
    let (cx, dataset) = (Context::new(Isa::from_env().unwrap(), 2), colours::of(few::dataset()));
    let training = TrainConfig { epochs: 60.0, batch: 50, ..TrainConfig::default() };
    let network = training.network(small_graph());
    let mut trainer = Trainer::new(&cx, dataset.clone(), training, network);
    while !trainer.is_finished() {
        trainer.epoch(&mut Silent).expect("training converges");
    }
    let base = trainer.into_network();
    let times = free_channels();
    let run = |config: PruneConfig| run_on(&base, &dataset, &times, &config);
    // The removals are the same whatever the limit is.
    let mut config = PruneConfig { global_epochs: 20.0, recovery: 1000.0, ..config() };
    let accepted = run(PruneConfig { free_channels: false, final_epochs: 0.0, ..config.clone() });
    // After this the network guesses.
    config.final_tune.lr = 30.0;
    let spoilt = run(config.clone());
    assert!(!spoilt.plan.returned.is_empty() && spoilt.plan.kept != accepted.plan.kept);
    let lost = [accepted.drop_points, spoilt.drop_points];
    // Of ten classes, a network that guesses one gets a tenth right.
    assert!(accepted.base.validation_accuracy > 0.9, "{:?}", accepted.base);
    assert!(lost[0] < 40.0 && lost[1] > 60.0, "{lost:?}");
    let undone = run(PruneConfig { max_drop: 0.5 * (lost[0] + lost[1]), ..config });
    assert_eq!(undone.drop_points, accepted.drop_points);
    assert_eq!(undone.plan, accepted.plan);
    assert_eq!(undone.target, accepted.target);
    let found = |outcome: &Outcome| {
        let found = evaluate(&cx, &outcome.network, &dataset, Split::Validation, None);
        (found.accuracy, found.loss)
    };
    assert_eq!(found(&undone), found(&accepted), "the networks are the same");
    assert_eq!(undone.pruned.validation_accuracy, found(&undone).0);
}

#[test]
fn the_measurement_ends_when_the_observer_says_so() {
    struct After(usize);
    impl Observer for After {}
    impl RunObserver for After {
        fn event(&mut self, _: &Event<'_>) {}

        fn goes_on(&mut self) -> bool {
            self.0 -= 1;
            self.0 > 0
        }
    }
    let (cx, dataset, base) = (Context::new(Isa::from_env().unwrap(), 1), few::dataset(), base());
    let config = config();
    let begin = |observer: &mut After| {
        Pruner::new(&cx, &dataset, &base, "small", &config, observer).map(|_| ())
    };
    let mut after = After(2);
    assert!(matches!(begin(&mut after), Err(PruneError::Interrupted)));
    assert_eq!(after.0, 0, "it is asked before each layer and not again");
}

#[test]
fn a_state_without_the_table_that_its_target_needs_is_refused() {
    let (cx, dataset, base) = (Context::new(Isa::from_env().unwrap(), 1), few::dataset(), base());
    let config = config();
    let begun =
        Pruner::new(&cx, &dataset, &base, "small", &config, &mut Silent).expect("it begins");
    let resume = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut state = serde_json::to_value(begun.state()).expect("it is JSON");
        edit(&mut state);
        let state: State = serde_json::from_value(state).expect("it is a state");
        Pruner::resume(&cx, &dataset, &base, &config, state, None, None)
            .err()
            .map(|e| e.to_string())
    };
    assert_eq!(resume(&|_| ()), None);
    let gone = resume(&|state| state["times"] = serde_json::Value::Null);
    assert_eq!(gone.as_deref(), Some("there is a latency target, but no table of layer times"));
    let layer = resume(&|state| state["times"]["layers"][1]["names"][0] = "other".into());
    assert!(layer.is_some_and(|error| error.contains("none of layer conv2")));
    let ragged = resume(&|state| state["times"]["layers"][1]["ns"][0] = serde_json::json!([]));
    assert!(ragged.is_some_and(|error| error.contains("unsound")));
}

#[test]
fn a_measurement_that_is_ended_keeps_the_configurations_that_it_finished() {
    let graph = models::build("vgg-small:2,2,3,3,4,4", Shape::new(3, 32, 32), 10).unwrap();
    let net = Network::init(graph, 1);
    for (work, warm) in [(Work::Infer, true), (Work::Train, false)] {
        let isa = Isa::from_env().unwrap();
        let (batches, rounds) = (vec![2, 3], [3, 3]);
        let config = Config { work, batches, rounds, ..Config::new(isa, 1) };
        let mut told = Vec::new();
        let found = measure(&[("a", &net), ("b", &net)], &config, &mut |title, done, of| {
            told.push((title.to_owned(), done, of));
            match title {
                "batch 2, 1 thread" => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        });
        let told: Vec<_> = told.iter().map(|(title, done, of)| (&**title, *done, *of)).collect();
        let [one, two] = ["batch 2, 1 thread", "batch 3, 1 thread"];
        assert_eq!(told, [(one, 0, 3), (one, 1, 3), (one, 2, 3), (two, 0, 3)]);
        let rows: Vec<_> = found.rows.iter().map(|row| (&*row.net, row.batch)).collect();
        assert_eq!(rows, [("a", 2), ("b", 2)]);
        for row in &found.rows {
            assert_eq!((row.mode, row.macs), (work, net.graph().macs()));
            assert!(0.0 < row.latency_ms_p50 && row.latency_ms_p50 <= row.latency_ms_p90);
            assert_eq!(row.warm_ms_p50.is_some(), warm);
        }
        let [ratio] = &found.ratios[..] else { panic!("{:?}", found.ratios) };
        assert_eq!((&*ratio.base, &*ratio.net, ratio.warm.is_some()), ("a", "b", warm));
        let Speedup { speedup, low, high } = ratio.in_turn;
        assert!(speedup > 0.0 && low <= high, "{ratio:?}");
    }
}
