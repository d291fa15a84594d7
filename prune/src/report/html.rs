//! A report as one HTML page that needs nothing else.

use super::{Block, Page, Section, Table};
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

impl Page {
    /// The page: light or dark as its reader's system is, figures inline.
    ///
    /// # Panics
    /// As [`Picture::to_svg`](super::Picture::to_svg).
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
    use crate::report::{Axis, Figure, Marks, Picture, Rows, Series};

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
            figure_prefix: "figure-",
        };
        let markdown = page.to_markdown(|file| (file != "figure-none.svg").then(|| file.into()));
        for part in [
            "# vgg on cifar\n\nSome words.\n",
            "\n## Is it so?\n\nA paragraph.\n\n**T9.** a < b\n\n| network | x & y |\n",
            "\n![A figure](figure-f.svg)\n\n![Rows](figure-r.svg)\n",
        ] {
            assert!(markdown.contains(part), "{part} in {markdown}");
        }
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
