//! [`PlayedStream`].

use super::FlvReader;
use crate::group::{NetStreamId, NetStreamMulticastInfo};
use crate::peer::error::{Lagged, RecvError};
use crate::peer::queue::{Queue, Reader, item};
use crate::peer::signals::Signal;
use crate::peer::stream_event::NetStreamEvent;
use crate::peer::{NetGroup, NetGroupError};
use futures_core::Stream;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A stream of a group that this member plays. It takes part in all streams of the group, whether
/// it plays them or not; dropping this ends the delivery.
///
/// As a [`Stream`](futures_core::Stream) it ends when the group is closed; messages that were
/// dropped because the application is slow are an item [`Lagged`], after which it goes on.
#[derive(Debug)]
pub struct PlayedStream {
    group: NetGroup,
    id: NetStreamId,
    name: String,
    reader: Reader<NetStreamEvent>,
}

impl PlayedStream {
    pub(super) fn new(
        group: NetGroup,
        id: NetStreamId,
        name: &str,
        queue: Arc<Queue<NetStreamEvent>>,
    ) -> Self {
        Self { group, id, name: name.to_owned(), reader: Reader::new(queue) }
    }

    /// The group.
    pub fn group(&self) -> &NetGroup {
        &self.group
    }

    /// The name that is played.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next event. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] if messages were dropped before the next one, and
    /// [`RecvError::Closed`] when the group is closed and all events were received.
    pub async fn recv(&mut self) -> Result<NetStreamEvent, RecvError> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    pub(super) fn poll_recv(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<NetStreamEvent, RecvError>> {
        self.reader.poll_pop(context)
    }

    /// Counters and rates of the stream: Flash's `NetStream.multicastInfo`. All zeros before it
    /// begins.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn multicast_info(&self) -> Result<NetStreamMulticastInfo, NetGroupError> {
        let id = self.id;
        let info =
            self.group.call(move |group, _, now| group.multicast_mut(now).info(now, id)).await?;
        Ok(info.unwrap_or_default())
    }

    /// An FLV of what is played, from a key frame on, until the stream ends.
    pub fn into_flv_reader(self) -> FlvReader {
        FlvReader::new(self)
    }
}

impl Stream for PlayedStream {
    type Item = Result<NetStreamEvent, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context).map(item)
    }
}

impl Drop for PlayedStream {
    fn drop(&mut self) {
        let signal = Signal::Stopped(self.group.handle(), self.id);
        self.group.connection().signal(signal);
    }
}
