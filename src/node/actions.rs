//! Execution of the actions of the NetConnection and the groups.

use super::{GROUP_SERVER, GroupHandle, Node, NodeEvent, Owner, PEER_OPEN, Server};
use crate::crypto::{Epd, Fingerprint};
use crate::flash::group_channel::SERVER_METADATA;
use crate::group::{GroupAction, GroupEvent};
use crate::transport::{
    FarAddress, FlowAction, FlowOptions, MessageOptions, NamedBy, Role, SessionId, Time,
};
use bytes::Bytes;
use std::net::SocketAddr;

impl Node {
    /// Carries out the actions of the NetConnection. True if there were any.
    pub(super) fn connection_actions(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Server::Session(server) = &mut self.server
            && let Some(action) = server.connection.poll_action()
        {
            busy = true;
            let session = server.session;
            self.execute(now, session, Owner::Connection, action);
        }
        busy
    }

    /// Executes a flow action. If the flow is full, its owner receives that input at once.
    pub(super) fn execute(
        &mut self,
        now: Time,
        session: SessionId,
        owner: Owner,
        action: FlowAction,
    ) {
        if let FlowAction::Reject { flow, .. } = action {
            self.forget_at_barriers(session, owner, flow);
        }
        self.flows.execute(&mut self.endpoint, now, session, owner, action);
        self.flow_inputs(now);
    }

    /// Passes flow inputs to the owners of the flows. True if there were any.
    pub(super) fn flow_inputs(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(addressed) = self.flows.poll_input() {
            busy = true;
            self.on_flow_input(now, addressed);
        }
        busy
    }

    /// Carries out the actions of the groups that were called. True if there were any.
    pub(super) fn group_actions(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(handle) = self.touched.pop_first() {
            busy = true;
            self.group_turns += 1;
            self.drain_group(now, handle);
        }
        busy
    }

    fn drain_group(&mut self, now: Time, handle: GroupHandle) {
        let mut is_active = self.take_group_actions(now, handle);
        is_active |= self.group_events(now, handle);
        if is_active && let Some((guest, group)) = self.touch_guest(handle) {
            guest.handle_group_change(now, group);
        }
        let Some(joined) = self.groups.get_mut(&handle) else { return };
        let at = joined.poll_timeout();
        let before = std::mem::replace(&mut joined.deadline, at);
        if before != at {
            if let Some(before) = before {
                self.deadlines.remove(&(before, handle));
            }
            self.deadlines.extend(at.map(|at| (at, handle)));
        }
    }

    fn take_group_actions(&mut self, now: Time, handle: GroupHandle) -> bool {
        let mut busy = false;
        while let Some(action) = self.groups.get_mut(&handle).and_then(|j| j.group.poll_action()) {
            busy = true;
            self.group_action(now, handle, action);
        }
        busy
    }

    /// Delivers the events of a group. True if there were any. A guest's reaction to an event is
    /// carried out before the next event is delivered, so that a guest gets no more requests than
    /// its flows have space for.
    fn group_events(&mut self, now: Time, handle: GroupHandle) -> bool {
        let mut busy = false;
        while let Some(joined) = self.groups.get_mut(&handle)
            && let Some(event) = joined.group.poll_event()
        {
            busy = true;
            if let GroupEvent::NeighborConnect { peer_id, .. } = event {
                self.search.met(handle, peer_id);
            }
            match joined.guest_mut() {
                Some((guest, group)) => {
                    guest.handle_event(now, group, event);
                    self.take_group_actions(now, handle);
                    self.touched.insert(handle);
                }
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
            GroupAction::Flow { session, action } => {
                if let (FlowAction::Open { .. }, Some(peer)) =
                    (&action, self.peers.get_mut(&session))
                {
                    peer.released_by.remove(&handle);
                }
                self.execute(now, session, Owner::Group(handle), action);
            }
            GroupAction::ReleaseSession { session } => self.release(now, handle, session),
        }
    }

    /// Opens a session to a member, directly at its reported addresses and through the server. If
    /// the member is only reported, and so may not exist, the request to the server counts against
    /// the session that reported it.
    fn reach(
        &mut self,
        now: Time,
        peer: Fingerprint,
        mut addresses: Vec<FarAddress>,
        reported_by: Option<SessionId>,
    ) {
        if self.is_reaching(peer) {
            return;
        }
        if let Server::Session(server) = &self.server
            && let Some(address) = self.server_address.filter(|_| self.is_connected())
        {
            let named_by = NamedBy::Session(reported_by.unwrap_or(server.session));
            addresses.push(FarAddress { address, named_by });
        }
        if addresses.is_empty() {
            self.touch_all(|group| group.on_connect_failed(now, peer));
            return;
        }
        self.attempt(now, peer, addresses);
    }

    /// Opens a session to the peer of a stream, at addresses that the application knows and through
    /// the server. False if there is neither.
    pub(super) fn reach_directly(
        &mut self,
        now: Time,
        peer: Fingerprint,
        known: &[SocketAddr],
    ) -> bool {
        let server = self.server_address.filter(|_| self.is_connected());
        let named = |address| FarAddress { address, named_by: NamedBy::Owner };
        let addresses: Vec<_> = known.iter().copied().chain(server).map(named).collect();
        let can_reach = !addresses.is_empty() || self.is_reaching(peer);
        if can_reach && (!known.is_empty() || !self.is_reaching(peer)) {
            self.attempt(now, peer, addresses);
        }
        can_reach
    }

    fn is_reaching(&self, peer: Fingerprint) -> bool {
        self.attempts.values().any(|(known, _)| *known == peer)
    }

    fn attempt(&mut self, now: Time, peer: Fingerprint, addresses: Vec<FarAddress>) {
        let open = self.endpoint.open_at(now, Epd::for_fingerprint(peer), addresses);
        self.attempts.insert(open, (peer, now + PEER_OPEN));
    }

    /// Closes a session that no group needs.
    fn release(&mut self, now: Time, handle: GroupHandle, session: SessionId) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        peer.released_by.insert(handle);
        self.close_if_unneeded(now, session);
    }

    /// Closes a session with a peer that neither a group nor a stream needs, if this end opened it.
    pub(super) fn close_if_unused(&mut self, now: Time, session: SessionId) {
        let info = self.endpoint.session(session);
        if info.is_some_and(|info| info.role() == Role::Initiator) {
            self.close_if_unneeded(now, session);
        }
    }

    fn close_if_unneeded(&mut self, now: Time, session: SessionId) {
        let Some(peer) = self.peers.get(&session) else { return };
        if peer.released_by.len() == self.groups.len() && !self.streams.uses(session) {
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
        if joined.is_at_server || !joined.group.config().spec.server_channel_enabled() {
            return;
        }
        joined.is_at_server = true;
        let message = joined.group.join_message();
        let (owner, token) = (Owner::GroupServer(handle), GROUP_SERVER);
        let metadata = Bytes::from_static(&SERVER_METADATA);
        let options = FlowOptions::immediate(association);
        self.execute(now, session, owner, FlowAction::Open { token, metadata, options });
        let options = MessageOptions::RELIABLE;
        self.execute(now, session, owner, FlowAction::Send { token, message, options });
    }

    /// Marks every group as not joined at the server: the `GC` flows have closed with the
    /// NetConnection.
    pub(super) fn forget_server_flows(&mut self) {
        for joined in self.groups.values_mut() {
            joined.is_at_server = false;
        }
    }
}
