//! Batches made ahead of time, on a thread of their own.

use super::{Batch, BatchSpec, Epoch};
use crate::Dataset;
use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

/// Finished batches that wait for the reader: one to take, and one to absorb a slow moment.
const AHEAD: usize = 2;

/// The batches of one epoch in order, each made while the reader works on those before it.
///
/// The buffers of a batch go round: [`give_back`](Self::give_back) it and a later one is made in
/// them. Dropping the loader in the middle of an epoch stops its thread and waits for it.
pub struct Loader {
    ready: Option<Receiver<Batch>>,
    used: Sender<Batch>,
    thread: Option<JoinHandle<()>>,
    left: usize,
}

impl Loader {
    /// All batches of an epoch.
    ///
    /// # Panics
    /// If `spec` has an empty batch, or the operating system refuses to start a thread.
    #[must_use]
    pub fn new(dataset: Arc<dyn Dataset>, spec: BatchSpec) -> Self {
        Self::starting_at(dataset, spec, 0)
    }

    /// The batches of an epoch from batch `first` on, to go on where a run was interrupted.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn starting_at(dataset: Arc<dyn Dataset>, spec: BatchSpec, first: usize) -> Self {
        let batches = spec.batches(&*dataset);
        let (send_ready, ready) = mpsc::sync_channel(AHEAD);
        let (used, receive_used) = mpsc::channel::<Batch>();
        let thread = thread::Builder::new()
            .name("pleach-loader".to_string())
            .spawn(move || {
                let epoch = Epoch::new(&*dataset, &spec);
                for index in first..batches {
                    let mut batch = receive_used.try_recv().unwrap_or_default();
                    epoch.fill_batch(index, &mut batch);
                    if send_ready.send(batch).is_err() {
                        return;
                    }
                }
            })
            .expect("the operating system starts the loader's thread");
        let left = batches.saturating_sub(first);
        Self { ready: Some(ready), used, thread: Some(thread), left }
    }

    /// Lets a later batch use the buffers of `batch`.
    pub fn give_back(&self, batch: Batch) {
        // The thread has ended once it has made its last batch, and needs no buffers then.
        let _ = self.used.send(batch);
    }

    fn join(&mut self) -> thread::Result<()> {
        self.ready = None;
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Iterator for Loader {
    type Item = Batch;

    /// # Panics
    /// If making the batch panicked: with the same panic.
    fn next(&mut self) -> Option<Batch> {
        if self.left == 0 {
            return None;
        }
        match self.ready.as_ref()?.recv() {
            Ok(batch) => {
                self.left -= 1;
                Some(batch)
            }
            Err(_) => match self.join() {
                Ok(()) => None,
                Err(payload) => panic::resume_unwind(payload),
            },
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Loader {}

impl Drop for Loader {
    fn drop(&mut self) {
        // A panic of the thread was seen by the reader, or concerns a batch nobody asked for.
        let _ = self.join();
    }
}
