//! What the NetConnection and the groups ask for, to the endpoint.

use super::*;
use crate::flash::Action;
use crate::flash::group_channel::SERVER_METADATA;
use crate::group::GroupAction;
use crate::transport::{FarAddress, FlowOptions, MessageOptions, NamedBy, Priority, SendError};
use bytes::Bytes;

impl Node {
    /// Carries out what the NetConnection asks for. True if it asked for anything.
    pub(super) fn connection_actions(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Server::Session(server) = &mut self.server
            && let Some(action) = server.connection.poll_action()
        {
            busy = true;
            self.connection_action(now, action);
        }
        busy
    }

    fn connection_action(&mut self, now: Time, action: Action) {
        let Server::Session(server) = &mut self.server else { return };
        let session = server.session;
        match action {
            Action::OpenFlow { token, metadata, association } => {
                let options = immediate(association);
                if let Ok(flow) = self.endpoint.open_flow(session, &metadata, options) {
                    server.flows.insert(token, flow);
                    server.tokens.insert(flow, token);
                    self.senders.insert((session, flow), Sender::Connection(token));
                }
            }
            Action::Send { flow, message } => {
                if let Some(&flow) = server.flows.get(&flow) {
                    self.send(now, session, flow, message.into_bytes());
                }
            }
            Action::FinishFlow { token } => {
                if let Some(flow) = server.flows.remove(&token) {
                    server.tokens.remove(&flow);
                    let _ = self.endpoint.close_flow(session, flow);
                }
            }
            Action::RejectFlow { flow, code } => {
                let _ = self.endpoint.reject_flow(session, flow, code);
            }
            Action::CloseSession => self.endpoint.close(now, session),
        }
    }

    /// Carries out what the groups ask for. True if they asked for anything.
    pub(super) fn group_actions(&mut self, now: Time) -> bool {
        let mut busy = false;
        for handle in self.groups.keys().copied().collect::<Vec<_>>() {
            let mut is_active = false;
            while let Some(action) =
                self.groups.get_mut(&handle).and_then(|j| j.group.poll_action())
            {
                is_active = true;
                self.group_action(now, handle, action);
            }
            is_active |= self.group_events(now, handle);
            if is_active
                && let Some((guest, group)) =
                    self.groups.get_mut(&handle).and_then(Joined::guest_mut)
            {
                guest.handle_group_change(now, group);
            }
            busy |= is_active;
        }
        busy
    }

    /// Delivers what a group emits. True if it emitted anything.
    fn group_events(&mut self, now: Time, handle: GroupHandle) -> bool {
        let mut busy = false;
        while let Some(joined) = self.groups.get_mut(&handle)
            && let Some(event) = joined.group.poll_event()
        {
            busy = true;
            if let GroupEvent::NeighborConnect { peer, .. } = event {
                self.search.met(handle, peer);
            }
            match joined.guest_mut() {
                Some((guest, group)) => guest.handle_event(now, group, event),
                None => self.events.push_back(NodeEvent::Group(handle, event)),
            }
        }
        busy
    }

    fn group_action(&mut self, now: Time, handle: GroupHandle, action: GroupAction) {
        match action {
            GroupAction::Connect { peer, addresses, reported_by } => {
                self.reach(now, peer, addresses, reported_by);
            }
            GroupAction::OpenFlow { session, kind, association } => {
                self.open_group_flow(handle, session, kind, association);
            }
            GroupAction::Send { session, kind, message } => {
                let flow = self.groups.get(&handle).and_then(|j| j.flows.get(&(session, kind)));
                if let Some(&flow) = flow {
                    self.send(now, session, flow, message);
                }
            }
            GroupAction::FinishFlow { session, kind } => {
                let joined = self.groups.get_mut(&handle);
                if let Some(flow) = joined.and_then(|j| j.flows.remove(&(session, kind))) {
                    let _ = self.endpoint.close_flow(session, flow);
                }
            }
            GroupAction::RejectFlow { session, flow, code } => {
                self.receivers.remove(&(session, flow));
                let _ = self.endpoint.reject_flow(session, flow, code);
            }
            GroupAction::ReleaseSession { session } => self.release(now, handle, session),
        }
    }

    /// Opens a session to a member: straight to where it is said to be, and through the server. A
    /// member that was only reported, and may not exist, is asked for at the server on account of
    /// who reported it.
    fn reach(
        &mut self,
        now: Time,
        peer: Fingerprint,
        mut addresses: Vec<FarAddress>,
        reported_by: Option<SessionId>,
    ) {
        if self.attempts.values().any(|(known, _)| *known == peer) {
            return;
        }
        if let Server::Session(server) = &self.server
            && let Some(address) = self.server_address.filter(|_| self.is_connected())
        {
            let named_by = NamedBy::Session(reported_by.unwrap_or(server.session));
            addresses.push(FarAddress { address, named_by });
        }
        if addresses.is_empty() {
            self.groups.values_mut().for_each(|j| j.group.on_connect_failed(now, peer));
            return;
        }
        let open = self.endpoint.open_at(now, Epd::for_fingerprint(peer), addresses);
        self.attempts.insert(open, (peer, now + PEER_OPEN));
    }

    fn open_group_flow(
        &mut self,
        handle: GroupHandle,
        session: SessionId,
        kind: FlowKind,
        association: Option<FlowId>,
    ) {
        let priority = match kind {
            FlowKind::Replication | FlowKind::MulticastData => Priority::Bulk,
            FlowKind::Membership => Priority::Immediate,
            _ => Priority::Routine,
        };
        let options = FlowOptions { association, priority, time_critical: false };
        let Ok(flow) = self.endpoint.open_flow(session, &kind.metadata(), options) else { return };
        self.senders.insert((session, flow), Sender::Group(handle, kind));
        if let Some(joined) = self.groups.get_mut(&handle) {
            joined.released.remove(&session);
            joined.flows.insert((session, kind), flow);
        }
    }

    /// Closes a session for which no group has any use.
    fn release(&mut self, now: Time, handle: GroupHandle, session: SessionId) {
        if let Some(joined) = self.groups.get_mut(&handle) {
            joined.released.insert(session);
        }
        let unused = self.groups.values().all(|joined| joined.released.contains(&session));
        if unused && self.peers.contains_key(&session) {
            self.endpoint.close(now, session);
        }
    }

    /// Joins a group at the server, if there is one and the groupspec allows it.
    pub(super) fn join_at_server(&mut self, now: Time, handle: GroupHandle) {
        let Server::Session(server) = &self.server else { return };
        let (session, association) = (server.session, server.connection.server_flow());
        if !server.connection.is_connected() {
            return;
        }
        let address = self.server_address;
        let Some(joined) = self.groups.get_mut(&handle) else { return };
        joined.group.set_server_address(address);
        if joined.server_flow.is_some() || !joined.group.config().spec.server_channel_enabled() {
            return;
        }
        let message = joined.group.join_message();
        let options = immediate(association);
        let Ok(flow) = self.endpoint.open_flow(session, &SERVER_METADATA, options) else { return };
        joined.server_flow = Some(flow);
        self.senders.insert((session, flow), Sender::GroupServer(handle));
        self.send(now, session, flow, message);
    }

    /// The NetConnection is gone, and with it the groups' `GC` flows.
    pub(super) fn forget_server_flows(&mut self) {
        for joined in self.groups.values_mut() {
            joined.server_flow = None;
        }
    }

    /// A far end that does not take what it is sent is closed: nothing is lost in silence.
    fn send(&mut self, now: Time, session: SessionId, flow: FlowId, message: Bytes) {
        let sent = self.endpoint.send(now, session, flow, message, MessageOptions::RELIABLE);
        if let Err(error) = sent {
            tracing::warn!(%session, %flow, %error, "message not sent");
            if error == SendError::Full {
                self.endpoint.close(now, session);
            }
        }
    }
}

fn immediate(association: Option<FlowId>) -> FlowOptions {
    FlowOptions { association, priority: Priority::Immediate, time_critical: false }
}
