//! The places of neighbors in a group that exchanges objects, when all are taken.
//!
//! A neighbor that neither gives nor takes objects loses its place to a newcomer, so that members
//! without any use cannot keep the others from the provider, nor the provider from them.

use super::membership::End;
use super::{Group, NeighborInfo};
use crate::crypto::Fingerprint;
use crate::transport::{SessionId, Time};
use std::collections::VecDeque;
use std::time::Duration;

/// A neighbor has its place for at least this long, to begin to trade: a player chokes for so long.
const GRACE: Duration = Duration::from_secs(10);
/// But only this long if it answers requests, wants nothing, and has given nothing.
const PROOF: Duration = Duration::from_secs(3);
/// And only this long if neither end has anything that the other wants. Who joins says within a round
/// trip what it wants.
const INTEREST: Duration = Duration::from_secs(1);
/// A member that the server has named, and that is no neighbor, is tried again so often, each time
/// after [`PROOF`].
const TRIES: u32 = 3;
/// So many of them are remembered.
const MAX_NAMED: usize = 16;

/// Members that the server has named: there may be a place for them, here and there, when those
/// without any use have lost theirs.
#[derive(Default)]
pub(super) struct Named {
    peers: VecDeque<(Fingerprint, u32)>,
    at: Option<Time>,
}

impl Named {
    pub(super) const fn poll_timeout(&self) -> Option<Time> {
        self.at
    }

    /// True if it is one of those that are tried again.
    pub(super) fn has(&self, peer: &Fingerprint) -> bool {
        self.peers.iter().any(|(other, _)| other == peer)
    }

    fn lower(&mut self, peer: Fingerprint, tries: u32) {
        for (_, left) in self.peers.iter_mut().filter(|(other, _)| *other == peer) {
            *left = tries;
        }
    }

    fn note(&mut self, now: Time, peer: Fingerprint) {
        if self.peers.len() < MAX_NAMED && self.peers.iter().all(|(other, _)| *other != peer) {
            self.peers.push_back((peer, TRIES));
            self.at.get_or_insert(now + PROOF);
        }
    }
}

/// For how long a neighbor that has neither given nor taken anything keeps its place.
fn grace(n: &NeighborInfo) -> Duration {
    match (n.trade.interesting, n.trade.wants_ours) {
        (false, false) => INTEREST,
        (true, false) if n.trade.unchoked_us => PROOF,
        _ => GRACE,
    }
}

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

    /// A member says hello in this session: frees a place for it if there is none, and if it is of
    /// more use than the neighbor that has one.
    pub(super) fn make_place(&mut self, now: Time, session: SessionId) {
        if self.membership.is_neighbor(session) {
            return;
        }
        self.free_place(now, None);
        let peer = self.membership.peer(session);
        if self.membership.is_full() && peer.is_some_and(|p| self.membership.would_want(now, p)) {
            let replication = &self.replication;
            self.membership.yield_place(now, &|session| replication.is_trading(session));
            self.route(now);
        }
    }

    /// The server or the application names a member to connect to.
    pub(super) fn connect_named(&mut self, now: Time, peer: Fingerprint) {
        self.free_place(now, Some(peer));
        self.membership.on_introduced(now, peer, false);
        self.route(now);
        if self.replication.is_used() {
            self.named.note(now, peer);
        }
    }

    /// Connects to a member now, as Flash's `addNeighbor` does, or, with `hint`, notes it as a member
    /// to connect to when the topology calls for it: Flash's `addMemberHint`. False if that is not
    /// possible: it is this member itself or is blocked, the groupspec forbids neighbors, or all places
    /// are taken; or the group is closed.
    pub fn add_member(&mut self, now: Time, peer: Fingerprint, hint: bool) -> bool {
        if self.closed || !self.membership.may_connect(&peer) {
            return false;
        }
        self.on_introduced(now, peer, hint);
        hint || self.membership.has_neighbor(&peer) || !self.membership.is_full()
    }

    /// Tries again those that were named and are no neighbors.
    pub(super) fn retry_named(&mut self, now: Time) {
        if self.named.at.is_none_or(|at| at > now) {
            return;
        }
        self.named.at = None;
        for (peer, tries) in std::mem::take(&mut self.named.peers) {
            if tries > 0 && !self.membership.has_neighbor(&peer) {
                self.connect_named(now, peer);
                self.named.lower(peer, tries - 1);
            }
        }
    }

    /// If all places are taken, ends the neighbor that has been without any use for the longest. The
    /// provider, if it is named by `peer`, need not wait for that.
    pub(super) fn free_place(&mut self, now: Time, peer: Option<Fingerprint>) {
        if !self.membership.is_full() || !self.replication.is_used() {
            return;
        }
        let provider = self.replication.provider();
        let is_provider = peer.is_some() && peer == provider;
        let is_idle = |n: &NeighborInfo| {
            let traded = n.trade.bytes_received.max(n.trade.bytes_sent);
            let has_had_time = is_provider || now.since(n.since) >= grace(n);
            traded == 0 && has_had_time && provider != Some(n.peer)
        };
        let neighbors = self.neighbors();
        if let Some(idle) = neighbors.iter().filter(|n| is_idle(n)).min_by_key(|n| n.since) {
            self.membership.end_neighbor(now, idle.session, End::Neighbor);
            self.route(now);
        }
    }
}
