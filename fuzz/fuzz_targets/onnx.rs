//! No bytes make the reader of ONNX models panic, and a network that comes out of one goes back into one
//! unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pleach_core::checkpoint::{Meta, Normalisation};
use pleach_core::onnx::{self, ExportOptions};
use pleach_core::{Network, Plan, Shape, Tensor, models};
use pleach_kernels::{Context, Isa};
use std::path::Path;
use std::sync::LazyLock;

/// Sound files of small networks, to be damaged.
static SOUND: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let meta = Meta {
        model: "fuzzed".into(),
        dataset: Some("shapes".into()),
        normalisation: Some(Normalisation { mean: vec![0.5; 3], std: vec![0.25; 3] }),
        extra: [("epoch".to_owned(), "3".to_owned())].into(),
    };
    let specs = ["concat-small:2,3,2,4,3", "vgg-small:2,2,3,2,2,2", "resnet20:1,2,2"];
    let files = specs.into_iter().flat_map(|spec| {
        let graph = models::build(spec, Shape::new(3, 16, 16), 4).expect("a model");
        let network = Network::init(graph, 1);
        [true, false].map(|keep_bn| {
            let options = ExportOptions { keep_bn };
            onnx::to_bytes(&network, &meta, &options).expect("a sound network")
        })
    });
    files.collect()
});

fuzz_target!(|data: &[u8]| {
    match data {
        [which, b'P', patches @ ..] => {
            let mut bytes = SOUND[usize::from(*which) % SOUND.len()].clone();
            for patch in patches.chunks_exact(3) {
                let position = usize::from(u16::from_le_bytes([patch[0], patch[1]]));
                let len = bytes.len();
                bytes[position % len] = patch[2];
            }
            check(&bytes);
        }
        bytes => check(bytes),
    }
});

fn check(bytes: &[u8]) {
    let path = Path::new("fuzzed");
    let Ok(found) = onnx::read(path, bytes) else { return };
    let write = |network, keep_bn| onnx::to_bytes(network, &found.meta, &ExportOptions { keep_bn });
    let kept = write(&found.network, true).expect("what could be read can be written");
    let again = onnx::read(path, &kept).expect("what was written can be read");
    assert_eq!(again.meta, found.meta);
    assert_eq!(again.network.graph(), found.network.graph());
    assert!(again.network == found.network, "other values");
    assert!(write(&again.network, true).expect("and written again") == kept, "other bytes");

    // Folding may leave the range of f32.
    let Ok(folded) = write(&found.network, false) else { return };
    let folded = onnx::read(path, &folded).expect("what was written can be read").network;
    let graph = found.network.graph();
    let floats: usize = graph.nodes().iter().map(|node| node.shape.padded_len()).sum();
    if graph.macs() < 1 << 22 && floats < 1 << 20 {
        let cx = Context::new(Isa::best(), 1);
        let images = vec![0.5; 2 * graph.input_shape().len()];
        let images = Tensor::from_nchw(2, graph.input_shape(), &images);
        let logits = |network| {
            let logits = Plan::new(&cx, network, 2).run(&cx, &images).to_nchw();
            logits.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(logits(&folded), logits(&found.network));
    }
}
