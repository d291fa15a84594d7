//! Gradients of weights that are sums over more tiles than have factors at a time.

use crate::conv2d::{Case, geometry};
use crate::{same_bits, tolerance};
use pleach_kernels::conv2d::{Algorithm, BACKWARD_WEIGHTS};
use pleach_kernels::{Context, Isa};

/// Few channels, where a task has sums of its own, and more; the last tiles of rows and parts are smaller. The third has
/// more tiles in a row than a task takes at a time.
const SHAPES: [[usize; 8]; 4] = [
    [80, 20, 13, 13, 24, 3, 1, 1],
    [60, 17, 21, 21, 40, 3, 2, 1],
    [2, 5, 11, 230, 18, 3, 1, 1],
    [106, 100, 8, 8, 56, 3, 1, 1],
];

fn algorithms() -> impl Iterator<Item = &'static Algorithm> {
    BACKWARD_WEIGHTS.iter().filter(|by| by.name.contains("winograd") || by.name == "toeplitz_2x2")
}

#[test]
fn sums_over_many_tiles_agree_with_a_matrix_product_by_any_threads() {
    let plain = BACKWARD_WEIGHTS.iter().find(|by| by.name == "im2col_matrixmultiply");
    let plain = plain.expect("an algorithm that cuts nothing into tiles");
    for isa in Isa::available() {
        let [one, two, three] = [1, 2, 3].map(|threads| Context::new(isa, threads));
        for g in SHAPES.map(geometry) {
            let case = Case::reals(g);
            let expected = case.backward_weights(&two, plain);
            for by in algorithms().filter(|by| (by.applies)(&g)) {
                let found = case.backward_weights(&two, by);
                let tolerance = 5.0 * tolerance(g.dst_pixels());
                for (i, (x, y)) in found.iter().zip(&expected).enumerate() {
                    let near = (x - y).abs() <= tolerance;
                    assert!(
                        near,
                        "{} on {} of {g:?}: {x} instead of {y} at {i}",
                        by.name, isa.name
                    );
                }
                for cx in [&one, &three] {
                    let same = same_bits(&found, &case.backward_weights(cx, by));
                    assert!(same, "{} on {} of {g:?}", by.name, isa.name);
                }
            }
        }
    }
}
