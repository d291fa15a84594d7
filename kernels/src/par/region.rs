//! What keeps threads at hand while many small operations follow each other.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{hint, thread};

/// Pauses of a thread between two looks for a task.
const PAUSES: usize = 16;

/// Looks in vain after which a thread lets others of the machine run: some ten microseconds.
const LOOKS: usize = 64;

/// Runs `work` on this thread of a pool, while `others` of its threads look for tasks without going to sleep,
/// if they wake up before it ends.
pub(super) fn awake<T: Send>(others: usize, work: impl FnOnce() -> T + Send) -> T {
    /// Ends the others' search, also when `work` panics.
    struct End<'a>(&'a AtomicBool);

    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }

    let end = AtomicBool::new(false);
    beside(others, &|| search(&end), || {
        let _end = End(&end);
        work()
    })
}

/// Runs `work` on this thread and `search` on `others` more. They are offered to other threads before anything
/// that `work` forks, since threads take what was offered first, and this thread runs those that nobody took
/// after `work`.
fn beside<T: Send>(
    others: usize,
    search: &(impl Fn() + Sync),
    work: impl FnOnce() -> T + Send,
) -> T {
    match others {
        0 => work(),
        _ => rayon::join(|| beside(others - 1, search, work), search).0,
    }
}

/// Does tasks of other threads until `end`.
fn search(end: &AtomicBool) {
    // A thread that waits within a fork takes up whatever it finds. Were that this search, the fork could not
    // end before the work, which may be waiting for it.
    let searches = FORKS.get() == 0;
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
}

thread_local! {
    /// How many [`fork`]s this thread is within.
    static FORKS: Cell<usize> = const { Cell::new(0) };
}

/// Runs both, on two threads if there is one to spare. Every fork of the project is one of these.
pub(super) fn fork(a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::par::pools::Pools;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_thread_that_waits_within_a_fork_does_not_search_for_the_work_that_waits_for_it() {
        // Thread 1 does the work of a region, and in it waits for a task that thread 0 has. Within that task
        // thread 0 waits for half of it, which thread 1 has taken, and finds the region's search.
        let (send, done) = mpsc::channel();
        thread::spawn(move || {
            let pool = Pools::started(2);
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
                awake(1, work);
            };
            pool.install(|| fork(region, task));
            send.send(()).expect("the test waits");
        });
        done.recv_timeout(Duration::from_secs(30)).expect("neither waits for the other for ever");
    }
}
