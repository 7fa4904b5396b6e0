//! Announcements of what this node has got.
//!
//! The player announces each object at once to everyone, which the strategies of the player do here
//! as well. With [`Swarm`](ReplicationStrategy::Swarm) an announcement waits for the next message to
//! the neighbor, and is sent along with it: a short message by itself costs a datagram, and an
//! acknowledgement. How long it may wait depends on what the neighbor could do with it.

use super::message::{MAX_LIST_RANGES, RangeList};
use super::neighbor::Neighbor;
use super::{Replication, ReplicationMessage, ReplicationStrategy};
use crate::range::IndexSet;
use crate::transport::{SessionId, Time};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The interval in which objects come is taken to be this at most.
const SLOWEST: Duration = Duration::from_millis(100);
/// A neighbor that lacks the object may want it now: it learns of it within this part of the interval,
/// long before it could get the next one.
const SOON: u32 = 4;
/// The part that the last interval between two objects has in the expected one.
const WEIGHT: u32 = 8;
/// Whoever has sent the object does not bring in many more before somebody else is known to have it.
const LATER: Duration = Duration::from_millis(500);
/// A neighbor that has it needs to know for the case that it loses it, and to show progress.
const AT_LAST: Duration = Duration::from_secs(5);

/// What one neighbor does not know yet.
#[derive(Debug)]
pub(super) struct Unannounced {
    set: IndexSet,
    due: Option<Time>,
}

impl Default for Unannounced {
    fn default() -> Self {
        Self { set: IndexSet::unbounded(), due: None }
    }
}

impl Unannounced {
    fn add(&mut self, range: &RangeInclusive<u64>, due: Time) {
        // Valid indices in an unbounded set: cannot be refused.
        let _ = self.set.insert_range(range.clone());
        self.hurry(due);
    }

    fn hurry(&mut self, due: Time) {
        self.due = Some(self.due.map_or(due, |at| at.min(due)));
    }

    fn take(&mut self) -> Vec<RangeInclusive<u64>> {
        self.due = None;
        let ranges = self.set.ranges().collect();
        self.set.clear();
        ranges
    }
}

/// The interval in which objects are added to the Have set.
#[derive(Debug, Default)]
pub(super) struct Interval {
    last: Option<Time>,
    mean: Duration,
}

impl Interval {
    /// An object was added.
    pub(super) fn on_object(&mut self, now: Time) {
        if let Some(last) = self.last.replace(now) {
            let interval = now.since(last).min(SLOWEST);
            self.mean = (self.mean * (WEIGHT - 1) + interval) / WEIGHT;
        }
    }

    fn soon(&self) -> Duration {
        self.mean / SOON
    }
}

impl Replication {
    /// Announces an addition to the Have set to a neighbor, or notes that this is to be done.
    pub(super) fn announce(&mut self, now: Time, session: SessionId, range: &RangeInclusive<u64>) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        if self.strategy != ReplicationStrategy::Swarm {
            let change = ReplicationMessage::Have(RangeList::change(range.clone()));
            return self.output(session, &change);
        }
        let delay = if n.lacks_some_of(range) {
            self.interval.soon()
        } else if n.gave == Some(*range.start()) {
            LATER
        } else {
            AT_LAST
        };
        n.unannounced.add(range, now + delay);
        self.note_announcement(now + delay);
    }

    /// These are no longer to be announced to anyone.
    pub(super) fn unannounce(&mut self, range: &RangeInclusive<u64>) {
        for n in self.neighbors.values_mut() {
            // Splitting ranges of an unbounded set: cannot be refused.
            let _ = n.unannounced.set.remove_range(range.clone());
        }
    }

    /// A neighbor has lost these: now it is to know who has them.
    pub(super) fn hurry_announcements(&mut self, now: Time, session: SessionId, list: &RangeList) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        if list.ranges.iter().any(|range| n.unannounced.set.has_some_of(range)) {
            let due = now + self.interval.soon();
            n.unannounced.hurry(due);
            self.note_announcement(due);
        }
    }

    /// Sends what was not announced to a neighbor yet.
    pub(super) fn flush_announcements(&mut self, session: SessionId) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        for ranges in n.unannounced.take().chunks(MAX_LIST_RANGES) {
            let list = RangeList { ranges: ranges.to_vec(), trailing_zero: false };
            self.output(session, &ReplicationMessage::Have(list));
        }
    }

    /// Sends the announcements that are due.
    pub(super) fn announce_due(&mut self, now: Time) {
        let is_due = |n: &Neighbor| n.unannounced.due.is_some_and(|at| at <= now);
        let due = self.neighbors.iter().filter(|(_, n)| is_due(n));
        let due: Vec<_> = due.map(|(&session, _)| session).collect();
        due.into_iter().for_each(|session| self.flush_announcements(session));
        self.announce_at = self.neighbors.values().filter_map(|n| n.unannounced.due).min();
    }

    fn note_announcement(&mut self, due: Time) {
        self.announce_at = Some(self.announce_at.map_or(due, |at| at.min(due)));
    }
}
