//! This end's flows to the neighbors of a group.

use super::FlowKind;
use super::feature::Lane;
use crate::transport::{FlowAction, FlowId, FlowOptions, FlowToken, SessionId};
use bytes::Bytes;
use std::collections::BTreeMap;

/// The sending flows of a group, by neighbor and kind. A token is used once, in whatever session.
#[derive(Debug, Default)]
pub(super) struct NearFlows {
    neighbors: BTreeMap<SessionId, OfNeighbor>,
    /// The session of each of this end's flows, and which flow it is.
    tokens: BTreeMap<FlowToken, (SessionId, Lane)>,
    next_token: u32,
}

#[derive(Debug, Default)]
struct OfNeighbor {
    open: BTreeMap<Lane, FlowToken>,
    /// The neighbor's membership flow, with which those of the capabilities are associated.
    association: Option<FlowId>,
}

impl NearFlows {
    /// Adds a neighbor, without flows.
    pub(super) fn insert(&mut self, session: SessionId) {
        self.neighbors.insert(session, OfNeighbor::default());
    }

    /// Associates the flows that are opened after this call with a flow of the neighbor.
    pub(super) fn associate(&mut self, session: SessionId, flow: FlowId) {
        self.neighbors.entry(session).or_default().association = Some(flow);
    }

    /// Opens a flow, by the action for the owner, associated with the neighbor's flow `to`, or with
    /// its membership flow. `None` if the session is not one of a neighbor.
    pub(super) fn open(
        &mut self,
        session: SessionId,
        lane: Lane,
        to: Option<FlowId>,
    ) -> Option<FlowAction> {
        let neighbor = self.neighbors.get_mut(&session)?;
        let (token, association) = (FlowToken(self.next_token), to.or(neighbor.association));
        self.next_token = self.next_token.wrapping_add(1);
        neighbor.open.insert(lane, token);
        self.tokens.insert(token, (session, lane));
        let metadata = Bytes::copy_from_slice(&lane.kind.metadata());
        let options =
            FlowOptions { association, priority: lane.kind.priority(), ..FlowOptions::default() };
        Some(FlowAction::Open { token, metadata, options })
    }

    /// This flow, unless it was rejected or finished.
    pub(super) fn token(&self, session: SessionId, lane: Lane) -> Option<FlowToken> {
        self.neighbors.get(&session)?.open.get(&lane).copied()
    }

    /// The session of a flow, and which flow it is.
    pub(super) fn find(&self, token: FlowToken) -> Option<(SessionId, Lane)> {
        self.tokens.get(&token).copied()
    }

    /// Removes a flow that the neighbor rejected or that this end finishes.
    pub(super) fn remove(&mut self, token: FlowToken) -> Option<(SessionId, Lane)> {
        let (session, lane) = self.tokens.remove(&token)?;
        if let Some(neighbor) = self.neighbors.get_mut(&session) {
            neighbor.open.remove(&lane);
        }
        Some((session, lane))
    }

    /// Removes the flows to a neighbor, and returns them in the order in which they are to be
    /// finished: replication before membership, because a player whose neighbor finishes `1C` first
    /// never frees its pending requests.
    pub(super) fn remove_neighbor(&mut self, session: SessionId) -> Vec<FlowToken> {
        let rank = |(lane, _): &(Lane, FlowToken)| match lane.kind {
            FlowKind::Replication => 0,
            FlowKind::Membership => 1,
            _ => 2,
        };
        let neighbor = self.neighbors.remove(&session).unwrap_or_default();
        let mut open: Vec<_> = neighbor.open.into_iter().collect();
        open.sort_by_key(rank);
        let tokens: Vec<_> = open.into_iter().map(|(_, token)| token).collect();
        for token in &tokens {
            self.tokens.remove(token);
        }
        tokens
    }
}
