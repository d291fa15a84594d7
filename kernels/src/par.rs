//! The only threads of the project.
//!
//! Work is cut by the caller into tasks that do not depend on the number of threads (or whose outputs do
//! not depend on the cut), each task writes its own part of the output, and nothing is reduced across
//! tasks except in task order: that is why results are the same bits for every number of threads.

use crate::AlignedBuffer;
use std::cell::Cell;
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
        self.run(tasks, (), |i, ()| task(i));
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
        self.run(dst.count(), dst, |i, dst| task(i, dst.slice));
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
        self.run(a.count(), (a, b), |i, (a, b)| task(i, a.slice, b.slice));
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
        self.run(parts.0.count(), parts, |i, (a, (b, c))| task(i, [a.slice, b.slice, c.slice]));
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
        self.run(pieces, parts, |i, parts| task(i, parts.slice));
    }

    /// Calls `task` with every number below `tasks` and what of `parts` is that task's.
    fn run<P: Parts>(&self, tasks: usize, parts: P, task: impl Fn(usize, P) + Sync) {
        match &self.pool {
            Some(pool) if tasks > 1 => pool.install(|| halve(parts, 0..tasks, &task)),
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

/// What tasks own, one part each.
trait Parts: Send {
    /// The first `tasks` tasks' parts, and the rest.
    fn split(self, tasks: usize) -> (Self, Self)
    where
        Self: Sized;
}

impl Parts for () {
    fn split(self, _: usize) -> (Self, Self) {
        ((), ())
    }
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
struct Pieces<'a, T, S> {
    slice: &'a mut [T],
    first: usize,
    start: &'a S,
}

impl<T: Send, S: Fn(usize) -> usize + Sync> Parts for Pieces<'_, T, S> {
    fn split(self, tasks: usize) -> (Self, Self) {
        let Self { slice, first, start } = self;
        let next = first + tasks;
        let (piece, rest) = slice.split_at_mut(start(next) - start(first));
        (Self { slice: piece, first, start }, Self { slice: rest, first: next, start })
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
            // A thread that waits within a fork takes up whatever it finds. Were that this search, the fork
            // could not end before the work, which may be waiting for it.
            let searches = this != Some(cx.index()) && FORKS.get() == 0;
            let mut in_vain = 0;
            while searches && !end.load(Ordering::Acquire) {
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

thread_local! {
    /// How many [`fork`]s this thread is within.
    static FORKS: Cell<usize> = const { Cell::new(0) };
}

/// Runs both, on two threads if there is one to spare. Every fork of the project is one of these.
fn fork(a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    /// Counts the fork, also when a half panics.
    struct Within;

    impl Drop for Within {
        fn drop(&mut self) {
            FORKS.set(FORKS.get() - 1);
        }
    }

    FORKS.set(FORKS.get() + 1);
    let _within = Within;
    rayon::join(a, b);
}

/// Runs the tasks `tasks`, to which `parts` belong, each half on its own.
fn halve<P: Parts>(parts: P, tasks: Range<usize>, task: &(impl Fn(usize, P) + Sync)) {
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
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_thread_that_waits_within_a_fork_does_not_search_for_the_work_that_waits_for_it() {
        // Thread 1 does the work of a region, and in it waits for a task that thread 0 has. Within that task
        // thread 0 waits for half of it, which thread 1 has taken, and finds the region's search.
        let (send, done) = mpsc::channel();
        thread::spawn(move || {
            let threads = Threads::new(2);
            let pool = threads.pool.as_ref().expect("two threads have a pool");
            let [begun, half, whole] = [(); 3].map(|()| AtomicBool::new(false));
            let wait = |flag: &AtomicBool| {
                while !flag.load(Ordering::Acquire) {
                    thread::yield_now();
                }
            };
            let set = |flag: &AtomicBool| flag.store(true, Ordering::Release);
            let task = || {
                set(&begun);
                let other_half = || {
                    set(&half);
                    thread::sleep(Duration::from_millis(100));
                };
                fork(|| wait(&half), other_half);
                set(&whole);
            };
            let work = || {
                while !half.load(Ordering::Acquire) {
                    let _ = rayon::yield_now();
                }
                wait(&whole);
            };
            let region = || {
                wait(&begun);
                awake(work);
            };
            pool.install(|| fork(region, task));
            send.send(()).expect("the test waits");
        });
        done.recv_timeout(Duration::from_secs(30)).expect("neither waits for the other for ever");
    }

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
