//! [`JoinedGroup`]: the state that the handles of a group share.

use super::Connection;
use super::queue::Queue;
use super::signals::Signal;
use crate::group::{GroupEvent, GroupSpec};
use crate::node::GroupHandle;
use std::sync::Arc;
use tokio::sync::watch;

/// A group that was joined; it is left when this is dropped.
#[derive(Debug)]
pub(super) struct JoinedGroup {
    pub(super) connection: Connection,
    pub(super) group: GroupHandle,
    pub(super) spec: GroupSpec,
    pub(super) queue: Arc<Queue<GroupEvent>>,
    pub(super) neighbor_count: watch::Receiver<usize>,
}

impl JoinedGroup {
    /// Resumes fetching, if the group waits for the application and it has caught up.
    pub(super) fn resume_if_caught_up(&self) {
        if self.queue.resume() {
            self.connection.signal(Signal::CaughtUp(self.group));
        }
    }
}

impl Drop for JoinedGroup {
    fn drop(&mut self) {
        self.connection.signal(Signal::Abandoned(self.group));
    }
}
