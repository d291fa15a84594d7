//! Pruned networks compute what masked networks compute, whatever their structure.

mod graphs;
mod structures;

use pleach_core::graph::{Graph, GraphBuilder, GraphError, NodeId};
use pleach_core::layers::{Layer, Linear};
use pleach_core::{Network, Param, Shape};
use pleach_kernels::{Context, Isa};
use pleach_prune::channels::{ChannelGroup, Channels, Unprunable};
use pleach_prune::surgery::{Kept, SurgeryError, TOLERANCE, mask, paste, prune, verify};
use proptest::prelude::*;
use structures::{
    STRUCTURES, add_of_concat, add_of_image, depthwise, flatten, plain, projection, residual,
};

fn summary(graph: &Graph) -> Vec<(usize, String, Result<(), Unprunable>)> {
    let row = |group: &ChannelGroup| {
        let names = |ids: &[NodeId]| {
            ids.iter().map(|&id| graph.node(id).name.as_str()).collect::<Vec<_>>().join("+")
        };
        let (from, to) = (names(&group.producers), names(&group.consumers));
        (group.channels.len(), format!("{from} -> {to}"), group.prunable)
    };
    Channels::of(graph).groups().iter().map(row).collect()
}

fn assert_groups(graph: &Graph, expected: &[(usize, &str, Result<(), Unprunable>)]) {
    let expected: Vec<_> = expected.iter().map(|(n, s, p)| (*n, (*s).to_owned(), *p)).collect();
    assert_eq!(summary(graph), expected);
}

const IMAGE: Result<(), Unprunable> = Err(Unprunable::Image);
const OUTPUT: Result<(), Unprunable> = Err(Unprunable::Output);

#[test]
fn a_chain_has_one_group_a_layer() {
    assert_groups(
        &plain(),
        &[
            (3, "input -> a", IMAGE),
            (20, "a -> b", Ok(())),
            (17, "b -> fc", Ok(())),
            (5, "fc -> ", OUTPUT),
        ],
    );
}

#[test]
fn residual_sums_couple_the_layers_they_add() {
    assert_groups(
        &residual(),
        &[
            (3, "input -> stem", IMAGE),
            (10, "stem+b -> a+fc", Ok(())),
            (7, "a -> b", Ok(())),
            (5, "fc -> ", OUTPUT),
        ],
    );
    let projection = summary(&projection());
    assert!(projection.contains(&(18, "b+shortcut -> fc".into(), Ok(()))), "{projection:?}");
}

#[test]
fn flattened_and_depthwise_channels_are_those_of_the_layer_before() {
    let graph = flatten();
    let channels = Channels::of(&graph);
    let flat = channels.outputs(graph.find("flatten").expect("it is there"));
    let conv = channels.outputs(graph.find("a").expect("it is there"));
    assert_eq!(flat.len(), 11 * 12);
    assert!(flat.iter().zip(conv.iter().flat_map(|class| [class; 12])).all(|(a, b)| a == b));
    let depthwise = summary(&depthwise());
    assert!(depthwise.contains(&(20, "expand -> project".into(), Ok(()))), "{depthwise:?}");
}

#[test]
fn a_sum_of_a_concatenation_couples_channel_by_channel() {
    assert_groups(
        &add_of_concat(),
        &[
            (3, "input -> a+b+c", IMAGE),
            (5, "a+c -> fc", Ok(())),
            (7, "b+c -> fc", Ok(())),
            (5, "fc -> ", OUTPUT),
        ],
    );
}

#[test]
fn channels_of_the_image_cannot_be_removed_and_say_so() {
    let graph = add_of_image();
    let rows = summary(&graph);
    assert_eq!(rows[0], (3, "input+a -> a+b".into(), IMAGE));
    let channels = Channels::of(&graph);
    let kept = Kept::without(&channels, &[channels.outputs(graph.find("a").expect("there"))[1]]);
    let error = kept.check(&graph, &channels).expect_err("the image's channel 1 is removed");
    assert!(matches!(error, SurgeryError::Unprunable { channel: 1, .. }));
    assert_eq!(
        error.to_string(),
        "channel 1 of layer input cannot be removed: it is joined with the channels of the image"
    );
}

#[test]
fn no_layer_is_left_without_channels() {
    let graph = plain();
    let channels = Channels::of(&graph);
    let all = channels.outputs(graph.find("a").expect("it is there")).to_vec();
    let error = Kept::without(&channels, &all).check(&graph, &channels);
    assert_eq!(error, Err(SurgeryError::Empty { layer: "a".into(), channels: 20 }));
}

fn assert_pruned_equals_masked(graph: Graph, share: f64, seed: u64) -> Network {
    let channels = Channels::of(&graph);
    let kept = graphs::kept(&graph, &channels, share, seed);
    let network = graphs::network(graph, seed);
    let pruned = prune(&network, &channels, &kept);
    for id in network.graph().ids() {
        let width = kept.indices(&channels, id).len();
        assert_eq!(pruned.graph().node(id).shape.channels, width);
    }
    let images = graphs::images(3, network.graph().input_shape(), seed);
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let difference = verify(&cx, &network, &channels, &kept, &pruned, &images);
    assert!(difference <= TOLERANCE, "the logits differ by {difference}");
    pruned
}

#[test]
fn every_structure_is_pruned_as_it_is_masked() {
    for structure in STRUCTURES {
        for seed in 0..8 {
            let graph = structure();
            let bytes = graph.bytes();
            let pruned = assert_pruned_equals_masked(graph, 0.5, seed);
            assert!(pruned.graph().bytes() < bytes, "nothing became smaller");
        }
    }
}

#[test]
fn the_comparison_sees_one_wrong_channel() {
    let graph = residual();
    let channels = Channels::of(&graph);
    let network = graphs::network(graph, 3);
    let some = channels.groups()[1].channels[2];
    let other = channels.groups()[1].channels[3];
    let pruned = prune(&network, &channels, &Kept::without(&channels, &[some]));
    let images = graphs::images(2, network.graph().input_shape(), 3);
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let wrong = Kept::without(&channels, &[other]);
    assert!(verify(&cx, &network, &channels, &wrong, &pruned, &images) > 100.0 * TOLERANCE);
}

#[test]
fn keeping_everything_is_the_identity_bit_for_bit() {
    for structure in STRUCTURES {
        let network = graphs::network(structure(), 7);
        let channels = Channels::of(network.graph());
        assert_eq!(prune(&network, &channels, &Kept::all(&channels)), network);
        let mut masked = network.clone();
        mask(&mut masked, &channels, &Kept::all(&channels));
        assert_eq!(masked, network);
    }
}

#[test]
fn what_is_pasted_takes_the_places_that_surgery_took_it_from() {
    for structure in STRUCTURES {
        let network = graphs::network(structure(), 7);
        let channels = Channels::of(network.graph());
        let kept = graphs::kept(network.graph(), &channels, 0.5, 7);
        let mut pruned = prune(&network, &channels, &kept);
        pruned.params_mut().iter_mut().for_each(|param| param.value.fill(77.0));
        let mut pasted = network.clone();
        paste(&mut pasted, &pruned, &channels, &kept);
        assert_eq!(prune(&pasted, &channels, &kept).params(), pruned.params());
        let values =
            |network: &Network| network.params().iter().map(|p| p.value.len()).sum::<usize>();
        let changed =
            |(a, b): (&Param, &Param)| a.value.iter().zip(&b.value).filter(|(a, b)| a != b).count();
        let changed: usize = pasted.params().iter().zip(network.params()).map(changed).sum();
        assert_eq!(changed, values(&pruned), "nothing else changes");
    }
}

#[test]
fn slots_and_freeze_masks_go_with_their_channels() -> Result<(), GraphError> {
    let (mut builder, image) = GraphBuilder::new(Shape::new(2, 1, 1))?;
    let x = builder.add("a", Layer::Linear(Linear { out_features: 3, bias: true }), &[image])?;
    let x = builder.add("b", Layer::Linear(Linear { out_features: 2, bias: false }), &[x])?;
    let mut network = Network::init(builder.finish(x)?, 1);
    for param in network.params_mut() {
        let count = param.value.len();
        param.value = (0..count).map(|i| i as f32).collect();
        param.slots = vec![(0..count).map(|i| 100.0 + i as f32).collect(), vec![0.5; count]];
        param.grad = vec![1.0; count];
    }
    let a = network.graph().find("a").expect("it is there");
    network.param_mut(a, "weight").expect("it has weights").frozen = vec![true, false, true];
    let channels = Channels::of(network.graph());
    let middle = channels.outputs(a)[1];
    let pruned = prune(&network, &channels, &Kept::without(&channels, &[middle]));

    let [weight, bias, next] = pruned.params() else { panic!("three parameters") };
    assert_eq!(weight.value, [0.0, 1.0, 4.0, 5.0]);
    assert_eq!(weight.slots, [vec![100.0, 101.0, 104.0, 105.0], vec![0.5; 4]]);
    assert_eq!(weight.frozen, [true, true]);
    assert_eq!(bias.value, [0.0, 2.0]);
    assert!(bias.frozen.is_empty());
    assert_eq!(next.value, [0.0, 2.0, 3.0, 5.0]);
    assert_eq!(next.slots[0], [100.0, 102.0, 103.0, 105.0]);
    assert!(pruned.params().iter().all(|param| param.grad.is_empty()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_graphs_are_pruned_as_they_are_masked(
        bytes in prop::collection::vec(any::<u8>(), 20..90),
        share in 0.0..1.0f64,
        seed in any::<u64>(),
    ) {
        assert_pruned_equals_masked(graphs::graph(&bytes), share, seed);
    }

    #[test]
    fn groups_hold_every_class_once(bytes in prop::collection::vec(any::<u8>(), 20..90)) {
        let graph = graphs::graph(&bytes);
        let channels = Channels::of(&graph);
        let mut seen = vec![0; channels.len()];
        for group in channels.groups() {
            for class in &group.channels {
                seen[class.0] += 1;
                let mut producers: Vec<NodeId> =
                    channels.members(*class).iter().map(|&(id, _)| id).collect();
                producers.dedup();
                prop_assert_eq!(&producers, &group.producers);
            }
        }
        prop_assert!(seen.iter().all(|&n| n == 1));
    }
}

#[test]
fn slow_weights_go_with_their_channels() -> Result<(), GraphError> {
    let (mut builder, image) = GraphBuilder::new(Shape::new(2, 1, 1))?;
    let x = builder.add("a", Layer::Linear(Linear { out_features: 3, bias: true }), &[image])?;
    let x = builder.add("b", Layer::Linear(Linear { out_features: 2, bias: false }), &[x])?;
    let mut network = Network::init(builder.finish(x)?, 1);
    for param in network.params_mut() {
        param.slow = (0..param.value.len()).map(|i| i as f32).collect();
    }
    let channels = Channels::of(network.graph());
    let a = network.graph().find("a").expect("it is there");
    let middle = channels.outputs(a)[1];
    let pruned = prune(&network, &channels, &Kept::without(&channels, &[middle]));
    let slow: Vec<&[f32]> = pruned.params().iter().map(|param| &param.slow[..]).collect();
    assert_eq!(slow, [&[0.0, 1.0, 4.0, 5.0][..], &[0.0, 2.0], &[0.0, 2.0, 3.0, 5.0]]);
    Ok(())
}
