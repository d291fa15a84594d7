//! The paper's tables, one file each: the cells that a table is made of, and the table.

mod builder;
mod cost;
mod overview;
mod t1;
mod t2;
mod t3;
mod t4;
mod t5;
mod t6;
mod text;

use super::cell::Cell;
use super::{Report, ReproduceError, Settings};
use crate::report::Rendered;
use builder::Builder;
use pleach_datasets::Dataset;

/// A table of the paper, or one that it leaves a question to.
pub struct PaperTable {
    /// Its name.
    pub id: &'static str,
    /// What it answers.
    pub question: &'static str,
    /// Adds its cells and those that they need.
    cells: fn(&mut Builder<'_>) -> Result<(), ReproduceError>,
    /// Makes it of the cells that are done.
    pub(super) render: fn(&Report) -> Rendered,
}

/// Every table.
pub const TABLES: &[PaperTable] = &[t1::T1, t2::T2, t3::T3, t4::T4, t5::T5, t6::T6];

/// The names of all tables.
pub(super) fn names() -> Vec<&'static str> {
    TABLES.iter().map(|table| table.id).collect()
}

/// The table called `id`, in either case.
///
/// # Errors
/// If there is none.
pub fn named(id: &str) -> Result<&'static PaperTable, ReproduceError> {
    let found = TABLES.iter().find(|table| table.id.eq_ignore_ascii_case(id));
    found.ok_or_else(|| ReproduceError::Table(id.to_owned()))
}

/// The cells of a study, each after those that it needs.
///
/// # Errors
/// If there is no such table or model, or a setting is out of range.
pub fn cells(settings: &Settings, dataset: &dyn Dataset) -> Result<Vec<Cell>, ReproduceError> {
    settings.check()?;
    let mut builder = Builder::new(settings, dataset);
    for id in &settings.tables {
        (named(id)?.cells)(&mut builder)?;
    }
    Ok(builder.finish())
}
