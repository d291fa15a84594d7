//! Matrix products of row-major `f32` matrices.

mod matrixmultiply;

pub use matrixmultiply::gemm_matrixmultiply;

use crate::Context;

/// The signature of [`gemm`].
pub type Gemm =
    fn(&Context, usize, usize, usize, &[f32], usize, &[f32], usize, &mut [f32], usize, bool);

/// `C = A * B` (`beta_zero`) or `C += A * B`, with `A` of `m` rows of `k` floats at distance `lda`,
/// `B` of `k` rows of `n` at distance `ldb`, and `C` of `m` rows of `n` at distance `ldc`. Floats
/// between the rows of `C` are left as they are.
///
/// # Panics
/// If a slice is too short, or `ldb` or `ldc` is below `n`, or `lda` below `k`.
#[expect(clippy::too_many_arguments, reason = "the operands of a matrix product")]
pub fn gemm(
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
    gemm_matrixmultiply(cx, m, n, k, a, lda, b, ldb, c, ldc, beta_zero);
}

fn check(
    m: usize,
    n: usize,
    k: usize,
    a_len: usize,
    lda: usize,
    b_len: usize,
    ldb: usize,
    c_len: usize,
    ldc: usize,
) {
    assert!(lda >= k && ldb >= n && ldc >= n, "rows overlap: {lda} < {k} or {ldb}, {ldc} < {n}");
    assert!(k == 0 || a_len >= (m - 1) * lda + k, "A has {a_len} floats, too few for {m} x {k}");
    assert!(k == 0 || b_len >= (k - 1) * ldb + n, "B has {b_len} floats, too few for {k} x {n}");
    assert!(c_len >= (m - 1) * ldc + n, "C has {c_len} floats, too few for {m} x {n}");
}
