//! A report as one HTML page that needs nothing else.

use super::{Figure, Rows, Table};
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

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

impl Page {
    /// The page: light or dark as its reader's system is, figures inline.
    ///
    /// # Panics
    /// As [`Picture::to_svg`].
    #[must_use]
    pub fn to_html(&self) -> String {
        #[derive(Serialize)]
        struct Plot<'a> {
            title: &'a str,
            svg: String,
        }
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment
            .add_template("page", include_str!("page.html"))
            .expect("the template that is compiled in is sound");
        let plain = |tables: &[Table]| -> Vec<Table> {
            let tables = tables.iter();
            tables.map(|t| Table { title: t.title.replace("**", ""), ..t.clone() }).collect()
        };
        let sections = self.sections.iter().map(|section| {
            let Section { id, label, heading, text, tables, figures } = section;
            let figures: Vec<Plot<'_>> =
                figures.iter().map(|f| Plot { title: f.title(), svg: f.to_svg() }).collect();
            context! { id, label, heading, text, tables => plain(tables), figures }
        });
        let repeat = self.repeat.iter().map(|Block { text, code, tables }| {
            context! { text, code, tables => plain(tables) }
        });
        let (sections, repeat): (Vec<_>, Vec<_>) = (sections.collect(), repeat.collect());
        let Self { title, summary, .. } = self;
        let page = environment.get_template("page").expect("it was added above");
        page.render(context! { title, summary, sections, repeat })
            .expect("the template uses what it is given")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Axis, Marks, Series};

    #[test]
    fn a_page_shows_everything_escaped_and_loads_nothing() {
        let table = Table {
            name: "t".into(),
            title: "**T9.** a < b".into(),
            columns: vec!["network".into(), "x & y".into()],
            rows: vec![vec!["<script>".into(), "1.5 ± 0.5".into()]],
        };
        let axis = |label: &str| Axis { label: label.into(), logarithmic: false };
        let figure = Figure {
            name: "f".into(),
            title: "A figure".into(),
            x: axis("MACs"),
            y: axis("accuracy"),
            series: vec![Series {
                name: "s".into(),
                points: vec![(1.0, 2.0), (2.0, 3.0)],
                joined: true,
            }],
        };
        let rows = Rows {
            name: "r".into(),
            title: "Rows".into(),
            x: "width".into(),
            labels: vec!["conv1".into()],
            series: Vec::new(),
            marks: Marks::Bars,
        };
        let section = Section {
            id: "T9".into(),
            label: "T9".into(),
            heading: "Is it so?".into(),
            text: vec!["A paragraph.".into()],
            tables: vec![table.clone()],
            figures: vec![Picture::Lines(figure), Picture::Rows(rows)],
        };
        let settings =
            Block { text: "Settings:".into(), code: "seed = 42".into(), ..Block::default() };
        let table = Table { name: "cells".into(), title: "Cells".into(), ..table };
        let page = Page {
            title: "vgg on cifar".into(),
            summary: "Some words.".into(),
            sections: vec![section, Section::default()],
            repeat: vec![settings, Block { tables: vec![table], ..Block::default() }],
        };
        let html = page.to_html();
        for part in [
            "T9. a &lt; b",
            "&lt;script&gt;",
            "1.5 ± 0.5",
            "x &amp; y",
            "Is it so?",
            "<circle",
            "A paragraph.",
            "conv1",
            "seed = 42",
            "<figcaption>Cells</figcaption>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(!html.contains("<script") && !html.contains("src=") && !html.contains("url("));
        assert_eq!(html.matches("http").count(), 2, "the name space of SVG and nothing else");
    }
}
