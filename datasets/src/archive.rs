//! Reading a `.tar.gz` member by member.

use crate::DataError;
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// An archive that unpacks to more than this is refused: the official ones have 185 MB, and a
/// small hostile one could go on for terabytes.
const MAX_UNPACKED: u64 = 1 << 28;

type Unpacked = Counted<MultiGzDecoder<BufReader<File>>>;

/// A `.tar.gz` being read.
pub(crate) struct TarGz {
    path: PathBuf,
    tar: tar::Archive<Unpacked>,
    unpacked: Rc<Cell<u64>>,
}

/// One regular file of an archive, about to be read.
pub(crate) struct Member<'a> {
    /// Its path in the archive.
    pub(crate) path: PathBuf,
    /// Its length in bytes, as the archive states it.
    pub(crate) len: u64,
    archive: &'a Path,
    entry: tar::Entry<'a, Unpacked>,
    unpacked: &'a Cell<u64>,
}

impl TarGz {
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|error| DataError::io(path, error))?;
        let unpacked = Rc::new(Cell::new(0));
        let reader = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
        let tar = tar::Archive::new(Counted { inner: reader, count: Rc::clone(&unpacked) });
        Ok(Self { path: path.to_path_buf(), tar, unpacked })
    }

    /// Calls `visit` on each regular file in order, until it returns false.
    pub(crate) fn for_each(
        &mut self,
        mut visit: impl FnMut(&mut Member<'_>) -> Result<bool, DataError>,
    ) -> Result<(), DataError> {
        let unpacked = &*self.unpacked;
        let fail = |error: &io::Error| broken(&self.path, unpacked, error);
        for entry in self.tar.entries().map_err(|error| fail(&error))? {
            let entry = entry.map_err(|error| fail(&error))?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            // Names are shown and compared, never written to: what climbs out is dropped.
            let name = entry.path().map_err(|error| fail(&error))?;
            let kept = name.components().filter(|part| matches!(part, Component::Normal(_)));
            let path: PathBuf = kept.collect();
            let len = entry.size();
            if !visit(&mut Member { path, len, archive: &self.path, entry, unpacked })? {
                break;
            }
        }
        Ok(())
    }

    /// Reads on to the end, which checks the checksum of all that was read.
    pub(crate) fn finish(self) -> Result<(), DataError> {
        io::copy(&mut self.tar.into_inner(), &mut io::sink())
            .map_err(|error| broken(&self.path, &self.unpacked, &error))?;
        Ok(())
    }
}

impl Member<'_> {
    /// The last part of its path.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What its path has before the name.
    pub(crate) fn folder(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).to_path_buf()
    }

    /// The error of reading it.
    pub(crate) fn fail(&self, error: &io::Error) -> DataError {
        broken(self.archive, self.unpacked, error)
    }
}

impl Read for Member<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.entry.read(buffer)
    }
}

fn broken(path: &Path, unpacked: &Cell<u64>, error: &io::Error) -> DataError {
    DataError::Malformed {
        path: path.to_path_buf(),
        offset: unpacked.get(),
        expected: "a whole .tar.gz archive (the offset counts unpacked bytes)".to_string(),
        found: error.to_string(),
    }
}

/// Counts what passes through, and stops at [`MAX_UNPACKED`].
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        if self.count.get() > MAX_UNPACKED {
            return Err(io::Error::other(format!("more than {MAX_UNPACKED} bytes")));
        }
        Ok(read)
    }
}
