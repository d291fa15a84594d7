//! The files in a run's folder.

use super::owned::is_state;
use super::{RunDir, RunDirError, io_error};
use pleach_core::checkpoint::{is_temporary, write_atomically};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};

impl RunDir {
    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// If the operating system refuses; what was there before is still there.
    pub fn write(&self, name: &str, text: &str) -> Result<(), RunDirError> {
        write_atomically(&self.file(name), |file| file.write_all(text.as_bytes()))
            .map_err(|source| self.error("write", name, source))
    }

    /// Adds lines to a file, made if it is not there, and has them on the disk. Returns its length in
    /// bytes.
    ///
    /// # Errors
    /// If the operating system refuses. A part may then be there.
    pub fn append(&self, name: &str, lines: &[String]) -> Result<u64, RunDirError> {
        let append = || {
            let path = self.file(name);
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            if !lines.is_empty() {
                file.write_all((lines.join("\n") + "\n").as_bytes())?;
                file.sync_data()?;
            }
            Ok(file.metadata()?.len())
        };
        append().map_err(|source| self.error("write", name, source))
    }

    /// Takes from a file, if it is there, what is beyond `len` bytes.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn truncate(&self, name: &str, len: u64) -> Result<(), RunDirError> {
        let truncate = || match OpenOptions::new().write(true).open(self.file(name)) {
            Ok(file) if file.metadata()?.len() > len => file.set_len(len),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        truncate().map_err(|source| self.error("truncate", name, source))
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn remove(&self, name: &str) -> Result<(), RunDirError> {
        match fs::remove_file(self.file(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", name, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes the files that an unfinished run goes on from, but for those in `keep`.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub(crate) fn remove_state(&self, keep: &[String]) -> Result<(), RunDirError> {
        self.remove_some(|name| is_state(name) && !keep.iter().any(|kept| kept == name))
    }

    /// Removes the files whose names are `chosen`.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn remove_some(&self, chosen: impl Fn(&str) -> bool) -> Result<(), RunDirError> {
        let names = self.names()?.into_iter();
        names.filter(|name| chosen(name)).try_for_each(|name| self.remove(&name))
    }

    /// Removes what a process left that was killed while it wrote a file.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn tidy(&self) -> Result<(), RunDirError> {
        self.remove_some(is_temporary)
    }

    pub(super) fn names(&self) -> Result<Vec<String>, RunDirError> {
        let entries = fs::read_dir(&self.path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(|source| io_error("read", &self.path, source))?;
        let names = entries.into_iter().map(|entry| entry.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn error(&self, action: &'static str, name: &str, source: io::Error) -> RunDirError {
        io_error(action, &self.file(name), source)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lock;
    use super::*;

    #[test]
    fn leftovers_of_a_killed_process_are_no_contents_and_go() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".pleach-x.tmp"), "half a file").unwrap();
        fs::write(folder.path().join(lock::FILE), "").unwrap();
        let run = RunDir::create(Some(folder.path()), "train", false).unwrap();
        assert_eq!(run.names().unwrap(), [lock::FILE]);
    }

    #[test]
    fn what_was_appended_after_a_length_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(Some(folder.path()), "train", false).unwrap();
        run.truncate("lines", 3).unwrap();
        let len = run.append("lines", &["one".into(), "two".into()]).unwrap();
        assert_eq!(len, 8);
        run.append("lines", &["three".into()]).unwrap();
        run.truncate("lines", len).unwrap();
        assert_eq!(run.append("lines", &[]).unwrap(), 8);
        assert_eq!(fs::read_to_string(run.file("lines")).unwrap(), "one\ntwo\n");
    }
}
