//! No text makes the reader of plans panic, a plan that is read is written the same, and one that fits its
//! network gives just the channels that it keeps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pleach_core::{Network, Shape, models};
use pleach_prune::plan::{Plan, replay};
use std::sync::LazyLock;

/// A network with chains, sums, concatenations and a classifier, and its plan.
static SOUND: LazyLock<Vec<(Network, Plan)>> = LazyLock::new(|| {
    let sound = |spec: &str| {
        let graph = models::build(spec, Shape::new(3, 16, 16), 4).expect("a model");
        let plan = Plan::new(spec, &graph);
        (Network::init(graph, 1), plan)
    };
    ["concat-small:2,3,2,4,3", "resnet20:3,4,5", "mobile-small:2,3,4,4,5,5,6"].map(sound).into()
});

fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else { return };
    let (network, plan) = &SOUND[usize::from(mode / 4) % SOUND.len()];
    match mode % 4 {
        // Channels are dropped, doubled, moved and named out of range.
        0 => {
            let mut plan = plan.clone();
            let mut layers: Vec<&mut Vec<usize>> = plan.kept.values_mut().collect();
            for edit in data.chunks_exact(3) {
                let layer = usize::from(edit[1]) % layers.len();
                let kept = &mut *layers[layer];
                let at = usize::from(edit[2]).checked_rem(kept.len());
                match (edit[0] % 4, at) {
                    (0, Some(at)) => {
                        kept.remove(at);
                    }
                    (1, _) => kept.push(usize::from(edit[2])),
                    (2, Some(at)) => kept[at] = kept[at].wrapping_add(1),
                    (3, _) => kept.insert(0, usize::MAX - usize::from(edit[2])),
                    _ => {}
                }
            }
            check(network, &plan);
        }
        // Bytes of a sound plan are replaced.
        1 => {
            let mut bytes = plan.to_json().into_bytes();
            for patch in data.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([patch[0], patch[1]])) % bytes.len();
                bytes[at] = patch[2];
            }
            read(network, &String::from_utf8_lossy(&bytes));
        }
        _ => read(network, &String::from_utf8_lossy(data)),
    }
});

fn read(network: &Network, json: &str) {
    let Ok(plan) = Plan::from_json(json) else { return };
    let again = Plan::from_json(&plan.to_json()).expect("what was written can be read");
    assert_eq!(again, plan);
    check(network, &plan);
}

fn check(network: &Network, plan: &Plan) {
    let Ok(pruned) = replay(network, plan) else { return };
    for (layer, kept) in &plan.kept {
        let id = pruned.graph().find(layer).expect("layers stay");
        assert_eq!(pruned.graph().node(id).shape.channels, kept.len(), "{layer}");
    }
    let len = |network: &Network| network.params().iter().map(|p| p.value.len()).sum::<usize>();
    assert!(len(&pruned) <= len(network));
}
