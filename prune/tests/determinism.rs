//! The same seed gives the same bits for 1, 2, 3 and 7 threads: in training, in what criteria measure, in
//! whole pruning runs and in inference.

mod common;
#[path = "reproduce/few.rs"]
mod few;

use common::small_graph;
use pleach_core::checkpoint::{Dtype, Meta, to_bytes};
use pleach_core::graph::Graph;
use pleach_core::infer::{Plan, PlanOptions};
use pleach_core::network::Network;
use pleach_core::tensor::{Shape, Tensor};
use pleach_core::{loss::Distillation, models};
use pleach_datasets::Split;
use pleach_kernels::{Context, Isa};
use pleach_prune::channels::Channels;
use pleach_prune::criteria::{self, ConEnt, Condition, Join, Normalise, ScoreCx, Scores};
use pleach_prune::entropy::{Binning, Correction};
use pleach_prune::eval::{evaluate, logits};
use pleach_prune::evidence::{self, Evidence, Wants};
use pleach_prune::phases::{PruneConfig, Reference};
use pleach_prune::prune_run::{self, Job, PLAN, PRUNED};
use pleach_prune::run_dir::RunDir;
use pleach_prune::target::{Target, Unit};
use pleach_prune::trainer::{Silent, TrainConfig, Trainer};
use std::fmt::Debug;
use std::fs;
use std::path::Path;

/// Asserts that `run` returns the same for 1, 2, 3 and 7 threads, and twice in a row for 7.
#[track_caller]
fn assert_same_on_any_threads<T: PartialEq + Debug>(what: &str, run: impl Fn(&Context) -> T) {
    let isa = Isa::from_env().unwrap();
    let one = run(&Context::new(isa, 1));
    for threads in [2, 3, 7, 7] {
        let found = run(&Context::new(isa, threads));
        // What differs is megabytes of numbers.
        assert!(found == one, "{what} is other bits with {threads} threads");
    }
}

/// Networks whose layers take every algorithm: wide ones and narrow ones, strides, residual sums,
/// concatenations, depthwise convolutions, odd widths as pruning leaves them.
fn networks() -> Vec<(&'static str, Network)> {
    let specs =
        ["vgg-small:32,37,48,53,64,64", "resnet20:16,24,40", "concat-small", "mobile-small"];
    let networks = specs.map(|spec| (spec, Network::init(graph(spec), 5)));
    let small = ("a network of two convolutions", Network::init(small_graph(), 3));
    networks.into_iter().chain([small]).collect()
}

fn graph(spec: &str) -> Graph {
    models::build(spec, Shape::new(3, 32, 32), 10).expect("a model")
}

/// A file's bytes with everything that training goes on with.
fn bytes(network: &Network) -> Vec<u8> {
    let meta = Meta::default();
    to_bytes(Path::new("in memory"), network, &meta, Dtype::F32, true).expect("it is finite")
}

#[test]
fn training_is_the_same_bits_for_any_number_of_threads() {
    for (name, network) in networks() {
        for (batch, direct) in [(50, false), (37, true)] {
            let config = TrainConfig { epochs: 1.0, batch, direct, lr: 0.02, ..<_>::default() };
            assert_same_on_any_threads(&format!("training of {name}"), |cx| {
                let mut trainer = Trainer::new(cx, few::dataset(), config.clone(), network.clone());
                let report = trainer.epoch(&mut Silent).expect("training converges");
                (bytes(trainer.network()), report.loss.to_bits(), report.accuracy.to_bits())
            });
        }
    }
}

fn measure(cx: &Context, network: &Network) -> Evidence {
    let channels = Channels::of(network.graph());
    let wants = Wants { means: true, input_responses: true, gradients: true };
    let indices = (0..200).collect();
    evidence::calibrate(cx, &mut network.clone(), &channels, &few::dataset(), indices, wants)
}

#[test]
fn every_criterion_scores_the_same_bits_for_any_number_of_threads() {
    let label = ConEnt { condition: Condition::LossAndLabel, ..ConEnt::default() };
    let layer = ConEnt { binning: Binning::PerLayer, ..ConEnt::default() };
    let frequency = ConEnt {
        binning: Binning::EqualFrequency,
        correction: Correction::MillerMadow,
        ..ConEnt::default()
    };
    let settings = [ConEnt::default(), label, layer, frequency];
    for (name, network) in networks() {
        let channels = Channels::of(network.graph());
        assert_same_on_any_threads(&format!("what scores {name}"), |cx| {
            let evidence = measure(cx, &network);
            let scores = |con_ent: &ConEnt| -> Vec<u64> {
                let losses = &evidence.losses;
                let cx = ScoreCx {
                    network: &network,
                    evidence: &evidence,
                    base_losses: losses,
                    con_ent,
                    seed: 1,
                    step: 2,
                };
                let names = criteria::fitting(network.graph(), &channels).into_iter();
                let scores = names.flat_map(|name| {
                    let criterion = criteria::named(name).expect("a criterion");
                    let (normalise, join) = (Normalise::default(), Join::default());
                    let scores = Scores::new(criterion, &cx, &channels, normalise, join);
                    let scores = scores.expect("it fits");
                    let classes = (0..channels.len()).map(pleach_prune::channels::ChannelId);
                    classes.map(|class| scores.of(class).to_bits()).collect::<Vec<_>>()
                });
                scores.collect()
            };
            (settings.each_ref().map(scores), evidence)
        });
    }
}

/// What a whole pruning run of `network` leaves: its plan and its network, as files.
fn pruned(cx: &Context, network: &Network, config: &PruneConfig) -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let run = RunDir::create(Some(folder.path()), "prune", false).expect("it is empty");
    let meta = Meta { model: "small".into(), ..Meta::default() };
    let job = Job { model: "small", meta: &meta, config, after: None };
    prune_run::prune(cx, &few::dataset(), &run, &job, network, &mut Silent).expect("it works");
    let plan = fs::read_to_string(run.file(PLAN)).expect("it is there");
    (plan, fs::read(run.file(PRUNED)).expect("it is there"))
}

#[test]
fn a_pruning_run_decides_the_same_and_leaves_the_same_bytes_for_any_number_of_threads() {
    let mut config = PruneConfig {
        target: Some(Target { unit: Unit::Macs, amount: "2x".parse().expect("an amount") }),
        max_drop: 100.0,
        reference: Reference::Validation,
        calibration: 100,
        global_step: 0.2,
        global_epochs: 1.0,
        layerwise_step: 0.3,
        layerwise_epochs: 0.5,
        final_epochs: 1.0,
        ..PruneConfig::default()
    };
    (config.tune.batch, config.final_tune.batch) = (50, 50);
    let teacher = Distillation { weight: 0.5, temperature: 4.0 };
    let taught =
        PruneConfig { distillation: Some(teacher), criterion: "taylor".into(), ..config.clone() };
    let vgg = Network::init(graph("vgg-small:16,24,24,32,37,40"), 5);
    let resnet = Network::init(graph("resnet20:8,16,24"), 5);
    for (name, network, config) in [
        ("a VGG", &vgg, &config),
        ("a ResNet", &resnet, &config),
        ("a VGG by another", &vgg, &taught),
    ] {
        assert_same_on_any_threads(&format!("the pruning of {name}"), |cx| {
            let (plan, network) = pruned(cx, network, config);
            assert!(plan.contains("\"accepted\": true"), "something is removed");
            (plan, network)
        });
    }
}

#[test]
fn inference_is_the_same_bits_for_any_number_of_threads_at_any_batch() {
    for (name, network) in networks() {
        let shape = network.graph().input_shape();
        let images = pleach_prune::eval::images(&few::dataset(), shape, Split::Test, None);
        for batch in [1, 2, 7, 128] {
            let some = &images.to_nchw()[..batch * shape.len()];
            for wide in [true, false] {
                assert_same_on_any_threads(&format!("{name} at batch {batch}"), |cx| {
                    let cx = if wide { cx.clone() } else { cx.clone().without_filtering() };
                    let images = Tensor::from_nchw(batch, shape, some);
                    let mut plan = Plan::new(&cx, &network, batch);
                    let once = bits(&plan.run(&cx, &images).to_nchw());
                    assert_eq!(once, bits(&plan.run(&cx, &images).to_nchw()), "run again");
                    once
                });
            }
        }
        assert_same_on_any_threads(&format!("the evaluation of {name}"), |cx| {
            let found = evaluate(cx, &network, &few::dataset(), Split::Test, None);
            let values = images.to_nchw();
            let logits = bits(&logits(cx, &network, &values, &PlanOptions::default()));
            (found.loss.to_bits(), found.correct, logits)
        });
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
