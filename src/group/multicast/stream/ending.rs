//! The end of a stream, and ends that are none.
//!
//! An end is a short message that anybody can forge. So it is believed at once only from the only
//! neighbor that takes part; otherwise another one has to have it as well, or no one may be further
//! for [`DOUBT`]. And if a neighbor other than its sender sends a fragment beyond it, it was none.

use super::{News, Stream, Turn};
use crate::group::multicast::link::Link;
use crate::group::multicast::message::MulticastData;
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// How long an end without confirmation is doubted.
const DOUBT: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    /// Everything before the end was delivered.
    Doubted {
        since: Time,
        number: u64,
        from: Option<SessionId>,
    },
    /// The stream has ended.
    Over {
        at: Time,
        number: u64,
        from: Option<SessionId>,
    },
}

impl Stream {
    /// Everything before the end was delivered or given up.
    pub(super) fn reach_end(&mut self, turn: &mut Turn<'_>, number: u64, from: Option<SessionId>) {
        if self.held.newest_fragment().is_some_and(|newest| newest > number) {
            return self.drop_end(turn, number, from);
        }
        self.ending = Ending::Doubted { since: turn.now, number, from };
        self.settle_end(turn.now);
    }

    /// Decides on an end that was doubted.
    pub(super) fn settle_end(&mut self, now: Time) {
        let Ending::Doubted { since, number, from } = self.ending else { return };
        let others = self.links.iter().filter(|(session, _)| Some(**session) != from);
        let others: Vec<u64> = others.filter_map(|(_, link)| link.newest()).collect();
        let is_confirmed = others.is_empty() || others.contains(&number);
        let is_contradicted = others.iter().any(|newest| *newest > number);
        let doubt = if is_contradicted { self.settings.window_duration } else { DOUBT };
        if is_confirmed && !is_contradicted || now >= since + doubt {
            self.end(now, number, from);
        }
    }

    fn end(&mut self, now: Time, number: u64, from: Option<SessionId>) {
        self.ending = Ending::Over { at: now, number, from };
        self.wants.clear();
        self.news.push_back(News::Ended);
    }

    pub(super) fn doubt_until(&self) -> Option<Time> {
        let Ending::Doubted { since, number, .. } = self.ending else { return None };
        let is_contradicted = self.links.values().filter_map(Link::newest).any(|n| n > number);
        let doubt = if is_contradicted { self.settings.window_duration } else { DOUBT };
        Some(since + doubt)
    }

    /// A neighbor sends something that was here already: if it is the same end, it is confirmed.
    pub(super) fn on_second_end(&mut self, now: Time, session: SessionId, data: &MulticastData) {
        if let (Ending::Doubted { number, from, .. }, MulticastData::End(end)) = (self.ending, data)
            && number == *end
            && from != Some(session)
        {
            self.end(now, number, from);
        }
    }

    /// A neighbor has sent this fragment: an end before it was none, unless it is the neighbor that
    /// sent the end.
    pub(super) fn contradict_end(&mut self, turn: &mut Turn<'_>, session: SessionId, newest: u64) {
        match self.ending {
            Ending::Doubted { number, from, .. } if newest > number && from != Some(session) => {
                self.ending = Ending::No;
                self.drop_end(turn, number, from);
            }
            Ending::Over { number, from, .. } if newest > number && from != Some(session) => {
                self.ending = Ending::No;
                self.news.push_back(News::Reopened);
                self.drop_end(turn, number, from);
            }
            _ => {}
        }
    }

    /// Drops an end that is none, and wants the fragment in its place.
    fn drop_end(&mut self, turn: &mut Turn<'_>, number: u64, from: Option<SessionId>) {
        turn.counts.forged_ends += 1;
        self.held.remove(number);
        let forger = from.and_then(|session| self.links.get_mut(&session));
        if let Some(forger) = forger {
            forger.forged_end = true;
        }
        let others = self.links.iter().filter(|(session, _)| Some(**session) != from);
        let holder =
            others.filter(|(_, link)| link.has(number)).map(|(session, _)| *session).next();
        if let Some(holder) = holder {
            self.wants.add(turn.now, number, holder, Duration::ZERO);
        }
    }
}
