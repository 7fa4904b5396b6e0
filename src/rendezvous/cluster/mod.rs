//! Several servers that are one: the workers of a process, each with an endpoint of its own, and the
//! workers of other machines.
//!
//! Each member knows its own clients and groups, and nobody else's. It asks the others by
//! [`Command`]s, which are owned data, so that they can go to another thread or another machine.
//! No member waits for an answer, and every command may be lost on the way: then an introduction
//! is missing, as when a packet is lost, and the client asks again. So a member that is slow or
//! gone costs the others nothing.
//!
//! Commands name times on the clock of the member that has them. The workers of a process share
//! one; on the way to another machine times are [ages](Command::encode).
//!
//! | command | to whom | and then |
//! | --- | --- | --- |
//! | [`LookUp`](Command::LookUp): a hello for a peer that is no client here | whoever has the peer | [`Located`](Command::Located), and then perhaps [`Forward`](Command::Forward) |
//! | [`Opened`](Command::Opened): a client has come | whoever has an older session of it | closes that one |
//! | [`Seek`](Command::Seek): a client has joined a group, or has met nobody in it yet | whoever has members | [`Candidates`](Command::Candidates), and the sender chooses among them |
//! | [`Left`](Command::Left): a client has left a group | whoever has members | counts |
//! | [`Probe`](Command::Probe), [`Ask`](Command::Ask): is a client alive? | the one that has it | pings it; [`Seen`](Command::Seen) |
//! | [`Relay`](Command::Relay): a short message to a client | whoever has the client | [`Relayed`](Command::Relayed) |
//! | [`Claim`](Command::Claim): a client wants to publish a stream | all others | [`Claimed`](Command::Claimed); without objection it is published |
//! | [`Published`](Command::Published): streams are published, repeated every two seconds | all others | those with players [`Subscribe`](Command::Subscribe), and get [`Feed`](Command::Feed)s until they [`Unsubscribe`](Command::Unsubscribe) or it is [`Unpublished`](Command::Unpublished) |
//! | [`Parcels`](Command::Parcels): what clients ask of shared objects that the receiver keeps, and what it answers | one member | [`Receipt`](Command::Receipt); without one they are sent again |
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | commands, their queue, and who gets them |
//! | `codec.rs` | commands as bytes |
//! | `introduce.rs` | introductions to clients of other members |
//! | `overrides.rs` | one session for a certificate |
//! | `newcomers.rs` | new members of groups, and the group's members elsewhere |
//! | `relay.rs` | `relay` to clients of other members |
//! | `link.rs` | parcels about shared objects, of which none is lost |
//!
//! `streams/across.rs` has the part of streams, `shared_objects/across.rs` that of shared objects.

mod codec;
mod introduce;
mod link;
mod newcomers;
mod overrides;
mod relay;

pub use codec::MAX_ENCODED;
pub(super) use link::{Confirmed, Link};
pub(super) use newcomers::Phase;

use super::Rendezvous;
use crate::amf::Value;
use crate::crypto::Fingerprint;
use crate::flash::group_channel::GroupId;
use crate::flash::shared_object::SharedObjectMessage;
use crate::transport::{FlowId, IntroductionRequest, SessionId, Stray, Time};
use crate::wire::Address;
use bytes::Bytes;
use relay::PendingRelays;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Commands that wait to be taken; further ones are lost.
const MAX_OUTBOX: usize = 65_536;

/// Members that one member knows at most; further ones are ignored.
pub const MAX_MEMBERS: usize = 4096;

/// A member of the cluster: a worker of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId {
    /// The server, by a number that it has drawn at its start: after a restart it is another member.
    /// 0 if no other server knows it.
    pub server: u32,
    /// The number of the worker in its server, from 0.
    pub worker: u16,
}

impl MemberId {
    /// A worker of a server that no other server knows.
    pub const fn worker(number: u16) -> Self {
        Self { server: 0, worker: number }
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{}", self.server, self.worker)
    }
}

/// A client of some member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    /// The member.
    pub member: MemberId,
    /// The client's session with it.
    pub session: SessionId,
}

/// Who gets a command. A carrier that does not know who has a peer or members of a group gives it
/// to every other member: those whom it does not concern ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// One member.
    Member(MemberId),
    /// Members with a session of this peer.
    Peer(Fingerprint),
    /// Members with clients in this group.
    Group(GroupId),
    /// All other members.
    Others,
}

/// A membership of a client: its session and its `GC` flow, with the member that asks.
pub type Membership = (SessionId, FlowId);

/// What one member of a cluster wants another to do; see the module's description.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Command {
    /// A hello has come for a peer that is no client of the sender.
    LookUp(Box<IntroductionRequest>),
    /// The peer of a [`LookUp`](Self::LookUp) is a client of the sender.
    Located(Box<Located>),
    /// Forward a hello to a client of the receiver.
    Forward {
        /// The client's session with the receiver.
        session: SessionId,
        /// The hello.
        request: Box<IntroductionRequest>,
        /// It comes from the address of a client of the sender.
        by_client: bool,
    },
    /// A client has opened a session with the sender.
    Opened(Opened),
    /// A client of the sender wants to meet members of a group.
    Seek(Box<Seek>),
    /// Members of the group of a [`Seek`](Self::Seek).
    Candidates(Box<Candidates>),
    /// A client of the sender has left a group.
    Left {
        /// The group.
        group: GroupId,
        /// Members of the group that are clients of the sender now.
        members: usize,
    },
    /// Ping these clients, unless they are known to be alive.
    Probe {
        /// Their sessions with the receiver.
        sessions: Vec<SessionId>,
    },
    /// When was something last received from these clients?
    Ask {
        /// For whom.
        newcomer: Membership,
        /// Their sessions with the receiver.
        sessions: Vec<SessionId>,
    },
    /// The answer to [`Ask`](Self::Ask).
    Seen {
        /// For whom.
        newcomer: Membership,
        /// The clients that are still there, each with the time of its last packet.
        seen: Vec<(SessionId, Time)>,
    },
    /// A call of `relay` for a peer that is no client of the sender.
    Relay(Box<Relay>),
    /// The outcome of a [`Relay`](Self::Relay).
    Relayed {
        /// The number that the sender of the call gave it.
        number: u64,
        /// Why the call was refused, in words for the caller.
        outcome: Result<(), String>,
    },
    /// A client of the sender wants to publish a stream.
    Claim {
        /// The stream.
        stream: StreamName,
        /// What the publication would be.
        publication: PublicationId,
    },
    /// The answer to [`Claim`](Self::Claim).
    Claimed {
        /// The stream.
        stream: StreamName,
        /// The publication that was asked for.
        publication: PublicationId,
        /// A client of the sender publishes the stream, or was first to ask.
        is_taken: bool,
        /// Clients of the sender that wait for the stream.
        players: usize,
    },
    /// Clients of the sender publish these streams.
    Published(Vec<(StreamName, PublicationId)>),
    /// Clients of the sender play a stream, or wait for it.
    Subscribe {
        /// The stream.
        stream: StreamName,
        /// The publication that the sender gets already, and the bytes that have arrived of it.
        receiving: Option<(PublicationId, u64)>,
        /// How many clients.
        players: usize,
    },
    /// No client of the sender plays a stream any more.
    Unsubscribe {
        /// The stream.
        stream: StreamName,
        /// The publication.
        publication: PublicationId,
    },
    /// Messages of a stream.
    Feed(Box<Feed>),
    /// The sender has received so much of a stream.
    Received {
        /// The stream.
        stream: StreamName,
        /// The publication.
        publication: PublicationId,
        /// Bytes that have arrived since its beginning, or were missed.
        bytes: u64,
    },
    /// A client of the sender publishes a stream no longer.
    Unpublished {
        /// The stream.
        stream: StreamName,
        /// The publication.
        publication: PublicationId,
    },
    /// What two members tell each other about shared objects, in order.
    Parcels {
        /// Requests and answers have numbers of their own.
        lane: Lane,
        /// A higher one than before: what was not received of the lower ones is lost.
        epoch: u64,
        /// The number of the first parcel.
        first: u64,
        /// The parcels.
        parcels: Vec<Parcel>,
    },
    /// The answer to [`Parcels`](Self::Parcels).
    Receipt {
        /// Which of both.
        lane: Lane,
        /// The epoch.
        epoch: u64,
        /// All parcels with lower numbers than this have arrived.
        next: u64,
    },
}

impl Command {
    /// Bytes of memory that it takes, roughly and rather too many.
    pub fn weight(&self) -> usize {
        const FIXED: usize = 256;
        FIXED
            + match self {
                Self::LookUp(request) | Self::Forward { request, .. } => weight_of(request),
                Self::Located(located) => {
                    weight_of(&located.request) + 32 * located.addresses.len()
                }
                Self::Seek(seek) => 8 * seek.except.len(),
                Self::Candidates(found) => 64 * found.candidates.len(),
                Self::Probe { sessions } | Self::Ask { sessions, .. } => 4 * sessions.len(),
                Self::Seen { seen, .. } => 16 * seen.len(),
                // Values take a multiple of their encoded bytes, which are bounded.
                Self::Relay(_) => 32 << 10,
                Self::Claim { stream, .. }
                | Self::Claimed { stream, .. }
                | Self::Subscribe { stream, .. }
                | Self::Unsubscribe { stream, .. }
                | Self::Received { stream, .. }
                | Self::Unpublished { stream, .. } => stream.len(),
                Self::Published(streams) => {
                    streams.iter().map(|(stream, _)| stream.len() + FIXED).sum()
                }
                Self::Feed(feed) => {
                    let messages = feed.messages.iter().map(|message| message.len() + 64);
                    feed.stream.len() + messages.sum::<usize>()
                }
                Self::Parcels { parcels, .. } => parcels.iter().map(Parcel::weight).sum(),
                Self::Opened(_)
                | Self::Left { .. }
                | Self::Relayed { .. }
                | Self::Receipt { .. } => 0,
            }
    }
}

fn weight_of(request: &IntroductionRequest) -> usize {
    request.epd.as_bytes().len() + request.tag.len()
}

/// See [`Command::Located`].
#[derive(Debug, Clone)]
pub struct Located {
    /// The hello.
    pub request: IntroductionRequest,
    /// The client's session with the sender.
    pub session: SessionId,
    /// The client's addresses for the asker.
    pub addresses: Vec<Address>,
    /// Bytes of the client's certificate.
    pub certificate: usize,
}

/// See [`Command::Opened`].
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// The client.
    pub peer: Fingerprint,
    /// When it has opened the session.
    pub at: Time,
    /// The client's address.
    pub ip: IpAddr,
    /// The certificate has a static key, so that nobody else can have opened the session.
    pub proven: bool,
}

/// See [`Command::Seek`].
#[derive(Debug, Clone)]
pub struct Seek {
    /// The group.
    pub group: GroupId,
    /// The client, to be named in the answer.
    pub newcomer: Membership,
    /// Members that are wanted.
    pub count: usize,
    /// Clients of the receiver to which the newcomer was introduced already.
    pub except: Vec<ClientId>,
    /// Members of the group that are clients of the sender.
    pub members: usize,
}

/// See [`Command::Candidates`].
#[derive(Debug, Clone)]
pub struct Candidates {
    /// The group.
    pub group: GroupId,
    /// The client that sought them.
    pub newcomer: Membership,
    /// The newest members first, then others from all over the group.
    pub candidates: Vec<Candidate>,
    /// Members of the group that are clients of the sender.
    pub members: usize,
}

/// A member of a group to which a newcomer may be introduced.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Its peer ID.
    pub peer: Fingerprint,
    /// Its session.
    pub session: SessionId,
    /// When it has joined.
    pub joined: Time,
    /// When something was last received from it.
    pub seen: Time,
}

/// See [`Command::Relay`].
#[derive(Debug, Clone)]
pub struct Relay {
    /// Names the call in the answer.
    pub number: u64,
    /// The caller.
    pub from: Fingerprint,
    /// For whom it is.
    pub to: Fingerprint,
    /// The arguments behind the peer ID.
    pub args: Vec<Value>,
}

/// A stream's name and its application.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName {
    /// The application.
    pub app: Arc<str>,
    /// The name there.
    pub name: Arc<str>,
}

impl StreamName {
    fn len(&self) -> usize {
        self.app.len() + self.name.len()
    }
}

/// One publication of a stream, from its beginning to its end. Of two that are there at the same time
/// the lower one stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicationId {
    /// Who has the client.
    pub member: MemberId,
    /// Which one of this member.
    pub number: u64,
}

/// See [`Command::Feed`].
#[derive(Debug, Clone)]
pub struct Feed {
    /// The stream.
    pub stream: StreamName,
    /// The publication.
    pub publication: PublicationId,
    /// Bytes of messages that were sent to the receiver before these.
    pub offset: u64,
    /// The first that the receiver gets of the publication, with what those need who come late.
    pub is_start: bool,
    /// Frames are missing behind these messages: video goes on at a key frame.
    pub is_cut: bool,
    /// RTMP messages with their headers.
    pub messages: Vec<Bytes>,
}

/// The two directions in which parcels go between a member and one that keeps shared objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// To the one that keeps objects.
    Requests,
    /// From it.
    Deliveries,
}

/// See [`Command::Parcels`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Parcel {
    /// A client of the sender asks for something.
    Request {
        /// The application.
        app: Arc<str>,
        /// The client's session with the sender.
        session: SessionId,
        /// What it asks for.
        message: SharedObjectMessage,
    },
    /// Clients of the receiver are to be sent something.
    Deliver {
        /// The application.
        app: Arc<str>,
        /// Their sessions with the receiver. There may be none: the receiver itself is to know it.
        sessions: Vec<SessionId>,
        /// What they are to be sent.
        message: SharedObjectMessage,
    },
    /// What the sender knows of an object that the receiver keeps from now on.
    Offer(Offer),
    /// All objects of the receiver that clients of the sender use were named since something was lost.
    Complete,
}

/// See [`Parcel::Offer`].
#[derive(Debug, Clone)]
pub struct Offer {
    /// The application.
    pub app: Arc<str>,
    /// The name of the object there.
    pub name: Arc<str>,
    /// It outlives those who use it.
    pub persistent: bool,
    /// Its version.
    pub version: u32,
    /// The slots and their values in AMF.
    pub slots: Vec<(Arc<str>, Bytes)>,
}

impl Parcel {
    /// Bytes of memory that it takes, roughly and rather too many.
    fn weight(&self) -> usize {
        const FIXED: usize = 192;
        let of = |message: &SharedObjectMessage| -> usize {
            let events = message.events.iter().map(|event| event.weight() + 96);
            message.name.len() + events.sum::<usize>()
        };
        FIXED
            + match self {
                Self::Request { app, message, .. } => app.len() + of(message),
                Self::Deliver { app, sessions, message } => {
                    app.len() + 4 * sessions.len() + of(message)
                }
                Self::Offer(Offer { app, name, slots, .. }) => {
                    let slots = slots.iter().map(|(slot, value)| slot.len() + value.len() + 96);
                    app.len() + name.len() + slots.sum::<usize>()
                }
                Self::Complete => 0,
            }
    }
}

/// A server's place among others.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) member: MemberId,
    /// The other members.
    pub(super) others: BTreeSet<MemberId>,
    outbox: VecDeque<(To, Command)>,
    /// Members of groups that are clients of others, for groups with members here.
    elsewhere: HashMap<GroupId, BTreeMap<MemberId, usize>>,
    relays: PendingRelays,
    /// Hellos for which others were asked, and those for which somebody had the peer.
    looked_up: u64,
    located: u64,
    /// Commands that were lost.
    pub(super) lost: u64,
}

impl Cluster {
    pub(super) fn new(member: MemberId, others: BTreeSet<MemberId>) -> Self {
        Self {
            member,
            others,
            outbox: VecDeque::new(),
            elsewhere: HashMap::new(),
            relays: PendingRelays::default(),
            looked_up: 0,
            located: 0,
            lost: 0,
        }
    }

    pub(super) fn send(&mut self, to: To, command: Command) {
        if self.outbox.len() < MAX_OUTBOX {
            self.outbox.push_back((to, command));
        } else {
            self.lost += 1;
        }
    }

    /// Hellos for peers that no member had as a client, so far as is known.
    pub(super) fn not_located(&self) -> u64 {
        self.looked_up.saturating_sub(self.located)
    }

    /// Members of a group that are clients of others.
    fn elsewhere(&self, group: GroupId) -> usize {
        self.elsewhere.get(&group).map_or(0, |members| members.values().sum())
    }

    /// True if a worker of this server with a lower number than this one has members of the group,
    /// and counts it.
    pub(super) fn counts_elsewhere(&self, group: GroupId) -> bool {
        let lower = MemberId { worker: 0, ..self.member }..self.member;
        self.elsewhere.get(&group).is_some_and(|members| members.range(lower).next().is_some())
    }

    fn note_members(&mut self, group: GroupId, member: MemberId, count: usize) {
        let members = self.elsewhere.entry(group).or_default();
        match count {
            0 => members.remove(&member),
            count => members.insert(member, count),
        };
        if members.is_empty() {
            self.elsewhere.remove(&group);
        }
    }
}

impl Rendezvous {
    /// Gives the server a place among servers on other machines, before it has any client or shared
    /// object. `server` is
    /// the number that all its workers have in common.
    pub fn join_cluster(&mut self, server: u32) {
        let cluster = self.cluster.take();
        let worker = cluster.as_ref().map_or(0, |cluster| cluster.member.worker);
        let others = cluster.into_iter().flat_map(|cluster| cluster.others);
        let others = others.map(|other| MemberId { server, ..other }).collect();
        self.cluster = Some(Cluster::new(MemberId { server, worker }, others));
    }

    /// There is one more member. Commands of others than the known ones are ignored.
    pub fn member_joined(&mut self, now: Time, member: MemberId) {
        if let Some(cluster) = &mut self.cluster
            && member != cluster.member
            && cluster.others.len() < MAX_MEMBERS
            && cluster.others.insert(member)
        {
            self.rehome_objects(now, None);
        }
    }

    /// A member is gone, with all its clients. The drain rule of a machine holds.
    pub fn member_gone(&mut self, now: Time, member: MemberId) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.others.remove(&member) {
            cluster.elsewhere.retain(|_, members| {
                members.remove(&member);
                !members.is_empty()
            });
            self.forget_streams_of(now, member);
            self.rehome_objects(now, Some(member));
            self.drain_endpoint(now);
        }
    }

    /// From now on, newcomers are sent to other servers at these addresses; with none they are served
    /// here ([`Endpoint::redirect_newcomers`](crate::transport::Endpoint::redirect_newcomers)).
    pub fn redirect_newcomers(&mut self, addresses: Vec<SocketAddr>) {
        self.endpoint.redirect_newcomers(addresses);
    }

    /// The next command for other members; to be read like events.
    #[must_use]
    pub fn poll_command(&mut self) -> Option<(To, Command)> {
        self.cluster.as_mut()?.outbox.pop_front()
    }

    /// The next datagrams that belong to another worker; to be read like events.
    #[must_use]
    pub fn poll_stray(&mut self) -> Option<Stray> {
        self.endpoint.poll_stray()
    }

    /// A command of another member has come. The drain rule of a machine holds.
    pub fn handle_command(&mut self, now: Time, from: MemberId, command: Command) {
        let is_known = self.cluster.as_ref().is_some_and(|cluster| cluster.others.contains(&from));
        if !is_known || self.stopping {
            return;
        }
        match command {
            Command::LookUp(request) => self.locate(from, *request),
            Command::Located(located) => self.on_located(now, from, *located),
            Command::Forward { session, request, by_client } => {
                self.forward_for(now, session, &request, by_client);
            }
            Command::Opened(opened) => self.on_opened_elsewhere(now, from, &opened),
            Command::Seek(seek) => self.on_seek(now, from, &seek),
            Command::Candidates(found) => self.on_candidates(now, from, *found),
            Command::Left { group, members } => self.on_left_elsewhere(from, group, members),
            Command::Probe { sessions } => {
                sessions.into_iter().for_each(|session| self.probe(now, session));
            }
            Command::Ask { newcomer, sessions } => self.on_ask(from, newcomer, &sessions),
            Command::Seen { newcomer, seen } => self.on_seen(from, newcomer, &seen),
            Command::Relay(relay) => self.on_relay(now, from, *relay),
            Command::Relayed { number, outcome } => self.on_relayed(now, number, outcome),
            Command::Claim { stream, publication } => {
                self.on_claim(now, from, stream, publication);
            }
            Command::Claimed { stream, publication, is_taken, players } => {
                self.on_claimed(now, from, &stream, publication, (is_taken, players));
            }
            Command::Published(streams) => self.on_published(now, from, streams),
            Command::Subscribe { stream, receiving, players } => {
                self.on_subscribe(now, from, stream, receiving, players);
            }
            Command::Unsubscribe { stream, publication } => {
                self.on_unsubscribe(from, &stream, publication);
            }
            Command::Feed(feed) => self.on_feed(now, from, &feed),
            Command::Received { stream, publication, bytes } => {
                if let Some(streams) = &mut self.streams {
                    streams.note_received(from, &stream, publication, bytes);
                }
            }
            Command::Unpublished { stream, publication } => {
                self.end_of_publication(now, &stream, publication);
            }
            Command::Parcels { lane, epoch, first, parcels } => {
                self.on_parcels(now, from, lane, (epoch, first, parcels));
            }
            Command::Receipt { lane, epoch, next } => {
                self.on_receipt(now, from, lane, (epoch, next));
            }
        }
        self.drain_endpoint(now);
    }

    /// Asks other members, if there are any.
    pub(super) fn tell(&mut self, to: To, command: Command) {
        if let Some(cluster) = &mut self.cluster {
            cluster.send(to, command);
        }
    }

    /// A client of this member.
    pub(super) fn own(&self, session: SessionId) -> ClientId {
        let member = self.cluster.as_ref().map_or(MemberId::worker(0), |cluster| cluster.member);
        ClientId { member, session }
    }

    /// Members of a group, wherever they are.
    pub(super) fn members_everywhere(&self, group: GroupId) -> usize {
        let elsewhere = self.cluster.as_ref().map_or(0, |cluster| cluster.elsewhere(group));
        self.groups.count(group) + elsewhere
    }
}
