//! Sums over pixels.

use crate::{Numbers, assert_close, dense, map, on_every_isa};
use pleach_kernels::reduce;

#[test]
fn channel_sums_match_f64() {
    for (pixels, channels) in [(0, 3), (1, 1), (9, 37), (5000, 17), (700, 530)] {
        let mut numbers = Numbers(11);
        let src = map(pixels, channels, || 1.0 + numbers.real());
        let mut expected = vec![0.0; channels];
        for (i, x) in dense(&src, channels).into_iter().enumerate() {
            expected[i % channels] += x;
        }
        let run = |cx: &_| {
            let mut sums = vec![f32::NAN; channels];
            reduce::channel_sums_f32(cx, pixels, channels, &src, &mut sums);
            sums
        };
        for (isa, sums) in on_every_isa(run) {
            let sums: Vec<f64> = sums.into_iter().map(f64::from).collect();
            assert_close(&sums, &expected, 2e-7, &format!("{pixels} x {channels} on {isa}"));
        }
    }
}

#[test]
fn channel_sums_of_integers_are_exact() {
    let mut numbers = Numbers(12);
    let src = map(20_000, 37, || numbers.integer());
    let mut expected = vec![0.0; 37];
    for (i, x) in dense(&src, 37).into_iter().enumerate() {
        expected[i % 37] += x as f32;
    }
    let run = |cx: &_| {
        let mut sums = vec![f32::NAN; 37];
        reduce::channel_sums_f32(cx, 20_000, 37, &src, &mut sums);
        sums
    };
    for (isa, sums) in on_every_isa(run) {
        assert_eq!(sums, expected, "{isa}");
    }
}
