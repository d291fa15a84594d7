//! Whole training steps: the same bits whatever the threads, batch norm's statistics, dropout, and
//! the optimisers against the formulas of PyTorch's documentation in `f64`.

use pleach_core::autograd::Tape;
use pleach_core::graph::{Graph, GraphBuilder, NodeId};
use pleach_core::layers::{
    Add, BatchNorm2d, Conv2d, Dropout, GlobalAvgPool, Groups, Layer, Linear, MaxPool2d, Mode, Relu,
    StepKey,
};
use pleach_core::loss;
use pleach_core::network::Network;
use pleach_core::optim::Optimizer;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::tensor::{Shape, Tensor};
use pleach_kernels::{Context, Isa};

const SGD: Optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.02 };
const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.99, eps: 1e-6, weight_decay: 0.02 };
const MUON: Optimizer = Optimizer::Muon {
    momentum: 0.6,
    iterations: 5,
    others_lr: 2.0,
    others_momentum: 0.9,
    weight_decay: 0.02,
};

/// A small residual network with every kind of layer that has a kernel of its own in training.
fn network() -> Network {
    fn graph() -> Result<Graph, pleach_core::GraphError> {
        let (mut builder, image) = GraphBuilder::new(Shape::new(3, 16, 16))?;
        let conv_bn = |builder: &mut GraphBuilder, name: &str, conv: Conv2d, x: NodeId| {
            let x = builder.add(format!("{name}.conv"), Layer::Conv2d(conv), &[x])?;
            builder.add(format!("{name}.bn"), Layer::BatchNorm2d(BatchNorm2d::default()), &[x])
        };
        let x = conv_bn(&mut builder, "stem", Conv2d::same3x3(20), image)?;
        let x = builder.add("stem.relu", Layer::Relu(Relu {}), &[x])?;
        let depthwise = Conv2d { groups: Groups::Depthwise, ..Conv2d::same3x3(20) };
        let y = conv_bn(&mut builder, "depthwise", depthwise, x)?;
        let y = conv_bn(&mut builder, "pointwise", Conv2d::pointwise(20), y)?;
        let x = builder.add("sum", Layer::Add(Add {}), &[x, y])?;
        let pool = MaxPool2d { kernel: 2, stride: 2, padding: 0 };
        let x = builder.add("pool", Layer::MaxPool2d(pool), &[x])?;
        let conv = Conv2d { bias: true, stride: 2, ..Conv2d::same3x3(40) };
        let x = conv_bn(&mut builder, "last", conv, x)?;
        let x = builder.add("last.relu", Layer::Relu(Relu {}), &[x])?;
        let x = builder.add("mean", Layer::GlobalAvgPool(GlobalAvgPool {}), &[x])?;
        let x = builder.add("dropout", Layer::Dropout(Dropout { p: 0.2 }), &[x])?;
        let fc = Linear { out_features: 10, bias: true };
        let x = builder.add("fc", Layer::Linear(fc), &[x])?;
        builder.finish(x)
    }
    Network::init(graph().expect("a whole graph"), 1)
}

fn batch(step: u64) -> (Tensor, Vec<u32>) {
    let mut rng = Rng::new(2, Purpose::Test, step, 0);
    let (n, shape) = (32, Shape::new(3, 16, 16));
    let labels: Vec<u32> = (0..n).map(|_| rng.below(10) as u32).collect();
    let mut pixels = Vec::with_capacity(n * shape.len());
    for &label in &labels {
        pixels.extend((0..shape.len()).map(|i| {
            let wave = (i as f32 * 0.1 * (label + 1) as f32).sin();
            wave + 0.5 * rng.normal() as f32
        }));
    }
    (Tensor::from_nchw(n, shape, &pixels), labels)
}

/// Trains for `steps` steps and returns the network and the loss of each step.
fn train(cx: &Context, optimizer: Optimizer, lr: f32, steps: u64) -> (Network, Vec<f64>) {
    let (mut net, mut tape) = (network(), Tape::new());
    let mut diff = Tensor::zeros(1, Shape::flat(10));
    let losses = (0..steps).map(|step| {
        let (images, labels) = batch(step);
        let key = StepKey { seed: 4, step };
        let logits = tape.forward(cx, &mut net, &images, Mode::Train, key);
        let loss = loss::cross_entropy(cx, logits, &labels, 0.1, Some(&mut diff));
        tape.backward(cx, &mut net, &diff, false);
        optimizer.step(cx, &mut net, lr, step);
        loss.mean
    });
    let losses = losses.collect();
    (net, losses)
}

/// Bits of all values and optimiser state.
fn bits(net: &Network) -> Vec<u32> {
    let params = net.params().iter();
    params
        .flat_map(|p| p.value.iter().chain(p.slots.iter().flatten()))
        .map(|x| x.to_bits())
        .collect()
}

#[test]
fn training_is_the_same_bits_for_every_number_of_threads_and_on_every_run() {
    for isa in Isa::available() {
        for optimizer in [SGD, ADAM, MUON] {
            let run = |threads| bits(&train(&Context::new(isa, threads), optimizer, 0.01, 3).0);
            let expected = run(1);
            for threads in [1, 2, 3, 2] {
                assert!(run(threads) == expected, "{}, {threads} threads", isa.name);
            }
        }
    }
}

/// A thread that waits for the other half of a product may be given another training's step meanwhile.
#[test]
fn trainings_share_the_threads_of_a_context() {
    let steps = |cx: &Context| {
        let mut net = network();
        for param in net.params_mut() {
            param.grad = param.value.iter().map(|x| x * x - 0.1).collect();
        }
        (0..800).for_each(|step| cx.threads().region(|| MUON.step(cx, &mut net, 0.01, step)));
        bits(&net)
    };
    let isa = Isa::from_env().unwrap();
    let expected = steps(&Context::new(isa, 1));
    let cx = Context::new(isa, 2);
    std::thread::scope(|scope| {
        for training in [(); 4].map(|()| scope.spawn(|| steps(&cx.clone()))) {
            assert!(training.join().unwrap() == expected);
        }
    });
}

#[test]
fn every_instruction_set_trains_alike() {
    let train = |isa| train(&Context::new(isa, 2), SGD, 0.01, 3);
    let (expected, losses) = train(Isa::named("portable").expect("it is always there"));
    for isa in Isa::available() {
        let (net, others) = train(isa);
        for (a, b) in losses.iter().zip(&others) {
            assert!((a - b).abs() < 1e-4, "{}: {losses:?} and {others:?}", isa.name);
        }
        for (index, (a, b)) in expected.params().iter().zip(net.params()).enumerate() {
            for (a, b) in a.value.iter().zip(&b.value) {
                let name = &net.graph().params()[index].name;
                assert!((a - b).abs() < 1e-4, "{}, {name}: {a} and {b}", isa.name);
            }
        }
    }
}

#[test]
fn all_optimisers_learn_to_tell_waves_apart() {
    for (optimizer, lr) in [(SGD, 0.05), (ADAM, 0.01), (MUON, 0.05)] {
        let (_, losses) = train(&Context::new(Isa::from_env().unwrap(), 2), optimizer, lr, 60);
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&losses[..5]), mean(&losses[55..]));
        assert!(last < 0.8 * first, "{optimizer:?}: from {first} to {last}");
    }
}

#[test]
fn running_statistics_follow_those_of_pytorch() {
    let (mut builder, image) = GraphBuilder::new(Shape::new(2, 1, 3)).expect("a small image");
    let bn = Layer::BatchNorm2d(BatchNorm2d { eps: 1e-5, momentum: 0.1 });
    let bn = builder.add("bn", bn, &[image]).expect("the layer fits");
    let mean = Layer::GlobalAvgPool(GlobalAvgPool {});
    let mean = builder.add("mean", mean, &[bn]).expect("the layer fits");
    let mut net = Network::init(builder.finish(mean).expect("a whole graph"), 0);
    let values = [1.0, 2.0, 6.0, 0.0, 0.0, 5.0, 2.0, 4.0, 3.0, 1.0, 1.0, -1.0];
    let images = Tensor::from_nchw(2, Shape::new(2, 1, 3), &values);
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let stats = |net: &Network| {
        ["running_mean", "running_var"].map(|name| net.param(bn, name).expect(name).value.clone())
    };
    // Batch means 3 and 1; unbiased variances 16 / 5 and 22 / 5.
    let batch = [[3.0f32, 1.0], [3.2, 4.4]];
    let mut expected = [[0.0f32; 2], [1.0; 2]];
    for _ in 0..3 {
        Tape::new().forward(&cx, &mut net, &images, Mode::Train, StepKey::default());
        for (old, new) in expected.iter_mut().flatten().zip(batch.iter().flatten()) {
            *old = 0.9 * *old + 0.1 * new;
        }
        for (a, b) in stats(&net).iter().flatten().zip(expected.iter().flatten()) {
            assert!((a - b).abs() < 1e-6, "{:?} and {expected:?}", stats(&net));
        }
    }
    let before = stats(&net);
    Tape::new().forward(&cx, &mut net, &images, Mode::Eval, StepKey::default());
    assert_eq!(stats(&net), before);
}

#[test]
fn dropout_keeps_the_mean_and_its_mask_depends_on_seed_step_and_node() {
    let (mut builder, image) = GraphBuilder::new(Shape::flat(1000)).expect("a small image");
    let dropout = || Layer::Dropout(Dropout { p: 0.25 });
    let first = builder.add("first", dropout(), &[image]).expect("the layer fits");
    let second = builder.add("second", dropout(), &[image]).expect("the layer fits");
    let sum = builder.add("sum", Layer::Add(Add {}), &[first, second]).expect("the layer fits");
    let mut net = Network::init(builder.finish(sum).expect("a whole graph"), 0);
    let images = Tensor::from_nchw(8, Shape::flat(1000), &[1.0; 8000]);
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let mut masks = |mode, seed, step| {
        let mut tape = Tape::new();
        tape.forward(&cx, &mut net, &images, mode, StepKey { seed, step });
        [first, second]
            .map(|id| tape.activation(id).expect("kept until the backward pass").to_nchw())
    };
    let [a, b] = masks(Mode::Train, 1, 1);
    assert_ne!(a, b);
    assert!(a.iter().all(|&x| x == 0.0 || (x - 4.0 / 3.0).abs() < 1e-6));
    let kept = a.iter().filter(|&&x| x != 0.0).count();
    // 6000 of 8000 expected, standard deviation 39.
    assert!(kept.abs_diff(6000) < 200, "{kept} of 8000 kept");
    assert_eq!(masks(Mode::Train, 1, 1), [a.clone(), b]);
    assert_ne!(masks(Mode::Train, 2, 1)[0], a);
    assert_ne!(masks(Mode::Train, 1, 2)[0], a);
    assert_eq!(masks(Mode::Eval, 1, 1)[0], vec![1.0; 8000]);
}

/// `optimizer` by the formulas in the documentation of `torch.optim.SGD` (dampening 0) and
/// `torch.optim.Adam`, for one value whose gradients are `grads`.
fn by_the_book(optimizer: Optimizer, lr: f64, mut value: f64, grads: &[f64], decays: bool) -> f64 {
    let (mut first, mut second) = (0.0, 0.0);
    for (t, &grad) in grads.iter().enumerate() {
        match optimizer {
            Optimizer::Sgd { momentum, nesterov, weight_decay } => {
                let (momentum, decay) = (f64::from(momentum), f64::from(weight_decay));
                let g = if decays { grad + decay * value } else { grad };
                first = if t == 0 { g } else { momentum * first + g };
                value -= lr * if nesterov { g + momentum * first } else { first };
            }
            Optimizer::Adam { beta1, beta2, eps, weight_decay } => {
                let (beta1, beta2) = (f64::from(beta1), f64::from(beta2));
                let g = if decays { grad + f64::from(weight_decay) * value } else { grad };
                first = beta1 * first + (1.0 - beta1) * g;
                second = beta2 * second + (1.0 - beta2) * g * g;
                let t = t as i32 + 1;
                let (m, v) = (first / (1.0 - beta1.powi(t)), second / (1.0 - beta2.powi(t)));
                value -= lr * m / (v.sqrt() + f64::from(eps));
            }
            Optimizer::Muon { .. } => unreachable!("what it does to a value depends on the others"),
        }
    }
    value
}

#[test]
fn optimisers_step_by_the_formulas_of_pytorch_and_decay_only_weights() {
    let plain = Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.02 };
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    for optimizer in [SGD, plain, ADAM] {
        let mut net = network();
        let start = net.clone();
        let grad = |param: usize, i: usize, step: u64| {
            Rng::new(9, Purpose::Test, step, (param * 100_000 + i) as u64).normal() as f32
        };
        for step in 0..5 {
            for (index, param) in net.params_mut().iter_mut().enumerate() {
                param.grad = (0..param.value.len()).map(|i| grad(index, i, step)).collect();
            }
            optimizer.step(&cx, &mut net, 0.05, step);
        }
        for (index, place) in start.graph().params().iter().enumerate() {
            let (before, after) = (&start.params()[index], &net.params()[index]);
            if !place.spec.trainable {
                assert_eq!(before.value, after.value, "{} is no business of it", place.name);
                continue;
            }
            let decays = place.name.ends_with("conv.weight") || place.name == "fc.weight";
            for (i, (&from, &to)) in before.value.iter().zip(&after.value).enumerate() {
                let grads: Vec<f64> = (0..5).map(|step| grad(index, i, step).into()).collect();
                let lr = f64::from(0.05f32);
                let expected = by_the_book(optimizer, lr, from.into(), &grads, decays);
                let error = (expected - f64::from(to)).abs();
                assert!(error < 2e-6, "{optimizer:?}, {}: {to}, not {expected}", place.name);
            }
        }
    }
}

#[test]
fn adam_begins_anew_at_the_first_step() {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let (trained, _) = train(&cx, ADAM, 0.01, 3);
    let mut fresh = trained.clone();
    fresh.params_mut().iter_mut().for_each(|param| param.slots.clear());
    let step = |mut net: Network| {
        net.params_mut().iter_mut().for_each(|param| param.grad.fill(0.5));
        ADAM.step(&cx, &mut net, 0.01, 0);
        net
    };
    assert!(trained.params().iter().any(|param| param.slots.iter().flatten().any(|&x| x != 0.0)));
    assert_eq!(step(trained), step(fresh));
}

#[test]
fn frozen_filters_keep_their_values_and_their_state() {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    for optimizer in [SGD, ADAM, MUON] {
        let (trained, _) = train(&cx, optimizer, 0.01, 2);
        let mut net = trained.clone();
        for (index, param) in net.params_mut().iter_mut().enumerate() {
            let rows = trained.graph().params()[index].spec.dims[0];
            param.frozen = (0..rows).map(|row| row % 3 != 1).collect();
            param.grad.fill(1.0);
        }
        optimizer.step(&cx, &mut net, 0.01, 2);
        for (index, place) in trained.graph().params().iter().enumerate() {
            let (before, after) = (&trained.params()[index], &net.params()[index]);
            let row = place.spec.len() / place.spec.dims[0];
            for i in 0..place.spec.len() {
                let frozen = i / row % 3 != 1 || !place.spec.trainable;
                assert_eq!(before.value[i] == after.value[i], frozen, "{} at {i}", place.name);
                for (before, after) in before.slots.iter().zip(&after.slots) {
                    assert_eq!(before[i] == after[i], frozen, "{} at {i}", place.name);
                }
            }
        }
    }
}
