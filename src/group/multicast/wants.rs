//! The fragments that a member knows of and does not hold: when to ask for each.

use crate::transport::{SessionId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Wanted fragments of one stream. Further ones are not noticed, and so only come if pushed.
pub(super) const MAX_WANTS: usize = 32_768;

/// Wanted fragments of one stream that one neighbor was the first to name. Further ones of its maps
/// are not noticed, so that its maps cannot keep out those of others.
const MAX_WANTS_OF_NEIGHBOR: usize = 8192;

#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    /// When a map first named it.
    pub(super) known: Time,
    /// The neighbor whose map that was: mostly the publisher, or nearest to it.
    pub(super) named_by: SessionId,
    /// The neighbor that was asked last.
    pub(super) asked: Option<SessionId>,
    /// When it is looked at; `None` while no neighbor has it.
    at: Option<Time>,
}

#[derive(Debug, Default)]
pub(super) struct Wants {
    wants: BTreeMap<u64, Want>,
    queue: BTreeSet<(Time, u64)>,
    named_by: BTreeMap<SessionId, usize>,
}

impl Wants {
    pub(super) fn get(&self, number: u64) -> Option<&Want> {
        self.wants.get(&number)
    }

    /// A map says that a neighbor has a fragment, which is to be looked at `after` that.
    pub(super) fn add(&mut self, now: Time, number: u64, from: SessionId, after: Duration) {
        if let Some(want) = self.wants.get_mut(&number) {
            if want.at.is_none() {
                let at = now.max(want.known + after);
                want.at = Some(at);
                self.queue.insert((at, number));
            }
            return;
        }
        let named = self.named_by.entry(from).or_default();
        if self.wants.len() >= MAX_WANTS || *named >= MAX_WANTS_OF_NEIGHBOR {
            return;
        }
        *named += 1;
        let at = now + after;
        let want = Want { known: now, named_by: from, asked: None, at: Some(at) };
        self.wants.insert(number, want);
        self.queue.insert((at, number));
    }

    /// Removes a fragment that has come, or that is given up.
    pub(super) fn remove(&mut self, number: u64) -> Option<Want> {
        let want = self.wants.remove(&number)?;
        if let Some(at) = want.at {
            self.queue.remove(&(at, number));
        }
        if let Some(named) = self.named_by.get_mut(&want.named_by) {
            *named -= 1;
            if *named == 0 {
                self.named_by.remove(&want.named_by);
            }
        }
        Some(want)
    }

    /// Gives up the fragments below a number.
    pub(super) fn remove_below(&mut self, number: u64) {
        while let Some((&first, _)) = self.wants.first_key_value().filter(|(n, _)| **n < number) {
            self.remove(first);
        }
    }

    /// Gives up everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next fragment that is due. It is not looked at again until it is [added](Self::add) or
    /// [scheduled](Self::schedule).
    pub(super) fn pop_due(&mut self, now: Time) -> Option<(u64, Want)> {
        let (_, number) = self.queue.first().copied().filter(|(at, _)| *at <= now)?;
        self.queue.pop_first();
        let want = self.wants.get_mut(&number)?;
        want.at = None;
        Some((number, *want))
    }

    /// Looks at a fragment again at a time, having asked a neighbor if given.
    pub(super) fn schedule(&mut self, number: u64, at: Time, asked: Option<SessionId>) {
        let Some(want) = self.wants.get_mut(&number) else { return };
        if let Some(before) = want.at.replace(at) {
            self.queue.remove(&(before, number));
        }
        want.asked = asked.or(want.asked);
        self.queue.insert((at, number));
    }

    /// A neighbor is gone: what it was asked for is looked at again at once.
    pub(super) fn forget(&mut self, now: Time, session: SessionId) {
        let asked = self.wants.iter().filter(|(_, want)| want.asked == Some(session));
        let numbers: Vec<_> = asked.map(|(number, _)| *number).collect();
        for number in numbers {
            self.schedule(number, now, None);
        }
    }

    /// The fragments that have been known for `fetch`, newest first.
    pub(super) fn ripe(&self, now: Time, fetch: Duration) -> impl Iterator<Item = u64> + '_ {
        let ripe = self.wants.iter().rev().filter(move |(_, want)| want.known + fetch <= now);
        ripe.map(|(number, _)| *number)
    }

    /// All of them with the times since when they are known, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = (u64, Time)> + '_ {
        self.wants.iter().rev().map(|(number, want)| (*number, want.known))
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.queue.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FETCH: Duration = Duration::from_secs(1);

    #[test]
    fn a_fragment_is_due_after_the_fetch_period_and_again_when_scheduled() {
        let (mut wants, a) = (Wants::default(), SessionId(1));
        let now = Time::from_millis(100);
        wants.add(now, 7, a, FETCH);
        assert_eq!(wants.poll_timeout(), Some(now + FETCH));
        assert!(wants.pop_due(now).is_none());
        assert_eq!(wants.pop_due(now + FETCH).map(|(number, _)| number), Some(7));
        assert_eq!(wants.poll_timeout(), None);
        wants.add(now + FETCH, 7, SessionId(2), FETCH);
        assert_eq!(wants.poll_timeout(), Some(now + FETCH), "ripe already");
        wants.schedule(7, now + FETCH * 2, Some(a));
        wants.forget(now, a);
        assert_eq!(wants.pop_due(now).map(|(_, want)| want.asked), Some(Some(a)));
        assert_eq!(wants.remove(7).map(|want| want.known), Some(now));
        assert!(wants.queue.is_empty() && wants.named_by.is_empty());
    }

    #[test]
    fn hostile_maps_of_one_neighbor_leave_place_for_others() {
        let (mut wants, now) = (Wants::default(), Time::ZERO);
        (0..100_000).for_each(|number| wants.add(now, number, SessionId(1), FETCH));
        assert_eq!(wants.wants.len(), MAX_WANTS_OF_NEIGHBOR);
        (200_000..300_000).for_each(|number| wants.add(now, number, SessionId(2), FETCH));
        assert_eq!(wants.wants.len(), 2 * MAX_WANTS_OF_NEIGHBOR);
        wants.remove_below(200_000);
        assert_eq!(wants.wants.len(), MAX_WANTS_OF_NEIGHBOR);
        assert_eq!(wants.queue.len(), MAX_WANTS_OF_NEIGHBOR);
    }
}
