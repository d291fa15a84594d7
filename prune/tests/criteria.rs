//! What is measured, and how filters score by it.

mod graphs;
mod structures;

use pleach_core::autograd::Tape;
use pleach_core::graph::{Graph, GraphBuilder, GraphError, NodeId};
use pleach_core::layers::{Conv2d, GlobalAvgPool, Layer, Linear, Mode, Relu, StepKey};
use pleach_core::loss::cross_entropy;
use pleach_core::{Network, Shape, Tensor};
use pleach_kernels::{Context, Isa};
use pleach_prune::channels::{Channels, answer_of};
use pleach_prune::criteria::{
    self, CRITERIA, ConEnt, Condition, CriterionError, Join, Normalise, ScoreCx, Scores,
    join_classes,
};
use pleach_prune::entropy::{Binning, Correction};
use pleach_prune::evidence::{self, Evidence, LayerEvidence, Wants};
use std::collections::BTreeMap;
use structures::{STRUCTURES, plain, residual};

const EVERYTHING: Wants = Wants { means: true, input_responses: true, gradients: true };

fn context() -> Context {
    Context::new(Isa::from_env().unwrap(), 1)
}

fn labels(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| i % 5).collect()
}

fn measure(network: &mut Network, images: &Tensor) -> Evidence {
    let channels = Channels::of(network.graph());
    let batch = (images.clone(), labels(images.n()));
    evidence::collect(&context(), network, &channels, [batch], EVERYTHING)
}

fn score(name: &str, network: &Network, evidence: &Evidence, layer: NodeId) -> Vec<f32> {
    let con_ent = ConEnt::default();
    criteria::named(name).expect("a criterion").score(&cx(network, evidence, &con_ent), layer)
}

fn cx<'a>(network: &'a Network, evidence: &'a Evidence, con_ent: &'a ConEnt) -> ScoreCx<'a> {
    ScoreCx { network, evidence, base_losses: &evidence.losses, con_ent, seed: 1, step: 2 }
}

fn find(network: &Network, name: &str) -> NodeId {
    network.graph().find(name).expect("it is there")
}

#[test]
fn responses_are_the_means_of_the_maps_after_batch_norm_and_relu() {
    let mut network = graphs::network(residual(), 4);
    let images = graphs::images(7, network.graph().input_shape(), 1);
    let evidence = measure(&mut network, &images);
    // The sum comes after the answer of `b`, which has no ReLU of its own.
    for (layer, answer) in [("stem", "stem.relu"), ("a", "a.relu"), ("b", "b.bn")] {
        let (layer, answer) = (find(&network, layer), find(&network, answer));
        assert_eq!(answer_of(network.graph(), layer), answer);
        let mut tape = Tape::new();
        tape.forward(&context(), &mut network, &images, Mode::Eval, StepKey::default());
        let maps = tape.activation(answer).expect("kept in use");
        let measured = evidence.layer(layer);
        let values = maps.to_nchw();
        for channel in 0..maps.shape().channels {
            let mut zeros = 0;
            for image in 0..7 {
                let start = (image * maps.shape().channels + channel) * 36;
                let map = &values[start..start + 36];
                let mean = map.iter().sum::<f32>() / 36.0;
                assert!((measured.responses(channel)[image] - mean).abs() < 1e-5);
                zeros += map.iter().filter(|&&value| value <= 0.0).count();
            }
            assert!((measured.zero_share[channel] - zeros as f64 / 252.0).abs() < 1e-12);
        }
    }
}

#[test]
fn mean_maps_are_measured_where_consumers_take_them() {
    let mut network = graphs::network(plain(), 4);
    let images = graphs::images(5, network.graph().input_shape(), 1);
    let evidence = measure(&mut network, &images);
    let inputs: Vec<NodeId> = evidence.inputs.keys().copied().collect();
    let (down, pool) = (find(&network, "down"), find(&network, "pool"));
    assert_eq!(inputs, [down, pool], "after pooling; the image cannot be pruned");
    let mut tape = Tape::new();
    tape.forward(&context(), &mut network, &images, Mode::Eval, StepKey::default());
    let values = tape.activation(down).expect("kept in use").to_nchw();
    let len = 20 * 16;
    for (i, mean) in evidence.inputs[&down].mean.iter().enumerate() {
        let sum: f32 = (0..5).map(|n| values[n * len + i]).sum();
        assert!((mean - f64::from(sum / 5.0)).abs() < 1e-5);
    }
    for channel in 0..20 {
        let map = &evidence.inputs[&down].mean[channel * 16..(channel + 1) * 16];
        let responses = evidence.inputs[&down].responses(channel, 5);
        let mean = responses.iter().copied().map(f64::from).sum::<f64>() / 5.0;
        assert!((map.iter().sum::<f64>() / 16.0 - mean).abs() < 1e-5);
    }
}

#[test]
fn evidence_is_the_same_for_any_threads_and_batches_and_leaves_the_network_alone() {
    let mut network = graphs::network(residual(), 4);
    let before = network.clone();
    let images = graphs::images(7, network.graph().input_shape(), 1);
    let channels = Channels::of(network.graph());
    let wants = Wants { gradients: false, ..EVERYTHING };
    let whole = (images.clone(), labels(7));
    let expected = evidence::collect(&context(), &mut network, &channels, [whole], wants);
    assert_eq!(network, before);

    let shape = images.shape();
    let values = images.to_nchw();
    let part = |from: usize, to: usize| {
        let part = &values[from * shape.len()..to * shape.len()];
        (Tensor::from_nchw(to - from, shape, part), labels(7)[from..to].to_vec())
    };
    let batches = [part(0, 3), part(3, 4), part(4, 7)];
    let three = Context::new(Isa::from_env().unwrap(), 3);
    let parts = evidence::collect(&three, &mut network, &channels, batches.clone(), wants);
    let one = evidence::collect(&context(), &mut network, &channels, batches, wants);
    assert_eq!(parts, one, "the number of threads counts");
    assert_eq!(parts.labels, expected.labels);
    assert_eq!(parts.correct, expected.correct);
    for (a, b) in parts.losses.iter().zip(&expected.losses) {
        assert!((a - b).abs() < 1e-5);
    }
    for (id, layer) in &parts.layers {
        let pairs = layer.responses.iter().zip(&expected.layers[id].responses);
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn taylor_importance_is_that_of_numerical_gradients() -> Result<(), GraphError> {
    let (mut builder, image) = GraphBuilder::new(Shape::new(2, 3, 3))?;
    let conv = Conv2d { bias: true, ..Conv2d::pointwise(3) };
    let x = builder.add("a", Layer::Conv2d(conv), &[image])?;
    let x = builder.add("relu", Layer::Relu(Relu {}), &[x])?;
    let x = builder.add("pool", Layer::GlobalAvgPool(GlobalAvgPool {}), &[x])?;
    let x = builder.add("fc", Layer::Linear(Linear { out_features: 5, bias: true }), &[x])?;
    let mut network = graphs::network(builder.finish(x)?, 3);
    let images = graphs::images(6, network.graph().input_shape(), 2);
    let evidence = measure(&mut network, &images);
    let layer = find(&network, "a");
    let mut expected = [0.0; 3];
    for name in ["weight", "bias"] {
        let count = network.param(layer, name).expect("it is there").value.len();
        for i in 0..count {
            let loss = |shift: f32| {
                let mut moved = network.clone();
                moved.param_mut(layer, name).expect("it is there").value[i] += shift;
                let mut tape = Tape::new();
                let key = StepKey::default();
                let logits = tape.forward(&context(), &mut moved, &images, Mode::Eval, key);
                cross_entropy(&context(), logits, &labels(6), 0.0, None).mean
            };
            let gradient = (loss(1e-2) - loss(-1e-2)) / 2e-2;
            let value = f64::from(network.param(layer, name).expect("it is there").value[i]);
            expected[i / (count / 3)] += (gradient * value).powi(2);
        }
    }
    for (score, expected) in score("taylor", &network, &evidence, layer).iter().zip(expected) {
        let error = (f64::from(*score) - expected).abs();
        assert!(error < 0.05 * expected + 1e-7, "{score} is not {expected}");
    }
    Ok(())
}

/// Three filters of two weights and no bias.
fn three_filters() -> Result<Network, GraphError> {
    let (mut builder, image) = GraphBuilder::new(Shape::new(2, 1, 1))?;
    let x = builder.add("a", Layer::Linear(Linear { out_features: 3, bias: false }), &[image])?;
    let x = builder.add("fc", Layer::Linear(Linear { out_features: 2, bias: false }), &[x])?;
    let mut network = Network::init(builder.finish(x)?, 1);
    let a = find(&network, "a");
    network.param_mut(a, "weight").expect("it has weights").value =
        vec![0.0, 0.0, 3.0, 4.0, -6.0, 8.0];
    Ok(network)
}

#[test]
fn weight_criteria_give_what_one_finds_by_hand() -> Result<(), GraphError> {
    let network = three_filters()?;
    let (evidence, a) = (Evidence::default(), find(&network, "a"));
    assert_eq!(score("l1", &network, &evidence, a), [0.0, 7.0, 14.0]);
    // Distances: 5 between the first two, 10 between first and last, sqrt(81 + 16) otherwise.
    let far = 97f32.sqrt();
    assert_eq!(score("geometric_median", &network, &evidence, a), [15.0, 5.0 + far, 10.0 + far]);
    let random = score("random", &network, &evidence, a);
    assert_eq!(random, score("random", &network, &evidence, a));
    let con_ent = ConEnt::default();
    let later = ScoreCx { step: 3, ..cx(&network, &evidence, &con_ent) };
    assert_ne!(random, criteria::named("random").expect("it is there").score(&later, a));
    Ok(())
}

/// Evidence of one layer with these responses, `[channels, images]`.
fn responses(layer: NodeId, channels: usize, responses: &[f32]) -> Evidence {
    let images = responses.len() / channels;
    let zero_share = (0..channels).map(|i| i as f64 / channels as f64).collect();
    let responses = responses.to_vec();
    let measured = LayerEvidence { channels, responses, zero_share, taylor: None };
    Evidence {
        labels: (0..images as u32).map(|i| i / 2).collect(),
        losses: (0..images as u32).map(f64::from).collect(),
        layers: BTreeMap::from([(layer, measured)]),
        ..Evidence::default()
    }
}

#[test]
fn activation_criteria_give_what_one_finds_by_hand() -> Result<(), GraphError> {
    let network = three_filters()?;
    let a = find(&network, "a");
    #[rustfmt::skip]
    let evidence = responses(a, 3, &[
        5.0, 5.0, 5.0, 5.0, // constant: no entropy
        0.0, 0.0, 1.0, 1.0, // the label
        0.0, 1.0, 0.0, 1.0, // independent of the label
    ]);
    let ln2 = std::f32::consts::LN_2;
    assert_eq!(score("mean_activation", &network, &evidence, a), [5.0, 0.5, 0.5]);
    assert_eq!(score("entropy", &network, &evidence, a), [0.0, ln2, ln2]);
    let apoz = score("apoz", &network, &evidence, a);
    assert!(apoz[0] > apoz[1] && apoz[1] > apoz[2], "most zeros go first");
    assert_eq!(apoz[0], 1.0);

    let con_ent = |condition, loss_bins, binning| {
        let con_ent =
            ConEnt { condition, loss_bins, bins: 4, binning, correction: Correction::None };
        let scores = criteria::named("con_ent").expect("the default");
        scores.score(&cx(&network, &evidence, &con_ent), a)
    };
    for binning in [Binning::PerFilter, Binning::EqualFrequency] {
        assert_eq!(con_ent(Condition::Label, 10, binning), [0.0, 0.0, ln2]);
        // Two loss bins are the labels here; four tell all images apart.
        assert_eq!(con_ent(Condition::Loss, 2, binning), [0.0, 0.0, ln2]);
        assert_eq!(con_ent(Condition::Loss, 4, binning), [0.0; 3]);
        assert_eq!(con_ent(Condition::LossAndLabel, 1, binning), [0.0, 0.0, ln2]);
        assert_eq!(con_ent(Condition::LossAndLabel, 4, binning), [0.0; 3]);
    }
    // Over the whole layer's range, 0 and 1 share the first of four bins.
    assert_eq!(con_ent(Condition::Label, 10, Binning::PerLayer), [0.0; 3]);
    Ok(())
}

#[test]
fn combined_criteria_are_geometric_means_of_scores_over_their_layers_means() {
    let mut network = graphs::network(plain(), 3);
    let images = graphs::images(20, network.graph().input_shape(), 1);
    let evidence = measure(&mut network, &images);
    for &layer in evidence.layers.keys() {
        let of = |name: &str| score(name, &network, &evidence, layer);
        for other in ["taylor", "l1"] {
            let combined = of(&format!("con_ent+{other}"));
            let parts = [of("con_ent"), of(other)];
            let [a, b] = parts.each_ref().map(|x| x.iter().sum::<f32>() / x.len() as f32);
            for (i, found) in combined.iter().enumerate() {
                let expected = (parts[0][i] / a * parts[1][i] / b).sqrt();
                assert!((found - expected).abs() < 1e-5 * expected.max(1.0), "{found} {expected}");
            }
        }
    }
}

#[test]
fn batch_norm_scale_lists_every_layer_that_has_none() -> Result<(), GraphError> {
    let network = three_filters()?;
    let criterion = criteria::named("bn_scale").expect("a criterion");
    let layers = [find(&network, "a"), find(&network, "fc")];
    let error = criterion.check(network.graph(), &layers).expect_err("there is no batch norm");
    assert_eq!(error, CriterionError::NoBatchNorm(vec!["a".into(), "fc".into()]));
    assert!(error.to_string().ends_with(": a, fc"));

    let network = graphs::network(plain(), 2);
    let gamma = &network.param(find(&network, "a.bn"), "weight").expect("it is there").value;
    let expected: Vec<f32> = gamma.iter().map(|gamma| gamma.abs()).collect();
    let a = find(&network, "a");
    assert_eq!(criterion.check(network.graph(), &[a]), Ok(()));
    assert_eq!(score("bn_scale", &network, &Evidence::default(), a), expected);
    Ok(())
}

#[test]
fn every_criterion_scores_every_filter_of_every_structure() {
    let names: Vec<&str> = CRITERIA.iter().map(|criterion| criterion.name()).collect();
    assert_eq!(
        names,
        [
            "con_ent",
            "l1",
            "apoz",
            "entropy",
            "mean_activation",
            "taylor",
            "bn_scale",
            "geometric_median",
            "con_ent+taylor",
            "con_ent+l1",
            "random"
        ]
    );
    for structure in STRUCTURES {
        let mut network = graphs::network(structure(), 8);
        let images = graphs::images(20, network.graph().input_shape(), 2);
        let evidence = measure(&mut network, &images);
        let channels = Channels::of(network.graph());
        let con_ent = ConEnt::default();
        for criterion in CRITERIA {
            let cx = cx(&network, &evidence, &con_ent);
            for &layer in evidence.layers.keys() {
                if criterion.check(network.graph(), &[layer]).is_ok() {
                    let scores = criterion.score(&cx, layer);
                    assert_eq!(scores.len(), network.graph().node(layer).shape.channels);
                    assert!(scores.iter().all(|score| score.is_finite()), "{}", criterion.name());
                }
            }
            let scores = Scores::new(*criterion, &cx, &channels, Normalise::Raw, Join::Mean);
            let Ok(scores) = scores else { continue };
            for group in channels.groups() {
                for &class in &group.channels {
                    assert_eq!(scores.of(class).is_finite(), group.prunable.is_ok());
                }
            }
        }
    }
}

#[test]
fn an_unknown_criterion_is_told_the_known_ones() {
    let error = criteria::named("l2").err().expect("there is no such criterion");
    assert!(error.to_string().contains("con_ent, l1, apoz"), "{error}");
}

#[test]
fn coupled_scores_are_normalised_by_layer_and_then_joined() {
    let graph: Graph = residual();
    let channels = Channels::of(&graph);
    let [stem, a, b] = ["stem", "a", "b"].map(|name| graph.find(name).expect("it is there"));
    let ramp = |n: usize, scale: f64| (0..n).map(|i| scale * i as f64).collect::<Vec<_>>();
    // Layer means: 4.5, 3 and 450.
    let layers = BTreeMap::from([(stem, ramp(10, 1.0)), (a, ramp(7, 1.0)), (b, ramp(10, 100.0))]);
    let class = channels.outputs(stem)[3].0;
    let score = |normalise, join| join_classes(&channels, &layers, normalise, join)[class];
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    close(score(Normalise::LayerMean, Join::Mean), 3.0 / 4.5);
    close(score(Normalise::LayerMean, Join::Sum), 6.0 / 4.5);
    close(score(Normalise::Raw, Join::Mean), 303.0 / 2.0);
    close(score(Normalise::Raw, Join::Max), 300.0);
    close(score(Normalise::Raw, Join::Sum), 303.0);
    let output = channels.outputs(graph.output())[0].0;
    let all = join_classes(&channels, &layers, Normalise::Raw, Join::Mean);
    assert_eq!(all[output], f64::INFINITY);
}

#[test]
fn the_entropies_are_in_nats() {
    let in_nats = CRITERIA.iter().filter(|criterion| criterion.in_nats());
    let names: Vec<&str> = in_nats.map(|criterion| criterion.name()).collect();
    assert_eq!(names, ["con_ent", "entropy"]);
}
