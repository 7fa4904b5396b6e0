//! Flow synchronization: flows of the NetConnection and of streams that wait for each other.

use super::{Node, Owner, Server, StreamHandle};
use crate::flash::{Barriers, FlowDelivery};
use crate::transport::{FlowId, SessionId, Time};
use std::collections::BTreeMap;

/// Flows that are associated with each other, so that their barriers are the same (RFC 7425 §5.2):
/// those of a session with the server, and, of a session with a peer, those of one stream.
type Tree = (SessionId, Option<StreamHandle>);

/// The barriers at which flows wait. Flows that never carried one are not here.
#[derive(Debug, Default)]
pub(super) struct FlowBarriers(BTreeMap<Tree, Barriers>);

impl Node {
    /// A flow of the NetConnection or of a stream delivered something. It is handled at once, unless
    /// the flow waits for others.
    pub(super) fn deliver(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        owner: Owner,
        delivery: FlowDelivery,
    ) {
        let tree = self.tree_of(session, owner);
        let is_barrier = matches!(&delivery, FlowDelivery::Message(message)
            if Barriers::sync_of(message).is_some());
        if !is_barrier && !self.barriers.0.contains_key(&tree) {
            return self.handle_delivery(now, session, flow, delivery);
        }
        self.barriers.0.entry(tree).or_default().on_delivery(flow, delivery);
        self.handle_due(now, tree);
    }

    /// A flow was rejected: nothing more comes from it.
    pub(super) fn forget_at_barriers(&mut self, session: SessionId, owner: Owner, flow: FlowId) {
        let tree = self.tree_of(session, owner);
        if let Some(barriers) = self.barriers.0.get_mut(&tree) {
            barriers.on_flow_rejected(flow);
            self.remove_if_idle(tree);
        }
    }

    /// A session is closed: what waits is handled.
    pub(super) fn open_barriers_of(&mut self, now: Time, session: SessionId) {
        let all = self.barriers.0.range((session, None)..).map(|(&tree, _)| tree);
        for tree in all.take_while(|(of, _)| *of == session).collect::<Vec<_>>() {
            if let Some(barriers) = self.barriers.0.get_mut(&tree) {
                barriers.open_all();
                self.handle_due(now, tree);
            }
        }
    }

    fn handle_due(&mut self, now: Time, tree: Tree) {
        while let Some((flow, delivery)) = self.barriers.0.get_mut(&tree).and_then(Barriers::poll) {
            self.handle_delivery(now, tree.0, flow, delivery);
        }
        self.remove_if_idle(tree);
    }

    fn remove_if_idle(&mut self, tree: Tree) {
        if self.barriers.0.get(&tree).is_some_and(Barriers::is_idle) {
            self.barriers.0.remove(&tree);
        }
    }

    fn tree_of(&self, session: SessionId, owner: Owner) -> Tree {
        let is_of_server =
            matches!(&self.server, Server::Session(server) if server.session == session);
        match owner {
            Owner::Stream(handle) if !is_of_server => (session, Some(handle)),
            _ => (session, None),
        }
    }
}
