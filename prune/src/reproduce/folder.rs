//! A cell's folder: `cells/ID` in the study's, held by one process at a time.

use super::cell::{Cell, Record};
use super::{Job, ReproduceError};
use crate::run_dir::RunDir;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// Where the cells of a study are.
pub(crate) const CELLS: &str = "cells";
const RECORD: &str = "cell.json";
const LOCK: &str = "cell.lock";
/// How often a folder that another process has is asked for: a signal can end the waiting in between.
const POLL: Duration = Duration::from_millis(200);

/// A cell's folder, which no other process has while this lives.
pub(super) struct Folder {
    pub(super) run: RunDir,
    /// Dropping it gives the folder back.
    _lock: File,
}

/// Where a cell's files are.
pub(super) fn path(run: &RunDir, id: &str) -> PathBuf {
    run.file(CELLS).join(id)
}

/// Removes all cells of an earlier study. What is no cell stays.
pub(super) fn clear(run: &RunDir) -> Result<(), ReproduceError> {
    let path = run.file(CELLS);
    let fail =
        |error: io::Error| ReproduceError::Cell { path: path.clone(), found: error.to_string() };
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(fail)?,
    };
    for entry in entries {
        let cell = entry.map_err(fail)?.path();
        if cell.join(LOCK).exists() {
            fs::remove_dir_all(cell).map_err(fail)?;
        }
    }
    match fs::remove_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(fail(error)),
        _ => Ok(()),
    }
}

/// The record of a cell, if it is done.
pub(super) fn record(job: &Job<'_>, cell: &Cell) -> Result<Option<Record>, ReproduceError> {
    let path = path(job.run, &cell.id).join(RECORD);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => {
            text.map_err(|e| ReproduceError::Cell { path: path.clone(), found: e.to_string() })?
        }
    };
    match serde_json::from_str::<Record>(&text) {
        Ok(record) if !record.cell.is_same(cell) => {
            let found = "that of a study with other settings".into();
            Err(ReproduceError::Cell { path, found })
        }
        Ok(record) if ![&job.dataset.spec().name, ""].contains(&&*record.dataset) => {
            let found =
                format!("one on {}, where the data is {}", record.dataset, job.dataset.spec().name);
            Err(ReproduceError::Cell { path, found })
        }
        Ok(record) => Ok(Some(record)),
        Err(error) => Err(ReproduceError::Cell { path, found: error.to_string() }),
    }
}

impl Folder {
    /// The folder of a cell, made if it is not there. While another process has it, `wait` is called again and
    /// again; `false` ends that.
    pub(super) fn lock(
        run: &RunDir,
        id: &str,
        wait: &mut dyn FnMut() -> bool,
    ) -> Result<Self, ReproduceError> {
        let path = path(run, id);
        let fail = |error: io::Error| ReproduceError::Cell {
            path: path.clone(),
            found: error.to_string(),
        };
        fs::create_dir_all(&path).map_err(fail)?;
        let lock = File::create(path.join(LOCK)).map_err(fail)?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if wait() => thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => return Err(ReproduceError::Interrupted),
                // Not every file system has locks.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    let path = path.display();
                    log::warn!("{path}: {error}: two processes at once would go unnoticed");
                    break;
                }
                Err(TryLockError::Error(error)) => return Err(fail(error)),
            }
        }
        let run = RunDir::existing(&path)?;
        run.tidy()?;
        Ok(Self { run, _lock: lock })
    }

    /// Writes the record: the cell is done.
    pub(super) fn keep(&self, record: &Record) -> Result<(), ReproduceError> {
        Ok(self.run.write(RECORD, &super::to_json(record))?)
    }
}
