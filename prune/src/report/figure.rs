//! Line charts as SVG.

use super::legend::{self, Area, Error, FONT};
use super::scale::{Factors, Numbers, range};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
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
const WIDTH: u32 = 720;
/// With one line of names above the chart; each further line adds its own.
const HEIGHT: u32 = 440;
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
        let more_lines = (self.legend_height() - legend::ONE_LINE).max(0);
        let size = (WIDTH, HEIGHT + more_lines as u32);
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
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
            .margin_top(self.legend_height())
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
        legend::draw(area, &self.title, self.names(), LEFT + MARGIN, WIDTH as i32)
    }

    fn legend_height(&self) -> i32 {
        legend::height(self.names(), LEFT + MARGIN, WIDTH as i32)
    }

    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.series.iter().map(|series| &*series.name)
    }
}

enum Scale {
    Linear(Range<f64>),
    Logarithmic(Range<f64>),
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
    fn an_axis_of_factors_within_one_gap_of_its_marks_has_numbers_too() {
        let mut close = figure(true);
        close.series.truncate(1);
        close.series[0].points = vec![(34.0, 92.0), (35.0, 93.0)];
        let svg = close.to_svg();
        assert!(svg.contains("31.0") && svg.contains("38.0"), "{svg}");
    }

    #[test]
    fn a_figure_is_as_much_higher_as_its_names_take_lines() {
        let mut some = figure(false);
        let height = |figure: &Figure| {
            let svg = figure.to_svg();
            let height = svg.split_once("height=\"").expect("it has one").1;
            height[..height.find('"').expect("an end")].parse::<i32>().expect("pixels")
        };
        assert_eq!(height(&some), 440);
        let line = some.series[0].clone();
        // One takes more than half of a line.
        some.series = (0..5).map(|i| Series { name: format!("{i:050}"), ..line.clone() }).collect();
        assert_eq!(height(&some), 440 + 4 * 20);
        some.series.clear();
        assert_eq!(height(&some), 440);
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
}
