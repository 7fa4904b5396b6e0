//! Requests of this node: the choice of index and neighbor, answers, and overdue answers.

use super::neighbor::{InFlight, Neighbor};
use super::runs::Runs;
use super::swarm::Pick;
use super::{GroupEvent, Replication, ReplicationMessage, ReplicationStrategy};
use crate::amf::Encoded;
use crate::crypto::Fingerprint;
use crate::range::IndexSet;
use crate::transport::{SessionId, Time};
use bytes::Bytes;
use std::time::Duration;

/// Interval of the check for overdue answers and expired back-offs, while there are any.
const CHECK: Duration = Duration::from_millis(250);

/// Flash Player's requests in flight at one neighbor; its strategies have no fewer here.
const FLASH_WINDOW: usize = 4;

/// A source that so many fetchers share, and that needs more than so many seconds for an object of one
/// of them, is asked for one object at a time.
const SHARED_BY: usize = 4;
const SHARED_PACE: f64 = 0.25;

impl Replication {
    /// Sends requests until every neighbor that can be asked has its window full.
    pub(super) fn fill(&mut self, now: Time) {
        self.throttle.begin();
        self.fill_those(now, |_, _| true);
    }

    /// Sends requests to a neighbor that can be asked for more than before, and to the source and
    /// neighbors across the line of a local network, for which it can make a difference.
    pub(super) fn fill_from(&mut self, now: Time, session: SessionId) {
        self.fill_those(now, |this, (&other, n)| {
            other == session || this.is_source(n) || this.is_across(n)
        });
    }

    fn fill_those(&mut self, now: Time, among: impl Fn(&Self, (&SessionId, &Neighbor)) -> bool) {
        if self.open.is_empty() {
            return;
        }
        let mut order = self.fill_order(now, among);
        while !order.is_empty() && !self.throttle.is_starved() {
            order.retain(|&session| match self.pick(now, session) {
                Some(index) if self.throttle.admit() => {
                    self.request(now, session, index, false);
                    true
                }
                _ => false,
            });
        }
        self.ask_for_help(now);
    }

    pub(super) fn on_choke(&mut self, now: Time, session: SessionId, unchoked: bool) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        n.unchoked_us = unchoked;
        self.fill_from(now, session);
    }

    pub(super) fn on_object(&mut self, now: Time, session: SessionId, index: u64, value: Bytes) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        let Some(request) = n.answered(now, index, false) else {
            self.stats.unrequested += 1;
            return;
        };
        n.received += value.len() as u64;
        self.stats.bytes_received += value.len() as u64;
        self.stats.bytes_received_locally += if n.is_local { value.len() as u64 } else { 0 };
        if value.len() > self.limits.max_object {
            self.stats.too_large += 1;
            self.fail(now, session, index, request);
            self.fill(now);
        } else {
            n.forgive(index);
            n.gave = Some(index);
            let peer_id = n.peer;
            self.note_size(value.len());
            self.choke_if_too_many(now);
            if !request.satisfied {
                self.note_delivery(session, index);
            }
            self.deliver(request, index, value.into(), peer_id);
            self.fill_from(now, session);
        }
    }

    pub(super) fn on_deny(&mut self, now: Time, session: SessionId, index: u64) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        let Some(request) = n.answered(now, index, true) else {
            self.stats.unrequested += u64::from(!self.is_helped(index));
            return;
        };
        self.stats.denials_received += 1;
        self.trust(session, false);
        self.fail(now, session, index, request);
        self.fill(now);
    }

    /// The requests to a neighbor that is gone fail and may be sent to others.
    pub(super) fn release(&mut self, neighbor: &Neighbor) {
        for (&index, request) in &neighbor.in_flight {
            if !request.satisfied {
                self.event(GroupEvent::ReplicationFetchFailed { index });
            }
            if !request.abandoned {
                self.reopen(index);
            }
        }
    }

    /// Makes an index available again, if it is still wanted.
    pub(super) fn reopen(&mut self, index: u64) {
        if self.want.contains(index) {
            // A valid index in an unbounded set: cannot be refused.
            let _ = self.open.insert(index);
            self.open_epoch += 1;
        }
    }

    /// Reassigns overdue requests that other neighbors can take, and retries denied ones.
    pub(super) fn check(&mut self, now: Time) {
        self.check_at = None;
        self.note_played_soon(now);
        if self.strategy == ReplicationStrategy::Swarm {
            self.double_late(now);
        }
        for session in self.sessions() {
            let Some(n) = self.neighbors.get_mut(&session) else { continue };
            if n.backed_off_enough(now) {
                n.nothing_as_of = None;
            }
            for index in n.overdue(now) {
                self.abandon_if_replaceable(now, session, index);
            }
        }
        self.fill(now);
        let busy = |n: &Neighbor| !n.in_flight.is_empty() || n.backing_off(now, &self.want);
        // A provider that is spared is asked once it has been idle for long enough.
        let may_spare = self.spares_provider && !self.open.is_empty();
        // So is what was left to local neighbors.
        let may_wait = !self.open.is_empty() && self.has_local_others();
        if may_spare || may_wait || self.neighbors.values().any(busy) {
            self.check_at = Some(now + CHECK);
        }
    }

    fn abandon_if_replaceable(&mut self, now: Time, session: SessionId, index: u64) {
        let replaceable = self.neighbors.iter().any(|(&other, n)| {
            other != session
                && n.usable(now)
                && n.occupied(now) < self.window(n)
                && n.their_have.contains(index)
                && n.may_ask(now, index)
        });
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        let Some(request) = n.in_flight.get_mut(&index) else { return };
        if replaceable {
            request.abandoned = true;
            n.window.on_overdue();
            self.trust(session, false);
            self.stats.overdue += 1;
            self.reopen(index);
        }
    }

    /// The neighbors `among` them that can be asked, in order.
    fn fill_order(
        &self,
        now: Time,
        among: impl Fn(&Self, (&SessionId, &Neighbor)) -> bool,
    ) -> Vec<SessionId> {
        let neighbors = self.neighbors.iter();
        let mut order: Vec<_> =
            neighbors.filter(|&(s, n)| among(self, (s, n)) && self.has_window(now, n)).collect();
        if self.strategy == ReplicationStrategy::Swarm {
            // The lowest indices go to the fastest, what is near to those that are near. The source is
            // spared where requests are few, but not when others have let this node wait: who has
            // given nothing yet comes after it.
            let has_failed = self.neighbors.values().any(|n| n.has_failed() && !self.is_source(n));
            let class = |n: &Neighbor| match self.is_source(n) {
                true => 1,
                false if has_failed && n.received == 0 => 2,
                false => 0,
            };
            let pace = |n: &Neighbor| n.window.expected(1);
            order.sort_by(|(_, a), (_, b)| {
                let far = (!a.is_local).cmp(&!b.is_local);
                class(a).cmp(&class(b)).then(far).then(pace(a).total_cmp(&pace(b)))
            });
        }
        order.into_iter().map(|(&session, _)| session).collect()
    }

    fn has_window(&self, now: Time, n: &Neighbor) -> bool {
        n.usable(now)
            && n.nothing_as_of != Some(self.open_epoch)
            && n.occupied(now) < self.window(n)
    }

    /// The number of requests that may be in flight at a neighbor.
    pub(super) fn window(&self, n: &Neighbor) -> usize {
        let least = match self.strategy {
            ReplicationStrategy::Swarm => 1,
            ReplicationStrategy::LowestFirst | ReplicationStrategy::RarestFirst => FLASH_WINDOW,
        };
        let is_swarm = self.strategy == ReplicationStrategy::Swarm;
        let size = if is_swarm && self.is_shared_source(n) {
            1
        } else if is_swarm && self.neighbors.len() == 1 {
            n.window.size_alone()
        } else {
            n.window.size()
        };
        size.max(least.min(self.limits.max_in_flight))
    }

    /// True if a neighbor is the source of so many, and so slow, that it has something to send at any
    /// time. A second request would bring nothing sooner, and what is played after a jump would wait
    /// behind it.
    fn is_shared_source(&self, n: &Neighbor) -> bool {
        let fetches = |n: &&Neighbor| n.delivers && n.their_have.len() < self.total();
        !self.playheads.at().is_empty()
            && self.is_source(n)
            && !self.is_across(n)
            && n.received > 0
            && n.window.expected(1) > SHARED_PACE
            && self.neighbors.values().filter(fetches).count() >= SHARED_BY
    }

    /// The index to ask this neighbor for next, if its window allows a request.
    fn pick(&mut self, now: Time, session: SessionId) -> Option<u64> {
        if !self.has_window(now, self.neighbors.get(&session)?) {
            return None;
        }
        let at_playheads = self.pick_at_playheads(now, session);
        let picked = at_playheads.unwrap_or_else(|| match self.strategy {
            ReplicationStrategy::LowestFirst => self.pick_lowest(now, session),
            ReplicationStrategy::RarestFirst => self.pick_rarest(now, session),
            ReplicationStrategy::Swarm => self.pick_swarm(now, session),
        });
        match picked {
            Pick::Index(index) => return Some(index),
            Pick::Later => {}
            Pick::Nothing => {
                self.neighbors.get_mut(&session)?.nothing_as_of = Some(self.open_epoch)
            }
        }
        None
    }

    fn pick_lowest(&self, now: Time, session: SessionId) -> Pick {
        let n = self.neighbors.get(&session);
        n.and_then(|n| first_askable(n, now, 0, &self.open)).map_or(Pick::Nothing, Pick::Index)
    }

    fn pick_rarest(&mut self, now: Time, session: SessionId) -> Pick {
        let haves = self.neighbors.values().map(|n| &n.their_have);
        self.rarity.refresh(now, &self.want, haves);
        let Some(n) = self.neighbors.get(&session) else { return Pick::Nothing };
        let offered: Runs = self.open.common_ranges(&n.their_have).collect();
        let askable = |index| n.may_ask(now, index);
        let pick = |level| offered.find_common(level, 0..u64::MAX, askable);
        // Indices that the table of holders does not list yet are tried last.
        let picked = self.rarity.levels().find_map(pick).or_else(|| offered.find(askable));
        picked.map_or(Pick::Nothing, Pick::Index)
    }

    pub(super) fn request(&mut self, now: Time, session: SessionId, index: u64, is_doubled: bool) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        let request = InFlight {
            sent: now,
            depth: n.in_flight.len() + 1,
            is_doubled,
            abandoned: false,
            satisfied: false,
        };
        n.in_flight.insert(index, request);
        // A single index out of an unbounded set: cannot be refused.
        let _ = self.open.remove(index);
        self.note_request(index);
        self.stats.requests_sent += 1;
        self.check_at.get_or_insert(now + CHECK);
        self.event(GroupEvent::ReplicationFetchSendNotify { index });
        self.send(session, &ReplicationMessage::Request(index));
    }

    /// Handles an object that has arrived. It is delivered if it is wanted, or if it was requested
    /// and has not been delivered since.
    fn deliver(&mut self, request: InFlight, index: u64, object: Encoded, peer_id: Fingerprint) {
        if !self.want.contains(index) && request.satisfied {
            self.stats.duplicates += 1;
            return;
        }
        // Single indices out of unbounded sets: cannot be refused.
        let _ = (self.want.remove(index), self.open.remove(index));
        for n in self.neighbors.values_mut() {
            if let Some(other) = n.in_flight.get_mut(&index) {
                other.satisfied = true;
            }
        }
        self.stats.objects_received += 1;
        self.event(GroupEvent::ReplicationFetchResult { index, object, peer_id });
        self.withdraw_interests();
    }

    fn fail(&mut self, now: Time, session: SessionId, index: u64, request: InFlight) {
        if let Some(n) = self.neighbors.get_mut(&session) {
            n.back_off(now, index, &self.want);
        }
        self.check_at.get_or_insert(now + CHECK);
        if !request.satisfied {
            self.event(GroupEvent::ReplicationFetchFailed { index });
        }
        if !request.abandoned {
            self.reopen(index);
        }
    }
}

/// The lowest index from `start` on that is open and that the neighbor has and can be asked for.
pub(super) fn first_askable(n: &Neighbor, now: Time, start: u64, open: &IndexSet) -> Option<u64> {
    let mut at = start;
    loop {
        let index = open.first_common_at_or_after(&n.their_have, at)?;
        if n.may_ask(now, index) {
            return Some(index);
        }
        at = index + 1;
    }
}
