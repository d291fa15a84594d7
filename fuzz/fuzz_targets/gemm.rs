//! Our matrix product and matrixmultiply's agree with three plain loops, on every instruction set of
//! this CPU.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pleach_kernels::gemm::{gemm, gemm_matrixmultiply};
use pleach_kernels::{Context, Isa};

fuzz_target!(|data: [u8; 9]| {
    let [m, n, k, lda, ldb, ldc, isa, threads, seed] = data.map(usize::from);
    let (m, n, k) = (m % 70 + 1, n % 100 + 1, k * 3 + 1);
    let (lda, ldb, ldc) = (k + lda % 5, n + ldb % 5, n + ldc % 5);
    let isas: Vec<&Isa> = Isa::available().collect();
    let cx = Context::new(isas[isa % isas.len()], threads % 2 + 1);
    // Small integers, so that every order of summation gives the same float.
    let fill = |len: usize, salt: usize| -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 7919 + salt * 31 + seed) * 2_654_435_761 >> 13) as f32 % 4.0)
            .collect()
    };
    let (a, b, c) = (fill(m * lda, 1), fill(k * ldb, 2), fill(m * ldc, 3));
    for beta_zero in [false, true] {
        let mut expected = c.clone();
        for i in 0..m {
            for j in 0..n {
                let sum: f32 = (0..k).map(|p| a[i * lda + p] * b[p * ldb + j]).sum();
                let old = if beta_zero { 0.0 } else { c[i * ldc + j] };
                expected[i * ldc + j] = old + sum;
            }
        }
        for product in [gemm, gemm_matrixmultiply] {
            let mut out = c.clone();
            product(&cx, m, n, k, &a, lda, &b, ldb, &mut out, ldc, beta_zero);
            assert_eq!(out, expected, "{m} x {n} x {k}");
        }
    }
});
