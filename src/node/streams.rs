//! Streams outside of groups: played from a peer or the server, published to peers or the server.
//!
//! Flash's `NetStream` of a peer ID, of `DIRECT_CONNECTIONS`, and of a server.

use super::{Node, NodeEvent, Owner, Server};
use crate::amf::Value;
use crate::crypto::Fingerprint;
use crate::flash::stream::{
    ClientStream, Heard, Late, NetStreamError, NetStreamEvent, PlayRequest, Request, Subscriber,
};
use crate::flash::{CallId, FlashError, FlowDecision, Message, ObjectEncoding};
use crate::transport::{FlowAction, FlowId, FlowInput, FlowToken, SessionId, Time};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Streams of one node; further ones are refused.
pub const MAX_STREAMS: usize = 256;
/// Peers that play a stream which is not published, or not yet, over all sessions; further ones are
/// rejected.
const MAX_WAITING: usize = 256;
/// The same limit per session.
const MAX_WAITING_OF_SESSION: usize = 16;
/// How often one peer may play the same stream at a time; beyond, it is rejected.
const MAX_PLAYS_OF_PEER: usize = 4;
/// The flow with which a stream is asked for; its owner has no other.
const ASKING: FlowToken = FlowToken(0);
/// Peers that may play one stream, unless set otherwise: Flash's default of `maxPeerConnections`.
pub const DEFAULT_MAX_PEERS: usize = 8;

/// A stream that this node plays or publishes outside of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamHandle(u32);

/// Decides whether a peer may play: Flash's `onPeerConnect`.
pub type Admission = Arc<dyn Fn(Fingerprint) -> bool + Send + Sync>;

/// Settings of a stream that is published to peers.
#[derive(Clone)]
#[non_exhaustive]
pub struct PublishToPeers {
    /// Peers that may play at a time, [`DEFAULT_MAX_PEERS`] by default. Further ones are refused.
    pub max_peers: usize,
    /// Decides on each peer; `None` admits all.
    pub admission: Option<Admission>,
}

impl Default for PublishToPeers {
    fn default() -> Self {
        Self { max_peers: DEFAULT_MAX_PEERS, admission: None }
    }
}

impl fmt::Debug for PublishToPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let admission = self.admission.as_ref().map(|_| "…");
        f.debug_struct("PublishToPeers")
            .field("max_peers", &self.max_peers)
            .field("admission", &admission)
            .finish()
    }
}

/// One who plays: the flow on which it asked.
type Asking = (SessionId, FlowId);

#[derive(Debug)]
enum Stream {
    /// Published to whoever asks.
    ToPeers(ToPeers),
    /// Played from a peer to which there is no session yet.
    Reaching { peer: Fingerprint, request: Request },
    /// The server has been asked for a stream ID.
    Creating { call: CallId, request: Request },
    /// Played, or published to the server; `id` is the stream ID of its flows.
    Client { session: SessionId, id: u32, stream: ClientStream },
}

#[derive(Debug)]
struct ToPeers {
    name: Arc<str>,
    options: PublishToPeers,
    late: Late,
    subscribers: BTreeMap<Asking, Subscriber>,
    next_token: u32,
}

impl ToPeers {
    /// True if the peer of this session may play, once more if it does already.
    fn has_space(&self, session: SessionId) -> bool {
        let all = self.subscribers.keys().map(|(of, _)| *of);
        let sessions: BTreeSet<_> = all.clone().collect();
        match sessions.contains(&session) {
            true => all.filter(|of| *of == session).count() < MAX_PLAYS_OF_PEER,
            false => sessions.len() < self.options.max_peers,
        }
    }
}

/// A peer that waits for a stream to be published.
#[derive(Debug)]
struct Waiting {
    stream: u32,
    name: Arc<str>,
}

/// The streams of a node.
#[derive(Debug, Default)]
pub(super) struct Streams {
    all: BTreeMap<StreamHandle, Stream>,
    waiting: BTreeMap<Asking, Waiting>,
    next: u32,
}

impl Streams {
    fn add(&mut self, stream: Stream) -> Result<StreamHandle, NetStreamError> {
        if self.all.len() >= MAX_STREAMS {
            return Err(NetStreamError::TooMany);
        }
        self.next = self.next.wrapping_add(1);
        let handle = StreamHandle(self.next);
        self.all.insert(handle, stream);
        Ok(handle)
    }

    /// True if a stream is published to peers, so that their flows are taken.
    pub(super) fn serves_peers(&self) -> bool {
        self.all.values().any(|stream| matches!(stream, Stream::ToPeers(_)))
    }

    /// True if a stream needs this session.
    pub(super) fn uses(&self, session: SessionId) -> bool {
        let uses = |stream: &Stream| match stream {
            Stream::ToPeers(it) => it.subscribers.keys().any(|(of, _)| *of == session),
            Stream::Client { session: of, .. } => *of == session,
            Stream::Reaching { .. } | Stream::Creating { .. } => false,
        };
        self.all.values().any(uses) || self.waiting_of(session).next().is_some()
    }

    fn published_as(&self, name: &str) -> Option<StreamHandle> {
        let named = |stream: &Stream| matches!(stream, Stream::ToPeers(it) if &*it.name == name);
        self.all.iter().find(|(_, stream)| named(stream)).map(|(&handle, _)| handle)
    }

    fn reaching(&self, peer: Fingerprint) -> Vec<StreamHandle> {
        let is_for =
            |stream: &Stream| matches!(stream, Stream::Reaching { peer: to, .. } if *to == peer);
        self.all.iter().filter(|(_, stream)| is_for(stream)).map(|(&handle, _)| handle).collect()
    }

    fn waiting_of(&self, session: SessionId) -> impl Iterator<Item = (Asking, &Waiting)> {
        let all = (session, FlowId(0))..=(session, FlowId(u64::MAX));
        self.waiting.range(all).map(|(&asking, waiting)| (asking, waiting))
    }
}

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

    /// A session with a peer was opened.
    pub(super) fn begin_streams_with(&mut self, now: Time, session: SessionId, far: Fingerprint) {
        for handle in self.streams.reaching(far) {
            self.begin_stream(now, handle, session, None);
        }
    }

    /// A peer was not reached.
    pub(super) fn fail_streams_with(&mut self, peer: Fingerprint, error: &NetStreamError) {
        for handle in self.streams.reaching(peer) {
            self.fail_stream(handle, error.clone());
        }
    }

    /// Asks for a stream. `of_server`: the stream ID and the flow of the server.
    fn begin_stream(
        &mut self,
        now: Time,
        handle: StreamHandle,
        session: SessionId,
        of_server: Option<(u32, Option<FlowId>, ObjectEncoding)>,
    ) {
        let Some(Stream::Reaching { request, .. } | Stream::Creating { request, .. }) =
            self.streams.all.remove(&handle)
        else {
            return;
        };
        let (id, association, encoding) =
            of_server.unwrap_or((handle.0, None, ObjectEncoding::Amf3));
        match ClientStream::open(request, id, ASKING, association, encoding) {
            Ok(stream) => {
                self.streams.all.insert(handle, Stream::Client { session, id, stream });
                self.drain_stream(now, handle);
            }
            Err(error) => self.fail_stream(handle, error.into()),
        }
    }

    /// The server answered a call: true if it was for a stream ID.
    pub(super) fn stream_created(
        &mut self,
        now: Time,
        answered: CallId,
        outcome: &Result<Value, Value>,
    ) -> bool {
        let is_for =
            |stream: &Stream| matches!(stream, Stream::Creating { call, .. } if *call == answered);
        let found = self.streams.all.iter().find(|(_, stream)| is_for(stream));
        let Some((&handle, _)) = found else { return false };
        let Server::Session(server) = &self.server else { return false };
        let (session, flow) = (server.session, server.connection.server_flow());
        let encoding = server.connection.encoding();
        match outcome {
            Ok(id) => match id.as_u32() {
                Some(stream) => {
                    self.begin_stream(now, handle, session, Some((stream, flow, encoding)));
                }
                None => self.fail_stream(handle, NetStreamError::refused(id)),
            },
            Err(info) => self.fail_stream(handle, NetStreamError::refused(info)),
        }
        true
    }

    fn fail_stream(&mut self, handle: StreamHandle, error: NetStreamError) {
        self.streams.all.remove(&handle);
        self.events.push_back(NodeEvent::Stream(handle, NetStreamEvent::Failed(error)));
    }

    /// The first message of a peer's flow for a stream.
    pub(super) fn on_play_request(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        stream: u32,
        message: &Bytes,
    ) {
        let Some(PlayRequest { name }) = PlayRequest::parse(message) else {
            return self.flows.reject(&mut self.endpoint, session, flow, 0);
        };
        if let Some(handle) = self.streams.published_as(&name) {
            return self.admit(now, handle, (session, flow), stream);
        }
        // As at Flash Player, the flow stays and nothing comes; here, until the stream is published.
        let is_full = self.streams.waiting.len() >= MAX_WAITING
            || self.streams.waiting_of(session).count() >= MAX_WAITING_OF_SESSION;
        match is_full {
            true => self.flows.reject(&mut self.endpoint, session, flow, 0),
            false => {
                self.streams.waiting.insert((session, flow), Waiting { stream, name });
            }
        }
    }

    /// A peer asks for a stream that is published.
    fn admit(&mut self, now: Time, handle: StreamHandle, asking: Asking, stream_id: u32) {
        let (session, flow) = asking;
        let far = self.peers.get(&session).map(|peer| peer.far);
        let Some(Stream::ToPeers(stream)) = self.streams.all.get_mut(&handle) else { return };
        let has_space = stream.has_space(session);
        let admission = stream.options.admission.clone();
        let Some(peer_id) =
            far.filter(|&it| has_space && admission.is_none_or(|admits| admits(it)))
        else {
            return self.flows.reject(&mut self.endpoint, session, flow, 0);
        };
        let token = FlowToken(stream.next_token);
        stream.next_token = stream.next_token.wrapping_add(1);
        let subscriber = Subscriber::start(&stream.name, stream_id, flow, token, &stream.late);
        stream.subscribers.insert(asking, subscriber);
        self.flows.accept(session, flow, Owner::Stream(handle));
        self.events.push_back(NodeEvent::Stream(handle, NetStreamEvent::PeerConnect { peer_id }));
        self.drain_stream(now, handle);
    }

    /// The far end opened a flow that is associated with one of a stream.
    pub(super) fn offer_to_stream(
        &mut self,
        handle: StreamHandle,
        flow: FlowId,
        metadata: &[u8],
    ) -> Option<Owner> {
        let Some(Stream::Client { stream, .. }) = self.streams.all.get_mut(&handle) else {
            return None;
        };
        match stream.on_flow_opened(flow, metadata) {
            FlowDecision::Accept => Some(Owner::Stream(handle)),
            FlowDecision::Reject(_) => None,
        }
    }

    /// The stream with this ID in a session with the server.
    pub(super) fn stream_of_session(&self, session: SessionId, id: u32) -> Option<StreamHandle> {
        let is_it = |stream: &Stream| matches!(stream, Stream::Client { session: of, id: it, .. } if (*of, *it) == (session, id));
        self.streams.all.iter().find(|(_, stream)| is_it(stream)).map(|(&handle, _)| handle)
    }

    pub(super) fn on_stream_message(
        &mut self,
        now: Time,
        handle: StreamHandle,
        (session, flow): Asking,
        message: &Bytes,
    ) {
        match self.streams.all.get_mut(&handle) {
            Some(Stream::Client { stream, .. }) => stream.on_message(message),
            Some(Stream::ToPeers(stream)) => {
                let subscriber = stream.subscribers.get_mut(&(session, flow));
                match subscriber.and_then(|it| it.on_message(message)) {
                    Some(Heard::Close) => {
                        self.drop_subscriber(now, handle, (session, flow));
                    }
                    Some(Heard::Message(message)) => {
                        if let Some(peer_id) = self.peers.get(&session).map(|peer| peer.far) {
                            let event = NetStreamEvent::PeerMessage { peer_id, message };
                            self.events.push_back(NodeEvent::Stream(handle, event));
                        }
                    }
                    None => {}
                }
            }
            _ => {}
        }
        self.drain_stream(now, handle);
    }

    pub(super) fn on_stream_flow_finished(
        &mut self,
        now: Time,
        handle: StreamHandle,
        (session, flow): Asking,
    ) {
        match self.streams.all.get_mut(&handle) {
            Some(Stream::Client { stream, .. }) => stream.on_flow_finished(flow),
            Some(Stream::ToPeers(_)) => self.drop_subscriber(now, handle, (session, flow)),
            _ => {}
        }
    }

    /// A flow of a peer that waits for a stream has ended.
    pub(super) fn forget_waiting(&mut self, session: SessionId, flow: FlowId) {
        self.streams.waiting.remove(&(session, flow));
    }

    pub(super) fn on_stream_flow_input(
        &mut self,
        now: Time,
        handle: StreamHandle,
        session: SessionId,
        input: &FlowInput,
    ) {
        match self.streams.all.get_mut(&handle) {
            Some(Stream::Client { stream, .. }) => stream.on_flow_input(input),
            Some(Stream::ToPeers(stream)) => {
                let token = token_of(input);
                let mut found = stream.subscribers.iter_mut();
                let found = found.find(|((of, _), it)| *of == session && Some(it.token()) == token);
                if let Some((&asking, subscriber)) = found
                    && subscriber.on_flow_input(input)
                {
                    self.drop_subscriber(now, handle, asking);
                }
            }
            // The stream is over, and the last of it was delivered.
            _ => self.close_if_unused(now, session),
        }
        self.drain_stream(now, handle);
    }

    /// A subscriber plays no longer.
    fn drop_subscriber(&mut self, now: Time, handle: StreamHandle, asking: Asking) {
        let Some(Stream::ToPeers(stream)) = self.streams.all.get_mut(&handle) else { return };
        let Some(mut subscriber) = stream.subscribers.remove(&asking) else { return };
        subscriber.stop();
        let (session, _) = asking;
        while let Some(action) = subscriber.poll_action() {
            self.execute(now, session, Owner::Stream(handle), action);
        }
        if let Some(peer_id) = self.peers.get(&session).map(|peer| peer.far) {
            let event = NetStreamEvent::PeerDisconnect { peer_id };
            self.events.push_back(NodeEvent::Stream(handle, event));
        }
        self.close_if_unused(now, session);
    }

    /// A session is closed; `far` is the peer of one with a peer.
    pub(super) fn close_streams_of(&mut self, session: SessionId, far: Option<Fingerprint>) {
        for asking in self.streams.waiting_of(session).map(|(at, _)| at).collect::<Vec<_>>() {
            self.streams.waiting.remove(&asking);
        }
        let mut events = Vec::new();
        for (&handle, stream) in &mut self.streams.all {
            match stream {
                Stream::ToPeers(stream) => {
                    let before = stream.subscribers.len();
                    stream.subscribers.retain(|(of, _), _| *of != session);
                    let gone = before - stream.subscribers.len();
                    let event = far.map(|peer_id| NetStreamEvent::PeerDisconnect { peer_id });
                    events.extend(event.into_iter().cycle().take(gone).map(|it| (handle, it)));
                }
                Stream::Client { session: of, stream, .. } if *of == session => {
                    stream.on_session_closed();
                    while let Some(event) = stream.poll_event() {
                        events.push((handle, event));
                    }
                }
                _ => {}
            }
        }
        for (handle, event) in events {
            self.events.push_back(NodeEvent::Stream(handle, event));
        }
        self.streams.all.retain(
            |_, stream| !matches!(stream, Stream::Client { session: of, .. } if *of == session),
        );
    }

    /// The connection to the server is lost: no stream ID comes any more.
    pub(super) fn fail_streams_of_server(&mut self) {
        let creating = self.streams.all.iter();
        let creating = creating.filter(|(_, stream)| matches!(stream, Stream::Creating { .. }));
        for handle in creating.map(|(&handle, _)| handle).collect::<Vec<_>>() {
            self.fail_stream(handle, NetStreamError::Closed);
        }
    }

    /// Carries out the actions of a stream and emits its events.
    fn drain_stream(&mut self, now: Time, handle: StreamHandle) {
        while let Some((session, action)) = self.streams.poll_action(handle) {
            self.execute(now, session, Owner::Stream(handle), action);
        }
        let Some(Stream::Client { stream, .. }) = self.streams.all.get_mut(&handle) else { return };
        let mut has_failed = false;
        while let Some(event) = stream.poll_event() {
            has_failed |= matches!(event, NetStreamEvent::Failed(_));
            self.events.push_back(NodeEvent::Stream(handle, event));
        }
        if has_failed {
            self.streams.all.remove(&handle);
        }
    }
}

impl Streams {
    fn poll_action(&mut self, handle: StreamHandle) -> Option<(SessionId, FlowAction)> {
        match self.all.get_mut(&handle)? {
            Stream::Client { session, stream, .. } => Some((*session, stream.poll_action()?)),
            Stream::ToPeers(stream) => {
                let mut all = stream.subscribers.iter_mut();
                all.find_map(|((session, _), it)| Some((*session, it.poll_action()?)))
            }
            Stream::Reaching { .. } | Stream::Creating { .. } => None,
        }
    }
}

/// The flow that an input is about, if it is a sending one.
fn token_of(input: &FlowInput) -> Option<FlowToken> {
    match input {
        FlowInput::Blocked { token }
        | FlowInput::Writable { token }
        | FlowInput::Refused { token, .. }
        | FlowInput::Rejected { token, .. }
        | FlowInput::Done { token } => Some(*token),
        FlowInput::Gap { .. } => None,
    }
}
