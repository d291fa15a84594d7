//! A cell's folder: `cells/ID` in the study's, held by one process at a time.

use super::ReproduceError;
use super::cell::{Cell, Record};
use crate::run_dir::RunDir;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;

const CELLS: &str = "cells";
const RECORD: &str = "cell.json";
const LOCK: &str = "cell.lock";

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

/// Removes all cells of an earlier study.
pub(super) fn clear(run: &RunDir) -> Result<(), ReproduceError> {
    let path = run.file(CELLS);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ReproduceError::Cell { path, found: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// The record of a cell, if it is done, without holding its folder.
pub(super) fn record(run: &RunDir, cell: &Cell) -> Result<Option<Record>, ReproduceError> {
    let path = path(run, &cell.id).join(RECORD);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => {
            text.map_err(|e| ReproduceError::Cell { path: path.clone(), found: e.to_string() })?
        }
    };
    match serde_json::from_str::<Record>(&text) {
        Ok(record) if record.cell.is_same(cell) => Ok(Some(record)),
        Ok(_) => {
            let found = "that of a study with other settings".into();
            Err(ReproduceError::Cell { path, found })
        }
        Err(error) => Err(ReproduceError::Cell { path, found: error.to_string() }),
    }
}

impl Folder {
    /// The folder of a cell, made if it is not there; `wait` is called before waiting for another
    /// process to be done with it.
    pub(super) fn lock(
        run: &RunDir,
        id: &str,
        wait: &mut dyn FnMut(),
    ) -> Result<Self, ReproduceError> {
        let path = path(run, id);
        let fail = |error: io::Error| ReproduceError::Cell {
            path: path.clone(),
            found: error.to_string(),
        };
        fs::create_dir_all(&path).map_err(fail)?;
        let lock = File::create(path.join(LOCK)).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                wait();
                lock.lock().map_err(fail)?;
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let run = RunDir::existing(&path)?;
        run.tidy()?;
        Ok(Self { run, _lock: lock })
    }

    /// The record, if the cell is done.
    pub(super) fn record(&self, cell: &Cell) -> Result<Option<Record>, ReproduceError> {
        let path = self.run.path();
        let study = path.parent().and_then(|cells| cells.parent()).expect("it is cells/ID");
        record(&RunDir::existing(study)?, cell)
    }

    /// Writes the record: the cell is done.
    pub(super) fn keep(&self, record: &Record) -> Result<(), ReproduceError> {
        Ok(self.run.write(RECORD, &super::to_json(record))?)
    }
}
