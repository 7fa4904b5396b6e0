//! The state of replication with one neighbor.

use super::announce::Unannounced;
use super::window::Window;
use crate::crypto::Fingerprint;
use crate::range::IndexSet;
use crate::transport::Time;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Denied indices remembered per neighbor; beyond this, the neighbor as a whole is not asked for a
/// while.
const MAX_DENIED: usize = 1024;
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// A fetcher whose Have set has not grown for this long, or for twice the time after which an answer
/// is overdue, gets nothing reserved.
const MIN_CLAIM: Duration = Duration::from_secs(10);

/// The state of serving this neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    /// Its requests are not answered.
    Choked,
    /// Its requests are answered.
    Unchoked,
    /// The choke is decided; it is sent after the answers that are still due.
    Ending,
}

/// A request that was sent and is not answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    pub(super) sent: Time,
    /// The number of requests in flight at this neighbor with this one.
    pub(super) depth: usize,
    /// True if two neighbors were asked because an answer was late.
    pub(super) is_doubled: bool,
    /// True if another neighbor may be asked: the answer is overdue or the index withdrawn. An
    /// answer is still accepted.
    pub(super) abandoned: bool,
    /// True if another neighbor has delivered the object.
    pub(super) satisfied: bool,
}

#[derive(Debug, Clone, Copy)]
struct Backoff {
    until: Time,
    delay: Duration,
}

pub(super) struct Neighbor {
    pub(super) peer: Fingerprint,
    /// True if it is in a network of this host.
    pub(super) is_local: bool,
    /// True once our own `15` flow to it is open and the complete set sent.
    pub(super) flow_open: bool,
    pub(super) unannounced: Unannounced,

    /// True once it has announced its Have set, which is empty for a pure fetcher.
    pub(super) spoke: bool,
    /// The number of indices in the set that it announced first.
    pub(super) first_announced: u64,
    /// True if it delivers what it announces: its latest answer was an object, and none is overdue.
    pub(super) delivers: bool,

    // Fetching from it.
    pub(super) their_have: IndexSet,
    /// The last time at which its Have set grew, or began.
    pub(super) grew: Time,
    pub(super) interested: bool,
    pub(super) unchoked_us: bool,
    /// The object that it delivered last.
    pub(super) gave: Option<u64>,
    pub(super) in_flight: BTreeMap<u64, InFlight>,
    pub(super) window: Window,
    /// Nothing can be requested in this state of the open set; see `Replication::open_epoch`.
    pub(super) nothing_as_of: Option<u64>,
    last_answer: Time,
    /// The time at which the latest of the answered requests was sent.
    overtaken: Time,
    denied: BTreeMap<u64, Backoff>,
    paused_until: Time,
    /// An index that was in both their Have set and our Want set at the last check.
    witness: u64,

    // Serving it.
    pub(super) serving: Serving,
    pub(super) wants_ours: bool,
    /// The time at which the present state of `serving` began.
    pub(super) serving_since: Time,
    pub(super) pending: usize,
    /// True while our flow to it is full: its requests wait in the queue.
    pub(super) is_blocked: bool,
    pub(super) queue: VecDeque<u64>,
    pub(super) served_this_round: u64,

    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Neighbor {
    pub(super) fn new(now: Time, peer: Fingerprint, max_window: usize) -> Self {
        Self {
            peer,
            is_local: false,
            flow_open: false,
            unannounced: Unannounced::default(),
            spoke: false,
            first_announced: 0,
            delivers: false,
            their_have: IndexSet::new(),
            grew: now,
            interested: false,
            unchoked_us: false,
            gave: None,
            in_flight: BTreeMap::new(),
            window: Window::new(max_window),
            nothing_as_of: None,
            last_answer: now,
            overtaken: Time::ZERO,
            denied: BTreeMap::new(),
            paused_until: Time::ZERO,
            witness: 0,
            serving: Serving::Choked,
            wants_ours: false,
            serving_since: now,
            pending: 0,
            is_blocked: false,
            queue: VecDeque::new(),
            served_this_round: 0,
            received: 0,
            sent: 0,
        }
    }

    /// True if it has something in `want`. Remembers the index, so that the next check is cheap.
    pub(super) fn has_some_of(&mut self, want: &IndexSet) -> bool {
        if want.contains(self.witness) && self.their_have.contains(self.witness) {
            return true;
        }
        let found = want
            .first_common_at_or_after(&self.their_have, self.witness)
            .or_else(|| want.first_common_at_or_after(&self.their_have, 0));
        self.witness = found.unwrap_or(self.witness);
        found.is_some()
    }

    /// True if it has not announced all of this range.
    pub(super) fn lacks_some_of(&self, range: &RangeInclusive<u64>) -> bool {
        !self.their_have.contains_range(range.clone())
    }

    /// True if it may be asked for something now, however many requests are in flight.
    pub(super) fn usable(&self, now: Time) -> bool {
        self.unchoked_us && now >= self.paused_until
    }

    /// The requests whose answer is still expected from it, and not from another neighbor.
    pub(super) fn live_requests(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.values().filter(|request| !request.abandoned)
    }

    /// The requests that take places of its window. Those given up do if it is silent: it would not
    /// answer others either.
    pub(super) fn occupied(&self, now: Time) -> usize {
        match self.is_silent(now) {
            true => self.in_flight.len(),
            false => self.live_requests().count(),
        }
    }

    /// True if it has given nothing yet, and another was asked for what it was asked for.
    pub(super) fn has_failed(&self) -> bool {
        self.received == 0 && self.in_flight.values().any(|r| r.abandoned || r.is_doubled)
    }

    /// True if nothing is in flight, and has not been for so long.
    pub(super) fn is_idle(&self, now: Time, time: Duration) -> bool {
        self.live_requests().next().is_none() && now.since(self.last_answer) >= time
    }

    fn is_silent(&self, now: Time) -> bool {
        now.since(self.last_answer) > self.window.timeout()
    }

    /// True if its Have set still grows, so that objects reserved for it can be expected from it.
    pub(super) fn makes_progress(&self, now: Time, answer_timeout: Duration) -> bool {
        self.spoke && now.since(self.grew) < MIN_CLAIM.max(2 * answer_timeout)
    }

    /// True if it may be asked for this index now.
    pub(super) fn may_ask(&self, now: Time, index: u64) -> bool {
        !self.in_flight.contains_key(&index)
            && self.denied.get(&index).is_none_or(|d| now >= d.until)
    }

    /// Records an answer. Returns the request, or `None` if there was none. The response time of a
    /// denial says nothing about that of objects.
    pub(super) fn answered(&mut self, now: Time, index: u64, denied: bool) -> Option<InFlight> {
        let request = self.in_flight.remove(&index)?;
        if !denied {
            self.window.on_answer(now.since(request.sent), request.depth);
        }
        self.last_answer = now;
        self.overtaken = self.overtaken.max(request.sent);
        self.nothing_as_of = None;
        Some(request)
    }

    /// The indices whose answer is overdue: none has arrived within the timeout, or a later request
    /// was answered first.
    pub(super) fn overdue(&self, now: Time) -> Vec<u64> {
        let timeout = self.window.timeout();
        let silent = self.is_silent(now);
        let late = |r: &InFlight| {
            !r.abandoned && now.since(r.sent) > timeout && (silent || r.sent < self.overtaken)
        };
        self.in_flight.iter().filter(|(_, r)| late(r)).map(|(&index, _)| index).collect()
    }

    /// Records a denial of this index: it is not requested for twice as long as after the last
    /// denial.
    pub(super) fn back_off(&mut self, now: Time, index: u64, want: &IndexSet) {
        if self.denied.len() >= MAX_DENIED {
            self.denied.retain(|&i, _| want.contains(i));
        }
        let delay = self.denied.get(&index).map_or(FIRST_BACKOFF, |d| d.delay * 2).min(MAX_BACKOFF);
        if self.denied.len() >= MAX_DENIED && !self.denied.contains_key(&index) {
            self.paused_until = now + FIRST_BACKOFF;
            self.denied.clear();
        }
        self.denied.insert(index, Backoff { until: now + delay, delay });
    }

    /// Clears the denials of an index that it has delivered after all.
    pub(super) fn forgive(&mut self, index: u64) {
        self.denied.remove(&index);
    }

    /// True if something wanted is not to be requested until a later time.
    pub(super) fn backing_off(&self, now: Time, want: &IndexSet) -> bool {
        now < self.paused_until
            || self.denied.iter().any(|(&i, d)| now < d.until && want.contains(i))
    }

    /// True if anything that was denied may be requested again.
    pub(super) fn backed_off_enough(&self, now: Time) -> bool {
        now >= self.paused_until && self.denied.values().any(|d| now >= d.until)
    }
}
