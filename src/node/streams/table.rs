//! The streams of a node and who plays them.

use super::options::PublishToPeers;
use crate::crypto::Fingerprint;
use crate::flash::CallId;
use crate::flash::stream::{ClientStream, Late, NetStreamError, Request, Subscriber};
use crate::transport::{FlowAction, FlowId, SessionId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Streams of one node; further ones are refused.
pub const MAX_STREAMS: usize = 256;
/// How often one peer may play the same stream at a time; beyond, it is rejected.
const MAX_PLAYS_OF_PEER: usize = 4;

/// A stream that this node plays or publishes outside of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamHandle(u32);

impl StreamHandle {
    /// The stream ID of the flows with which this node asks a peer for the stream.
    pub(super) const fn stream_id(self) -> u32 {
        self.0
    }
}

/// One who plays: the flow on which it asked.
pub(super) type Asking = (SessionId, FlowId);

#[derive(Debug)]
pub(super) enum Stream {
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
pub(super) struct ToPeers {
    pub(super) name: Arc<str>,
    pub(super) options: PublishToPeers,
    pub(super) late: Late,
    pub(super) subscribers: BTreeMap<Asking, Subscriber>,
    pub(super) next_token: u32,
}

impl ToPeers {
    /// True if the peer of this session may play, once more if it does already.
    pub(super) fn has_space(&self, session: SessionId) -> bool {
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
pub(super) struct Waiting {
    pub(super) stream: u32,
    pub(super) name: Arc<str>,
}

/// The streams of a node.
#[derive(Debug, Default)]
pub(in super::super) struct Streams {
    pub(super) all: BTreeMap<StreamHandle, Stream>,
    pub(super) waiting: BTreeMap<Asking, Waiting>,
    next: u32,
}

impl Streams {
    pub(super) fn add(&mut self, stream: Stream) -> Result<StreamHandle, NetStreamError> {
        if self.all.len() >= MAX_STREAMS {
            return Err(NetStreamError::TooMany);
        }
        self.next = self.next.wrapping_add(1);
        let handle = StreamHandle(self.next);
        self.all.insert(handle, stream);
        Ok(handle)
    }

    /// True if a stream is published to peers, so that their flows are taken.
    pub(in super::super) fn serves_peers(&self) -> bool {
        self.all.values().any(|stream| matches!(stream, Stream::ToPeers(_)))
    }

    /// True if a stream needs this session.
    pub(in super::super) fn uses(&self, session: SessionId) -> bool {
        let uses = |stream: &Stream| match stream {
            Stream::ToPeers(it) => it.subscribers.keys().any(|(of, _)| *of == session),
            Stream::Client { session: of, .. } => *of == session,
            Stream::Reaching { .. } | Stream::Creating { .. } => false,
        };
        self.all.values().any(uses) || self.waiting_of(session).next().is_some()
    }

    pub(super) fn published_as(&self, name: &str) -> Option<StreamHandle> {
        let named = |stream: &Stream| matches!(stream, Stream::ToPeers(it) if &*it.name == name);
        self.all.iter().find(|(_, stream)| named(stream)).map(|(&handle, _)| handle)
    }

    pub(super) fn reaching(&self, peer: Fingerprint) -> Vec<StreamHandle> {
        let is_for =
            |stream: &Stream| matches!(stream, Stream::Reaching { peer: to, .. } if *to == peer);
        self.all.iter().filter(|(_, stream)| is_for(stream)).map(|(&handle, _)| handle).collect()
    }

    pub(super) fn waiting_of(
        &self,
        session: SessionId,
    ) -> impl Iterator<Item = (Asking, &Waiting)> {
        let all = (session, FlowId(0))..=(session, FlowId(u64::MAX));
        self.waiting.range(all).map(|(&asking, waiting)| (asking, waiting))
    }

    /// The next action of a stream, and the session that it is for.
    pub(super) fn poll_action(&mut self, handle: StreamHandle) -> Option<(SessionId, FlowAction)> {
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
