//! A report as one HTML page that needs nothing else.

use super::{Figure, Table};
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

/// What a page shows.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The title.
    pub title: String,
    /// A few sentences under it.
    pub summary: String,
    /// The parts.
    pub sections: Vec<Section>,
    /// Settings to repeat it with, as text.
    pub settings: String,
    /// The machines, a line each.
    pub machines: Vec<String>,
    /// What was run.
    pub cells: Vec<CellLine>,
}

/// A part of a page.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// A short name, also its anchor.
    pub id: String,
    /// What it answers.
    pub question: String,
    /// Its tables.
    pub tables: Vec<Table>,
    /// Its figures.
    #[serde(skip)]
    pub figures: Vec<Figure>,
}

/// A run on a page.
#[derive(Clone, Debug, Serialize)]
pub struct CellLine {
    /// Its name.
    pub id: String,
    /// Seconds it took, as text.
    pub seconds: String,
    /// The hash of its network's file, if it made one.
    pub sha256: String,
}

impl Page {
    /// The page: light or dark as its reader's system is, figures inline.
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
        let sections: Vec<_> = self
            .sections
            .iter()
            .map(|section| {
                let plots = section.figures.iter();
                let figures: Vec<Plot<'_>> =
                    plots.map(|f| Plot { title: &f.title, svg: f.to_svg() }).collect();
                let tables: Vec<Table> = section
                    .tables
                    .iter()
                    .map(|table| Table { title: table.title.replace("**", ""), ..table.clone() })
                    .collect();
                context! { id => section.id, question => section.question, tables, figures }
            })
            .collect();
        let Self { title, summary, settings, machines, cells, .. } = self;
        let page = environment.get_template("page").expect("it was added above");
        page.render(context! { title, summary, sections, settings, machines, cells })
            .expect("the template uses what it is given")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Axis, Series};

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
            series: vec![Series { name: "s".into(), points: vec![(1.0, 2.0), (2.0, 3.0)] }],
        };
        let section = |tables, figures| Section {
            id: "T9".into(),
            question: "Is it so?".into(),
            tables,
            figures,
        };
        let page = Page {
            title: "vgg on cifar".into(),
            summary: "Some words.".into(),
            sections: vec![section(vec![table], vec![figure]), section(Vec::new(), Vec::new())],
            settings: "seed = 42".into(),
            machines: vec!["3 cells: a CPU".into()],
            cells: vec![CellLine { id: "base".into(), seconds: "3".into(), sha256: "ab".into() }],
        };
        let html = page.to_html();
        for part in [
            "T9. a &lt; b",
            "&lt;script&gt;",
            "1.5 ± 0.5",
            "x &amp; y",
            "Is it so?",
            "<circle",
            "No cell of it is done yet.",
            "seed = 42",
            "3 cells: a CPU",
            "<td>base</td>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(!html.contains("<script") && !html.contains("src=") && !html.contains("url("));
        assert_eq!(html.matches("http").count(), 1, "the name space of SVG and nothing else");
    }
}
