//! Dispatch of endpoint events to the NetConnection and the groups.

use super::{
    CONNECT_ANSWER, GroupHandle, MAX_UNCLAIMED, MAX_UNCLAIMED_OF_SESSION, NetConnectionError, Node,
    NodeEvent, Owner, Peer, Server, ServerSession, Unclaimed,
};
use crate::crypto::{Epd, Fingerprint};
use crate::flash::group_channel::ServerMessage;
use crate::flash::{ClientConnection, ClientEvent, FlowDecision, FlowDelivery, FlowMetadata, Uri};
use crate::group::message::MembershipMessage;
use crate::group::{FlowKind, FlowVerdict, GroupId};
use crate::transport::{
    Addressed, CloseReason, Event, FlowId, FlowInput, FlowToken, OpenId, OpenSessionError, Role,
    SessionId, Time,
};
use bytes::Bytes;
use std::collections::BTreeSet;

impl Node {
    /// Processes events, flow inputs and actions until none is left.
    pub(super) fn process(&mut self, now: Time) {
        self.note_uplink(now);
        loop {
            let mut busy = false;
            while let Some(event) = self.endpoint.poll_event() {
                self.dispatch(now, event);
                busy = true;
            }
            busy |= self.flow_inputs(now);
            busy |= self.connection_actions(now);
            busy |= self.group_actions(now);
            if !busy && !self.permit_request(now) {
                return;
            }
        }
    }

    fn dispatch(&mut self, now: Time, event: Event) {
        match event {
            Event::SessionOpened { session, far, opens, .. } => {
                self.on_session_opened(now, session, far, &opens);
            }
            Event::OpenFailed { open, error } => self.on_open_failed(now, open, error),
            Event::SessionClosed { session, reason } => {
                self.on_session_closed(now, session, reason)
            }
            Event::FlowOpened { session, flow, metadata, association } => {
                self.on_flow_opened(now, session, flow, &metadata, association);
            }
            Event::Message { session, flow, message } => {
                self.on_message(now, session, flow, message);
            }
            Event::MessageTooLong { session, flow, head } => {
                self.on_message_too_long(now, session, flow, &head);
            }
            Event::FlowFinished { session, flow } => self.on_flow_finished(now, session, flow),
            Event::FlowRejected { session, flow, exception } => {
                self.flows.on_flow_rejected(session, flow, exception);
            }
            Event::FlowDone { session, flow } => self.flows.on_flow_done(session, flow),
            Event::Gap { session, flow } => self.flows.on_gap(session, flow),
            Event::Writable { session, flow } => {
                self.flows.on_writable(&mut self.endpoint, now, session, flow);
            }
            Event::AddressChanged { session, address } => {
                let is_local = self.endpoint.is_local(session);
                self.touch_all(|group| {
                    group.on_far_address(session, address);
                    group.on_locality(now, session, is_local);
                });
            }
            _ => {}
        }
    }

    fn on_session_opened(
        &mut self,
        now: Time,
        session: SessionId,
        far: Fingerprint,
        opens: &[OpenId],
    ) {
        let for_server = match &self.server {
            Server::Opening { open, uri, .. } if opens.contains(open) => Some(uri.clone()),
            _ => None,
        };
        let mut asked = false;
        for open in opens {
            asked |= self.attempts.remove(open).is_some();
        }
        if let Some(uri) = for_server {
            return self.begin_connection(now, session, &uri);
        }
        if self.peers.contains_key(&session) {
            // The attempt ended in a session that the groups already know.
            self.begin_streams_with(now, session, far);
            if asked {
                self.touch_all(|group| group.on_connect_failed(now, far));
            }
            return;
        }
        self.events.push_back(NodeEvent::SessionOpened(session));
        self.peers.insert(session, Peer { far, released_by: BTreeSet::new() });
        self.endpoint.watch(now, session, Epd::for_fingerprint(far));
        self.search.reached(far);
        self.begin_streams_with(now, session, far);
        for handle in self.groups.keys().copied().collect::<Vec<_>>() {
            self.report_session_to_group(now, handle, session);
        }
    }

    fn begin_connection(&mut self, now: Time, session: SessionId, uri: &Uri) {
        self.events.push_back(NodeEvent::SessionOpened(session));
        let (client, arguments) =
            (self.config.client.clone(), self.config.connect_arguments.clone());
        match ClientConnection::connect(now, client, uri, arguments) {
            Ok(mut connection) => {
                connection.set_addresses(now, &self.addresses);
                self.server_address = self.endpoint.session(session).map(|info| info.path().remote);
                self.server = Server::Session(Box::new(ServerSession {
                    session,
                    uri: uri.clone(),
                    connection,
                    since: now,
                }));
            }
            Err(error) => {
                self.endpoint.close(now, session);
                self.fail_connection(now, NetConnectionError::Invalid(error));
            }
        }
    }

    pub(super) fn fail_connection(&mut self, now: Time, error: NetConnectionError) {
        self.server = Server::None;
        self.forget_server_flows();
        self.connect_failed(now, error);
    }

    fn connect_failed(&mut self, now: Time, error: NetConnectionError) {
        self.search.connect_failed(error.clone());
        self.emit_connection_event(now, NodeEvent::ConnectFailed(error));
    }

    pub(super) fn report_session_to_group(
        &mut self,
        now: Time,
        handle: GroupHandle,
        session: SessionId,
    ) {
        let Some(info) = self.endpoint.session(session) else { return };
        let Some(joined) = self.groups.get_mut(&handle) else { return };
        self.touched.insert(handle);
        joined.group.on_session_opened(
            now,
            session,
            info.far(),
            info.role() == Role::Initiator,
            *info.near_nonce(),
            *info.far_nonce(),
            info.path().remote,
        );
        joined.group.on_locality(now, session, self.endpoint.is_local(session));
    }

    /// This host's addresses have changed, and with them which members are in its networks.
    pub(super) fn report_localities(&mut self, now: Time) {
        for session in self.peers.keys().copied().collect::<Vec<_>>() {
            let is_local = self.endpoint.is_local(session);
            self.touch_all(|group| group.on_locality(now, session, is_local));
        }
    }

    fn on_open_failed(&mut self, now: Time, open: OpenId, error: OpenSessionError) {
        if let Some((peer, _)) = self.attempts.remove(&open) {
            tracing::debug!(%peer, %error, "peer not reached");
            self.fail_streams_with(peer, &error.clone().into());
            self.search.unreached(peer, error);
            self.touch_all(|group| group.on_connect_failed(now, peer));
        } else if matches!(&self.server, Server::Opening { open: id, .. } if *id == open) {
            self.fail_connection(now, error.into());
        }
    }

    fn on_session_closed(&mut self, now: Time, session: SessionId, reason: CloseReason) {
        self.open_barriers_of(now, session);
        self.flows.on_session_closed(session);
        for flow in self.unclaimed_of(session).collect::<Vec<_>>() {
            self.unclaimed.remove(&(session, flow));
        }
        let peer = self.peers.remove(&session);
        self.close_streams_of(session, peer.as_ref().map(|peer| peer.far));
        if let Some(Peer { far, .. }) = peer {
            self.touch_all(|group| {
                let was_neighbor = group.neighbors().iter().any(|n| n.session == session);
                group.on_session_closed(now, session);
                if was_neighbor && reason == CloseReason::SessionLost {
                    // The member is alive, as it answers hellos.
                    group.on_introduced(now, far, false);
                }
            });
        }
        let Server::Session(server) = &self.server else { return };
        if server.session != session {
            return;
        }
        let was_connected = server.connection.is_connected();
        let uri = server.uri.clone();
        self.server = Server::None;
        self.forget_server_flows();
        self.fail_streams_of_server();
        match was_connected {
            true => self.emit_connection_event(now, NodeEvent::Disconnected),
            false => self.connect_failed(now, NetConnectionError::Closed),
        }
        if let (CloseReason::SessionLost, Some(address)) = (reason, self.server_address) {
            tracing::info!(server = %address, "the server was restarted; connecting again");
            self.connect(now, &uri, &[address]);
        }
    }

    fn on_flow_opened(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        metadata: &[u8],
        association: Option<FlowId>,
    ) {
        let associated = association.and_then(|to| self.flows.sender(session, to));
        let kind = FlowKind::from_metadata(metadata);
        let accepted = match (FlowMetadata::parse(metadata), associated) {
            (Some(FlowMetadata::Tc { stream, .. }), Some((Owner::Connection, _))) if stream > 0 => {
                // A server may associate a stream's flow with the control flow (RFC 7425 §5.3.5.2).
                let handle = self.stream_of_session(session, stream);
                handle.and_then(|handle| self.offer_to_stream(handle, flow, metadata))
            }
            (Some(FlowMetadata::Tc { .. }), Some((Owner::Stream(handle), _))) => {
                self.offer_to_stream(handle, flow, metadata)
            }
            (Some(FlowMetadata::Tc { .. }), _) if self.is_server(session) => {
                self.offer_to_connection(now, flow, metadata, associated)
            }
            (Some(FlowMetadata::Tc { stream, .. }), None) if self.streams.serves_peers() => {
                return self.await_first(session, flow, association, Unclaimed::Play(stream));
            }
            (Some(FlowMetadata::GroupServer), Some((owner @ Owner::GroupServer(_), _))) => {
                Some(owner)
            }
            (Some(FlowMetadata::GroupPeer(_)), Some((Owner::Group(handle), to))) => {
                kind.and_then(|kind| self.offer_to_group(now, handle, session, flow, kind, to))
            }
            (Some(FlowMetadata::GroupPeer(_)), None) if kind == Some(FlowKind::Membership) => {
                return self.await_first(session, flow, association, Unclaimed::Hello);
            }
            _ => None,
        };
        match accepted {
            Some(owner) => self.flows.accept(session, flow, owner),
            None => self.flows.reject(&mut self.endpoint, session, flow, 0),
        }
    }

    /// Leaves a flow without an association until its first message.
    fn await_first(
        &mut self,
        session: SessionId,
        flow: FlowId,
        association: Option<FlowId>,
        waits_for: Unclaimed,
    ) {
        let has_space = self.unclaimed.len() < MAX_UNCLAIMED
            && self.unclaimed_of(session).count() < MAX_UNCLAIMED_OF_SESSION;
        match association.is_none() && has_space {
            true => drop(self.unclaimed.insert((session, flow), waits_for)),
            false => self.flows.reject(&mut self.endpoint, session, flow, 0),
        }
    }

    /// Flows of a session on which no message has arrived yet.
    fn unclaimed_of(&self, session: SessionId) -> impl Iterator<Item = FlowId> {
        let all = (session, FlowId(0))..=(session, FlowId(u64::MAX));
        self.unclaimed.range(all).map(|(&(_, flow), _)| flow)
    }

    fn offer_to_connection(
        &mut self,
        now: Time,
        flow: FlowId,
        metadata: &[u8],
        associated: Option<(Owner, FlowToken)>,
    ) -> Option<Owner> {
        let Server::Session(server) = &mut self.server else { return None };
        let token = match associated {
            Some((Owner::Connection, token)) => Some(token),
            _ => None,
        };
        match server.connection.on_flow_opened(now, flow, metadata, token) {
            FlowDecision::Accept => Some(Owner::Connection),
            FlowDecision::Reject(_) => None,
        }
    }

    fn offer_to_group(
        &mut self,
        now: Time,
        handle: GroupHandle,
        session: SessionId,
        flow: FlowId,
        kind: FlowKind,
        associated: FlowToken,
    ) -> Option<Owner> {
        match self.touch(handle)?.on_flow_opened(now, session, flow, kind, associated) {
            FlowVerdict::Accept => Some(Owner::Group(handle)),
            FlowVerdict::Reject(_) => None,
        }
    }

    fn on_message(&mut self, now: Time, session: SessionId, flow: FlowId, message: Bytes) {
        let Some(owner) = self.flows.receiver(session, flow) else {
            match self.unclaimed.remove(&(session, flow)) {
                Some(Unclaimed::Hello) => self.claim(now, session, flow, &message),
                Some(Unclaimed::Play(stream)) => {
                    self.on_play_request(now, session, flow, stream, &message);
                }
                None => {}
            }
            return;
        };
        match owner {
            Owner::Connection | Owner::Stream(_) => {
                self.deliver(now, session, flow, owner, FlowDelivery::Message(message));
            }
            Owner::GroupServer(handle) => {
                if let Some(group) = self.touch(handle) {
                    group.on_server_message(now, &message);
                }
                self.doubt_introduced(now, &message);
            }
            Owner::Group(handle) => {
                if let Some(group) = self.touch(handle) {
                    group.on_message(now, session, flow, message);
                }
            }
        }
    }

    /// Handles what a flow of the NetConnection or of a stream delivered.
    pub(super) fn handle_delivery(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        delivery: FlowDelivery,
    ) {
        let message = match delivery {
            FlowDelivery::Message(message) => message,
            FlowDelivery::Finished => return self.finish_flow(now, session, flow),
        };
        match self.flows.receiver(session, flow) {
            Some(Owner::Connection) => {
                if let Server::Session(server) = &mut self.server {
                    server.connection.on_message(now, flow, &message);
                }
                self.connection_events(now);
            }
            Some(Owner::Stream(handle)) => {
                self.on_stream_message(now, handle, (session, flow), &message);
            }
            Some(Owner::Group(_) | Owner::GroupServer(_)) | None => {}
        }
    }

    /// Checks the session with a member that the server introduces: the member may have restarted
    /// and lost the session.
    fn doubt_introduced(&mut self, now: Time, message: &Bytes) {
        if let Ok(ServerMessage::Connect(peer) | ServerMessage::Hint(peer)) =
            ServerMessage::parse(message)
            && let Some(session) = self.endpoint.session_with(peer)
        {
            self.endpoint.doubt(now, session);
        }
    }

    /// Drops an overlong message: a call of the server fails, a flow of a member is rejected.
    fn on_message_too_long(&mut self, now: Time, session: SessionId, flow: FlowId, head: &Bytes) {
        tracing::warn!(%session, %flow, "a message was longer than the limit and was dropped");
        match (self.flows.receiver(session, flow), &mut self.server) {
            (Some(Owner::Connection), Server::Session(server)) => {
                server.connection.on_message_too_long(now, flow, head);
            }
            _ => {
                self.on_flow_finished(now, session, flow);
                self.flows.reject(&mut self.endpoint, session, flow, 0);
            }
        }
    }

    /// Assigns a `GR 1C` flow to a group by its first message.
    fn claim(&mut self, now: Time, session: SessionId, flow: FlowId, message: &Bytes) {
        let handle = MembershipMessage::group_of_hello(message).and_then(|id| self.joined_as(id));
        let verdict = handle
            .and_then(|handle| self.touch(handle))
            .map_or(FlowVerdict::Reject(0), |group| group.on_hello(now, session, flow, message));
        match (handle, verdict) {
            (Some(handle), FlowVerdict::Accept) => {
                self.flows.accept(session, flow, Owner::Group(handle));
            }
            (_, FlowVerdict::Reject(code)) => {
                self.flows.reject(&mut self.endpoint, session, flow, code);
            }
            (None, FlowVerdict::Accept) => {}
        }
    }

    /// The group with this identity; if there are several, the one joined first.
    fn joined_as(&self, id: GroupId) -> Option<GroupHandle> {
        let from = (id, GroupHandle(0));
        self.group_ids.range(from..).next().filter(|known| known.0 == id).map(|known| known.1)
    }

    fn on_flow_finished(&mut self, now: Time, session: SessionId, flow: FlowId) {
        self.unclaimed.remove(&(session, flow));
        self.forget_waiting(session, flow);
        match self.flows.receiver(session, flow) {
            Some(owner @ (Owner::Connection | Owner::Stream(_))) => {
                self.deliver(now, session, flow, owner, FlowDelivery::Finished);
            }
            _ => self.finish_flow(now, session, flow),
        }
    }

    fn finish_flow(&mut self, now: Time, session: SessionId, flow: FlowId) {
        match self.flows.on_flow_finished(session, flow) {
            Some(Owner::Connection) => {
                if let Server::Session(server) = &mut self.server {
                    server.connection.on_flow_finished(flow);
                }
                self.connection_events(now);
            }
            Some(Owner::Group(handle)) => {
                if let Some(group) = self.touch(handle) {
                    group.on_flow_finished(now, session, flow);
                }
            }
            Some(Owner::Stream(handle)) => {
                self.on_stream_flow_finished(now, handle, (session, flow));
            }
            Some(Owner::GroupServer(_)) | None => {}
        }
    }

    /// Passes a flow input to the owner of the flow.
    pub(super) fn on_flow_input(&mut self, now: Time, addressed: Addressed<Owner>) {
        let Addressed { session, owner, input } = addressed;
        match (owner, input) {
            (Owner::Group(handle), input) => {
                if let Some(group) = self.touch(handle) {
                    group.on_flow_input(now, session, input);
                }
            }
            (Owner::Stream(handle), input) => {
                self.on_stream_flow_input(now, handle, session, &input);
            }
            (Owner::Connection, FlowInput::Rejected { token, code }) => {
                if let Server::Session(server) = &mut self.server {
                    server.connection.on_flow_rejected(token, code);
                }
                self.connection_events(now);
            }
            (Owner::GroupServer(handle), FlowInput::Rejected { .. }) => {
                tracing::warn!("the server does not offer group membership");
                if let Some(joined) = self.groups.get_mut(&handle) {
                    self.search.unserved(handle);
                    joined.is_at_server = false;
                    joined.group.on_server_rejected();
                    self.touched.insert(handle);
                }
            }
            // Commands and introductions wait until the flow is writable.
            _ => {}
        }
    }

    /// Handles the events of the NetConnection.
    pub(super) fn connection_events(&mut self, now: Time) {
        loop {
            let Server::Session(server) = &mut self.server else { return };
            let session = server.session;
            let Some(event) = server.connection.poll_event() else { return };
            match event {
                ClientEvent::Connected { .. } => self.on_connected(now, session),
                ClientEvent::Failed(failure) => {
                    self.fail_connection(now, failure.into());
                    self.endpoint.close(now, session);
                }
                ClientEvent::Keepalive(keepalive) => {
                    let dead = self.config.transport.dead_after;
                    self.endpoint.set_keepalive(session, keepalive.server, dead);
                    for peer in self.peers.keys() {
                        self.endpoint.set_keepalive(*peer, keepalive.peer, dead);
                    }
                }
                ClientEvent::Closed => {
                    self.server = Server::None;
                    self.forget_server_flows();
                    self.endpoint.close(now, session);
                    self.fail_streams_of_server();
                    self.emit_connection_event(now, NodeEvent::Disconnected);
                }
                ClientEvent::Answered { call, outcome } => {
                    if !self.stream_created(now, call, &outcome) {
                        self.events.push_back(NodeEvent::Answered(call, outcome));
                    }
                }
                ClientEvent::Call(call) => self.events.push_back(NodeEvent::Call(call)),
                ClientEvent::Status(info) => self.events.push_back(NodeEvent::Status(info)),
            }
        }
    }

    fn on_connected(&mut self, now: Time, session: SessionId) {
        let Some(info) = self.endpoint.session(session) else { return };
        let server = info.path().remote;
        self.server_address = Some(server);
        self.search.connected();
        let dead = self.config.transport.dead_after;
        self.endpoint.set_keepalive(session, self.config.server_keepalive, dead);
        if let Server::Session(server) = &self.server {
            self.endpoint.watch(now, session, Epd::for_uri(server.uri.as_str()));
        }
        for handle in self.groups.keys().copied().collect::<Vec<_>>() {
            self.join_at_server(now, handle);
        }
        self.emit_connection_event(now, NodeEvent::Connected { server });
    }

    fn is_server(&self, session: SessionId) -> bool {
        matches!(&self.server, Server::Session(server) if server.session == session)
    }

    pub(super) fn own_timeouts(&mut self, now: Time) {
        match &self.server {
            Server::Opening { open, since, .. }
                if now.since(*since) >= self.config.server_timeout =>
            {
                let open = *open;
                let error = self.endpoint.give_up(now, open).unwrap_or(OpenSessionError::Cancelled);
                self.fail_connection(now, error.into());
            }
            Server::Session(server)
                if !server.connection.is_connected()
                    && now.since(server.since) >= CONNECT_ANSWER =>
            {
                let session = server.session;
                self.fail_connection(now, NetConnectionError::NoAnswer(CONNECT_ANSWER));
                self.endpoint.close(now, session);
            }
            _ => {}
        }
        let late = self.attempts.iter().take_while(|(_, (_, at))| *at <= now);
        for open in late.map(|(&open, _)| open).collect::<Vec<_>>() {
            if let Some(error) = self.endpoint.give_up(now, open) {
                self.on_open_failed(now, open, error);
            }
        }
        self.group_timeouts(now);
        self.announce(now);
    }

    fn group_timeouts(&mut self, now: Time) {
        while let Some(&(at, handle)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            let Some(joined) = self.groups.get_mut(&handle) else { continue };
            joined.deadline = None;
            self.touched.insert(handle);
            if joined.guest.as_ref().is_some_and(|g| g.poll_timeout().is_some_and(|at| at <= now))
                && let Some((guest, group)) = joined.guest_mut()
            {
                guest.handle_timeout(now, group);
            }
            if joined.group.poll_timeout().is_none_or(|at| at > now) {
                continue;
            }
            for neighbor in joined.group.neighbors() {
                let info = self.endpoint.session(neighbor.session);
                let Some(info) = info else { continue };
                if let Some(rtt) = info.round_trip() {
                    joined.group.on_rtt(neighbor.session, rtt);
                }
                joined.group.on_unanswered(now, neighbor.session, info.unanswered_since());
            }
            joined.group.handle_timeout(now);
        }
    }
}
