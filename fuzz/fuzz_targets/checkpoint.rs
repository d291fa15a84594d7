//! No bytes make the readers of checkpoints and state dicts panic, and a network that comes out of a
//! file runs and goes back into one unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pleach_core::checkpoint::{self, Dtype, Meta, Normalisation};
use pleach_core::{Mode, Network, Plan, Shape, StepKey, Tape, Tensor, models};
use pleach_kernels::{Context, Isa};
use std::path::Path;
use std::sync::LazyLock;

/// A sound file of a small network, to be damaged.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let graph = models::build("concat-small:2,3,1,4,2", Shape::new(3, 6, 6), 2).unwrap();
    let mut net = Network::init(graph, 1);
    net.params_mut()[0].slots = vec![vec![0.5; net.params()[0].value.len()]; 2];
    net.params_mut()[0].frozen = vec![true, false];
    let normalisation = Some(Normalisation { mean: vec![0.5; 3], std: vec![0.25; 3] });
    let meta = Meta { model: "concat-small".into(), normalisation, ..Meta::default() };
    checkpoint::to_bytes(Path::new("sound"), &net, &meta, Dtype::F32, true).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else { return };
    match mode % 3 {
        0 => check(mode, data),
        // The header's length is right, so that what follows is looked at.
        1 => {
            let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
            let length = usize::from(u16::from_le_bytes(*length)).min(rest.len()) as u64;
            check(mode, &[&length.to_le_bytes(), rest].concat());
        }
        // Bytes of a sound file are replaced; most go to the header.
        _ => {
            let mut bytes = SOUND.clone();
            for patch in data.chunks_exact(3) {
                let position = usize::from(u16::from_le_bytes([patch[0], patch[1]]));
                let len = bytes.len();
                bytes[position % len] = patch[2];
            }
            check(mode, &bytes);
        }
    }
});

fn check(mode: u8, bytes: &[u8]) {
    let path = Path::new("fuzzed");
    // To build models takes a hundred times as long as the rest.
    let archs = if mode / 3 % 8 == 7 { &[Some("vgg-small"), None][..] } else { &[] };
    for &arch in archs {
        let _ = checkpoint::read_state_dict(path, bytes, arch, Shape::new(3, 32, 32), None);
    }
    let Ok(mut found) = checkpoint::read(path, bytes) else { return };
    for training_state in [false, true] {
        let write = |net| checkpoint::to_bytes(path, net, &found.meta, Dtype::F32, training_state);
        let once = write(&found.network).expect("what could be read can be written");
        let again = checkpoint::read(path, &once).expect("what was written can be read");
        assert_eq!(again.meta, found.meta);
        assert_eq!(write(&again.network).expect("and written again"), once);
    }
    let graph = found.network.graph();
    let floats: usize = graph.nodes().iter().map(|node| node.shape.padded_len()).sum();
    if graph.macs() < 1 << 22 && floats < 1 << 20 {
        let cx = Context::new(Isa::best(), 1);
        let images = Tensor::zeros(2, graph.input_shape());
        let planned = Plan::new(&cx, &found.network, 2).run(&cx, &images).to_nchw();
        let key = StepKey::default();
        let mut tape = Tape::new();
        let taped = tape.forward(&cx, &mut found.network, &images, Mode::Eval, key).to_nchw();
        assert_eq!(planned.len(), taped.len());
    }
}
