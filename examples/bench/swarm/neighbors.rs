//! The membership of members that are not of this crate: they join by the messages alone.

use bytes::Bytes;
use rtmfp::proto::crypto::{Epd, Fingerprint};
use rtmfp::proto::group::message::{Hello, MembershipMessage, ReplicationMessage, Report};
use rtmfp::proto::group::{FlowKind, GroupSpec, ReceiveMode};
use rtmfp::proto::transport::{
    Endpoint, Event, FlowId, FlowOptions, MessageOptions, SessionId, Time,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// The address by which members that are not of this crate call themselves in reports.
pub(super) const OWN_ADDRESS: ([u8; 4], u16) = ([10, 0, 250, 1], 1000);

/// An endpoint that becomes a neighbor of everybody with whom it has a session.
pub(super) struct Neighbors {
    pub(super) endpoint: Endpoint,
    spec: GroupSpec,
    flows: BTreeMap<SessionId, Flows>,
    /// The neighbors' flows with messages about members, if reports are to be followed.
    reports: Option<BTreeSet<(SessionId, FlowId)>>,
    /// Those with whom a session was opened.
    approached: BTreeSet<Fingerprint>,
}

/// This end's flows to a neighbor.
struct Flows {
    membership: FlowId,
    /// There once the neighbor has a membership flow, with which it is associated.
    objects: Option<FlowId>,
}

/// What has happened.
pub(super) enum Input {
    /// Messages about objects can be sent.
    Ready(SessionId),
    /// A message about objects has come.
    Message(SessionId, ReplicationMessage),
    /// A neighbor is gone.
    Gone(SessionId),
    /// Something that is dealt with here.
    Other,
}

impl Neighbors {
    pub(super) fn new(endpoint: Endpoint, spec: GroupSpec) -> Self {
        let (flows, approached) = (BTreeMap::new(), BTreeSet::new());
        Self { endpoint, spec, flows, reports: None, approached }
    }

    /// Opens sessions with the members of whom neighbors report.
    pub(super) fn follow_reports(&mut self) {
        self.reports = Some(BTreeSet::new());
    }

    /// Opens a session with a member; the server is not needed to find it.
    pub(super) fn approach(&mut self, now: Time, peer: Fingerprint, address: SocketAddr) {
        if self.approached.insert(peer) {
            self.endpoint.open(now, Epd::for_fingerprint(peer), &[address]);
        }
    }

    /// The next thing that has happened.
    pub(super) fn poll(&mut self, now: Time) -> Option<Input> {
        let input = match self.endpoint.poll_event()? {
            Event::SessionOpened { session, .. } => {
                self.join(now, session);
                None
            }
            Event::SessionClosed { session, .. } => {
                if let Some(reports) = &mut self.reports {
                    reports.retain(|(of, _)| *of != session);
                }
                self.flows.remove(&session).map(|_| Input::Gone(session))
            }
            Event::FlowOpened { session, flow, metadata, .. }
                if FlowKind::from_metadata(&metadata) == Some(FlowKind::Membership) =>
            {
                if let Some(reports) = &mut self.reports {
                    reports.insert((session, flow));
                }
                self.open_objects(session, flow).map(|()| Input::Ready(session))
            }
            Event::Message { session, flow, message, .. }
                if self.reports.as_ref().is_some_and(|flows| flows.contains(&(session, flow))) =>
            {
                self.on_membership(now, &message);
                None
            }
            Event::Message { session, message, .. } => {
                // What is about members is not for this parser, which calls it unknown.
                ReplicationMessage::parse(message).ok().map(|m| Input::Message(session, m))
            }
            _ => None,
        };
        Some(input.unwrap_or(Input::Other))
    }

    /// Sends a message about objects, unless the flow is full.
    pub(super) fn say(&mut self, now: Time, session: SessionId, message: &ReplicationMessage) {
        let flow = self.flows.get(&session).and_then(|flows| flows.objects);
        flow.into_iter().for_each(|flow| self.send(now, session, flow, message.to_bytes()));
    }

    /// Sends a report.
    pub(super) fn report(&mut self, now: Time, session: SessionId, report: Report) {
        if let Some(flow) = self.flows.get(&session).map(|flows| flows.membership) {
            self.send(now, session, flow, MembershipMessage::Report(report).to_bytes());
        }
    }

    /// Approaches the members in a report, unless it is one of a member of this kind, which may be
    /// forged.
    fn on_membership(&mut self, now: Time, message: &Bytes) {
        let Ok(MembershipMessage::Report(report)) = MembershipMessage::parse(message) else {
            return;
        };
        let own = SocketAddr::from(OWN_ADDRESS);
        if report.sender_addresses().iter().any(|address| address.socket == own) {
            return;
        }
        for record in &report.records {
            let address = record.addresses().first().map(|address| address.socket);
            if let (Some(peer), Some(address)) = (record.peer(), address) {
                self.approach(now, peer, address);
            }
        }
    }

    fn join(&mut self, now: Time, session: SessionId) {
        let Some(info) = self.endpoint.session(session) else { return };
        self.approached.insert(info.far());
        let hello = Hello::new(&self.spec, info.far_nonce(), info.far());
        let metadata = FlowKind::Membership.metadata();
        let Ok(flow) = self.endpoint.open_flow(session, &metadata, FlowOptions::default()) else {
            return;
        };
        self.flows.insert(session, Flows { membership: flow, objects: None });
        for message in [
            MembershipMessage::Hello(hello),
            MembershipMessage::Accepted,
            MembershipMessage::Mode(ReceiveMode::Exact),
        ] {
            self.send(now, session, flow, message.to_bytes());
        }
    }

    fn open_objects(&mut self, session: SessionId, association: FlowId) -> Option<()> {
        let flows = self.flows.get_mut(&session)?;
        let mut options = FlowOptions::default();
        options.association = Some(association);
        let metadata = FlowKind::Replication.metadata();
        flows.objects = Some(self.endpoint.open_flow(session, &metadata, options).ok()?);
        Some(())
    }

    fn send(&mut self, now: Time, session: SessionId, flow: FlowId, message: Bytes) {
        let _ = self.endpoint.send(now, session, flow, message, MessageOptions::RELIABLE);
    }
}
