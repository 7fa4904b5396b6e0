//! [`Spread`]: the objects that others than the source have.

use super::Replication;
use super::message::RangeList;
use super::neighbor::Neighbor;
use crate::range::IndexSet;
use crate::transport::{SessionId, Time};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The sets are built anew at most this often, for each [`SMALL`] ranges in them.
const REBUILD: Duration = Duration::from_millis(250);
const SMALL: usize = 4096;

/// The union of what neighbors have that deliver what they announce; the source does not count.
///
/// It grows at once. When a neighbor has lost something, or delivers no more, it is built anew
/// after a while; meanwhile, some objects are believed to be elsewhere that are not.
pub(super) struct Spread {
    elsewhere: IndexSet,
    /// The same of the neighbors in this host's networks.
    nearby: IndexSet,
    /// Objects that came from the source, and that no other neighbor has.
    unspread: IndexSet,
    /// Objects that came from the source: those that nobody else had, and the others.
    brought: u64,
    copied: u64,
    is_stale: bool,
    next_build: Time,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            elsewhere: IndexSet::unbounded(),
            nearby: IndexSet::unbounded(),
            unspread: IndexSet::unbounded(),
            brought: 0,
            copied: 0,
            is_stale: false,
            next_build: Time::ZERO,
        }
    }
}

impl Spread {
    /// The number of objects that this node has brought in and nobody has got yet.
    pub(super) fn unspread(&self) -> usize {
        usize::try_from(self.unspread.len()).unwrap_or(usize::MAX)
    }

    /// The number of objects that came from the source: those that nobody else had, and the others.
    pub(super) const fn taken(&self) -> (u64, u64) {
        (self.brought, self.copied)
    }

    fn add(&mut self, range: RangeInclusive<u64>, is_local: bool) {
        // Valid indices in unbounded sets: cannot be refused.
        if is_local {
            let _ = self.nearby.insert_range(range.clone());
        }
        let _ = self.elsewhere.insert_range(range);
    }

    /// The first index from `index` on that no neighbor but the source has.
    pub(super) fn first_unknown(&self, index: u64) -> Option<u64> {
        self.elsewhere.first_missing_at_or_after(index)
    }

    /// The first index from `index` on that no local neighbor has.
    pub(super) fn first_not_nearby(&self, index: u64) -> Option<u64> {
        self.nearby.first_missing_at_or_after(index)
    }

    /// Some neighbor's set has shrunk, or counts no more.
    pub(super) fn invalidate(&mut self) {
        self.is_stale = true;
    }
}

impl Replication {
    /// A neighbor has announced these. Returns true if some of them were unspread.
    pub(super) fn note_spread(&mut self, session: SessionId, list: &RangeList) -> bool {
        let Some(n) = self.neighbors.get(&session).filter(|n| !self.is_source(n)) else {
            return false;
        };
        let (is_trusted, is_local) = (n.delivers, n.is_local);
        let is_elsewhere = self.is_elsewhere_at(n);
        let before = self.spread.unspread();
        for range in &list.ranges {
            if is_elsewhere {
                // Valid indices in an unbounded set: cannot be refused.
                let _ = self.spread.unspread.remove_range(range.clone());
            }
            // The set is to have no more ranges than what is wanted.
            if is_trusted && self.want.has_some_of(range) {
                let announced = IndexSet::from_ranges([range.clone()]).unwrap_or_default();
                for range in self.want.common_ranges(&announced) {
                    self.spread.add(range, is_local);
                }
            }
        }
        self.spread.unspread() < before
    }

    /// A neighbor delivers what it announces, or no longer does.
    pub(super) fn trust(&mut self, session: SessionId, delivers: bool) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        if std::mem::replace(&mut n.delivers, delivers) == delivers {
            return;
        }
        let Some(n) = self.neighbors.get(&session).filter(|n| !self.is_source(n)) else { return };
        match delivers {
            true => {
                for range in self.want.common_ranges(&n.their_have) {
                    self.spread.add(range, n.is_local);
                }
            }
            false => self.spread.invalidate(),
        }
    }

    /// A neighbor has delivered an object.
    pub(super) fn note_delivery(&mut self, session: SessionId, index: u64) {
        self.trust(session, true);
        if self.neighbors.get(&session).is_none_or(|n| !self.is_source(n)) {
            return;
        }
        let mut others = self.neighbors.values().filter(|n| self.is_elsewhere_at(n));
        if others.any(|n| n.their_have.contains(index)) {
            self.spread.copied += 1;
            return;
        }
        self.spread.brought += 1;
        // Nobody but the application needs what it plays now.
        if !self.is_played(index) {
            let _ = self.spread.unspread.insert(index);
        }
    }

    pub(super) fn refresh_spread(&mut self, now: Time) {
        if !self.spread.is_stale || now < self.spread.next_build {
            return;
        }
        let (mut elsewhere, mut nearby) = (IndexSet::unbounded(), IndexSet::unbounded());
        let counts = |n: &&Neighbor| n.delivers && !self.is_source(n);
        for n in self.neighbors.values().filter(counts) {
            for range in self.want.common_ranges(&n.their_have) {
                let _ = elsewhere.insert_range(range.clone());
                if n.is_local {
                    let _ = nearby.insert_range(range);
                }
            }
        }
        let work = elsewhere.range_count() / SMALL;
        self.spread.next_build = now + REBUILD * (1 + u32::try_from(work).unwrap_or(u32::MAX - 1));
        self.spread.elsewhere = elsewhere;
        self.spread.nearby = nearby;
        self.spread.is_stale = false;
    }
}
