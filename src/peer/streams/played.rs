//! [`PlayedStream`].

use super::FlvReader;
use super::carrier::Carrier;
use crate::amf::Value;
use crate::flash::Message;
use crate::flash::stream::{NetStreamError, NetStreamEvent};
use crate::group::{MulticastParameters, NetStreamId, NetStreamMulticastInfo};
use crate::node::StreamHandle;
use crate::peer::error::{Lagged, RecvError, StreamError};
use crate::peer::machine::PeerMachine;
use crate::peer::queue::{Queue, Reader, item};
use crate::peer::signals::Signal;
use crate::peer::{Connection, NetGroup, NetGroupError};
use crate::transport::Time;
use futures_core::Stream;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A stream that is played: of a group, of a peer, or of the server. Dropping this ends it. A member
/// of a group takes part in all of its streams, whether it plays them or not.
///
/// As a [`Stream`](futures_core::Stream) it ends when the group is closed or the stream has failed;
/// messages that were dropped because the application is slow are an item [`Lagged`], after which it
/// goes on.
#[derive(Debug)]
pub struct PlayedStream {
    carrier: Carrier,
    name: String,
    reader: Reader<NetStreamEvent>,
}

impl PlayedStream {
    pub(super) fn of_group(
        group: NetGroup,
        id: NetStreamId,
        name: &str,
        queue: Arc<Queue<NetStreamEvent>>,
    ) -> Self {
        let carrier = Carrier::Group(group, id);
        Self { carrier, name: name.to_owned(), reader: Reader::new(queue) }
    }

    pub(in crate::peer) fn of_connection(
        connection: Connection,
        handle: StreamHandle,
        name: &str,
        queue: Arc<Queue<NetStreamEvent>>,
    ) -> Self {
        let carrier = Carrier::Connection(connection, handle);
        Self { carrier, name: name.to_owned(), reader: Reader::new(queue) }
    }

    /// The group, if it is a stream of one.
    pub fn group(&self) -> Option<&NetGroup> {
        self.carrier.group()
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
    /// [`RecvError::Closed`] when the group is closed or the stream has failed, and all events were
    /// received.
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
    /// begins, and outside of groups.
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

    /// Changes them for this member. As in Flash the next stream of the name, after
    /// [`NetStreamEvent::MulticastReset`], has what its publisher has chosen.
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

    /// Sends data to the publisher, which calls a `handler` with these values: Flash's
    /// `NetStream.send` of one who plays from a peer. Flash Player does not pass them on to its
    /// application; peers of this crate report [`NetStreamEvent::PeerMessage`].
    ///
    /// # Errors
    ///
    /// [`StreamError::Value`] if a value cannot be encoded; [`StreamError::Closed`] if the peer is
    /// not connected, and in a group, where there is no such message.
    pub async fn send(
        &self,
        timestamp: u32,
        handler: &str,
        values: &[Value],
    ) -> Result<(), StreamError> {
        let message = Message::data(timestamp, handler, values)?;
        match &self.carrier {
            Carrier::Group(..) => Err(StreamError::Closed),
            carrier @ Carrier::Connection(..) => carrier.write(message).await,
        }
    }

    /// Whether audio is wanted: Flash's `NetStream.receiveAudio`. In a group nothing happens.
    ///
    /// # Errors
    ///
    /// [`StreamError::Closed`] if the peer or the server is not connected.
    pub async fn receive_audio(&self, is_wanted: bool) -> Result<(), StreamError> {
        self.command("receiveAudio", vec![is_wanted.into()]).await
    }

    /// Whether video is wanted: Flash's `NetStream.receiveVideo`. In a group nothing happens.
    ///
    /// # Errors
    ///
    /// As [`receive_audio`](Self::receive_audio).
    pub async fn receive_video(&self, is_wanted: bool) -> Result<(), StreamError> {
        self.command("receiveVideo", vec![is_wanted.into()]).await
    }

    /// Pauses at this time of the stream in milliseconds, or resumes: Flash's `NetStream.pause` and
    /// `resume`. In a group nothing happens.
    ///
    /// # Errors
    ///
    /// As [`receive_audio`](Self::receive_audio).
    pub async fn pause(&self, is_paused: bool, at: u32) -> Result<(), StreamError> {
        self.command("pause", vec![is_paused.into(), f64::from(at).into()]).await
    }

    async fn command(&self, name: &'static str, args: Vec<Value>) -> Result<(), StreamError> {
        let Carrier::Connection(connection, handle) = &self.carrier else { return Ok(()) };
        let handle = *handle;
        let command = move |peer: &mut PeerMachine, now: Time| {
            peer.node_mut().command_of_stream(now, handle, name, args)
        };
        match connection.with_machine(command).await? {
            Err(NetStreamError::Closed) => Err(StreamError::Closed),
            outcome => Ok(outcome?),
        }
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
        match &self.carrier {
            Carrier::Group(group, id) => {
                group.connection().signal(Signal::Stopped(group.handle(), *id));
            }
            Carrier::Connection(connection, handle) => connection.signal(Signal::Closed(*handle)),
        }
    }
}
