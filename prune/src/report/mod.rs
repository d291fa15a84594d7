//! Tables made of a run's JSON document: nothing in them is typed by hand but the published numbers,
//! which name their source.

mod document;
mod tables;

pub(crate) use document::activation_bytes;
pub use document::{BaseReport, Report, RunReport, SCHEMA, TrainingReport};
pub use tables::tables;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// A short name, for file names.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub title: String,
    /// The columns' heads, units included.
    pub columns: Vec<String>,
    /// One cell a column each.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// As Markdown: the title, an empty line, the table; numbers to the right.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> =
                cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = self.columns.iter().enumerate().map(|(i, _)| if i == 0 { "---" } else { "--:" });
        let mut text = format!("{}\n\n{}", self.title, line(&self.columns));
        text.push_str(&format!("| {} |\n", rule.collect::<Vec<_>>().join(" | ")));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }

    /// As comma-separated values (RFC 4180, with line feeds alone), the heads first.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let quoted = |cell: &String| match cell.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.clone(),
        };
        let lines = std::iter::once(&self.columns).chain(&self.rows).map(|row| {
            let cells: Vec<String> = row.iter().map(quoted).collect();
            cells.join(",") + "\n"
        });
        lines.collect()
    }
}

/// The whole report as Markdown.
#[must_use]
pub fn to_markdown(report: &Report) -> String {
    let mut text = format!("# {} on {}\n\n{}\n", report.model, report.dataset, summary(report));
    for table in tables(report) {
        text.push_str(&format!("\n{}", table.to_markdown()));
    }
    text
}

fn summary(report: &Report) -> String {
    let origin = match &report.base.training {
        Some(training) => format!(
            "trained here for {} epochs in {:.0} s (the best by validation accuracy, epoch {}, is kept)",
            training.epochs, training.seconds, training.best_epoch
        ),
        None => format!("given ({})", report.base.name),
    };
    format!(
        "The base network was {origin}. Choices were made on the validation split; test accuracies were \
         read once a network. Drops are in points of accuracy, with 95 % intervals over the test \
         images. Seed {}, {:.0} s in all.",
        report.config.seed, report.seconds
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let text = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        Table {
            name: "t",
            title: "Two rows.".into(),
            columns: text(&["name", "MACs"]),
            rows: vec![text(&["a|b", "1,000"]), text(&["say \"c\"", "2"])],
        }
    }

    #[test]
    fn cells_do_not_break_tables() {
        let expected =
            "Two rows.\n\n| name | MACs |\n| --- | --: |\n| a\\|b | 1,000 |\n| say \"c\" | 2 |\n";
        assert_eq!(table().to_markdown(), expected);
        assert_eq!(table().to_csv(), "name,MACs\na|b,\"1,000\"\n\"say \"\"c\"\"\",2\n");
    }
}
