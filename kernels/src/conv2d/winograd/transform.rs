//! Minimal filtering algorithms of one dimension: outputs of a three-tap filter from fewer products
//! than three an output. Nested, they serve two dimensions.
//!
//! S. Winograd, "Arithmetic Complexity of Computations", 1980; A. Lavin and S. Gray, "Fast Algorithms
//! for Convolutional Neural Networks", 2016.

use crate::simd::Simd;
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// The most inputs or products of these.
pub(crate) const SIDE: usize = 6;

/// `y = output((WEIGHTS w) * input(x))`, where `*` multiplies element by element. Of arrays longer than
/// what they hold, the rest is not looked at.
pub(crate) trait Transform<const SIDE: usize = 6>: Copy + Send + Sync + 'static {
    /// Inputs, at most `SIDE`.
    const INPUT: usize;
    /// Products, at most `SIDE`.
    const PRODUCTS: usize;
    /// Outputs.
    const OUTPUT: usize;
    /// The stride of the convolution.
    const STRIDE: usize = 1;
    /// Inputs from one tile to the next.
    const STEP: usize = Self::OUTPUT * Self::STRIDE;
    /// The transformation of the weights: a row a product.
    const WEIGHTS: [[f64; 3]; SIDE];

    /// The factors that the inputs contribute.
    fn input<S: Simd>(simd: S, x: [S::F32; SIDE]) -> [S::F32; SIDE];
    /// The outputs from the products.
    fn output<S: Simd>(simd: S, m: [S::F32; SIDE]) -> [S::F32; SIDE];
    /// The transpose of [`Transform::output`]: from gradients of outputs to those of products.
    fn spread<S: Simd>(simd: S, y: [S::F32; SIDE]) -> [S::F32; SIDE];
}

/// F(4, 3) with the points 0, ±√½, ±√2 and infinity, whose rounding error is less than half that of
/// the usual 0, ±1, ±2: four outputs from six products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct F43;

impl Transform for F43 {
    const INPUT: usize = 6;
    const PRODUCTS: usize = 6;
    const OUTPUT: usize = 4;
    const WEIGHTS: [[f64; 3]; SIDE] = [
        [1.0, 0.0, 0.0],
        [-2.0 / 3.0, -2.0 / 3.0 * FRAC_1_SQRT_2, -1.0 / 3.0],
        [-2.0 / 3.0, 2.0 / 3.0 * FRAC_1_SQRT_2, -1.0 / 3.0],
        [1.0 / 6.0, SQRT_2 / 6.0, 1.0 / 3.0],
        [1.0 / 6.0, -SQRT_2 / 6.0, 1.0 / 3.0],
        [0.0, 0.0, 1.0],
    ];

    #[inline(always)]
    fn input<S: Simd>(simd: S, x: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [x0, x1, x2, x3, x4, x5] = x;
        let (half, two) = (simd.splat(-0.5), simd.splat(-2.0));
        let (p, q) = (simd.splat(FRAC_1_SQRT_2 as f32), simd.splat(SQRT_2 as f32));
        let (minus_p, minus_q) = (simd.splat(-FRAC_1_SQRT_2 as f32), simd.splat(-SQRT_2 as f32));
        let middle = simd.splat(-2.5);
        let (even_p, odd_p) = (simd.mul_add(two, x2, x4), simd.mul_add(two, x1, x3));
        let (even_q, odd_q) = (simd.mul_add(half, x2, x4), simd.mul_add(half, x1, x3));
        [
            simd.mul_add(middle, x2, simd.add(x0, x4)),
            simd.mul_add(p, odd_p, even_p),
            simd.mul_add(minus_p, odd_p, even_p),
            simd.mul_add(q, odd_q, even_q),
            simd.mul_add(minus_q, odd_q, even_q),
            simd.mul_add(middle, x3, simd.add(x1, x5)),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [m0, m1, m2, m3, m4, m5] = m;
        let (sum_p, difference_p) = (simd.add(m1, m2), simd.sub(m1, m2));
        let (sum_q, difference_q) = (simd.add(m3, m4), simd.sub(m3, m4));
        let (p, q) = (simd.splat(FRAC_1_SQRT_2 as f32), simd.splat(SQRT_2 as f32));
        let (half, two) = (simd.splat(0.5), simd.splat(2.0));
        let (half_p, two_q) =
            (simd.splat(0.5 * FRAC_1_SQRT_2 as f32), simd.splat(2.0 * SQRT_2 as f32));
        [
            simd.add(m0, simd.add(sum_p, sum_q)),
            simd.mul_add(p, difference_p, simd.mul(q, difference_q)),
            simd.mul_add(half, sum_p, simd.mul(two, sum_q)),
            simd.mul_add(half_p, difference_p, simd.mul_add(two_q, difference_q, m5)),
            m0,
            m0,
        ]
    }

    #[inline(always)]
    fn spread<S: Simd>(simd: S, y: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [y0, y1, y2, y3, ..] = y;
        let (half, two) = (simd.splat(0.5), simd.splat(2.0));
        let (p, q) = (simd.splat(FRAC_1_SQRT_2 as f32), simd.splat(SQRT_2 as f32));
        let (minus_p, minus_q) = (simd.splat(-FRAC_1_SQRT_2 as f32), simd.splat(-SQRT_2 as f32));
        let (even_p, odd_p) = (simd.mul_add(half, y2, y0), simd.mul_add(half, y3, y1));
        let (even_q, odd_q) = (simd.mul_add(two, y2, y0), simd.mul_add(two, y3, y1));
        [
            y0,
            simd.mul_add(p, odd_p, even_p),
            simd.mul_add(minus_p, odd_p, even_p),
            simd.mul_add(q, odd_q, even_q),
            simd.mul_add(minus_q, odd_q, even_q),
            y3,
        ]
    }
}

/// F(2, 3) with the points 0, ±1 and infinity: two outputs from four products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct F23;

impl Transform for F23 {
    const INPUT: usize = 4;
    const PRODUCTS: usize = 4;
    const OUTPUT: usize = 2;
    const WEIGHTS: [[f64; 3]; SIDE] =
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0], [0.0; 3], [0.0; 3]];

    #[inline(always)]
    fn input<S: Simd>(simd: S, x: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [x0, x1, x2, x3, ..] = x;
        [simd.sub(x0, x2), simd.add(x1, x2), simd.sub(x2, x1), simd.sub(x3, x1), x0, x0]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [m0, m1, m2, m3, ..] = m;
        [simd.add(m0, simd.add(m1, m2)), simd.add(simd.sub(m1, m2), m3), m0, m0, m0, m0]
    }

    #[inline(always)]
    fn spread<S: Simd>(simd: S, y: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [y0, y1, ..] = y;
        [y0, simd.add(y0, y1), simd.sub(y0, y1), y1, y0, y0]
    }
}

/// F(2, 3) of every second output: the second tap meets other inputs than the first and the third, which are
/// an F(2, 2) with the points 0, 1 and infinity. Two outputs from five products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct F23Stride2;

impl Transform for F23Stride2 {
    const INPUT: usize = 5;
    const PRODUCTS: usize = 5;
    const OUTPUT: usize = 2;
    const STRIDE: usize = 2;
    const WEIGHTS: [[f64; 3]; SIDE] = [
        [1.0, 0.0, 0.0],
        [1.0, 0.0, 1.0],
        [0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0],
        [0.0, 1.0, 0.0],
        [0.0; 3],
    ];

    #[inline(always)]
    fn input<S: Simd>(simd: S, x: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [x0, x1, x2, x3, x4, _] = x;
        [simd.sub(x0, x2), x2, simd.sub(x4, x2), x1, x3, x0]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [m0, m1, m2, m3, m4, _] = m;
        let (y0, y1) = (simd.add(m0, simd.add(m1, m3)), simd.add(simd.add(m1, m2), m4));
        [y0, y1, m0, m0, m0, m0]
    }

    #[inline(always)]
    fn spread<S: Simd>(simd: S, y: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [y0, y1, ..] = y;
        [y0, simd.add(y0, y1), y1, y0, y1, y0]
    }
}

/// A map of two pixels padded by one on both sides, as a Toeplitz product: two outputs from three
/// products, none of them with padding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Toeplitz;

impl Transform for Toeplitz {
    const INPUT: usize = 2;
    const PRODUCTS: usize = 3;
    const OUTPUT: usize = 2;
    const WEIGHTS: [[f64; 3]; SIDE] =
        [[0.0, 1.0, 0.0], [0.0, -1.0, 1.0], [1.0, -1.0, 0.0], [0.0; 3], [0.0; 3], [0.0; 3]];

    #[inline(always)]
    fn input<S: Simd>(simd: S, x: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [x0, x1, ..] = x;
        [simd.add(x0, x1), x1, x0, x0, x0, x0]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [m0, m1, m2, ..] = m;
        [simd.add(m0, m1), simd.add(m0, m2), m0, m0, m0, m0]
    }

    #[inline(always)]
    fn spread<S: Simd>(simd: S, y: [S::F32; SIDE]) -> [S::F32; SIDE] {
        let [y0, y1, ..] = y;
        [simd.add(y0, y1), y0, y1, y0, y0, y0]
    }
}

#[cfg(test)]
mod tests {
    use super::super::stride_2::{F43Stride2, F43Stride2Data};
    use super::*;
    use crate::simd::portable::Portable;

    /// The outputs for every pair of a unit input and a unit tap, from the definition and by `T`, whose
    /// outputs and inputs are `steps` pixels apart.
    fn check<T: Transform<SIDE>, const SIDE: usize>(
        steps: [usize; 2],
        first: isize,
        tolerance: f32,
    ) {
        let simd = Portable::<4>::detect().expect("always there");
        for i in 0..T::INPUT {
            for tap in 0..3 {
                let mut x = [simd.splat(0.0); SIDE];
                x[i] = simd.splat(1.0);
                let mut m = T::input(simd, x);
                for (m, row) in m.iter_mut().zip(T::WEIGHTS).take(T::PRODUCTS) {
                    *m = simd.mul(*m, simd.splat(row[tap] as f32));
                }
                let outputs = T::output(simd, m);
                for (o, y) in outputs.into_iter().enumerate().take(T::OUTPUT) {
                    let mut found = [0.0; 4];
                    simd.store(y, &mut found);
                    let from = (o * steps[0] + tap) as isize + first;
                    let expected = f32::from(from == (i * steps[1]) as isize);
                    assert!((found[0] - expected).abs() <= tolerance, "{i} {tap} {o}: {found:?}");
                }
            }
        }
    }

    /// Whether the products' share in each output is what each output hands back to them.
    fn check_spread<T: Transform<SIDE>, const SIDE: usize>(tolerance: f32) {
        let simd = Portable::<4>::detect().expect("always there");
        let unit = |i: usize| {
            let mut x = [simd.splat(0.0); SIDE];
            x[i] = simd.splat(1.0);
            x
        };
        let value = |x| {
            let mut found = [0.0; 4];
            simd.store(x, &mut found);
            found[0]
        };
        for (m, y) in (0..T::PRODUCTS).flat_map(|m| (0..T::OUTPUT).map(move |y| (m, y))) {
            let share = value(T::output(simd, unit(m))[y]);
            let back = value(T::spread(simd, unit(y))[m]);
            assert!((share - back).abs() <= tolerance, "{m} {y}: {share} {back}");
        }
    }

    #[test]
    fn gradients_of_outputs_go_back_the_way_products_came() {
        check_spread::<F43, _>(1e-6);
        check_spread::<F23, _>(0.0);
        check_spread::<F23Stride2, _>(0.0);
        check_spread::<F43Stride2, _>(1e-6);
        check_spread::<F43Stride2Data, _>(1e-6);
        check_spread::<Toeplitz, _>(0.0);
    }

    #[test]
    fn transforms_compute_three_tap_filters() {
        check::<F43, _>([1, 1], 0, 1e-6);
        check::<F23, _>([1, 1], 0, 0.0);
        check::<F23Stride2, _>([2, 1], 0, 0.0);
        check::<F43Stride2, _>([2, 1], 0, 1e-6);
        check::<F43Stride2Data, _>([1, 2], -1, 1e-6);
        check::<Toeplitz, _>([1, 1], -1, 0.0);
    }
}
