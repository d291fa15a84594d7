//! Entropies against tables worked by hand and against another implementation.

use pleach_prune::entropy::{
    Binned, Correction, classes, conditional, entropy, equal_width, joint, one_bin, quantiles,
};
use proptest::prelude::*;
use std::f64::consts::LN_2;

/// Samples as a table of counts, a row for each bin of `Z` and a column for each bin of `A`.
fn samples(table: &[&[u32]]) -> (Binned, Binned) {
    let cells = table.iter().enumerate().flat_map(|(z, row)| {
        let row = row.iter().enumerate();
        row.flat_map(move |(a, &n)| std::iter::repeat_n((a as u32, z as u32), n as usize))
    });
    let (a, z) = cells.unzip();
    (Binned { bins: a, count: table[0].len() }, Binned { bins: z, count: table.len() })
}

fn assert_close(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-12, "{actual} is not {expected}");
}

#[test]
fn an_independent_condition_leaves_the_entropy() {
    let (a, z) = samples(&[&[2, 1, 1], &[4, 2, 2], &[6, 3, 3]]);
    // 1/2 ln 2 + 2 * 1/4 ln 4
    assert_close(entropy(&a, Correction::None), 1.5 * LN_2);
    assert_close(conditional(&a, &z, Correction::None), 1.5 * LN_2);
}

#[test]
fn a_condition_that_determines_the_response_leaves_nothing() {
    let (a, z) = samples(&[&[0, 5, 0], &[3, 0, 0], &[0, 0, 4], &[0, 2, 0]]);
    assert_eq!(conditional(&a, &z, Correction::None), 0.0);
}

#[test]
fn a_table_worked_by_hand() {
    // p(z) = 1/2 each; H(A | z = 0) = ln 4 - 3/4 ln 3, H(A | z = 1) = ln 2.
    let (a, z) = samples(&[&[3, 1], &[2, 2]]);
    let expected = (4f64.ln() - 0.75 * 3f64.ln() + LN_2) / 2.0;
    assert_close(conditional(&a, &z, Correction::None), expected);
    // Two occupied bins in each of two conditions: 2 * (2 - 1) / 2 over 8 samples.
    assert_close(conditional(&a, &z, Correction::MillerMadow), expected + 1.0 / 8.0);
}

#[test]
fn a_constant_filter_has_one_bin_and_no_entropy() {
    let a = equal_width(&[0.3; 50], 0.3, 0.3, 32);
    assert_eq!(a.count, 1);
    let z = quantiles(&(0..50).map(f64::from).collect::<Vec<_>>(), 10);
    for correction in [Correction::None, Correction::MillerMadow] {
        assert_eq!(conditional(&a, &z, correction), 0.0);
    }
    assert_eq!(quantiles(&[1.5; 50], 10), one_bin(50));
}

#[test]
fn bins_of_equal_width_split_the_range_and_hold_its_ends() {
    let binned = equal_width(&[0.0, 0.24, 0.25, 0.5, 0.99, 1.0], 0.0, 1.0, 4);
    assert_eq!(binned.bins, [0, 0, 1, 2, 3, 3]);
    assert_eq!(equal_width(&[-1.0, 9.0, f32::NAN], 0.0, 1.0, 4).bins, [0, 3, 0]);
}

#[test]
fn quantile_bins_hold_equal_numbers_and_tied_edges_merge() {
    let samples: Vec<f64> = (0..30).map(|i| f64::from(i * 7 % 30)).collect();
    let binned = quantiles(&samples, 10);
    for bin in 0..10 {
        assert_eq!(binned.bins.iter().filter(|&&b| b == bin).count(), 3);
    }
    // The edges are 0, 0, 0, 1, 2: the ties at the minimum bound nothing.
    let tied = quantiles(&[0.0, 0.0, 0.0, 0.0, 1.0, 2.0], 6);
    assert_eq!(tied, Binned { bins: vec![0, 0, 0, 0, 1, 2], count: 3 });
    // The edges are 0, 3, 3: all the threes share one bin.
    let tied = quantiles(&[0.0, 0.0, 3.0, 3.0, 3.0, 3.0], 4);
    assert_eq!(tied, Binned { bins: vec![0, 0, 1, 1, 1, 1], count: 2 });
}

/// The numbers that numpy gives for the same samples:
///
/// ```python
/// import numpy as np
/// N = 240
/// a = ((np.arange(N) * 7919) % 997 / 997.0).astype(np.float32)
/// loss = ((np.arange(N) * 104729) % 1009) / 1009.0 + a.astype(np.float64)
/// labels = (np.arange(N) * 31) % 7
/// def quant(x, m):
///     s = np.sort(x)
///     e = s[[k * len(x) // m for k in range(1, m)]]
///     return np.searchsorted(np.unique(e[e > s[0]]), x, side='right')
/// def width(x, b):
///     x = x.astype(np.float64)
///     return np.minimum((x - x.min()) / (x.max() - x.min()) * b, b - 1).astype(int)
/// def con_ent(a, z, mm=False):
///     h = 0
///     for v in np.unique(z):
///         c = np.unique(a[z == v], return_counts=True)[1]
///         n = c.sum(); p = c / n
///         h += n / len(a) * (-(p * np.log(p)).sum() + ((len(c) - 1) / (2 * n) if mm else 0))
///     return h
/// zl = quant(loss, 10)
/// for x in (width(a, 32), quant(a.astype(np.float64), 32)):
///     print(con_ent(x, zl), con_ent(x, labels), con_ent(x, zl * 7 + labels),
///           con_ent(x, 0 * labels), con_ent(x, zl, True))
/// ```
#[test]
fn another_implementation_gives_the_same_numbers() {
    let a: Vec<f32> = (0..240u32).map(|i| (f64::from(i * 7919 % 997) / 997.0) as f32).collect();
    let wide: Vec<f64> = a.iter().copied().map(f64::from).collect();
    let noise = (0..240u32).map(|i| f64::from(i * 104_729 % 1009) / 1009.0);
    let losses: Vec<f64> = noise.zip(&wide).map(|(noise, a)| noise + a).collect();
    let labels: Vec<u32> = (0..240).map(|i| i * 31 % 7).collect();

    let (min, max) = a.iter().fold((1.0f32, 0.0f32), |(l, h), &x| (l.min(x), h.max(x)));
    let (loss, label) = (quantiles(&losses, 10), classes(&labels));
    let both = joint(&loss, &label);
    let rows = [
        (
            equal_width(&a, min, max, 32),
            [
                2.787_049_280_563_835,
                1.710_783_854_393_070_7,
                1.010_841_675_556_229_3,
                3.453_986_972_553_575,
                3.134_965_947_230_502,
            ],
        ),
        (
            quantiles(&wide, 32),
            [
                2.646_528_066_640_502,
                2.080_033_600_839_400_7,
                1.129_310_781_540_963_3,
                3.463_512_031_553_599_4,
                2.948_611_399_973_834_6,
            ],
        ),
    ];
    for (binned, [by_loss, by_label, by_both, alone, corrected]) in rows {
        assert_close(conditional(&binned, &loss, Correction::None), by_loss);
        assert_close(conditional(&binned, &label, Correction::None), by_label);
        assert_close(conditional(&binned, &both, Correction::None), by_both);
        assert_close(entropy(&binned, Correction::None), alone);
        assert_close(conditional(&binned, &loss, Correction::MillerMadow), corrected);
    }
}

proptest! {
    #[test]
    fn conditions_take_away_between_nothing_and_everything(
        samples in prop::collection::vec((-5.0..5.0f32, 0.0..9.0f64, 0..4u32), 1..200),
        bins in 1..40usize,
    ) {
        let a: Vec<f32> = samples.iter().map(|sample| sample.0).collect();
        let losses: Vec<f64> = samples.iter().map(|sample| sample.1).collect();
        let labels: Vec<u32> = samples.iter().map(|sample| sample.2).collect();
        let a = equal_width(&a, -5.0, 5.0, bins);
        let (loss, label) = (quantiles(&losses, 10), classes(&labels));
        let alone = entropy(&a, Correction::None);
        let by_loss = conditional(&a, &loss, Correction::None);
        let by_both = conditional(&a, &joint(&loss, &label), Correction::None);
        prop_assert!(0.0 <= by_both && by_both <= by_loss + 1e-12);
        prop_assert!(by_loss <= alone + 1e-12 && alone <= (bins as f64).ln() + 1e-12);
    }
}
