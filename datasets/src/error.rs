//! What can be wrong with a data set, on disk or on its way from the network.

use std::io;
use std::path::{Path, PathBuf};

/// Why a data set cannot be opened, verified or fetched.
///
/// The path of a file inside an archive is the archive's path joined with the name inside it.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// A file or folder as a whole is not what it should be, or is not there.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Unexpected {
        /// The file or folder.
        path: PathBuf,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The bytes of a file are wrong from a known place on.
    #[error("{}: at byte {offset}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, in bytes from the start of the file.
        offset: u64,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A download did not give what it should.
    #[error("{url}: expected {expected}, found {found}")]
    Download {
        /// The address.
        url: String,
        /// What belongs there.
        expected: String,
        /// What came instead.
        found: String,
    },
    /// A download broke off again and again.
    #[error("{url} cannot be downloaded: {reason}, {attempts} times")]
    Unreachable {
        /// The address.
        url: String,
        /// How the last attempt ended.
        reason: String,
        /// Attempts.
        attempts: u32,
    },
    /// The caller's progress function asked to stop a download.
    #[error("{url}: interrupted")]
    Interrupted {
        /// The address.
        url: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn unexpected(
        path: &Path,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Unexpected {
            path: path.to_path_buf(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(crate) fn malformed(
        path: &Path,
        offset: usize,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Malformed {
            path: path.to_path_buf(),
            offset: offset as u64,
            expected: expected.into(),
            found: found.into(),
        }
    }
}
