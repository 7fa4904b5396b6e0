//! The strategy of `share` and `fetch`: nearly in order, in the time that all uplinks together
//! need, whoever serves how fast (`protocol-notes/swarm.md`).
//!
//! The *source* is the provider. Of every other neighbor, finished or not, a fetcher asks for the
//! lowest index that it lacks: what one has fetched first differs from what others have, so there
//! is something to trade without looking for rare objects. Of the source it asks
//!
//! 1. for *fresh* objects, those that nobody else has, as long as few of those it has brought in
//!    are still unknown to all others: whoever cannot pass on objects does not bring in more;
//! 2. otherwise for the lowest index it lacks, a few at a time.
//!
//! Whoever comes late has nothing that others lack, and asks for rare objects besides, until it has.
//!
//! Fetchers agree without messages on who brings in what: a hash of index and peer ID ranks them
//! for each object. One of a lower rank takes an object too, as soon as enough fresh objects
//! behind it have come in, so nobody is waited for.

use super::Replication;
use super::fetch::first_askable;
use super::neighbor::Neighbor;
use super::runs::Runs;
use crate::crypto::Fingerprint;
use crate::random::SplitMix64;
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// Objects brought in, but unknown to all others, with which no more are brought in; or the
/// source's window, which is what it sends in about a second.
const UNSPREAD: usize = 4;
/// Objects of which others have a copy that the source is asked for at a time.
const COPIES: usize = 2;
/// Or this part of the source's window, so that a long fat path is filled.
const COPIES_PART: usize = 8;
/// Copies of the source that a fetcher takes without more ado, and in percent of the objects that it
/// has brought in, to which two for each other fetcher are added.
const COPIES_AT_FIRST: u64 = 2;
const COPIES_PERCENT: u64 = 25;
/// Further ones are left to the others if these together are so many times as fast as the source.
const FASTER: f64 = 2.5;
/// When less than this part of the file is missing, copies are taken again: who has what is missing
/// depends on chance, and the last objects are not to wait for one slow holder.
const LAST_PART: u64 = 64;
/// If fewer than one of so many fetchers wants something of this node, it asks for rare objects: for
/// each copy that it gets of the source, and with every second request to others.
const FEW: usize = 2;
const RARE: u64 = 2;
/// By so many fresh objects, for each fetcher, an object comes later for each rank.
pub(super) const RANK: usize = 15;
/// If the provider is spared, objects that others should bring in are not asked of it before nothing
/// has come from it for so long.
const LEFT_TO_OTHERS: Duration = Duration::from_millis(500);
/// If the provider is spared, it is asked for what others have when nothing has come from it for so
/// long: they may be out of reach.
const SPARED: Duration = Duration::from_secs(5);
/// Fresh objects examined for one request.
const MAX_CANDIDATES: usize = 256;

/// The result of a search for an index to request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    Index(u64),
    /// There is something to ask for, but not now.
    Later,
    Nothing,
}

impl Replication {
    /// True if a neighbor is the provider. If none is known by its name, those are that had
    /// everything when they were met.
    pub(super) fn is_source(&self, n: &Neighbor) -> bool {
        match self.provider {
            Some(provider) => n.peer == provider,
            None => n.first_announced >= self.total(),
        }
    }

    pub(super) fn pick_swarm(&mut self, now: Time, session: SessionId) -> Pick {
        self.refresh_spread(now);
        let is_idle = self.has_little_to_give();
        if is_idle {
            let haves = self.neighbors.values().map(|n| &n.their_have);
            self.rarity.refresh(now, &self.want, haves);
        }
        let Some(n) = self.neighbors.get(&session) else { return Pick::Nothing };
        if self.is_source(n) {
            return self.pick_from_source(now, n, is_idle);
        }
        let wants_rare = is_idle && self.stats.requests_sent.is_multiple_of(RARE);
        self.copy_from(now, n, wants_rare)
    }

    fn pick_from_source(&self, now: Time, source: &Neighbor, is_idle: bool) -> Pick {
        let Some(first) = self.fresh_from(now, source, 0) else {
            return self.pick_copy(now, source, is_idle);
        };
        let rivals = self.rivals(now, source);
        if rivals.is_empty() {
            return Pick::Index(first);
        }
        let window = source.window.size();
        if self.spread.unspread() < UNSPREAD.max(window) {
            return self.own_fresh(now, source, first, &rivals).map_or(Pick::Later, Pick::Index);
        }
        match source.live_requests().count() < COPIES.max(window / COPIES_PART) {
            true => self.pick_copy(now, source, is_idle),
            false => Pick::Later,
        }
    }

    /// An index that the source can be asked for, whoever else has it.
    fn pick_copy(&self, now: Time, source: &Neighbor, is_idle: bool) -> Pick {
        if self.spares_provider && !source.is_idle(now, SPARED) {
            return Pick::Later;
        }
        if self.leaves_copies(now, source) {
            return Pick::Later;
        }
        self.copy_from(now, source, is_idle)
    }

    /// True if the others can give this node what else the source would send once more: it costs
    /// everybody little time, and the provider part of a copy. Not if it has brought in less
    /// than half of its part: it has come late or is slow, and has most of all yet to get.
    fn leaves_copies(&self, now: Time, source: &Neighbor) -> bool {
        let others = || {
            let gives = |n: &&Neighbor| n.usable(now) && n.delivers && !self.is_source(n);
            self.neighbors.values().filter(gives)
        };
        let rate = |n: &Neighbor| n.window.expected(1).recip();
        let ratio = others().map(rate).sum::<f64>() / rate(source);
        let fetchers = others().count() as u64;
        let held = (self.have.len(), self.total());
        has_copies_enough(self.spread.taken(), fetchers, held, ratio)
    }

    /// The lowest index that a neighbor can be asked for, or a rare one; of a neighbor across the line
    /// of a local network, one that this node should bring in.
    fn copy_from(&self, now: Time, n: &Neighbor, wants_rare: bool) -> Pick {
        if self.is_across(n) {
            if !self.is_source(n) && self.is_line_busy(now, n) {
                return Pick::Later;
            }
            return self.own_across(now, n).map_or(Pick::Later, Pick::Index);
        }
        let rare = if wants_rare { self.rare_from(now, n) } else { None };
        rare.or_else(|| self.lowest_askable(now, n)).map_or(Pick::Nothing, Pick::Index)
    }

    /// True if few of the other fetchers want anything that this node has, so that its uplink is
    /// idle: it has come late, and what it has, all have.
    fn has_little_to_give(&self) -> bool {
        let total = self.total();
        let is_fetcher = |n: &&Neighbor| n.their_have.len() < total && !self.is_source(n);
        let fetchers = self.neighbors.values().filter(is_fetcher);
        let (mut all, mut wanting) = (0, 0);
        for n in fetchers {
            all += 1;
            wanting += usize::from(n.wants_ours);
        }
        wanting * FEW < all
    }

    /// Of the objects that a neighbor has, one that the fewest have: fetchers will want it of this
    /// node. Each node begins to look in a part of the file of its own, so that not all bring in the
    /// same.
    fn rare_from(&self, now: Time, n: &Neighbor) -> Option<u64> {
        let offered: Runs = self.open.common_ranges(&n.their_have).collect();
        let begin = mix(0, &self.near) % self.total().max(1);
        let askable = |index| n.may_ask(now, index);
        self.rarity.levels().find_map(|level| {
            let behind = offered.find_common(level, begin..u64::MAX, askable);
            behind.or_else(|| offered.find_common(level, 0..begin, askable))
        })
    }

    /// Fetchers that bring in objects too.
    fn rivals(&self, now: Time, source: &Neighbor) -> Vec<Fingerprint> {
        let timeout = source.window.timeout();
        let is_rival = |n: &&Neighbor| {
            n.makes_progress(now, timeout)
                && n.their_have.len() < self.total()
                && !self.is_source(n)
        };
        self.neighbors.values().filter(is_rival).map(|n| n.peer).collect()
    }

    /// The fresh index that this node should bring in: the first for which it has the best rank,
    /// unless one of a worse rank has been left that far behind. `first` is the first of all. If
    /// all are others', the source is asked for one at a time.
    fn own_fresh(
        &self,
        now: Time,
        source: &Neighbor,
        first: u64,
        rivals: &[Fingerprint],
    ) -> Option<u64> {
        let weight = RANK * (rivals.len() + 1);
        let (mut best, mut least) = (first, usize::MAX);
        let mut is_own = false;
        let mut candidate = Some(first);
        for position in 0..MAX_CANDIDATES.min(least) {
            let Some(index) = candidate.filter(|_| position < least) else { break };
            let near = mix(index, &self.near);
            let rank = rivals.iter().filter(|rival| mix(index, rival) < near).count();
            let cost = position + rank * weight;
            if cost < least {
                (best, least) = (index, cost);
                is_own = rank == 0;
            }
            candidate = self.fresh_from(now, source, index + 1);
        }
        let pause = if self.spares_provider { LEFT_TO_OTHERS } else { Duration::ZERO };
        let is_idle = source.is_idle(now, pause);
        let takes = is_own || candidate.is_some() || is_idle;
        (takes && !self.is_left_to_locals(now, source, best)).then_some(best)
    }

    /// The first index from `at` on that is open and that only the source has.
    fn fresh_from(&self, now: Time, source: &Neighbor, mut at: u64) -> Option<u64> {
        loop {
            let index = first_askable(source, now, at, &self.open)?;
            at = self.spread.first_unknown(index)?;
            if at == index {
                return Some(index);
            }
        }
    }

    fn lowest_askable(&self, now: Time, n: &Neighbor) -> Option<u64> {
        first_askable(n, now, 0, &self.open)
    }

    /// Objects that this node has or wants.
    pub(super) fn total(&self) -> u64 {
        self.have.len().saturating_add(self.want.len())
    }
}

/// True if a fetcher that has `held` objects, and of them so many from the source that nobody else had,
/// and so many copies, is to have further ones from `others` fetchers, which are so many times as fast
/// as the source.
fn has_copies_enough(
    (brought, copied): (u64, u64),
    others: u64,
    (held, total): (u64, u64),
    faster: f64,
) -> bool {
    let most = brought * (COPIES_PERCENT + 2 * others) / 100 + COPIES_AT_FIRST;
    let brings_its_part = 2 * brought * (others + 1) >= held;
    let is_last_part = total.saturating_sub(held) < total / LAST_PART;
    copied >= most && brings_its_part && faster > FASTER && !is_last_part
}

/// A number for an index and a peer, evenly distributed and the same on every node.
pub(super) fn mix(index: u64, peer: &Fingerprint) -> u64 {
    let (head, _) = peer.0.split_first_chunk::<8>().expect("32 bytes begin with 8");
    SplitMix64::new(u64::from_be_bytes(*head) ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_left_to_others_that_can_give_them() {
        // One of ten that have half of a thousand objects.
        let half = (500, 1000);
        assert!(has_copies_enough((50, 23), 9, half, 4.0));
        assert!(!has_copies_enough((50, 22), 9, half, 4.0), "a few more");
        assert!(!has_copies_enough((0, 1), 9, (0, 1000), 4.0), "at first");
        assert!(!has_copies_enough((20, 100), 9, half, 4.0), "late, or with a slow uplink");
        assert!(!has_copies_enough((50, 100), 9, half, 2.0), "the source can give much");
        assert!(has_copies_enough((100, 100), 9, (985, 1000), 4.0));
        assert!(!has_copies_enough((100, 100), 9, (986, 1000), 4.0), "the last ones");
    }

    #[test]
    fn objects_are_dealt_evenly() {
        let peers: Vec<Fingerprint> = (0..4).map(|i| Fingerprint([i * 37 + 1; 32])).collect();
        let mut dealt = [0; 4];
        for index in 0..1000 {
            let first = (0..4).min_by_key(|&i| mix(index, &peers[i])).unwrap();
            dealt[first] += 1;
        }
        assert!(dealt.iter().all(|&n| (200..300).contains(&n)), "{dealt:?}");
    }
}
