//! The membership of members that are not of this crate: they join by the messages alone.

use bytes::Bytes;
use rtmfp::proto::crypto::{Epd, Fingerprint};
use rtmfp::proto::group::message::{Hello, MembershipMessage, ReplicationMessage, Report};
use rtmfp::proto::group::{FlowKind, GroupSpec, ReceiveMode};
use rtmfp::proto::transport::{
    Endpoint, Event, FlowId, FlowOptions, MessageOptions, SessionId, Time,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// An endpoint that becomes a neighbor of everybody with whom it has a session.
pub(super) struct Neighbors {
    pub(super) endpoint: Endpoint,
    spec: GroupSpec,
    flows: BTreeMap<SessionId, Flows>,
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
        Self { endpoint, spec, flows: BTreeMap::new() }
    }

    /// Opens a session with a member; the server is not needed to find it.
    pub(super) fn approach(&mut self, now: Time, peer: Fingerprint, address: SocketAddr) {
        self.endpoint.open(now, Epd::for_fingerprint(peer), &[address]);
    }

    /// The next thing that has happened.
    pub(super) fn poll(&mut self, now: Time) -> Option<Input> {
        let input = match self.endpoint.poll_event()? {
            Event::SessionOpened { session, .. } => {
                self.join(now, session);
                None
            }
            Event::SessionClosed { session, .. } => {
                self.flows.remove(&session).map(|_| Input::Gone(session))
            }
            Event::FlowOpened { session, flow, metadata, .. }
                if FlowKind::from_metadata(&metadata) == Some(FlowKind::Membership) =>
            {
                self.open_objects(session, flow).map(|()| Input::Ready(session))
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

    fn join(&mut self, now: Time, session: SessionId) {
        let Some(info) = self.endpoint.session(session) else { return };
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
