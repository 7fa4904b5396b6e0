//! Threads for work that is too long for the machine's task.

use super::stats::Counters;
use crate::transport::{Computed, Job};
use std::collections::VecDeque;
use std::num::NonZero;
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, error};

/// Jobs that may wait for a thread; at the bound the newest is refused. An endpoint has its own
/// bound on keyings in progress, which is lower.
pub const MAX_WAITING_JOBS: usize = 8192;

/// Runs [`Job`]s on blocking threads, as many at once as there are processors, oldest first.
#[derive(Debug)]
pub(super) struct Jobs {
    running: JoinSet<Computed>,
    waiting: VecDeque<Job>,
    /// What [`ready`](Self::ready) has seen end.
    ended: Option<Result<Computed, JoinError>>,
    limit: usize,
}

impl Jobs {
    pub(super) fn new() -> Self {
        let limit = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { running: JoinSet::new(), waiting: VecDeque::new(), ended: None, limit }
    }

    /// Runs the job now or later.
    ///
    /// # Errors
    ///
    /// What to tell the machine if it can't be run.
    pub(super) fn start(&mut self, job: Job, counters: &Counters) -> Result<(), Computed> {
        if self.waiting.len() >= MAX_WAITING_JOBS {
            counters.jobs_dropped.add(1);
            debug!("{MAX_WAITING_JOBS} jobs wait already, one more is refused");
            return Err(job.refuse());
        }
        self.waiting.push_back(job);
        self.refill();
        Ok(())
    }

    /// The result of a job that is done.
    pub(super) fn poll(&mut self, counters: &Counters) -> Option<Computed> {
        while let Some(result) = self.ended.take().or_else(|| self.running.try_join_next()) {
            self.refill();
            match result {
                Ok(computed) => {
                    counters.jobs_done.add(1);
                    return Some(computed);
                }
                Err(error) => {
                    counters.jobs_dropped.add(1);
                    error!("a job has failed: {error}");
                }
            }
        }
        None
    }

    /// Waits until [`poll`](Self::poll) has something to do; for ever, if nothing runs. May be
    /// cancelled.
    pub(super) async fn ready(&mut self) {
        if self.ended.is_none() {
            match self.running.join_next().await {
                Some(result) => self.ended = Some(result),
                None => std::future::pending().await,
            }
        }
    }

    fn refill(&mut self) {
        while self.running.len() < self.limit
            && let Some(job) = self.waiting.pop_front()
        {
            self.running.spawn_blocking(move || job.run());
        }
    }
}
