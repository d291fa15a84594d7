//! What a study would do.

use crate::cli::{exit, output};
use anyhow::Result;
use pleach_prune::reproduce::{Cell, Rates, Settings};
use serde::Serialize;

/// `pleach.reproduce-plan/1`.
#[derive(Serialize)]
struct Plan<'a> {
    schema: &'static str,
    settings: &'a Settings,
    /// Of the cells that are not done.
    core_hours: f64,
    /// Those.
    cells: &'a [Cell],
    /// How many others are done.
    done: usize,
}

/// Shows the cells that are left to be done, where `done` others are.
pub(super) fn show(
    settings: &Settings,
    cells: &[Cell],
    done: usize,
    rates: &Rates,
    json: bool,
) -> Result<u8> {
    let core_hours = rates.total(cells);
    if json {
        let schema = "pleach.reproduce-plan/1";
        output::json(&Plan { schema, settings, core_hours, cells, done })?;
        return Ok(exit::OK);
    }
    let widest = cells.iter().map(|cell| cell.id.len()).max().unwrap_or_default();
    let mut text = format!("CPU hours  {:widest$}  what\n", "cell");
    for cell in cells {
        let hours = rates.hours(cell);
        text.push_str(&format!("{hours:>9.2}  {:widest$}  {}\n", cell.id, cell.about));
    }
    let count = cells.len();
    let done = if done > 0 { format!(" beside {done} that are done") } else { String::new() };
    text.push_str(&format!(
        "{count} cells{done}, {core_hours:.1} CPU hours as this machine trains now\n"
    ));
    output::print(&text)?;
    Ok(exit::OK)
}
