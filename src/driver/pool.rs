//! [`Pool`]: a bounded number of threads for work that blocks, in order within each [`Strand`].

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tracing::error;

/// Threads on which the strands of one pool run at most; further strands wait for their turn.
pub const POOL_THREADS: usize = 4;

/// How long a thread waits for more work before it goes back to the runtime's pool. Pieces of work
/// follow each other closely; without this, the runtime starts another thread for each of them
/// while the last is on its way back.
const LINGER: Duration = Duration::from_millis(50);

/// Runs the work of any number of strands on at most [`POOL_THREADS`] threads.
///
/// Strands take turns, one piece of work each. A thread is asked for when there is something to do,
/// works until nothing has come for a moment, and goes back to the runtime's pool. Clones are the
/// same pool.
#[derive(Clone, Default)]
pub struct Pool(Arc<Inner>);

#[derive(Default)]
struct Inner {
    turns: Mutex<Turns>,
    /// Notified for an idle thread when a strand has got work.
    has_work: Condvar,
}

/// The strands that have work, in the order of their turns.
#[derive(Default)]
struct Turns {
    waiting: VecDeque<Arc<dyn Turn>>,
    /// Threads at work, idle ones included.
    workers: usize,
    /// Threads that wait for work.
    idle: usize,
}

/// A strand, whatever its work is.
trait Turn: Send + Sync {
    /// Does one piece of work. Returns whether there is more.
    fn run(&self) -> bool;
}

impl Pool {
    fn schedule(&self, strand: Arc<dyn Turn>) {
        let mut turns = lock(&self.0.turns);
        turns.waiting.push_back(strand);
        if turns.waiting.len() <= turns.idle {
            self.0.has_work.notify_one();
        } else if turns.workers < POOL_THREADS {
            turns.workers += 1;
            let pool = self.clone();
            spawn_blocking(move || pool.work());
        }
    }

    /// Works until no strand has had work for [`LINGER`].
    fn work(&self) {
        while let Some(strand) = self.next() {
            if strand.run() {
                lock(&self.0.turns).waiting.push_back(strand);
            }
        }
    }

    /// The strand whose turn it is, or the end of this thread's work.
    fn next(&self) -> Option<Arc<dyn Turn>> {
        let mut turns = lock(&self.0.turns);
        if turns.waiting.is_empty() {
            turns.idle += 1;
            let wait =
                self.0.has_work.wait_timeout_while(turns, LINGER, |turns| turns.waiting.is_empty());
            turns = wait.unwrap_or_else(PoisonError::into_inner).0;
            turns.idle -= 1;
        }
        let strand = turns.waiting.pop_front();
        turns.workers -= usize::from(strand.is_none());
        strand
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// Work of one kind that is done one piece at a time, in the order in which it came.
///
/// The queue has no bound: whoever pushes bounds what it has in flight. When the strand is dropped,
/// the work that waits is done, and then its handler is dropped, on a thread of the pool.
pub struct Strand<T: Send + 'static> {
    pool: Pool,
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Only locked by the thread whose turn it is, which exists once.
    handler: Mutex<Option<Handler<T>>>,
}

type Handler<T> = Box<dyn FnMut(T) + Send>;

struct State<T> {
    waiting: VecDeque<T>,
    /// The pool runs the strand, or will.
    is_scheduled: bool,
    is_closed: bool,
}

impl<T: Send + 'static> Strand<T> {
    /// A strand that does its work by `handler`, which may block.
    pub fn new(pool: Pool, handler: impl FnMut(T) + Send + 'static) -> Self {
        let state = State { waiting: VecDeque::new(), is_scheduled: false, is_closed: false };
        let handler: Handler<T> = Box::new(handler);
        let shared = Shared { state: Mutex::new(state), handler: Mutex::new(Some(handler)) };
        Self { pool, shared: Arc::new(shared) }
    }

    /// Appends a piece of work. Does nothing after the handler has panicked.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn push(&self, work: T) {
        let mut state = lock(&self.shared.state);
        state.waiting.push_back(work);
        if !std::mem::replace(&mut state.is_scheduled, true) {
            drop(state);
            self.pool.schedule(self.shared.clone());
        }
    }
}

impl<T: Send + 'static> Drop for Strand<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.is_closed = true;
        // Where the runtime is gone the handler goes with this.
        if Handle::try_current().is_ok() && !std::mem::replace(&mut state.is_scheduled, true) {
            drop(state);
            self.pool.schedule(self.shared.clone());
        }
    }
}

impl<T: Send + 'static> Turn for Shared<T> {
    fn run(&self) -> bool {
        let work = lock(&self.state).waiting.pop_front();
        let mut handler = lock(&self.handler);
        match (work, &mut *handler) {
            (Some(work), Some(handle)) => {
                if catch_unwind(AssertUnwindSafe(|| handle(work))).is_err() {
                    error!("work on a thread of the pool has panicked");
                    *handler = None;
                }
            }
            (Some(_), None) => {}
            // Closed, and everything is done.
            (None, _) => *handler = None,
        }
        let has_handler = handler.is_some();
        drop(handler);
        let mut state = lock(&self.state);
        let has_more = !state.waiting.is_empty() || (state.is_closed && has_handler);
        state.is_scheduled = has_more;
        has_more
    }
}

impl<T: Send + 'static> fmt::Debug for Strand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strand").finish_non_exhaustive()
    }
}

/// No work runs under the locks of queues, and a handler that panics is dropped: a poisoned lock is
/// as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::{mpsc, oneshot};

    #[tokio::test]
    async fn work_of_a_strand_is_done_in_order_and_before_its_end() {
        let pool = Pool::default();
        let (done, mut results) = mpsc::unbounded_channel();
        for strand in 0..20 {
            let done = done.clone();
            let strand = Strand::new(pool.clone(), move |n: u32| done.send((strand, n)).unwrap());
            (0..50).for_each(|n| strand.push(n));
        }
        drop(done);
        let mut next = [0; 20];
        while let Some((strand, n)) = results.recv().await {
            assert_eq!(n, next[strand]);
            next[strand] += 1;
        }
        assert_eq!(next, [50; 20]);
    }

    #[tokio::test]
    async fn no_more_threads_run_than_the_pool_has() {
        let pool = Pool::default();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (done, mut ended) = mpsc::channel::<()>(1);
        for _ in 0..50 {
            let (running, most, done) = (running.clone(), most.clone(), done.clone());
            let strand = Strand::new(pool.clone(), move |()| {
                let _ = &done;
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
            });
            (0..20).for_each(|_| strand.push(()));
        }
        drop(done);
        assert_eq!(ended.recv().await, None);
        assert!((1..=POOL_THREADS).contains(&most.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn a_panic_ends_its_strand_alone() {
        let pool = Pool::default();
        let (end, ended) = oneshot::channel::<()>();
        let bad = Strand::new(pool.clone(), move |()| {
            let _ = &end;
            panic!("on purpose");
        });
        bad.push(());
        bad.push(());
        assert!(ended.await.is_err(), "the handler is dropped");
        bad.push(());
        let (done, result) = oneshot::channel();
        let mut done = Some(done);
        let good = Strand::new(pool, move |n: u32| done.take().unwrap().send(n).unwrap());
        good.push(7);
        assert_eq!(result.await, Ok(7));
    }
}
