//! [`PublishedStream`].

use super::FlvWriter;
use super::carrier::Carrier;
use crate::amf::Value;
use crate::crypto::Fingerprint;
use crate::flash::Message;
use crate::flash::stream::NetStreamEvent;
use crate::group::{MulticastParameters, NetStreamId, NetStreamMulticastInfo};
use crate::node::StreamHandle;
use crate::peer::error::{RecvError, StreamError};
use crate::peer::queue::Reader;
use crate::peer::signals::Signal;
use crate::peer::{Connection, NetGroup, NetGroupError};
use std::future::{pending, poll_fn};
use std::time::Duration;

/// Interval at which it is looked who still lacks something of a stream that has ended.
const LOOK: Duration = Duration::from_millis(50);

/// A stream that is published: in a group, to peers, or at the server. It ends when this is dropped,
/// or by [`close`](Self::close).
#[derive(Debug)]
pub struct PublishedStream {
    carrier: Carrier,
    name: String,
    /// The events of a stream outside of groups.
    reader: Option<Reader<NetStreamEvent>>,
}

impl PublishedStream {
    pub(super) fn of_group(group: NetGroup, id: NetStreamId, name: &str) -> Self {
        Self { carrier: Carrier::Group(group, id), name: name.to_owned(), reader: None }
    }

    pub(in crate::peer) fn of_connection(
        connection: Connection,
        handle: StreamHandle,
        name: &str,
        reader: Reader<NetStreamEvent>,
    ) -> Self {
        let carrier = Carrier::Connection(connection, handle);
        Self { carrier, name: name.to_owned(), reader: Some(reader) }
    }

    /// The group, if it is published in one.
    pub fn group(&self) -> Option<&NetGroup> {
        self.carrier.group()
    }

    /// The name under which it is published.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends audio, video or data; they belong in the order of their timestamps. Returns when it is
    /// on its way. What the network does not carry in time is dropped for those who lack it, so this
    /// never waits for them.
    ///
    /// # Errors
    ///
    /// [`StreamError::Closed`], and [`StreamError::Group`] if the group has dropped the stream.
    pub async fn write(&self, message: Message) -> Result<(), StreamError> {
        self.carrier.write(message).await
    }

    /// Calls `handler` with these values at whoever plays the stream: Flash's `NetStream.send`.
    /// Byte arrays arrive as such.
    ///
    /// # Errors
    ///
    /// [`StreamError::Value`] if a value cannot be encoded; else as [`write`](Self::write).
    pub async fn send(
        &self,
        timestamp: u32,
        handler: &str,
        values: &[Value],
    ) -> Result<(), StreamError> {
        self.write(Message::data(timestamp, handler, values)?).await
    }

    /// The next event of a stream that is published to peers, who come and go, or at the server. In
    /// a group there are none. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] if events were dropped before the next one, and [`RecvError::Closed`]
    /// when the stream is over and all events were received.
    pub async fn recv(&mut self) -> Result<NetStreamEvent, RecvError> {
        match &mut self.reader {
            Some(reader) => poll_fn(|context| reader.poll_pop(context)).await,
            None => pending().await,
        }
    }

    /// The peers that play a stream published to peers: Flash's `NetStream.peerStreams`. Empty for
    /// other streams.
    ///
    /// # Errors
    ///
    /// [`StreamError::Closed`].
    pub async fn peers(&self) -> Result<Vec<Fingerprint>, StreamError> {
        let Carrier::Connection(connection, handle) = &self.carrier else { return Ok(Vec::new()) };
        let handle = *handle;
        Ok(connection.with_machine(move |peer, _| peer.node().peers_of_stream(handle)).await?)
    }

    /// Counters and rates of the stream: Flash's `NetStream.multicastInfo`. All zeros outside of
    /// groups.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn multicast_info(&self) -> Result<NetStreamMulticastInfo, NetGroupError> {
        self.carrier.multicast_info().await
    }

    /// Flash's properties `multicast…` of the stream, as they are in force here. `None` before anything of
    /// it has come, and outside of groups.
    ///
    /// # Errors
    ///
    /// [`NetGroupError::Closed`].
    pub async fn multicast_parameters(&self) -> Result<Option<MulticastParameters>, NetGroupError> {
        self.carrier.multicast_parameters().await
    }

    /// Changes them for this member. What others follow is chosen with
    /// [`publish_with`](NetGroup::publish_with).
    ///
    /// # Errors
    ///
    /// [`StreamError::Group`] before anything of the stream has come, and outside of groups;
    /// [`StreamError::Closed`].
    pub async fn set_multicast_parameters(
        &self,
        parameters: MulticastParameters,
    ) -> Result<(), StreamError> {
        self.carrier.set_multicast_parameters(parameters).await
    }

    /// An FLV that is written here is published, as fast as it is written.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn into_flv_writer(self) -> FlvWriter {
        FlvWriter::new(self)
    }

    /// Ends the stream, and waits until the neighbors, the peers or the server have all of it, at
    /// most for `grace`. Returns whether they have.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn close(self, grace: Duration) -> Result<bool, StreamError> {
        match &self.carrier {
            Carrier::Group(group, id) => {
                let id = *id;
                group.call(move |group, _, now| group.multicast_mut(now).unpublish(id)).await??;
            }
            Carrier::Connection(connection, handle) => {
                let handle = *handle;
                connection.with_machine(move |peer, now| peer.close_stream(now, handle)).await?;
            }
        }
        let mut looks = tokio::time::interval(LOOK);
        let delivered = async {
            loop {
                looks.tick().await;
                if self.is_delivered().await? {
                    return Ok(true);
                }
            }
        };
        tokio::time::timeout(grace, delivered).await.unwrap_or(Ok(false))
    }

    /// True if nobody lacks anything of a stream that has ended.
    async fn is_delivered(&self) -> Result<bool, StreamError> {
        match &self.carrier {
            Carrier::Group(group, id) => {
                let id = *id;
                let lacking = group.call(move |group, _, now| group.multicast_mut(now).lacking(id));
                Ok(lacking.await? == 0)
            }
            Carrier::Connection(connection, handle) => {
                let handle = *handle;
                Ok(connection.with_machine(move |peer, _| peer.node().is_delivered(handle)).await?)
            }
        }
    }
}

impl Drop for PublishedStream {
    fn drop(&mut self) {
        // Nothing happens if it was closed.
        match &self.carrier {
            Carrier::Group(group, id) => {
                group.connection().signal(Signal::Unpublished(group.handle(), *id));
            }
            Carrier::Connection(connection, handle) => connection.signal(Signal::Closed(*handle)),
        }
    }
}
