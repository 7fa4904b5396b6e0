//! Requests of neighbors: the choice of neighbors to serve, and the delivery of requests to the
//! application.

use super::neighbor::{Neighbor, Serving};
use super::{GroupEvent, Replication, ReplicationMessage, Shown};
use crate::transport::{Bandwidth, SessionId, Time};
use bytes::Bytes;
use std::time::Duration;

/// Interval at which serving slots are reassigned while neighbors wait for one.
const ROUND: Duration = Duration::from_secs(10);

/// A neighbor that got its slot less than this ago keeps it for another round.
const SETTLE: Duration = Duration::from_secs(5);

/// A narrow uplink serves so many neighbors that it gives each an object in this time, but not fewer
/// than so many.
const TURN: Duration = Duration::from_secs(4);
const LEAST_PLACES: usize = 2;
/// With less than this, a fetcher serves one neighbor at a time: each has an object after its own time,
/// and passes it on, instead of three of them after the time of all. It is 1 Mbit/s.
const WEAK: Bandwidth = Bandwidth::bytes_per_second(125_000);

/// Requests of one neighbor that are delivered before the size of any object is known.
const PENDING_AT_FIRST: usize = 4;

/// Bytes of objects that the delivered requests of one neighbor ask for, estimated by the largest
/// recent object; at least one request is delivered. Answers while the flow is full wait outside
/// its queue.
pub(super) const MAX_PENDING_BYTES: usize = 4 << 20;

/// The fraction by which the size of the largest object decays with each object.
const SIZE_DECAY: usize = 16;

impl Replication {
    pub(super) fn on_interested(&mut self, now: Time, session: SessionId, interested: bool) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        if interested && !n.wants_ours && n.serving == Serving::Choked {
            n.serving_since = now;
        }
        n.wants_ours = interested;
        self.rebalance(now);
    }

    /// Handles a request: it is delivered to the application, queued, or denied at once.
    pub(super) fn on_request(&mut self, session: SessionId, index: u64) {
        let Some(n) = self.neighbors.get(&session) else { return };
        if n.serving == Serving::Choked || !self.have.contains(index) {
            self.note_favor(session, index);
            self.deny(session, index);
        } else if n.queue.is_empty() && self.may_deliver(session) {
            self.deliver_request(session, index);
        } else if let Some(n) = self.neighbors.get_mut(&session)
            && n.queue.len() < self.limits.max_queued
        {
            n.queue.push_back(index);
        } else {
            self.deny(session, index);
        }
    }

    /// Our flow to a neighbor is full, or writable again.
    pub(super) fn on_blocked(&mut self, session: SessionId, is_blocked: bool) {
        if let Some(n) = self.neighbors.get_mut(&session) {
            n.is_blocked = is_blocked;
            self.deliver_queued(session);
        }
    }

    /// Records the size of an object that was sent or received.
    pub(super) fn note_size(&mut self, size: usize) {
        let decayed = self.object_size - self.object_size / SIZE_DECAY;
        self.object_size = decayed.max(size);
    }

    /// True if one more request of a neighbor may be delivered.
    fn may_deliver(&self, session: SessionId) -> bool {
        let most = match self.object_size {
            0 => PENDING_AT_FIRST,
            size => (self.pending_bytes / size).max(1),
        };
        let most = most.min(self.limits.max_pending);
        self.neighbors
            .get(&session)
            .is_some_and(|n| n.serving == Serving::Unchoked && !n.is_blocked && n.pending < most)
    }

    fn deliver_queued(&mut self, session: SessionId) {
        while self.may_deliver(session)
            && let Some(index) = self.neighbors.get_mut(&session).and_then(|n| n.queue.pop_front())
        {
            match self.have.contains(index) {
                true => self.deliver_request(session, index),
                false => self.deny(session, index),
            }
        }
    }

    /// The application answers with the object. Returns true if the request was still pending.
    pub(super) fn write_requested(&mut self, now: Time, id: u32, value: Bytes) -> bool {
        let Some((session, index)) = self.take_pending(id) else { return false };
        if let Some(n) = self.neighbors.get_mut(&session) {
            n.served_this_round += value.len() as u64;
            n.sent += value.len() as u64;
            self.stats.bytes_sent_locally += if n.is_local { value.len() as u64 } else { 0 };
        }
        self.note_size(value.len());
        self.stats.objects_sent += 1;
        self.stats.bytes_sent += value.len() as u64;
        self.send(session, &ReplicationMessage::Object { index, value });
        self.after_answer(now, session);
        self.choke_if_too_many(now);
        true
    }

    /// The application refuses. Returns true if the request was still pending.
    pub(super) fn deny_requested(&mut self, now: Time, id: u32) -> bool {
        let Some((session, index)) = self.take_pending(id) else { return false };
        self.deny(session, index);
        self.after_answer(now, session);
        true
    }

    /// Assigns free slots to the neighbors that wait, the longest waiting first. Neighbors that
    /// want nothing give up their slots to those that do. Local neighbors have slots of their own.
    pub(super) fn rebalance(&mut self, now: Time) {
        self.unchoke_locals(now);
        let mut waiting = self.sessions_by(|n| {
            (n.serving == Serving::Choked && n.wants_ours && !n.is_local).then_some(n.serving_since)
        });
        let mut idle = self.sessions_by(|n| {
            (n.serving == Serving::Unchoked && !n.wants_ours && !n.is_local)
                .then_some(n.serving_since)
        });
        waiting.reverse();
        idle.reverse();
        while let Some(&session) = waiting.last() {
            if self.served() < self.places() {
                waiting.pop();
                self.unchoke(now, session);
            } else if let Some(idle) = idle.pop() {
                self.begin_choke(now, idle);
            } else {
                break;
            }
        }
        self.round_at = match waiting.is_empty() {
            true => None,
            false => self.round_at.or(Some(now + ROUND)),
        };
    }

    /// While neighbors wait, a quarter of the slots passes from those that received the least to
    /// those that waited longest.
    pub(super) fn choke_round(&mut self, now: Time) {
        self.round_at = Some(now + ROUND);
        let waiting = self
            .neighbors
            .values()
            .filter(|n| n.serving == Serving::Choked && n.wants_ours && !n.is_local)
            .count();
        let losers = self.sessions_by(|n| {
            let settled = now.since(n.serving_since) >= SETTLE;
            let key = (n.served_this_round, n.serving_since);
            (n.serving == Serving::Unchoked && settled && !n.is_local).then_some(key)
        });
        let is_ending = |n: &&Neighbor| n.serving == Serving::Ending && !n.is_local;
        let ending = self.neighbors.values().filter(is_ending).count();
        let turnover = (self.places() / 4).max(1).min(waiting).saturating_sub(ending);
        for &session in losers.iter().take(turnover) {
            self.begin_choke(now, session);
        }
        self.neighbors.values_mut().for_each(|n| n.served_this_round = 0);
        self.rebalance(now);
    }

    /// The neighbors for which `key` returns a value, in its order.
    fn sessions_by<K: Ord>(&self, key: impl Fn(&Neighbor) -> Option<K>) -> Vec<SessionId> {
        let mut found: Vec<_> =
            self.neighbors.iter().filter_map(|(&s, n)| Some((key(n)?, s))).collect();
        found.sort();
        found.into_iter().map(|(_, session)| session).collect()
    }

    /// The number of neighbors that are served at a time: to whom an uplink gives an object each in
    /// the time that they can wait for it.
    pub(super) fn places(&self) -> usize {
        let most = self.limits.max_unchoked;
        let Some(uplink) = self.uplink else { return most };
        if uplink < WEAK && self.is_fetcher() {
            return most.min(1);
        }
        let objects = uplink.worth(TURN) / self.expected_object();
        most.min(usize::try_from(objects).unwrap_or(usize::MAX).max(LEAST_PLACES))
    }

    /// True if others have or had what this node has: it is not the source.
    fn is_fetcher(&self) -> bool {
        !self.want.is_empty() || self.stats.objects_received > 0
    }

    /// Objects are larger than was known when places were given.
    pub(super) fn choke_if_too_many(&mut self, now: Time) {
        if self.uplink.is_some() && self.served() > self.places() {
            self.choke_surplus(now);
        }
    }

    fn served(&self) -> usize {
        let is_served = |n: &&Neighbor| n.serving != Serving::Choked && !n.is_local;
        self.neighbors.values().filter(is_served).count()
    }

    pub(super) fn unchoke(&mut self, now: Time, session: SessionId) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        n.serving = Serving::Unchoked;
        n.serving_since = now;
        n.served_this_round = 0;
        self.send(session, &ReplicationMessage::Unchoke);
    }

    /// Chokes now, or after the answers that the application still owes.
    pub(super) fn begin_choke(&mut self, now: Time, session: SessionId) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        n.serving = Serving::Ending;
        if n.pending == 0 {
            self.finish_choke(now, session);
        }
    }

    fn finish_choke(&mut self, now: Time, session: SessionId) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        n.serving = Serving::Choked;
        n.serving_since = now;
        let queue = std::mem::take(&mut n.queue);
        self.send(session, &ReplicationMessage::Choke);
        queue.into_iter().for_each(|index| self.deny(session, index));
    }

    fn after_answer(&mut self, now: Time, session: SessionId) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        if n.serving == Serving::Ending {
            if n.pending == 0 {
                self.finish_choke(now, session);
                self.rebalance(now);
            }
            return;
        }
        self.deliver_queued(session);
    }

    fn deliver_request(&mut self, session: SessionId, index: u64) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        n.pending += 1;
        // IDs not in use are in `free_ids`, so the next new ID is their number plus that of those
        // in use.
        let known = self.requests.len() + self.free_ids.len();
        let request_id = self.free_ids.pop().unwrap_or(known as u32 + 1);
        self.requests.insert(request_id, Some(Shown { session, index }));
        self.event(GroupEvent::ReplicationRequest { index, request_id });
    }

    fn take_pending(&mut self, id: u32) -> Option<(SessionId, u64)> {
        let request = self.requests.remove(&id)?;
        self.free_ids.push(id);
        let pending = request?;
        if let Some(n) = self.neighbors.get_mut(&pending.session) {
            n.pending = n.pending.saturating_sub(1);
        }
        Some((pending.session, pending.index))
    }

    fn deny(&mut self, session: SessionId, index: u64) {
        self.stats.denials_sent += 1;
        self.send(session, &ReplicationMessage::Deny(index));
    }
}
