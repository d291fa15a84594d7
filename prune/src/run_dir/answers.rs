//! What a teacher said, in a run's folder, so that a run that goes on need not ask again.
//!
//! A view's logits are in `state.answers-KEY-VIEW.npy`, `[samples, classes]`, NaN where the teacher was not asked. The
//! key names all that they depend on, so that a file is good whatever else of the run is saved when.

use super::{RunDir, RunDirError, STATE_PREFIX, io_error};
use crate::trainer::Answers;
use pleach_core::npy::{self, NpyError};
use std::io;

impl RunDir {
    /// Gives `answers` what files have of them. One that cannot be read is passed over with a warning: the teacher is
    /// asked again.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(crate) fn recall(&self, answers: &mut Answers) -> Result<(), RunDirError> {
        for name in self.names()? {
            let Some(view) = view(&name, answers.key()) else { continue };
            match npy::load(&self.file(&name)) {
                Ok(array) if array.shape == answers.shape() => answers.recall(view, array.values),
                Ok(array) => log::warn!(
                    "{}: its shape is {:?}, expected {:?}: the teacher is asked again",
                    self.file(&name).display(),
                    array.shape,
                    answers.shape()
                ),
                Err(error) => log::warn!("{error}: the teacher is asked again"),
            }
        }
        Ok(())
    }

    /// Writes the files of `answers` that are not as they should be. Returns the names of all that they have.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub(crate) fn keep(&self, answers: &mut Answers) -> Result<Vec<String>, RunDirError> {
        for (view, logits) in answers.unsaved() {
            let path = self.file(&file(answers.key(), view));
            npy::save(&path, &answers.shape(), logits).map_err(|error| match error {
                NpyError::Io { action, path, source } => io_error(action, &path, source),
                other => io_error("write", &path, io::Error::other(other)),
            })?;
        }
        answers.saved();
        Ok(answers.known().map(|view| file(answers.key(), view)).collect())
    }

    /// Removes the files of all answers.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub(crate) fn forget_answers(&self) -> Result<(), RunDirError> {
        self.remove_some(|name| name.starts_with(&prefix()) && name.ends_with(".npy"))
    }
}

fn prefix() -> String {
    format!("{STATE_PREFIX}answers-")
}

fn file(key: &str, view: u64) -> String {
    format!("{}{key}-{view}.npy", prefix())
}

/// The view whose file has this name.
fn view(name: &str, key: &str) -> Option<u64> {
    let view = name.strip_prefix(&prefix())?.strip_prefix(key)?;
    view.strip_prefix('-')?.strip_suffix(".npy")?.parse().ok()
}
