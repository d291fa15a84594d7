//! The parts of a report, each a JSON file in its folder once it is done.

use super::{Job, RUN, ReproduceError, TRAINING};
use crate::run_dir::RunDir;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;

/// A part and the seconds it took.
#[derive(Serialize, Deserialize)]
pub(super) struct Timed<T> {
    pub(super) seconds: f64,
    pub(super) value: T,
}

/// The folder of a part.
pub(super) fn folder(job: &Job<'_>, name: &str) -> Result<RunDir, ReproduceError> {
    let path = job.run.file(name);
    if job.resume && path.is_dir() {
        return Ok(RunDir::existing(&path)?);
    }
    let run = RunDir::create(Some(&path), name, true)?;
    forget(&run, TRAINING)?;
    forget(&run, RUN)?;
    Ok(run)
}

/// The part that `file` has, or else the one that `make` makes, which is then kept there.
pub(super) fn part<T: Serialize + DeserializeOwned>(
    run: &RunDir,
    file: &str,
    make: impl FnOnce() -> Result<T, ReproduceError>,
) -> Result<T, ReproduceError> {
    let path = run.file(file);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|error| ReproduceError::Part { path, found: error.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let value = make()?;
            run.write(file, &to_json(&value))?;
            Ok(value)
        }
        Err(error) => Err(ReproduceError::Part { path, found: error.to_string() }),
    }
}

pub(super) fn forget(run: &RunDir, file: &str) -> Result<(), ReproduceError> {
    match fs::remove_file(run.file(file)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ReproduceError::Part { path: run.file(file), found: error.to_string() })
        }
        _ => Ok(()),
    }
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value);
    text.expect("a report has string keys and finite numbers") + "\n"
}
