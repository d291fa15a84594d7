//! A plan computes what the graph says.

mod random;

use pleach_core::infer::PlanOptions;
use pleach_core::layers::{Dropout, Flatten, Layer, Linear};
use pleach_core::{Graph, GraphBuilder, Mode, Plan, Shape, StepKey, Tape, Tensor, models};
use pleach_kernels::conv2d::{Conv2dGeometry, Storage};
use pleach_kernels::{Context, Isa, conv2d};
use std::cell::RefCell;

const IMAGE: Shape = Shape::new(3, 32, 32);

/// Checks that a plan gives the logits of a forward pass in use to 1e-5 of the largest.
fn check(graph: Graph, seed: u64) {
    let mut net = random::network(graph, seed);
    let input = random::images(3, net.graph().input_shape(), seed);
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let mut tape = Tape::new();
    let expected = tape.forward(&cx, &mut net, &input, Mode::Eval, StepKey::default()).to_nchw();
    let mut plan = Plan::new(&cx, &net, 3);
    let found = plan.run(&cx, &input).to_nchw();
    let scale = expected.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    assert!(scale > 0.0 && scale.is_finite(), "seed {seed}: logits of {expected:?}");
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() <= 1e-5 * scale, "seed {seed}: {a}, expected {b}\n{}", net.graph());
    }
}

#[test]
fn a_plan_of_every_model_equals_its_forward_pass() {
    for (seed, spec) in [
        "vgg11:8,12,16,20,24,28,32,36",
        "vgg-small",
        "vgg16-nobn:21,43,67,73,101,93,71,53,37,29,23,19,31",
        "resnet18:12,24,48,96",
        "resnet20:5,6,7,8,9,10,11,12,13,14,15,16",
        "resnet56:4,5,6",
        "concat-small",
        "mobile-small",
    ]
    .into_iter()
    .enumerate()
    {
        check(models::build(spec, IMAGE, 10).unwrap(), seed as u64);
    }
}

#[test]
fn a_plan_of_any_graph_equals_its_forward_pass() {
    for seed in 0..150 {
        check(random::graph(seed).unwrap(), seed);
    }
}

/// As a file could have them.
#[test]
fn a_plan_is_made_of_very_many_layers_that_do_nothing() {
    let (mut builder, image) = GraphBuilder::new(Shape::new(3, 2, 2)).unwrap();
    let mut x = builder.add("flatten", Layer::Flatten(Flatten {}), &[image]).unwrap();
    for i in 0..60_000 {
        x = builder.add(format!("{i}"), Layer::Dropout(Dropout { p: 0.5 }), &[x]).unwrap();
    }
    let fc = Layer::Linear(Linear { out_features: 10, bias: true });
    let fc = builder.add("fc", fc, &[x]).unwrap();
    let net = random::network(builder.finish(fc).unwrap(), 1);
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    assert_eq!(Plan::new(&cx, &net, 1).steps().count(), 1);
}

#[test]
fn what_follows_a_convolution_is_no_step_of_its_own() {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let steps = |spec: &str| {
        let net = random::network(models::build(spec, IMAGE, 10).unwrap(), 0);
        let plan = Plan::new(&cx, &net, 1);
        (plan.steps().count(), plan.steps().filter(|step| step.macs > 0).count())
    };
    // 13 convolutions, which pool, and a linear layer.
    assert_eq!(steps("vgg16:8,8,8,8,8,8,8,8,8,8,8,8,8"), (14, 14));
    // 17 convolutions and 3 projections, which add, a pool over whole maps and a linear layer.
    assert_eq!(steps("resnet18:8,8,8,8"), (22, 21));
}

#[test]
fn logits_are_the_same_bits_on_any_number_of_threads_and_in_any_batch() {
    for spec in ["vgg-small", "resnet20", "concat-small", "mobile-small"] {
        let net = random::network(models::build(spec, IMAGE, 10).unwrap(), 5);
        let input = random::images(5, IMAGE, 5);
        let one = Context::new(Isa::from_env().unwrap(), 1);
        let mut plan = Plan::new(&one, &net, 5);
        let expected = plan.run(&one, &input).to_nchw();
        for threads in [2, 3] {
            let cx = Context::new(Isa::from_env().unwrap(), threads);
            let found = Plan::new(&cx, &net, 5).run(&cx, &input).to_nchw();
            assert_eq!(found, expected, "{spec}, {threads} threads");
        }
        let values = input.to_nchw();
        for n in [5, 2, 1, 4] {
            let part = Tensor::from_nchw(n, IMAGE, &values[..n * IMAGE.len()]);
            let found = plan.run(&one, &part);
            assert_eq!(found.n(), n);
            assert_eq!(found.to_nchw(), expected[..n * 10], "{spec}, {n} images");
        }
    }
}

#[test]
fn batches_larger_than_the_cache_give_the_logits_of_single_images() {
    // Maps of 64 channels on 32x32 pixels fill the cache with sixteen images.
    for spec in ["vgg16:64,64,8,8,8,8,8,8,8,8,8,8,8", "resnet18:64,8,8,8"] {
        let net = random::network(models::build(spec, IMAGE, 10).unwrap(), 7);
        let (n, cx) = (33, Context::new(Isa::from_env().unwrap(), 2));
        let input = random::images(n, IMAGE, 7);
        let mut plan = Plan::new(&cx, &net, n);
        let mut calls = vec![0; plan.steps().count()];
        let found = plan.run_with(&cx, &input, |step| calls[step] += 1).to_nchw();
        assert!(calls[0] >= 3 && *calls.last().unwrap() == 1, "{spec}: {calls:?}");
        let (mut one, values) = (Plan::new(&cx, &net, 1), input.to_nchw());
        for (image, found) in values.chunks(IMAGE.len()).zip(found.chunks(10)) {
            let expected = one.run(&cx, &Tensor::from_nchw(1, IMAGE, image)).to_nchw();
            let scale = expected.iter().fold(0.0f32, |max, x| max.max(x.abs()));
            let close = |(x, y): (&f32, &f32)| (x - y).abs() <= 1e-4 * scale;
            assert!(expected.iter().zip(found).all(close), "{spec}: {found:?}, {expected:?}");
        }
    }
}

#[test]
fn every_algorithm_and_every_instruction_set_gives_the_same_logits_to_1e_4() {
    let net = random::network(models::build("concat-small", IMAGE, 10).unwrap(), 6);
    let input = random::images(2, IMAGE, 6);
    let portable = Context::new(Isa::named("portable").unwrap(), 1);
    let reference = conv2d::named(conv2d::FORWARD, "reference");
    let mut plan = Plan::with_algorithm(&portable, &net, 2, reference);
    assert!(plan.steps().all(|step| step.macs == 0 || step.kernel == "reference"));
    let expected = plan.run(&portable, &input).to_nchw();
    let scale = expected.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    for isa in Isa::available() {
        let cx = Context::new(isa, 1);
        for algorithm in conv2d::FORWARD {
            let mut plan = Plan::with_algorithm(&cx, &net, 2, Some(algorithm));
            for (a, b) in plan.run(&cx, &input).to_nchw().iter().zip(&expected) {
                assert!((a - b).abs() <= 1e-4 * scale, "{} {}: {a} {b}", isa.name, algorithm.name);
            }
        }
    }
}

#[test]
fn weights_in_half_the_bytes_give_nearly_the_same_logits() {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    for spec in ["vgg-small", "resnet20"] {
        let net = random::network(models::build(spec, IMAGE, 10).unwrap(), 8);
        let input = random::images(3, IMAGE, 8);
        let mut plan = Plan::new(&cx, &net, 3);
        let expected = plan.run(&cx, &input).to_nchw();
        let scale = expected.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        let bytes = |plan: &Plan| plan.steps().map(|step| step.weight_bytes).sum::<usize>();
        for (weights, tolerance) in [(Storage::Bf16, 0.1), (Storage::F16, 0.0125)] {
            let options = PlanOptions { weights, ..PlanOptions::default() };
            let mut half = Plan::with_options(&cx, &net, 3, &options);
            // All but the first layer's and those of depthwise convolutions.
            assert!(bytes(&half) < bytes(&plan) * 6 / 10, "{spec} {weights:?}");
            let found = half.run(&cx, &input).to_nchw();
            let error = found.iter().zip(&expected).fold(0.0f32, |e, (a, b)| e.max((a - b).abs()));
            assert!(
                error > 0.0 && error <= tolerance * scale,
                "{spec} {weights:?}: {error} {scale}"
            );
        }
    }
}

#[test]
fn the_arena_of_a_chain_holds_its_two_largest_neighbours() {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let net = random::network(models::build("vgg16", IMAGE, 10).unwrap(), 0);
    // [64, 32, 32] and [64, 16, 16], the first two convolutions' outputs, the second pooled.
    assert_eq!(Plan::new(&cx, &net, 2).arena_bytes(), 2 * (64 * 1024 + 64 * 256) * 4);
}

#[test]
fn a_choice_sees_each_convolution_as_it_runs_and_one_that_does_not_apply_is_passed_over() {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let net = random::network(models::build("vgg-small", IMAGE, 10).unwrap(), 3);
    let depthwise = conv2d::named(conv2d::FORWARD, "depthwise");
    let implicit_gemm = conv2d::named(conv2d::FORWARD, "implicit_gemm");
    let seen = RefCell::new(Vec::new());
    let choose = |g: &Conv2dGeometry| {
        seen.borrow_mut().push(*g);
        if g.ic == 3 { implicit_gemm } else { depthwise }
    };
    let options = PlanOptions { choose: Some(&choose), ..PlanOptions::default() };
    let (chosen, usual) = (Plan::with_options(&cx, &net, 64, &options), Plan::new(&cx, &net, 64));
    let geometries: Vec<_> = chosen.steps().filter_map(|step| step.geometry).collect();
    assert_eq!(*seen.borrow(), geometries);
    assert_eq!(chosen.steps().next().unwrap().kernel, "implicit_gemm");
    assert!(chosen.steps().skip(1).eq(usual.steps().skip(1)));
}

#[test]
fn a_network_of_layers_that_do_nothing_gives_its_images() {
    let (mut builder, image) = GraphBuilder::new(Shape::new(5, 1, 1)).unwrap();
    let x = builder.add("drop", Layer::Dropout(Dropout { p: 0.5 }), &[image]).unwrap();
    let x = builder.add("flat", Layer::Flatten(Flatten {}), &[x]).unwrap();
    let net = random::network(builder.finish(x).unwrap(), 1);
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let mut plan = Plan::new(&cx, &net, 3);
    assert_eq!((plan.steps().count(), plan.arena_bytes()), (0, 0));
    for n in [3, 1] {
        let images = random::images(n, net.graph().input_shape(), n as u64);
        assert_eq!(plan.run(&cx, &images).to_nchw(), images.to_nchw(), "{n} images");
    }
}
