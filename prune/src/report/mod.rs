//! What reports are made of: tables and figures, and what they say of a pruning run. Nothing in them is
//! typed by hand but published numbers, which name their source.

mod document;
mod figure;
mod html;
mod legend;
mod page;
mod pruning;
mod result;
mod rows;
mod scale;

pub use document::RunReport;
pub(crate) use document::activation_bytes;
pub use figure::{Axis, Figure, Series};
pub use page::{Block, Page, Picture, Section};
pub(crate) use pruning::FIGURE_PREFIX;
pub use pruning::{NamedResult, PAGE, ReportError};
pub use pruning::{headline, pruning, result as pruning_result, runs, runs_table, write_pruning};
pub use result::{PruneResult, Pruned, RESULT, RESULT_SCHEMA};
pub use rows::{Marks, RowSeries, Rows};

use serde::{Deserialize, Serialize};

/// What a part of a report shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendered {
    /// Tables.
    pub tables: Vec<Table>,
    /// Figures.
    pub figures: Vec<Figure>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// A short name, for file names.
    pub name: String,
    /// What it shows, in a sentence of Markdown whose only markup is `**`.
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

    /// As a LaTeX `table`, which needs no package.
    #[must_use]
    pub fn to_latex(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| latex(cell)).collect();
            format!("{} \\\\\n", cells.join(" & "))
        };
        let columns = self.columns.iter().enumerate().map(|(i, _)| if i == 0 { 'l' } else { 'r' });
        let mut text = format!(
            "\\begin{{table}}\n\\caption{{{}}}\n\\label{{tab:{}}}\n\\begin{{tabular}}{{{}}}\n\\hline\n{}\\hline\n",
            latex(&self.title.replace("**", "")),
            self.name,
            columns.collect::<String>(),
            line(&self.columns)
        );
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text.push_str("\\hline\n\\end{tabular}\n\\end{table}\n");
        text
    }
}

/// A machine in a line, from its `env.json`.
pub(crate) fn machine(environment: &serde_json::Value) -> String {
    let text = |key: &str| match &environment[key] {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "unknown".into(),
        other => other.to_string(),
    };
    format!(
        "{} ({}), {} of {} cores, {}, pleach {}",
        text("cpu"),
        text("isa"),
        text("threads"),
        text("cores"),
        text("os"),
        text("version")
    )
}

/// A number with thousands separated: `313,201,664`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text with what means something to LaTeX written so that it does not.
fn latex(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', c]),
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' => escaped.push_str("$<$"),
            '>' => escaped.push_str("$>$"),
            '|' => escaped.push_str("$|$"),
            // At the beginning of a row these would be arguments of the row break before it.
            '[' | '*' => escaped.extend(['{', c, '}']),
            '±' => escaped.push_str("$\\pm$"),
            '\n' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let text = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        Table {
            name: "t".into(),
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
        let rows = vec![
            vec!["a_b & 5 %".into(), "1 ± 2".into()],
            vec!["[2, 3] a|b".into(), "4".into()],
            vec!["* c".into(), "5".into()],
        ];
        let latex = Table { title: "**T.** 50 % {x}".into(), rows, ..table() }.to_latex();
        let expected = "\\begin{table}\n\\caption{T. 50 \\% \\{x\\}}\n\\label{tab:t}\n\\begin{tabular}{lr}\n\\hline\n\
            name & MACs \\\\\n\\hline\na\\_b \\& 5 \\% & 1 $\\pm$ 2 \\\\\n{[}2, 3] a$|$b & 4 \\\\\n\
            {*} c & 5 \\\\\n\\hline\n\\end{tabular}\n\\end{table}\n";
        assert_eq!(latex, expected);
    }
}
