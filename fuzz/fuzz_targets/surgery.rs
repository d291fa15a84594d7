//! On random graphs, the pruned network computes what the masked network computes.
#![no_main]

#[path = "../../prune/tests/graphs/mod.rs"]
mod graphs;

use libfuzzer_sys::fuzz_target;
use pleach_kernels::{Context, Isa};
use pleach_prune::channels::Channels;
use pleach_prune::surgery::{TOLERANCE, prune, verify};

fuzz_target!(|data: (u8, u8, &[u8])| {
    let (share, seed, bytes) = data;
    let graph = graphs::graph(bytes);
    let channels = Channels::of(&graph);
    let share = f64::from(share) / 255.0;
    let kept = graphs::kept(&graph, &channels, share, u64::from(seed));
    let network = graphs::network(graph, u64::from(seed));
    let pruned = prune(&network, &channels, &kept);
    let images = graphs::images(2, network.graph().input_shape(), u64::from(seed));
    let cx = Context::new(Isa::best(), 1);
    let difference = verify(&cx, &network, &channels, &kept, &pruned, &images);
    assert!(difference <= TOLERANCE, "the logits differ by {difference}");
});
