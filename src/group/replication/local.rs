//! Neighbors in this host's own networks: what one of them has, or fetches, is not brought in
//! again across the line to the Internet.
//!
//! An object that a local neighbor has is taken from it. What none has is brought in by one of
//! the local fetchers, on whom they agree as all fetchers do: by the rank of a hash
//! ([`mix`]). Nobody is waited for: one that makes no progress has no rank, and whoever has
//! nothing of its own to bring in, or plays and lacks an object for too long, takes what it would
//! leave to others.
//!
//! If the source is in a network of this host, nothing of this applies.

use super::fetch::first_askable;
use super::neighbor::Neighbor;
use super::swarm::{RANK, mix};
use super::{Replication, Serving};
use crate::crypto::Fingerprint;
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// Objects examined for one request.
const MAX_CANDIDATES: usize = 256;
/// Requests that local fetchers together have at others than the source, across the line, unless these
/// answer quickly: as many as one fetcher by itself. With as many as each would have, all wait in the
/// queues of the far ends.
const REQUESTS: usize = 16;
const QUICK: Duration = Duration::from_millis(500);
/// What another local fetcher should bring in is left to it until nothing has come across the line
/// for so long, for each better rank.
const LEFT_TO_LOCALS: Duration = Duration::from_millis(500);
/// An object that is played soon is left to it for so long, for each better rank, in seconds; or for
/// an equal part of the time until it is played, if that is known, within these bounds.
const LEFT_WHEN_PLAYED: f64 = 2.0;
const LEAST_LEFT: f64 = 0.75;

impl Replication {
    /// A neighbor is in a network of this host, or not.
    pub(in crate::proto::group) fn set_local(
        &mut self,
        now: Time,
        session: SessionId,
        is_local: bool,
    ) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        if std::mem::replace(&mut n.is_local, is_local) != is_local {
            self.spread.invalidate();
            self.open_epoch += 1;
            self.rebalance(now);
            self.fill(now);
        }
    }

    /// True if what this neighbor sends crosses the line of a network in which others fetch, too.
    pub(super) fn is_across(&self, n: &Neighbor) -> bool {
        !n.is_local && self.has_local_others()
    }

    /// True if there are local neighbors, and the source is none of them.
    pub(super) fn has_local_others(&self) -> bool {
        let mut locals = self.neighbors.values().filter(|n| n.is_local).peekable();
        locals.peek().is_some() && !locals.any(|n| self.is_source(n))
    }

    /// True if this neighbor's having an object means that it has reached somebody who needs it: not
    /// those who get it from this node without any line between.
    pub(super) fn is_elsewhere_at(&self, n: &Neighbor) -> bool {
        !self.is_source(n) && (!n.is_local || !self.has_local_others())
    }

    /// The first index from `at` on that a neighbor across the line can be asked for, and that no
    /// local neighbor has.
    pub(super) fn first_across(&self, now: Time, n: &Neighbor, mut at: u64) -> Option<u64> {
        loop {
            let index = first_askable(n, now, at, &self.open)?;
            at = self.spread.first_not_nearby(index)?;
            if at == index {
                return Some(index);
            }
        }
    }

    /// The index to ask a neighbor across the line for: the first for which this node has the best
    /// rank among the local fetchers, unless one of a worse rank has been left far behind.
    pub(super) fn own_across(&self, now: Time, n: &Neighbor) -> Option<u64> {
        let rivals = self.local_rivals(now);
        let weight = RANK * (rivals.len() + 1);
        let (mut best, mut least) = (None, usize::MAX);
        let mut candidate = self.first_across(now, n, 0);
        for position in 0..MAX_CANDIDATES {
            let Some(index) = candidate.filter(|_| position < least) else { break };
            let rank = rank(index, &self.near, &rivals);
            let cost = position + rank * weight;
            if cost < least {
                (best, least) = (Some((index, rank)), cost);
            }
            candidate = self.first_across(now, n, index + 1);
        }
        let (index, rank) = best?;
        (rank == 0 || candidate.is_some() || self.has_waited(now, rank)).then_some(index)
    }

    /// True if there are enough requests across the line without one more to this neighbor.
    pub(super) fn is_line_busy(&self, now: Time, n: &Neighbor) -> bool {
        if n.window.response_time().is_some_and(|time| time < QUICK) {
            return false;
        }
        let share = REQUESTS / (self.local_rivals(now).len() + 1);
        let others = self.neighbors.values().filter(|n| !n.is_local && !self.is_source(n));
        others.map(|n| n.live_requests().count()).sum::<usize>() >= share.max(2)
    }

    /// True if an index should be left to another local fetcher, as far as it depends on the line.
    pub(super) fn is_left_to_locals(&self, now: Time, n: &Neighbor, index: u64) -> bool {
        if !self.is_across(n) {
            return false;
        }
        let rank = rank(index, &self.near, &self.local_rivals(now));
        rank > 0 && !self.has_waited(now, rank)
    }

    /// True if an object that is played soon has been left to local fetchers of a better rank for
    /// long enough, since `wanted`.
    pub(super) fn is_missed(&self, now: Time, index: u64, wanted: Time) -> bool {
        let rivals = self.local_rivals(now);
        let each = left_for_each_rank(self.seconds_left(now, index), rivals.len());
        now.since(wanted).as_secs_f64() >= each * rank(index, &self.near, &rivals) as f64
    }

    /// True if nothing is requested across the line, nor has anything come, for as long as one of
    /// this rank waits.
    fn has_waited(&self, now: Time, rank: usize) -> bool {
        let wait = LEFT_TO_LOCALS * u32::try_from(rank).unwrap_or(u32::MAX);
        self.neighbors.values().filter(|n| !n.is_local).all(|n| n.is_idle(now, wait))
    }

    /// Local neighbors that bring in objects too, and pass them on.
    fn local_rivals(&self, now: Time) -> Vec<Fingerprint> {
        let total = self.total();
        let is_rival = |n: &&Neighbor| {
            n.is_local
                && n.makes_progress(now, Duration::ZERO)
                && n.their_have.len() < total
                && (n.unchoked_us || !n.interested)
        };
        self.neighbors.values().filter(is_rival).map(|n| n.peer).collect()
    }

    /// Local neighbors that wait for a place get one at once, beside those that others have: what
    /// they are sent costs others nothing. At most as many as others.
    pub(super) fn unchoke_locals(&mut self, now: Time) {
        let waits = |n: &Neighbor| n.is_local && n.wants_ours && n.serving == Serving::Choked;
        let waiting = self.neighbors.iter().filter(|(_, n)| waits(n));
        let waiting: Vec<_> = waiting.map(|(&session, _)| session).collect();
        let is_served = |n: &&Neighbor| n.is_local && n.serving != Serving::Choked;
        let served = self.neighbors.values().filter(is_served).count();
        let places = self.limits.max_unchoked.saturating_sub(served);
        waiting.into_iter().take(places).for_each(|session| self.unchoke(now, session));
    }
}

/// Seconds for which each of so many local fetchers has an object to itself that is played after
/// `until`, if that is known.
fn left_for_each_rank(until: Option<f64>, rivals: usize) -> f64 {
    let Some(until) = until else { return LEFT_WHEN_PLAYED };
    (until / (rivals + 1) as f64).clamp(LEAST_LEFT, LEFT_WHEN_PLAYED)
}

/// The number of fetchers that come before this node for an index.
fn rank(index: u64, near: &Fingerprint, rivals: &[Fingerprint]) -> usize {
    let own = mix(index, near);
    rivals.iter().filter(|rival| mix(index, rival) < own).count()
}
