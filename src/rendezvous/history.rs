//! The introductions of the last while, and what has become of them.
//!
//! The server sees nothing of what peers send each other. It sees their hellos: who has reached a
//! peer asks no more for it, who has not asks again after 1.5, 4.5, 9, … seconds.

use crate::crypto::Fingerprint;
use crate::transport::Time;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Introductions that are remembered; beyond these, the oldest is forgotten.
pub const MAX_REMEMBERED: usize = 2048;
/// A hello so soon after another is a copy of it, or from another socket of the same asker.
const COPY: Duration = Duration::from_secs(1);
/// A hello so long after another begins anew: an attempt repeats its hello sooner.
const ANEW: Duration = Duration::from_secs(20);
/// The third hello comes 3 s after the second: with none for this time, there will be no other.
const SETTLED: Duration = Duration::from_secs(4);
/// With so many hellos nobody has answered for seconds.
const UNANSWERED: u32 = 3;

/// The server's answer to a hello for another peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The peer's addresses; the hello was forwarded, too, or not because of a limit.
    Addresses,
    UnknownPeer,
    Limited,
}

/// What has become of an introduction, as far as a server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The asker may ask again.
    Pending,
    /// The asker asks no more: it has reached the peer, most likely.
    Succeeded,
    /// The asker has asked three times or more: the peers do not reach each other.
    NoAnswer,
    /// The peer is not connected to the server.
    UnknownPeer,
    /// The asker's address sends too many hellos.
    Limited,
}

/// An introduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Introduction {
    /// The time since its first hello.
    pub age: Duration,
    /// The address that asked.
    pub from: SocketAddr,
    /// The peer that was asked for.
    pub wanted: Fingerprint,
    /// Hellos so far.
    pub hellos: u32,
    /// What has become of it.
    pub outcome: Outcome,
}

type Key = (SocketAddr, Fingerprint);

#[derive(Debug)]
struct Entry {
    number: u64,
    first: Time,
    last: Time,
    hellos: u32,
    answer: Answer,
}

/// The introductions of the last while.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: HashMap<Key, Entry>,
    /// In the order in which they began; some have begun anew since.
    order: VecDeque<(u64, Key)>,
    next: u64,
}

impl History {
    /// Notes a hello from `from` for `wanted`.
    pub(super) fn note(
        &mut self,
        now: Time,
        from: SocketAddr,
        wanted: Fingerprint,
        answer: Answer,
    ) {
        let key = (from, wanted);
        if let Some(entry) = self.entries.get_mut(&key)
            && now.since(entry.last) < ANEW
        {
            if now.since(entry.last) >= COPY {
                entry.hellos += 1;
                entry.last = now;
            }
            entry.answer = answer;
            return;
        }
        if self.order.len() >= MAX_REMEMBERED {
            self.forget_oldest();
        }
        let number = self.next;
        self.next += 1;
        self.order.push_back((number, key));
        self.entries.insert(key, Entry { number, first: now, last: now, hellos: 1, answer });
    }

    fn forget_oldest(&mut self) {
        let Some((number, key)) = self.order.pop_front() else { return };
        if self.entries.get(&key).is_some_and(|entry| entry.number == number) {
            self.entries.remove(&key);
        }
    }

    /// All that are remembered, the newest first.
    pub(super) fn newest_first(&self, now: Time) -> impl Iterator<Item = Introduction> {
        self.order.iter().rev().filter_map(move |(number, key)| {
            let entry = self.entries.get(key).filter(|entry| entry.number == *number)?;
            let &(from, wanted) = key;
            let (age, outcome) = (now.since(entry.first), entry.outcome(now));
            Some(Introduction { age, from, wanted, hellos: entry.hellos, outcome })
        })
    }
}

impl Entry {
    fn outcome(&self, now: Time) -> Outcome {
        match self.answer {
            Answer::UnknownPeer => Outcome::UnknownPeer,
            Answer::Limited => Outcome::Limited,
            Answer::Addresses if self.hellos >= UNANSWERED => Outcome::NoAnswer,
            Answer::Addresses if now.since(self.last) < SETTLED => Outcome::Pending,
            Answer::Addresses => Outcome::Succeeded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(100_000 + ms)
    }

    fn from(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    const PEER: Fingerprint = Fingerprint([7; 32]);

    fn only(history: &History, now: Time) -> Introduction {
        let all: Vec<_> = history.newest_first(now).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0]
    }

    #[test]
    fn who_asks_no_more_has_reached_the_peer() {
        let mut history = History::default();
        history.note(at(0), from(1), PEER, Answer::Addresses);
        history.note(at(10), from(1), PEER, Answer::Addresses);
        assert_eq!(only(&history, at(3999)).outcome, Outcome::Pending);
        let settled = only(&history, at(4000));
        assert_eq!((settled.outcome, settled.hellos), (Outcome::Succeeded, 1));
        // The first hello opened the way for the second.
        let mut history = History::default();
        history.note(at(0), from(1), PEER, Answer::Addresses);
        history.note(at(1500), from(1), PEER, Answer::Addresses);
        assert_eq!(only(&history, at(4500)).outcome, Outcome::Pending);
        assert_eq!(only(&history, at(5500)).outcome, Outcome::Succeeded);
    }

    #[test]
    fn who_asks_again_and_again_has_not() {
        let mut history = History::default();
        for ms in [0, 1500, 4500] {
            history.note(at(ms), from(1), PEER, Answer::Addresses);
        }
        assert_eq!(only(&history, at(4500)).outcome, Outcome::NoAnswer);
        assert_eq!(only(&history, at(90_000)).outcome, Outcome::NoAnswer);
        // Later it tries anew.
        history.note(at(90_000), from(1), PEER, Answer::Addresses);
        let again = only(&history, at(90_100));
        assert_eq!((again.hellos, again.age), (1, Duration::from_millis(100)));
        assert_eq!(again.outcome, Outcome::Pending);
    }

    #[test]
    fn refusals_have_their_reasons() {
        let mut history = History::default();
        history.note(at(0), from(1), PEER, Answer::UnknownPeer);
        history.note(at(0), from(2), PEER, Answer::Limited);
        let outcomes = history.newest_first(at(1)).map(|it| it.outcome);
        assert_eq!(outcomes.collect::<Vec<_>>(), [Outcome::Limited, Outcome::UnknownPeer]);
        // It connects meanwhile.
        history.note(at(1500), from(1), PEER, Answer::Addresses);
        let outcomes = history.newest_first(at(9000)).map(|it| it.outcome);
        assert_eq!(outcomes.collect::<Vec<_>>(), [Outcome::Limited, Outcome::Succeeded]);
    }

    #[test]
    fn hostile_hellos_are_remembered_within_bounds() {
        let mut history = History::default();
        for n in 0..50_000_u32 {
            let address = ([10, 0, (n >> 8) as u8, n as u8], 5).into();
            // Some of them again and again, after long pauses.
            let now = at(u64::from(n) * 1000);
            history.note(now, address, PEER, Answer::UnknownPeer);
            history.note(now, from((n % 7) as u16), PEER, Answer::Addresses);
        }
        assert!(history.order.len() <= MAX_REMEMBERED && history.entries.len() <= MAX_REMEMBERED);
        let listed = history.newest_first(at(60_000_000)).count();
        assert_eq!(listed, history.entries.len());
    }
}
