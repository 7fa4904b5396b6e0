//! The task that asks the owner for one worker, so that the worker does not wait.

use super::ServerHooks;
use crate::driver::{Clock, WeakHandle};
use crate::rendezvous::{Decision, Query, QueryId};
use crate::transport::Time;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

/// Queries that are answered at a time; others wait for these.
const MAX_AT_ONCE: usize = 256;
/// The shortest time between two log lines about answers that do not come.
const SILENCE: Duration = Duration::from_secs(60);

/// The worker's end. The queries on the way are those that the worker asks in twice the
/// [`HookConfig::timeout`](crate::rendezvous::HookConfig): older ones are not asked any more.
#[derive(Debug)]
pub(in super::super) struct Asking {
    queries: UnboundedSender<(Time, Query)>,
    clock: Clock,
    timeout: Duration,
}

impl Asking {
    /// Asks. Without an answer the query fails at its deadline.
    pub(in super::super) fn ask(&self, query: Query) {
        let deadline = self.clock.now() + self.timeout;
        // Fails only if the task has panicked.
        let _ = self.queries.send((deadline, query));
    }
}

/// The other end, before it runs.
#[derive(Debug)]
pub(in super::super) struct Runner {
    hooks: ServerHooks,
    queries: UnboundedReceiver<(Time, Query)>,
    clock: Clock,
    /// When it may be logged again that no answer comes.
    silent_until: Time,
}

impl Runner {
    /// Both ends, for queries that the worker gives up after this time.
    pub(in super::super) fn new(
        hooks: ServerHooks,
        timeout: Duration,
        clock: Clock,
    ) -> (Asking, Self) {
        let (sender, queries) = unbounded_channel();
        let asking = Asking { queries: sender, clock, timeout };
        (asking, Self { hooks, queries, clock, silent_until: Time::ZERO })
    }

    /// Asks until the worker has ended; what runs then is ended, too. Decisions come to the worker as
    /// the commands that `decided` makes.
    pub(in super::super) fn start<C: Send + 'static>(
        self,
        worker: WeakHandle<C>,
        decided: fn(QueryId, Box<Decision>) -> C,
    ) {
        tokio::spawn(self.run(worker, decided));
    }

    async fn run<C: Send + 'static>(
        mut self,
        worker: WeakHandle<C>,
        decided: fn(QueryId, Box<Decision>) -> C,
    ) {
        let (clock, mut running) = (self.clock, JoinSet::new());
        loop {
            tokio::select! {
                // A hook that panics gives no answer, and the query fails at its deadline.
                Some(ended) = running.join_next() => {
                    if matches!(ended, Ok(false)) {
                        self.report();
                    }
                }
                query = self.queries.recv(), if running.len() < MAX_AT_ONCE => {
                    let Some((deadline, query)) = query else { return };
                    // Nobody waits any more for the answer.
                    if deadline <= clock.now() {
                        self.report();
                        continue;
                    }
                    let id = query.id;
                    let (answer, worker) = (self.hooks.decide(query), worker.clone());
                    running.spawn(async move {
                        let decision = tokio::select! {
                            biased;
                            decision = answer => decision,
                            // Others need the place.
                            () = clock.sleep_until(Some(deadline)) => return false,
                        };
                        // The worker may have ended.
                        let _ = worker.send(decided(id, Box::new(decision))).await;
                        true
                    });
                }
            }
        }
    }

    /// Logs that answers do not come in time, once in a while.
    fn report(&mut self) {
        let now = self.clock.now();
        if now >= self.silent_until {
            self.silent_until = now + SILENCE;
            tracing::warn!("the hook has not decided: no answer in time");
        }
    }
}
