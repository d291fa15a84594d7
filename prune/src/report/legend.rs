//! What is above a chart: its title, and the names of its series in as many lines as it takes.

use super::figure::COLORS;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
pub(super) type Error = DrawingAreaErrorKind<std::io::Error>;

/// The font of everything but titles.
pub(super) const FONT: (&str, u32) = ("sans-serif", 13);
/// A character's usual width in it.
pub(super) const CHARACTER: usize = 7;

/// A line's height.
const LINE: i32 = 20;
/// The middle of the first line: below the title.
const TOP: i32 = 50;
/// The height of the title and one line of names.
pub(super) const ONE_LINE: i32 = TOP + LINE / 2;

/// How the marks of a series look: full, and hollow where colours come again.
pub(super) fn mark(index: usize) -> ShapeStyle {
    let color = COLORS[index % COLORS.len()];
    if index < COLORS.len() { color.filled() } else { color.stroke_width(2) }
}

/// Where each name begins, and its line.
fn places<'n>(names: impl Iterator<Item = &'n str>, left: i32, right: i32) -> Vec<(i32, i32)> {
    let (mut x, mut line) = (left, 0);
    let places = names.map(|name| {
        let width = 36 + (CHARACTER * name.chars().count()) as i32;
        if x > left && x + width > right {
            (x, line) = (left, line + 1);
        }
        x += width;
        (x - width, line)
    });
    places.collect()
}

/// The height of the title and the names' lines.
pub(super) fn height<'n>(names: impl Iterator<Item = &'n str>, left: i32, right: i32) -> i32 {
    places(names, left, right).last().map_or(0, |(_, line)| LINE * (line + 1)) + TOP - LINE / 2
}

/// Draws the title, and the names from `left` to `right` with the marks of their series.
pub(super) fn draw<'n>(
    area: &Area<'_>,
    title: &str,
    names: impl Iterator<Item = &'n str> + Clone,
    left: i32,
    right: i32,
) -> Result<(), Error> {
    let (width, _) = area.dim_in_pixel();
    let centred = Pos::new(HPos::Center, VPos::Center);
    let style = ("sans-serif", 18).into_text_style(area).pos(centred);
    area.draw_text(title, &style, (width as i32 / 2, 22))?;
    let style = FONT.into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
    let places = places(names.clone(), left, right);
    for (index, (name, (x, line))) in names.zip(places).enumerate() {
        let y = TOP + LINE * line;
        area.draw(&Rectangle::new([(x, y - 5), (x + 10, y + 5)], mark(index)))?;
        area.draw_text(name, &style, (x + 16, y))?;
    }
    Ok(())
}
