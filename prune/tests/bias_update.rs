//! What bias updates and the freeze do to networks.

mod graphs;
mod structures;

use pleach_core::autograd::Tape;
use pleach_core::graph::{Graph, GraphBuilder, GraphError, NodeId};
use pleach_core::layers::{Conv2d, GlobalAvgPool, Layer, Linear, Mode, Relu, StepKey};
use pleach_core::optim::Optimizer;
use pleach_core::{Network, Shape, Tensor};
use pleach_kernels::{Context, Isa};
use pleach_prune::bias_update::{self, BiasUpdate};
use pleach_prune::channels::{ChannelId, Channels, batch_norm_after};
use pleach_prune::criteria::{self, ConEnt, Join, Normalise, ScoreCx, Scores};
use pleach_prune::evidence::{self, Evidence, Wants};
use pleach_prune::freeze::{self, Rank};
use pleach_prune::surgery::{Kept, prune};
use structures::STRUCTURES;

const IMAGES: usize = 12;
const UPDATES: [BiasUpdate; 2] = [BiasUpdate::Mean, BiasUpdate::MaxEntropy];

fn context() -> Context {
    Context::new(Isa::from_env().unwrap(), 2)
}

fn labels(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| i % 5).collect()
}

fn measure(network: &mut Network, channels: &Channels, images: &Tensor) -> Evidence {
    let wants = Wants { means: true, input_responses: true, gradients: false };
    let batch = (images.clone(), labels(images.n()));
    evidence::collect(&context(), network, channels, [batch], wants)
}

fn con_ent(network: &Network, channels: &Channels, evidence: &Evidence) -> Scores {
    let cx = ScoreCx {
        network,
        evidence,
        base_losses: &evidence.losses,
        con_ent: &ConEnt::default(),
        seed: 0,
        step: 0,
    };
    let criterion = criteria::named("con_ent").expect("the default criterion");
    let scores = Scores::new(criterion, &cx, channels, Normalise::LayerMean, Join::Mean);
    scores.expect("every layer has responses")
}

/// The output of `layer`, averaged over images and pixels, less the running mean of a batch norm
/// right after it: everything that an update may shift.
fn mean_output(network: &mut Network, images: &Tensor, layer: NodeId) -> Vec<f64> {
    let mut tape = Tape::new();
    tape.forward(&context(), network, images, Mode::Eval, StepKey::default());
    let maps = tape.activation(layer).expect("kept in use");
    let Shape { channels, height, width } = maps.shape();
    let mut means = vec![0.0; channels];
    for (n, y, x) in (0..maps.n())
        .flat_map(|n| (0..height).flat_map(move |y| (0..width).map(move |x| (n, y, x))))
    {
        for (mean, &value) in means.iter_mut().zip(maps.pixel(n, y, x)) {
            *mean += f64::from(value) / (maps.n() * height * width) as f64;
        }
    }
    let norm = batch_norm_after(network.graph(), layer);
    if let Some(running) = norm.and_then(|norm| network.param(norm, "running_mean")) {
        means.iter_mut().zip(&running.value).for_each(|(mean, r)| *mean -= f64::from(*r));
    }
    means
}

/// Every other class of a group.
fn half(channels: &Channels, group: usize) -> Vec<ChannelId> {
    channels.groups()[group].channels.iter().copied().step_by(2).skip(1).collect()
}

#[test]
fn the_mean_output_of_every_consumer_stays_what_it_was() {
    for structure in STRUCTURES {
        for update in UPDATES {
            let mut network = graphs::network(structure(), 5);
            let graph = network.graph().clone();
            let channels = Channels::of(&graph);
            let images = graphs::images(IMAGES, graph.input_shape(), 6);
            let evidence = measure(&mut network, &channels, &images);
            let scores = con_ent(&network, &channels, &evidence);
            let groups = channels.groups().iter().enumerate();
            for (index, group) in groups.filter(|(_, group)| group.prunable.is_ok()) {
                let kept = Kept::without(&channels, &half(&channels, index));
                let mut updated = network.clone();
                let cx = context();
                let skipped = bias_update::apply(
                    &cx,
                    &mut updated,
                    &channels,
                    &kept,
                    &evidence,
                    update,
                    &scores,
                );
                assert_eq!(skipped, [], "every layer here has a bias or batch norm");
                if update == BiasUpdate::Mean {
                    let mut back = updated.clone();
                    bias_update::take_back(&cx, &mut back, &channels, &kept, &evidence);
                    let values = |network: &Network| -> Vec<f32> {
                        network.params().iter().flat_map(|param| param.value.clone()).collect()
                    };
                    let far = |(a, b): (f32, f32)| (a - b).abs() > 1e-5;
                    let mut pairs = values(&network).into_iter().zip(values(&back));
                    assert!(back != updated && !pairs.any(far), "as it was");
                }
                let mut pruned = prune(&updated, &channels, &kept);
                // Later consumers also see what changed, beside the mean, in earlier ones.
                let consumer = group.consumers[0];
                let before = mean_output(&mut network, &images, consumer);
                let after = mean_output(&mut pruned, &images, consumer);
                for (i, after) in kept.indices(&channels, consumer).into_iter().zip(after) {
                    let before = before[i];
                    assert!((before - after).abs() < 1e-4, "{update:?}: {before} and {after}");
                }
            }
        }
    }
}

#[test]
fn without_an_update_the_mean_output_moves() {
    let mut network = graphs::network(structures::plain(), 5);
    let channels = Channels::of(network.graph());
    let images = graphs::images(IMAGES, network.graph().input_shape(), 6);
    let evidence = measure(&mut network, &channels, &images);
    let scores = con_ent(&network, &channels, &evidence);
    let kept = Kept::without(&channels, &half(&channels, 1));
    let mut same = network.clone();
    let none = BiasUpdate::None;
    bias_update::apply(&context(), &mut same, &channels, &kept, &evidence, none, &scores);
    assert_eq!(same, network);
    let consumer = channels.groups()[1].consumers[0];
    let before = mean_output(&mut network, &images, consumer);
    let after = mean_output(&mut prune(&same, &channels, &kept), &images, consumer);
    assert!(before.iter().zip(after).any(|(b, a)| (b - a).abs() > 0.05));
}

/// Convolution, ReLU, convolution, pool, linear; no batch norm.
fn bare(bias: bool) -> Result<Graph, GraphError> {
    let (mut builder, image) = GraphBuilder::new(Shape::new(2, 5, 5))?;
    let conv = |channels| Layer::Conv2d(Conv2d { bias, ..Conv2d::same3x3(channels) });
    let x = builder.add("a", conv(2), &[image])?;
    let x = builder.add("a.relu", Layer::Relu(Relu {}), &[x])?;
    let x = builder.add("b", conv(3), &[x])?;
    let x = builder.add("pool", Layer::GlobalAvgPool(GlobalAvgPool {}), &[x])?;
    let x = builder.add("fc", Layer::Linear(Linear { out_features: 5, bias: true }), &[x])?;
    builder.finish(x)
}

#[test]
fn a_multiple_of_the_surviving_channel_is_taken_up_completely() -> Result<(), GraphError> {
    let mut network = graphs::network(bare(true)?, 9);
    let a = network.graph().find("a").expect("it is there");
    for name in ["weight", "bias"] {
        let values = &mut network.param_mut(a, name).expect("it is there").value;
        let half = values.len() / 2;
        let (first, second) = values.split_at_mut(half);
        second.iter_mut().zip(first).for_each(|(j, s)| *j = 2.0 * *s);
    }
    let channels = Channels::of(network.graph());
    let images = graphs::images(IMAGES, network.graph().input_shape(), 1);
    let evidence = measure(&mut network, &channels, &images);
    let scores = con_ent(&network, &channels, &evidence);
    let kept = Kept::without(&channels, &[channels.outputs(a)[1]]);
    let mut tape = Tape::new();
    let key = StepKey::default();
    let expected = tape.forward(&context(), &mut network, &images, Mode::Eval, key).to_nchw();
    for (update, exact) in [(BiasUpdate::Mean, false), (BiasUpdate::MaxEntropy, true)] {
        let cx = context();
        let mut updated = network.clone();
        bias_update::apply(&cx, &mut updated, &channels, &kept, &evidence, update, &scores);
        let mut pruned = prune(&updated, &channels, &kept);
        let mut tape = Tape::new();
        let actual = tape.forward(&cx, &mut pruned, &images, Mode::Eval, key).to_nchw();
        let close = expected.iter().zip(&actual).all(|(e, a)| (e - a).abs() < 1e-4);
        assert_eq!(close, exact, "{update:?}: {expected:?} and {actual:?}");
    }
    Ok(())
}

#[test]
fn a_consumer_without_bias_and_batch_norm_is_reported() -> Result<(), GraphError> {
    let mut network = graphs::network(bare(false)?, 9);
    let channels = Channels::of(network.graph());
    let images = graphs::images(IMAGES, network.graph().input_shape(), 1);
    let evidence = measure(&mut network, &channels, &images);
    let scores = con_ent(&network, &channels, &evidence);
    let [a, b] = ["a", "b"].map(|name| network.graph().find(name).expect("it is there"));
    let kept = Kept::without(&channels, &[channels.outputs(a)[0], channels.outputs(b)[0]]);
    let cx = context();
    let mean = BiasUpdate::Mean;
    let skipped = bias_update::apply(&cx, &mut network, &channels, &kept, &evidence, mean, &scores);
    assert_eq!(skipped, [b]);
    Ok(())
}

#[test]
fn frozen_filters_stay_as_they_are_in_training_and_through_surgery() {
    let mut network = graphs::network(structures::plain(), 5);
    network.params_mut().iter_mut().for_each(|param| param.slots.clear());
    let channels = Channels::of(network.graph());
    let images = graphs::images(IMAGES, network.graph().input_shape(), 6);
    let evidence = measure(&mut network, &channels, &images);
    let [a, b] = ["a", "b"].map(|name| network.graph().find(name).expect("it is there"));
    let kept = Kept::without(&channels, &half(&channels, 1));
    let (con_ent, losses) = (ConEnt::default(), &evidence.losses);
    let by_entropy = (0.2, Rank::Entropy);
    let frozen =
        freeze::apply(&mut network, &channels, &kept, &evidence, by_entropy, &con_ent, losses);
    // A fifth of the 11 kept filters of `a`, and of the 17 of `b`.
    assert_eq!(frozen, 2 + 3);

    let entropies = con_ent.entropy_of_layer(evidence.layer(a));
    let mask = network.param(a, "weight").expect("it has weights").frozen.clone();
    let lowest = (0..20).filter(|&i| mask[i]).map(|i| entropies[i]).fold(f64::MAX, f64::min);
    let free = kept.indices(&channels, a).into_iter().filter(|&i| !mask[i]);
    assert!(free.map(|i| entropies[i]).all(|entropy| entropy <= lowest));

    let mut pruned = prune(&network, &channels, &kept);
    let before = pruned.clone();
    let mut tape = Tape::new();
    let cx = context();
    let logits = tape.forward(&cx, &mut pruned, &images, Mode::Train, StepKey::default());
    let mut diff = Tensor::zeros(0, logits.shape());
    pleach_core::loss::cross_entropy(&cx, logits, &labels(IMAGES), 0.0, Some(&mut diff));
    tape.backward(&cx, &mut pruned, &diff, false);
    let sgd = Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.1 };
    sgd.step(&cx, &mut pruned, 0.1, 0);
    for layer in [a, b] {
        let norm = batch_norm_after(pruned.graph(), layer).expect("it has batch norm");
        for (id, name) in [(layer, "weight"), (norm, "weight"), (norm, "bias")] {
            let param = |network: &Network| network.param(id, name).expect("it is there").clone();
            let (before, after) = (param(&before), param(&pruned));
            assert_eq!(before.frozen.iter().filter(|&&f| f).count(), 2 + usize::from(layer == b));
            let row = before.value.len() / before.frozen.len();
            for (i, frozen) in before.frozen.iter().enumerate() {
                let values = i * row..(i + 1) * row;
                let same = before.value[values.clone()] == after.value[values];
                assert_eq!(same, *frozen, "row {i} of {name}");
            }
        }
        let mean = |network: &Network| network.param(norm, "running_mean").cloned();
        assert_ne!(mean(&before), mean(&pruned), "running statistics go on");
    }
    freeze::clear(&mut pruned);
    assert!(pruned.params().iter().all(|param| param.frozen.is_empty()));
}
