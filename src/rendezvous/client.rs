//! One client: its NetConnection and its `GC` flows.

use super::access::{self, Rights, without_token};
use super::addresses::Reported;
use super::application::application;
use super::hooks::LaneId;
use super::{RefusalReason, Rendezvous, RendezvousEvent, connectivity};
use crate::crypto::Fingerprint;
use crate::flash::group_channel::{GroupId, SERVER_METADATA, ServerMessage};
use crate::flash::{
    ConnectRequest, FlowDecision, FlowDelivery, FlowMetadata, Rejection, ServerConnection,
    ServerConnectionEvent,
};
use crate::transport::{
    Addressed, FlowAction, FlowId, FlowInput, FlowOptions, FlowToken, MessageOptions, SessionId,
    Time,
};
use crate::wire::{Shown, worth_keeping};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Characters of a method's name in an event.
const MAX_NAME_LOGGED: usize = 64;

/// The server's flow back to a client's `GC` flow: the only one of its owner.
const BACK: FlowToken = FlowToken(0);

/// Whose flow in the session of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// The NetConnection.
    Connection,
    /// The membership that began with this `GC` flow.
    Membership(FlowId),
}

/// A client's `GC` flow.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// The group, once the join message has come.
    pub(super) group: Option<GroupId>,
    /// When it has come.
    pub(super) joined: Time,
    /// The server's flow back is open.
    answered: bool,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: Fingerprint,
    /// Its current address.
    pub(super) address: SocketAddr,
    pub(super) connection: ServerConnection,
    /// The application that it has connected to, as streams know it.
    pub(super) app: Arc<str>,
    /// What it may do, if its token says so; otherwise everything.
    pub(super) rights: Option<Box<Rights>>,
    /// A peer of this process, by the [`OwnToken`](super::OwnToken).
    pub(super) is_own: bool,
    /// Its questions to the owner, if there has been one.
    pub(super) lane: Option<LaneId>,
    /// When its session was opened.
    pub(super) opened: Time,
    /// Time by which the client has to connect, or is closed after a refusal.
    pub(super) deadline: Option<Time>,
    /// It was refused: its session is closed when it has read the answer.
    is_refused: bool,
    /// Its connection was reported to the owner.
    pub(super) announced: bool,
    /// Addresses that the client has reported, of which others are told.
    pub(super) reported: Reported,
    /// All that it has reported.
    pub(super) local_addresses: Vec<SocketAddr>,
    /// The address of the server in the URI by which it has connected.
    pub(super) called: Option<IpAddr>,
    /// Its way is to be checked when it has reported its addresses.
    wants_check: bool,
    /// It has sent a message that was too long, and that was reported.
    sent_too_long: bool,
    /// Time of the last ping for the sake of a newcomer.
    pub(super) probed: Option<Time>,
    pub(super) memberships: BTreeMap<FlowId, Membership>,
}

impl Client {
    pub(super) fn new(
        peer: Fingerprint,
        address: SocketAddr,
        connection: ServerConnection,
        (opened, deadline): (Time, Time),
    ) -> Self {
        Self {
            peer,
            address,
            connection,
            app: Arc::default(),
            rights: None,
            is_own: false,
            lane: None,
            opened,
            deadline: Some(deadline),
            is_refused: false,
            announced: false,
            reported: Reported::default(),
            local_addresses: Vec::new(),
            called: None,
            wants_check: false,
            sent_too_long: false,
            probed: None,
            memberships: BTreeMap::new(),
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
        let token = match association.and_then(|to| self.flows.sender(session, to)) {
            Some((Owner::Connection, token)) => Some(token),
            _ => None,
        };
        let accepted = match FlowMetadata::parse(metadata) {
            Some(FlowMetadata::GroupServer) => {
                let has_space =
                    client.is_own || client.memberships.len() < self.config.max_groups_per_client;
                let joins = client.connection.is_connected() && has_space;
                self.stats.joins_refused += u64::from(!has_space);
                if joins {
                    client.memberships.insert(flow, Membership::default());
                }
                joins
            }
            Some(FlowMetadata::Tc { .. }) if association.is_none() || token.is_some() => {
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
        self.deliver_in_order(now, session, flow, FlowDelivery::Message(message.clone()));
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
        self.stats.messages_too_long += 1;
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
            let end = FlowAction::Finish { token: BACK };
            self.execute(now, session, Owner::Membership(flow), end);
            if let Some(group) = membership.group {
                self.leave(session, peer, group);
            }
            return;
        }
        self.deliver_in_order(now, session, flow, FlowDelivery::Finished);
    }

    /// Something happened to a flow of a client's session.
    pub(super) fn on_flow_input(&mut self, now: Time, addressed: Addressed<Owner>) {
        let Addressed { session, owner, input } = addressed;
        let Some(client) = self.clients.get_mut(&session) else { return };
        match owner {
            Owner::Connection => {
                client.connection.on_flow_input(&input);
                self.serve(now, session);
            }
            Owner::Membership(flow) => {
                let FlowInput::Rejected { .. } = input else { return };
                if let Some(membership) = client.memberships.get_mut(&flow) {
                    membership.answered = false;
                }
            }
        }
    }

    /// Sends a member the IDs of others, each in a message of its own.
    pub(super) fn send_members(
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
        let (owner, token) = (Owner::Membership(flow), BACK);
        if !std::mem::replace(&mut membership.answered, true) {
            let metadata = Bytes::from_static(&SERVER_METADATA);
            let options = FlowOptions::immediate(Some(flow));
            self.execute(now, session, owner, FlowAction::Open { token, metadata, options });
        }
        for &other in others {
            let message = ServerMessage::Connect(other).to_bytes();
            let options = MessageOptions::RELIABLE;
            self.execute(now, session, owner, FlowAction::Send { token, message, options });
        }
    }

    /// Carries out the requests of a client's connection, and answers it.
    pub(super) fn serve(&mut self, now: Time, session: SessionId) {
        loop {
            self.carry_out(now, session);
            let event = self.clients.get_mut(&session).and_then(|c| c.connection.poll_event());
            let Some(event) = event else { return };
            self.on_connection_event(now, session, event);
        }
    }

    /// Carries out the requests of a client's connection.
    pub(super) fn carry_out(&mut self, now: Time, session: SessionId) {
        while let Some(action) =
            self.clients.get_mut(&session).and_then(|c| c.connection.poll_action())
        {
            self.execute(now, session, Owner::Connection, action);
        }
    }

    fn on_connection_event(&mut self, now: Time, session: SessionId, event: ServerConnectionEvent) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        match event {
            ServerConnectionEvent::ConnectRequested(request) => {
                client.called = connectivity::called(&request);
                client.wants_check = connectivity::is_wanted(&request, application(&request.app));
                if self.config.own_token.as_ref().is_some_and(|own| own.is_in(&request)) {
                    client.is_own = true;
                    let rights = Some(Box::new(Rights::of_own_peer()));
                    return self.accept(now, session, &request.app, rights);
                }
                match self.admit(&request) {
                    Ok(rights) => self.ask_to_connect(now, session, request, rights),
                    Err(reason) => self.refuse(now, session, &request.app, reason, None),
                }
            }
            ServerConnectionEvent::PeerInfo(addresses) => {
                if let Some(info) = self.endpoint.session(session) {
                    let (observed, own) = (info.path().remote, &self.config.own_addresses);
                    let refused = client.reported.replace(observed, &addresses, own);
                    self.stats.addresses_refused += refused as u64;
                    client.local_addresses = addresses;
                    if std::mem::take(&mut client.wants_check) {
                        // It has not called: there is no answer that says why not.
                        let _ = self.check_connectivity(now, session, None);
                    }
                }
            }
            ServerConnectionEvent::Call(call) => self.on_call(now, session, call),
            ServerConnectionEvent::SharedObject(message) => {
                self.on_shared_object(now, session, &message);
            }
            ServerConnectionEvent::Stream { stream, event } => {
                self.on_stream_event(now, session, stream, event);
            }
            ServerConnectionEvent::TooManyStreams => self.stats.net_streams_refused += 1,
            ServerConnectionEvent::Closed => self.endpoint.close(now, session),
            _ => {}
        }
    }

    /// Bytes that wait in the flow of a client's NetConnection, until they are acknowledged.
    pub(super) fn queued_in_control(&self, session: SessionId) -> u64 {
        let client = self.clients.get(&session);
        let token = client.and_then(|client| client.connection.control_flow());
        token.map_or(0, |it| self.flows.queued(&self.endpoint, session, Owner::Connection, it))
    }

    /// The rights of a client that wants to connect, if it may.
    fn admit(&self, request: &ConnectRequest) -> Result<Option<Box<Rights>>, RefusalReason> {
        if !self.config.is_welcome(&request.app) {
            return Err(RefusalReason::NoApplication);
        }
        let tokens = self.config.tokens.as_deref();
        let rights = tokens.map(|tokens| access::rights(tokens, request)).transpose()?;
        Ok(rights.map(Box::new))
    }

    pub(super) fn accept(
        &mut self,
        now: Time,
        session: SessionId,
        app: &str,
        rights: Option<Box<Rights>>,
    ) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        if let Err(error) = client.connection.accept(now, NO_EXTRAS) {
            tracing::debug!(%session, %error, "connect not answered");
            return;
        }
        if !std::mem::replace(&mut client.announced, true) {
            self.connected += 1;
        }
        client.app = application(app).into();
        let name = rights.as_ref().and_then(|rights| rights.name.as_deref());
        let name = name.map(|name| worth_keeping(name).to_owned());
        client.rights = rights;
        if let Some(deadline) = client.deadline.take() {
            self.deadlines.remove(&(deadline, session));
        }
        let peer = client.peer;
        self.stats.connected += 1;
        if let Some(info) = self.endpoint.session(session) {
            let address = info.path().remote;
            let app = worth_keeping(&without_token(app)).to_owned();
            self.report(RendezvousEvent::ClientConnected { peer, address, app, name });
        }
    }

    /// Refuses a client. Its session stays until it has had time to read the answer. A hook may have a
    /// reason in words, and another server for it.
    pub(super) fn refuse(
        &mut self,
        now: Time,
        session: SessionId,
        app: &str,
        reason: RefusalReason,
        by_hook: Option<(&str, Option<&str>)>,
    ) {
        let Some(client) = self.clients.get_mut(&session) else { return };
        let address = client.address;
        let app = without_token(app);
        let rejection = match reason {
            RefusalReason::NoApplication => {
                self.stats.applications_refused += 1;
                let why = format!("there is no application {:?} here", Shown::new(&app));
                let code = "NetConnection.Connect.InvalidApp".into();
                Rejection { code, ..Rejection::new(why) }
            }
            RefusalReason::Token(why) => {
                self.stats.tokens_refused += 1;
                Rejection::new(why.to_string())
            }
            RefusalReason::Hook => {
                self.stats.hook_refused += 1;
                let (why, redirect) = by_hook.unwrap_or(("the arguments are too long", None));
                let redirect = redirect.map(str::to_owned);
                Rejection { redirect, ..Rejection::new(why) }
            }
        };
        if let Err(error) = client.connection.reject(now, &rejection) {
            tracing::debug!(%session, %error, "connect not answered");
        }
        client.is_refused = true;
        let deadline = now + self.config.linger_refused;
        if let Some(before) = client.deadline.replace(deadline) {
            self.deadlines.remove(&(before, session));
        }
        self.deadlines.insert((deadline, session));
        let app = worth_keeping(&app).to_owned();
        self.report(RendezvousEvent::ClientRefused { address, app, reason });
    }

    fn execute(&mut self, now: Time, session: SessionId, owner: Owner, action: FlowAction) {
        if let FlowAction::Reject { flow, .. } = &action {
            self.barriers.on_flow_rejected(session, *flow);
        }
        self.flows.execute(&mut self.endpoint, now, session, owner, action);
    }

    /// Closes clients that did not connect in time.
    pub(super) fn client_timeouts(&mut self, now: Time) {
        while let Some(&(at, session)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(client) = self.clients.get_mut(&session) {
                client.deadline = None;
                // Those that were refused have read the answer.
                self.stats.connects_timed_out += u64::from(!client.is_refused);
            }
            self.endpoint.close(now, session);
        }
    }
}

const NO_EXTRAS: [(&str, crate::amf::Value); 0] = [];
