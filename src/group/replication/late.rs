//! Requests whose answer is late: another neighbor is asked as well, if it has nothing better to do.

use super::Replication;
use super::neighbor::{InFlight, Neighbor};
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// An answer is never late before this.
const MIN_LATE: Duration = Duration::from_secs(1);
/// Nor before this multiple of the time after which it is expected, unless it crosses the line of a local
/// network and is played next: then all there may wait for it.
const LATE: f64 = 2.5;
/// Both are so many times as long for what crosses the line of a local network, of which all there
/// need a part.
const LATE_ACROSS: u32 = 2;
/// Of the lowest wanted indices, so many are worth a place in a neighbor's window.
const URGENT: u64 = 8;

impl Replication {
    /// Asks for late objects a second time.
    pub(super) fn double_late(&mut self, now: Time) {
        let mut late: Vec<(u64, SessionId)> = Vec::new();
        for (&session, n) in &self.neighbors {
            let requests = n.in_flight.iter();
            let is_across = self.is_across(n);
            let times = if is_across { LATE_ACROSS } else { 1 };
            let is_late =
                |index: u64, request: &InFlight| match is_across && self.is_due(now, index) {
                    true => request.is_older(now, MIN_LATE),
                    false => n.is_late(now, request, times),
                };
            let requests = requests.filter(|&(&index, request)| is_late(index, request));
            late.extend(requests.map(|(&i, _)| (i, session)));
        }
        late.sort_unstable();
        let lowest = self.want.first().unwrap_or(0);
        for (index, holder) in late {
            let is_urgent = index < lowest.saturating_add(URGENT) || self.is_played(index);
            if let Some(helper) = self.helper(now, index, holder, is_urgent) {
                if let Some(n) = self.neighbors.get_mut(&holder)
                    && let Some(request) = n.in_flight.get_mut(&index)
                {
                    request.is_doubled = true;
                }
                self.request(now, helper, index, true);
            }
        }
    }

    /// The neighbor that is expected to deliver first.
    fn helper(
        &self,
        now: Time,
        index: u64,
        holder: SessionId,
        is_urgent: bool,
    ) -> Option<SessionId> {
        let can_help = |n: &Neighbor| {
            let most = if is_urgent { n.window.size() } else { 1 };
            n.usable(now)
                && n.in_flight.len() <= most
                && n.their_have.contains(index)
                && n.may_ask(now, index)
        };
        let others =
            self.neighbors.iter().filter(|&(&session, n)| session != holder && can_help(n));
        let order = |n: &Neighbor| n.received == 0 && !self.is_source(n);
        let best = others.min_by(|(_, a), (_, b)| {
            order(a).cmp(&order(b)).then(a.expected().total_cmp(&b.expected()))
        });
        best.map(|(&session, _)| session)
    }
}

impl Neighbor {
    /// Seconds until the answer to one more request.
    fn expected(&self) -> f64 {
        self.window.expected(self.in_flight.len() + 1)
    }

    fn is_late(&self, now: Time, request: &InFlight, times: u32) -> bool {
        let expected = Duration::from_secs_f64(LATE * self.window.expected(request.depth));
        request.is_older(now, expected.max(MIN_LATE) * times)
    }
}

impl InFlight {
    /// True if an answer is expected, from nobody else, for longer than this.
    fn is_older(&self, now: Time, time: Duration) -> bool {
        let is_open = !self.is_doubled && !self.satisfied && !self.abandoned;
        is_open && now.since(self.sent) > time
    }
}
