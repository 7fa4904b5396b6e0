//! Groups: members, neighbors, the objects that each has and wants, posts, directed messages
//! and streams (`protocol-notes/netgroup-membership.md`, `protocol-notes/object-replication.md`).
//!
//! A flow belongs to a group by its own hello or join, or by the flow that it answers.
//!
//! Bounds, all groups together: [`MAX_GROUPS`] groups, [`MAX_MEMBERS`] members with
//! [`MAX_RANGES`] ranges of objects each, [`MAX_POSTS`] posts, [`MAX_STREAMS`] streams. Beyond these,
//! nothing is remembered.

use super::flows::{FlowKey, FlowMessage, Flows, Side};
use super::message::{self, FlowClass};
use super::sessions::Sessions;
use crate::crypto::Fingerprint;
use crate::flash::group_channel::{GroupId, JoinKey, ServerMessage};
use crate::group::message::{
    MembershipMessage, MulticastControl, MulticastData, PostingMessage, ReplicationMessage,
    StreamKey,
};
use crate::group::{FlowKind, MessageId, PostKey, ReceiveMode};
use crate::range::IndexSet;
use bytes::Bytes;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

/// Groups that are remembered.
pub const MAX_GROUPS: usize = 256;

/// Members that are remembered.
pub const MAX_MEMBERS: usize = 2048;

/// Ranges of objects that a member has, or has asked for.
pub const MAX_RANGES: usize = 256;

/// Posts that are remembered.
pub const MAX_POSTS: usize = 4096;

/// Streams that are remembered.
pub const MAX_STREAMS: usize = 256;

/// Flows whose group is remembered.
const MAX_FLOWS: usize = 16_384;

/// Relations between members that are remembered.
const MAX_LINKS: usize = 4096;

/// Bytes of a join or hello that are looked at.
const MAX_OPENING: usize = 1 << 15;

/// Characters of a posted value that are remembered.
const MAX_VALUE: usize = 80;

/// Characters of a stream's name that are remembered.
const MAX_NAME: usize = 256;

/// The identity of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// The peer with this ID.
    Named(Fingerprint),
    /// This end of this session, whose certificate was not captured.
    Unnamed(u64, Side),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(fingerprint) => write!(f, "{fingerprint}"),
            Self::Unnamed(session, side) => write!(f, "the {} of session {session}", side.name()),
        }
    }
}

/// A group.
#[derive(Debug, Clone, Default)]
pub struct GroupTrace {
    /// The canonical text with which a member joined; the ID is its hash.
    pub text: Option<String>,
    /// The members.
    pub members: BTreeMap<Peer, MemberTrace>,
    /// Relations between two members, by session.
    pub links: BTreeMap<u64, LinkTrace>,
    /// Messages by type.
    pub messages: BTreeMap<&'static str, u64>,
    /// The posts.
    pub posts: BTreeMap<PostKey, PostTrace>,
    /// Streams by their keys.
    pub streams: BTreeMap<[u8; 32], StreamTrace>,
}

/// A member of a group.
#[derive(Debug, Clone)]
pub struct MemberTrace {
    /// Time of its join at the server.
    pub joined: Option<Duration>,
    /// Number of members that the server introduced to it.
    pub introduced: u64,
    /// The addresses for which it takes directed messages, as far as it announced them.
    pub mode: Option<ReceiveMode>,
    /// The objects that it has, as announced to its neighbors.
    pub has: IndexSet,
    /// The objects that it asked for.
    pub wanted: IndexSet,
    /// It has or asked for more than is remembered.
    pub is_cut: bool,
    /// Objects that it gave.
    pub objects_sent: u64,
    /// Objects that it got.
    pub objects_received: u64,
    /// Requests that it refused.
    pub denied: u64,
    /// Posts that it gave, with repetitions.
    pub posts_sent: u64,
    /// Directed messages that it sent.
    pub directed_sent: u64,
    /// Fragments of streams that it gave.
    pub fragments_sent: u64,
}

/// A relation between two members.
#[derive(Debug, Clone, Copy)]
pub struct LinkTrace {
    /// The initiator of their session.
    pub initiator: Peer,
    /// The responder of their session.
    pub responder: Peer,
    /// Time of the first hello.
    pub begun: Duration,
    /// True if the hello of the initiator, and that of the responder, was accepted.
    pub accepted: [bool; 2],
    /// True if the initiator, and the responder, declared that it does not need the other.
    pub unneeded: [bool; 2],
    /// Reports that were sent: by the initiator, by the responder.
    pub reports: [u64; 2],
}

/// A post.
#[derive(Debug, Clone)]
pub struct PostTrace {
    /// Time when it was first seen or announced.
    pub first: Duration,
    /// The member that it was first seen from.
    pub from: Peer,
    /// The value, if it was seen.
    pub value: Option<String>,
    /// Bytes of the value.
    pub len: usize,
    /// Number of announcements, requests and transmissions.
    pub counts: [u64; 3],
}

/// A stream.
#[derive(Debug, Clone)]
pub struct StreamTrace {
    /// The name under which it was published.
    pub name: String,
    /// The member that first described it.
    pub from: Peer,
    /// The time.
    pub first: Duration,
    /// The highest fragment number.
    pub newest: u64,
    /// Fragments, with repetitions.
    pub fragments: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The number after the last fragment, once a member announced it.
    pub end: Option<u64>,
}

/// All groups.
#[derive(Debug, Default)]
pub struct Groups {
    groups: BTreeMap<GroupId, GroupTrace>,
    /// Groups of joins and hellos.
    by_flow: HashMap<FlowKey, GroupId>,
    /// Streams of descriptions.
    streams: HashMap<FlowKey, [u8; 32]>,
    totals: Totals,
}

#[derive(Debug, Default)]
struct Totals {
    members: usize,
    links: usize,
    posts: usize,
    streams: usize,
}

/// The current message and its sender.
struct Context {
    key: FlowKey,
    sender: Peer,
    receiver: Peer,
    now: Duration,
}

impl Groups {
    /// The groups by their IDs.
    pub fn iter(&self) -> impl Iterator<Item = (GroupId, &GroupTrace)> {
        self.groups.iter().map(|(id, group)| (*id, group))
    }

    /// The group that a flow belongs to.
    pub fn of_flow(&self, key: &FlowKey, flows: &Flows) -> Option<GroupId> {
        // Multicast data answers multicast control, which answers membership.
        let mut key = *key;
        for _ in 0..3 {
            if let Some(group) = self.by_flow.get(&key) {
                return Some(*group);
            }
            key = associated(&key, flows)?;
        }
        None
    }

    /// The stream that a multicast flow is about.
    pub(super) fn stream_of(&self, key: &FlowKey, flows: &Flows) -> Option<[u8; 32]> {
        let control = self.streams.get(key);
        control.or_else(|| self.streams.get(&associated(key, flows)?)).copied()
    }

    /// Takes a message and returns its group.
    pub(super) fn message(
        &mut self,
        message: &FlowMessage,
        bytes: &[u8],
        flows: &Flows,
        sessions: &Sessions,
        now: Duration,
    ) -> Option<GroupId> {
        if !matches!(message.class, FlowClass::GroupServer | FlowClass::Group(_)) {
            return None;
        }
        let key = message.key;
        let context = Context {
            key,
            sender: peer(sessions, key.session, key.side),
            receiver: peer(sessions, key.session, key.side.other()),
            now,
        };
        let id = match self.opened_group(message.class, &key, bytes) {
            Some(id) => Some(id),
            None => self.of_flow(&key, flows),
        };
        let id = id?;
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&id) {
            return Some(id);
        }
        let stream = self.stream_of(&key, flows);
        let group = self.groups.entry(id).or_default();
        let name = message.layout.map_or("Unknown", |layout| layout.key);
        *group.messages.entry(name).or_default() += 1;
        let totals = &mut self.totals;
        match message.class {
            FlowClass::GroupServer => group.server(&context, bytes, totals),
            FlowClass::Group(FlowKind::Membership) => group.membership(&context, bytes, totals),
            FlowClass::Group(FlowKind::Replication) => group.replication(&context, bytes, totals),
            FlowClass::Group(FlowKind::PostingKeys) => group.post_keys(&context, bytes, totals),
            FlowClass::Group(FlowKind::PostingValues) => group.post_value(&context, bytes, totals),
            FlowClass::Group(FlowKind::Routing) => {
                if let Some(member) = group.member(context.sender, totals) {
                    member.directed_sent += 1;
                }
            }
            FlowClass::Group(FlowKind::MulticastControl) => {
                let described = group.multicast_control(&context, bytes, totals);
                if let Some(stream) = described.filter(|_| self.streams.len() < MAX_FLOWS) {
                    self.streams.insert(key, stream);
                }
            }
            FlowClass::Group(FlowKind::MulticastData) => {
                group.multicast_data(&context, bytes, stream, totals);
            }
            FlowClass::Unknown | FlowClass::Tc(_) => {}
        }
        Some(id)
    }

    /// The group of a join or a hello, which all else on the flow and its answers belongs to.
    fn opened_group(&mut self, class: FlowClass, key: &FlowKey, bytes: &[u8]) -> Option<GroupId> {
        let copied = || Bytes::copy_from_slice(&bytes[..bytes.len().min(MAX_OPENING)]);
        let id = match class {
            FlowClass::GroupServer => match ServerMessage::parse(&copied()) {
                Ok(ServerMessage::Join(join)) => join.group_id(),
                _ => return None,
            },
            FlowClass::Group(FlowKind::Membership) => MembershipMessage::group_of_hello(&copied())?,
            _ => return None,
        };
        if self.by_flow.len() < MAX_FLOWS {
            self.by_flow.insert(*key, id);
        }
        Some(id)
    }
}

fn associated(key: &FlowKey, flows: &Flows) -> Option<FlowKey> {
    let flow = flows.find(key)?.association?;
    Some(FlowKey { session: key.session, side: key.side.other(), flow })
}

fn peer(sessions: &Sessions, session: u64, side: Side) -> Peer {
    let end = sessions.find(session).map(|s| match side {
        Side::Initiator => &s.initiator,
        Side::Responder => &s.responder,
    });
    match end.and_then(|end| end.fingerprint) {
        Some(fingerprint) => Peer::Named(fingerprint),
        None => Peer::Unnamed(session, side),
    }
}

impl MemberTrace {
    fn new() -> Self {
        Self {
            joined: None,
            introduced: 0,
            mode: None,
            has: IndexSet::with_max_ranges(MAX_RANGES),
            wanted: IndexSet::with_max_ranges(MAX_RANGES),
            is_cut: false,
            objects_sent: 0,
            objects_received: 0,
            denied: 0,
            posts_sent: 0,
            directed_sent: 0,
            fragments_sent: 0,
        }
    }
}

impl GroupTrace {
    fn member(&mut self, peer: Peer, totals: &mut Totals) -> Option<&mut MemberTrace> {
        match self.members.entry(peer) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(_) if totals.members >= MAX_MEMBERS => None,
            Entry::Vacant(entry) => {
                totals.members += 1;
                Some(entry.insert(MemberTrace::new()))
            }
        }
    }

    fn server(&mut self, context: &Context, bytes: &[u8], totals: &mut Totals) {
        match ServerMessage::parse(&Bytes::copy_from_slice(bytes)) {
            Ok(ServerMessage::Join(join)) => {
                if let JoinKey::CanonicalText(text) = &join {
                    self.text = Some(String::from_utf8_lossy(text).into_owned());
                }
                if let Some(member) = self.member(context.sender, totals) {
                    member.joined = member.joined.or(Some(context.now));
                }
            }
            Ok(ServerMessage::Connect(_) | ServerMessage::Hint(_)) => {
                if let Some(member) = self.member(context.receiver, totals) {
                    member.introduced += 1;
                }
            }
            _ => {}
        }
    }

    fn membership(&mut self, context: &Context, bytes: &[u8], totals: &mut Totals) {
        let Ok(message) = MembershipMessage::parse(&Bytes::copy_from_slice(bytes)) else { return };
        let is_new = !self.links.contains_key(&context.key.session);
        if is_new && totals.links < MAX_LINKS {
            totals.links += 1;
            let (initiator, responder) = match context.key.side {
                Side::Initiator => (context.sender, context.receiver),
                Side::Responder => (context.receiver, context.sender),
            };
            let (accepted, unneeded, reports) = ([false; 2], [false; 2], [0; 2]);
            let begun = context.now;
            let link = LinkTrace { initiator, responder, begun, accepted, unneeded, reports };
            self.links.insert(context.key.session, link);
        }
        let (side, other) = match context.key.side {
            Side::Initiator => (0, 1),
            Side::Responder => (1, 0),
        };
        if let Some(link) = self.links.get_mut(&context.key.session) {
            match message {
                MembershipMessage::Accepted => link.accepted[other] = true,
                MembershipMessage::Unneeded => link.unneeded[side] = true,
                MembershipMessage::Report(_) => link.reports[side] += 1,
                _ => {}
            }
        }
        if let Some(member) = self.member(context.sender, totals)
            && let MembershipMessage::Mode(mode) = message
        {
            member.mode = Some(mode);
        }
    }

    fn replication(&mut self, context: &Context, bytes: &[u8], totals: &mut Totals) {
        // The value of an object is not of interest here, and long.
        let head =
            bytes.get(..bytes.len().min(if bytes.first() == Some(&0x18) { 16 } else { 1 << 20 }));
        let head = Bytes::copy_from_slice(head.unwrap_or_default());
        let Ok(message) = ReplicationMessage::parse(head) else { return };
        if let ReplicationMessage::Object { .. } = message
            && let Some(receiver) = self.member(context.receiver, totals)
        {
            receiver.objects_received += 1;
        }
        let Some(member) = self.member(context.sender, totals) else { return };
        let failed = match message {
            ReplicationMessage::Have(list) => {
                list.ranges.into_iter().any(|range| member.has.insert_range(range).is_err())
            }
            ReplicationMessage::Unhave(list) => {
                list.ranges.into_iter().any(|range| member.has.remove_range(range).is_err())
            }
            ReplicationMessage::Request(index) => member.wanted.insert(index).is_err(),
            ReplicationMessage::Object { .. } => {
                member.objects_sent += 1;
                false
            }
            ReplicationMessage::Deny(_) => {
                member.denied += 1;
                false
            }
            _ => false,
        };
        member.is_cut |= failed;
    }

    fn post_keys(&mut self, context: &Context, bytes: &[u8], totals: &mut Totals) {
        let (which, keys) = match PostingMessage::parse(Bytes::copy_from_slice(bytes)) {
            Ok(PostingMessage::Announce(keys)) => (0, keys),
            Ok(PostingMessage::Request(keys)) => (1, keys),
            _ => return,
        };
        for key in keys.keys() {
            if let Some(post) = self.post(key, context, totals) {
                post.counts[which] += 1;
            }
        }
    }

    fn post_value(&mut self, context: &Context, bytes: &[u8], totals: &mut Totals) {
        if let Some(post) = self.post(MessageId::of(bytes).key(), context, totals) {
            post.counts[2] += 1;
            post.len = bytes.len();
            if post.value.is_none() {
                post.value = message::amf(bytes).map(|value| format!("{value:.MAX_VALUE$}"));
            }
        }
        if let Some(member) = self.member(context.sender, totals) {
            member.posts_sent += 1;
        }
    }

    fn post(
        &mut self,
        key: PostKey,
        context: &Context,
        totals: &mut Totals,
    ) -> Option<&mut PostTrace> {
        match self.posts.entry(key) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(_) if totals.posts >= MAX_POSTS => None,
            Entry::Vacant(entry) => {
                totals.posts += 1;
                let (first, from) = (context.now, context.sender);
                Some(entry.insert(PostTrace { first, from, value: None, len: 0, counts: [0; 3] }))
            }
        }
    }

    /// Returns the key of the stream that is described.
    fn multicast_control(
        &mut self,
        context: &Context,
        bytes: &[u8],
        totals: &mut Totals,
    ) -> Option<[u8; 32]> {
        self.member(context.sender, totals)?;
        let message = MulticastControl::parse(&Bytes::copy_from_slice(bytes));
        let Ok(MulticastControl::Description(description)) = message else { return None };
        let StreamKey(key) = description.key();
        match self.streams.entry(key) {
            Entry::Occupied(_) => {}
            Entry::Vacant(_) if totals.streams >= MAX_STREAMS => return None,
            Entry::Vacant(entry) => {
                totals.streams += 1;
                entry.insert(StreamTrace {
                    name: description.name().chars().take(MAX_NAME).collect(),
                    from: context.sender,
                    first: context.now,
                    newest: 0,
                    fragments: 0,
                    bytes: 0,
                    end: None,
                });
            }
        }
        Some(key)
    }

    fn multicast_data(
        &mut self,
        context: &Context,
        bytes: &[u8],
        stream: Option<[u8; 32]>,
        totals: &mut Totals,
    ) {
        let Ok(message) = MulticastData::parse(&Bytes::copy_from_slice(bytes)) else { return };
        let stream = stream.and_then(|key| self.streams.get_mut(&key));
        match (message, stream) {
            (MulticastData::End(number), Some(stream)) => stream.end = Some(number),
            (MulticastData::Fragment(fragment), stream) => {
                if let Some(stream) = stream {
                    stream.newest = stream.newest.max(fragment.number());
                    stream.fragments += 1;
                    stream.bytes += bytes.len() as u64;
                }
                if let Some(member) = self.member(context.sender, totals) {
                    member.fragments_sent += 1;
                }
            }
            _ => {}
        }
    }
}
