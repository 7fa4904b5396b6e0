//! [`NetGroupEvents`]: the events of a group.

use super::error::{Lagged, RecvError};
use super::joined::JoinedGroup;
use super::queue::{Kind, Queued, Reader, item};
use crate::group::GroupEvent;
use futures_core::Stream;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The events of a group since it was joined, in order.
///
/// As a [`Stream`] it ends when the group is closed and all its events were received; dropped events
/// are an item [`Lagged`], after which it goes on.
///
/// There is one queue per group: several receivers share its events. The group is not left while
/// this exists.
#[derive(Debug, Clone)]
pub struct NetGroupEvents {
    group: Arc<JoinedGroup>,
    reader: Reader<GroupEvent>,
}

impl NetGroupEvents {
    pub(super) fn new(group: Arc<JoinedGroup>) -> Self {
        let reader = Reader::new(Arc::clone(&group.queue));
        Self { group, reader }
    }

    /// The next event. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] if events were dropped before the next one, and [`RecvError::Closed`]
    /// when the group is closed and all its events were received.
    pub async fn recv(&mut self) -> Result<GroupEvent, RecvError> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next event, if there is one.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<GroupEvent>, RecvError> {
        let popped = self.reader.pop();
        self.group.resume_if_caught_up();
        popped
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<GroupEvent, RecvError>> {
        let popped = self.reader.poll_pop(context);
        self.group.resume_if_caught_up();
        popped
    }
}

impl Stream for NetGroupEvents {
    type Item = Result<GroupEvent, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context).map(item)
    }
}

impl Queued for GroupEvent {
    fn kind(&self) -> Kind {
        match self {
            Self::ReplicationFetchResult { object, .. } => Kind::Object(object.len()),
            Self::ReplicationRequest { .. } => Kind::Request,
            Self::SendToNotify { message, .. } | Self::PostingNotify { message, .. } => {
                Kind::Message(message.len())
            }
            _ => Kind::Notice,
        }
    }
}
