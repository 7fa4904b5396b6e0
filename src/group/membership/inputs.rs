//! Inputs: sessions, hellos, flows and messages of neighbors, and their loss.

use super::members::is_plausible;
use super::message::{Hello, MembershipMessage, Proof, ReportRef};
use super::output::{End, Output};
use super::session::{Neighbor, PeerSession};
use super::topology::FULL_MESH;
use super::{MAX_BLOCKED, Membership};
use crate::crypto::Fingerprint;
use crate::flash::group_channel::ServerMessage;
use crate::group::{FlowKind, FlowVerdict, GroupEvent, MembershipRules};
use crate::transport::{FlowId, SessionId, Time};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

/// Two sessions to one member that were opened within this time count as opened by both ends at
/// once.
const GLARE: Duration = Duration::from_secs(5);

/// If a session is closed so soon after its neighbor has ended, the member has left.
const ENDED_WITH_NEIGHBOR: Duration = Duration::from_secs(60);

/// Flows of one neighbor beside its membership flow, two for each stream; further ones are rejected.
const MAX_FAR_FLOWS: usize = 256;

impl Membership {
    /// The server, the groupspec or the application names a member.
    pub(in crate::proto::group) fn on_introduced(
        &mut self,
        now: Time,
        peer: Fingerprint,
        hint: bool,
    ) {
        if peer == self.config.near {
            return;
        }
        self.members.add_introduced(now, peer);
        if !hint {
            self.connect(now, peer);
        }
    }

    /// A member has announced itself on the local network.
    pub(in crate::proto::group) fn on_announced(
        &mut self,
        now: Time,
        peer: Fingerprint,
        address: SocketAddr,
    ) {
        if peer != self.config.near && is_plausible(&address) {
            self.members.add_announced(now, peer, address);
            self.connect(now, peer);
        }
    }

    /// A message of the server on its `GC` flow. Unknown ones are ignored.
    pub(in crate::proto::group) fn on_server_message(&mut self, now: Time, message: &Bytes) {
        match ServerMessage::parse(message) {
            Ok(ServerMessage::Connect(peer)) => self.on_introduced(now, peer, false),
            Ok(ServerMessage::Hint(peer)) => self.on_introduced(now, peer, true),
            Ok(_) => {}
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// A session to a peer is open. If this end opened it to a member, the hello is sent now.
    pub(in crate::proto::group) fn on_session_opened(
        &mut self,
        now: Time,
        session: SessionId,
        opened: PeerSession,
    ) {
        let (peer, far_address, initiator) = (opened.peer, opened.far_address, opened.initiator);
        if peer == self.config.near {
            return;
        }
        self.end_neighbor(now, session, End::Session);
        self.remove_session(session);
        self.sessions.insert(session, opened);
        self.of_peer.insert((peer, session));
        self.members.end_attempt(&peer);
        self.members.set_met_at(&peer, far_address);
        let wanted = self.members.get(&peer).is_some() && !self.blocked.contains(&peer);
        if initiator && wanted && !self.has_neighbor(&peer) && !self.is_full() {
            self.start_neighbor(now, session);
        }
    }

    /// The peer of a session is in a network of this host, or it is not.
    pub(in crate::proto::group) fn set_local(&mut self, session: SessionId, is_local: bool) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.is_local = is_local;
        }
    }

    /// True if the peer of a session is in a network of this host.
    pub(in crate::proto::group) fn is_local(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|session| session.is_local)
    }

    /// The attempt to connect to a member has failed.
    pub(in crate::proto::group) fn on_connect_failed(&mut self, peer: Fingerprint) {
        self.members.end_attempt(&peer);
        self.members.set_lost(&peer);
    }

    /// A session is closed.
    pub(in crate::proto::group) fn on_session_closed(&mut self, now: Time, session: SessionId) {
        self.end_neighbor(now, session, End::Session);
        let Some(closed) = self.remove_session(session) else { return };
        // One that was of no use for long was released by one of the ends.
        let is_released =
            closed.unanswered.is_none() && now.since(closed.idle_since) >= ENDED_WITH_NEIGHBOR;
        if !is_released && self.session_of(&closed.peer).is_none() {
            self.members.set_lost(&closed.peer);
        }
    }

    fn remove_session(&mut self, session: SessionId) -> Option<PeerSession> {
        let removed = self.sessions.remove(&session)?;
        self.of_peer.remove(&(removed.peer, session));
        self.note_rtt(removed.address, removed.rated, None);
        if removed.near_address.is_some() {
            self.note_own_addresses();
        }
        Some(removed)
    }

    /// The round-trip time of a session.
    pub(in crate::proto::group) fn on_rtt(&mut self, session: SessionId, rtt: Duration) {
        let Some(session) = self.sessions.get_mut(&session) else { return };
        let (address, before) = (session.address, session.rated);
        session.set_rtt(rtt);
        let after = session.rated;
        if before != after {
            self.note_rtt(address, before, after);
        }
    }

    /// Since when the far end of a session has answered nothing.
    pub(in crate::proto::group) fn on_unanswered(
        &mut self,
        now: Time,
        session: SessionId,
        since: Option<Time>,
    ) {
        if let Some(session) = self.sessions.get_mut(&session) {
            (session.unanswered, session.unanswered_at) = (since, now);
        }
    }

    /// A session has moved to another address.
    pub(in crate::proto::group) fn on_far_address(
        &mut self,
        session: SessionId,
        address: SocketAddr,
    ) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.far_address = address;
            self.members.set_met_at(&session.peer, address);
            self.note_own_addresses();
        }
    }

    /// The first message of a `GR 1C` flow, which is a hello for this group.
    pub(in crate::proto::group) fn on_hello(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        message: &Bytes,
    ) -> FlowVerdict {
        if !self.is_hello_valid(session, message) {
            self.counters.hellos_rejected += 1;
            return FlowVerdict::Reject(0);
        }
        if self.neighbor_mut(session).is_some_and(|n| n.far_flow.is_some()) {
            // The far end has started anew; the end of its old flow has not arrived yet.
            self.end_neighbor(now, session, End::Neighbor);
        }
        if self.neighbor_mut(session).is_none() {
            if self.is_full() {
                self.counters.hellos_rejected += 1;
                return FlowVerdict::Reject(0);
            }
            self.start_neighbor(now, session);
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            if let Some(neighbor) = &mut session.neighbor {
                neighbor.far_flow = Some(flow);
            }
            self.members.confirm(now, session.peer, session.far_address);
        }
        self.send(session, &MembershipMessage::Accepted);
        self.send(session, &MembershipMessage::Mode(self.config.receive_mode));
        FlowVerdict::Accept
    }

    /// A peer has opened a flow other than `GR 1C`, in return to this group's flow `associated`.
    ///
    /// A player drops a neighbor that rejects its `15`, `18`, `19` or `1D` flow, so these are
    /// accepted whatever the groupspec allows.
    pub(in crate::proto::group) fn on_flow_opened(
        &mut self,
        session: SessionId,
        flow: FlowId,
        kind: FlowKind,
        associated: FlowKind,
    ) -> FlowVerdict {
        let Some(neighbor) = self.neighbor_mut(session) else { return FlowVerdict::Reject(0) };
        let wanted = kind.must_be_accepted() && kind != FlowKind::Membership;
        let second = neighbor.far_flows.values().any(|k| *k == kind);
        if !wanted || second || associated != FlowKind::Membership {
            return FlowVerdict::Reject(0);
        }
        neighbor.far_flows.insert(flow, kind);
        FlowVerdict::Accept
    }

    /// A capability accepts one of several flows that a neighbor opens. False if there is no such
    /// neighbor, or if it has too many flows.
    pub(in crate::proto::group) fn add_stream_flow(
        &mut self,
        session: SessionId,
        flow: FlowId,
        kind: FlowKind,
    ) -> bool {
        let Some(neighbor) = self.neighbor_mut(session) else { return false };
        let has_space = neighbor.far_flows.len() < MAX_FAR_FLOWS;
        if has_space {
            neighbor.far_flows.insert(flow, kind);
        }
        has_space
    }

    /// A neighbor's flow is rejected that was accepted before.
    pub(in crate::proto::group) fn forget_flow(&mut self, session: SessionId, flow: FlowId) {
        if let Some(neighbor) = self.neighbor_mut(session) {
            neighbor.far_flows.remove(&flow);
        }
    }

    /// A message on a flow that was accepted.
    pub(in crate::proto::group) fn on_message(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        message: Bytes,
    ) {
        let Some(neighbor) = self.neighbor_mut(session) else { return };
        if neighbor.far_flow == Some(flow) {
            self.on_membership(now, session, &message);
        } else if neighbor.far_flow.is_none() {
            // Its hello has not arrived yet.
            if neighbor.far_flows.contains_key(&flow) && !neighbor.keep_early(flow, message) {
                self.end_neighbor(now, session, End::Neighbor);
            }
        } else if let Some(&kind) = neighbor.far_flows.get(&flow) {
            // Whoever associates a flow with ours has accepted our hello.
            self.connected(now, session);
            self.forward(session, flow, kind, message);
        }
    }

    /// A peer has finished one of its flows. The end of its `15`, `18` or `19` flow ends the neighbor,
    /// and its `1C` flow is rejected then, as the player does.
    pub(in crate::proto::group) fn on_flow_finished(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
    ) {
        let Some(neighbor) = self.neighbor_mut(session) else { return };
        let finished = neighbor.far_flows.remove(&flow);
        let is_membership = neighbor.far_flow == Some(flow);
        let was_informed = neighbor.unneeded_at.is_some();
        if let Some(kind) = finished.filter(|kind| kind.is_of_stream()) {
            self.output.push_back(Output::FlowFinished { session, flow, kind });
        } else if is_membership {
            if was_informed {
                self.note_parting(now, session);
            }
            self.end_neighbor(now, session, End::Neighbor);
        } else if finished.is_some_and(FlowKind::ends_neighbor) {
            self.refuse_neighbor(now, session);
        }
    }

    /// Ends the neighbor in a session and rejects its `1C` flow, as the player does when the far end
    /// rejects or finishes a flow that it should not.
    pub(in crate::proto::group) fn refuse_neighbor(&mut self, now: Time, session: SessionId) {
        let membership = self.neighbor_mut(session).and_then(|neighbor| neighbor.far_flow);
        self.end_neighbor(now, session, End::Neighbor);
        let reject = membership.map(|flow| Output::RejectFlow { session, flow, code: 0 });
        self.output.extend(reject);
    }

    /// Leaves the group: ends every neighbor and releases every session.
    pub(in crate::proto::group) fn close(&mut self, now: Time) {
        let sessions = self.sessions_where(|_| true);
        for &session in &sessions {
            self.end_neighbor(now, session, End::Neighbor);
        }
        self.output.extend(sessions.into_iter().map(Output::ReleaseSession));
        self.sessions.clear();
        self.of_peer.clear();
        self.rtts.clear();
    }

    /// Ends every neighbor that is this member, rejects its hellos and does not connect to it
    /// again.
    pub(in crate::proto::group) fn block(&mut self, now: Time, peer: Fingerprint) {
        if self.blocked.contains(&peer) {
            return;
        }
        if self.blocked.len() >= MAX_BLOCKED {
            self.blocked.pop_front();
        }
        self.blocked.push_back(peer);
        for session in self.sessions_where(|s| s.peer == peer) {
            self.end_neighbor(now, session, End::Neighbor);
        }
    }

    /// True if no further neighbor is accepted.
    pub(in crate::proto::group) fn is_full(&self) -> bool {
        self.neighbor_count >= self.config.max_neighbors
    }

    /// The peer of a session.
    pub(in crate::proto::group) fn peer(&self, session: SessionId) -> Option<Fingerprint> {
        self.sessions.get(&session).map(|s| s.peer)
    }

    /// True if there is a neighbor in this session, connected or not.
    pub(in crate::proto::group) fn is_neighbor(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|s| s.neighbor.is_some())
    }

    /// True if the peer can become a neighbor, as far as it depends on who it is.
    pub(in crate::proto::group) fn may_connect(&self, peer: &Fingerprint) -> bool {
        let is_forbidden = self.config.spec.peer_to_peer_disabled();
        *peer != self.config.near && !self.blocked.contains(peer) && !is_forbidden
    }

    /// Connects to a member, in an existing session if there is one.
    pub(super) fn connect(&mut self, now: Time, peer: Fingerprint) {
        if self.is_full() || self.has_neighbor(&peer) || !self.may_connect(&peer) {
            return;
        }
        if let Some(session) = self.session_of(&peer) {
            self.start_neighbor(now, session);
        } else if self.members.begin_attempt(now, &peer) {
            let member = self.members.get(&peer);
            let addresses = member.map(|m| m.direct_addresses()).unwrap_or_default();
            let reported_by = member.and_then(|m| m.only_reported_by());
            self.output.push_back(Output::Connect { peer, addresses, reported_by });
        }
    }

    /// In a large group, connects to the next members above and below without waiting for a tick: until they are
    /// neighbors, directed messages that are for this node end at them. Few between two ticks, as reports
    /// may name members that do not exist.
    fn close_ring(&mut self, now: Time) {
        let is_small = self.members.len() <= FULL_MESH;
        let is_observed = self.config.membership == MembershipRules::Observed;
        if is_small || is_observed || self.ring_attempts == 0 {
            return;
        }
        for peer in self.adjacent(now) {
            if self.ring_attempts > 0 && !self.is_met(&peer) && !self.is_full() {
                self.ring_attempts -= 1;
                self.connect(now, peer);
            }
        }
    }

    /// True if there is a session with the member.
    fn is_met(&self, peer: &Fingerprint) -> bool {
        self.sessions_of(peer).next().is_some()
    }

    /// Opens this end's `1C` flow with the hello.
    fn start_neighbor(&mut self, now: Time, session: SessionId) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        if state.neighbor.replace(Neighbor::new(now)).is_none() {
            self.neighbor_count += 1;
        }
        state.released = false;
        let hello = Hello::new(&self.config.spec, &state.far_nonce, state.peer);
        self.output.push_back(Output::OpenFlow(session));
        self.send(session, &MembershipMessage::Hello(hello));
    }

    /// True if this is the hello of a member, for this node, on this session.
    pub(in crate::proto::group) fn is_hello_valid(
        &self,
        session: SessionId,
        message: &Bytes,
    ) -> bool {
        let Ok(MembershipMessage::Hello(hello)) = MembershipMessage::parse(message) else {
            return false;
        };
        let Some(session) = self.sessions.get(&session) else { return false };
        hello.group_id == self.id
            && hello.receiver == self.config.near
            && !self.blocked.contains(&session.peer)
            && hello.proof == Proof::new(&self.config.spec, &session.near_nonce)
            && !self.config.spec.peer_to_peer_disabled()
    }

    fn on_membership(&mut self, now: Time, session: SessionId, message: &Bytes) {
        match ReportRef::of(message) {
            Some(Ok(report)) => self.on_report_of(now, session, &report),
            Some(Err(_)) => self.counters.malformed += 1,
            None => match MembershipMessage::parse(message) {
                Ok(parsed) => self.on_other(now, session, &parsed),
                Err(_) => self.counters.malformed += 1,
            },
        }
    }

    fn on_report_of(&mut self, now: Time, session: SessionId, report: &ReportRef<'_>) {
        self.connected(now, session);
        let Some(neighbor) = self.neighbor_mut(session) else { return };
        neighbor.owes_report = false;
        let answer = report.asks() && neighbor.may_answer(now);
        self.on_report(now, session, report);
        if answer {
            self.send_report(now, session, false);
        }
        self.close_ring(now);
    }

    fn on_other(&mut self, now: Time, session: SessionId, message: &MembershipMessage) {
        self.connected(now, session);
        let Some(neighbor) = self.neighbor_mut(session) else { return };
        match message {
            MembershipMessage::Mode(mode) => {
                neighbor.mode = Some(*mode);
                self.note_coverage();
            }
            MembershipMessage::Unneeded => self.on_unneeded(now, session),
            _ => {}
        }
    }

    /// The neighbor does not need this node. If this node does not need it either, it may be dropped.
    fn on_unneeded(&mut self, now: Time, session: SessionId) {
        let Some(peer) = self.sessions.get(&session).map(|s| s.peer) else { return };
        if !self.wanted_neighbors(now).contains(&peer) {
            self.output.push_back(Output::Unneeded(session));
        }
    }

    /// Connects the neighbor, if this is its first message after the hello.
    fn connected(&mut self, now: Time, session: SessionId) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let (peer, address) = (state.peer, state.address);
        let Some(neighbor) = state.neighbor.as_mut().filter(|n| !n.is_connected) else { return };
        let Some(flow) = neighbor.far_flow else { return };
        neighbor.is_connected = true;
        let early = neighbor.take_early();
        self.members.set_neighbor(now, peer, true);
        self.event(GroupEvent::NeighborConnect { peer_id: peer, address });
        self.send_report(now, session, false);
        self.output.push_back(Output::Connected { session, peer, flow });
        for (flow, message) in early {
            let kind = self.neighbor_mut(session).and_then(|n| n.far_flows.get(&flow).copied());
            if let Some(kind) = kind {
                self.forward(session, flow, kind, message);
            }
        }
        self.drop_duplicate(now, session);
    }

    /// Drops one of two sessions in which the same member is a connected neighbor: the older, or,
    /// if both ends have opened a session at once, that of the greater fingerprint.
    fn drop_duplicate(&mut self, now: Time, session: SessionId) {
        let Some(new) = self.sessions.get(&session) else { return };
        let mut others = self.sessions_of(&new.peer);
        let other = others.find(|(id, s)| *id != session && s.is_connected());
        drop(others);
        let Some((other, old)) = other else { return };
        let apart = new.opened.since(old.opened).max(old.opened.since(new.opened));
        let keep_new = match new.initiator == old.initiator || apart > GLARE {
            true => new.opened >= old.opened,
            false => new.initiator == (self.config.near < new.peer),
        };
        self.end_neighbor(now, if keep_new { other } else { session }, End::Neighbor);
    }

    pub(super) fn send_report(&mut self, now: Time, session: SessionId, ask: bool) {
        let Some(state) = self.sessions.get(&session) else { return };
        let report = self.report_for(now, state, ask);
        self.output.push_back(Output::Send(session, report));
    }

    /// Ends the neighbor in a session, if there is one.
    pub(in crate::proto::group) fn end_neighbor(
        &mut self,
        now: Time,
        session: SessionId,
        end: End,
    ) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let Some(neighbor) = state.neighbor.take() else { return };
        self.neighbor_count -= 1;
        state.idle_since = now;
        let (peer, address) = (state.peer, state.address);
        if neighbor.is_connected {
            self.event(GroupEvent::NeighborDisconnect { peer_id: peer, address });
            let is_neighbor = self.sessions_of(&peer).any(|(_, s)| s.is_connected());
            self.members.set_neighbor(now, peer, is_neighbor);
            self.note_coverage();
        }
        self.output.push_back(Output::Gone { session, end });
    }
}
