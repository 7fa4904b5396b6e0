//! Threads for work that is too long for the machine's task.

use super::stats::Counters;
use crate::transport::{Computed, Job};
use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tracing::{debug, error};

/// Jobs that may wait for a thread; at the bound the newest is refused. An endpoint has its own
/// bound on keyings in progress, which is lower.
pub const MAX_WAITING_JOBS: usize = 8192;

/// Runs [`Job`]s on blocking threads, as many at once as there are processors, oldest first.
///
/// A thread is asked for when there is something to do, runs until nothing waits, and goes back
/// to the runtime's pool: in a flood no job pays for a change of threads.
#[derive(Debug)]
pub(super) struct Jobs {
    pool: Arc<Pool>,
    threads: JobThreads,
}

/// The threads of a process for [`Job`](crate::transport::Job)s: one for each processor. Drivers
/// that have clones share them; each has at least one when it needs one.
#[derive(Debug, Clone)]
pub struct JobThreads {
    running: Arc<AtomicUsize>,
    limit: usize,
}

impl Default for JobThreads {
    fn default() -> Self {
        let limit = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { running: Arc::default(), limit }
    }
}

#[derive(Debug, Default)]
struct Pool {
    queues: Mutex<Queues>,
    /// Something was done since [`Jobs::poll`] last had nothing to give.
    progress: Notify,
}

#[derive(Debug, Default)]
struct Queues {
    waiting: VecDeque<Job>,
    done: VecDeque<Computed>,
    /// Threads at work.
    workers: usize,
    /// Jobs that panicked.
    failed: usize,
}

impl Jobs {
    pub(super) fn new(threads: JobThreads) -> Self {
        Self { pool: Arc::default(), threads }
    }

    /// Runs the job now or later.
    ///
    /// # Errors
    ///
    /// The result for the machine if it can't be run.
    pub(super) fn start(&mut self, job: Job, counters: &Counters) -> Result<(), Computed> {
        let mut queues = self.pool.lock();
        if queues.waiting.len() >= MAX_WAITING_JOBS {
            counters.jobs_dropped.add(1);
            debug!("{MAX_WAITING_JOBS} jobs wait already, one more is refused");
            return Err(job.refuse());
        }
        queues.waiting.push_back(job);
        let JobThreads { running, limit } = &self.threads;
        let is_free = running.load(Relaxed) < *limit;
        if queues.workers == 0 || (queues.workers < *limit && is_free) {
            queues.workers += 1;
            running.fetch_add(1, Relaxed);
            let (pool, running) = (Arc::clone(&self.pool), Arc::clone(running));
            spawn_blocking(move || {
                pool.work();
                running.fetch_sub(1, Relaxed);
            });
        }
        Ok(())
    }

    /// The result of a job that is done.
    pub(super) fn poll(&mut self, counters: &Counters) -> Option<Computed> {
        let mut queues = self.pool.lock();
        counters.jobs_dropped.add(std::mem::take(&mut queues.failed));
        let computed = queues.done.pop_front()?;
        counters.jobs_done.add(1);
        Some(computed)
    }

    /// Waits until [`poll`](Self::poll) has something to do. May be cancelled.
    pub(super) async fn ready(&self) {
        self.pool.progress.notified().await;
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.pool.lock().waiting.clear();
    }
}

impl Pool {
    /// Runs jobs until none waits.
    fn work(&self) {
        while let Some(job) = self.next() {
            let result = catch_unwind(AssertUnwindSafe(|| job.run()));
            let mut queues = self.lock();
            match result {
                Ok(computed) => queues.done.push_back(computed),
                Err(_) => {
                    queues.failed += 1;
                    error!("a job has panicked");
                }
            }
            drop(queues);
            self.progress.notify_one();
        }
    }

    /// The oldest job, or the end of this thread's work.
    fn next(&self) -> Option<Job> {
        let mut queues = self.lock();
        let job = queues.waiting.pop_front();
        queues.workers -= usize::from(job.is_none());
        job
    }

    /// No job runs under the lock, so that a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
