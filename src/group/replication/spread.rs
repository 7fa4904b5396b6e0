//! The spreading strategy: fetchers that start together take different objects from neighbors that
//! have everything, and get the rest from each other.
//!
//! Indices are assigned in blocks to the fetchers that know each other: a block belongs to the
//! fetcher for which a hash of block and peer ID is the lowest. Every fetcher with this strategy
//! computes the same assignment, without any message; others (the players) are assigned blocks as
//! well and are not affected. A fetcher asks a neighbor that has everything
//!
//! 1. for objects of its own blocks that only such neighbors have, as many at a time as the
//!    window allows. A fetcher that makes no progress has no blocks;
//! 2. for anything else only while almost no other request is in flight ([`FOREIGN`]), so that
//!    a slow owner does not stall its blocks.
//!
//! Of any other neighbor it asks for whatever that neighbor has, the rarest first.

use super::fetch::first_askable;
use super::neighbor::Neighbor;
use super::runs::Runs;
use super::{Replication, Rng};
use crate::crypto::Fingerprint;
use crate::range::IndexSet;
use crate::transport::{SessionId, Time};

/// Indices per block.
const BLOCK: u64 = 4;
/// If fewer requests than this are in flight, a neighbor that has everything is also asked for
/// objects of other fetchers' blocks.
const FOREIGN: usize = 2;
/// Blocks examined for one request; a larger file is searched in several steps.
const MAX_BLOCKS: usize = 2048;

/// The result of a search for an index to request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    Index(u64),
    /// There is something to ask for, but not now.
    Later,
    Nothing,
}

impl Replication {
    pub(super) fn pick_spread(&mut self, now: Time, session: SessionId) -> Pick {
        let Some(n) = self.neighbors.get(&session) else { return Pick::Nothing };
        if !self.is_complete(n) {
            return self.pick_from_fetcher(now, session).map_or(Pick::Nothing, Pick::Index);
        }
        let timeout = n.window.timeout();
        let is_rival = |n: &&Neighbor| n.makes_progress(now, timeout) && !self.is_complete(n);
        let rivals: Vec<&Neighbor> = self.neighbors.values().filter(is_rival).collect();
        if let Some(index) = self.own_index(now, n, &rivals) {
            if let Some(n) = self.neighbors.get_mut(&session) {
                n.cursor = Some(index);
            }
            return Pick::Index(index);
        }
        if first_askable(n, now, 0, &self.open).is_none() {
            return Pick::Nothing;
        }
        // An abandoned request may never be answered, so it reserves nothing.
        let live = self.neighbors.values().flat_map(Neighbor::live_requests);
        if live.take(FOREIGN).count() >= FOREIGN {
            return Pick::Later;
        }
        let from = random_index(&self.open, &mut self.rng);
        first_askable(n, now, from, &self.open)
            .or_else(|| first_askable(n, now, 0, &self.open))
            .map_or(Pick::Nothing, Pick::Index)
    }

    /// True if a neighbor has as many objects as this node has or wants.
    fn is_complete(&self, n: &Neighbor) -> bool {
        n.their_have.len() >= self.have.len().saturating_add(self.want.len())
    }

    /// The next index of an own block that none of `rivals` has, from the cursor on, wrapping
    /// around.
    fn own_index(&self, now: Time, n: &Neighbor, rivals: &[&Neighbor]) -> Option<u64> {
        let mut at = n.cursor.unwrap_or(0);
        let mut around = at == 0;
        for _ in 0..MAX_BLOCKS {
            let Some(index) = first_askable(n, now, at, &self.open) else {
                if std::mem::replace(&mut around, true) {
                    return None;
                }
                at = 0;
                continue;
            };
            let block = index / BLOCK;
            let score = |peer: &Fingerprint| mix(block, peer);
            let near = score(&self.near);
            if rivals.iter().any(|rival| score(&rival.peer) < near) {
                at = (block + 1) * BLOCK;
            } else if rivals.iter().any(|rival| rival.their_have.contains(index)) {
                at = index + 1;
            } else {
                return Some(index);
            }
        }
        None
    }

    /// The rarest index that another fetcher has, in runs.
    fn pick_from_fetcher(&mut self, now: Time, session: SessionId) -> Option<u64> {
        let n = self.neighbors.get(&session)?;
        let offered: Runs = self.open.common_ranges(&n.their_have).collect();
        let askable = |index| n.may_ask(now, index);
        let lowest = offered.find(askable)?;
        let haves = self.neighbors.values().map(|n| &n.their_have);
        self.rarity.refresh(now, &self.want, haves);
        let picked = self.rarity.levels().find_map(|level| {
            let from = level.nth(self.rng.below(level.len())).unwrap_or(0);
            offered
                .find_common(level, from..u64::MAX, askable)
                .or_else(|| offered.find_common(level, 0..from, askable))
        });
        // The lowest, if the table of holders does not list any of them yet.
        picked.or(Some(lowest))
    }
}

/// A number for a block and a peer, evenly distributed and the same on every node.
fn mix(block: u64, peer: &Fingerprint) -> u64 {
    let (head, _) = peer.0.split_first_chunk::<8>().expect("32 bytes begin with 8");
    Rng::new(u64::from_be_bytes(*head) ^ block.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next()
}

/// A random index of a set, uniformly distributed; 0 if it is empty.
fn random_index(set: &IndexSet, rng: &mut Rng) -> u64 {
    let mut skip = rng.below(set.len());
    for range in set.ranges() {
        let len = range.end() - range.start() + 1;
        if skip < len {
            return range.start() + skip;
        }
        skip -= len;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_dealt_evenly_and_to_one_each() {
        let peers: Vec<Fingerprint> = (0..4).map(|i| Fingerprint([i * 37 + 1; 32])).collect();
        let mut dealt = [0; 4];
        for block in 0..1000 {
            let owner = (0..4).min_by_key(|&i| mix(block, &peers[i])).unwrap();
            dealt[owner] += 1;
        }
        assert!(dealt.iter().all(|&n| (200..300).contains(&n)), "{dealt:?}");
    }
}
