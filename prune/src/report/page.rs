//! What a report says, whatever the format.

use super::{Axis, Figure, Rows, Table};

/// What a page shows.
#[derive(Clone, Debug)]
pub struct Page {
    /// The title.
    pub title: String,
    /// A few sentences under it.
    pub summary: String,
    /// The parts.
    pub sections: Vec<Section>,
    /// How to repeat what it shows.
    pub repeat: Vec<Block>,
    /// What the names of its figures' files begin with.
    pub figure_prefix: &'static str,
}

/// A part of a page.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Its anchor.
    pub id: String,
    /// What the page's list of contents calls it.
    pub label: String,
    /// Its heading.
    pub heading: String,
    /// Paragraphs.
    pub text: Vec<String>,
    /// Its tables.
    pub tables: Vec<Table>,
    /// Its figures.
    pub figures: Vec<Picture>,
}

/// A figure of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Picture {
    /// Lines through points.
    Lines(Figure),
    /// A row for each layer.
    Rows(Rows),
}

/// A sentence and what it introduces.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// The sentence.
    pub text: String,
    /// What is to be typed or read letter by letter.
    pub code: String,
    /// Tables.
    pub tables: Vec<Table>,
}

impl Picture {
    /// A short name, for file names.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Lines(figure) => &figure.name,
            Self::Rows(rows) => &rows.name,
        }
    }

    /// What it shows.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::Lines(figure) => &figure.title,
            Self::Rows(rows) => &rows.title,
        }
    }

    /// Whether its values have a place in it: no count, time or accuracy is as large as those that have none.
    fn is_drawable(&self) -> bool {
        let is_some = |value: &f64| value.abs() < 1e100;
        let fits = |value: &f64, axis: &Axis| is_some(value) && (*value > 0.0 || !axis.logarithmic);
        match self {
            Self::Lines(Figure { x, y, series, .. }) => {
                let mut points = series.iter().flat_map(|series| &series.points);
                points.all(|(right, up)| fits(right, x) && fits(up, y))
            }
            Self::Rows(rows) => {
                rows.series.iter().flat_map(|series| &series.values).flatten().all(is_some)
            }
        }
    }

    /// As SVG, on white.
    ///
    /// # Panics
    /// As [`Figure::to_svg`] and [`Rows::to_svg`].
    #[must_use]
    pub fn to_svg(&self) -> String {
        match self {
            Self::Lines(figure) => figure.to_svg(),
            Self::Rows(rows) => rows.to_svg(),
        }
    }
}

/// Says which figure there is no place in for some of its values, as only files that were edited have.
pub(super) fn drawable(sections: &[Section]) -> Result<(), String> {
    let mut pictures = sections.iter().flat_map(|section| &section.figures);
    match pictures.find(|picture| !picture.is_drawable()) {
        Some(picture) => Err(format!("numbers that cannot be those of {:?}", picture.title())),
        None => Ok(()),
    }
}

impl Page {
    /// Checks that all figures can be drawn.
    ///
    /// # Errors
    /// Which one has no place for some of its values: files were edited.
    pub fn check(&self) -> Result<(), String> {
        drawable(&self.sections)
    }

    /// The file of a figure of it: `PREFIXname.svg`.
    #[must_use]
    pub fn figure_file(&self, figure: &Picture) -> String {
        format!("{}{}.svg", self.figure_prefix, figure.name())
    }

    /// As Markdown, without what it takes to repeat it; figures by what `link` has for their files, and those left
    /// out for which it has nothing.
    #[must_use]
    pub fn to_markdown(&self, link: impl Fn(&str) -> Option<String>) -> String {
        let mut text = format!("# {}\n\n{}\n", self.title, self.summary);
        for Section { heading, text: paragraphs, tables, figures, .. } in &self.sections {
            text.push_str(&format!("\n## {heading}\n"));
            for paragraph in paragraphs {
                text.push_str(&format!("\n{paragraph}\n"));
            }
            for table in tables {
                text.push_str(&format!("\n{}", table.to_markdown()));
            }
            for figure in figures {
                if let Some(link) = link(&self.figure_file(figure)) {
                    text.push_str(&format!("\n![{}]({link})\n", figure.title()));
                }
            }
        }
        text
    }
}
