//! [`OriginPlan`]: what is read from the origin, and when.
//!
//! A **provider** reads the whole file once: what neighbors ask for at once, the rest in order.
//!
//! A **member** reads what the swarm lacks, so that many members together read little more than one copy:
//!
//! | what | when |
//! | --- | --- |
//! | the chunk at a reader's place, if no neighbor has it | at once for the first of those present, 0.3 s later for the next, … |
//! | the lowest missing chunk, if no neighbor has it | the same with 1.5 s |
//! | a chunk that a neighbor has, and that has not come | after 3 s at a reader's place, else 8 s, and 0.5 or 2 s more for the next, … |
//! | further chunks that no neighbor has | at once, in the blocks of 16 chunks in which this node is the first of those present |
//!
//! After a failure both pause, the provider for 2 s at most. A member then tries one chunk, and leaves the
//! origin to the provider for 3 s if that comes.
//!
//! Which of those present is the first is a hash of block and peer ID: all agree without messages. Where the
//! page of hashes is not known, it is one of page and peer ID.

use super::super::layout::Layout;
use crate::crypto::Fingerprint;
use crate::transport::Time;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The most chunks in one request: 1 MiB.
const MAX_RUN: u64 = 16;
/// Chunks behind one that was asked for that are read with it.
const READ_AHEAD: u64 = 4;
/// Requests at a time.
const MAX_READS: usize = 4;
/// Of these, so many read what nobody waits for.
const MAX_AHEAD: usize = 2;
/// Pieces for comparison that are read at a time.
pub(in crate::vod) const MAX_PIECES: usize = 4;

/// A member looks for others for so long before it reads from the origin.
const JOIN: Duration = Duration::from_secs(2);
/// A member waits so long for the descriptor of others before it asks a web server for many files.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a member looks for what the swarm lacks.
const LOOK: Duration = Duration::from_millis(250);
/// A chunk this close behind a reader's place counts as its place.
const NEAR: u64 = 8;
/// Blocks for each of those present in which a member looks for what nobody has.
const BLOCKS: u64 = 2;

/// The pause after a failure, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A provider pauses for less, so that it reads again before members do: what they read, it has to
/// read, too.
const MAX_PROVIDER_PAUSE: Duration = Duration::from_secs(2);
/// A member that finds the origin back leaves it to the provider for so long.
const LEFT_TO_PROVIDER: Duration = Duration::from_secs(3);

/// How much a fetcher reads from the origin itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OriginLimit {
    /// As much as the file is long.
    #[default]
    OneCopy,
    /// At most so many bytes.
    Bytes(u64),
    /// Nothing.
    Off,
}

/// The part that this node plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vod) enum OriginRole {
    /// It offers the whole file and reads all of it.
    Provider,
    /// It reads what the swarm lacks.
    Member(OriginLimit),
}

/// Something to read. The ID comes back with the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRequest {
    /// Number of the request.
    pub id: u64,
    /// What is to be read.
    pub read: OriginRead,
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginRead {
    /// What the origin has now.
    Probe,
    /// These chunks.
    Chunks(RangeInclusive<u64>),
    /// All chunks in order: the server gives no parts.
    All,
    /// Bytes of the file for comparison.
    Piece {
        /// Offset in the file.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
}

/// A page of hashes that is not known: if no member has it, it follows from its chunks, all of which one
/// member must read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vod) struct AwaitedPage {
    pub(in crate::vod) index: u64,
    /// This member has begun to make it.
    pub(in crate::vod) is_begun: bool,
}

/// What the plan depends on.
pub(in crate::vod) struct View<'a> {
    pub(in crate::vod) layout: Layout,
    /// The first chunk from this one on that is neither held nor being stored.
    pub(in crate::vod) missing: &'a dyn Fn(u64) -> Option<u64>,
    /// Chunks that neighbors wait for, ascending.
    pub(in crate::vod) asked: Vec<u64>,
    /// Chunks at which the application reads.
    pub(in crate::vod) playheads: &'a [u64],
    /// The page of hashes that a chunk waits for.
    pub(in crate::vod) awaits: &'a dyn Fn(u64) -> Option<AwaitedPage>,
    /// True if a neighbor has this chunk.
    pub(in crate::vod) offered: &'a dyn Fn(u64) -> bool,
    pub(in crate::vod) neighbors: &'a [Fingerprint],
    /// The store is too slow for more.
    pub(in crate::vod) is_full: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Probing,
    Ready { has_ranges: bool },
    Gone,
}

#[derive(Debug)]
struct UnderWay {
    chunks: RangeInclusive<u64>,
    /// The next chunk to come.
    next: u64,
    is_urgent: bool,
}

/// See the module documentation.
#[derive(Debug)]
pub(in crate::vod) struct OriginPlan {
    role: OriginRole,
    near: Fingerprint,
    state: State,
    started: Option<Time>,
    is_patient: bool,
    under_way: BTreeMap<u64, UnderWay>,
    next_id: u64,
    /// Bytes asked for.
    spent: u64,
    failures: u32,
    retry_at: Option<Time>,
    /// The chunks that are missing first, and since when.
    heads: BTreeMap<u64, Time>,
    look_at: Option<Time>,
}

impl OriginPlan {
    pub(in crate::vod) fn new(role: OriginRole, near: Fingerprint) -> Self {
        Self {
            role,
            near,
            state: State::Unknown,
            started: None,
            is_patient: false,
            under_way: BTreeMap::new(),
            next_id: 0,
            spent: 0,
            failures: 0,
            retry_at: None,
            heads: BTreeMap::new(),
            look_at: None,
        }
    }

    /// The origin is asked for what it has only after a while.
    pub(in crate::vod) fn be_patient(&mut self) {
        self.is_patient = true;
    }

    /// The origin has the file.
    pub(in crate::vod) fn ready(&mut self, has_ranges: bool) {
        self.state = State::Ready { has_ranges };
        if self.failures == 0 {
            self.retry_at = None;
        }
    }

    /// The origin is not used any more.
    pub(in crate::vod) fn give_up(&mut self) {
        self.state = State::Gone;
        self.under_way.clear();
    }

    /// True if parts of the file can be read.
    pub(in crate::vod) fn is_usable(&self) -> bool {
        self.state == State::Ready { has_ranges: true } && self.failures == 0
    }

    /// True if a file of this size can be read, and may be.
    pub(in crate::vod) fn can_read_all(&self, size: u64) -> bool {
        let is_allowed = match self.role {
            OriginRole::Provider | OriginRole::Member(OriginLimit::OneCopy) => true,
            OriginRole::Member(OriginLimit::Bytes(limit)) => size <= limit,
            OriginRole::Member(OriginLimit::Off) => false,
        };
        is_allowed && self.is_usable()
    }

    pub(in crate::vod) fn is_provider(&self) -> bool {
        self.role == OriginRole::Provider
    }

    /// A chunk of a request has come.
    pub(in crate::vod) fn came(&mut self, id: u64, index: u64) {
        if let Some(read) = self.under_way.get_mut(&id) {
            read.next = read.next.max(index.saturating_add(1));
        }
        if self.is_provider() {
            self.failures = 0;
        }
        self.look_at = None;
    }

    /// A request has ended.
    pub(in crate::vod) fn ended(&mut self, now: Time, id: u64, has_failed: bool) {
        self.under_way.remove(&id);
        self.look_at = None;
        if self.state == State::Probing {
            self.state = State::Unknown;
        }
        if has_failed {
            let pause = FIRST_PAUSE * (1 << self.failures.min(8));
            let most = if self.is_provider() { MAX_PROVIDER_PAUSE } else { MAX_PAUSE };
            self.failures += 1;
            self.retry_at = Some(now + pause.min(most));
        } else if std::mem::take(&mut self.failures) > 0 && !self.is_provider() {
            self.retry_at = Some(now + LEFT_TO_PROVIDER);
        }
    }

    /// A request for a piece of the file, if there is room for it.
    pub(in crate::vod) fn piece(&mut self, offset: u64, length: u64) -> OriginRequest {
        self.spent = self.spent.saturating_add(length);
        self.request(OriginRead::Piece { offset, length })
    }

    /// When to look again.
    pub(in crate::vod) fn poll_timeout(&self) -> Option<Time> {
        match (self.state, self.retry_at) {
            (State::Gone, _) => None,
            (_, Some(at)) => Some(at),
            (State::Ready { .. }, None) => self.look_at,
            _ => None,
        }
    }

    /// The next request. Ask again until there is none.
    pub(in crate::vod) fn next(&mut self, now: Time, view: &View<'_>) -> Option<OriginRequest> {
        let request = self.find(now, view);
        // A member looks again when it is time, or when something has come.
        let is_waiting = !self.is_provider() && request.is_none() && (view.missing)(1).is_some();
        self.look_at = self.look_at.filter(|&at| is_waiting && at > now);
        if is_waiting {
            self.look_at.get_or_insert(now + LOOK);
        }
        request
    }

    fn find(&mut self, now: Time, view: &View<'_>) -> Option<OriginRequest> {
        let started = *self.started.get_or_insert(now);
        if self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        self.retry_at = None;
        let has_ranges = match self.state {
            State::Gone | State::Probing => return None,
            State::Unknown if self.is_patient && now < started + PATIENCE => {
                self.retry_at = Some(started + PATIENCE);
                return None;
            }
            State::Unknown => {
                self.state = State::Probing;
                return Some(self.request(OriginRead::Probe));
            }
            State::Ready { has_ranges } => has_ranges,
        };
        (view.missing)(1)?;
        let most = if self.failures > 0 { 1 } else { MAX_READS };
        let (chunks, is_urgent) = match self.role {
            OriginRole::Provider if !has_ranges => {
                return (self.under_way.is_empty() && !view.is_full).then(|| {
                    let mut all = self.under_way_as(view.layout.indices(), false);
                    all.read = OriginRead::All;
                    all
                });
            }
            OriginRole::Member(_) if !has_ranges => return None,
            _ if self.under_way.len() >= most || view.is_full => return None,
            OriginRole::Provider => self.for_provider(view)?,
            OriginRole::Member(limit) => {
                if self.look_at.is_some_and(|at| now < at) {
                    return None;
                }
                let size = view.layout.size().unwrap_or_default();
                let limit = match limit {
                    OriginLimit::OneCopy => size,
                    OriginLimit::Bytes(limit) => limit,
                    OriginLimit::Off => 0,
                };
                if now < started + JOIN || self.spent >= limit {
                    return None;
                }
                match self.for_member(now, view)? {
                    // An attempt, not more: the provider will read it, too.
                    (run, is_urgent) if self.failures > 0 => {
                        (*run.start()..=*run.start(), is_urgent)
                    }
                    found => found,
                }
            }
        };
        let length = |index| view.layout.length(index).unwrap_or_default();
        self.spent = self.spent.saturating_add(chunks.clone().map(length).sum());
        Some(self.under_way_as(chunks, is_urgent))
    }

    fn request(&mut self, read: OriginRead) -> OriginRequest {
        self.next_id += 1;
        OriginRequest { id: self.next_id, read }
    }

    fn under_way_as(&mut self, chunks: RangeInclusive<u64>, is_urgent: bool) -> OriginRequest {
        let request = self.request(OriginRead::Chunks(chunks.clone()));
        let next = *chunks.start();
        self.under_way.insert(request.id, UnderWay { chunks, next, is_urgent });
        request
    }

    /// What neighbors wait for, else the first missing chunks.
    fn for_provider(&self, view: &View<'_>) -> Option<(RangeInclusive<u64>, bool)> {
        let is_open = |&index: &u64| self.missing(view, index) == Some(index);
        if let Some(first) = view.asked.iter().copied().find(is_open) {
            let mut wanted = first;
            let run = self.run(view, first, |index| {
                if view.asked.binary_search(&index).is_ok() {
                    wanted = index;
                }
                index <= wanted + READ_AHEAD
            });
            return Some((run, true));
        }
        let ahead = self.under_way.values().filter(|read| !read.is_urgent).count();
        if ahead >= MAX_AHEAD || ahead < self.under_way.len() {
            return None;
        }
        let first = self.missing(view, 1)?;
        Some((self.run(view, first, |_| true), false))
    }

    /// What the swarm lacks.
    fn for_member(&mut self, now: Time, view: &View<'_>) -> Option<(RangeInclusive<u64>, bool)> {
        let lowest = (view.missing)(1)?;
        let mut heads = BTreeMap::from([(lowest, false)]);
        for &place in view.playheads {
            if let Some(head) = (view.missing)(place).filter(|&head| head <= place + NEAR) {
                heads.insert(head, true);
            }
        }
        self.heads.retain(|head, _| heads.contains_key(head));
        for (&head, &is_read) in &heads {
            let waited = now.since(*self.heads.entry(head).or_insert(now));
            if self.missing(view, head) != Some(head) {
                continue;
            }
            let rank = self.rank(view, head);
            let is_offered = (view.offered)(head);
            let (first, each) = match (is_offered, is_read) {
                (false, true) => (0, 300),
                (false, false) => (0, 1500),
                (true, true) => (3000, 500),
                (true, false) => (8000, 2000),
            };
            if waited >= Duration::from_millis(first) + Duration::from_millis(each) * rank {
                let run = self.run(view, head, |index| match is_offered {
                    true => index < head + READ_AHEAD,
                    false => !(view.offered)(index),
                });
                return Some((run, true));
            }
        }
        self.in_own_blocks(view, lowest)
    }

    /// The first chunks that nobody has, in blocks that this node is the first to read.
    fn in_own_blocks(&self, view: &View<'_>, lowest: u64) -> Option<(RangeInclusive<u64>, bool)> {
        let present = view.neighbors.len() as u64 + 1;
        let end = (block(lowest) + BLOCKS * present).saturating_mul(MAX_RUN);
        let mut from = lowest;
        while let Some(index) = self.missing(view, from).filter(|&index| index <= end) {
            if self.rank(view, index) > 0 {
                from = (block(index) + 1) * MAX_RUN + 1;
            } else if (view.offered)(index) {
                from = index + 1;
            } else {
                let of = block(index);
                let run = self.run(view, index, |next| block(next) == of && !(view.offered)(next));
                return Some((run, false));
            }
        }
        None
    }

    /// The first chunk from `from` on that is missing, and is not being read.
    fn missing(&self, view: &View<'_>, mut from: u64) -> Option<u64> {
        loop {
            let index = (view.missing)(from)?;
            let is_coming = |read: &&UnderWay| (read.next..=*read.chunks.end()).contains(&index);
            match self.under_way.values().find(is_coming) {
                Some(read) => from = read.chunks.end().saturating_add(1),
                None => return Some(index),
            }
        }
    }

    /// Missing chunks in a row, as long as they are wanted.
    fn run(
        &self,
        view: &View<'_>,
        first: u64,
        mut is_wanted: impl FnMut(u64) -> bool,
    ) -> RangeInclusive<u64> {
        let mut last = first;
        while last - first + 1 < MAX_RUN
            && self.missing(view, last + 1) == Some(last + 1)
            && is_wanted(last + 1)
        {
            last += 1;
        }
        first..=last
    }

    /// The number of those present that come before this node in this block.
    fn rank(&self, view: &View<'_>, index: u64) -> u32 {
        let unit = match (view.awaits)(index) {
            Some(page) if page.is_begun => return 0,
            Some(page) => page.index,
            None => block(index),
        };
        let own = order(unit, &self.near);
        let before = view.neighbors.iter().filter(|peer| order(unit, peer) < own).count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }
}

/// The block of a chunk, counted from 0.
fn block(index: u64) -> u64 {
    index.saturating_sub(1) / MAX_RUN
}

/// A hash of block and peer.
fn order(block: u64, peer: &Fingerprint) -> u64 {
    let mut hash = block.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in peer.0.chunks(8) {
        let part = part.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        // The finalizer of splitmix64.
        hash ^= part;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    hash
}

#[cfg(test)]
mod tests;
