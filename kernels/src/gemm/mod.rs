//! Matrix products of row-major `f32` matrices.

pub(crate) mod ahead;
pub(crate) mod blocking;
pub(crate) mod left;
mod matrixmultiply;
pub(crate) mod micro;
pub(crate) mod pack;
pub(crate) mod stored;

pub use matrixmultiply::gemm_matrixmultiply;
pub use stored::Storage;

use crate::Context;
use crate::dispatch::enter;
use crate::simd::{Simd, SimdOp};
use ahead::Ahead;
use blocking::{A_STRIDE, KC, MC, cut};
use left::Rows;
use micro::{MAX_NR, Output, OutputRows, panel, panel_vectors};
use pack::copy_padded;

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
    if m == 0 || n == 0 {
        return;
    }
    check(m, n, k, a.len(), lda, b.len(), ldb, c.len(), ldc);
    let c = &mut c[..(m - 1) * ldc + n];
    if k == 0 {
        if beta_zero {
            c.chunks_mut(ldc).for_each(|row| row[..n].fill(0.0));
        }
        return;
    }
    // At least eight tasks, if each then has 96 rows to use its packed panels for.
    let (_, rows) = cut(m, m.div_ceil(8).clamp(96, MC), 1);
    cx.threads().for_each_chunk(c, rows.saturating_mul(ldc), |task, c| {
        let a = &a[task * rows * lda..];
        let rows = rows.min(m - task * rows);
        cx.threads().with_buffer(|buffer| {
            let product = Product { m: rows, n, k, a, lda, b, ldb, c, ldc, beta_zero, buffer };
            (cx.isa().gemm.product)(product);
        });
    });
}

/// The kernels of an instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    product: fn(Product<'_>),
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self { product: |task| enter::<S, _>(task) }
    }
}

/// The product of one task: at most [`MC`] rows.
struct Product<'a> {
    m: usize,
    n: usize,
    k: usize,
    a: &'a [f32],
    lda: usize,
    b: &'a [f32],
    ldb: usize,
    c: &'a mut [f32],
    ldc: usize,
    beta_zero: bool,
    buffer: &'a mut [f32],
}

impl SimdOp for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { m, n, k, a, lda, b, ldb, c, ldc, beta_zero, buffer } = self;
        let (packed, buffer) = buffer.split_at_mut(MC * A_STRIDE);
        let (packed_b, edge) = buffer.split_at_mut(KC * MAX_NR);
        let packed = packed.as_chunks_mut::<A_STRIDE>().0;
        let (_, kc) = cut(k, KC, 1);
        for k0 in (0..k).step_by(kc) {
            let kc = kc.min(k - k0);
            for (i, row) in packed[..m].iter_mut().enumerate() {
                copy_padded(simd, &a[i * lda + k0..][..kc], row);
            }
            for column in (0..n).step_by(micro::PANEL_VECTORS * S::LANES) {
                let nr = panel_vectors(S::LANES, n - column) * S::LANES;
                let width = (n - column).min(nr);
                let rows_b = b[k0 * ldb..].chunks(ldb).take(kc);
                let b = &mut packed_b[..kc * nr];
                for (row, out) in rows_b.zip(b.chunks_exact_mut(nr)) {
                    copy_padded(simd, &row[column..column + width], out);
                }
                let start = (beta_zero && k0 == 0).then_some(&[0.0; MAX_NR]);
                let multiply = |c: &mut [f32], ldc, column| {
                    let rows = OutputRows::First(m);
                    let out = Output { c, ldc, rows, column, start, relu: false, adds: false };
                    panel(simd, width, Rows(packed), b, Ahead::default(), out);
                };
                if width == nr {
                    multiply(&mut *c, ldc, column);
                } else {
                    // The micro-kernel writes whole vectors: beside C, where they would not fit in it.
                    let edge = &mut edge[..m * nr];
                    for (row, edge) in c.chunks(ldc).zip(edge.chunks_exact_mut(nr)) {
                        edge[..width].copy_from_slice(&row[column..column + width]);
                    }
                    multiply(edge, nr, 0);
                    for (row, edge) in c.chunks_mut(ldc).zip(edge.chunks_exact(nr)) {
                        row[column..column + width].copy_from_slice(&edge[..width]);
                    }
                }
            }
        }
    }
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
    // Checked, since pointers rely on it.
    let holds = |len: usize, rows: usize, columns: usize, distance: usize| {
        let last = (rows - 1).checked_mul(distance);
        last.and_then(|last| last.checked_add(columns)).is_some_and(|floats| len >= floats)
    };
    assert!(k == 0 || holds(a_len, m, k, lda), "A has {a_len} floats, too few for {m} x {k}");
    assert!(k == 0 || holds(b_len, k, n, ldb), "B has {b_len} floats, too few for {k} x {n}");
    assert!(holds(c_len, m, n, ldc), "C has {c_len} floats, too few for {m} x {n}");
}
