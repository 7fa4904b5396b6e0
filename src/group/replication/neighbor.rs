//! What replication knows of one neighbor.

use super::window::Window;
use crate::crypto::Fingerprint;
use crate::range::IndexSet;
use crate::transport::Time;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Denied indices remembered for a neighbor; when there are more, the neighbor is left alone for a
/// while instead.
const MAX_DENIED: usize = 1024;
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Whether we answer this neighbor's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    /// No.
    Choked,
    /// Yes.
    Unchoked,
    /// Not for long: the choke is decided, and sent after the answers that are still due.
    Ending,
}

/// A request that we sent and that is not answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    pub(super) sent: Time,
    /// Someone else may be asked: the answer is overdue or the index withdrawn. It is still welcome.
    pub(super) abandoned: bool,
    /// Someone else has delivered the object meanwhile.
    pub(super) satisfied: bool,
}

#[derive(Debug, Clone, Copy)]
struct Backoff {
    until: Time,
    delay: Duration,
}

pub(super) struct Neighbor {
    pub(super) peer: Fingerprint,
    /// Our own `15` flow to it is open and the complete set sent.
    pub(super) flow_open: bool,

    /// It has told what it has; a pure fetcher tells that it has nothing.
    pub(super) spoke: bool,

    // Fetching from it.
    pub(super) their_have: IndexSet,
    pub(super) interested: bool,
    pub(super) unchoked_us: bool,
    pub(super) in_flight: BTreeMap<u64, InFlight>,
    pub(super) window: Window,
    /// Nothing to pick as of this state of the open set; see `Replication::open_epoch`.
    pub(super) nothing_as_of: Option<u64>,
    /// Where the spreading strategy goes on: at what was last asked of it.
    pub(super) cursor: Option<u64>,
    last_answer: Time,
    /// When the latest of the answered requests was sent.
    overtaken: Time,
    denied: BTreeMap<u64, Backoff>,
    paused_until: Time,
    /// An index that was in both their Have set and our Want set at the last look.
    witness: u64,

    // Serving it.
    pub(super) serving: Serving,
    pub(super) wants_ours: bool,
    /// When the present state of `serving` began.
    pub(super) serving_since: Time,
    pub(super) shown: usize,
    /// Our flow to it is full: its requests wait in the queue.
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
            flow_open: false,
            spoke: false,
            their_have: IndexSet::new(),
            interested: false,
            unchoked_us: false,
            in_flight: BTreeMap::new(),
            window: Window::new(max_window),
            nothing_as_of: None,
            cursor: None,
            last_answer: now,
            overtaken: Time::ZERO,
            denied: BTreeMap::new(),
            paused_until: Time::ZERO,
            witness: 0,
            serving: Serving::Choked,
            wants_ours: false,
            serving_since: now,
            shown: 0,
            is_blocked: false,
            queue: VecDeque::new(),
            served_this_round: 0,
            received: 0,
            sent: 0,
        }
    }

    /// Whether it has something in `want`. Remembers what it found, so asking again is cheap.
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

    /// Whether it may be asked for something now, however many requests are in flight.
    pub(super) fn usable(&self, now: Time) -> bool {
        self.unchoked_us && now >= self.paused_until
    }

    /// Whether it may be asked for this index now.
    pub(super) fn may_ask(&self, now: Time, index: u64) -> bool {
        !self.in_flight.contains_key(&index)
            && self.denied.get(&index).is_none_or(|d| now >= d.until)
    }

    /// Takes note of an answer. Returns the request, or `None` if there was none. How fast a denial
    /// comes says nothing about how fast objects do.
    pub(super) fn answered(&mut self, now: Time, index: u64, denied: bool) -> Option<InFlight> {
        let in_flight = self.in_flight.len();
        let request = self.in_flight.remove(&index)?;
        if !denied {
            self.window.on_answer(now.since(request.sent), in_flight);
        }
        self.last_answer = now;
        self.overtaken = self.overtaken.max(request.sent);
        self.nothing_as_of = None;
        Some(request)
    }

    /// Indices whose answer is overdue: nothing has come for the timeout, or what was asked for
    /// later has come first.
    pub(super) fn overdue(&self, now: Time) -> Vec<u64> {
        let timeout = self.window.timeout();
        let silent = now.since(self.last_answer) > timeout;
        let late = |r: &InFlight| {
            !r.abandoned && now.since(r.sent) > timeout && (silent || r.sent < self.overtaken)
        };
        self.in_flight.iter().filter(|(_, r)| late(r)).map(|(&index, _)| index).collect()
    }

    /// It denied this index: leave it alone, twice as long as the last time.
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

    /// It delivered this index after all.
    pub(super) fn forgive(&mut self, index: u64) {
        self.denied.remove(&index);
    }

    /// Whether it may not be asked for something that is wanted until some later time.
    pub(super) fn backing_off(&self, now: Time, want: &IndexSet) -> bool {
        now < self.paused_until
            || self.denied.iter().any(|(&i, d)| now < d.until && want.contains(i))
    }

    /// Whether anything has been denied that may be asked for again by now.
    pub(super) fn backed_off_enough(&self, now: Time) -> bool {
        now >= self.paused_until && self.denied.values().any(|d| now >= d.until)
    }
}
