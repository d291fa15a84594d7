//! Muon (Jordan 2024, <https://kellerjordan.github.io/posts/muon>): steps whose rows are orthogonal.

use super::thawed;
use crate::network::Param;
use pleach_kernels::gemm::gemm;
use pleach_kernels::{AlignedBuffer, Context, optimizer};
use std::cell::RefCell;
use std::ops::Range;

/// What an iteration makes of a singular value `x`: `A x + B x^3 + C x^5`, Jordan's, which carry values from a
/// thousandth on to between 0.7 and 1.2 in five.
const A: f32 = 3.4445;
const B: f32 = -4.775;
const C: f32 = 2.0315;

/// Partial sums of a dot product: a number that does not depend on the threads.
const SUMS: usize = 16;

/// Columns that are transposed together: a cache line of each row.
const COLUMNS: usize = 16;

thread_local! {
    /// What a step works in, kept from one to the next.
    static SCRATCH: RefCell<AlignedBuffer> = RefCell::new(AlignedBuffer::default());
}

/// Moves the filters of `param`, a matrix of `rows` filters, against the orthogonal matrix that is nearest to its
/// gradients' running sum, by `lr` times the root mean square of the filters' norms. The norm of all of them
/// together stays. Frozen rows keep values and velocity.
pub(super) fn step(
    cx: &Context,
    (lr, momentum, iterations): (f32, f32, u32),
    rows: usize,
    param: &mut Param,
) {
    let Param { value, grad, slots, frozen, .. } = param;
    let velocity = &mut slots[0];
    let len = value.len();
    let columns = len / rows;
    let runs =
        || thawed(frozen, rows).into_iter().map(|run| run.start * columns..run.end * columns);
    // Taken, not borrowed: a thread that waits for a part of its step may be given the step of another training
    // that shares its pool, which then has a buffer of its own.
    let mut buffer = SCRATCH.take();
    let small = rows.min(columns);
    let (sum, scratch) = buffer.take(2 * len + 4 * small * small).split_at_mut(len);
    let (direction, squares) = scratch.split_at_mut(len);
    // A row of zeros, as frozen ones have, stays one, and leaves the others as if it were not there.
    sum.fill(0.0);
    for run in runs() {
        let (grad, velocity) = (&grad[run.clone()], &mut velocity[run.clone()]);
        optimizer::sgd(cx, -1.0, momentum, true, 0.0, grad, &mut sum[run], velocity);
    }
    orthogonalise(cx, [rows, columns], iterations, sum, direction, squares);
    let moved: usize = runs().map(|run| run.len() / columns).sum();
    let [norm, along, length] = runs()
        .map(|run| dots(cx, &value[run.clone()], &direction[run]))
        .fold([0.0; 3], |[a, b, c], [x, y, z]| [a + x, b + y, c + z]);
    // Filters of zeros have no norm to keep and none to measure a step by.
    let unit = if norm > 0.0 { (norm / moved as f64).sqrt() } else { 1.0 };
    let by = f64::from(lr) * unit;
    let after = norm - 2.0 * by * along + by * by * length;
    let keep = if norm > 0.0 && after > 0.0 { (norm / after).sqrt() } else { 1.0 };
    let by = by * keep;
    // `keep * value - by * direction`, as a step with this decay.
    let decay = if by > 0.0 { (1.0 - keep) / by } else { 0.0 };
    for run in runs() {
        let (direction, value) = (&direction[run.clone()], &mut value[run.clone()]);
        let velocity = &mut sum[run];
        optimizer::sgd(cx, by as f32, 0.0, false, decay as f32, direction, value, velocity);
    }
    SCRATCH.set(buffer);
}

/// `dst` becomes `matrix` with singular values near 1: `iterations` (0 is 1) of Newton and Schulz's after
/// division by the norm. They are taken together as a polynomial of the Gram matrix of the shorter side, which is
/// smaller than `matrix`. A matrix of zeros stays one. `squares` has room for four squares of the shorter side.
///
/// Six iterations at most keep to that. Where `matrix` lacks directions, its Gram matrix has eigenvalues of about -1e-8
/// that would be 0 in exact numbers; an iteration makes them about twelve times as large (`A^2`), and after eight they
/// outgrow the others.
fn orthogonalise(
    cx: &Context,
    [rows, columns]: [usize; 2],
    iterations: u32,
    matrix: &[f32],
    dst: &mut [f32],
    squares: &mut [f32],
) {
    let (n, iterations) = (rows.min(columns), iterations.max(1));
    let product = |a: &[f32], b: &[f32], c: &mut [f32]| gemm(cx, n, n, n, a, n, b, n, c, n, true);
    let mut squares = squares.chunks_exact_mut(n * n);
    let [gram, power, whole, spare] =
        std::array::from_fn(|_| squares.next().expect("four of them"));
    let (mut whole, mut spare) = (whole, spare);
    transpose(cx, [rows, columns], matrix, dst);
    if rows <= columns {
        gemm(cx, n, n, columns, matrix, columns, dst, rows, gram, n, true);
    } else {
        gemm(cx, n, n, rows, dst, rows, matrix, columns, gram, n, true);
    }
    let norm: f64 = gram.iter().step_by(n + 1).map(|&x| f64::from(x)).sum();
    if norm == 0.0 {
        return dst.fill(0.0);
    }
    gram.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    for i in 0..iterations {
        // All these are polynomials of one matrix: their order in a product makes no difference.
        product(gram, gram, power);
        for (power, &gram) in power.iter_mut().zip(&*gram) {
            *power = B.mul_add(gram, C * *power);
        }
        power.iter_mut().step_by(n + 1).for_each(|x| *x += A);
        if i == 0 {
            whole.copy_from_slice(power);
        } else {
            product(whole, power, spare);
            std::mem::swap(&mut whole, &mut spare);
        }
        if i + 1 < iterations {
            product(power, gram, spare);
            product(spare, power, gram);
        }
    }
    let scale = (1.0 / norm.sqrt()) as f32;
    whole.iter_mut().for_each(|x| *x *= scale);
    if rows <= columns {
        gemm(cx, rows, columns, n, whole, n, matrix, columns, dst, columns, true);
    } else {
        gemm(cx, rows, columns, n, matrix, columns, whole, n, dst, columns, true);
    }
}

/// `dst`, `[columns, rows]`, becomes the transpose of `src`.
fn transpose(cx: &Context, [rows, columns]: [usize; 2], src: &[f32], dst: &mut [f32]) {
    cx.threads().for_each_chunk(dst, COLUMNS * rows, |task, dst| {
        let first = task * COLUMNS;
        for (row, src) in src.chunks_exact(columns).enumerate() {
            for (column, &x) in src[first..].iter().take(dst.len() / rows).enumerate() {
                dst[column * rows + row] = x;
            }
        }
    });
}

/// The products `a a`, `a b` and `b b`, summed.
fn dots(cx: &Context, a: &[f32], b: &[f32]) -> [f64; 3] {
    let part = a.len().div_ceil(SUMS);
    let piece =
        |i: usize| -> Range<usize> { (i * part).min(a.len())..((i + 1) * part).min(a.len()) };
    let mut sums = [[0.0; 3]; SUMS];
    cx.threads().for_each_chunk(&mut sums, 1, |i, sums| {
        for (&a, &b) in a[piece(i)].iter().zip(&b[piece(i)]) {
            let (a, b) = (f64::from(a), f64::from(b));
            sums[0][0] += a * a;
            sums[0][1] += a * b;
            sums[0][2] += b * b;
        }
    });
    sums.iter().fold([0.0; 3], |sum, part| std::array::from_fn(|i| sum[i] + part[i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleach_kernels::Isa;

    #[test]
    fn six_iterations_take_a_gradient_of_one_direction_as_far_as_the_rate_says() {
        const SIDE: usize = 64;
        const LR: f32 = 0.1;
        let cx = Context::new(Isa::from_env().unwrap(), 1);
        let wave = |by: f32, i: usize| (by * i as f32 + 0.2).sin();
        let places = || 0..SIDE * SIDE;
        let value: Vec<f32> = places().map(|i| wave(0.37, i)).collect();
        let grad: Vec<f32> = places().map(|i| wave(0.7, i / SIDE) * wave(1.3, i % SIDE)).collect();
        let square = |x: f64| x * x;
        let norm = value.iter().map(|&x| square(f64::from(x))).sum::<f64>().sqrt();
        // A step is of a filter's norm times the rate, by a singular value near 1.
        let expected = f64::from(LR) * norm / (SIDE as f64).sqrt();
        for iterations in 1..=6 {
            let slots = vec![vec![0.0; SIDE * SIDE]];
            let mut param = Param { value: value.clone(), slots, ..Param::default() };
            param.grad.clone_from(&grad);
            step(&cx, (LR, 0.6, iterations), SIDE, &mut param);
            let moved = param.value.iter().zip(&value);
            let moved = moved.map(|(&x, &before)| square(f64::from(x) - f64::from(before)));
            let times = moved.sum::<f64>().sqrt() / expected;
            assert!((0.65..1.2).contains(&times), "{iterations} iterations: {times} times");
        }
    }
}
