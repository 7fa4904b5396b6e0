//! The places of neighbors in a group that exchanges objects, when all are taken.
//!
//! A neighbor that neither gives nor takes objects loses its place to a newcomer, so that members
//! without any use cannot keep the others from the provider, nor the provider from them.

use super::membership::End;
use super::{Group, NeighborInfo};
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// A neighbor has its place for at least this long, to begin to trade.
const GRACE: Duration = Duration::from_secs(10);

impl Group {
    /// Sets the number of neighbors at a time
    /// ([`max_neighbors`](super::GroupConfig::max_neighbors)). If there are more now, those are ended
    /// with which the fewest bytes of objects were exchanged, the provider last.
    pub fn set_max_neighbors(&mut self, now: Time, max_neighbors: usize) {
        self.membership.set_max_neighbors(max_neighbors);
        let provider = self.replication.provider();
        let use_of = |n: &NeighborInfo| {
            let traded = n.trade.bytes_received.saturating_add(n.trade.bytes_sent);
            (provider == Some(n.peer), traded)
        };
        let mut neighbors = self.neighbors();
        neighbors.sort_by_key(|n| std::cmp::Reverse(use_of(n)));
        for surplus in neighbors.iter().skip(max_neighbors) {
            self.membership.end_neighbor(now, surplus.session, End::Neighbor);
        }
        self.route(now);
    }

    /// A member says hello in this session: frees a place for it if there is none.
    pub(super) fn make_place(&mut self, now: Time, session: SessionId) {
        if self.membership.is_neighbor(session) {
            return;
        }
        self.free_place(now);
    }

    /// If all places are taken, ends the neighbor that has been without any use for the longest.
    pub(super) fn free_place(&mut self, now: Time) {
        if !self.membership.is_full() || !self.replication.is_used() {
            return;
        }
        let provider = self.replication.provider();
        let is_idle = |n: &NeighborInfo| {
            let traded = n.trade.bytes_received.max(n.trade.bytes_sent);
            traded == 0 && now.since(n.since) >= GRACE && provider != Some(n.peer)
        };
        let neighbors = self.neighbors();
        if let Some(idle) = neighbors.iter().filter(|n| is_idle(n)).min_by_key(|n| n.since) {
            self.membership.end_neighbor(now, idle.session, End::Neighbor);
            self.route(now);
        }
    }
}
