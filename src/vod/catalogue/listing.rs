//! [`Listing`]: the entries of a catalogue that a receiver knows.

use super::{EXPIRY, Entry, MAX_ENTRIES, MAX_LISTED_BYTES, Post};
use crate::transport::Time;
use crate::vod::Digest256;
use std::collections::BTreeMap;

/// The entries that were posted and have not expired.
///
/// Of an entry the post with the latest time counts. A post that is older than the newest one by
/// [`EXPIRY`] or more is one that somebody sends again: it is ignored.
#[derive(Debug, Default)]
pub struct Listing {
    /// The latest time of a post.
    newest: u64,
    total: u32,
    items: BTreeMap<Digest256, Item>,
    bytes: usize,
}

#[derive(Debug)]
struct Item {
    /// By the publisher's clock.
    time: u64,
    arrived: Time,
    /// `None` if it is gone.
    entry: Option<Entry>,
}

impl Item {
    fn weight(&self) -> usize {
        self.entry.as_ref().map_or(0, Entry::weight)
    }
}

impl Listing {
    /// A post by the publisher. True if the entries have changed.
    pub fn take(&mut self, now: Time, post: Post) -> bool {
        if is_old(post.time, self.newest) {
            return false;
        }
        if post.time >= self.newest {
            (self.newest, self.total) = (post.time, post.total);
        }
        let mut has_changed = false;
        let entries = post.entries.into_iter().map(|entry| (entry.id(), Some(entry)));
        for (id, entry) in entries.chain(post.gone.into_iter().map(|id| (id, None))) {
            has_changed |= self.put(id, Item { time: post.time, arrived: now, entry });
        }
        has_changed | self.expire(now)
    }

    fn put(&mut self, id: Digest256, item: Item) -> bool {
        let known = self.items.get(&id);
        if known.is_some_and(|known| known.time >= item.time) {
            return false;
        }
        let (before, after) = (known.map_or(0, Item::weight), item.weight());
        let is_new = known.is_none();
        if is_new && self.items.len() >= MAX_ENTRIES {
            return false;
        }
        if after > before && self.bytes - before + after > MAX_LISTED_BYTES {
            return false;
        }
        let has_changed = known.and_then(|known| known.entry.as_ref()) != item.entry.as_ref();
        self.bytes = self.bytes - before + after;
        self.items.insert(id, item);
        has_changed
    }

    /// Drops what was not posted again. True if the entries have changed.
    pub fn expire(&mut self, now: Time) -> bool {
        let (newest, mut has_changed) = (self.newest, false);
        self.items.retain(|_, item| {
            let is_kept = !is_old(item.time, newest) && now.since(item.arrived) < EXPIRY;
            if !is_kept {
                has_changed |= item.entry.is_some();
                self.bytes -= item.weight();
            }
            is_kept
        });
        if self.items.is_empty() {
            // The publisher is gone, and may come again with another clock.
            (self.newest, self.total) = (0, 0);
        }
        has_changed
    }

    /// When an entry expires next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.items.values().map(|item| item.arrived + EXPIRY).min()
    }

    /// The entries by name.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> =
            self.items.values().filter_map(|item| item.entry.clone()).collect();
        entries.sort_by_cached_key(|entry| (entry.name.to_lowercase(), entry.id()));
        entries
    }

    /// True if there are as many as the publisher says it has.
    pub fn is_complete(&self) -> bool {
        let entries = self.items.values().filter(|item| item.entry.is_some()).count();
        self.newest > 0 && entries >= self.total as usize
    }
}

fn is_old(time: u64, newest: u64) -> bool {
    u128::from(time) + EXPIRY.as_millis() <= u128::from(newest)
}

#[cfg(test)]
mod tests {
    use super::super::post::tests::entry;
    use super::*;
    use std::time::Duration;

    fn post(time: u64, entries: &[&str], gone: &[&str]) -> Post {
        let entries = entries.iter().map(|name| entry(name)).collect();
        let gone = gone.iter().map(|name| entry(name).id()).collect();
        Post { time, total: 2, entries, gone }
    }

    fn names(listing: &Listing) -> Vec<String> {
        listing.entries().into_iter().map(|entry| entry.name).collect()
    }

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn entries_come_by_name_and_go() {
        let mut listing = Listing::default();
        assert!(!listing.is_complete());
        assert!(listing.take(at(1), post(1000, &["b"], &[])));
        assert!(!listing.is_complete());
        assert!(listing.take(at(1), post(1000, &["A"], &[])));
        assert_eq!(names(&listing), ["A", "b"]);
        assert!(listing.is_complete());
        assert!(!listing.take(at(2), post(1001, &["A", "b"], &[])), "nothing has changed");
        assert!(listing.take(at(3), post(1002, &[], &["b"])));
        assert_eq!(names(&listing), ["A"]);
        // An earlier post that arrives late does not bring it back; a later one does.
        assert!(!listing.take(at(3), post(1001, &["b"], &[])));
        assert!(listing.take(at(4), post(1003, &["b"], &[])));
        assert_eq!(names(&listing), ["A", "b"]);
    }

    #[test]
    fn what_is_not_repeated_expires() {
        let mut listing = Listing::default();
        listing.take(at(0), post(1000, &["a", "b"], &[]));
        listing.take(at(200), post(201_000, &["a"], &[]));
        assert_eq!(listing.poll_timeout(), Some(at(300)));
        assert!(!listing.expire(at(299)));
        assert!(listing.expire(at(300)));
        assert_eq!(names(&listing), ["a"]);
        assert!(listing.expire(at(500)));
        assert_eq!((names(&listing).len(), listing.bytes), (0, 0));
        assert_eq!(listing.poll_timeout(), None);
        // A publisher whose clock was set back is known again.
        assert!(listing.take(at(501), post(5, &["a"], &[])));
    }

    #[test]
    fn posts_that_are_sent_again_later_are_ignored() {
        let mut listing = Listing::default();
        let old = post(1000, &["old"], &[]);
        // A newcomer cannot tell, until the publisher posts.
        assert!(listing.take(at(0), old.clone()));
        let now = 1000 + EXPIRY.as_millis() as u64;
        assert!(listing.take(at(1), post(now, &["new"], &[])));
        assert_eq!(names(&listing), ["new"]);
        assert!(!listing.take(at(2), old));
        assert_eq!(names(&listing), ["new"]);
    }

    #[test]
    fn hostile_publishers_fill_no_memory() {
        let mut listing = Listing::default();
        for n in 0..MAX_ENTRIES + 10 {
            listing.take(at(1), post(n as u64 + 1, &[&format!("{n}")], &[]));
            listing.take(at(1), post(n as u64 + 1, &[], &[&format!("gone {n}")]));
        }
        assert_eq!(listing.items.len(), MAX_ENTRIES);
        let mut listing = Listing::default();
        for n in 0..MAX_ENTRIES {
            let mut large = entry(&format!("{n}"));
            large.link.name = Some("x".repeat(3500));
            listing.take(at(1), Post { time: 1, entries: vec![large], ..Post::default() });
        }
        assert!(listing.bytes <= MAX_LISTED_BYTES && listing.items.len() > 400);
        let weights: usize = listing.items.values().map(Item::weight).sum();
        assert_eq!(weights, listing.bytes);
        listing.expire(at(1) + EXPIRY + Duration::from_secs(1));
        assert_eq!(listing.bytes, 0);
    }
}
