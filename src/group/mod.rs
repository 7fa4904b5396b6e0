//! NetGroups, without sockets, clocks or random sources: the behavior of a member of a Flash Player
//! group (`protocol-notes/netgroup-membership.md`, `protocol-notes/object-replication.md`).
//!
//! [`Group`] is one group on one endpoint. Its owner carries sessions, flows and messages; the
//! group makes the decisions. Call an input, then drain [`Group::poll_action`] and
//! [`Group::poll_event`] until both return `None`, then ask [`Group::poll_timeout`] when
//! [`Group::handle_timeout`] is next due.
//!
//! | file | subject |
//! | --- | --- |
//! | `mod` | [`Group`]: the switchboard between its owner and the capabilities |
//! | `feature` | the interface that the capabilities share |
//! | `event` | [`GroupAction`], [`GroupEvent`] |
//! | `config` | [`GroupConfig`] |
//! | `membership/` | neighbors, known members, reports |
//! | `replication/` | object replication: sets, requesting, serving |
//! | [`groupspec`] | the groupspec string: build, parse, group ID, passwords |
//! | `address` | group addresses on the ring of 2^256 |
//!
//! Objects are opaque at this level: the encoded AMF value is carried as bytes.
//!
//! # Capabilities
//!
//! Membership decides which peers are neighbors and which flows are accepted. Every other
//! capability is a `Feature`: a sans-IO state machine that is informed of neighbors, receives the
//! messages of its flows, and requests flows, messages and events by one output type. To add one:
//!
//! 1. a folder like `replication/`: `message` (the wire format), the state and the inputs in
//!    `mod.rs` and further files, `access` (the calls of the application), and the implementation of
//!    `Feature`, which also names the kinds of its flows;
//! 2. in this file, a field of [`Group`], and its entry in `Group::features` and `features_mut`.
//!
//! Nothing else has to change; its events are added to [`GroupEvent`].

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
pub use replication::{
    NeighborTrade, Replication, ReplicationLimits, ReplicationMut, ReplicationStats,
    ReplicationStrategy,
};

/// The messages of the group flows.
pub mod message {
    pub use super::membership::message::{
        Hello, MAX_ADDRESSES, MAX_REPORT, MembershipMessage, Proof, ReceiveMode, Record, Report,
    };
    pub use super::replication::message::{MAX_LIST_RANGES, RangeList, ReplicationMessage};
}

use crate::crypto::Fingerprint;
use crate::flash::group_channel::{JoinKey, ServerMessage};
use crate::range::RangeError;
use crate::transport::{
    FlowAction, FlowId, FlowInput, FlowOptions, FlowToken, MessageOptions, SessionId, Time,
};
use bytes::Bytes;
use feature::Feature;
use membership::{End, Membership, PeerSession};
use rng::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// Why a call of the application was refused. The call had no effect.
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

/// The decision on a `GR 1C` flow that began with a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloVerdict {
    /// Accept the flow; its further messages go to [`Group::on_message`].
    Accept,
    /// Reject the flow with this exception code; keep the session.
    Reject(u64),
}

/// The decision on another flow, associated with one of the group's flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenVerdict {
    /// Accept the flow; its messages go to [`Group::on_message`].
    Accept,
    /// Reject the flow with this exception code.
    Reject(u64),
}

/// A connected neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NeighborInfo {
    /// The session.
    pub session: SessionId,
    /// Its fingerprint: the peer ID.
    pub peer: Fingerprint,
    /// Its group address.
    pub address: GroupAddress,
    /// The far address of the session.
    pub far_address: SocketAddr,
    /// The round-trip time of the session, if known.
    pub rtt: Option<Duration>,
    /// The time at which it became a neighbor, connected or not yet.
    pub since: Time,
    /// Its receive mode, once announced.
    pub receive_mode: Option<ReceiveMode>,
    /// Object replication with it.
    pub trade: NeighborTrade,
}

/// Counters of a group since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GroupStats {
    /// Neighbors now.
    pub neighbors: usize,
    /// Members known now, excluding this node.
    pub members: usize,
    /// Rejected hellos: wrong proof, not for this node, or too many neighbors.
    pub hellos_rejected: u64,
    /// Membership messages that could not be parsed.
    pub malformed: u64,
    /// Object replication.
    pub replication: ReplicationStats,
}

/// This end's flows to one neighbor.
#[derive(Debug, Default)]
struct NearFlows {
    open: BTreeMap<FlowKind, FlowToken>,
    /// The neighbor's membership flow, with which those of the capabilities are associated.
    association: Option<FlowId>,
}

/// One NetGroup on one endpoint: membership and its other capabilities, without sockets.
///
/// Call any input, then drain [`poll_action`](Self::poll_action) and
/// [`poll_event`](Self::poll_event) until both are empty; carry out the actions in their order. Call
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is due.
///
/// The owner reports every session to a peer (also those that exist when the group is made), finds
/// the group of a `GR 1C` flow by its hello
/// ([`MembershipMessage::group_of_hello`](message::MembershipMessage::group_of_hello)), and that of
/// any other `GR` flow by the sending flow with which it is associated in return.
pub struct Group {
    membership: Membership,
    replication: Replication,
    near_flows: BTreeMap<SessionId, NearFlows>,
    /// The session and kind of each of this end's flows.
    tokens: BTreeMap<FlowToken, (SessionId, FlowKind)>,
    next_token: u32,
    actions: VecDeque<GroupAction>,
    events: VecDeque<GroupEvent>,
    closed: bool,
}

impl Group {
    /// A group that was just joined. `seed` is any number; it seeds the random choice of members
    /// and times. The group connects to up to 16 bootstrap peers of the groupspec at once.
    pub fn new(config: GroupConfig, now: Time, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let replication = Replication::new(&config, Rng::new(rng.next()));
        let mut group = Self {
            membership: Membership::new(config, now, rng),
            replication,
            near_flows: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_token: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            closed: false,
        };
        group.route(now);
        group
    }

    /// Every capability besides membership.
    fn features(&self) -> [&dyn Feature; 1] {
        [&self.replication]
    }

    /// Every capability besides membership, for calling inputs.
    fn features_mut(&mut self) -> [&mut dyn Feature; 1] {
        [&mut self.replication]
    }

    /// The group's identity.
    pub fn id(&self) -> GroupId {
        self.membership.id()
    }

    /// This node's group address.
    pub fn address(&self) -> GroupAddress {
        self.membership.address()
    }

    /// The settings with which the group was made.
    pub fn config(&self) -> &GroupConfig {
        self.membership.config()
    }

    /// The message that joins the group at the server, to be sent on a flow with metadata
    /// [`SERVER_METADATA`](crate::flash::group_channel::SERVER_METADATA) that is associated with
    /// the control flow: the text form for version 1, as Flash Player 10.3 sends it, the hashed
    /// form for version 2.
    pub fn join_message(&self) -> Bytes {
        let spec = &self.config().spec;
        let key = match spec.version() {
            1 => JoinKey::CanonicalText(Bytes::copy_from_slice(spec.canonical_text().as_bytes())),
            _ => JoinKey::GroupId(spec.group_id()),
        };
        ServerMessage::Join(key).to_bytes()
    }

    /// The next action. Drain after every input.
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
        let features = self.features().into_iter().filter_map(|feature| feature.poll_timeout());
        let next = features.fold(self.membership.poll_timeout(), Time::min);
        (!self.closed).then_some(next)
    }

    /// Handles whatever is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.closed {
            return;
        }
        self.membership.handle_timeout(now);
        self.route(now);
        self.features_mut().into_iter().for_each(|feature| feature.handle_timeout(now));
        self.route(now);
    }

    /// The server or the application names a member: `0B`, to connect to at once, or, with `hint`,
    /// `1B`, to connect to when the topology calls for it.
    pub fn on_introduced(&mut self, now: Time, peer: Fingerprint, hint: bool) {
        if !self.closed {
            self.membership.on_introduced(now, peer, hint);
            self.route(now);
        }
    }

    /// The server has rejected the `GC` flow: it does not keep groups.
    pub fn on_server_rejected(&mut self) {
        if !self.closed {
            self.events.push_back(GroupEvent::ConnectRejected);
        }
    }

    /// A message from the server on its `GC` flow. Unknown messages are ignored.
    pub fn on_server_message(&mut self, now: Time, message: &Bytes) {
        if !self.closed {
            self.membership.on_server_message(now, message);
            self.route(now);
        }
    }

    /// Sets the server that can introduce this member; its address is sent to others in reports.
    pub fn set_server_address(&mut self, server: Option<SocketAddr>) {
        self.membership.set_server_address(server);
    }

    /// A session to a peer is open, or existed when the group was made. The nonces are those of
    /// RFC 7425 §4.6.5. If this end opened the session to a member of the group, the hello is sent
    /// now.
    #[allow(clippy::too_many_arguments)]
    pub fn on_session_opened(
        &mut self,
        now: Time,
        session: SessionId,
        peer: Fingerprint,
        initiator: bool,
        near_nonce: [u8; 32],
        far_nonce: [u8; 32],
        far_address: SocketAddr,
    ) {
        if self.closed {
            return;
        }
        let opened = PeerSession::new(now, peer, initiator, near_nonce, far_nonce, far_address);
        self.membership.on_session_opened(now, session, opened);
        self.route(now);
    }

    /// The attempt to connect to a member has failed. It is repeated at a later tick.
    pub fn on_connect_failed(&mut self, _now: Time, peer: Fingerprint) {
        self.membership.on_connect_failed(peer);
    }

    /// A session is closed.
    pub fn on_session_closed(&mut self, now: Time, session: SessionId) {
        self.membership.on_session_closed(now, session);
        self.route(now);
    }

    /// The round-trip time of a session.
    pub fn on_rtt(&mut self, session: SessionId, rtt: Duration) {
        self.membership.on_rtt(session, rtt);
    }

    /// A session has moved to another address.
    pub fn on_far_address(&mut self, session: SessionId, address: SocketAddr) {
        self.membership.on_far_address(session, address);
    }

    /// The first message of a `GR 1C` flow, which is a hello for this group.
    pub fn on_hello(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        message: &Bytes,
    ) -> HelloVerdict {
        let verdict = self.membership.on_hello(now, session, flow, message);
        self.route(now);
        verdict
    }

    /// A peer has opened a flow other than `GR 1C`, associated in return with one of this group's
    /// sending flows in that session.
    ///
    /// A player drops a neighbor that rejects its `15`, `18`, `19` or `1D` flow, so these are
    /// accepted whatever the groupspec allows.
    pub fn on_flow_opened(
        &mut self,
        _now: Time,
        session: SessionId,
        flow: FlowId,
        kind: FlowKind,
        associated: FlowToken,
    ) -> OpenVerdict {
        let Some(&(_, associated)) = self.tokens.get(&associated).filter(|of| of.0 == session)
        else {
            return OpenVerdict::Reject(0);
        };
        self.membership.on_flow_opened(session, flow, kind, associated)
    }

    /// A message on a flow that was accepted.
    pub fn on_message(&mut self, now: Time, session: SessionId, flow: FlowId, message: Bytes) {
        self.membership.on_message(now, session, flow, message);
        self.route(now);
    }

    /// A peer has finished one of its flows. The end of its `15`, `18` or `19` flow ends the
    /// neighbor, and its `1C` flow is then rejected, as the player does.
    pub fn on_flow_finished(&mut self, now: Time, session: SessionId, flow: FlowId) {
        self.membership.on_flow_finished(now, session, flow);
        self.route(now);
    }

    /// An input to one of this group's sending flows.
    pub fn on_flow_input(&mut self, now: Time, _session: SessionId, input: FlowInput) {
        match input {
            FlowInput::Rejected { token, .. } => self.on_flow_rejected(now, token),
            FlowInput::Blocked { token } => self.on_flow_blocked(now, token, true),
            FlowInput::Writable { token } => self.on_flow_blocked(now, token, false),
            // Every message is sent reliably.
            _ => {}
        }
    }

    fn on_flow_rejected(&mut self, now: Time, token: FlowToken) {
        let Some((session, kind)) = self.tokens.remove(&token) else { return };
        if let Some(flows) = self.near_flows.get_mut(&session) {
            flows.open.remove(&kind);
        }
        if kind.must_be_accepted() {
            self.membership.end_neighbor(now, session, End::Neighbor);
            self.route(now);
        }
    }

    fn on_flow_blocked(&mut self, now: Time, token: FlowToken, is_blocked: bool) {
        let Some(&(session, kind)) = self.tokens.get(&token) else { return };
        for feature in self.features_mut().into_iter().filter(|feature| feature.carries(kind)) {
            feature.on_flow_blocked(now, session, kind, is_blocked);
        }
        self.route(now);
    }

    /// Changes the receive mode, and announces it to the neighbors.
    pub fn set_receive_mode(&mut self, now: Time, mode: ReceiveMode) {
        if !self.closed {
            self.membership.set_receive_mode(mode);
            self.route(now);
        }
    }

    /// Ends every neighbor that is this member, rejects its hellos, and does not connect to it
    /// again. Beyond 256 blocked members, the oldest is unblocked.
    pub fn block(&mut self, now: Time, peer: Fingerprint) {
        self.membership.block(now, peer);
        self.route(now);
    }

    /// Leaves the group: every flow is finished, in the order that lets players continue at once,
    /// and every session is released. No event follows.
    pub fn close(&mut self, now: Time) {
        if !self.closed {
            self.membership.close(now);
            self.route(now);
            self.events.clear();
            self.closed = true;
        }
    }

    /// True if [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Object replication: its sets and counters.
    pub fn replication(&self) -> &Replication {
        &self.replication
    }

    /// The connected neighbors.
    pub fn neighbors(&self) -> Vec<NeighborInfo> {
        let neighbors = self.membership.neighbors();
        let describe = neighbors.map(|(id, session, neighbor)| NeighborInfo {
            session: id,
            peer: session.peer,
            address: session.address,
            far_address: session.far_address,
            rtt: session.rtt,
            since: neighbor.since,
            receive_mode: neighbor.mode,
            trade: self.replication.trade(id),
        });
        describe.collect()
    }

    /// The estimated number of members, by the density of the neighbors on the ring.
    pub fn estimated_member_count(&self) -> f64 {
        self.membership.estimated_member_count()
    }

    /// The part of the ring for which this node is responsible, from and to.
    pub fn local_coverage(&self) -> (GroupAddress, GroupAddress) {
        self.membership.local_coverage()
    }

    /// This node's addresses as its peers see them, most frequent first.
    pub fn own_addresses(&self) -> Vec<SocketAddr> {
        self.membership.own_addresses()
    }

    /// Counters.
    pub fn stats(&self) -> GroupStats {
        let counters = self.membership.counters();
        GroupStats {
            neighbors: self.membership.neighbors().count(),
            members: self.membership.members(),
            hellos_rejected: counters.hellos_rejected,
            malformed: counters.malformed,
            replication: self.replication.stats(),
        }
    }

    /// Passes the outputs of membership to the capabilities, and all outputs to the owner. A
    /// message of a capability precedes the end of its flow, because its outputs are drained after
    /// each call.
    fn route(&mut self, now: Time) {
        self.drain_features();
        while let Some(output) = self.membership.poll_output() {
            self.on_membership_output(now, output);
        }
    }

    fn on_membership_output(&mut self, now: Time, output: membership::Output) {
        use membership::Output;
        match output {
            Output::Connect { peer, addresses, reported_by } => {
                self.actions.push_back(GroupAction::Connect { peer, addresses, reported_by });
            }
            Output::OpenFlow(session) => {
                self.near_flows.insert(session, NearFlows::default());
                self.open_flow(session, FlowKind::Membership);
            }
            Output::Send(session, message) => {
                self.send(session, FlowKind::Membership, message);
            }
            Output::RejectFlow { session, flow, code } => {
                self.act(session, FlowAction::Reject { flow, code });
            }
            Output::ReleaseSession(session) => {
                self.actions.push_back(GroupAction::ReleaseSession { session });
            }
            Output::Event(event) => self.events.push_back(event),
            Output::Connected { session, peer, flow } => {
                self.near_flows.entry(session).or_default().association = Some(flow);
                for feature in self.features_mut() {
                    feature.on_neighbor_connected(now, session, peer);
                }
            }
            Output::Message { session, kind, message } => {
                let mut features = self.features_mut().into_iter();
                if let Some(feature) = features.find(|feature| feature.carries(kind)) {
                    feature.on_message(now, session, kind, message);
                }
            }
            Output::Gone { session, end } => {
                let flows = self.near_flows.remove(&session).unwrap_or_default();
                flows.open.values().for_each(|token| {
                    self.tokens.remove(token);
                });
                if end == End::Neighbor {
                    self.finish(session, &flows);
                }
                self.features_mut().into_iter().for_each(|f| f.on_neighbor_gone(now, session));
            }
        }
        self.drain_features();
    }

    fn drain_features(&mut self) {
        for number in 0..self.features().len() {
            while let Some(output) =
                self.features_mut().get_mut(number).and_then(|feature| feature.poll_output())
            {
                self.on_feature_output(output);
            }
        }
    }

    fn on_feature_output(&mut self, output: feature::Output) {
        use feature::Output;
        match output {
            Output::OpenFlow(session, kind) => self.open_flow(session, kind),
            Output::Send(session, kind, message) => self.send(session, kind, message),
            Output::Event(event) => self.events.push_back(event),
        }
    }

    fn open_flow(&mut self, session: SessionId, kind: FlowKind) {
        let Some(flows) = self.near_flows.get_mut(&session) else { return };
        let (token, association) = (FlowToken(self.next_token), flows.association);
        self.next_token = self.next_token.wrapping_add(1);
        flows.open.insert(kind, token);
        self.tokens.insert(token, (session, kind));
        let metadata = Bytes::copy_from_slice(&kind.metadata());
        let options =
            FlowOptions { association, priority: kind.priority(), ..FlowOptions::default() };
        self.act(session, FlowAction::Open { token, metadata, options });
    }

    /// Sends a message, unless the flow was rejected or finished.
    fn send(&mut self, session: SessionId, kind: FlowKind, message: Bytes) {
        let token = self.near_flows.get(&session).and_then(|flows| flows.open.get(&kind));
        if let Some(&token) = token {
            let options = MessageOptions::RELIABLE;
            self.act(session, FlowAction::Send { token, message, options });
        }
    }

    fn act(&mut self, session: SessionId, action: FlowAction) {
        self.actions.push_back(GroupAction::Flow { session, action });
    }

    /// Finishes this end's flows: replication before membership, because a player whose neighbor
    /// finishes `1C` first never frees its pending requests.
    fn finish(&mut self, session: SessionId, flows: &NearFlows) {
        let rank = |(kind, _): &(FlowKind, FlowToken)| match kind {
            FlowKind::Replication => 0,
            FlowKind::Membership => 1,
            _ => 2,
        };
        let mut open: Vec<_> = flows.open.iter().map(|(&kind, &token)| (kind, token)).collect();
        open.sort_by_key(rank);
        open.into_iter().for_each(|(_, token)| self.act(session, FlowAction::Finish { token }));
    }
}
