//! The rectifier and addition.

use crate::{Numbers, contexts, on_every_isa};
use pleach_kernels::{add, relu};

/// Lengths around the vectors and the tasks.
const LENGTHS: [usize; 8] = [0, 1, 7, 16, 37, 1000, 65_536, 200_001];

fn vector(len: usize, seed: u64) -> Vec<f32> {
    let mut numbers = Numbers(seed);
    (0..len).map(|_| numbers.real()).collect()
}

#[test]
fn relu_keeps_what_is_positive() {
    for len in LENGTHS {
        let src = vector(len, 1);
        let expected: Vec<f32> = src.iter().map(|&x| if x > 0.0 { x } else { 0.0 }).collect();
        let run = |cx: &_| {
            let mut dst = vec![f32::NAN; len];
            relu::forward(cx, &src, &mut dst);
            dst
        };
        on_every_isa(run).into_iter().for_each(|(isa, dst)| assert_eq!(dst, expected, "{isa}"));
    }
}

#[test]
fn relu_gives_gradients_to_what_was_positive() {
    for len in LENGTHS {
        let (dst, diff_dst) = (vector(len, 2), vector(len, 3));
        let dst: Vec<f32> = dst.iter().map(|x| x.max(0.0)).collect();
        let pairs = dst.iter().zip(&diff_dst);
        let expected: Vec<f32> = pairs.map(|(&x, &g)| if x > 0.0 { g } else { 0.0 }).collect();
        let run = |cx: &_| {
            let mut diff_src = vec![f32::NAN; len];
            relu::backward(cx, &dst, &diff_dst, &mut diff_src);
            diff_src
        };
        on_every_isa(run).into_iter().for_each(|(isa, diff)| assert_eq!(diff, expected, "{isa}"));
    }
}

#[test]
fn relu_shows_nan() {
    for cx in contexts() {
        let src: Vec<f32> = (0..20).map(|i| if i % 3 == 0 { f32::NAN } else { -1.0 }).collect();
        let mut dst = vec![0.0; 20];
        relu::forward(&cx, &src, &mut dst);
        for (x, y) in src.iter().zip(dst) {
            assert_eq!(x.is_nan(), y.is_nan(), "{}", cx.isa().name);
        }
    }
}

#[test]
fn addition_adds() {
    for len in LENGTHS {
        let (a, b) = (vector(len, 4), vector(len, 5));
        let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        let forward = |cx: &_| {
            let mut dst = vec![f32::NAN; len];
            add::forward(cx, &a, &b, &mut dst);
            dst
        };
        on_every_isa(forward).into_iter().for_each(|(isa, dst)| assert_eq!(dst, expected, "{isa}"));
        let forward_relu = |cx: &_| {
            let mut dst = vec![f32::NAN; len];
            add::forward_relu(cx, &a, &b, &mut dst);
            dst
        };
        let rectified: Vec<f32> = expected.iter().map(|x| x.max(0.0)).collect();
        on_every_isa(forward_relu)
            .into_iter()
            .for_each(|(isa, dst)| assert_eq!(dst, rectified, "{isa}"));
        let accumulate = |cx: &_| {
            let mut dst = a.clone();
            add::accumulate(cx, &b, &mut dst);
            dst
        };
        on_every_isa(accumulate)
            .into_iter()
            .for_each(|(isa, dst)| assert_eq!(dst, expected, "{isa}"));
    }
}
