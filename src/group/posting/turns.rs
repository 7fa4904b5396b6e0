//! The neighbors, and the clock by which one at a time is informed of new values.

use super::store::Number;
use crate::crypto::Fingerprint;
use crate::group::{FlowKind, PostKey};
use crate::random::SplitMix64;
use crate::transport::{SessionId, Time};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

/// The shortest time between two turns, in milliseconds; and how much longer it may be.
const TURN: (u64, u64) = (50, 101);
/// Values that a neighbor is informed of in one turn; further ones follow in its next.
const MAX_TOLD: usize = 1024;

/// The state of posting with one neighbor.
#[derive(Debug)]
pub(super) struct Neighbor {
    pub(super) peer: Fingerprint,
    /// Our flows `GR 18` and `GR 19` are open.
    keys_open: bool,
    values_open: bool,
    /// They are full.
    pub(super) keys_blocked: bool,
    pub(super) values_blocked: bool,
    /// What it is to be informed of.
    pending: BTreeMap<Number, PostKey>,
    /// What it requested while our flow was full.
    pub(super) owed: VecDeque<PostKey>,
    /// The number of values that it has announced and this node lacks.
    pub(super) announced: usize,
    /// Our requests to it that are not answered.
    pub(super) asked: usize,
    /// Until then it is asked only for what nobody else has.
    pub(super) spared_until: Time,
}

/// The neighbors, whose turns are 50 to 150 ms apart while there is something to say.
#[derive(Debug)]
pub(super) struct Turns {
    neighbors: BTreeMap<SessionId, Neighbor>,
    next_at: Option<Time>,
    /// The neighbor whose turn was last.
    last: SessionId,
    rng: SplitMix64,
}

impl Neighbor {
    pub(super) fn new(now: Time, peer: Fingerprint) -> Self {
        Self {
            peer,
            keys_open: false,
            values_open: false,
            keys_blocked: false,
            values_blocked: false,
            pending: BTreeMap::new(),
            owed: VecDeque::new(),
            announced: 0,
            asked: 0,
            spared_until: now,
        }
    }

    /// Notes that our flow of this kind is open: true if it was not yet.
    pub(super) fn open(&mut self, kind: FlowKind) -> bool {
        let open = match kind {
            FlowKind::PostingKeys => &mut self.keys_open,
            _ => &mut self.values_open,
        };
        !std::mem::replace(open, true)
    }

    fn is_waiting(&self) -> bool {
        !self.pending.is_empty() && !self.keys_blocked && !self.values_blocked
    }
}

impl Turns {
    pub(super) fn new(rng: SplitMix64) -> Self {
        Self { neighbors: BTreeMap::new(), next_at: None, last: SessionId(0), rng }
    }

    pub(super) fn get(&self, session: SessionId) -> Option<&Neighbor> {
        self.neighbors.get(&session)
    }

    pub(super) fn get_mut(&mut self, session: SessionId) -> Option<&mut Neighbor> {
        self.neighbors.get_mut(&session)
    }

    pub(super) fn insert(&mut self, session: SessionId, neighbor: Neighbor) {
        self.neighbors.insert(session, neighbor);
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        self.neighbors.remove(&session);
    }

    /// Every neighbor is to be informed of a value, except some.
    pub(super) fn tell(&mut self, now: Time, number: Number, key: PostKey, except: &[SessionId]) {
        for (session, neighbor) in &mut self.neighbors {
            if !except.contains(session) {
                neighbor.pending.insert(number, key);
            }
        }
        self.wind(now);
    }

    /// A neighbor has a value already.
    pub(super) fn knows(&mut self, session: SessionId, number: Number) {
        if let Some(neighbor) = self.neighbors.get_mut(&session) {
            neighbor.pending.remove(&number);
        }
    }

    /// These values are not held any more.
    pub(super) fn withdraw(&mut self, numbers: &[Number]) {
        if numbers.is_empty() {
            return;
        }
        for neighbor in self.neighbors.values_mut() {
            for number in numbers {
                neighbor.pending.remove(number);
            }
        }
    }

    /// The neighbors that are owed values and whose flow has space.
    pub(super) fn owed(&self) -> Vec<SessionId> {
        let is_owed = |neighbor: &Neighbor| !neighbor.values_blocked && !neighbor.owed.is_empty();
        let owed = self.neighbors.iter().filter(|(_, neighbor)| is_owed(neighbor));
        owed.map(|(session, _)| *session).collect()
    }

    /// Starts the clock, if it is to run.
    pub(super) fn wind(&mut self, now: Time) {
        if self.next_at.is_none() && self.neighbors.values().any(Neighbor::is_waiting) {
            self.set(now);
        }
    }

    /// The neighbor whose turn it is, and what to inform it of. The clock runs until it finds nobody.
    pub(super) fn next(&mut self, now: Time) -> Option<(SessionId, Vec<PostKey>)> {
        self.next_at.filter(|at| *at <= now)?;
        self.next_at = None;
        let after = (Bound::Excluded(self.last), Bound::Unbounded);
        let is_waiting = |(_, neighbor): &(&SessionId, &Neighbor)| neighbor.is_waiting();
        let next = self.neighbors.range(after).find(is_waiting);
        let (&session, _) = next.or_else(|| self.neighbors.iter().find(is_waiting))?;
        self.last = session;
        self.set(now);
        let pending = &mut self.neighbors.get_mut(&session)?.pending;
        let keys = std::iter::from_fn(|| pending.pop_first()).map(|(_, key)| key);
        Some((session, keys.take(MAX_TOLD).collect()))
    }

    /// The announcer to ask first for a value: the one that owes the fewest answers, unless it left
    /// one out lately; of several the one that announced it first. There is at least one.
    pub(super) fn choose(&self, now: Time, announcers: &[SessionId]) -> SessionId {
        let burden = |session: &&SessionId| {
            let neighbor = self.neighbors.get(session);
            neighbor.map_or((true, true, usize::MAX), |neighbor| {
                (neighbor.keys_blocked, neighbor.spared_until > now, neighbor.asked)
            })
        };
        announcers.iter().min_by_key(burden).copied().unwrap_or(self.last)
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.next_at
    }

    fn set(&mut self, now: Time) {
        let (shortest, spread) = TURN;
        self.next_at = Some(now + Duration::from_millis(shortest + self.rng.below(spread)));
    }
}
