//! Results, on stdout. All else that users read goes to stderr.

use anyhow::{Context as _, Result};
pub(super) use pleach_prune::report::grouped;
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;

/// Writes a line about the run to stderr, where a failure has nobody left to be told.
pub(super) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a result. A reader that has gone away is no error: it has read what it wanted.
pub(super) fn print(text: &str) -> Result<()> {
    let write = || {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    };
    match write() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the result to stdout")
        }
        _ => Ok(()),
    }
}

/// A number of things: `1 channel`, `2.5 epochs`.
pub(super) fn counted(number: f64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1.0 { "" } else { "s" })
}

/// A path as documents have it, which are UTF-8: what is none in it is replaced.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Prints a document, indented.
pub(super) fn json(document: &impl Serialize) -> Result<()> {
    print(&to_json(document))
}

/// A document, indented, with a newline at its end.
pub(super) fn to_json(document: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(document);
    let mut text = text.expect("documents have string keys, and paths as text");
    text.push('\n');
    text
}

/// A table without borders, all columns but the first to the right.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    aligned(header, rows, comfy_table::CellAlignment::Right)
}

/// A table without borders, all columns to the left.
pub(super) fn listing(header: &[&str], rows: Vec<Vec<String>>) -> String {
    aligned(header, rows, comfy_table::CellAlignment::Left)
}

fn aligned(
    header: &[&str],
    rows: Vec<Vec<String>>,
    alignment: comfy_table::CellAlignment,
) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(alignment);
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    // Cells have a space on both sides, which the first column needs not.
    lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line))).collect()
}

#[cfg(test)]
mod tests {
    use super::{counted, grouped};

    #[test]
    fn one_is_no_plural() {
        assert_eq!(counted(1.0, "epoch"), "1 epoch");
        assert_eq!([0.5, 2.0].map(|n| counted(n, "epoch")), ["0.5 epochs", "2 epochs"]);
    }

    #[test]
    fn thousands_are_separated() {
        let texts = [0, 999, 1000, 313_201_664].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "313,201,664"]);
    }
}
