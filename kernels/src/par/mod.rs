//! The threads that compute: all of the project but those that make batches of images ahead of time and wait for a
//! server.
//!
//! Work is cut by the caller into tasks that do not depend on the number of threads (or whose outputs do
//! not depend on the cut), each task writes its own part of the output, and nothing is reduced across
//! tasks except in task order: that is why results are the same bits for every number of threads.

mod pools;
mod region;

use crate::AlignedBuffer;
use pools::Pools;
use region::{awake, fork};
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, thread};

/// Floats in the buffer of a task: 2 MiB. Tasks that work on one block of it at a time keep to about half
/// of the second-level cache of the smallest machine this is meant for, 256 KiB.
pub(crate) const TASK_BUFFER: usize = 512 << 10;

/// Floats in a task of an element-wise kernel: 256 KiB a stream, some 50 us of memory traffic, which
/// is long enough to hide the hand-over to a thread.
pub(crate) const ELEMENTWISE_CHUNK: usize = 64 * 1024;

/// A pool of threads. Cheap to clone.
#[derive(Clone)]
pub struct Threads {
    count: usize,
    /// Where there is more than one.
    pools: Option<Pools>,
    buffers: Arc<[Mutex<AlignedBuffer>]>,
}

impl Threads {
    /// A pool of `count` threads (0 counts as 1).
    ///
    /// # Panics
    /// If the operating system refuses to start the threads.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self::of(count, Pools::new)
    }

    /// A pool of `count` threads (0 counts as 1), one of which is the calling thread, for good: handing work
    /// over to the pool and back takes as long as a small network. Only the first size that a thread asks for
    /// is had so; others, and other threads that use the pool, get one as from [`new`](Self::new). What else
    /// the calling thread does with rayon runs in this pool from then on.
    ///
    /// # Panics
    /// If the operating system refuses to start the threads.
    #[must_use]
    pub fn with_this_thread(count: usize) -> Self {
        Self::of(count, Pools::with_this_thread)
    }

    fn of(count: usize, pools: impl FnOnce(usize) -> Pools) -> Self {
        let count = count.max(1);
        let pools = (count > 1).then(|| pools(count));
        let buffers = (0..count).map(|_| {
            let mut buffer = AlignedBuffer::zeros(TASK_BUFFER);
            if cfg!(debug_assertions) {
                buffer.fill(f32::NAN); // A task that reads what it has not written shall not pass a test.
            }
            Mutex::new(buffer)
        });
        let buffers = buffers.collect();
        Self { count, pools, buffers }
    }

    /// Runs `work` on a new thread, and waits for it: so that times with several numbers of threads, one
    /// measured after the other, are all [with this thread](Self::with_this_thread).
    pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The number of threads.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `work` on a thread of the pool. All that it shares out in turn then begins and ends among threads
    /// that are awake: from outside, each of many small operations would wake some and let them go to sleep.
    pub fn region<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pools {
            Some(pools) => pools.current().install(|| awake(self.count - 1, work)),
            None => work(),
        }
    }

    /// Lends a task the [`TASK_BUFFER`] floats of its thread; their contents are unspecified. A task
    /// borrows once, around its work, and starts no tasks meanwhile.
    pub(crate) fn with_buffer<T>(&self, work: impl FnOnce(&mut [f32]) -> T) -> T {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.count;
        // A panic of an earlier task left nothing but unspecified contents.
        work(&mut self.buffers[thread].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Cuts `dst` into chunks of `chunk` floats (the last may be shorter) and calls
    /// `task(i, chunk_i)` for each, in any order, on all threads.
    ///
    /// # Panics
    /// If `chunk` is zero while `dst` is not empty.
    pub fn for_each_chunk<T: Send>(
        &self,
        dst: &mut [T],
        chunk: usize,
        task: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let dst = Chunks { slice: dst, chunk };
        self.run(dst.count(), dst, &|i, dst| task(i, dst.slice));
    }

    /// Cuts `a` into chunks of `chunk_a` and `b` into chunks of `chunk_b` and calls
    /// `task(i, a_i, b_i)` for each pair, in any order, on all threads.
    ///
    /// # Panics
    /// If a chunk length is zero while its slice is not empty, or if the numbers of chunks differ.
    pub fn for_each_chunk2<A: Send, B: Send>(
        &self,
        (a, chunk_a): (&mut [A], usize),
        (b, chunk_b): (&mut [B], usize),
        task: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        let (a, b) = (Chunks { slice: a, chunk: chunk_a }, Chunks { slice: b, chunk: chunk_b });
        assert_eq!(a.count(), b.count(), "as many chunks of each");
        self.run(a.count(), (a, b), &|i, (a, b)| task(i, a.slice, b.slice));
    }

    /// Cuts three slices of one length into chunks of `chunk` and calls `task(i, a_i, b_i, c_i)`
    /// for each, in any order, on all threads.
    ///
    /// # Panics
    /// If `chunk` is zero while the slices are not empty, or if the lengths differ.
    pub fn for_each_chunk3<T: Send>(
        &self,
        slices: [&mut [T]; 3],
        chunk: usize,
        task: impl Fn(usize, [&mut [T]; 3]) + Sync,
    ) {
        let [a, b, c] = slices.map(|slice| Chunks { slice, chunk });
        let lengths = [a.slice.len(), b.slice.len(), c.slice.len()];
        assert_eq!(lengths, [lengths[0]; 3], "three slices of one length");
        let parts = (a, (b, c));
        self.run(parts.0.count(), parts, &|i, (a, (b, c))| task(i, [a.slice, b.slice, c.slice]));
    }

    /// Cuts `dst` into `pieces` pieces, of which piece `i` begins at `start(i)` and ends where the next
    /// begins, and calls `task(i, piece_i)` for each, in any order, on all threads.
    ///
    /// # Panics
    /// If starts do not ascend from 0 to at most the length.
    pub fn for_each_piece<T: Send>(
        &self,
        dst: &mut [T],
        pieces: usize,
        start: impl Fn(usize) -> usize + Sync,
        task: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let parts = Pieces { slice: dst, first: 0, start: &start };
        self.run(pieces, parts, &|i, parts| task(i, parts.slice));
    }

    /// Calls `task` with every number below `tasks` and what of `parts` is that task's. What shares out work
    /// is compiled once for each kind of parts: for each task it would be a third of what the compiler is given.
    fn run<P: Parts>(&self, tasks: usize, parts: P, task: &Task<'_, P>) {
        match &self.pools {
            Some(pools) if tasks > 1 => pools.current().install(|| halve(parts, 0..tasks, task)),
            _ if tasks == 0 => {}
            _ => {
                let mut rest = parts;
                for i in 0..tasks - 1 {
                    let part;
                    (part, rest) = rest.split(1);
                    task(i, part);
                }
                task(tasks - 1, rest); // The last takes what is left.
            }
        }
    }
}

/// What is called with a task's number and its part.
type Task<'a, P> = dyn Fn(usize, P) + Sync + 'a;

/// What tasks own, one part each.
trait Parts: Send {
    /// The first `tasks` tasks' parts, and the rest.
    fn split(self, tasks: usize) -> (Self, Self)
    where
        Self: Sized;
}

impl<A: Parts, B: Parts> Parts for (A, B) {
    fn split(self, tasks: usize) -> (Self, Self) {
        let ((a, rest_a), (b, rest_b)) = (self.0.split(tasks), self.1.split(tasks));
        ((a, b), (rest_a, rest_b))
    }
}

/// A slice in chunks of one length, the last of which may be shorter.
struct Chunks<'a, T> {
    slice: &'a mut [T],
    chunk: usize,
}

impl<T> Chunks<'_, T> {
    fn count(&self) -> usize {
        if self.slice.is_empty() { 0 } else { self.slice.len().div_ceil(self.chunk) }
    }
}

impl<T: Send> Parts for Chunks<'_, T> {
    fn split(self, tasks: usize) -> (Self, Self) {
        let Self { slice, chunk } = self;
        let (first, rest) = slice.split_at_mut(slice.len().min(tasks * chunk));
        (Self { slice: first, chunk }, Self { slice: rest, chunk })
    }
}

/// A slice in pieces that begin where `start` says; the first here is piece `first`.
struct Pieces<'a, T> {
    slice: &'a mut [T],
    first: usize,
    start: &'a (dyn Fn(usize) -> usize + Sync),
}

impl<T: Send> Parts for Pieces<'_, T> {
    fn split(self, tasks: usize) -> (Self, Self) {
        let Self { slice, first, start } = self;
        let next = first + tasks;
        let (piece, rest) = slice.split_at_mut(start(next) - start(first));
        (Self { slice: piece, first, start }, Self { slice: rest, first: next, start })
    }
}

/// Runs the tasks `tasks`, to which `parts` belong, each half on its own.
fn halve<P: Parts>(parts: P, tasks: Range<usize>, task: &Task<'_, P>) {
    if tasks.len() == 1 {
        return task(tasks.start, parts);
    }
    let (half, middle) = (tasks.len() / 2, tasks.start + tasks.len() / 2);
    let (first, second) = parts.split(half);
    fork(|| halve(first, tasks.start..middle, task), || halve(second, middle..tasks.end, task));
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_those_that_were_asked_for() {
        for threads in [1, 2, 3] {
            let threads = Threads::new(threads);
            for pieces in 0..8usize {
                let start = |i: usize| i * (i + 1) / 2;
                let mut dst = vec![usize::MAX; start(pieces) + 3];
                threads.for_each_piece(&mut dst, pieces, start, |i, piece| {
                    let rest = if i + 1 == pieces { 3 } else { 0 };
                    assert_eq!(piece.len(), i + 1 + rest);
                    piece.fill(i);
                });
                for i in 0..pieces {
                    assert!(dst[start(i)..start(i + 1)].iter().all(|&x| x == i));
                }
            }
        }
    }
}
