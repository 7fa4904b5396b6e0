//! The values that a member holds for others, and the keys of those that it has seen.

use super::RETENTION;
use crate::crypto::Fingerprint;
use crate::group::{PostKey, PostingLimits};
use crate::transport::Time;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// Who posted a value, or which neighbor brought it first. `None` is this node.
pub(super) type Source = Option<Fingerprint>;

/// The place of a held value in the order of arrival.
pub(super) type Number = u64;

/// Values and keys, both for [`RETENTION`] after a value was first received or posted.
///
/// Values are bounded by number and bytes. At the bound the oldest value of the source with the most
/// of them is dropped, so that a flood displaces itself. Its key remains, in a much larger memory:
/// a value that returns while the flood lasts is not passed on again.
#[derive(Debug)]
pub(super) struct Store {
    limits: PostingLimits,
    /// Every key of the retention time, and when it was first seen.
    seen: BTreeMap<PostKey, Seen>,
    /// The same in order of time; an entry of another time than that in `seen` is void.
    order: VecDeque<(Time, PostKey)>,
    held: BTreeMap<PostKey, Held>,
    sources: BTreeMap<Source, OfSource>,
    bytes: usize,
    next: Number,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    since: Time,
    is_own: bool,
}

#[derive(Debug)]
struct Held {
    number: Number,
    value: Bytes,
    source: Source,
}

#[derive(Debug, Default)]
struct OfSource {
    keys: BTreeMap<Number, PostKey>,
    bytes: usize,
}

impl Store {
    pub(super) fn new(limits: PostingLimits) -> Self {
        Self {
            limits,
            seen: BTreeMap::new(),
            order: VecDeque::new(),
            held: BTreeMap::new(),
            sources: BTreeMap::new(),
            bytes: 0,
            next: 0,
        }
    }

    /// True if the value was received or posted within the retention time.
    pub(super) fn has_seen(&self, key: PostKey) -> bool {
        self.seen.contains_key(&key)
    }

    /// True if it was posted here.
    pub(super) fn is_own(&self, key: PostKey) -> bool {
        self.seen.get(&key).is_some_and(|seen| seen.is_own)
    }

    /// The value, if it is still held.
    pub(super) fn value(&self, key: PostKey) -> Option<&Bytes> {
        self.held.get(&key).map(|held| &held.value)
    }

    /// The place of a value in the order of arrival, if it is held.
    pub(super) fn number(&self, key: PostKey) -> Option<Number> {
        self.held.get(&key).map(|held| held.number)
    }

    /// The number of values held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// The bytes of the values held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a value from now on. Returns the places of the values that had to go, which may be this
    /// one.
    pub(super) fn insert(
        &mut self,
        now: Time,
        key: PostKey,
        value: Bytes,
        source: Source,
    ) -> Vec<Number> {
        let mut dropped: Vec<_> = self.release(key).into_iter().collect();
        let (number, len) = (self.next, value.len());
        self.next += 1;
        self.bytes += len;
        let of_source = self.sources.entry(source).or_default();
        of_source.bytes += len;
        of_source.keys.insert(number, key);
        self.held.insert(key, Held { number, value, source });
        while let Some(number) = self.displace() {
            dropped.push(number);
        }
        dropped.extend(self.remember(now, key, source.is_none()));
        dropped
    }

    /// Recognizes a value from now on. Returns the places of values that had to go.
    pub(super) fn remember(&mut self, now: Time, key: PostKey, is_own: bool) -> Vec<Number> {
        self.seen.insert(key, Seen { since: now, is_own });
        self.order.push_back((now, key));
        let mut dropped = Vec::new();
        while self.order.len() > self.limits.max_remembered {
            let Some((since, key)) = self.order.pop_front() else { break };
            dropped.extend(self.forget(since, key));
        }
        dropped
    }

    /// Forgets what is older than the retention time, and returns the places of the values among it.
    pub(super) fn expire(&mut self, now: Time) -> Vec<Number> {
        let mut dropped = Vec::new();
        while let Some(&(since, key)) = self.order.front().filter(|(t, _)| *t + RETENTION <= now) {
            self.order.pop_front();
            dropped.extend(self.forget(since, key));
        }
        dropped
    }

    /// When [`expire`](Self::expire) is next due.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.order.front().map(|(since, _)| *since + RETENTION)
    }

    /// Drops a value if there are too many.
    fn displace(&mut self) -> Option<Number> {
        let by_bytes = self.bytes > self.limits.max_bytes;
        if !by_bytes && self.held.len() <= self.limits.max_values {
            return None;
        }
        let weight = |of: &OfSource| if by_bytes { of.bytes } else { of.keys.len() };
        let (_, largest) = self.sources.iter().max_by_key(|(_, of)| weight(of))?;
        let (_, &oldest) = largest.keys.first_key_value()?;
        self.release(oldest)
    }

    fn forget(&mut self, since: Time, key: PostKey) -> Option<Number> {
        self.seen.get(&key).filter(|seen| seen.since == since)?;
        self.seen.remove(&key);
        self.release(key)
    }

    /// Drops a value, but not its key.
    fn release(&mut self, key: PostKey) -> Option<Number> {
        let Held { number, value, source } = self.held.remove(&key)?;
        self.bytes -= value.len();
        if let Some(of_source) = self.sources.get_mut(&source) {
            of_source.keys.remove(&number);
            of_source.bytes -= value.len();
            if of_source.keys.is_empty() {
                self.sources.remove(&source);
            }
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &[Number] = &[];
    const A: Source = Some(Fingerprint([1; 32]));
    const B: Source = Some(Fingerprint([2; 32]));

    fn secs(secs: u64) -> Time {
        Time::from_millis(1000 * secs)
    }

    fn key(number: u64) -> PostKey {
        PostKey(number.to_be_bytes())
    }

    fn store(max_values: usize, max_bytes: usize, max_remembered: usize) -> Store {
        let limits = PostingLimits { max_values, max_bytes, max_remembered, ..Default::default() };
        Store::new(limits)
    }

    fn put(store: &mut Store, number: u64, len: usize, source: Source) -> Vec<Number> {
        store.insert(secs(number), key(number), vec![0; len].into(), source)
    }

    #[test]
    fn a_source_displaces_its_own_values() {
        let mut store = store(4, 1000, 100);
        assert_eq!(put(&mut store, 0, 1, A).as_slice(), NONE);
        assert_eq!(put(&mut store, 1, 1, None).as_slice(), NONE);
        assert_eq!(put(&mut store, 2, 1, B).as_slice(), NONE);
        assert_eq!(put(&mut store, 3, 1, B).as_slice(), NONE);
        assert_eq!(put(&mut store, 4, 1, B), [2]);
        assert_eq!(put(&mut store, 5, 1, B), [3]);
        assert!(store.value(key(0)).is_some() && store.value(key(1)).is_some());
        assert!(store.has_seen(key(2)) && store.value(key(2)).is_none());
        assert_eq!((store.len(), store.bytes()), (4, 4));
    }

    #[test]
    fn large_values_displace_large_ones() {
        let mut store = store(100, 10, 100);
        for number in 0..5 {
            assert_eq!(put(&mut store, number, 1, A).as_slice(), NONE);
        }
        assert_eq!(put(&mut store, 5, 5, B).as_slice(), NONE);
        assert_eq!(put(&mut store, 6, 5, B), [5]);
        assert_eq!(put(&mut store, 7, 20, B), [6, 7], "which does not fit at all");
        assert_eq!((store.len(), store.bytes()), (5, 5));
    }

    #[test]
    fn keys_are_forgotten_by_age_and_number() {
        let mut store = store(100, 1000, 3);
        for number in 0..3 {
            assert_eq!(put(&mut store, number, 1, A).as_slice(), NONE);
        }
        assert_eq!(put(&mut store, 3, 1, A), [0]);
        assert!(!store.has_seen(key(0)));
        assert_eq!(store.next_expiry(), Some(secs(301)));
        assert_eq!(store.expire(Time::from_millis(300_999)).as_slice(), NONE);
        assert_eq!(store.expire(secs(302)), [1, 2]);
        assert!(!store.has_seen(key(2)) && store.has_seen(key(3)));
        assert_eq!(store.expire(secs(1000)), [3]);
        assert_eq!((store.len(), store.bytes(), store.next_expiry()), (0, 0, None));
        assert!(store.sources.is_empty() && store.seen.is_empty());
    }

    #[test]
    fn posting_again_counts_anew() {
        let mut store = store(100, 1000, 100);
        assert_eq!(put(&mut store, 0, 1, None).as_slice(), NONE);
        assert!(store.is_own(key(0)) && !store.is_own(key(1)));
        assert_eq!(store.insert(secs(200), key(0), Bytes::new(), None), [0]);
        assert_eq!(store.expire(secs(400)).as_slice(), NONE);
        assert_eq!(store.number(key(0)), Some(1));
        assert_eq!(store.expire(secs(500)), [1]);
    }
}
