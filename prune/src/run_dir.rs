//! The folder of a run.

mod answers;
mod files;
mod lock;
mod owned;

use crate::reproduce::{CELLS, REPORT};
use lock::Lock;
use owned::{has_lock, has_run, is_of_a_run};
use pleach_core::checkpoint::is_temporary;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the names of the files begin with that an unfinished run goes on from.
pub(crate) const STATE_PREFIX: &str = "state.";

/// The folder of a run, which exists. One that was made, resumed or joined is held by this process until
/// the last clone is dropped, however that comes about: the operating system lets go of it.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    lock: Option<Arc<Lock>>,
}

/// Why a run has no folder, or a file cannot be written to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunDirError {
    /// There is something in it.
    #[error(
        "{} is not empty: name another folder (-o), or overwrite the run in it (--force)",
        .0.display()
    )]
    NotEmpty(PathBuf),
    /// There is something in it, and no run, which alone is overwritten.
    #[error(
        "{} is not empty, and there is no run in it to overwrite: name another folder (-o)",
        .0.display()
    )]
    NoRun(PathBuf),
    /// There is a file of its name.
    #[error("{}: expected a folder, found a file", .0.display())]
    NotAFolder(PathBuf),
    /// Another process is at it.
    #[error("{} is in use by {}: wait for it, or name another folder", path.display(), holder(*pid))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process, where it is known.
        pid: Option<u32>,
    },
    /// There is no run to go on with.
    #[error("{}: there is no such run", .0.display())]
    Missing(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

impl RunDir {
    /// The folder `out`, made if it is not there; without, a fresh one, `runs/VERB-N`. A folder that
    /// has something in it is refused, or, with `force`, cleared of what an earlier run left, if there
    /// was one; other files in it stay.
    ///
    /// # Errors
    /// If it is refused, another process holds it, or the operating system refuses.
    pub fn create(out: Option<&Path>, verb: &str, force: bool) -> Result<Self, RunDirError> {
        let Some(path) = out else { return Self::fresh(Path::new("runs"), verb) };
        let run = Self { path: path.into(), lock: None };
        // Before this run's own is there.
        let locked = has_lock(path);
        if path.is_dir() {
            run.check_free(force, locked)?;
        } else if path.exists() {
            return Err(RunDirError::NotAFolder(path.into()));
        }
        fs::create_dir_all(path).map_err(|source| io_error("make", path, source))?;
        let run = run.held(Lock::exclusive)?;
        // Another run may have come and gone in between.
        run.check_free(force, locked)?;
        run.tidy()?;
        run.remove_some(is_of_a_run)?;
        Ok(run)
    }

    /// The folder that [`RunDir::create`] would make or take; nothing is written.
    ///
    /// # Errors
    /// If it would be refused.
    pub fn planned(out: Option<&Path>, verb: &str, force: bool) -> Result<PathBuf, RunDirError> {
        let Some(path) = out else {
            let mut fresh =
                (1u64..).map(|number| Path::new("runs").join(format!("{verb}-{number}")));
            return Ok(fresh.find(|path| !path.exists()).expect("some number is free"));
        };
        if path.is_dir() {
            Self { path: path.into(), lock: None }.check_free(force, has_lock(path))?;
        } else if let Some(file) = path.ancestors().find(|above| above.exists())
            && !file.is_dir()
        {
            return Err(RunDirError::NotAFolder(file.into()));
        }
        Ok(path.into())
    }

    /// Whether [`RunDir::create`] would remove this file with `force`, or what clears a study there.
    #[must_use]
    pub fn clears(out: &Path, file: &Path) -> bool {
        let (Ok(out), Ok(file)) = (out.canonicalize(), file.canonicalize()) else { return false };
        let first = file.strip_prefix(out).ok().and_then(|within| within.components().next());
        first
            .and_then(|first| first.as_os_str().to_str())
            .is_some_and(|name| is_of_a_run(name) || name == CELLS)
    }

    /// The folder of a run that is there, to be read or, with the caller's own measures against others, to
    /// be written.
    ///
    /// # Errors
    /// If it is not there, or not a folder.
    pub fn existing(path: &Path) -> Result<Self, RunDirError> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self { path: path.into(), lock: None }),
            Ok(_) => Err(RunDirError::NotAFolder(path.into())),
            Err(_) => Err(RunDirError::Missing(path.into())),
        }
    }

    /// The folder of a run that is there, for this process alone.
    ///
    /// # Errors
    /// As [`RunDir::existing`]; and if another process holds it, or it cannot be written.
    pub fn resume(path: &Path) -> Result<Self, RunDirError> {
        let run = Self::existing(path)?.held(Lock::exclusive)?;
        run.tidy()?;
        Ok(run)
    }

    /// The folder of a run that is there, for this process and others that join.
    ///
    /// # Errors
    /// As [`RunDir::existing`]; and if another process has it alone, or it cannot be written.
    pub fn join(path: &Path) -> Result<Self, RunDirError> {
        Self::existing(path)?.held(Lock::shared)
    }

    /// The same folder, for others that join too.
    ///
    /// # Errors
    /// If another process has taken it meanwhile.
    pub fn share(mut self) -> Result<Self, RunDirError> {
        self.lock = None;
        self.held(Lock::shared)
    }

    fn held(
        mut self,
        lock: impl FnOnce(&Path) -> Result<Lock, RunDirError>,
    ) -> Result<Self, RunDirError> {
        self.lock = Some(Arc::new(lock(&self.path)?));
        Ok(self)
    }

    /// Refuses a folder with something in it, but, with `force`, for one of which a run or nothing would be cleared.
    fn check_free(&self, force: bool, locked: bool) -> Result<(), RunDirError> {
        let mut names = self.names()?;
        names.retain(|name| name != lock::FILE && !is_temporary(name));
        let is_cleared = |name: &String| is_of_a_run(name) || name == CELLS || name == REPORT;
        let path = || self.path.clone();
        match (has_run(&self.path, locked) || !names.iter().any(is_cleared), force) {
            _ if names.is_empty() => Ok(()),
            (true, true) => Ok(()),
            (true, false) => Err(RunDirError::NotEmpty(path())),
            (false, _) => Err(RunDirError::NoRun(path())),
        }
    }

    /// `runs/VERB-1`, or the first number that is free.
    fn fresh(runs: &Path, verb: &str) -> Result<Self, RunDirError> {
        fs::create_dir_all(runs).map_err(|source| io_error("make", runs, source))?;
        for number in 1u64.. {
            let path = runs.join(format!("{verb}-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => return Self { path, lock: None }.held(Lock::exclusive),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(io_error("make", &path, source)),
            }
        }
        unreachable!("some number is free")
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> RunDirError {
    RunDirError::Io { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_only_taken_by_force_and_strangers_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("run.toml"), "verb = \"prune\"\n").unwrap();
        fs::write(folder.path().join("best.safetensors"), "old").unwrap();
        let mine = ["notes.txt", "figure-mine.pdf", "state.of.things"];
        mine.iter().for_each(|name| fs::write(folder.path().join(name), "mine").unwrap());
        for gone in ["figure-steps.svg", "state.json", "state.network-1.safetensors"] {
            fs::write(folder.path().join(gone), "old").unwrap();
        }
        let refused = RunDir::create(Some(folder.path()), "train", false).unwrap_err();
        assert!(matches!(refused, RunDirError::NotEmpty(_)), "{refused}");
        assert!(folder.path().join("best.safetensors").exists());
        let run = RunDir::create(Some(folder.path()), "train", true).unwrap();
        assert!(!run.file("best.safetensors").exists());
        drop(run);
        assert!(RunDir::planned(Some(folder.path()), "train", false).is_err());
        let planned = RunDir::planned(Some(folder.path()), "train", true).unwrap();
        assert_eq!(planned, folder.path());
        let run = RunDir::create(Some(folder.path()), "train", true).unwrap();
        for name in mine {
            assert_eq!(fs::read_to_string(run.file(name)).unwrap(), "mine");
        }
        assert_eq!(run.names().unwrap().len(), mine.len() + 1, "and the lock");
    }

    #[test]
    fn fresh_folders_are_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["train", "train", "prune"].map(|verb| {
            let run = RunDir::fresh(folder.path(), verb).unwrap();
            run.path().file_name().unwrap().to_str().unwrap().to_owned()
        });
        assert_eq!(names, ["train-1", "train-2", "prune-1"]);
    }

    #[test]
    fn a_file_in_the_folders_place_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = RunDir::create(Some(file.path()), "train", true).unwrap_err();
        assert!(error.to_string().ends_with("expected a folder, found a file"), "{error}");
    }

    #[test]
    fn a_folder_is_held_by_one_run_or_shared_by_those_that_join() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(Some(folder.path()), "train", false).unwrap();
        let again = RunDir::resume(folder.path()).unwrap_err();
        let pid = std::process::id();
        assert!(matches!(again, RunDirError::InUse { pid: Some(found), .. } if found == pid));
        let forced = RunDir::create(Some(folder.path()), "train", true).unwrap_err();
        assert!(forced.to_string().contains(&format!("is in use by process {pid}")), "{forced}");
        assert!(RunDir::join(folder.path()).is_err());

        let run = run.share().unwrap();
        let other = RunDir::join(folder.path()).unwrap();
        assert!(RunDir::resume(folder.path()).is_err());
        drop(run);
        assert!(RunDir::resume(folder.path()).is_err(), "the other is still at it");
        drop(other);
        RunDir::resume(folder.path()).unwrap();
    }
}
