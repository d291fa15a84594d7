//! The folder of a run.

use pleach_core::checkpoint::write_atomically;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What runs write. With `--force`, what of it an earlier run left in a folder goes first.
const FILES: &[&str] = &[
    "run.toml",
    "env.json",
    "metrics.jsonl",
    "last.safetensors",
    "best.safetensors",
    "pruned.safetensors",
    "plan.json",
    "result.json",
];

/// The folder of a run, which exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

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
    /// There is a file of its name.
    #[error("{}: expected a folder, found a file", .0.display())]
    NotAFolder(PathBuf),
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

impl RunDir {
    /// The folder `out`, made if it is not there; without, a fresh one, `runs/VERB-N`. A folder that
    /// has something in it is refused, or, with `force`, cleared of what an earlier run left; other
    /// files in it stay.
    ///
    /// # Errors
    /// If it is refused, or the operating system does.
    pub fn create(out: Option<&Path>, verb: &str, force: bool) -> Result<Self, RunDirError> {
        let Some(path) = out else { return Self::fresh(Path::new("runs"), verb) };
        let fail = |action| move |source| RunDirError::Io { action, path: path.into(), source };
        if path.is_dir() {
            let mut entries = fs::read_dir(path).map_err(fail("read"))?;
            if entries.next().is_some() && !force {
                return Err(RunDirError::NotEmpty(path.into()));
            }
        } else if path.exists() {
            return Err(RunDirError::NotAFolder(path.into()));
        }
        fs::create_dir_all(path).map_err(fail("make"))?;
        let run = Self(path.into());
        for name in FILES {
            match fs::remove_file(run.file(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(run.error("remove", name, error));
                }
                _ => {}
            }
        }
        Ok(run)
    }

    /// The folder of a run that is there.
    ///
    /// # Errors
    /// If it is not there, or not a folder.
    pub fn existing(path: &Path) -> Result<Self, RunDirError> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self(path.into())),
            Ok(_) => Err(RunDirError::NotAFolder(path.into())),
            Err(_) => Err(RunDirError::Missing(path.into())),
        }
    }

    /// `runs/VERB-1`, or the first number that is free.
    fn fresh(runs: &Path, verb: &str) -> Result<Self, RunDirError> {
        let fail =
            |action, path: &Path, source| RunDirError::Io { action, path: path.into(), source };
        fs::create_dir_all(runs).map_err(|source| fail("make", runs, source))?;
        for number in 1u64.. {
            let path = runs.join(format!("{verb}-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(fail("make", &path, source)),
            }
        }
        unreachable!("some number is free")
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// If the operating system refuses; what was there before is still there.
    pub fn write(&self, name: &str, text: &str) -> Result<(), RunDirError> {
        write_atomically(&self.file(name), |file| file.write_all(text.as_bytes()))
            .map_err(|source| self.error("write", name, source))
    }

    /// Adds a line to a file, made if it is not there.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn append(&self, name: &str, line: &str) -> Result<(), RunDirError> {
        let append = || {
            let mut file: File =
                OpenOptions::new().create(true).append(true).open(self.file(name))?;
            file.write_all(format!("{line}\n").as_bytes())
        };
        append().map_err(|source| self.error("write", name, source))
    }

    fn error(&self, action: &'static str, name: &str, source: io::Error) -> RunDirError {
        RunDirError::Io { action, path: self.file(name), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_only_taken_by_force_and_strangers_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("best.safetensors"), "old").unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let refused = RunDir::create(Some(folder.path()), "train", false).unwrap_err();
        assert!(matches!(refused, RunDirError::NotEmpty(_)), "{refused}");
        assert!(folder.path().join("best.safetensors").exists());
        let run = RunDir::create(Some(folder.path()), "train", true).unwrap();
        assert!(!run.file("best.safetensors").exists());
        assert_eq!(fs::read_to_string(run.file("notes.txt")).unwrap(), "mine");
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
}
