//! The paper's tables, from cells: independent runs with a folder each.
//!
//! A study is a folder and [`Settings`]. From these follows a list of [`Cell`]s: base networks, pruning
//! runs, comparisons, measurements. Each is done once, in `cells/ID` of the folder, and leaves
//! `cell.json` there when it is done, so that a study which was interrupted goes on with the first cell
//! that is not; and within it, if it trains or prunes, after the last epoch or step. Cells share no file
//! that any of them writes; a cell that needs another's network waits for it, or does it first. So any
//! number of processes, on any machines that see the folder, may do cells of one study at once.
//! [`report`] makes the tables of whatever is done.

mod cell;
mod estimate;
mod folder;
mod settings;
mod study;
mod tables;
mod work;

pub use cell::{
    CELL_SCHEMA, Cell, Found, NetworkFile, NetworkReport, Record, TrainingReport, Work,
};
pub use estimate::{BudgetError, Rates, within};
pub(crate) use folder::CELLS;
pub use settings::{Effort, Given, Settings};
pub use study::{REPORT, Report, SCHEMA, TABLES_FILE, report, write};
pub use tables::{PaperTable, TABLES, cells, named};

use crate::criteria::CriterionError;
use crate::error::PruneError;
use crate::net::NetError;
use crate::phases;
use crate::prune_run::PruneRunError;
use crate::run_dir::{RunDir, RunDirError};
use crate::settings::SettingError;
use crate::train_run::{self, TrainRunError};
use pleach_core::checkpoint::CheckpointError;
use pleach_core::models::ModelError;
use pleach_datasets::Dataset;
use pleach_kernels::Context;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

/// Where it all goes, and on what.
#[derive(Clone)]
pub struct Job<'a> {
    /// Instruction set and threads.
    pub cx: &'a Context,
    /// The data.
    pub dataset: &'a Arc<dyn Dataset>,
    /// The study's folder.
    pub run: &'a RunDir,
    /// What is asked for.
    pub settings: &'a Settings,
}

impl Job<'_> {
    /// The cells, each after those that it needs.
    ///
    /// # Errors
    /// If there is no such table or model.
    pub fn cells(&self) -> Result<Vec<Cell>, ReproduceError> {
        tables::cells(self.settings, &**self.dataset)
    }
}

/// Watches it all.
pub trait ReproduceObserver: phases::RunObserver + train_run::RunObserver + Send {
    /// A cell begins, or is waited for.
    fn part(&mut self, title: &str);
    /// So much of a cell without training is done; a `Break` ends the study.
    fn progress(&mut self, done: usize, of: usize) -> ControlFlow<()>;
}

impl ReproduceObserver for crate::trainer::Silent {
    fn part(&mut self, _: &str) {}

    fn progress(&mut self, _: usize, _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Why it stopped. Cells that are done stay done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReproduceError {
    /// There is no such table.
    #[error("there is no table {0:?}: use {names}", names = tables::names().join(", "))]
    Table(String),
    /// There is no such cell.
    #[error("this study has no cell {0:?}: --list-cells shows those that it has")]
    NoCell(String),
    /// A setting is out of range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A model's name is wrong.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A network that is given cannot be read.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A network that is given takes other images or has other classes.
    #[error("{net} is no network for the images and classes of {dataset}")]
    Unfit {
        /// The network.
        net: String,
        /// The data set.
        dataset: String,
    },
    /// In the training of a network.
    #[error(transparent)]
    Train(#[from] TrainRunError),
    /// In a pruning run.
    #[error(transparent)]
    PruneRun(#[from] PruneRunError),
    /// In a comparison, or in the ranking of filters.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// Filters cannot be scored.
    #[error(transparent)]
    Criterion(#[from] CriterionError),
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Another file cannot be written.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// A cell's file cannot be read.
    #[error("{}: expected a cell of this study, found {found}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// The observer asked to stop outside training.
    #[error("interrupted")]
    Interrupted,
}

/// Does the cells called `ids`, or all if there are none, and what these need.
///
/// # Errors
/// If there is no such cell, training diverges, the observer stops it, or a file cannot be read or
/// written.
///
/// # Panics
/// If the settings ask for a training without steps.
pub fn run(
    job: &Job<'_>,
    ids: &[String],
    observer: &mut dyn ReproduceObserver,
) -> Result<(), ReproduceError> {
    let cells = job.cells()?;
    for cell in wanted(&cells, ids)? {
        work::run(job, &cells, cell, observer)?;
    }
    Ok(())
}

/// The cells called `ids`, or all if there are none.
fn wanted<'a>(cells: &'a [Cell], ids: &[String]) -> Result<Vec<&'a Cell>, ReproduceError> {
    let find = |id: &String| {
        let found = cells.iter().find(|cell| cell.id == *id);
        found.ok_or_else(|| ReproduceError::NoCell(id.clone()))
    };
    match ids {
        [] => Ok(cells.iter().collect()),
        ids => ids.iter().map(find).collect(),
    }
}

/// Lets `settings` say what the base networks are that are given, and so what cells are called and cost.
///
/// # Errors
/// If one cannot be read or takes other images or has other classes.
pub fn name_given(settings: &mut Settings, dataset: &dyn Dataset) -> Result<(), ReproduceError> {
    let Settings { base, residual_base, model, residual, seed, .. } = settings;
    for (given, model) in [(base, model), (residual_base, residual)] {
        let Some(given) = given else { continue };
        let net = work::given(&given.net, given.arch.as_deref(), dataset.spec(), *seed)?;
        match work::model_of(&net) {
            Some(found) => *model = found,
            None => given.name = Some(net.name),
        }
    }
    Ok(())
}

/// Checks that a study with these `cells` has those called `ids`.
///
/// # Errors
/// If there is no such cell.
pub fn check_names(cells: &[Cell], ids: &[String]) -> Result<(), ReproduceError> {
    wanted(cells, ids).map(|_| ())
}

/// Checks that the networks which a study with these `cells` is given fit the data set.
///
/// # Errors
/// If a network cannot be read or takes other images or has other classes.
pub fn check_given(cells: &[Cell], dataset: &dyn Dataset, seed: u64) -> Result<(), ReproduceError> {
    for cell in cells {
        if let Work::Given { net, arch } = &cell.work {
            work::given(net, arch.as_deref(), dataset.spec(), seed)?;
        }
    }
    Ok(())
}

/// Removes an earlier study from a folder: its cells, tables and figures.
///
/// # Errors
/// If the operating system refuses.
pub fn clear(run: &RunDir) -> Result<(), ReproduceError> {
    folder::clear(run)?;
    study::clear(run)
}

fn to_json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(value);
    text.expect("a report has string keys and finite numbers") + "\n"
}
