//! Streams outside of groups: played from a peer or the server, published to peers or the server.
//!
//! Flash's `NetStream` of a peer ID, of `DIRECT_CONNECTIONS`, and of a server.
//!
//! | file | subject |
//! | --- | --- |
//! | `mod.rs` | the public API |
//! | `options.rs` | settings of a stream that is published |
//! | `table.rs` | the streams of a node and who plays them |
//! | `dispatch.rs` | what sessions, flows and the server report |

mod dispatch;
mod options;
mod table;

pub use options::{Admission, DEFAULT_MAX_PEERS, PublishToPeers};
pub(super) use table::Streams;
pub use table::{MAX_STREAMS, StreamHandle};

use super::{Node, NodeEvent, Owner, Server};
use crate::amf::Value;
use crate::crypto::Fingerprint;
use crate::flash::stream::{Late, NetStreamError, Request};
use crate::flash::{FlashError, Message};
use crate::transport::Time;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use table::{Stream, ToPeers};

impl Node {
    /// Publishes a stream to whoever asks this peer for it by name: Flash's
    /// `NetStream.DIRECT_CONNECTIONS`. Peers that already ask for it get it at once.
    ///
    /// # Errors
    ///
    /// [`NetStreamError::NameInUse`] or [`NetStreamError::TooMany`].
    pub fn publish_to_peers(
        &mut self,
        now: Time,
        name: &str,
        options: PublishToPeers,
    ) -> Result<StreamHandle, NetStreamError> {
        if self.streams.published_as(name).is_some() {
            return Err(NetStreamError::NameInUse);
        }
        let (late, subscribers) = (Late::default(), BTreeMap::new());
        let stream = ToPeers { name: name.into(), options, late, subscribers, next_token: 0 };
        let handle = self.streams.add(Stream::ToPeers(stream))?;
        let waiting = self.streams.waiting.iter().filter(|(_, it)| &*it.name == name);
        for (asking, stream) in waiting.map(|(&at, it)| (at, it.stream)).collect::<Vec<_>>() {
            self.streams.waiting.remove(&asking);
            self.admit(now, handle, asking, stream);
        }
        self.process(now);
        Ok(handle)
    }

    /// Plays a stream of a peer, which the server introduces unless there is a session with it or it
    /// answers at one of `addresses`.
    ///
    /// # Errors
    ///
    /// [`NetStreamError::TooMany`]; [`NetStreamError::NoServer`] if the peer cannot be looked for.
    /// That it was not found comes as [`NetStreamEvent::Failed`].
    ///
    /// [`NetStreamEvent::Failed`]: crate::flash::stream::NetStreamEvent::Failed
    pub fn play_from_peer(
        &mut self,
        now: Time,
        peer: Fingerprint,
        name: &str,
        addresses: &[SocketAddr],
    ) -> Result<StreamHandle, NetStreamError> {
        let request = Request::Play(vec![Value::from(name)]);
        let handle = self.streams.add(Stream::Reaching { peer, request })?;
        match self.endpoint.session_with(peer).filter(|it| self.peers.contains_key(it)) {
            Some(session) => self.begin_stream(now, handle, session, None),
            None => {
                if !self.reach_directly(now, peer, addresses) {
                    self.streams.all.remove(&handle);
                    return Err(NetStreamError::NoServer);
                }
            }
        }
        self.process(now);
        Ok(handle)
    }

    /// Plays a stream of the server, or publishes one there.
    ///
    /// # Errors
    ///
    /// [`NetStreamError::TooMany`], or [`NetStreamError::Flash`] if there is no connection.
    pub fn stream_of_server(
        &mut self,
        now: Time,
        request: Request,
    ) -> Result<StreamHandle, NetStreamError> {
        let Server::Session(server) = &mut self.server else {
            return Err(FlashError::NotConnected.into());
        };
        let call = server.connection.call(now, "createStream", Vec::new())?;
        let handle = self.streams.add(Stream::Creating { call, request })?;
        self.process(now);
        Ok(handle)
    }

    /// Sends a message on a stream: what is published, to all who play it; of a stream that is
    /// played, data for its publisher. False if the stream is over or not yet there.
    pub fn write_to_stream(&mut self, now: Time, handle: StreamHandle, message: &Message) -> bool {
        let written = match self.streams.all.get_mut(&handle) {
            Some(Stream::ToPeers(stream)) => {
                stream.late.note(message);
                let encoded = message.encode().into_bytes();
                for subscriber in stream.subscribers.values_mut() {
                    subscriber.write(message, &encoded);
                }
                true
            }
            Some(Stream::Client { stream, .. }) if !stream.is_over() => {
                stream.write(message);
                true
            }
            _ => false,
        };
        self.drain_stream(now, handle);
        self.process(now);
        written
    }

    /// Sends a command on a stream that is played: `pause`, `seek`, `receiveAudio`, `receiveVideo`.
    ///
    /// # Errors
    ///
    /// What is wrong with the arguments; [`NetStreamError::Closed`] if the stream is not there.
    pub fn command_of_stream(
        &mut self,
        now: Time,
        handle: StreamHandle,
        name: &str,
        args: Vec<Value>,
    ) -> Result<(), NetStreamError> {
        let Some(Stream::Client { stream, .. }) = self.streams.all.get_mut(&handle) else {
            return Err(NetStreamError::Closed);
        };
        stream.command(name, args)?;
        self.drain_stream(now, handle);
        self.process(now);
        Ok(())
    }

    /// The peers that play a stream published to peers.
    pub fn peers_of_stream(&self, handle: StreamHandle) -> Vec<Fingerprint> {
        let Some(Stream::ToPeers(stream)) = self.streams.all.get(&handle) else {
            return Vec::new();
        };
        let sessions = stream.subscribers.keys().map(|(session, _)| session);
        sessions.filter_map(|session| Some(self.peers.get(session)?.far)).collect()
    }

    /// True if everything of a stream that was closed has arrived.
    pub fn is_delivered(&self, handle: StreamHandle) -> bool {
        !self.flows.has_sending(Owner::Stream(handle))
    }

    /// Ends a stream. No event follows.
    pub fn close_stream(&mut self, now: Time, handle: StreamHandle) {
        match self.streams.all.get_mut(&handle) {
            Some(Stream::ToPeers(stream)) => {
                let (name, at) = (Arc::clone(&stream.name), stream.late.timestamp());
                stream.subscribers.values_mut().for_each(|it| it.end(at, &name));
            }
            Some(Stream::Client { stream, .. }) => stream.close(),
            Some(Stream::Creating { call, .. }) => {
                if let Server::Session(server) = &mut self.server {
                    server.connection.forget_call(*call);
                }
            }
            Some(Stream::Reaching { .. }) | None => {}
        }
        self.drain_stream(now, handle);
        self.streams.all.remove(&handle);
        self.events.retain(|event| !matches!(event, NodeEvent::Stream(of, _) if *of == handle));
        self.process(now);
    }
}
