//! What convolutions are given: weights of another instruction set, biases of other lengths, no images.

use crate::conv2d::{Case, geometry};
use crate::{contexts, same_bits};
use pleach_kernels::conv2d::{
    self, Activation, BACKWARD_DATA, BACKWARD_WEIGHTS, Conv2dGeometry, Direction, FORWARD,
    PreparedConv2d,
};
use pleach_kernels::{AlignedBuffer, channel_stride};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A geometry for each kind of algorithm.
fn geometries() -> [Conv2dGeometry; 6] {
    let depthwise = geometry([2, 20, 6, 5, 20, 3, 1, 1]);
    [
        geometry([2, 64, 4, 4, 64, 3, 1, 1]),
        geometry([2, 3, 8, 8, 20, 3, 1, 1]),
        geometry([2, 17, 8, 8, 20, 3, 2, 1]),
        geometry([2, 17, 2, 2, 20, 3, 1, 1]),
        geometry([2, 17, 4, 4, 37, 1, 1, 0]),
        Conv2dGeometry { groups: 20, ..depthwise },
    ]
}

fn panics(work: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_err()
}

/// 64 output channels: a length that packed weights have on every instruction set.
#[test]
fn weights_packed_for_another_instruction_set_are_refused() {
    let contexts = contexts();
    for case in geometries().map(Case::reals) {
        let g = &case.g;
        for (packs, runs) in contexts.iter().flat_map(|a| contexts.iter().map(move |b| (a, b))) {
            for by in FORWARD.iter().filter(|by| (by.applies)(g)) {
                let none = Activation::None;
                let conv = PreparedConv2d::new(packs, g, &case.weights, None, none, Some(by));
                let mut scratch = vec![f32::NAN; conv.scratch_len(g.n)];
                let mut dst = vec![f32::NAN; g.dst_len()];
                let refused =
                    panics(|| conv.forward(runs, g.n, &case.src, None, &mut dst, &mut scratch));
                let (packs, runs) = (packs.isa().name, runs.isa().name);
                assert_eq!(refused, packs != runs, "{} for {packs} on {runs} of {g:?}", by.name);
            }
        }
    }
}

#[test]
fn a_bias_is_cut_to_the_output_channels_and_a_shorter_one_refused() {
    for cx in contexts() {
        for case in geometries().map(Case::reals) {
            let g = &case.g;
            let forward = |case: &Case, by| case.forward(&cx, by, true, Activation::None);
            for by in FORWARD.iter().filter(|by| (by.applies)(g)) {
                let name = format!("{} on {} of {g:?}", by.name, cx.isa().name);
                let longer = Case { bias: [&case.bias[..], &[7.0; 40]].concat(), ..case.clone() };
                let found = forward(&longer, by);
                assert!(same_bits(&found, &forward(&case, by)), "{name}");
                let mut pixels = found.chunks(channel_stride(g.oc));
                assert!(pixels.all(|pixel| pixel[g.oc..].iter().all(|x| *x == 0.0)), "{name}");
                let shorter = Case { bias: case.bias[1..].to_vec(), ..case.clone() };
                assert!(panics(|| drop(forward(&shorter, by))), "{name}");
            }
        }
    }
}

#[test]
fn no_images_are_convolved_to_nothing_and_their_gradient_is_zero() {
    for cx in contexts() {
        for g in geometries().map(|g| g.with_batch(0)) {
            let case = Case::reals(g);
            for by in FORWARD.iter().filter(|by| (by.applies)(&g)) {
                assert!(case.forward(&cx, by, true, Activation::Relu).is_empty());
                let (weights, none) = (&case.weights, Activation::None);
                let conv = PreparedConv2d::new(&cx, &g, weights, None, none, Some(by));
                conv.forward(&cx, 0, &[], None, &mut [], &mut vec![0.0; conv.scratch_len(0)]);
            }
            for by in BACKWARD_DATA.iter().filter(|by| (by.applies)(&g)) {
                assert!(case.backward_data(&cx, by).is_empty());
            }
            for by in BACKWARD_WEIGHTS.iter().filter(|by| (by.applies)(&g)) {
                let diff = case.backward_weights(&cx, by);
                assert!(diff.iter().all(|x| *x == 0.0), "{} of {g:?}", by.name);
            }
            // Whatever is chosen for them.
            let mut scratch = AlignedBuffer::default();
            for direction in [Direction::Forward, Direction::BackwardData] {
                let _ = conv2d::chosen(direction, &cx, &g);
            }
            let mut diff = vec![f32::NAN; g.weights_len()];
            conv2d::backward_weights(&cx, &g, &[], &[], &mut diff, &mut scratch);
            assert!(diff.iter().all(|x| *x == 0.0), "{g:?}");
        }
    }
}
