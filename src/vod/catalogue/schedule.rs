//! [`Schedule`]: when the publisher of a catalogue posts what.

use super::{EXPIRY, Entry, MAX_ENTRIES, Post, REPEAT};
use crate::transport::Time;
use crate::vod::Digest256;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Changes that come within this time are posted together, and so are neighbors served.
const SETTLE: Duration = Duration::from_millis(300);
/// The shortest time between posts of all entries: this, and a second for so many bytes.
const GAP: Duration = Duration::from_secs(5);
const BYTES_A_SECOND: usize = 20_000;

/// The entries of a publisher, and what is to be posted of them.
///
/// A change is posted at once; everything each [`REPEAT`], and soon after a member has become a
/// neighbor, which knows nothing of earlier posts.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<Digest256, Entry>,
    /// What was removed, and when: it is repeated until everybody has forgotten it.
    gone: BTreeMap<Digest256, Time>,
    changed: BTreeSet<Digest256>,
    changes_at: Option<Time>,
    all_at: Option<Time>,
    /// When everything was posted last.
    last: Option<Time>,
    /// The time in the latest post.
    time: u64,
}

impl Schedule {
    /// The entries are these from now on. Those that are not valid, and those beyond [`MAX_ENTRIES`], are
    /// left out.
    pub fn set(&mut self, now: Time, entries: Vec<Entry>) {
        let valid = entries.into_iter().filter(Entry::is_valid).take(MAX_ENTRIES);
        let entries: BTreeMap<Digest256, Entry> = valid.map(|entry| (entry.id(), entry)).collect();
        for id in self.entries.keys().filter(|id| !entries.contains_key(*id)) {
            self.changed.insert(*id);
            self.gone.insert(*id, now);
        }
        for (id, entry) in &entries {
            if self.entries.get(id) != Some(entry) {
                self.changed.insert(*id);
                self.gone.remove(id);
            }
        }
        while entries.len() + self.gone.len() > MAX_ENTRIES {
            self.gone.pop_first();
        }
        self.entries = entries;
        if !self.changed.is_empty() {
            self.changes_at.get_or_insert(now + SETTLE);
        }
        self.all_at.get_or_insert(now + REPEAT);
    }

    /// A member has become a neighbor.
    pub fn neighbor_connected(&mut self, now: Time) {
        let bytes: usize = self.entries.values().map(Entry::weight).sum();
        let gap = GAP + Duration::from_secs((bytes / BYTES_A_SECOND) as u64);
        let earliest = self.last.map_or(now, |last| last + gap);
        let soon = earliest.max(now + SETTLE);
        self.all_at = Some(self.all_at.map_or(soon, |at| at.min(soon)));
    }

    /// When something is to be posted.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.changes_at.into_iter().chain(self.all_at).min()
    }

    /// What is to be posted by now. `clock` is the time in milliseconds by the publisher's clock, in
    /// place of which a later one is taken if it has gone back.
    pub fn due(&mut self, now: Time, clock: u64) -> Vec<Post> {
        let is_all = self.all_at.is_some_and(|at| at <= now);
        if !is_all && self.changes_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.gone.retain(|_, since| now.since(*since) < EXPIRY);
        let is_due = |id: &Digest256| is_all || self.changed.contains(id);
        let entries = self.entries.iter().filter(|(id, _)| is_due(id));
        let entries = entries.map(|(_, entry)| entry.clone()).collect();
        let gone = self.gone.keys().filter(|id| is_due(id)).copied().collect();
        self.changed.clear();
        self.changes_at = None;
        if is_all {
            (self.last, self.all_at) = (Some(now), Some(now + REPEAT));
        }
        self.time = clock.max(self.time + 1);
        let total = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        Post::pages(self.time, total, entries, gone)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Listing;
    use super::super::post::tests::entry;
    use super::*;

    /// Runs the schedule, and returns the names that are posted and the number of those gone by time.
    fn run(schedule: &mut Schedule, until: Time) -> Vec<(u64, Vec<String>, usize)> {
        let mut posted = Vec::new();
        while let Some(now) = schedule.poll_timeout().filter(|at| *at <= until) {
            for post in schedule.due(now, 1_000_000) {
                let names = post.entries.into_iter().map(|entry| entry.name).collect();
                posted.push((now.as_millis(), names, post.gone.len()));
            }
        }
        posted
    }

    fn posts(found: &[(u64, Vec<String>, usize)]) -> Vec<(u64, usize, usize)> {
        found.iter().map(|(at, names, gone)| (*at, names.len(), *gone)).collect()
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn changes_are_posted_at_once_and_everything_each_minute() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.poll_timeout(), None);
        schedule.set(at(0), vec![entry("a")]);
        schedule.set(at(100), vec![entry("a"), entry("b")]);
        assert_eq!(posts(&run(&mut schedule, at(1000))), [(300, 2, 0)]);
        schedule.set(at(2000), vec![entry("b"), entry("c")]);
        let changes = run(&mut schedule, at(3000));
        assert_eq!(changes[0].1, ["c"]);
        assert_eq!(posts(&changes), [(2300, 1, 0), (2300, 0, 1)]);
        schedule.set(at(3000), vec![entry("b"), entry("c")]);
        let repeated = posts(&run(&mut schedule, at(60_000)));
        assert_eq!(repeated, [(60_000, 2, 0), (60_000, 0, 1)]);
        // What is gone is forgotten as others forget it.
        assert!(run(&mut schedule, at(240_000)).iter().any(|post| post.2 > 0));
        run(&mut schedule, at(302_000));
        assert!(!posts(&run(&mut schedule, at(400_000))).iter().any(|post| post.2 > 0));
    }

    #[test]
    fn newcomers_are_served_soon_but_not_too_often() {
        let mut schedule = Schedule::default();
        schedule.set(at(0), vec![entry("a")]);
        run(&mut schedule, at(1000));
        schedule.neighbor_connected(at(1000));
        schedule.neighbor_connected(at(1200));
        assert_eq!(posts(&run(&mut schedule, at(2000))), [(1300, 1, 0)]);
        for millis in 2000..20_000 {
            schedule.neighbor_connected(at(millis));
        }
        assert_eq!(posts(&run(&mut schedule, at(20_000))), [(6300, 1, 0)]);
    }

    #[test]
    fn a_receiver_has_the_entries_of_the_publisher() {
        let (mut schedule, mut listing) = (Schedule::default(), Listing::default());
        let mut carry = |schedule: &mut Schedule, until: u64| {
            while let Some(now) = schedule.poll_timeout().filter(|now| *now <= at(until)) {
                // Its clock stands still.
                for post in schedule.due(now, 7) {
                    listing.take(now, post);
                }
            }
            let entries = listing.entries().into_iter().map(|entry| entry.name);
            (entries.collect::<Vec<_>>(), listing.is_complete())
        };
        schedule.set(at(0), vec![entry("a"), entry("b")]);
        assert_eq!(carry(&mut schedule, 1000), (vec!["a".into(), "b".into()], true));
        schedule.set(at(1000), vec![entry("b")]);
        assert_eq!(carry(&mut schedule, 2000), (vec!["b".into()], true));
        schedule.set(at(2000), vec![entry("a"), entry("b")]);
        assert_eq!(carry(&mut schedule, 200_000), (vec!["a".into(), "b".into()], true));
    }

    #[test]
    fn no_more_than_the_bound_is_published() {
        let mut schedule = Schedule::default();
        let many = |from: usize| (from..from + MAX_ENTRIES + 5).map(|n| entry(&n.to_string()));
        schedule.set(at(0), many(0).collect());
        schedule.set(at(1), many(5000).collect());
        assert_eq!(schedule.entries.len() + schedule.gone.len(), MAX_ENTRIES);
        let unverified =
            Entry { link: "rtmfp-share:///1/group=G:01".parse().unwrap(), ..entry("x") };
        schedule.set(at(2), vec![unverified]);
        assert!(schedule.entries.is_empty());
    }
}
