//! A request on a thread of its own: whoever waits for its answer looks up now and then, however long the server says
//! nothing.

use super::download::Received;
use super::http::{self, Response};
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SendError, SyncSender};
use std::thread;
use std::time::Duration;

/// How long is waited for a part at a time: interrupted, a download ends within that.
const PATIENCE: Duration = Duration::from_millis(200);

/// Bytes of a part, at most.
const PART: usize = 1 << 16;

/// Parts that wait to be taken, at most.
const WAITING: usize = 4;

/// A part of an answer.
pub(super) enum Part {
    /// The first: the offset of the body's first byte in the whole file, and the file's length, if the server says.
    Head { start: u64, total: Option<u64> },
    /// More of the body.
    Bytes(Vec<u8>),
    /// The last: there is no more of the body.
    End,
    /// The last: the body broke off.
    Broken(io::Error),
    /// The only one: there is no body.
    Nothing(Received),
}

/// A request that is under way.
pub(super) struct Request {
    parts: Receiver<Part>,
}

impl Request {
    /// Asks for the bytes of `url` from `start` on. The thread ends with the answer, or when it next has a part that
    /// nobody waits for.
    ///
    /// # Errors
    /// If there is no thread.
    pub(super) fn send(url: &str, start: u64) -> io::Result<Self> {
        let (sender, parts) = mpsc::sync_channel(WAITING);
        let url = url.to_owned();
        thread::Builder::new().name("fetch".to_owned()).spawn(move || {
            // Whoever asked may have gone away.
            let _ = answer(&url, start, &sender);
        })?;
        Ok(Self { parts })
    }

    /// The next part, unless it takes longer.
    pub(super) fn part(&self) -> Option<Part> {
        match self.parts.recv_timeout(PATIENCE) {
            Ok(part) => Some(part),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                Some(Part::Broken(io::ErrorKind::UnexpectedEof.into()))
            }
        }
    }
}

/// Sends the parts of the answer.
fn answer(url: &str, start: u64, parts: &SyncSender<Part>) -> Result<(), SendError<Part>> {
    let Response { start, total, mut body } = match http::get(url, start) {
        Ok(response) => response,
        Err(received) => return parts.send(Part::Nothing(received)),
    };
    parts.send(Part::Head { start, total })?;
    let mut buffer = vec![0; PART];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return parts.send(Part::End),
            Ok(read) => parts.send(Part::Bytes(buffer[..read].to_vec()))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return parts.send(Part::Broken(error)),
        }
    }
}
