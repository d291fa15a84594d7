//! The scales of charts' axes: what is marked on them, and how numbers are written.

use super::Axis;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use std::ops::Range;

/// An axis on which equal steps are equal factors.
pub(super) struct Factors(pub(super) Range<f64>);

impl Ranged for Factors {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let Range { start, end } = self.0;
        from + (f64::from(to - from) * (value / start).ln() / (end / start).ln()).round() as i32
    }

    /// [`marks`], or those of a linear axis where there are none.
    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match marks(&self.0) {
            Some(marks) => marks.into_iter().take(hint.max_num_points()).collect(),
            None => RangedCoordf64::from(self.0.clone()).key_points(hint),
        }
    }

    fn range(&self) -> Range<f64> {
        self.0.clone()
    }
}

/// What is marked on an axis of factors: powers of ten, or with two and five times them, or all multiples: the fewest
/// that are three or more. Nothing where there are no two.
fn marks(range: &Range<f64>) -> Option<Vec<f64>> {
    let powers = range.start.log10().floor() as i32..=range.end.log10().floor() as i32;
    let marks = |multiples: &[u8]| -> Vec<f64> {
        let all = powers.clone().flat_map(|power| {
            let of_power = move |&by: &u8| f64::from(by) * 10f64.powi(power);
            multiples.iter().map(of_power)
        });
        all.filter(|value| range.contains(value)).collect()
    };
    let [tens, some, all] = [&[1][..], &[1, 2, 5], &[1, 2, 3, 4, 5, 6, 7, 8, 9]].map(marks);
    let fewest = [tens, some].into_iter().find(|marks| marks.len() >= 3).unwrap_or(all);
    (fewest.len() >= 2).then_some(fewest)
}

/// From the least to the largest value, with some room.
pub(super) fn range(values: impl Iterator<Item = f64>, axis: &Axis) -> Range<f64> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        let fits = value.is_finite() && (value > 0.0 || !axis.logarithmic);
        assert!(fits, "{value} has no place on {axis:?}");
        (low, high) = (low.min(value), high.max(value));
    }
    if low > high {
        return 1.0..2.0;
    }
    if axis.logarithmic {
        return low / 1.1..high * 1.1;
    }
    let room = (0.05 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
    low - room..high + room
}

/// How numbers on an axis are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Numbers {
    /// With so many decimals.
    Decimals(usize),
    /// With two significant digits or all before the point.
    Significant,
}

impl Numbers {
    /// Those of an axis of this range.
    pub(super) fn of(range: &Range<f64>, axis: &Axis) -> Self {
        match axis.logarithmic && marks(range).is_some() {
            true => Self::Significant,
            false => Self::linear(range.end - range.start),
        }
    }

    /// Those of a linear axis of this length, which has about ten of them: as many decimals as tell them apart.
    pub(super) fn linear(length: f64) -> Self {
        Self::Decimals(decimals(0.1 * length))
    }

    pub(super) fn text(self, value: f64) -> String {
        let decimals = match self {
            Self::Decimals(decimals) => decimals,
            Self::Significant => decimals(0.1 * value.abs()),
        };
        let text = format!("{value:.decimals$}");
        // What is rounded to zero has no sign.
        match text.strip_prefix('-') {
            Some(size) if size.bytes().all(|byte| matches!(byte, b'0' | b'.')) => size.to_owned(),
            _ => text,
        }
    }
}

/// The place of a number's first digit behind the point; 0 before it.
fn decimals(value: f64) -> usize {
    (-value.log10().floor()).clamp(0.0, 9.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_of_an_axis_differ_and_zero_has_no_sign() {
        let texts = |numbers: Numbers, values: &[f64]| -> Vec<String> {
            values.iter().map(|&value| numbers.text(value)).collect()
        };
        assert_eq!(texts(Numbers::linear(2.5), &[10.0, 10.5, -1e-17]), ["10.0", "10.5", "0.0"]);
        assert_eq!(texts(Numbers::linear(0.06), &[0.04, 0.045]), ["0.040", "0.045"]);
        assert_eq!(texts(Numbers::linear(300.0), &[-50.0, 1e3]), ["-50", "1000"]);
        let values = [0.0021, 0.5, 3.0, 31.4, 313.0];
        assert_eq!(texts(Numbers::Significant, &values), ["0.0021", "0.50", "3.0", "31", "313"]);
    }

    #[test]
    fn marks_of_factors_are_read_apart_however_close_the_values() {
        let axis = Axis { label: "ms".into(), logarithmic: true };
        for (low, high) in [(34.0, 35.0), (5.0, 5.0), (0.0012, 0.0013), (9.0, 11.0), (1.0, 1e6)] {
            let range = range([low, high].into_iter(), &axis);
            let (numbers, marks) = (Numbers::of(&range, &axis), Factors(range).key_points(11usize));
            let texts: BTreeSet<String> = marks.iter().map(|&mark| numbers.text(mark)).collect();
            assert!(texts.len() >= 2 && texts.len() == marks.len(), "{low} {high}: {texts:?}");
        }
    }
}
