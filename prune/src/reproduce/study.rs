//! A study's report: everything that is done, and the tables of it.

use super::cell::{Found, Record};
use super::{Job, ReproduceError, Settings, folder, tables, to_json};
use crate::phases::Facts;
use crate::report::{Block, PAGE, Page, Picture, Rendered, Section, Table, machine};
use crate::run_dir::RunDir;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The schema of [`Report`].
pub const SCHEMA: &str = "pleach.reproduce/2";
/// What the schemas of all versions begin with.
const SCHEMAS: &str = "pleach.reproduce/";
/// The report's file in the study's folder.
pub const REPORT: &str = "report.json";
/// The file of the tables.
pub const TABLES_FILE: &str = "report.md";

/// All that a study found so far, from which its tables are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The data set.
    pub dataset: String,
    /// What was asked for.
    pub settings: Settings,
    /// The cells that are done.
    pub cells: Vec<Record>,
    /// The names of those that are not.
    pub missing: Vec<String>,
    /// Seconds of all cells that are done.
    pub seconds: f64,
}

impl Report {
    /// What a cell found, if it is done.
    #[must_use]
    pub fn found(&self, id: &str) -> Option<&Found> {
        self.cells.iter().find(|record| record.cell.id == id).map(|record| &record.found)
    }

    /// Accuracies and size of the network of a cell, if it is done and has one.
    pub(super) fn facts(&self, id: &str) -> Option<&Facts> {
        match self.found(id)? {
            Found::Network(network) => Some(&network.facts),
            Found::Pruned(run) => Some(&run.pruned),
            Found::Curve(_) | Found::Ranking(_) | Found::Speed(_) => None,
        }
    }

    /// Its tables and figures; those that no cell has anything for are left out.
    #[must_use]
    pub fn rendered(&self) -> Rendered {
        let mut all = Rendered::default();
        for id in &self.settings.tables {
            let Ok(table) = tables::named(id) else { continue };
            let Rendered { tables, figures } = (table.render)(self);
            all.tables.extend(tables);
            all.figures.extend(figures);
        }
        all
    }

    /// The report as a page.
    #[must_use]
    pub fn page(&self) -> Page {
        let sections = self.settings.tables.iter().filter_map(|id| {
            let table = tables::named(id).ok()?;
            let Rendered { tables, figures } = (table.render)(self);
            let nothing = tables.is_empty().then(|| "No cell of it is done yet.".to_owned());
            Some(Section {
                id: table.id.into(),
                label: table.id.into(),
                heading: format!("{}: {}", table.id, table.question),
                text: nothing.into_iter().collect(),
                tables,
                figures: figures.into_iter().map(Picture::Lines).collect(),
            })
        });
        Page {
            title: format!("{} on {}", self.settings.tables.join(", "), self.dataset),
            summary: self.summary(),
            sections: sections.collect(),
            repeat: self.repeat(),
            figure_prefix: "",
        }
    }

    fn repeat(&self) -> Vec<Block> {
        let mut machines: BTreeMap<String, usize> = BTreeMap::new();
        for record in &self.cells {
            *machines.entry(machine(&record.environment)).or_default() += 1;
        }
        let machines = machines.iter().map(|(name, cells)| format!("{cells}: {name}\n"));
        let file = RunFile { verb: "reproduce", settings: &self.settings };
        let cells = self.cells.iter().map(|record| {
            let network = record.network.as_ref();
            let sha256 = network.map(|network| network.sha256.clone()).unwrap_or_default();
            vec![record.cell.id.clone(), format!("{:.0}", record.seconds), sha256]
        });
        let table = Table {
            name: "cells".into(),
            title: "Networks and what they took".into(),
            columns: ["cell", "seconds", "SHA-256 of its network"].map(Into::into).to_vec(),
            rows: cells.collect(),
        };
        let settings = "Written to FOLDER/run.toml, these settings do it again by pleach reproduce \
                        --resume FOLDER --data DATA:";
        vec![
            Block {
                text: settings.into(),
                code: toml::to_string_pretty(&file).expect("settings are plain data"),
                tables: Vec::new(),
            },
            Block {
                text: "Cells by the machine that did them:".into(),
                code: machines.collect(),
                tables: vec![table],
            },
        ]
    }

    fn summary(&self) -> String {
        let done = self.cells.len();
        let missing = match &self.missing[..] {
            [] => String::new(),
            missing => format!(" Not done yet: {}.", missing.join(", ")),
        };
        format!(
            "{done} of {} cells, {:.0} s in all. Choices were made on the validation split; test accuracies \
             were read once a network. Drops are in points of accuracy, with 95 % intervals over the test \
             images. Seed {}.{missing}",
            done + self.missing.len(),
            self.seconds,
            self.settings.seed
        )
    }
}

/// A study's `run.toml`, without the place of the data.
#[derive(Serialize)]
struct RunFile<'a> {
    verb: &'static str,
    settings: &'a Settings,
}

/// What is done of a study, by whichever process.
///
/// # Errors
/// If a cell's file is none of this study.
pub fn report(job: &Job<'_>) -> Result<Report, ReproduceError> {
    let (mut cells, mut missing) = (Vec::new(), Vec::new());
    for cell in job.cells()? {
        match folder::record(job, &cell)? {
            Some(record) => cells.push(record),
            None => missing.push(cell.id),
        }
    }
    Ok(Report {
        schema: SCHEMA.into(),
        dataset: job.dataset.spec().name.clone(),
        settings: job.settings.clone(),
        seconds: cells.iter().map(|record| record.seconds).fold(0.0, |sum, seconds| sum + seconds),
        cells,
        missing,
    })
}

/// Removes what [`write`] wrote, but for the page, if the report that is there is a study's.
pub(super) fn clear(run: &RunDir) -> Result<(), ReproduceError> {
    let text = fs::read_to_string(run.file(REPORT)).unwrap_or_default();
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    if !value["schema"].as_str().is_some_and(|schema| schema.starts_with(SCHEMAS)) {
        return Ok(());
    }
    let report: Option<Report> = serde_json::from_value(value).ok();
    match report.filter(|report| report.settings.check().is_ok()) {
        Some(report) => {
            let names = files(&report.page());
            run.remove_some(|name| names.contains(name))?;
        }
        None => {
            let path = run.file(REPORT);
            log::warn!("{} cannot be read: its tables and figures stay", path.display());
        }
    }
    run.remove(TABLES_FILE)?;
    // The last, for what is left over is known by it.
    run.remove(REPORT)?;
    Ok(())
}

/// The names of the files of a page's tables and figures.
fn files(page: &Page) -> BTreeSet<String> {
    let tables = page.sections.iter().flat_map(|section| &section.tables);
    let tables = tables
        .flat_map(|table| ["csv", "tex", "json"].map(|kind| format!("{}.{kind}", table.name)));
    let figures = page.sections.iter().flat_map(|section| &section.figures);
    tables.chain(figures.map(|figure| page.figure_file(figure))).collect()
}

/// Writes [`REPORT`], [`TABLES_FILE`], [`PAGE`], each table as CSV, LaTeX and JSON, and each figure as SVG.
///
/// # Errors
/// If the operating system refuses.
pub fn write(run: &RunDir, report: &Report) -> Result<(), ReproduceError> {
    run.write(REPORT, &to_json(report))?;
    let page = report.page();
    run.write(TABLES_FILE, &page.to_markdown(|figure| Some(figure.into())))?;
    run.write(PAGE, &page.to_html())?;
    let sections = || page.sections.iter();
    for table in sections().flat_map(|section| &section.tables) {
        run.write(&format!("{}.csv", table.name), &table.to_csv())?;
        run.write(&format!("{}.tex", table.name), &table.to_latex())?;
        run.write(&format!("{}.json", table.name), &to_json(table))?;
    }
    for figure in sections().flat_map(|section| &section.figures) {
        run.write(&page.figure_file(figure), &figure.to_svg())?;
    }
    Ok(())
}
