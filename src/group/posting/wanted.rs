//! Values that neighbors announced and this node does not have: whom to ask for them, and when.

use super::{ASK_AFTER, RETENTION, RETRY_AFTER};
use crate::group::PostKey;
use crate::transport::{SessionId, Time};
use std::collections::{BTreeMap, BTreeSet};

/// The values to ask for.
///
/// Each is asked for at one announcer at a time: 350 ms after it was first announced, and every 10 s
/// at the next announcer, or at once if the one that was asked does not have it.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    keys: BTreeMap<PostKey, Search>,
    /// When to ask, in the order of the announcements.
    due: BTreeSet<(Time, u64, PostKey)>,
    next: u64,
}

#[derive(Debug)]
struct Search {
    since: Time,
    /// In the order of their announcements.
    announcers: Vec<SessionId>,
    /// The place of the announcer that was asked last.
    asked: Option<usize>,
    due: (Time, u64),
}

/// Something that is due for a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The first request: at any of these.
    First(Vec<SessionId>),
    /// Another request, at the second: the first did not answer.
    Again(SessionId, SessionId),
}

/// A search that has ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) announcers: Vec<SessionId>,
    /// The announcer that owes an answer.
    pub(super) asked: Option<SessionId>,
}

impl Wanted {
    /// True if an announcer of this value is known already.
    pub(super) fn is_announced_by(&self, key: PostKey, session: SessionId) -> bool {
        self.keys.get(&key).is_some_and(|search| search.announcers.contains(&session))
    }

    /// A neighbor announces a value that this node does not have.
    pub(super) fn announced(&mut self, now: Time, key: PostKey, session: SessionId) {
        let due = (now + ASK_AFTER, self.next);
        let search = self.keys.entry(key).or_insert_with(|| {
            self.next += 1;
            self.due.insert((due.0, due.1, key));
            Search { since: now, announcers: Vec::new(), asked: None, due }
        });
        search.announcers.push(session);
    }

    /// The value has arrived, or is not wanted any more.
    pub(super) fn end(&mut self, key: PostKey) -> Option<Ended> {
        let search = self.keys.remove(&key)?;
        self.due.remove(&(search.due.0, search.due.1, key));
        let asked = search.asked();
        Some(Ended { announcers: search.announcers, asked })
    }

    /// A neighbor does not have the value. `Some` if it was asked: the neighbor to ask now, if
    /// another has announced it.
    pub(super) fn withdrawn(
        &mut self,
        now: Time,
        key: PostKey,
        session: SessionId,
    ) -> Option<Option<SessionId>> {
        let search = self.keys.get_mut(&key)?;
        let place = search.announcers.iter().position(|announcer| *announcer == session)?;
        search.announcers.remove(place);
        if search.announcers.is_empty() {
            let was_asked = search.asked == Some(place);
            self.end(key);
            return was_asked.then_some(None);
        }
        let asked = search.asked?;
        if asked != place {
            search.asked = Some(if asked > place { asked - 1 } else { asked });
            return None;
        }
        let next = place % search.announcers.len();
        search.asked = Some(next);
        let session = search.announcers.get(next).copied();
        self.schedule(now + RETRY_AFTER, key);
        Some(session)
    }

    /// The values that a neighbor has announced.
    pub(super) fn announced_by(&self, session: SessionId) -> Vec<PostKey> {
        let theirs = self.keys.iter().filter(|(_, search)| search.announcers.contains(&session));
        theirs.map(|(key, _)| *key).collect()
    }

    /// A request that is due by now; [`asked`](Self::asked) or [`end`](Self::end) must follow. A
    /// search without result has ended when every announcer has forgotten the value.
    pub(super) fn next_due(&mut self, now: Time) -> Option<(PostKey, Option<Due>)> {
        let &(_, _, key) = self.due.first().filter(|(due, ..)| *due <= now)?;
        let search = self.keys.get(&key)?;
        if search.since + RETENTION <= now {
            return Some((key, None));
        }
        let due = match search.asked() {
            None => Due::First(search.announcers.clone()),
            Some(asked) => {
                let next = search.asked.map_or(0, |place| place + 1) % search.announcers.len();
                Due::Again(asked, search.announcers.get(next).copied().unwrap_or(asked))
            }
        };
        Some((key, Some(due)))
    }

    /// An announcer was asked for a value.
    pub(super) fn asked(&mut self, now: Time, key: PostKey, session: SessionId) {
        if let Some(search) = self.keys.get_mut(&key) {
            search.asked = search.announcers.iter().position(|announcer| *announcer == session);
            self.schedule(now + RETRY_AFTER, key);
        }
    }

    /// When [`next_due`](Self::next_due) has something.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.due.first().map(|(due, ..)| *due)
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    fn schedule(&mut self, at: Time, key: PostKey) {
        let Some(search) = self.keys.get_mut(&key) else { return };
        self.due.remove(&(search.due.0, search.due.1, key));
        search.due.0 = at;
        self.due.insert((at, search.due.1, key));
    }
}

impl Search {
    fn asked(&self) -> Option<SessionId> {
        self.announcers.get(self.asked?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const KEY: PostKey = PostKey([7; 8]);
    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);
    const C: SessionId = SessionId(3);

    fn millis(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn wanted() -> Wanted {
        let mut wanted = Wanted::default();
        for (time, session) in [(0, A), (100, B), (200, C)] {
            wanted.announced(millis(time), KEY, session);
        }
        wanted
    }

    #[test]
    fn announcers_are_asked_one_after_the_other() {
        let mut wanted = wanted();
        assert_eq!(
            (wanted.next_due(millis(349)), wanted.poll_timeout()),
            (None, Some(millis(350)))
        );
        assert_eq!(wanted.next_due(millis(350)), Some((KEY, Some(Due::First(vec![A, B, C])))));
        wanted.asked(millis(350), KEY, B);
        for (time, last, next) in [(10_350, B, C), (20_350, C, A), (30_350, A, B)] {
            assert_eq!(wanted.next_due(millis(time - 1)), None);
            assert_eq!(wanted.next_due(millis(time)), Some((KEY, Some(Due::Again(last, next)))));
            wanted.asked(millis(time), KEY, next);
        }
        assert_eq!(wanted.next_due(millis(300_000)), Some((KEY, None)));
        let ended = Ended { announcers: vec![A, B, C], asked: Some(B) };
        assert_eq!((wanted.end(KEY), wanted.end(KEY)), (Some(ended), None));
        assert_eq!((wanted.len(), wanted.poll_timeout()), (0, None));
    }

    #[test]
    fn an_announcer_that_lacks_the_value_is_passed_over() {
        let mut wanted = wanted();
        wanted.asked(millis(350), KEY, B);
        assert_eq!(wanted.withdrawn(millis(400), KEY, A), None);
        assert_eq!(wanted.withdrawn(millis(500), KEY, B), Some(Some(C)));
        assert_eq!(wanted.poll_timeout(), Some(millis(500) + Duration::from_secs(10)));
        assert_eq!(wanted.announced_by(B), []);
        assert_eq!(wanted.withdrawn(millis(600), KEY, C), Some(None));
        assert_eq!((wanted.len(), wanted.poll_timeout()), (0, None));
        assert_eq!(wanted.withdrawn(millis(700), KEY, C), None);
    }

    #[test]
    fn one_that_was_not_asked_yet() {
        let mut wanted = wanted();
        assert_eq!(wanted.withdrawn(millis(300), KEY, A), None);
        assert_eq!(wanted.next_due(millis(350)), Some((KEY, Some(Due::First(vec![B, C])))));
    }
}
