//! Membership: hellos and proofs, neighbors, known members, reports, the topology
//! (`protocol-notes/netgroup-membership.md`).
//!
//! | file | subject |
//! | --- | --- |
//! | [`message`] | the messages of the flow `GR 1C` |
//! | `session` | the state of one session, and of the neighbor in it |
//! | `members` | known members |
//! | `inputs` | sessions, hellos, flows and messages |
//! | `reports` | the content of reports, sent and received |
//! | `tick` | periodic maintenance |
//! | `trim` | neighbors that are not needed |
//! | `topology` | the wanted neighbors, the member estimate, the coverage |
//! | `output` | the outputs of membership |
//!
//! A session to a member of the group becomes a *neighbor* as soon as this end has sent its hello
//! in it or has accepted the far end's. The neighbor is *connected* with the first message after
//! the far end's hello.

mod inputs;
mod members;
pub(super) mod message;
mod output;
mod reports;
mod session;
mod tick;
mod topology;
mod trim;

pub(super) use output::{End, Output};
pub(super) use session::PeerSession;

use super::{FlowKind, GroupAddress, GroupConfig, GroupEvent, GroupId, ReceiveMode};
use crate::crypto::Fingerprint;
use crate::random::SplitMix64;
use crate::transport::{FlowId, SessionId, Time};
use bytes::Bytes;
use members::Members;
use message::MembershipMessage;
use session::Neighbor;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Bootstrap peers of a groupspec that are connected to at once; further ones when the topology
/// wants them. Groupspecs also come from strangers, and each peer costs a request to the server.
const MAX_BOOTSTRAP: usize = 16;

/// Blocked members. Beyond this, the oldest is unblocked.
const MAX_BLOCKED: usize = 256;

/// Counters of membership.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    /// Hellos that were rejected.
    pub(super) hellos_rejected: u64,
    /// Messages that could not be parsed.
    pub(super) malformed: u64,
}

/// The membership of one group on one endpoint.
pub(super) struct Membership {
    config: GroupConfig,
    id: GroupId,
    address: GroupAddress,
    sessions: BTreeMap<SessionId, PeerSession>,
    /// The sessions by their peers.
    of_peer: BTreeSet<(Fingerprint, SessionId)>,
    /// Neighbors, connected or not yet.
    neighbor_count: usize,
    /// The round-trip times by which neighbors are chosen, the lowest first.
    rtts: Vec<(Duration, GroupAddress)>,
    members: Members,
    /// This node's addresses as its peers see them.
    own_addresses: Vec<SocketAddr>,
    /// Members that are not to be neighbors.
    blocked: VecDeque<Fingerprint>,
    /// The coverage as last reported to the application.
    coverage: (GroupAddress, GroupAddress),
    /// Selects the random member of the lists of wanted neighbors.
    random_member: u64,
    rng: SplitMix64,
    tick_at: Time,
    /// True if at the latest tick the neighbors were far from those that this node wants.
    is_unsettled: bool,
    /// Attempts that are left until the next tick, to members that are next on the ring.
    ring_attempts: usize,
    /// When neighbors that are not needed are first informed of it; `None` afterwards.
    trim_at: Option<Time>,
    output: VecDeque<Output>,
    counters: Counters,
}

impl Membership {
    /// Connects to up to 16 bootstrap peers of the groupspec at once.
    pub(super) fn new(config: GroupConfig, now: Time, mut rng: SplitMix64) -> Self {
        let address = GroupAddress::of(&config.near);
        let random_member = rng.next_u64();
        let mut membership = Self {
            id: config.spec.group_id(),
            address,
            coverage: coverage_of(&address, config.receive_mode, &[]),
            members: Members::new(config.max_members),
            sessions: BTreeMap::new(),
            of_peer: BTreeSet::new(),
            neighbor_count: 0,
            rtts: Vec::new(),
            own_addresses: Vec::new(),
            blocked: VecDeque::new(),
            random_member,
            rng,
            tick_at: now + tick::FIRST,
            is_unsettled: false,
            ring_attempts: tick::RING_ATTEMPTS,
            trim_at: Some(now + trim::first_after(random_member)),
            output: VecDeque::new(),
            counters: Counters::default(),
            config,
        };
        let peers = membership.config.spec.bootstrap_peers();
        for (number, peer) in peers.into_iter().enumerate() {
            membership.on_introduced(now, peer, number >= MAX_BOOTSTRAP);
        }
        membership
    }

    pub(super) fn id(&self) -> GroupId {
        self.id
    }

    pub(super) fn address(&self) -> GroupAddress {
        self.address
    }

    pub(super) fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// Applies to neighbors from now on.
    pub(super) fn set_max_neighbors(&mut self, max_neighbors: usize) {
        self.config.max_neighbors = max_neighbors;
    }

    /// The next output. Drain after every input.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Time {
        self.trim_at.map_or(self.tick_at, |at| at.min(self.tick_at))
    }

    /// `is_used` is true for neighbors with which a capability is at work; they are kept.
    pub(super) fn handle_timeout(&mut self, now: Time, is_used: impl Fn(SessionId) -> bool) {
        if self.trim_at.take_if(|at| now >= *at).is_some() {
            let wanted = self.wanted_neighbors(now);
            self.trim(now, &wanted, &is_used);
        }
        if now >= self.tick_at {
            self.tick(now, &is_used);
        }
    }

    /// The server that can introduce this member, for reports.
    pub(super) fn set_server_address(&mut self, server: Option<SocketAddr>) {
        self.config.server = server;
    }

    /// Changes the receive mode, and announces it to the neighbors.
    pub(super) fn set_receive_mode(&mut self, mode: ReceiveMode) {
        if std::mem::replace(&mut self.config.receive_mode, mode) == mode {
            return;
        }
        let accepted = |s: &PeerSession| s.neighbor.as_ref().is_some_and(|n| n.far_flow.is_some());
        for session in self.sessions_where(accepted) {
            self.send(session, &MembershipMessage::Mode(mode));
        }
        self.note_coverage();
    }

    /// Connected neighbors.
    pub(super) fn neighbors(&self) -> impl Iterator<Item = (SessionId, &PeerSession, &Neighbor)> {
        self.sessions.iter().filter_map(|(&id, session)| {
            let neighbor = session.neighbor.as_ref().filter(|n| n.is_connected)?;
            Some((id, session, neighbor))
        })
    }

    /// The number of known members, excluding this node.
    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    /// The estimated number of members, by the density of the neighbors on the ring.
    pub(super) fn estimated_member_count(&self) -> f64 {
        topology::estimated_member_count(&self.address, &self.neighbor_addresses(|_| true))
    }

    /// The part of the ring for which this node is responsible, from and to.
    pub(super) fn local_coverage(&self) -> (GroupAddress, GroupAddress) {
        let nearest = |n: &Neighbor| n.mode == Some(ReceiveMode::Nearest);
        let nearest = self.neighbor_addresses(nearest);
        coverage_of(&self.address, self.config.receive_mode, &nearest)
    }

    /// Reports the coverage if it is not what was last reported.
    fn note_coverage(&mut self) {
        let (from, to) = self.local_coverage();
        if std::mem::replace(&mut self.coverage, (from, to)) != (from, to) {
            self.event(GroupEvent::LocalCoverageNotify { from, to });
        }
    }

    fn neighbor_addresses(&self, accept: impl Fn(&Neighbor) -> bool) -> Vec<GroupAddress> {
        self.neighbors().filter(|(_, _, n)| accept(n)).map(|(_, s, _)| s.address).collect()
    }

    /// The round-trip time of a session has changed: it is this one now, if there is one.
    fn note_rtt(
        &mut self,
        address: GroupAddress,
        before: Option<Duration>,
        after: Option<Duration>,
    ) {
        let place = |rtts: &[_], rtt| rtts.binary_search(&(rtt, address));
        if let Some(Ok(old)) = before.map(|rtt| place(&self.rtts, rtt)) {
            self.rtts.remove(old);
        }
        if let Some(rtt) = after {
            let new = place(&self.rtts, rtt).unwrap_or_else(|place| place);
            self.rtts.insert(new, (rtt, address));
        }
    }

    /// A session to a peer.
    pub(super) fn session(&self, session: SessionId) -> Option<&PeerSession> {
        self.sessions.get(&session)
    }

    /// The sessions to a peer.
    fn sessions_of(
        &self,
        peer: &Fingerprint,
    ) -> impl DoubleEndedIterator<Item = (SessionId, &PeerSession)> {
        let of_peer = self.of_peer.range((*peer, SessionId(0))..=(*peer, SessionId(u32::MAX)));
        of_peer.filter_map(|(_, session)| Some((*session, self.sessions.get(session)?)))
    }

    /// The latest session to a peer.
    fn session_of(&self, peer: &Fingerprint) -> Option<SessionId> {
        self.sessions_of(peer).next_back().map(|(session, _)| session)
    }

    fn sessions_where(&self, wanted: impl Fn(&PeerSession) -> bool) -> Vec<SessionId> {
        self.sessions.iter().filter(|(_, s)| wanted(s)).map(|(&session, _)| session).collect()
    }

    /// True if the peer is a neighbor, connected or not yet.
    pub(super) fn has_neighbor(&self, peer: &Fingerprint) -> bool {
        self.sessions_of(peer).any(|(_, s)| s.neighbor.is_some())
    }

    fn neighbor_mut(&mut self, session: SessionId) -> Option<&mut Neighbor> {
        self.sessions.get_mut(&session)?.neighbor.as_mut()
    }

    fn send(&mut self, session: SessionId, message: &MembershipMessage) {
        self.output.push_back(Output::Send(session, message.to_bytes()));
    }

    fn event(&mut self, event: GroupEvent) {
        self.output.push_back(Output::Event(event));
    }

    /// A message on a neighbor's flow of a capability.
    fn forward(&mut self, session: SessionId, flow: FlowId, kind: FlowKind, message: Bytes) {
        self.output.push_back(Output::Message { session, flow, kind, message });
    }
}

/// The coverage of a node at `own` with these neighbors in mode NEAREST.
fn coverage_of(
    own: &GroupAddress,
    mode: ReceiveMode,
    nearest: &[GroupAddress],
) -> (GroupAddress, GroupAddress) {
    match mode {
        ReceiveMode::Exact => (*own, *own),
        ReceiveMode::Nearest => topology::local_coverage(own, nearest),
    }
}
