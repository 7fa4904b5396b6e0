//! NetGroups, without sockets, clocks or random sources: the behavior of a member of a Flash Player
//! group (`protocol-notes/netgroup-membership.md`, `protocol-notes/object-replication.md`,
//! `protocol-notes/netgroup-routing.md`, `protocol-notes/netgroup-posting.md`,
//! `protocol-notes/netgroup-multicast.md`).
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
//! | `config` | [`GroupConfig`], [`ReceiveMode`], the limits of the capabilities |
//! | `error`, `status`, `verdict` | [`GroupError`]; [`NeighborInfo`], [`GroupStats`]; [`FlowVerdict`] |
//! | `info` | [`NetGroupInfo`]: bytes exchanged, and rates |
//! | [`message`] | the messages of the group flows |
//! | `message_id` | [`MessageId`]: the identity of a posted value |
//! | `near_flows` | this end's flows, by neighbor and kind |
//! | `membership/` | neighbors, known members, reports |
//! | `replication/` | object replication: sets, requesting, serving |
//! | `routing/` | directed routing: messages to the neighbor nearest to an address |
//! | `multicast/` | streams: publishing, playing, relaying |
//! | `posting/` | posting: values that reach every member |
//! | [`groupspec`] | the groupspec string: build, parse, group ID, passwords |
//! | `address` | group addresses on the ring of 2^256 |
//!
//! Objects and posted values are opaque at this level: the encoded AMF value is carried as bytes.
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
mod error;
mod event;
mod feature;
pub mod groupspec;
mod info;
mod membership;
pub mod message;
mod message_id;
mod multicast;
mod near_flows;
mod places;
mod posting;
mod replication;
mod routing;
mod status;
mod verdict;

pub use crate::flash::group_channel::GroupId;
pub use address::{GroupAddress, ParseGroupAddressError, RingDistance};
pub use config::{
    GroupConfig, MIN_NEIGHBORS, MembershipRules, MulticastLimits, PostingLimits, ReceiveMode,
    ReplicationLimits, RoutingLimits, SubscriptionRules,
};
pub use error::GroupError;
pub use event::{GroupAction, GroupEvent, NetStreamId};
pub use feature::FlowKind;
pub use groupspec::{GroupSpec, GroupSpecBuilder, GroupSpecError, IpMulticastAddress};
pub use info::{NetGroupBytes, NetGroupInfo};
pub use message_id::{MessageId, ParseMessageIdError, PostKey};
pub use multicast::{
    Multicast, MulticastMut, MulticastParameters, MulticastStats, NetStreamMulticastInfo,
    PublishOptions, StreamState,
};
pub use posting::{Posting, PostingMut, PostingStats};
pub use replication::{
    NeighborTrade, Replication, ReplicationMut, ReplicationStats, ReplicationStrategy,
};
pub use routing::{
    MAX_HOPS, Routed, RoutedMessage, Routing, RoutingMut, RoutingStats, SendMode, SendResult,
};
pub use status::{GroupStats, NeighborInfo};
pub use verdict::FlowVerdict;

use crate::crypto::Fingerprint;
use crate::flash::group_channel::ServerMessage;
use crate::random::SplitMix64;
use crate::transport::{
    FlowAction, FlowId, FlowInput, FlowToken, MessageOptions, QueueOrder, SessionId, Time,
};
use bytes::Bytes;
use feature::{Feature, Lane};
use info::Traffic;
use membership::{End, Membership, PeerSession};
use near_flows::NearFlows;
use places::Named;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Distinguishes the random choices of posting from those of membership.
const POSTING_SEED: u64 = 0x18_19;

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
    routing: Routing,
    multicast: Multicast,
    posting: Posting,
    near_flows: NearFlows,
    named: Named,
    traffic: Traffic,
    actions: VecDeque<GroupAction>,
    events: VecDeque<GroupEvent>,
    closed: bool,
}

impl Group {
    /// A group that was just joined. `seed` is any number; it seeds the random choice of members
    /// and times. The group connects to up to 16 bootstrap peers of the groupspec at once.
    pub fn new(config: GroupConfig, now: Time, seed: u64) -> Self {
        let rng = SplitMix64::new(seed);
        let (replication, routing) = (Replication::new(&config), Routing::new(&config));
        let multicast = Multicast::new(&config, SplitMix64::new(rng.clone().next_u64()));
        // A sequence of its own, so that no capability influences another's choices.
        let posting = Posting::new(&config, SplitMix64::new(seed ^ POSTING_SEED));
        let mut group = Self {
            membership: Membership::new(config, now, rng),
            replication,
            routing,
            multicast,
            posting,
            near_flows: NearFlows::default(),
            named: Named::default(),
            traffic: Traffic::default(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            closed: false,
        };
        group.route(now);
        group
    }

    /// Every capability besides membership.
    fn features(&self) -> [&dyn Feature; 4] {
        [&self.replication, &self.routing, &self.multicast, &self.posting]
    }

    /// Every capability besides membership, for calling inputs.
    fn features_mut(&mut self) -> [&mut dyn Feature; 4] {
        [&mut self.replication, &mut self.routing, &mut self.multicast, &mut self.posting]
    }

    /// The capability to which flows of this kind belong.
    fn carrier(&mut self, kind: FlowKind) -> Option<&mut dyn Feature> {
        self.features_mut().into_iter().find(|feature| feature.carries(kind))
    }

    /// The time of the last input.
    fn now(&self) -> Time {
        self.traffic.now()
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
        ServerMessage::Join(self.config().spec.join_key()).to_bytes()
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
        let features = features.chain(self.named.poll_timeout());
        let next = features.fold(self.membership.poll_timeout(), Time::min);
        (!self.closed).then_some(next)
    }

    /// Handles whatever is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.closed {
            return;
        }
        self.retry_named(now);
        let replication = &self.replication;
        self.membership.handle_timeout(now, |session| replication.is_trading(session));
        self.route(now);
        self.features_mut().into_iter().for_each(|feature| feature.handle_timeout(now));
        self.route(now);
        self.redirect(now);
    }

    /// The server or the application names a member: `0B`, to connect to at once, or, with `hint`,
    /// `1B`, to connect to when the topology calls for it.
    pub fn on_introduced(&mut self, now: Time, peer: Fingerprint, hint: bool) {
        if self.closed {
            return;
        }
        if hint {
            self.membership.on_introduced(now, peer, hint);
            self.route(now);
        } else {
            self.connect_named(now, peer);
        }
    }

    /// A member has announced itself on the local network from this address: it is connected to if it
    /// is not a neighbor and there is a place.
    pub fn on_announced(&mut self, now: Time, peer: Fingerprint, address: SocketAddr) {
        if !self.closed {
            self.membership.on_announced(now, peer, address);
            self.route(now);
        }
    }

    /// True if the member is a neighbor, connected or not yet.
    pub fn has_neighbor(&self, peer: &Fingerprint) -> bool {
        self.membership.has_neighbor(peer)
    }

    /// The server has rejected the `GC` flow: it does not keep groups.
    pub fn on_server_rejected(&mut self) {
        if !self.closed {
            self.events.push_back(GroupEvent::ConnectRejected);
        }
    }

    /// A message from the server on its `GC` flow. Unknown messages are ignored.
    pub fn on_server_message(&mut self, now: Time, message: &Bytes) {
        if self.closed {
            return;
        }
        if let Ok(ServerMessage::Connect(peer)) = ServerMessage::parse(message) {
            return self.connect_named(now, peer);
        }
        self.membership.on_server_message(now, message);
        self.route(now);
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
        if initiator && (self.replication.provider() == Some(peer) || self.named.has(&peer)) {
            self.free_place(now, Some(peer));
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

    /// Since when the far end of a session has answered nothing that was sent to it; `None` if it
    /// answers. Directed messages that were sent to it then go to another member. To be called for each
    /// neighbor before [`handle_timeout`](Self::handle_timeout).
    pub fn on_unanswered(&mut self, now: Time, session: SessionId, since: Option<Time>) {
        self.membership.on_unanswered(now, session, since);
    }

    /// A session has moved to another address.
    pub fn on_far_address(&mut self, session: SessionId, address: SocketAddr) {
        self.membership.on_far_address(session, address);
    }

    /// The member of a session is in a network of this host, so that no uplink to the Internet is
    /// between, or it is not. Without this input it is not.
    pub fn on_locality(&mut self, now: Time, session: SessionId, is_local: bool) {
        self.membership.set_local(session, is_local);
        self.replication.set_local(now, session, is_local);
        self.route(now);
    }

    /// The first message of a `GR 1C` flow, which is a hello for this group.
    pub fn on_hello(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        message: &Bytes,
    ) -> FlowVerdict {
        if self.membership.is_hello_valid(session, message) {
            self.make_place(now, session);
        }
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
    ) -> FlowVerdict {
        match self.near_flows.find(associated) {
            Some((of, lane)) if of == session && kind.is_of_stream() => {
                self.on_stream_flow_opened(session, flow, kind, lane)
            }
            Some((of, lane)) if of == session => {
                self.membership.on_flow_opened(session, flow, kind, lane.kind)
            }
            _ => FlowVerdict::Reject(0),
        }
    }

    fn on_stream_flow_opened(
        &mut self,
        session: SessionId,
        flow: FlowId,
        kind: FlowKind,
        lane: Lane,
    ) -> FlowVerdict {
        let carrier = self.carrier(kind);
        let accepts = carrier.is_some_and(|it| it.on_flow_opened(session, flow, kind, lane));
        match accepts && self.membership.add_stream_flow(session, flow, kind) {
            true => FlowVerdict::Accept,
            false => FlowVerdict::Reject(0),
        }
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
        let Some((session, lane)) = self.near_flows.remove(token) else { return };
        if lane.kind.must_be_accepted() {
            self.membership.refuse_neighbor(now, session);
        } else if let Some(feature) = self.carrier(lane.kind) {
            feature.on_lane_rejected(now, session, lane);
        }
        self.route(now);
    }

    fn on_flow_blocked(&mut self, now: Time, token: FlowToken, is_blocked: bool) {
        let Some((session, lane)) = self.near_flows.find(token) else { return };
        if let Some(feature) = self.carrier(lane.kind) {
            feature.on_lane_blocked(now, session, lane, is_blocked);
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

    /// Streams: what is published, and counters.
    pub fn multicast(&self) -> &Multicast {
        &self.multicast
    }

    /// Passes the outputs of membership to the capabilities, and all outputs to the owner. A
    /// message of a capability precedes the end of its flow, because its outputs are drained after
    /// each call.
    fn route(&mut self, now: Time) {
        self.traffic.advance(now);
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
                self.near_flows.insert(session);
                self.open_flow(session, FlowKind::Membership.into(), None);
            }
            Output::Send(session, message) => {
                self.send(session, FlowKind::Membership.into(), message);
            }
            Output::RejectFlow { session, flow, code } => {
                self.act(session, FlowAction::Reject { flow, code });
            }
            Output::ReleaseSession(session) => {
                self.actions.push_back(GroupAction::ReleaseSession { session });
            }
            Output::Event(event) => self.events.push_back(event),
            Output::Connected { session, peer, flow } => {
                self.near_flows.associate(session, flow);
                for feature in self.features_mut() {
                    feature.on_neighbor_connected(now, session, peer);
                }
                self.replication.set_local(now, session, self.membership.is_local(session));
            }
            Output::Message { session, flow, kind, message } => {
                self.traffic.received(kind, message.len());
                if let Some(feature) = self.carrier(kind) {
                    feature.on_message_of(now, session, flow, kind, message);
                }
            }
            Output::FlowFinished { session, flow, kind } => {
                if let Some(feature) = self.carrier(kind) {
                    feature.on_flow_finished(now, session, flow);
                }
            }
            Output::Unneeded(session) => {
                if !self.replication.is_trading(session) {
                    self.membership.part(now, session);
                }
            }
            Output::Gone { session, end } => {
                let flows = self.near_flows.remove_neighbor(session);
                if end == End::Neighbor {
                    for token in flows {
                        self.act(session, FlowAction::Finish { token });
                    }
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
            Output::OpenFlow(session, kind) => self.open_flow(session, kind.into(), None),
            Output::Send(session, kind, message) => self.send(session, kind.into(), message),
            Output::SendInOrder(session, kind, message, order) => {
                self.send_in_order(session, kind.into(), message, order);
            }
            Output::OpenLane { session, lane, to } => self.open_flow(session, lane, to),
            Output::SendOn(session, lane, message) => self.send(session, lane, message),
            Output::FinishLane(session, lane) => {
                if let Some(token) = self.near_flows.token(session, lane) {
                    self.near_flows.remove(token);
                    self.act(session, FlowAction::Finish { token });
                }
            }
            Output::Reject(session, flow) => {
                self.membership.forget_flow(session, flow);
                self.act(session, FlowAction::Reject { flow, code: 0 });
            }
            Output::Event(event) => self.events.push_back(event),
        }
    }

    fn open_flow(&mut self, session: SessionId, lane: Lane, to: Option<FlowId>) {
        if let Some(action) = self.near_flows.open(session, lane, to) {
            self.act(session, action);
        }
    }

    /// Sends a message, unless the flow was rejected or finished.
    fn send(&mut self, session: SessionId, lane: Lane, message: Bytes) {
        self.send_in_order(session, lane, message, QueueOrder::default());
    }

    fn send_in_order(&mut self, session: SessionId, lane: Lane, message: Bytes, order: QueueOrder) {
        if let Some(token) = self.near_flows.token(session, lane) {
            self.traffic.sent(lane.kind, message.len());
            let options = MessageOptions::RELIABLE.with_order(order);
            self.act(session, FlowAction::Send { token, message, options });
        }
    }

    fn act(&mut self, session: SessionId, action: FlowAction) {
        self.actions.push_back(GroupAction::Flow { session, action });
    }
}
