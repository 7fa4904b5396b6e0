//! What sessions, flows and the server report about streams.

use super::super::{Node, NodeEvent, Owner, Server};
use super::table::{Asking, Stream, StreamHandle, Waiting};
use crate::amf::Value;
use crate::crypto::Fingerprint;
use crate::flash::stream::{
    ClientStream, FromSubscriber, NetStreamError, NetStreamEvent, PlayRequest, Subscriber,
};
use crate::flash::{CallId, FlowDecision, ObjectEncoding};
use crate::transport::{FlowId, FlowInput, FlowToken, SessionId, Time};
use bytes::Bytes;

/// Peers that play a stream which is not published, or not yet, over all sessions; further ones are
/// rejected.
const MAX_WAITING: usize = 256;
/// The same limit per session.
const MAX_WAITING_OF_SESSION: usize = 16;
/// The flow with which a stream is asked for; its owner has no other.
const ASKING: FlowToken = FlowToken(0);

impl Node {
    /// A session with a peer was opened.
    pub(in super::super) fn begin_streams_with(
        &mut self,
        now: Time,
        session: SessionId,
        far: Fingerprint,
    ) {
        for handle in self.streams.reaching(far) {
            self.begin_stream(now, handle, session, None);
        }
    }

    /// A peer was not reached.
    pub(in super::super) fn fail_streams_with(
        &mut self,
        peer: Fingerprint,
        error: &NetStreamError,
    ) {
        for handle in self.streams.reaching(peer) {
            self.fail_stream(handle, error.clone());
        }
    }

    /// Asks for a stream. `of_server`: the stream ID and the flow of the server.
    pub(super) fn begin_stream(
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
            of_server.unwrap_or((handle.stream_id(), None, ObjectEncoding::Amf3));
        match ClientStream::open(request, id, ASKING, association, encoding) {
            Ok(stream) => {
                self.streams.all.insert(handle, Stream::Client { session, id, stream });
                self.drain_stream(now, handle);
            }
            Err(error) => self.fail_stream(handle, error.into()),
        }
    }

    /// The server answered a call: true if it was for a stream ID.
    pub(in super::super) fn stream_created(
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
    pub(in super::super) fn on_play_request(
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
    pub(super) fn admit(
        &mut self,
        now: Time,
        handle: StreamHandle,
        asking: Asking,
        stream_id: u32,
    ) {
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
    pub(in super::super) fn offer_to_stream(
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
    pub(in super::super) fn stream_of_session(
        &self,
        session: SessionId,
        id: u32,
    ) -> Option<StreamHandle> {
        let is_it = |stream: &Stream| matches!(stream, Stream::Client { session: of, id: it, .. } if (*of, *it) == (session, id));
        self.streams.all.iter().find(|(_, stream)| is_it(stream)).map(|(&handle, _)| handle)
    }

    pub(in super::super) fn on_stream_message(
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
                    Some(FromSubscriber::Close) => {
                        self.drop_subscriber(now, handle, (session, flow));
                    }
                    Some(FromSubscriber::Message(message)) => {
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

    pub(in super::super) fn on_stream_flow_finished(
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
    pub(in super::super) fn forget_waiting(&mut self, session: SessionId, flow: FlowId) {
        self.streams.waiting.remove(&(session, flow));
    }

    pub(in super::super) fn on_stream_flow_input(
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
    pub(in super::super) fn close_streams_of(
        &mut self,
        session: SessionId,
        far: Option<Fingerprint>,
    ) {
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
    pub(in super::super) fn fail_streams_of_server(&mut self) {
        let creating = self.streams.all.iter();
        let creating = creating.filter(|(_, stream)| matches!(stream, Stream::Creating { .. }));
        for handle in creating.map(|(&handle, _)| handle).collect::<Vec<_>>() {
            self.fail_stream(handle, NetStreamError::Closed);
        }
    }

    /// Carries out the actions of a stream and emits its events.
    pub(super) fn drain_stream(&mut self, now: Time, handle: StreamHandle) {
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
