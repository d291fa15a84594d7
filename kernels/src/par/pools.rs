//! Pools of threads, of which the one that asked for them may be one.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::OnceCell;
use std::sync::{Arc, OnceLock};

thread_local! {
    /// The pool that this thread is one of, and how many they are: a thread can be in one only.
    static OWN: OnceCell<(usize, Arc<ThreadPool>)> = const { OnceCell::new() };
}

/// Pools of `count` threads.
#[derive(Clone)]
pub(super) struct Pools {
    count: usize,
    /// One that the thread which made it is one of: at once at work, without waking another.
    own: Option<Arc<ThreadPool>>,
    /// For all other threads.
    shared: Arc<OnceLock<ThreadPool>>,
}

impl Pools {
    /// # Panics
    /// If the operating system refuses to start the threads.
    pub(super) fn new(count: usize) -> Self {
        Self { count, own: None, shared: Arc::new(OnceLock::from(Self::started(count))) }
    }

    /// With the current thread as one of them, if it is not in a pool of another size.
    ///
    /// # Panics
    /// If the operating system refuses to start the threads.
    pub(super) fn with_this_thread(count: usize) -> Self {
        OWN.with(|own| {
            if own.get().is_none()
                && let Ok(pool) = builder(count).use_current_thread().build()
            {
                let _ = own.set((count, Arc::new(pool)));
            }
            match own.get() {
                Some((size, own)) if *size == count => {
                    Self { count, own: Some(Arc::clone(own)), shared: Arc::default() }
                }
                _ => Self::new(count),
            }
        })
    }

    /// The pool for what the current thread has to do.
    ///
    /// # Panics
    /// If the operating system refuses to start the threads that other threads than the one which made this
    /// need.
    pub(super) fn current(&self) -> &ThreadPool {
        match &self.own {
            Some(own) if own.current_thread_index().is_some() => own,
            _ => self.shared.get_or_init(|| Self::started(self.count)),
        }
    }

    /// A pool of `count` threads, none of which is the current one.
    pub(super) fn started(count: usize) -> ThreadPool {
        let pool = builder(count).build();
        pool.expect("the operating system starts the threads of the pool")
    }
}

fn builder(count: usize) -> ThreadPoolBuilder {
    ThreadPoolBuilder::new().num_threads(count).thread_name(|i| format!("pleach-{i}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_thread_is_one_of_its_own_pool_and_of_no_other() {
        let work = || {
            let pools = Pools::with_this_thread(2);
            let this = thread::current().id();
            let works = |pools: &Pools| pools.current().install(|| thread::current().id());
            assert_eq!(works(&pools), this);
            assert_eq!(works(&Pools::with_this_thread(2)), this);
            assert_ne!(works(&Pools::with_this_thread(3)), this);
            assert_ne!(works(&Pools::new(2)), this);
            thread::scope(|scope| {
                let elsewhere = || {
                    let pool = pools.current();
                    pool.install(|| (rayon::current_num_threads(), thread::current().id()))
                };
                let (count, thread) = scope.spawn(elsewhere).join().unwrap();
                assert_eq!(count, 2);
                assert_ne!(thread, this);
            });
        };
        thread::spawn(work).join().unwrap();
    }
}
