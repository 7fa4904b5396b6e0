//! [`StreamQueues`]: the queues of the streams outside of groups.

use super::queue::Queue;
use crate::flash::stream::NetStreamEvent;
use crate::node::StreamHandle;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The queues of the streams.
#[derive(Debug, Default)]
pub(super) struct StreamQueues(BTreeMap<StreamHandle, Arc<Queue<NetStreamEvent>>>);

impl StreamQueues {
    pub(super) fn add(&mut self, handle: StreamHandle) -> Arc<Queue<NetStreamEvent>> {
        let queue = Arc::new(Queue::new());
        self.0.insert(handle, Arc::clone(&queue));
        queue
    }

    pub(super) fn deliver(&mut self, handle: StreamHandle, event: NetStreamEvent) {
        let is_last = matches!(event, NetStreamEvent::Failed(_));
        if let Some(queue) = self.0.get(&handle) {
            queue.push(event);
        }
        if is_last {
            self.remove(handle);
        }
    }

    pub(super) fn remove(&mut self, handle: StreamHandle) {
        if let Some(queue) = self.0.remove(&handle) {
            queue.close();
        }
    }
}

impl Drop for StreamQueues {
    fn drop(&mut self) {
        self.0.values().for_each(|queue| queue.close());
    }
}
