//! One archive, by as many requests as it takes.

use super::request::{Part, Request};
use super::{Progress, builder};
use crate::registry::Archive;
use crate::{DataError, verify};
use sha2::{Digest, Sha256};
use std::io::{self, Seek, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Requests for one archive: the first, and those that go on where a connection broke.
const ATTEMPTS: u32 = 4;

/// A body longer than this is not one of the archives, which have 170 MB.
const MAX_LEN: u64 = 1 << 30;

/// Downloads an archive to `target`.
///
/// # Errors
/// If the server does not give it, it is not the right one, the disk refuses, or `progress` asked to stop.
pub(super) fn download(
    archive: &Archive,
    base_url: &str,
    target: &Path,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(), DataError> {
    let url = format!("{}/{}", base_url.trim_end_matches('/'), archive.file_name);
    let fail = |found: String| {
        Err(DataError::Download {
            url: url.clone(),
            expected: format!("an archive with sha256 {}", archive.sha256),
            found,
        })
    };
    let dir = target.parent().unwrap_or(Path::new("."));
    let temporary = builder(0o666).tempfile_in(dir).map_err(|error| DataError::io(dir, error))?;
    let mut sink = Sink { file: temporary, hasher: Sha256::new(), received: 0, total: None };
    let mut broken = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            log::warn!("{url}: {broken}; going on from byte {}", sink.received);
        }
        // Before the first there is no pause, and then a longer one each time.
        for pause in 0..1_u32 << attempt {
            if pause > 0 {
                thread::sleep(Duration::from_millis(100));
            }
            if progress(sink.progress()).is_break() {
                return Err(DataError::Interrupted { url });
            }
        }
        match sink.receive(&url, target, progress)? {
            Received::Whole => {
                let found = verify::hexadecimal(sink.hasher.finalize());
                if found != archive.sha256 {
                    return fail(format!("{} bytes with sha256 {found}", sink.received));
                }
                let at_target = |error| DataError::io(target, error);
                sink.file.as_file().sync_all().map_err(at_target)?;
                let persisted = sink.file.persist_noclobber(target);
                return persisted.map(drop).map_err(|error| at_target(error.error));
            }
            Received::Interrupted => return Err(DataError::Interrupted { url }),
            Received::Refused(found) => return fail(found),
            Received::Broken(found) => broken = found,
        }
    }
    Err(DataError::Unreachable { url, reason: broken, attempts: ATTEMPTS })
}

/// What has been received of an archive.
struct Sink {
    file: tempfile::NamedTempFile,
    hasher: Sha256,
    received: u64,
    /// Bytes of the archive, if the server says.
    total: Option<u64>,
}

/// How a request ended.
pub(super) enum Received {
    /// With the last byte.
    Whole,
    /// Early: another request may go on.
    Broken(String),
    /// With an answer that another request would get too.
    Refused(String),
    /// By the caller.
    Interrupted,
}

impl Sink {
    fn progress(&self) -> Progress {
        Progress { received: self.received, total: self.total }
    }

    /// Asks for what is still missing and writes it down.
    ///
    /// # Errors
    /// If the disk refuses.
    fn receive(
        &mut self,
        url: &str,
        target: &Path,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Received, DataError> {
        let request = match Request::send(url, self.received) {
            Ok(request) => request,
            Err(error) => return Ok(Received::Broken(error.to_string())),
        };
        let at_target = |error| DataError::io(target, error);
        loop {
            match request.part() {
                None => {}
                Some(Part::Head { start, total }) => {
                    if start != self.received {
                        self.start_again().map_err(at_target)?;
                    }
                    self.total = total;
                }
                Some(Part::Bytes(bytes)) => {
                    self.received += bytes.len() as u64;
                    if self.received > MAX_LEN {
                        return Ok(Received::Refused(format!("more than {MAX_LEN} bytes")));
                    }
                    self.file.write_all(&bytes).map_err(at_target)?;
                    self.hasher.update(&bytes);
                }
                Some(Part::End) => break,
                Some(Part::Broken(error)) => {
                    return Ok(Received::Broken(format!("{}, then {error}", self.so_far())));
                }
                Some(Part::Nothing(received)) => return Ok(received),
            }
            if progress(self.progress()).is_break() {
                return Ok(Received::Interrupted);
            }
        }
        match self.total {
            Some(total) if self.received < total => Ok(Received::Broken(self.so_far())),
            _ => Ok(Received::Whole),
        }
    }

    /// Forgets what it has.
    fn start_again(&mut self) -> io::Result<()> {
        self.file.as_file().set_len(0)?;
        self.file.rewind()?;
        self.hasher.reset();
        self.received = 0;
        Ok(())
    }

    /// How many bytes there are of how many.
    fn so_far(&self) -> String {
        let total = self.total.map_or_else(String::new, |total| format!(" of {total}"));
        format!("{} bytes{total}", self.received)
    }
}
