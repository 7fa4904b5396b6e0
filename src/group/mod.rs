//! NetGroups, without sockets, clocks or random sources: the behavior of a member of a Flash Player
//! group (`protocol-notes/netgroup-membership.md`, `protocol-notes/object-replication.md`).
//!
//! [`Group`] is one group on one endpoint. Its owner moves sessions, flows and messages; the group
//! decides. Call an input, then drain [`Group::poll_action`] and [`Group::poll_event`] until both
//! return `None`, then ask [`Group::poll_timeout`] when [`Group::handle_timeout`] is next due.
//!
//! | file | subject |
//! | --- | --- |
//! | `mod` | [`Group`] itself |
//! | `feature` | what the capabilities have in common |
//! | `event` | [`GroupAction`], [`GroupEvent`] |
//! | `config` | [`GroupConfig`] |
//! | `membership/` | neighbors, known members, reports |
//! | `replication/` | object replication: sets, requesting, serving |
//! | [`groupspec`] | the groupspec string: build, parse, group ID, passwords |
//! | `address` | group addresses on the ring of 2^256 |
//!
//! Objects are opaque at this level: the encoded AMF value travels as bytes.

mod address;
mod config;
mod event;
mod feature;
pub mod groupspec;
mod membership;
mod replication;
mod rng;
#[cfg(test)]
mod tests;

pub use crate::flash::group_channel::GroupId;
pub use address::{GroupAddress, ParseGroupAddressError, RingDistance};
pub use config::GroupConfig;
pub use event::{GroupAction, GroupEvent};
pub use feature::FlowKind;
pub use groupspec::{GroupSpec, GroupSpecBuilder, GroupSpecError, IpMulticastAddress};
pub use membership::message::ReceiveMode;
pub use replication::{NeighborTrade, ReplicationLimits, ReplicationStats, ReplicationStrategy};

/// The messages of the group flows.
pub mod message {
    pub use super::membership::message::{
        Hello, MAX_ADDRESSES, MAX_REPORT, MembershipMessage, Proof, ReceiveMode, Record, Report,
    };
    pub use super::replication::message::{MAX_LIST_RANGES, RangeList, ReplicationMessage};
}

use crate::crypto::Fingerprint;
use crate::flash::group_channel::{JoinKey, ServerMessage};
use crate::range::{IndexSet, RangeError};
use crate::transport::{SessionId, Time};
use bytes::Bytes;
use membership::members::Members;
use membership::message::MembershipMessage;
use membership::session::{Link, Relation};
use membership::{tick, topology};
use replication::{Output, Replication};
use rng::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;
use thiserror::Error;

/// Bootstrap peers of a groupspec that are connected to at once; further ones when the topology
/// wants them. Groupspecs come from strangers too, and each peer is asked for at the server.
const MAX_BOOTSTRAP: usize = 16;

/// Why a call of the application was refused. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The group was closed.
    #[error("the group is closed")]
    Closed,
    /// The groupspec does not allow object replication.
    #[error("object replication is not enabled in the groupspec")]
    ReplicationDisabled,
    /// An index out of range.
    #[error(transparent)]
    Range(#[from] RangeError),
}

/// What to do with a `GR 1C` flow that began with a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloVerdict {
    /// Accept the flow; its further messages go to [`Group::on_message`].
    Accept,
    /// Reject the flow with this exception code; keep the session.
    Reject(u64),
}

/// What to do with another flow that is associated with one of the group's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenVerdict {
    /// Accept the flow; its messages go to [`Group::on_message`].
    Accept,
    /// Reject the flow with this exception code.
    Reject(u64),
}

/// A neighbour as it can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NeighborInfo {
    /// The session.
    pub session: SessionId,
    /// Its fingerprint: the peer ID.
    pub peer: Fingerprint,
    /// Its group address.
    pub address: GroupAddress,
    /// Where it is reached.
    pub far_address: SocketAddr,
    /// The round-trip time of the session, if known.
    pub rtt: Option<Duration>,
    /// Since when the relation exists.
    pub since: Time,
    /// Its receive mode, once told.
    pub receive_mode: Option<ReceiveMode>,
    /// Object replication with it.
    pub trade: NeighborTrade,
}

/// Counters of a group since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GroupStats {
    /// Neighbours now.
    pub neighbors: usize,
    /// Members known now, without this node.
    pub members: usize,
    /// Hellos that were refused: wrong proof, not for this node, or no place.
    pub hellos_rejected: u64,
    /// Membership messages that could not be read.
    pub malformed: u64,
    /// Object replication.
    pub replication: ReplicationStats,
}

/// One NetGroup on one endpoint: membership and object replication, without sockets.
///
/// Call any input, then drain [`poll_action`](Self::poll_action) and
/// [`poll_event`](Self::poll_event) until both are empty; carry out the actions in their order. Call
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is due.
///
/// The owner tells the group of every session to a peer (also of those that exist when the group is
/// made), finds the group of a `GR 1C` flow by its hello
/// ([`MembershipMessage::group_of_hello`]), and that of any other `GR` flow by the sending flow with
/// which it is associated in return.
pub struct Group {
    config: GroupConfig,
    id: GroupId,
    address: GroupAddress,
    links: BTreeMap<SessionId, Link>,
    members: Members,
    /// Members with whom this node has no more to do.
    shunned: VecDeque<Fingerprint>,
    random_member: u64,
    replication: Replication,
    actions: VecDeque<GroupAction>,
    events: VecDeque<GroupEvent>,
    rng: Rng,
    tick_at: Time,
    closed: bool,
    hellos_rejected: u64,
    malformed: u64,
}

impl Group {
    /// A group that has just been joined. `seed` is any number; it decides when and whom to ask.
    /// Up to 16 bootstrap peers of the groupspec are connected to at once.
    pub fn new(config: GroupConfig, now: Time, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let replication =
            Replication::new(config.near, config.replication.clone(), Rng::new(rng.next()));
        let mut group = Self {
            id: config.spec.group_id(),
            address: GroupAddress::of(&config.near),
            members: Members::new(config.max_members),
            links: BTreeMap::new(),
            shunned: VecDeque::new(),
            random_member: rng.next(),
            replication,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            rng,
            tick_at: now + tick::FIRST,
            closed: false,
            hellos_rejected: 0,
            malformed: 0,
            config,
        };
        for (number, peer) in group.config.spec.bootstrap_peers().into_iter().enumerate() {
            group.on_introduced(now, peer, number >= MAX_BOOTSTRAP);
        }
        group
    }

    /// The group's identity.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// This node's group address.
    pub fn address(&self) -> GroupAddress {
        self.address
    }

    /// The settings the group was made with.
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// The message with which to join at the server, on a flow with metadata
    /// [`SERVER_METADATA`](crate::flash::group_channel::SERVER_METADATA), associated with the control flow.
    pub fn join_message(&self) -> Bytes {
        ServerMessage::Join(self.join_key()).to_bytes()
    }

    /// The text form for version 1, as Flash Player 10.3 sends it, the hashed form for version 2.
    fn join_key(&self) -> JoinKey {
        let spec = &self.config.spec;
        match spec.version() {
            1 => JoinKey::CanonicalText(Bytes::copy_from_slice(spec.canonical_text().as_bytes())),
            _ => JoinKey::GroupId(spec.group_id()),
        }
    }

    /// The next thing to do. Drain after every input.
    #[must_use = "an action that is not carried out is lost"]
    pub fn poll_action(&mut self) -> Option<GroupAction> {
        self.actions.pop_front()
    }

    /// The next event for the application. Drain after every input.
    #[must_use = "an event that is not delivered is lost"]
    pub fn poll_event(&mut self) -> Option<GroupEvent> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` once closed.
    pub fn poll_timeout(&self) -> Option<Time> {
        let replication = self.replication.poll_timeout();
        (!self.closed).then(|| replication.map_or(self.tick_at, |at| at.min(self.tick_at)))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.closed {
            return;
        }
        if now >= self.tick_at {
            self.tick(now);
        }
        self.replication.handle_timeout(now);
        self.flush();
    }

    /// The server (or the application) names a member: `0B`, to be connected to at once, or with
    /// `hint` `1B`, to be connected to when the topology wants it.
    pub fn on_introduced(&mut self, now: Time, peer: Fingerprint, hint: bool) {
        if self.closed || peer == self.config.near {
            return;
        }
        self.members.introduce(now, peer);
        if !hint {
            self.connect(now, peer);
        }
    }

    /// The server has rejected the `GC` flow: it keeps no groups.
    pub fn on_server_rejected(&mut self) {
        if !self.closed {
            self.events.push_back(GroupEvent::ConnectRejected);
        }
    }

    /// A message of the server on its `GC` flow. Unknown ones are ignored.
    pub fn on_server_message(&mut self, now: Time, message: &Bytes) {
        match ServerMessage::parse(message) {
            Ok(ServerMessage::Connect(peer)) => self.on_introduced(now, peer, false),
            Ok(ServerMessage::Hint(peer)) => self.on_introduced(now, peer, true),
            Ok(_) => {}
            Err(_) => self.malformed += 1,
        }
    }

    /// The server that can introduce this member, told to others in reports.
    pub fn set_server_address(&mut self, server: Option<SocketAddr>) {
        self.config.server = server;
    }

    /// The round-trip time of a session.
    pub fn on_rtt(&mut self, session: SessionId, rtt: Duration) {
        if let Some(link) = self.links.get_mut(&session) {
            link.rtt = Some(rtt);
        }
    }

    /// A session has moved to another address.
    pub fn on_far_address(&mut self, session: SessionId, address: SocketAddr) {
        if let Some(link) = self.links.get_mut(&session) {
            link.far_address = address;
            self.members.meet(&link.peer, address);
        }
    }

    /// The neighbours.
    pub fn neighbors(&self) -> Vec<NeighborInfo> {
        let up = self.links.iter().filter(|(_, link)| link.is_neighbor());
        up.map(|(&session, link)| NeighborInfo {
            session,
            peer: link.peer,
            address: link.address,
            far_address: link.far_address,
            rtt: link.rtt,
            since: link.relation.as_ref().map_or(link.opened, |r| r.since),
            receive_mode: link.relation.as_ref().and_then(|r| r.mode),
            trade: self.replication.trade(session),
        })
        .collect()
    }

    /// How many members the group has, judged by the neighbours' places on the ring.
    pub fn estimated_member_count(&self) -> f64 {
        topology::estimated_member_count(&self.address, &self.neighbor_addresses(|_| true))
    }

    /// The part of the ring for which this node is responsible, from and to.
    pub fn local_coverage(&self) -> (GroupAddress, GroupAddress) {
        if self.config.receive_mode == ReceiveMode::Exact {
            return (self.address, self.address);
        }
        let nearest = |r: &Relation| r.mode == Some(ReceiveMode::Nearest);
        topology::local_coverage(&self.address, &self.neighbor_addresses(nearest))
    }

    /// Counters.
    pub fn stats(&self) -> GroupStats {
        GroupStats {
            neighbors: self.links.values().filter(|l| l.is_neighbor()).count(),
            members: self.members.len(),
            hellos_rejected: self.hellos_rejected,
            malformed: self.malformed,
            replication: self.replication.stats(),
        }
    }

    /// What this node has.
    pub fn have_objects(&self) -> &IndexSet {
        self.replication.have()
    }

    /// What this node wants and has not got.
    pub fn want_objects(&self) -> &IndexSet {
        self.replication.want()
    }

    /// Adds an inclusive range to the Have set, and takes it out of the Want set: a promise to answer
    /// requests for it. A reversed range does nothing.
    ///
    /// # Errors
    /// Like all calls on the sets: an index above 2^53, replication not enabled, or the group closed.
    pub fn add_have_objects(
        &mut self,
        _now: Time,
        range: RangeInclusive<u64>,
    ) -> Result<(), GroupError> {
        self.replicating()?;
        self.replication.add_have(range)?;
        self.flush();
        Ok(())
    }

    /// Takes an inclusive range out of the Have set.
    ///
    /// # Errors
    /// As [`add_have_objects`](Self::add_have_objects).
    pub fn remove_have_objects(
        &mut self,
        _now: Time,
        range: RangeInclusive<u64>,
    ) -> Result<(), GroupError> {
        self.replicating()?;
        self.replication.remove_have(range)?;
        self.flush();
        Ok(())
    }

    /// Adds an inclusive range to the Want set, and takes it out of the Have set. Fetching is automatic.
    ///
    /// # Errors
    /// As [`add_have_objects`](Self::add_have_objects).
    pub fn add_want_objects(
        &mut self,
        now: Time,
        range: RangeInclusive<u64>,
    ) -> Result<(), GroupError> {
        self.replicating()?;
        self.replication.add_want(now, range)?;
        self.flush();
        Ok(())
    }

    /// Takes an inclusive range out of the Want set. What has been requested may still arrive.
    ///
    /// # Errors
    /// As [`add_have_objects`](Self::add_have_objects).
    pub fn remove_want_objects(
        &mut self,
        _now: Time,
        range: RangeInclusive<u64>,
    ) -> Result<(), GroupError> {
        self.replicating()?;
        self.replication.remove_want(range)?;
        self.flush();
        Ok(())
    }

    /// Answers a [`ReplicationRequest`](GroupEvent::ReplicationRequest) with the encoded AMF value.
    /// `false` if there is no such request (any more): the neighbour is gone.
    pub fn write_requested_object(&mut self, now: Time, request_id: u32, value: Bytes) -> bool {
        let pending = self.replication.write_requested(now, request_id, value);
        self.flush();
        pending
    }

    /// Refuses a [`ReplicationRequest`](GroupEvent::ReplicationRequest). The neighbour may ask again.
    /// `false` if there is no such request (any more).
    pub fn deny_requested_object(&mut self, now: Time, request_id: u32) -> bool {
        let pending = self.replication.deny_requested(now, request_id);
        self.flush();
        pending
    }

    /// In which order to request what is wanted.
    pub fn set_replication_strategy(&mut self, now: Time, strategy: ReplicationStrategy) {
        self.replication.set_strategy(now, strategy);
        self.flush();
    }

    /// In which order what is wanted is requested.
    pub fn replication_strategy(&self) -> ReplicationStrategy {
        self.replication.strategy()
    }

    /// Changes the receive mode, and tells the neighbours.
    pub fn set_receive_mode(&mut self, mode: ReceiveMode) {
        if self.closed || std::mem::replace(&mut self.config.receive_mode, mode) == mode {
            return;
        }
        let accepted = |l: &Link| l.relation.as_ref().is_some_and(|r| r.far_flow.is_some());
        let links = self.links.iter().filter(|(_, l)| accepted(l));
        let sessions: Vec<_> = links.map(|(&session, _)| session).collect();
        for session in sessions {
            self.send_membership(session, &MembershipMessage::Mode(mode));
        }
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn replicating(&self) -> Result<(), GroupError> {
        match (self.closed, self.config.spec.object_replication_enabled()) {
            (true, _) => Err(GroupError::Closed),
            (false, false) => Err(GroupError::ReplicationDisabled),
            (false, true) => Ok(()),
        }
    }

    fn neighbor_addresses(&self, accept: impl Fn(&Relation) -> bool) -> Vec<GroupAddress> {
        let accepted = |l: &&Link| l.relation.as_ref().is_some_and(|r| r.up && accept(r));
        self.links.values().filter(accepted).map(|l| l.address).collect()
    }

    fn rtt_of(&self, peer: &Fingerprint) -> Option<Duration> {
        self.links.values().filter(|l| l.peer == *peer).find_map(|l| l.rtt)
    }

    /// Turns what replication wants into actions and events.
    fn flush(&mut self) {
        while let Some(output) = self.replication.poll_output() {
            match output {
                Output::OpenFlow(session) => self.open_flow(session, FlowKind::Replication),
                Output::Send(session, message) => {
                    let kind = FlowKind::Replication;
                    self.actions.push_back(GroupAction::Send { session, kind, message });
                }
                Output::Event(event) => self.events.push_back(event),
            }
        }
    }

    /// Opens one of our flows that return to the neighbour's `1C` flow.
    fn open_flow(&mut self, session: SessionId, kind: FlowKind) {
        let link = self.links.get_mut(&session);
        let Some(relation) = link.and_then(|l| l.relation.as_mut()) else { return };
        relation.near_flows.insert(kind);
        let association = relation.far_flow;
        self.actions.push_back(GroupAction::OpenFlow { session, kind, association });
    }

    fn send_membership(&mut self, session: SessionId, message: &MembershipMessage) {
        let (kind, message) = (FlowKind::Membership, message.to_bytes());
        self.actions.push_back(GroupAction::Send { session, kind, message });
    }
}
