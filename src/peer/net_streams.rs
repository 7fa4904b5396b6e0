//! Streams of a [`Connection`] outside of groups: of a peer, to peers, and of the server.

use super::error::StreamError;
use super::machine::PeerMachine;
use super::queue::{Queue, Reader};
use super::streams::{PlayedStream, PublishedStream};
use super::{Connection, NetStreamError, NetStreamEvent, RecvError};
use crate::amf::Value;
use crate::crypto::Fingerprint;
use crate::flash::stream::Request;
use crate::node::{PublishToPeers, StreamHandle};
use crate::transport::Time;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long the server may take to accept a publication.
const ACCEPTANCE: Duration = Duration::from_secs(30);

impl Connection {
    /// Publishes a stream to whoever asks this peer for it: Flash's `new NetStream(connection,
    /// NetStream.DIRECT_CONNECTIONS)` and `publish`. Up to 8 peers may play it, see
    /// [`publish_to_peers_with`](Self::publish_to_peers_with). Each gets a copy from here; a group
    /// carries a stream to many.
    ///
    /// # Errors
    ///
    /// [`StreamError::NetStream`] if a stream of this name is published already;
    /// [`StreamError::Closed`].
    pub async fn publish_to_peers(&self, name: &str) -> Result<PublishedStream, StreamError> {
        self.publish_to_peers_with(name, PublishToPeers::default()).await
    }

    /// As [`publish_to_peers`](Self::publish_to_peers), with settings: how many peers may play at a
    /// time, and which.
    ///
    /// # Errors
    ///
    /// As [`publish_to_peers`](Self::publish_to_peers).
    pub async fn publish_to_peers_with(
        &self,
        name: &str,
        options: PublishToPeers,
    ) -> Result<PublishedStream, StreamError> {
        let text = name.to_owned();
        let (handle, queue) = self
            .open_stream(move |peer, now| peer.node_mut().publish_to_peers(now, &text, options))
            .await?;
        Ok(PublishedStream::of_connection(self.clone(), handle, name, Reader::new(queue)))
    }

    /// Plays a stream that a peer publishes: Flash's `new NetStream(connection, peerID)` and `play`.
    /// The server introduces the peer. Returns at once: [`NetStreamEvent::Connected`] follows when
    /// the peer is reached, or [`NetStreamEvent::Failed`].
    ///
    /// Nothing comes of a name that the peer does not publish; Flash Player does not report that.
    ///
    /// # Errors
    ///
    /// [`StreamError::NetStream`] if there is no server; [`StreamError::Closed`].
    pub async fn play_from_peer(
        &self,
        peer_id: Fingerprint,
        name: &str,
    ) -> Result<PlayedStream, StreamError> {
        self.play_from_peer_at(peer_id, name, &[]).await
    }

    /// As [`play_from_peer`](Self::play_from_peer), of a peer that may also be at one of these
    /// addresses; with them, no server is needed.
    ///
    /// # Errors
    ///
    /// As [`play_from_peer`](Self::play_from_peer).
    pub async fn play_from_peer_at(
        &self,
        peer_id: Fingerprint,
        name: &str,
        addresses: &[SocketAddr],
    ) -> Result<PlayedStream, StreamError> {
        let (text, addresses) = (name.to_owned(), addresses.to_vec());
        let (handle, queue) = self
            .open_stream(move |peer, now| {
                peer.node_mut().play_from_peer(now, peer_id, &text, &addresses)
            })
            .await?;
        Ok(PlayedStream::of_connection(self.clone(), handle, name, queue))
    }

    /// Publishes a live stream at the server, and waits until it accepts that.
    ///
    /// # Errors
    ///
    /// [`StreamError::NetStream`] if there is no connection, or the server refuses: the name is in
    /// use, or it has no streams; [`StreamError::Closed`].
    pub async fn publish(&self, name: &str) -> Result<PublishedStream, StreamError> {
        let request = Request::Publish(vec![Value::from(name), Value::from("live")]);
        let (handle, queue) = self
            .open_stream(move |peer, now| peer.node_mut().stream_of_server(now, request))
            .await?;
        let mut reader = Reader::new(queue);
        let stream = PublishedStream::of_connection(self.clone(), handle, name, reader.clone());
        let accepted = async {
            loop {
                match poll_fn(|context| reader.poll_pop(context)).await {
                    Ok(NetStreamEvent::Status(info)) if is_start(&info) => return Ok(()),
                    Ok(NetStreamEvent::Failed(error)) => return Err(error.into()),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(StreamError::Closed),
                }
            }
        };
        let no_answer = Err(NetStreamError::NoAnswer(ACCEPTANCE).into());
        tokio::time::timeout(ACCEPTANCE, accepted).await.unwrap_or(no_answer)?;
        Ok(stream)
    }

    /// Plays a stream of the server, live or recorded. Returns at once;
    /// [`NetStreamEvent::Failed`] follows if the server refuses.
    ///
    /// # Errors
    ///
    /// [`StreamError::NetStream`] if there is no connection; [`StreamError::Closed`].
    pub async fn play(&self, name: &str) -> Result<PlayedStream, StreamError> {
        let request = Request::Play(vec![Value::from(name)]);
        let (handle, queue) = self
            .open_stream(move |peer, now| peer.node_mut().stream_of_server(now, request))
            .await?;
        Ok(PlayedStream::of_connection(self.clone(), handle, name, queue))
    }

    async fn open_stream(
        &self,
        open: impl FnOnce(&mut PeerMachine, Time) -> Result<StreamHandle, NetStreamError>
        + Send
        + 'static,
    ) -> Result<(StreamHandle, Arc<Queue<NetStreamEvent>>), StreamError> {
        let opened = self
            .with_machine(move |peer, now| {
                let handle = open(peer, now)?;
                Ok::<_, NetStreamError>((handle, peer.streams_mut().add(handle)))
            })
            .await?;
        Ok(opened?)
    }
}

fn is_start(info: &Value) -> bool {
    info.property("code").and_then(Value::as_str) == Some("NetStream.Publish.Start")
}
