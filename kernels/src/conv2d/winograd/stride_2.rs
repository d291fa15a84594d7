//! Minimal filtering algorithms for stride 2. The second tap meets other pixels than the first and the third,
//! which are a filter of two taps: F(4, 2) with the points ±⅜, ±1¼ and infinity takes five products for four
//! sums, with a rounding error like that of the sums themselves.

use super::transform::Transform;
use crate::simd::Simd;

/// The most inputs or products of these.
const SIDE: usize = 9;

/// The points, as `f64` for the weights.
const A: f64 = 0.375;
const B: f64 = 1.25;

/// Rows of the five products of the first and the third tap, then of the four of the second.
const WEIGHTS: [[f64; 3]; SIDE] = {
    // The products of the differences of a point and the others.
    let (a, b) = (2.0 * A * (A * A - B * B), 2.0 * B * (B * B - A * A));
    let second = [0.0, 1.0, 0.0];
    [
        [1.0 / a, 0.0, A / a],
        [-1.0 / a, 0.0, A / a],
        [1.0 / b, 0.0, B / b],
        [-1.0 / b, 0.0, B / b],
        [0.0, 0.0, 1.0],
        second,
        second,
        second,
        second,
    ]
};

/// The factors that the inputs of F(4, 2) contribute.
#[inline(always)]
fn input<S: Simd>(simd: S, [x0, x1, x2, x3, x4]: [S::F32; 5]) -> [S::F32; 5] {
    let constant = |c: f64| simd.splat(c as f32);
    let (minus_a2, minus_b2) = (constant(-A * A), constant(-B * B));
    let (even_a, odd_a) = (simd.mul_add(minus_b2, x0, x2), simd.mul_add(minus_b2, x1, x3));
    let (even_b, odd_b) = (simd.mul_add(minus_a2, x0, x2), simd.mul_add(minus_a2, x1, x3));
    let sum = simd.mul_add(constant(-(A * A + B * B)), x2, x4);
    [
        simd.mul_add(constant(A), even_a, odd_a),
        simd.mul_add(constant(-A), even_a, odd_a),
        simd.mul_add(constant(B), even_b, odd_b),
        simd.mul_add(constant(-B), even_b, odd_b),
        simd.mul_add(constant(A * A * B * B), x0, sum),
    ]
}

/// The outputs of F(4, 2) from the products, added to `y`.
#[inline(always)]
fn output<S: Simd>(
    simd: S,
    [m0, m1, m2, m3, m4]: [S::F32; 5],
    [y0, y1, y2, y3]: [S::F32; 4],
) -> [S::F32; 4] {
    let constant = |c: f64| simd.splat(c as f32);
    let (sum_a, difference_a) = (simd.add(m0, m1), simd.sub(m0, m1));
    let (sum_b, difference_b) = (simd.add(m2, m3), simd.sub(m2, m3));
    let by = |c: f64, v: S::F32, y: S::F32| simd.mul_add(constant(c), v, y);
    [
        simd.add(sum_a, simd.add(sum_b, y0)),
        by(A, difference_a, by(B, difference_b, y1)),
        by(A * A, sum_a, by(B * B, sum_b, y2)),
        by(A * A * A, difference_a, by(B * B * B, difference_b, simd.add(y3, m4))),
    ]
}

/// The transpose of [`output`]: from gradients of outputs to those of products.
#[inline(always)]
fn spread<S: Simd>(simd: S, [y0, y1, y2, y3]: [S::F32; 4]) -> [S::F32; 5] {
    let constant = |c: f64| simd.splat(c as f32);
    let by = |c: f64, v: S::F32, y: S::F32| simd.mul_add(constant(c), v, y);
    let (even_a, odd_a) = (by(A * A, y2, y0), by(A * A, y3, y1));
    let (even_b, odd_b) = (by(B * B, y2, y0), by(B * B, y3, y1));
    [by(A, odd_a, even_a), by(-A, odd_a, even_a), by(B, odd_b, even_b), by(-B, odd_b, even_b), y3]
}

/// Every second output: four from nine products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct F43Stride2;

impl Transform<SIDE> for F43Stride2 {
    const INPUT: usize = 9;
    const PRODUCTS: usize = 9;
    const OUTPUT: usize = 4;
    const STRIDE: usize = 2;
    const WEIGHTS: [[f64; 3]; SIDE] = WEIGHTS;

    #[inline(always)]
    fn input<S: Simd>(simd: S, x: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [x0, x1, x2, x3, x4, x5, x6, x7, x8] = x;
        let [f0, f1, f2, f3, f4] = input(simd, [x0, x2, x4, x6, x8]);
        [f0, f1, f2, f3, f4, x1, x3, x5, x7]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [m0, m1, m2, m3, m4, m5, m6, m7, m8] = m;
        let [y0, y1, y2, y3] = output(simd, [m0, m1, m2, m3, m4], [m5, m6, m7, m8]);
        [y0, y1, y2, y3, m0, m0, m0, m0, m0]
    }

    #[inline(always)]
    fn spread<S: Simd>(simd: S, y: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [y0, y1, y2, y3, ..] = y;
        let [m0, m1, m2, m3, m4] = spread(simd, [y0, y1, y2, y3]);
        [m0, m1, m2, m3, m4, y0, y1, y2, y3]
    }
}

/// The gradient of the input, where padding is 1: even pixels meet the second tap alone. Eight outputs from
/// nine products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct F43Stride2Data;

impl Transform<SIDE> for F43Stride2Data {
    const INPUT: usize = 5;
    const PRODUCTS: usize = 9;
    const OUTPUT: usize = 8;
    const STRIDE: usize = 2;
    const STEP: usize = 4;
    const WEIGHTS: [[f64; 3]; SIDE] = WEIGHTS;

    #[inline(always)]
    fn input<S: Simd>(simd: S, x: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [x0, x1, x2, x3, x4, ..] = x;
        let [f0, f1, f2, f3, f4] = input(simd, [x0, x1, x2, x3, x4]);
        [f0, f1, f2, f3, f4, x0, x1, x2, x3]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [m0, m1, m2, m3, m4, y0, y2, y4, y6] = m;
        let [y1, y3, y5, y7] = output(simd, [m0, m1, m2, m3, m4], [simd.splat(0.0); 4]);
        [y0, y1, y2, y3, y4, y5, y6, y7, m0]
    }

    #[inline(always)]
    fn spread<S: Simd>(simd: S, y: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [y0, y1, y2, y3, y4, y5, y6, y7, _] = y;
        let [m0, m1, m2, m3, m4] = spread(simd, [y1, y3, y5, y7]);
        [m0, m1, m2, m3, m4, y0, y2, y4, y6]
    }
}
