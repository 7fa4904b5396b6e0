//! Endpoint events to the NetConnection and the groups.

use super::*;
use crate::flash::group_channel::ServerMessage;
use crate::flash::{ClientEvent, FlowDecision, FlowKind as Metadata};
use crate::group::message::MembershipMessage;
use crate::group::{HelloVerdict, OpenVerdict};
use crate::transport::{CloseReason, Event, Role};
use bytes::Bytes;

impl Node {
    /// Moves everything that waits until nothing does.
    pub(super) fn pump(&mut self, now: Time) {
        loop {
            let mut busy = false;
            while let Some(event) = self.endpoint.poll_event() {
                self.dispatch(now, event);
                busy = true;
            }
            busy |= self.connection_actions(now);
            busy |= self.group_actions(now);
            if !busy {
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
                self.on_flow_rejected(now, session, flow, exception);
            }
            Event::FlowDone { session, flow } => {
                self.senders.remove(&(session, flow));
            }
            Event::AddressChanged { session, address } => {
                for joined in self.groups.values_mut() {
                    joined.group.on_far_address(session, address);
                }
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
            // The attempt ended in a session that the groups know already.
            if asked {
                self.groups.values_mut().for_each(|j| j.group.on_connect_failed(now, far));
            }
            return;
        }
        self.events.push_back(NodeEvent::SessionOpened(session));
        self.peers.insert(session, far);
        self.endpoint.watch(now, session, Epd::for_fingerprint(far));
        self.search.reached(far);
        for handle in self.groups.keys().copied().collect::<Vec<_>>() {
            self.tell_group_of_session(now, handle, session);
        }
    }

    fn begin_connection(&mut self, now: Time, session: SessionId, uri: &Uri) {
        self.events.push_back(NodeEvent::SessionOpened(session));
        let client = self.config.client.clone();
        match ClientConnection::connect(now, client, uri, Vec::new()) {
            Ok(mut connection) => {
                connection.set_addresses(now, &self.addresses);
                self.server_address = self.endpoint.session(session).map(|info| info.path().remote);
                self.server = Server::Session(Box::new(ServerSession {
                    session,
                    uri: uri.clone(),
                    connection,
                    flows: BTreeMap::new(),
                    tokens: HashMap::new(),
                    since: now,
                }));
            }
            Err(error) => {
                self.endpoint.close(now, session);
                self.fail_connection(now, ConnectError::Invalid(error));
            }
        }
    }

    pub(super) fn fail_connection(&mut self, now: Time, error: ConnectError) {
        self.server = Server::None;
        self.forget_server_flows();
        self.connect_failed(now, error);
    }

    fn connect_failed(&mut self, now: Time, error: ConnectError) {
        self.search.connect_failed(error.clone());
        self.emit_connection_event(now, NodeEvent::ConnectFailed(error));
    }

    pub(super) fn tell_group_of_session(
        &mut self,
        now: Time,
        handle: GroupHandle,
        session: SessionId,
    ) {
        let Some(info) = self.endpoint.session(session) else { return };
        let Some(joined) = self.groups.get_mut(&handle) else { return };
        joined.group.on_session_opened(
            now,
            session,
            info.far(),
            info.role() == Role::Initiator,
            *info.near_nonce(),
            *info.far_nonce(),
            info.path().remote,
        );
    }

    fn on_open_failed(&mut self, now: Time, open: OpenId, error: OpenError) {
        if let Some((peer, _)) = self.attempts.remove(&open) {
            tracing::debug!(%peer, %error, "member not reached");
            self.search.unreached(peer, error);
            for joined in self.groups.values_mut() {
                joined.group.on_connect_failed(now, peer);
            }
        } else if matches!(&self.server, Server::Opening { open: id, .. } if *id == open) {
            self.fail_connection(now, error.into());
        }
    }

    fn on_session_closed(&mut self, now: Time, session: SessionId, reason: CloseReason) {
        self.receivers.retain(|(of, _), _| *of != session);
        self.senders.retain(|(of, _), _| *of != session);
        if let Some(far) = self.peers.remove(&session) {
            for joined in self.groups.values_mut() {
                let was_neighbor = joined.group.neighbors().iter().any(|n| n.session == session);
                joined.flows.retain(|(of, _), _| *of != session);
                joined.released.remove(&session);
                joined.group.on_session_closed(now, session);
                if was_neighbor && reason == CloseReason::Forgotten {
                    // It is there, as it answers hellos.
                    joined.group.on_introduced(now, far, false);
                }
            }
        }
        let Server::Session(server) = &self.server else { return };
        if server.session != session {
            return;
        }
        let was_connected = server.connection.is_connected();
        let uri = server.uri.clone();
        self.server = Server::None;
        self.forget_server_flows();
        match was_connected {
            true => self.emit_connection_event(now, NodeEvent::Disconnected),
            false => self.connect_failed(now, ConnectError::Closed),
        }
        if let (CloseReason::Forgotten, Some(address)) = (reason, self.server_address) {
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
        let owner = association.and_then(|to| self.senders.get(&(session, to)).copied());
        let kind = FlowKind::from_metadata(metadata);
        let accepted = match (Metadata::parse(metadata), owner) {
            (Some(Metadata::Tc { .. }), _) if self.is_server(session) => {
                self.offer_to_connection(now, flow, metadata, owner)
            }
            (Some(Metadata::GroupServer), Some(Sender::GroupServer(handle))) => {
                Some(Receiver::GroupServer(handle))
            }
            (Some(Metadata::GroupPeer(_)), Some(Sender::Group(handle, associated))) => kind
                .and_then(|kind| self.offer_to_group(now, handle, session, flow, kind, associated)),
            (Some(Metadata::GroupPeer(_)), None) if kind == Some(FlowKind::Membership) => {
                let waiting = self.receivers.iter().filter(|(_, r)| **r == Receiver::Unclaimed);
                let (all, here) = waiting.fold((0, 0), |(all, here), (&(of, _), _)| {
                    (all + 1, here + usize::from(of == session))
                });
                let room = all < MAX_UNCLAIMED && here < MAX_UNCLAIMED_OF_SESSION;
                (association.is_none() && room).then_some(Receiver::Unclaimed)
            }
            _ => None,
        };
        match accepted {
            Some(receiver) => {
                self.receivers.insert((session, flow), receiver);
            }
            None => {
                let _ = self.endpoint.reject_flow(session, flow, 0);
            }
        }
    }

    fn offer_to_connection(
        &mut self,
        now: Time,
        flow: FlowId,
        metadata: &[u8],
        owner: Option<Sender>,
    ) -> Option<Receiver> {
        let Server::Session(server) = &mut self.server else { return None };
        let token = match owner {
            Some(Sender::Connection(token)) => Some(token),
            _ => None,
        };
        match server.connection.on_flow_opened(now, flow, metadata, token) {
            FlowDecision::Accept => Some(Receiver::Connection),
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
        associated: FlowKind,
    ) -> Option<Receiver> {
        let joined = self.groups.get_mut(&handle)?;
        match joined.group.on_flow_opened(now, session, flow, kind, associated) {
            OpenVerdict::Accept => Some(Receiver::Group(handle)),
            OpenVerdict::Reject(_) => None,
        }
    }

    fn on_message(&mut self, now: Time, session: SessionId, flow: FlowId, message: Bytes) {
        let Some(&receiver) = self.receivers.get(&(session, flow)) else { return };
        match receiver {
            Receiver::Connection => {
                if let Server::Session(server) = &mut self.server {
                    server.connection.on_message(now, flow, &message);
                }
                self.connection_events(now);
            }
            Receiver::GroupServer(handle) => {
                if let Some(joined) = self.groups.get_mut(&handle) {
                    joined.group.on_server_message(now, &message);
                }
                self.doubt_introduced(now, &message);
            }
            Receiver::Group(handle) => {
                if let Some(joined) = self.groups.get_mut(&handle) {
                    joined.group.on_message(now, session, flow, message);
                }
            }
            Receiver::Unclaimed => self.claim(now, session, flow, &message),
        }
    }

    /// The server introduces a member with whom there is a session: that member may have been
    /// restarted and know nothing of it.
    fn doubt_introduced(&mut self, now: Time, message: &Bytes) {
        if let Ok(ServerMessage::Connect(peer) | ServerMessage::Hint(peer)) =
            ServerMessage::parse(message)
            && let Some(session) = self.endpoint.session_with(peer)
        {
            self.endpoint.doubt(now, session);
        }
    }

    /// A call of the server fails; a flow of a member is rejected.
    fn on_message_too_long(&mut self, now: Time, session: SessionId, flow: FlowId, head: &Bytes) {
        tracing::warn!(%session, %flow, "a message was longer than the limit and was dropped");
        match (self.receivers.get(&(session, flow)), &mut self.server) {
            (Some(Receiver::Connection), Server::Session(server)) => {
                server.connection.on_message_too_long(now, flow, head);
            }
            _ => {
                let _ = self.endpoint.reject_flow(session, flow, 0);
                self.on_flow_finished(now, session, flow);
            }
        }
    }

    /// The first message of a `GR 1C` flow tells the group.
    fn claim(&mut self, now: Time, session: SessionId, flow: FlowId, message: &Bytes) {
        let wanted = MembershipMessage::group_of_hello(message);
        let group =
            self.groups.iter_mut().find(|(_, joined)| wanted == Some(joined.group.id())).map(
                |(&handle, joined)| (handle, joined.group.on_hello(now, session, flow, message)),
            );
        match group {
            Some((handle, HelloVerdict::Accept)) => {
                self.receivers.insert((session, flow), Receiver::Group(handle));
            }
            Some((_, HelloVerdict::Reject(code))) => self.refuse(session, flow, code),
            None => self.refuse(session, flow, 0),
        }
    }

    fn refuse(&mut self, session: SessionId, flow: FlowId, code: u64) {
        self.receivers.remove(&(session, flow));
        let _ = self.endpoint.reject_flow(session, flow, code);
    }

    fn on_flow_finished(&mut self, now: Time, session: SessionId, flow: FlowId) {
        match self.receivers.remove(&(session, flow)) {
            Some(Receiver::Connection) => {
                if let Server::Session(server) = &mut self.server {
                    server.connection.on_flow_finished(flow);
                }
                self.connection_events(now);
            }
            Some(Receiver::Group(handle)) => {
                if let Some(joined) = self.groups.get_mut(&handle) {
                    joined.group.on_flow_finished(now, session, flow);
                }
            }
            Some(Receiver::GroupServer(_) | Receiver::Unclaimed) | None => {}
        }
    }

    fn on_flow_rejected(&mut self, now: Time, session: SessionId, flow: FlowId, exception: u64) {
        match self.senders.get(&(session, flow)).copied() {
            Some(Sender::Connection(token)) => {
                if let Server::Session(server) = &mut self.server {
                    server.connection.on_flow_rejected(token, exception);
                }
                self.connection_events(now);
            }
            Some(Sender::Group(handle, kind)) => {
                if let Some(joined) = self.groups.get_mut(&handle) {
                    // A newer flow of the kind may have taken its place already.
                    if joined.flows.get(&(session, kind)) == Some(&flow) {
                        joined.flows.remove(&(session, kind));
                        joined.group.on_flow_rejected(now, session, kind, exception);
                    }
                }
            }
            Some(Sender::GroupServer(handle)) => {
                tracing::warn!("the server does not offer group membership");
                self.search.unserved(handle);
                if let Some(joined) = self.groups.get_mut(&handle) {
                    joined.server_flow = None;
                    joined.group.on_server_rejected();
                }
            }
            None => {}
        }
    }

    /// What the NetConnection tells.
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
                    self.emit_connection_event(now, NodeEvent::Disconnected);
                }
                _ => {}
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
                let error = self.endpoint.give_up(now, open).unwrap_or(OpenError::Cancelled);
                self.fail_connection(now, error.into());
            }
            Server::Session(server)
                if !server.connection.is_connected()
                    && now.since(server.since) >= CONNECT_ANSWER =>
            {
                let session = server.session;
                self.fail_connection(now, ConnectError::NoAnswer(CONNECT_ANSWER));
                self.endpoint.close(now, session);
            }
            _ => {}
        }
        let late: Vec<OpenId> =
            self.attempts.iter().filter(|(_, (_, at))| *at <= now).map(|(&open, _)| open).collect();
        for open in late {
            if let Some(error) = self.endpoint.give_up(now, open) {
                self.on_open_failed(now, open, error);
            }
        }
        for joined in self.groups.values_mut() {
            if joined.guest.as_ref().is_some_and(|g| g.poll_timeout().is_some_and(|at| at <= now))
                && let Some((guest, group)) = joined.guest_mut()
            {
                guest.handle_timeout(now, group);
            }
            if joined.group.poll_timeout().is_some_and(|at| at <= now) {
                for neighbor in joined.group.neighbors() {
                    let info = self.endpoint.session(neighbor.session);
                    if let Some(rtt) = info.and_then(|info| info.round_trip()) {
                        joined.group.on_rtt(neighbor.session, rtt);
                    }
                }
                joined.group.handle_timeout(now);
            }
        }
    }
}
