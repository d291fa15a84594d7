//! Quantiles, and the ratio of medians with its interval.

use pleach_core::tensor::rng::Rng;

/// Resamples of a bootstrap: the 2.5 % quantile is then the 25th smallest of them.
const RESAMPLES: usize = 1000;

/// The ratio of the medians of the first and second times of `pairs`, and the ends of its 95 %
/// interval.
pub(super) fn ratio_of_medians(pairs: &[[f64; 2]], rng: &mut Rng) -> [f64; 3] {
    let mut columns = [Vec::new(), Vec::new()];
    let mut ratio = |draw: &mut dyn FnMut(usize) -> [f64; 2]| {
        columns.iter_mut().for_each(Vec::clear);
        for i in 0..pairs.len() {
            let pair = draw(i);
            columns[0].push(pair[0]);
            columns[1].push(pair[1]);
        }
        let [base, net] = columns.each_mut().map(|times| {
            times.sort_unstable_by(f64::total_cmp);
            quantile(times, 0.5)
        });
        base / net
    };
    let found = ratio(&mut |i| pairs[i]);
    let mut resamples: Vec<f64> =
        (0..RESAMPLES).map(|_| ratio(&mut |_| pairs[rng.below(pairs.len())])).collect();
    resamples.sort_unstable_by(f64::total_cmp);
    [found, quantile(&resamples, 0.025), quantile(&resamples, 0.975)]
}

/// The median of `times`.
pub(super) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    quantile(&times, 0.5)
}

/// The quantile of ascending values, linear between neighbours.
pub(super) fn quantile(ascending: &[f64], at: f64) -> f64 {
    let position = at * (ascending.len() - 1) as f64;
    let (below, part) = (position.floor() as usize, position.fract());
    let above = (below + 1).min(ascending.len() - 1);
    ascending[below] + part * (ascending[above] - ascending[below])
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleach_core::tensor::rng::Purpose;

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        let values = [1.0, 2.0, 4.0];
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(quantile(&values, 0.5), 2.0);
        assert_eq!(quantile(&values, 0.75), 3.0);
        assert_eq!(quantile(&values, 1.0), 4.0);
    }

    #[test]
    fn the_interval_of_a_ratio_holds_it_and_is_narrow_where_times_are_steady() {
        let mut rng = Rng::new(1, Purpose::Test, 0, 0);
        let mut pairs = |noise: f64| -> Vec<[f64; 2]> {
            (0..101).map(|_| [4.0 + noise * rng.uniform(), 2.0 + noise * rng.uniform()]).collect()
        };
        let (steady, noisy) = (pairs(0.01), pairs(1.0));
        let mut rng = Rng::new(2, Purpose::Test, 0, 0);
        let [a, low_a, high_a] = ratio_of_medians(&steady, &mut rng);
        let [b, low_b, high_b] = ratio_of_medians(&noisy, &mut rng);
        assert!((a - 2.0).abs() < 0.01 && low_a <= a && a <= high_a, "{low_a} {a} {high_a}");
        assert!(low_b <= b && b <= high_b, "{low_b} {b} {high_b}");
        assert!(high_a - low_a < 0.01 && high_b - low_b > 0.02);
    }
}
