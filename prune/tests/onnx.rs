//! Networks from ONNX models are pruned like any other, and pruned ones go out and come back.

mod graphs;
mod structures;

use pleach_core::checkpoint::Meta;
use pleach_core::onnx::{self, ExportOptions};
use pleach_core::{Graph, Network};
use pleach_kernels::{Context, Isa};
use pleach_prune::channels::Channels;
use pleach_prune::surgery::{TOLERANCE, prune, verify};
use proptest::prelude::*;
use std::path::Path;
use structures::STRUCTURES;

fn back(network: &Network) -> Network {
    let options = ExportOptions { keep_bn: true };
    let bytes = onnx::to_bytes(network, &Meta::default(), &options).unwrap();
    onnx::read(Path::new("net.onnx"), &bytes).unwrap().network
}

/// Checks that a network of `graph` comes back bit for bit, can be pruned, and comes back pruned.
fn check(graph: Graph, seed: u64) {
    let network = graphs::network(graph, seed);
    let found = back(&network);
    assert_eq!(found.graph(), network.graph());
    let values = |network: &Network| -> Vec<Vec<f32>> {
        network.params().iter().map(|param| param.value.clone()).collect()
    };
    assert!(values(&found) == values(&network), "other values:\n{}", network.graph());

    let channels = Channels::of(found.graph());
    let kept = graphs::kept(found.graph(), &channels, 0.4, seed);
    let pruned = prune(&found, &channels, &kept);
    let images = graphs::images(2, found.graph().input_shape(), seed);
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let difference = verify(&cx, &found, &channels, &kept, &pruned, &images);
    assert!(difference <= TOLERANCE, "the logits differ by {difference}:\n{}", found.graph());
    assert!(back(&pruned) == pruned, "other values:\n{}", pruned.graph());
}

#[test]
fn every_structure_comes_back_bit_for_bit_and_can_be_pruned() {
    for (seed, structure) in STRUCTURES.iter().enumerate() {
        check(structure(), seed as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_graph_comes_back_bit_for_bit_and_can_be_pruned(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        seed in any::<u64>(),
    ) {
        check(graphs::graph(&bytes), seed);
    }
}
