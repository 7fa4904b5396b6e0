//! One client: its NetConnection and its `GC` flows.

use super::addresses::Reported;
use super::{Rendezvous, RendezvousEvent};
use crate::crypto::Fingerprint;
use crate::flash::group_channel::{GroupId, SERVER_METADATA, ServerMessage};
use crate::flash::{Action, FlowDecision, FlowKind, FlowToken, ServerConnection, ServerEvent};
use crate::transport::{FlowId, FlowOptions, MessageOptions, Priority, SessionId, Time};
use crate::wire::worth_keeping;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// Characters of a method's name in an event.
const MAX_NAME_LOGGED: usize = 64;

/// A client's `GC` flow.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// Known once the join message has come.
    pub(super) group: Option<GroupId>,
    /// The server's flow back.
    back: Option<FlowId>,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: Fingerprint,
    /// Where it is now.
    pub(super) address: SocketAddr,
    pub(super) connection: ServerConnection,
    /// By when the client has to connect, or is closed after a refusal.
    pub(super) deadline: Option<Time>,
    /// The owner was told of it.
    pub(super) announced: bool,
    /// Addresses that the client has reported.
    pub(super) reported: Reported,
    /// It has sent a message that was too long, and that was reported.
    sent_too_long: bool,
    /// When it was pinged for the sake of a newcomer.
    pub(super) probed: Option<Time>,
    pub(super) memberships: BTreeMap<FlowId, Membership>,
    pub(super) flows: BTreeMap<FlowToken, FlowId>,
    tokens: HashMap<FlowId, FlowToken>,
}

impl Client {
    pub(super) fn new(
        peer: Fingerprint,
        address: SocketAddr,
        connection: ServerConnection,
        deadline: Time,
    ) -> Self {
        Self {
            peer,
            address,
            connection,
            deadline: Some(deadline),
            announced: false,
            reported: Reported::default(),
            sent_too_long: false,
            probed: None,
            memberships: BTreeMap::new(),
            flows: BTreeMap::new(),
            tokens: HashMap::new(),
        }
    }
}

impl Rendezvous {
    pub(super) fn on_flow_opened(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        metadata: &[u8],
        association: Option<FlowId>,
    ) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        let token = association.and_then(|to| client.tokens.get(&to).copied());
        let accepted = match FlowKind::parse(metadata) {
            Some(FlowKind::GroupServer) => {
                let room = client.memberships.len() < self.config.max_groups_per_client;
                let joins = client.connection.is_connected() && room;
                if joins {
                    client.memberships.insert(flow, Membership::default());
                }
                joins
            }
            Some(FlowKind::Tc { .. }) if association.is_none() || token.is_some() => {
                client.connection.on_flow_opened(now, flow, metadata, token) == FlowDecision::Accept
            }
            _ => false,
        };
        if !accepted {
            let _ = self.endpoint.reject_flow(session, flow, 0);
        }
        self.serve(now, session);
    }

    pub(super) fn on_message(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        message: &Bytes,
    ) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        if client.memberships.contains_key(&flow) {
            if let Ok(ServerMessage::Join(key)) = ServerMessage::parse(message) {
                self.join(now, session, flow, &key);
            }
            return;
        }
        client.connection.on_message(now, flow, message);
        self.serve(now, session);
    }

    /// A message was longer than [`Config::max_message`](crate::transport::Config).
    pub(super) fn on_message_too_long(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        head: &Bytes,
    ) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        let method = client.connection.on_message_too_long(now, flow, head);
        let first = !std::mem::replace(&mut client.sent_too_long, true);
        let peer = client.peer;
        if first {
            let limit = self.config.transport.max_message;
            let method = method.map(|name| name.chars().take(MAX_NAME_LOGGED).collect());
            self.report(RendezvousEvent::MessageTooLong { peer, method, limit });
        }
        self.serve(now, session);
    }

    pub(super) fn on_flow_finished(&mut self, now: Time, session: SessionId, flow: FlowId) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        if let Some(membership) = client.memberships.remove(&flow) {
            let peer = client.peer;
            self.newcomers.forget((session, flow));
            if let Some(back) = membership.back {
                let _ = self.endpoint.close_flow(session, back);
            }
            if let Some(group) = membership.group {
                self.leave(session, peer, group);
            }
            return;
        }
        client.connection.on_flow_finished(flow);
        self.serve(now, session);
    }

    pub(super) fn on_flow_rejected(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        exception: u64,
    ) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        if let Some(&token) = client.tokens.get(&flow) {
            client.connection.on_flow_rejected(token, exception);
            self.serve(now, session);
        } else if let Some(m) = client.memberships.values_mut().find(|m| m.back == Some(flow)) {
            m.back = None;
        }
    }

    /// Tells a member of others, each in a message of its own.
    pub(super) fn tell_members(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        others: &[Fingerprint],
    ) {
        if others.is_empty() {
            return;
        }
        let client = self.clients.get_mut(&session);
        let Some(membership) = client.and_then(|c| c.memberships.get_mut(&flow)) else { return };
        let back = match membership.back {
            Some(back) => back,
            None => {
                let options = immediate(Some(flow));
                let opened = self.endpoint.open_flow(session, &SERVER_METADATA, options);
                let Ok(back) = opened else { return };
                *membership.back.insert(back)
            }
        };
        for &other in others {
            let message = ServerMessage::Connect(other).to_bytes();
            self.send(now, session, back, message);
        }
    }

    /// Carries out what a client's connection asks for, and answers it.
    pub(super) fn serve(&mut self, now: Time, session: SessionId) {
        loop {
            while let Some(action) =
                self.clients.get_mut(&session).and_then(|c| c.connection.poll_action())
            {
                self.carry_out(now, session, action);
            }
            let event = self.clients.get_mut(&session).and_then(|c| c.connection.poll_event());
            let Some(event) = event else { return };
            self.on_connection_event(now, session, event);
        }
    }

    fn on_connection_event(&mut self, now: Time, session: SessionId, event: ServerEvent) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        match event {
            ServerEvent::ConnectRequested(request) => {
                // Every application is welcome: the server is a meeting place and no more.
                if let Err(error) = client.connection.accept(now, NO_EXTRAS) {
                    tracing::debug!(%session, %error, "connect not answered");
                    return;
                }
                client.announced = true;
                if let Some(deadline) = client.deadline.take() {
                    self.deadlines.remove(&(deadline, session));
                }
                let peer = client.peer;
                self.stats.connected += 1;
                if let Some(info) = self.endpoint.session(session) {
                    let address = info.path().remote;
                    let app = worth_keeping(&request.app).to_owned();
                    self.report(RendezvousEvent::ClientConnected { peer, address, app });
                }
            }
            ServerEvent::PeerInfo(addresses) => {
                if let Some(info) = self.endpoint.session(session) {
                    let (observed, own) = (info.path().remote, &self.config.own_addresses);
                    let refused = client.reported.replace(observed, &addresses, own);
                    self.stats.addresses_refused += refused as u64;
                }
            }
            ServerEvent::Call(call) => self.on_call(now, session, call),
            ServerEvent::Closed => self.endpoint.close(now, session),
            _ => {}
        }
    }

    fn carry_out(&mut self, now: Time, session: SessionId, action: Action) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        match action {
            Action::OpenFlow { token, metadata, association } => {
                let options = immediate(association);
                if let Ok(flow) = self.endpoint.open_flow(session, &metadata, options) {
                    client.flows.insert(token, flow);
                    client.tokens.insert(flow, token);
                }
            }
            Action::Send { flow, message } => {
                if let Some(&flow) = client.flows.get(&flow) {
                    self.send(now, session, flow, message.into_bytes());
                }
            }
            Action::FinishFlow { token } => {
                if let Some(flow) = client.flows.remove(&token) {
                    client.tokens.remove(&flow);
                    let _ = self.endpoint.close_flow(session, flow);
                }
            }
            Action::RejectFlow { flow, code } => {
                let _ = self.endpoint.reject_flow(session, flow, code);
            }
            Action::CloseSession => self.endpoint.close(now, session),
        }
    }

    /// A client that does not take what it is sent is closed.
    fn send(&mut self, now: Time, session: SessionId, flow: FlowId, message: Bytes) {
        let sent = self.endpoint.send(now, session, flow, message, MessageOptions::RELIABLE);
        if let Err(error) = sent {
            tracing::debug!(%session, %error, "client closed");
            self.endpoint.close(now, session);
        }
    }

    /// Closes clients that did not connect in time.
    pub(super) fn client_timeouts(&mut self, now: Time) {
        while let Some(&(at, session)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(client) = self.clients.get_mut(&session) {
                client.deadline = None;
            }
            self.endpoint.close(now, session);
        }
    }
}

const NO_EXTRAS: [(&str, crate::amf::Value); 0] = [];

fn immediate(association: Option<FlowId>) -> FlowOptions {
    FlowOptions { association, priority: Priority::Immediate, time_critical: false }
}
