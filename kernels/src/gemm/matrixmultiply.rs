//! The `matrixmultiply` crate behind slices: the baseline of every benchmark.
#![expect(unsafe_code, reason = "the crate's entry takes pointers")]

use crate::Context;

/// Rows of C in a task.
const ROWS: usize = 128;

/// [`gemm`](super::gemm) by the `matrixmultiply` crate, which chooses its own instruction set.
///
/// # Panics
/// If a slice is too short, or `ldb` or `ldc` is below `n`, or `lda` below `k`.
#[expect(clippy::too_many_arguments, reason = "the operands of a matrix product")]
pub fn gemm_matrixmultiply(
    cx: &Context,
    m: usize,
    n: usize,
    k: usize,
    a: &[f32],
    lda: usize,
    b: &[f32],
    ldb: usize,
    c: &mut [f32],
    ldc: usize,
    beta_zero: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    super::check(m, n, k, a.len(), lda, b.len(), ldb, c.len(), ldc);
    let beta = if beta_zero { 0.0 } else { 1.0 };
    let c = &mut c[..(m - 1) * ldc + n];
    cx.threads().for_each_chunk(c, ROWS.saturating_mul(ldc), |task, c| {
        let rows = ROWS.min(m - task * ROWS);
        let a = if k == 0 { &[] } else { &a[task * ROWS * lda..] };
        // SAFETY: `check`, whose arithmetic cannot overflow, and the cut above leave `rows` rows of `k`
        // floats at distance `lda` in `a`, `k` rows of `n` at `ldb` in `b`, and `rows` rows of `n` at
        // `ldc` in `c`, no two of which overlap since `ldc >= n`. A distance beyond `isize::MAX` is one
        // of a single row, and multiplied by zero.
        unsafe {
            matrixmultiply::sgemm(
                rows,
                k,
                n,
                1.0,
                a.as_ptr(),
                lda as isize,
                1,
                b.as_ptr(),
                ldb as isize,
                1,
                beta,
                c.as_mut_ptr(),
                ldc as isize,
                1,
            );
        }
    });
}
