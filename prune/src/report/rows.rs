//! Charts with a row for each layer as SVG.

use super::figure::COLORS;
use super::legend::{self, Area, CHARACTER, Error, FONT};
use super::scale::Numbers;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::collections::BTreeSet;

/// Values of rows, side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// A short name, for file names.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// What is to the right, with the unit.
    pub x: String,
    /// The rows' names, from the top.
    pub labels: Vec<String>,
    /// What each row shows.
    pub series: Vec<RowSeries>,
    /// How.
    pub marks: Marks,
}

/// Values of every row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowSeries {
    /// Its name in the legend.
    pub name: String,
    /// The values of each row, in the order of the labels.
    pub values: Vec<Vec<f64>>,
}

/// How values are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// A bar from zero to each row's first value.
    Bars,
    /// A tick at each value.
    Ticks,
}

/// Pixels, at the usual resolution.
const WIDTH: u32 = 720;
const ROW: u32 = 24;
/// What is below the rows.
const FRAME: u32 = 56;

impl Rows {
    /// As SVG, on white. The text is a function of the figure.
    ///
    /// # Panics
    /// If a value is not finite.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let mut svg = String::new();
        let height = FRAME + ROW * self.labels.len() as u32 + self.legend_height() as u32;
        {
            let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
            let drawn = self.draw(&area).and_then(|()| area.present());
            drawn.expect("a string takes all drawing");
        }
        svg
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Error> {
        area.fill(&WHITE)?;
        let (low, high) = self.range();
        let numbers = Numbers::linear(high - low);
        let rows = self.labels.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_top(self.legend_height())
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(self.left())
            .build_cartesian_2d(low..high, 0.0..rows.max(1.0))?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc(&self.x)
            .y_labels(0)
            .label_style(FONT)
            .x_label_formatter(&|value| numbers.text(*value))
            .draw()?;
        let plot = chart.plotting_area();
        let (left, _) = plot.map_coordinate(&(low, 0.0));
        let to_the_left = FONT.into_text_style(area).pos(Pos::new(HPos::Right, VPos::Center));
        for (row, label) in self.labels.iter().enumerate() {
            let (_, middle) = plot.map_coordinate(&(low, rows - row as f64 - 0.5));
            area.draw_text(label, &to_the_left, (left - 8, middle))?;
        }
        let lanes = self.series.len().max(1) as f64;
        for (lane, (series, color)) in self.series.iter().zip(COLORS.iter().cycle()).enumerate() {
            for (row, values) in series.values.iter().enumerate() {
                // A tenth of a row is left free above and below.
                let of_row = |lanes_down: f64| rows - row as f64 - 0.1 - 0.8 * lanes_down / lanes;
                let (top, bottom) = (of_row(lane as f64), of_row(lane as f64 + 1.0));
                match self.marks {
                    Marks::Bars => {
                        for &value in values.iter().take(1) {
                            let corners = [(0.0, bottom), (value, top)];
                            plot.draw(&Rectangle::new(corners, legend::mark(lane)))?;
                        }
                    }
                    Marks::Ticks => {
                        let mut drawn = BTreeSet::new();
                        for &value in values {
                            // One tick a pixel.
                            if drawn.insert(plot.map_coordinate(&(value, top)).0) {
                                let ends = vec![(value, bottom), (value, top)];
                                plot.draw(&PathElement::new(ends, color.stroke_width(1)))?;
                            }
                        }
                    }
                }
            }
        }
        legend::draw(area, &self.title, self.names(), left, WIDTH as i32)
    }

    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.series.iter().map(|series| &*series.name)
    }

    /// The width of the labels.
    fn left(&self) -> i32 {
        let longest = self.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        (CHARACTER * longest + 20).min(WIDTH as usize / 2) as i32
    }

    fn legend_height(&self) -> i32 {
        legend::height(self.names(), self.left(), WIDTH as i32)
    }

    fn range(&self) -> (f64, f64) {
        let values = self.series.iter().flat_map(|series| series.values.iter().flatten());
        let (mut low, mut high) = match self.marks {
            Marks::Bars => (0.0, 0.0),
            Marks::Ticks => (f64::INFINITY, f64::NEG_INFINITY),
        };
        for &value in values {
            assert!(value.is_finite(), "{value} has no place in {:?}", self.name);
            (low, high) = (value.min(low), value.max(high));
        }
        if low > high {
            return (0.0, 1.0);
        }
        let room = (0.03 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
        match self.marks {
            Marks::Bars => (low, high + room),
            Marks::Ticks => (low - room, high + room),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(marks: Marks) -> Rows {
        let series = |name: &str, values: [&[f64]; 2]| RowSeries {
            name: name.into(),
            values: values.map(<[f64]>::to_vec).to_vec(),
        };
        Rows {
            name: "r".into(),
            title: "Some <rows>".into(),
            x: "share (%)".into(),
            labels: vec!["conv1".into(), "a & b".into()],
            series: vec![series("MACs", [&[0.5, 0.7], &[0.25]]), series("time", [&[], &[0.125]])],
            marks,
        }
    }

    #[test]
    fn a_figure_has_all_its_rows_and_labels() {
        // Bars and squares of the legend, beside the ground.
        for (marks, rectangles, ticks) in [(Marks::Bars, 3 + 2 + 1, 0), (Marks::Ticks, 2 + 1, 4)] {
            let svg = rows(marks).to_svg();
            assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert_eq!(svg.matches("<rect").count(), rectangles, "{svg}");
            let colors = ["#0072B2", "#E69F00"];
            let found = colors.map(|color| svg.matches(&format!("stroke=\"{color}\"")).count());
            assert_eq!(found.iter().sum::<usize>(), ticks, "{svg}");
            for text in ["Some &lt;rows&gt;", "conv1", "a &amp; b", "share (%)", "MACs", "time"] {
                assert!(svg.contains(text), "{text} in {svg}");
            }
        }
    }

    #[test]
    fn no_rows_and_equal_values_draw_too() {
        let mut same = rows(Marks::Ticks);
        same.series.iter_mut().for_each(|series| series.values = vec![vec![0.0; 3]; 2]);
        assert!(same.to_svg().contains("conv1"));
        same.labels.clear();
        same.series.clear();
        assert!(same.to_svg().contains("Some &lt;rows&gt;"));
    }
}
