//! The task that asks the owner for one worker, so that the worker does not wait.

use super::ServerHooks;
use crate::driver::WeakHandle;
use crate::rendezvous::{Decision, Query, QueryId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

/// Queries that are answered at a time; others wait for these.
const MAX_AT_ONCE: usize = 256;

/// The worker's end. The number of queries on the way is bounded by
/// [`HookConfig::pending`](crate::rendezvous::HookConfig).
#[derive(Debug)]
pub(in super::super) struct Asking(UnboundedSender<Query>);

impl Asking {
    /// Asks. Without an answer the query fails at its deadline.
    pub(in super::super) fn ask(&self, query: Query) {
        // Fails only if the task has panicked.
        let _ = self.0.send(query);
    }
}

/// The other end, before it runs.
#[derive(Debug)]
pub(in super::super) struct Runner {
    hooks: ServerHooks,
    queries: UnboundedReceiver<Query>,
}

impl Runner {
    pub(in super::super) fn new(hooks: ServerHooks) -> (Asking, Self) {
        let (asking, queries) = unbounded_channel();
        (Asking(asking), Self { hooks, queries })
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
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                // A hook that panics gives no answer, and the query fails at its deadline.
                Some(_) = running.join_next() => {}
                query = self.queries.recv(), if running.len() < MAX_AT_ONCE => {
                    let Some(query) = query else { return };
                    let id = query.id;
                    let (answer, worker) = (self.hooks.decide(query), worker.clone());
                    running.spawn(async move {
                        let decision = answer.await;
                        // The worker may have ended.
                        let _ = worker.send(decided(id, Box::new(decision))).await;
                    });
                }
            }
        }
    }
}
