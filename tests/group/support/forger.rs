//! A peer that joins groups by itself and sends arbitrary messages.

use super::world::spec;
use bytes::Bytes;
use rtmfp::proto::group::message::{Hello, MembershipMessage, Report};
use rtmfp::proto::group::{FlowKind, ReceiveMode};
use rtmfp::proto::transport::{
    Endpoint, Event, FlowId, FlowOptions, MessageOptions, SessionId, Time,
};

pub struct Forger {
    pub endpoint: Endpoint,
    /// Its sessions, with its membership flows.
    pub sessions: Vec<(SessionId, FlowId)>,
}

impl Forger {
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, sessions: Vec::new() }
    }

    /// Becomes a neighbor of everybody with whom it has a session.
    pub fn react(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(event) = self.endpoint.poll_event() {
            busy = true;
            match event {
                Event::SessionOpened { session, .. } => self.join(now, session),
                Event::SessionClosed { session, .. } => {
                    self.sessions.retain(|(known, _)| *known != session);
                }
                _ => {}
            }
        }
        busy
    }

    fn join(&mut self, now: Time, session: SessionId) {
        let info = self.endpoint.session(session).unwrap();
        let hello = Hello::new(&spec(), info.far_nonce(), info.far());
        let metadata = FlowKind::Membership.metadata();
        let flow = self.endpoint.open_flow(session, &metadata, FlowOptions::default()).unwrap();
        self.sessions.push((session, flow));
        for message in [
            MembershipMessage::Hello(hello),
            MembershipMessage::Accepted,
            MembershipMessage::Mode(ReceiveMode::Exact),
        ] {
            self.say(now, session, flow, message.to_bytes());
        }
    }

    fn say(&mut self, now: Time, session: SessionId, flow: FlowId, message: Bytes) {
        let _ = self.endpoint.send(now, session, flow, message, MessageOptions::RELIABLE);
    }

    /// Sends a report to each neighbor.
    pub fn report(&mut self, now: Time, report: &Report) {
        let message = MembershipMessage::Report(report.clone()).to_bytes();
        for (session, flow) in self.sessions.clone() {
            self.say(now, session, flow, message.clone());
        }
    }
}
