//! Line charts as SVG.

use super::legend::{self, Area, Error, FONT};
use plotters::coord::ranged1d::{
    AsRangedCoord, DefaultFormatting, KeyPointHint, Ranged, ValueFormatter,
};
use plotters::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Lines through points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// A short name, for file names.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// What it measures, with the unit.
    pub label: String,
    /// Whether equal steps are equal factors.
    pub logarithmic: bool,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points, x and y.
    pub points: Vec<(f64, f64)>,
    /// Whether a line joins them, from the left to the right.
    pub joined: bool,
}

/// Pixels, at the usual resolution.
const SIZE: (u32, u32) = (720, 440);
const MARGIN: i32 = 12;
/// The width of the labels of the axis upwards.
const LEFT: i32 = 56;
/// Colours that people of every colour vision tell apart (Okabe and Ito 2008).
pub(super) const COLORS: [RGBColor; 9] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
    RGBColor(160, 140, 0),
    RGBColor(0, 0, 0),
];

impl Figure {
    /// As SVG, on white. The text is a function of the figure.
    ///
    /// # Panics
    /// If a value is not finite, or not positive on a logarithmic axis.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = range(points().map(|point| point.0), &self.x);
        let y = range(points().map(|point| point.1), &self.y);
        let numbers = [Numbers::of(&x, &self.x), Numbers::of(&y, &self.y)];
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            let scale = |axis: &Axis, range: Range<f64>| match axis.logarithmic {
                true => Scale::Logarithmic(range),
                false => Scale::Linear(range),
            };
            let drawn = match (scale(&self.x, x), scale(&self.y, y)) {
                (Scale::Linear(x), Scale::Linear(y)) => self.draw(&area, numbers, x, y),
                (Scale::Logarithmic(x), Scale::Linear(y)) => {
                    self.draw(&area, numbers, Factors(x), y)
                }
                (Scale::Linear(x), Scale::Logarithmic(y)) => {
                    self.draw(&area, numbers, x, Factors(y))
                }
                (Scale::Logarithmic(x), Scale::Logarithmic(y)) => {
                    self.draw(&area, numbers, Factors(x), Factors(y))
                }
            };
            drawn.and_then(|()| area.present()).expect("a string takes all drawing");
        }
        svg
    }

    fn draw<X, Y>(&self, area: &Area<'_>, numbers: [Numbers; 2], x: X, y: Y) -> Result<(), Error>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .margin(MARGIN)
            .margin_top(legend::height(self.names(), LEFT + MARGIN, SIZE.0 as i32))
            .x_label_area_size(44)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .label_style(FONT)
            .x_label_formatter(&|value| numbers[0].text(*value))
            .y_label_formatter(&|value| numbers[1].text(*value))
            .draw()?;
        for (index, series) in self.series.iter().enumerate() {
            let mut points = series.points.clone();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let line = COLORS[index % COLORS.len()].stroke_width(2);
            match series.joined {
                true if index < COLORS.len() => {
                    chart.draw_series(LineSeries::new(points.clone(), line))?;
                }
                true => {
                    chart.draw_series(DashedLineSeries::new(points.clone(), 6, 4, line))?;
                }
                false => {}
            }
            let mark = legend::mark(index);
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, mark)))?;
        }
        legend::draw(area, &self.title, self.names(), LEFT + MARGIN, SIZE.0 as i32)
    }

    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.series.iter().map(|series| &*series.name)
    }
}

enum Scale {
    Linear(Range<f64>),
    Logarithmic(Range<f64>),
}

/// An axis on which equal steps are equal factors.
struct Factors(Range<f64>);

impl Ranged for Factors {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let Range { start, end } = self.0;
        from + (f64::from(to - from) * (value / start).ln() / (end / start).ln()).round() as i32
    }

    /// Powers of ten, or with two and five times them, or all multiples: the fewest that are three or more.
    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let Range { start, end } = self.0;
        let powers = start.log10().floor() as i32..=end.log10().floor() as i32;
        let points = |multiples: &[u8]| -> Vec<f64> {
            let powers = powers.clone();
            let all = powers.flat_map(|power| {
                let of_power = move |&by: &u8| f64::from(by) * 10f64.powi(power);
                multiples.iter().map(of_power)
            });
            all.filter(|value| self.0.contains(value)).collect()
        };
        let sets = [&[1][..], &[1, 2, 5], &[1, 2, 3, 4, 5, 6, 7, 8, 9]].map(points);
        let most = hint.max_num_points();
        let some = sets.iter().find(|set| set.len() >= 3).unwrap_or(&sets[2]);
        some.iter().copied().take(most).collect()
    }

    fn range(&self) -> Range<f64> {
        self.0.clone()
    }
}

/// From the least to the largest value, with some room.
fn range(values: impl Iterator<Item = f64>, axis: &Axis) -> Range<f64> {
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
    fn of(range: &Range<f64>, axis: &Axis) -> Self {
        if axis.logarithmic { Self::Significant } else { Self::linear(range.end - range.start) }
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

    fn figure(logarithmic: bool) -> Figure {
        let line = |name: &str, points: &[(f64, f64)]| Series {
            name: name.into(),
            points: points.to_vec(),
            joined: true,
        };
        Figure {
            name: "f".into(),
            title: "A <title>".into(),
            x: Axis { label: "MACs (M)".into(), logarithmic },
            y: Axis { label: "accuracy (%)".into(), logarithmic: false },
            series: vec![line("a & b", &[(31.0, 92.0), (310.0, 93.5)]), line("c", &[(62.0, 90.0)])],
        }
    }

    #[test]
    fn a_figure_has_all_its_lines_points_and_labels() {
        for logarithmic in [false, true] {
            let svg = figure(logarithmic).to_svg();
            assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert_eq!(svg.matches("<circle").count(), 3);
            let grid: &[&str] = if logarithmic { &["50", "100", "200"] } else { &["100", "300"] };
            for text in
                ["A &lt;title&gt;", "a &amp; b", "MACs (M)", "accuracy (%)"].iter().chain(grid)
            {
                assert!(svg.contains(text), "{text} in {svg}");
            }
        }
    }

    #[test]
    fn no_points_and_equal_points_draw_too() {
        let mut empty = figure(false);
        empty.series.clear();
        assert!(empty.to_svg().contains("A &lt;title&gt;"));
        let mut same = figure(true);
        same.series = vec![Series { name: "one".into(), points: vec![(5.0, 90.0)], joined: true }];
        assert_eq!(same.to_svg().matches("<circle").count(), 1);
    }

    #[test]
    fn series_beyond_the_colours_look_like_no_others() {
        let mut many = figure(false);
        let line = many.series[0].clone();
        many.series = (0..2 * COLORS.len())
            .map(|i| Series { name: format!("{i}"), ..line.clone() })
            .collect();
        let svg = many.to_svg();
        // The circles by their look alone.
        let circles = svg.lines().filter(|line| line.starts_with("<circle"));
        let looks: BTreeSet<&str> =
            circles.map(|line| &line[line.find("opacity").expect("a colour")..]).collect();
        assert_eq!(looks.len(), many.series.len(), "{looks:?}");
    }

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
}
