//! Sessions and relations: hello, acceptance, messages, loss.

use super::message::{Hello, MembershipMessage, Proof};
use super::session::{Link, Relation};
use crate::crypto::Fingerprint;
use crate::group::{
    FlowKind, Group, GroupAction, GroupAddress, GroupEvent, HelloVerdict, OpenVerdict,
};
use crate::transport::{FlowId, SessionId, Time};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

/// Two sessions to the same member that were opened within this time were opened by both ends at once.
const GLARE: Duration = Duration::from_secs(5);
/// Members that are shunned at a time.
const MAX_SHUNNED: usize = 256;

impl Group {
    /// A session to a peer is open, or existed when the group was made. The nonces are those of
    /// RFC 7425 §4.6.5. If this end opened it to a member of the group, the hello goes out now.
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
        if self.closed || peer == self.config.near {
            return;
        }
        self.lose(now, session, Loss::Session);
        self.links.insert(
            session,
            Link {
                peer,
                address: GroupAddress::of(&peer),
                initiator,
                near_nonce,
                far_nonce,
                far_address,
                sees_us_at: None,
                rtt: None,
                opened: now,
                idle_since: now,
                released: false,
                relation: None,
            },
        );
        self.members.end_attempt(&peer);
        self.members.meet(&peer, far_address);
        let wanted = self.members.get(&peer).is_some() && !self.shunned.contains(&peer);
        if initiator && wanted && !self.has_relation(&peer) {
            self.start_relation(now, session);
        }
        self.flush();
    }

    /// The attempt to connect to a member has failed. It is tried again at a later tick.
    pub fn on_connect_failed(&mut self, _now: Time, peer: Fingerprint) {
        self.members.end_attempt(&peer);
    }

    /// A session is gone.
    pub fn on_session_closed(&mut self, now: Time, session: SessionId) {
        self.lose(now, session, Loss::Session);
        self.links.remove(&session);
        self.flush();
    }

    /// The first message of a `GR 1C` flow, which is a hello for this group.
    pub fn on_hello(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        message: &Bytes,
    ) -> HelloVerdict {
        if !self.is_hello_good(session, message) {
            self.hellos_rejected += 1;
            return HelloVerdict::Reject(0);
        }
        let relation = self.links.get(&session).and_then(|l| l.relation.as_ref());
        if relation.and_then(|r| r.far_flow).is_some() {
            // It has given up the old relation; the end of the old flow is still on its way.
            self.lose(now, session, Loss::Neighbor);
        }
        if self.links.get(&session).is_some_and(|l| l.relation.is_none()) {
            if self.relations() >= self.config.max_neighbors {
                self.hellos_rejected += 1;
                self.flush();
                return HelloVerdict::Reject(0);
            }
            self.start_relation(now, session);
        }
        if let Some(link) = self.links.get_mut(&session) {
            let (peer, address) = (link.peer, link.far_address);
            if let Some(relation) = &mut link.relation {
                relation.far_flow = Some(flow);
            }
            self.members.hear(now, peer, address);
        }
        self.send_membership(session, &MembershipMessage::Accepted);
        self.send_membership(session, &MembershipMessage::Mode(self.config.receive_mode));
        self.flush();
        HelloVerdict::Accept
    }

    /// A flow other than `GR 1C` is opened by a peer and associated in return with one of this group's
    /// sending flows in that session.
    ///
    /// A player drops a neighbour that rejects its `15`, `18`, `19` or `1D` flow, so these are accepted
    /// whatever the group allows.
    pub fn on_flow_opened(
        &mut self,
        _now: Time,
        session: SessionId,
        flow: FlowId,
        kind: FlowKind,
        associated: FlowKind,
    ) -> OpenVerdict {
        let link = self.links.get_mut(&session);
        let Some(relation) = link.and_then(|l| l.relation.as_mut()) else {
            return OpenVerdict::Reject(0);
        };
        let wanted = kind.must_be_accepted() && kind != FlowKind::Membership;
        let second = relation.far_flows.values().any(|k| *k == kind);
        if !wanted || second || associated != FlowKind::Membership {
            return OpenVerdict::Reject(0);
        }
        relation.far_flows.insert(flow, kind);
        OpenVerdict::Accept
    }

    /// A message on a flow that was accepted.
    pub fn on_message(&mut self, now: Time, session: SessionId, flow: FlowId, message: Bytes) {
        let link = self.links.get_mut(&session);
        let Some(relation) = link.and_then(|l| l.relation.as_mut()) else { return };
        if relation.far_flow == Some(flow) {
            self.on_membership(now, session, &message);
        } else if relation.far_flow.is_none() {
            // Its hello is still on its way.
            if relation.far_flows.contains_key(&flow) && !relation.keep_early(flow, message) {
                self.lose(now, session, Loss::Neighbor);
            }
        } else if let Some(&kind) = relation.far_flows.get(&flow) {
            // Whoever associates a flow with ours has accepted our hello.
            self.bring_up(now, session);
            self.on_feature_message(now, session, kind, message);
        }
        self.flush();
    }

    /// A peer has finished one of its flows. The end of its `15`, `18` or `19` flow ends the relation,
    /// and its `1C` flow is rejected then, as the player does.
    pub fn on_flow_finished(&mut self, now: Time, session: SessionId, flow: FlowId) {
        let link = self.links.get_mut(&session);
        let Some(relation) = link.and_then(|l| l.relation.as_mut()) else { return };
        let finished = relation.far_flows.remove(&flow);
        if relation.far_flow == Some(flow) {
            self.lose(now, session, Loss::Neighbor);
        } else if finished.is_some_and(FlowKind::ends_relation) {
            let membership = relation.far_flow;
            self.lose(now, session, Loss::Neighbor);
            let reject = membership.map(|flow| GroupAction::RejectFlow { session, flow, code: 0 });
            self.actions.extend(reject);
        }
        self.flush();
    }

    /// A peer has rejected one of our flows.
    pub fn on_flow_rejected(&mut self, now: Time, session: SessionId, kind: FlowKind, _code: u64) {
        let link = self.links.get_mut(&session);
        let Some(relation) = link.and_then(|l| l.relation.as_mut()) else { return };
        if relation.near_flows.remove(&kind) && kind.must_be_accepted() {
            self.lose(now, session, Loss::Neighbor);
        }
        self.flush();
    }

    /// Leaves the group: all flows are finished in the order that lets players go on at once, and every
    /// session is released. There are no events after this.
    pub fn close(&mut self, now: Time) {
        if self.closed {
            return;
        }
        let sessions: Vec<_> = self.links.keys().copied().collect();
        for &session in &sessions {
            self.lose(now, session, Loss::Neighbor);
        }
        for session in sessions {
            self.actions.push_back(GroupAction::ReleaseSession { session });
        }
        self.links.clear();
        while self.replication.poll_output().is_some() {}
        self.events.clear();
        self.closed = true;
    }

    /// Has no more to do with a member: the relation ends, its hellos are rejected, and no session
    /// to it is asked for. The oldest such member is pardoned when there are too many.
    pub fn shun(&mut self, now: Time, peer: Fingerprint) {
        if self.shunned.contains(&peer) {
            return;
        }
        if self.shunned.len() >= MAX_SHUNNED {
            self.shunned.pop_front();
        }
        self.shunned.push_back(peer);
        let with_it = self.links.iter().filter(|(_, l)| l.peer == peer);
        for session in with_it.map(|(&session, _)| session).collect::<Vec<_>>() {
            self.lose(now, session, Loss::Neighbor);
        }
        self.flush();
    }

    /// Connects to a member, in an existing session if there is one.
    pub(in crate::group) fn connect(&mut self, now: Time, peer: Fingerprint) {
        let full = self.relations() >= self.config.max_neighbors;
        if full || self.shunned.contains(&peer) {
            return;
        }
        if self.has_relation(&peer) || self.config.spec.peer_to_peer_disabled() {
            return;
        }
        if let Some(session) = self.session_of(&peer) {
            self.start_relation(now, session);
        } else if self.members.begin_attempt(now, &peer) {
            let member = self.members.get(&peer);
            let addresses = member.map(|m| m.direct_addresses()).unwrap_or_default();
            let reported_by = member.and_then(|m| m.only_reported_by());
            self.actions.push_back(GroupAction::Connect { peer, addresses, reported_by });
        }
    }

    /// Opens our `1C` flow and says hello.
    fn start_relation(&mut self, now: Time, session: SessionId) {
        let Some(link) = self.links.get_mut(&session) else { return };
        link.relation = Some(Relation::new(now));
        link.released = false;
        let hello = Hello::new(&self.config.spec, &link.far_nonce, link.peer);
        self.actions.push_back(GroupAction::OpenFlow {
            session,
            kind: FlowKind::Membership,
            association: None,
        });
        self.send_membership(session, &MembershipMessage::Hello(hello));
    }

    fn is_hello_good(&self, session: SessionId, message: &Bytes) -> bool {
        let Ok(MembershipMessage::Hello(hello)) = MembershipMessage::parse(message) else {
            return false;
        };
        let Some(link) = self.links.get(&session) else { return false };
        hello.group_id == self.id
            && hello.receiver == self.config.near
            && !self.shunned.contains(&link.peer)
            && hello.proof == Proof::new(&self.config.spec, &link.near_nonce)
            && !self.config.spec.peer_to_peer_disabled()
            && !self.closed
    }

    fn on_membership(&mut self, now: Time, session: SessionId, message: &Bytes) {
        let Ok(parsed) = MembershipMessage::parse(message) else {
            self.malformed += 1;
            return;
        };
        self.bring_up(now, session);
        let Some(link) = self.links.get_mut(&session) else { return };
        let Some(relation) = link.relation.as_mut() else { return };
        match parsed {
            MembershipMessage::Report(report) => {
                relation.owes_report = false;
                let answer = report.asks() && relation.may_answer(now);
                self.learn_from(now, session, &report);
                if answer {
                    self.send_report(now, session, false);
                }
            }
            MembershipMessage::Mode(mode) => relation.mode = Some(mode),
            MembershipMessage::Unneeded => self.on_unneeded(now, session),
            _ => {}
        }
    }

    /// It does not need us. If we do not need it either, the relation ends.
    fn on_unneeded(&mut self, now: Time, session: SessionId) {
        let Some(peer) = self.links.get(&session).map(|l| l.peer) else { return };
        if !self.wanted_by_us(now).contains(&peer) {
            self.lose(now, session, Loss::Neighbor);
        }
    }

    fn on_feature_message(
        &mut self,
        now: Time,
        session: SessionId,
        kind: FlowKind,
        message: Bytes,
    ) {
        let enabled = self.config.spec.object_replication_enabled();
        if kind == FlowKind::Replication && enabled {
            self.replication.on_message(now, session, message);
        }
    }

    /// The first message after the hello makes a neighbour.
    fn bring_up(&mut self, now: Time, session: SessionId) {
        let Some(link) = self.links.get_mut(&session) else { return };
        let (peer, address) = (link.peer, link.address);
        let Some(relation) = link.relation.as_mut().filter(|r| !r.up) else { return };
        relation.up = true;
        let early = relation.take_early();
        self.events.push_back(GroupEvent::NeighborConnect { peer, address });
        self.send_report(now, session, false);
        self.replication.neighbor_up(now, session, peer);
        for (flow, message) in early {
            let link = self.links.get(&session);
            let relation = link.and_then(|l| l.relation.as_ref());
            if let Some(kind) = relation.and_then(|r| r.far_flows.get(&flow).copied()) {
                self.on_feature_message(now, session, kind, message);
            }
        }
        self.flush();
        self.drop_twin(now, session);
    }

    /// If the same member is a neighbour in another session too, one of the two relations ends: the
    /// older, or, when both ends have opened a session at once, that of the greater fingerprint.
    fn drop_twin(&mut self, now: Time, session: SessionId) {
        let Some(new) = self.links.get(&session) else { return };
        let twin = self
            .links
            .iter()
            .find(|(s, l)| **s != session && l.peer == new.peer && l.is_neighbor());
        let Some((&twin, old)) = twin else { return };
        let apart = new.opened.since(old.opened).max(old.opened.since(new.opened));
        let keep_new = match new.initiator == old.initiator || apart > GLARE {
            true => new.opened >= old.opened,
            false => new.initiator == (self.config.near < new.peer),
        };
        self.lose(now, if keep_new { twin } else { session }, Loss::Neighbor);
    }

    pub(in crate::group) fn send_report(&mut self, now: Time, session: SessionId, ask: bool) {
        let Some(link) = self.links.get(&session) else { return };
        let report = self.report_for(now, link, ask);
        self.send_membership(session, &MembershipMessage::Report(report));
    }

    /// Ends the relation in a session, if there is one.
    pub(in crate::group) fn lose(&mut self, now: Time, session: SessionId, loss: Loss) {
        let Some(link) = self.links.get_mut(&session) else { return };
        let Some(relation) = link.relation.take() else { return };
        link.idle_since = now;
        let (peer, address) = (link.peer, link.address);
        // What replication had to say until now belongs before the end of its flow.
        self.flush();
        if loss == Loss::Neighbor {
            for kind in relation.finish_order() {
                self.actions.push_back(GroupAction::FinishFlow { session, kind });
            }
        }
        if relation.up {
            self.events.push_back(GroupEvent::NeighborDisconnect { peer, address });
            self.replication.neighbor_lost(now, session);
        }
        self.flush();
    }

    pub(in crate::group) fn has_relation(&self, peer: &Fingerprint) -> bool {
        self.links.values().any(|l| l.peer == *peer && l.relation.is_some())
    }

    pub(in crate::group) fn relations(&self) -> usize {
        self.links.values().filter(|l| l.relation.is_some()).count()
    }
}

/// How a relation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::group) enum Loss {
    /// The session lives on: our flows are finished.
    Neighbor,
    /// The session is gone, and the flows with it.
    Session,
}
