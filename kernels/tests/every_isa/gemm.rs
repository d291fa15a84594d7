//! Matrix products.

use crate::{Numbers, contexts, same_bits, tolerance};
use pleach_kernels::gemm::{Gemm, gemm, gemm_matrixmultiply};
use pleach_kernels::{Context, Isa};

const ALL: [(&str, Gemm); 2] = [("gemm", gemm), ("gemm_matrixmultiply", gemm_matrixmultiply)];

/// Sizes around the tiles and blocks: m, n, k.
const SIZES: [[usize; 3]; 14] = [
    [1, 1, 1],
    [1, 1, 0],
    [2, 3, 5],
    [7, 17, 1],
    [6, 16, 256],
    [13, 37, 257],
    [8, 32, 101],
    [5, 101, 53],
    [35, 24, 300],
    [1, 130, 520],
    [25, 8, 64],
    [193, 33, 17],
    [400, 9, 130],
    [64, 64, 600],
];

struct Case {
    m: usize,
    n: usize,
    k: usize,
    lda: usize,
    ldb: usize,
    ldc: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Case {
    fn new([m, n, k]: [usize; 3], gap: usize, mut number: impl FnMut() -> f32) -> Self {
        let (lda, ldb, ldc) = (k + gap, n + gap, n + gap);
        let mut fill = |len| (0..len).map(|_| number()).collect::<Vec<f32>>();
        Self { m, n, k, lda, ldb, ldc, a: fill(m * lda), b: fill(k * ldb), c: fill(m * ldc) }
    }

    fn run(&self, cx: &Context, gemm: Gemm, beta_zero: bool) -> Vec<f32> {
        let Self { m, n, k, lda, ldb, ldc, .. } = *self;
        let mut c = self.c.clone();
        if beta_zero {
            c.chunks_mut(ldc).for_each(|row| row[..n].fill(f32::NAN));
        }
        gemm(cx, m, n, k, &self.a, lda, &self.b, ldb, &mut c, ldc, beta_zero);
        c
    }

    fn expected(&self, beta_zero: bool) -> Vec<f32> {
        let mut c = self.c.clone();
        for (i, row) in c.chunks_mut(self.ldc).enumerate() {
            for (j, out) in row[..self.n].iter_mut().enumerate() {
                let product =
                    |l| f64::from(self.a[i * self.lda + l]) * f64::from(self.b[l * self.ldb + j]);
                let sum: f64 = (0..self.k).map(product).sum();
                *out = if beta_zero { sum as f32 } else { (f64::from(*out) + sum) as f32 };
            }
        }
        c
    }
}

#[test]
fn every_isa_multiplies_reals_within_the_error_of_a_sum() {
    for cx in contexts() {
        for (size, gap, beta_zero) in
            SIZES.into_iter().flat_map(|size| [(size, 0, true), (size, 5, false)])
        {
            let mut numbers = Numbers(1);
            let case = Case::new(size, gap, || numbers.real());
            let expected = case.expected(beta_zero);
            for (name, gemm) in ALL {
                for (i, (x, y)) in case.run(&cx, gemm, beta_zero).iter().zip(&expected).enumerate()
                {
                    let error = (x - y).abs();
                    assert!(
                        error <= tolerance(size[2]),
                        "{name} on {} of {size:?}: {x} instead of {y} at {i}",
                        cx.isa().name
                    );
                }
            }
        }
    }
}

#[test]
fn every_isa_multiplies_small_integers_exactly() {
    for cx in contexts() {
        for size in SIZES {
            let mut numbers = Numbers(2);
            let case = Case::new(size, 3, || numbers.integer());
            for (name, gemm) in ALL {
                let found = case.run(&cx, gemm, false);
                assert_eq!(found, case.expected(false), "{name} on {} {size:?}", cx.isa().name);
            }
        }
    }
}

#[test]
fn the_bits_of_a_product_do_not_depend_on_the_number_of_threads() {
    for isa in Isa::available() {
        for size in SIZES {
            let mut numbers = Numbers(3);
            let case = Case::new(size, 0, || numbers.real());
            for (name, gemm) in ALL {
                let [one, two, three] =
                    [1, 2, 3].map(|threads| case.run(&Context::new(isa, threads), gemm, false));
                assert!(same_bits(&one, &two) && same_bits(&one, &three), "{name} {size:?}");
            }
        }
    }
}

#[test]
fn distances_between_rows_that_leave_memory_are_refused_or_never_gone() {
    let (huge, wraps) = (usize::MAX / 2 + 1, 1 << 57);
    for cx in contexts() {
        for (name, gemm) in ALL {
            let run = |m: usize, k: usize, [lda, ldb, ldc]: [usize; 3]| {
                let (a, b, mut c) = (vec![1.0; 64], vec![1.0; 64], vec![0.0; 64]);
                let run = || gemm(&cx, m, 10, k, &a, lda, &b, ldb, &mut c, ldc, true);
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map(|()| c)
            };
            // Two of each of these distances are none, in arithmetic that wraps.
            for (m, k, distances) in [
                (3, 3, [huge, 10, 10]),
                (3, 3, [3, huge, 10]),
                (3, 3, [3, 10, huge]),
                (2, 3, [wraps, 10, 10]),
            ] {
                run(m, k, distances).expect_err("beyond the operands");
            }
            // A single row has no distance to the next.
            for distance in [huge, wraps, usize::MAX] {
                let c = run(1, 1, [distance; 3]).unwrap_or_else(|_| panic!("{name}: {distance}"));
                assert_eq!((&c[..10], &c[10..]), (&[1.0; 10][..], &[0.0; 54][..]), "{name}");
            }
        }
    }
}
