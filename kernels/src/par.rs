//! The only threads of the project.
//!
//! Work is cut by the caller into tasks that do not depend on the number of threads (or whose outputs do
//! not depend on the cut), each task writes its own part of the output, and nothing is reduced across
//! tasks except in task order: that is why results are the same bits for every number of threads.

use crate::AlignedBuffer;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, hint, thread};

/// Floats in the buffer of a task: 2 MiB. Tasks that work on one block of it at a time keep to about half
/// of the second-level cache of the smallest machine this is meant for, 256 KiB.
pub(crate) const TASK_BUFFER: usize = 512 << 10;

/// Floats in a task of an element-wise kernel: 256 KiB a stream, some 50 us of memory traffic, which
/// is long enough to hide the hand-over to a thread.
pub(crate) const ELEMENTWISE_CHUNK: usize = 64 * 1024;

/// Pauses of a thread between two looks for a task.
const PAUSES: usize = 16;

/// Looks in vain after which a thread lets others of the machine run: some ten microseconds.
const LOOKS: usize = 64;

/// A pool of threads. Cheap to clone.
#[derive(Clone)]
pub struct Threads {
    count: usize,
    pool: Option<Arc<rayon::ThreadPool>>,
    buffers: Arc<[Mutex<AlignedBuffer>]>,
}

impl Threads {
    /// A pool of `count` threads (0 counts as 1). One thread is the calling thread itself.
    ///
    /// # Panics
    /// If the operating system refuses to start the threads.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let count = count.max(1);
        let pool = (count > 1).then(|| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(count)
                .thread_name(|i| format!("pleach-{i}"))
                .build()
                .expect("the operating system starts the threads of the pool");
            Arc::new(pool)
        });
        let buffers = (0..count).map(|_| {
            let mut buffer = AlignedBuffer::zeros(TASK_BUFFER);
            if cfg!(debug_assertions) {
                buffer.fill(f32::NAN); // A task that reads what it has not written shall not pass a test.
            }
            Mutex::new(buffer)
        });
        let buffers = buffers.collect();
        Self { count, pool, buffers }
    }

    /// The number of threads.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `work` on a thread of the pool. All that it shares out in turn then begins and ends among threads
    /// that are awake: from outside, each of many small operations would wake two and go to sleep.
    pub fn region<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(|| awake(work)),
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

    /// Calls `task(i)` for every `i` below `tasks`, in any order, on all threads.
    pub fn for_each(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        match &self.pool {
            Some(pool) if tasks > 1 => {
                pool.install(|| (0..tasks).into_par_iter().with_max_len(1).for_each(&task));
            }
            _ => (0..tasks).for_each(task),
        }
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
        match &self.pool {
            Some(pool) if dst.len() > chunk => pool.install(|| {
                dst.par_chunks_mut(chunk)
                    .with_max_len(1)
                    .enumerate()
                    .for_each(|(i, part)| task(i, part));
            }),
            _ => dst.chunks_mut(chunk).enumerate().for_each(|(i, part)| task(i, part)),
        }
    }

    /// Cuts `a` into chunks of `chunk_a` and `b` into chunks of `chunk_b` and calls
    /// `task(i, a_i, b_i)` for each pair, in any order, on all threads.
    ///
    /// # Panics
    /// If a chunk length is zero, or if the numbers of chunks differ.
    pub fn for_each_chunk2<A: Send, B: Send>(
        &self,
        (a, chunk_a): (&mut [A], usize),
        (b, chunk_b): (&mut [B], usize),
        task: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        assert_eq!(a.len().div_ceil(chunk_a), b.len().div_ceil(chunk_b), "as many chunks of each");
        match &self.pool {
            Some(pool) if a.len() > chunk_a => pool.install(|| {
                a.par_chunks_mut(chunk_a)
                    .zip(b.par_chunks_mut(chunk_b))
                    .with_max_len(1)
                    .enumerate()
                    .for_each(|(i, (a, b))| task(i, a, b));
            }),
            _ => a
                .chunks_mut(chunk_a)
                .zip(b.chunks_mut(chunk_b))
                .enumerate()
                .for_each(|(i, (a, b))| task(i, a, b)),
        }
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
        match &self.pool {
            Some(pool) if pieces > 1 => pool.install(|| halve(dst, 0..pieces, &start, &task)),
            _ => {
                let (mut rest, mut from) = (dst, 0);
                for i in 0..pieces {
                    let end = if i + 1 < pieces { start(i + 1) } else { from + rest.len() };
                    let (piece, after) = rest.split_at_mut(end - from);
                    task(i, piece);
                    (rest, from) = (after, end);
                }
            }
        }
    }

    /// Cuts three slices of one length into chunks of `chunk` and calls `task(i, a_i, b_i, c_i)`
    /// for each, in any order, on all threads.
    ///
    /// # Panics
    /// If `chunk` is zero, or if the lengths differ.
    pub fn for_each_chunk3<T: Send>(
        &self,
        [a, b, c]: [&mut [T]; 3],
        chunk: usize,
        task: impl Fn(usize, [&mut [T]; 3]) + Sync,
    ) {
        assert!(a.len() == b.len() && b.len() == c.len(), "three slices of one length");
        match &self.pool {
            Some(pool) if a.len() > chunk => pool.install(|| {
                a.par_chunks_mut(chunk)
                    .zip(b.par_chunks_mut(chunk))
                    .zip(c.par_chunks_mut(chunk))
                    .with_max_len(1)
                    .enumerate()
                    .for_each(|(i, ((a, b), c))| task(i, [a, b, c]));
            }),
            _ => a
                .chunks_mut(chunk)
                .zip(b.chunks_mut(chunk))
                .zip(c.chunks_mut(chunk))
                .enumerate()
                .for_each(|(i, ((a, b), c))| task(i, [a, b, c])),
        }
    }
}

/// Runs `work` on this thread of a pool, while its other threads look for tasks without going to sleep.
fn awake<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    /// Ends the others' search, also when `work` panics.
    struct End<'a>(&'a AtomicBool);

    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }

    let (this, end) = (rayon::current_thread_index(), AtomicBool::new(false));
    rayon::scope(|scope| {
        scope.spawn_broadcast(|_, cx| {
            let other = this != Some(cx.index());
            let mut in_vain = 0;
            while other && !end.load(Ordering::Acquire) {
                if rayon::yield_now() == Some(rayon::Yield::Executed) {
                    in_vain = 0;
                } else if in_vain < LOOKS {
                    in_vain += 1;
                    (0..PAUSES).for_each(|_| hint::spin_loop());
                } else {
                    // Whoever else wants this core may have it: it may be the thread that has the work.
                    thread::yield_now();
                }
            }
        });
        let _end = End(&end);
        work()
    })
}

/// Runs the tasks `pieces`, whose pieces are `dst`, each half on its own.
fn halve<T: Send>(
    dst: &mut [T],
    pieces: Range<usize>,
    start: &(impl Fn(usize) -> usize + Sync),
    task: &(impl Fn(usize, &mut [T]) + Sync),
) {
    if pieces.len() == 1 {
        return task(pieces.start, dst);
    }
    let middle = pieces.start + pieces.len() / 2;
    let (first, second) = dst.split_at_mut(start(middle) - start(pieces.start));
    rayon::join(
        || halve(first, pieces.start..middle, start, task),
        || halve(second, middle..pieces.end, start, task),
    );
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
