//! Playheads: the indices at which the application reads, which are asked for before all others.
//!
//! Whoever reads from the beginning needs nothing of this: the strategies are in order, or nearly,
//! and the other fetchers need the same objects. After a jump it is different: what is wanted first
//! is nobody else's next object, and mostly only the provider has it, of whose uplink each fetcher
//! gets its share and no more.
//!
//! So the others help: a fetcher is asked for an object that it lacks. It denies that, as members do,
//! and as it wants the object as well, it brings it in from the provider next, instead of another. It
//! announces it like all objects, and gets asked for it.

use super::deadline::Played;
use super::fetch::first_askable;
use super::neighbor::{Neighbor, Serving};
use super::swarm::{Pick, mix};
use super::{Replication, ReplicationMessage, ReplicationMut};
use crate::transport::{SessionId, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Objects from a playhead on that are asked for first, if the rate of playing is not known. In a file
/// of 64 KiB each, 40 are played in 8 s at 2.5 Mbit/s.
const AHEAD: u64 = 40;
/// Otherwise what is played in this time is, within these bounds.
const AHEAD_TIME: u64 = 8;
const MIN_AHEAD: u64 = 8;
const MAX_AHEAD: u64 = 256;
/// This part of it is played so soon that it is left to local neighbors for a while only.
const SOON_PART: u64 = 8;
/// Of these, so many are never left to others.
const NEXT: u64 = 4;
/// Playheads that count; further ones are ignored.
const MAX_PLAYHEADS: usize = 16;
/// A neighbor that was asked to bring in an object has so much time before another is.
const HELP: Duration = Duration::from_secs(6);
/// Objects to bring in for others that are remembered; beyond this, the oldest is forgotten.
const MAX_FAVORS: usize = 64;

/// Where the application reads, and what is done for it and for others' playheads.
#[derive(Debug, Default)]
pub(super) struct Playheads {
    pub(super) at: Vec<u64>,
    /// How far the reader at each of them has played.
    pub(super) played: Vec<Played>,
    /// Bytes that the application plays in a second.
    pub(super) rate: Option<u64>,
    /// Since when objects that are played soon are wanted.
    wanted: BTreeMap<u64, Time>,
    /// The objects that a neighbor was asked to bring in, when, and how many have been asked.
    helped: BTreeMap<u64, (Time, u64)>,
    /// The objects to bring in for others, and those of them that were requested.
    favors: VecDeque<u64>,
    taken: BTreeSet<u64>,
}

impl Playheads {
    pub(super) fn at(&self) -> &[u64] {
        &self.at
    }
}

impl Replication {
    /// The index to ask this neighbor for, for the sake of a playhead.
    pub(super) fn pick_at_playheads(&self, now: Time, session: SessionId) -> Option<Pick> {
        let n = self.neighbors.get(&session)?;
        let windows = self.jumps().map(|at| self.askable_ahead(now, n, at));
        let own = windows.flatten().next().or_else(|| self.missed(now, n));
        own.or_else(|| self.favor(now, n)).map(Pick::Index)
    }

    /// True if an application waits for this index, or soon will.
    pub(super) fn is_played(&self, index: u64) -> bool {
        self.jumps().any(|at| (at..at.saturating_add(self.ahead())).contains(&index))
    }

    /// Objects from a playhead on that are played soon.
    fn ahead(&self) -> u64 {
        let size = u64::try_from(self.object_size).unwrap_or(u64::MAX);
        match self.playheads.rate {
            Some(rate) if size > 0 => {
                (rate.saturating_mul(AHEAD_TIME) / size).clamp(MIN_AHEAD, MAX_AHEAD)
            }
            _ => AHEAD,
        }
    }

    /// Notes since when what is played next is wanted, a part of what is asked for first.
    pub(super) fn note_played_soon(&mut self, now: Time) {
        let soon = self.ahead() / SOON_PART;
        let Playheads { at, wanted, .. } = &mut self.playheads;
        let is_soon =
            |index: u64| at.iter().any(|&at| (at..at.saturating_add(soon)).contains(&index));
        wanted.retain(|&index, _| self.want.contains(index) && is_soon(index));
        for index in at.iter().flat_map(|&at| at..at.saturating_add(soon)) {
            if self.open.contains(index) {
                wanted.entry(index).or_insert(now);
            }
        }
    }

    /// An object that is played soon, and that a local neighbor should have brought in by now.
    fn missed(&self, now: Time, n: &Neighbor) -> Option<u64> {
        if self.playheads.wanted.is_empty() || !self.is_across(n) {
            return None;
        }
        let is_missed = |&(&index, &wanted): &(&u64, &Time)| {
            self.open.contains(index)
                && n.their_have.contains(index)
                && n.may_ask(now, index)
                && self.spread.first_not_nearby(index) == Some(index)
                && self.is_missed(now, index, wanted)
        };
        self.playheads.wanted.iter().find(is_missed).map(|(index, _)| *index)
    }

    /// True if a neighbor was asked to bring in this object.
    pub(super) fn is_helped(&self, index: u64) -> bool {
        self.playheads.helped.contains_key(&index)
    }

    /// A neighbor needs an object that this node lacks.
    pub(super) fn note_favor(&mut self, session: SessionId, index: u64) {
        let serves = self.neighbors.get(&session).is_some_and(|n| n.serving == Serving::Unchoked);
        let Playheads { favors, taken, .. } = &mut self.playheads;
        if !serves || !self.open.contains(index) || favors.contains(&index) {
            return;
        }
        if favors.len() >= MAX_FAVORS {
            favors.pop_front();
        }
        favors.push_back(index);
        taken.retain(|index| self.want.contains(*index));
    }

    /// An object is requested.
    pub(super) fn note_request(&mut self, index: u64) {
        let Playheads { favors, taken, .. } = &mut self.playheads;
        if let Some(place) = favors.iter().position(|favor| *favor == index) {
            favors.remove(place);
            taken.insert(index);
        }
    }

    /// Asks neighbors to bring in what a playhead needs, and nobody has but the source.
    pub(super) fn ask_for_help(&mut self, now: Time) {
        let ahead = self.ahead();
        let needed: Vec<u64> = self.jumps().flat_map(|at| at + NEXT..at + ahead).collect();
        self.playheads.helped.retain(|index, _| needed.contains(index));
        for index in needed {
            let (asked, count) = match self.playheads.helped.get(&index) {
                Some((at, count)) => (now.since(*at) < HELP, *count),
                None => (false, 0),
            };
            if asked || !self.open.contains(index) || self.is_elsewhere(index) {
                continue;
            }
            let Some(helper) = self.helper_for(now, index, count) else { return };
            self.playheads.helped.insert(index, (now, count + 1));
            self.send(helper, &ReplicationMessage::Request(index));
        }
    }

    /// The fetcher that is to bring in an object: another one for each object, and after each failure.
    fn helper_for(&self, now: Time, index: u64, count: u64) -> Option<SessionId> {
        let can_help = |n: &Neighbor| {
            n.usable(now)
                && n.delivers
                && n.interested
                && !self.is_source(n)
                && n.their_have.len() < self.total()
        };
        let fetchers = self.neighbors.iter().filter(|(_, n)| can_help(n));
        let order = |n: &Neighbor| mix(index / self.neighbors.len() as u64 + count, &n.peer);
        let mut fetchers: Vec<_> = fetchers.map(|(&session, n)| (order(n), session)).collect();
        fetchers.sort_unstable();
        // One after the other, in an order that changes with each round.
        let place = index % (fetchers.len().max(1) as u64);
        fetchers.get(usize::try_from(place).ok()?).map(|(_, session)| *session)
    }

    fn is_elsewhere(&self, index: u64) -> bool {
        let mut others = self.neighbors.values().filter(|n| !self.is_source(n) && n.delivers);
        others.any(|n| n.their_have.contains(index))
    }

    /// An object to bring in for another fetcher, for at most half of what the source is asked for.
    fn favor(&self, now: Time, n: &Neighbor) -> Option<u64> {
        let Playheads { favors, taken, .. } = &self.playheads;
        if favors.is_empty() || !self.is_source(n) {
            return None;
        }
        let under_way = n.in_flight.keys().filter(|index| taken.contains(index)).count();
        let can_ask = |index: &u64| {
            self.open.contains(*index)
                && n.their_have.contains(*index)
                && n.may_ask(now, *index)
                && self.spread.first_unknown(*index) == Some(*index)
        };
        let first = favors.iter().copied().find(can_ask);
        first.filter(|_| under_way < (n.window.size() / 2).max(1))
    }

    /// The playheads that need others than the lowest wanted index.
    fn jumps(&self) -> impl Iterator<Item = u64> {
        let lowest = self.want.first().unwrap_or(u64::MAX);
        self.playheads.at.iter().copied().filter(move |at| *at > lowest)
    }

    /// The first index from a playhead on that this neighbor can be asked for. What another brings in
    /// is left to it for a while.
    fn askable_ahead(&self, now: Time, n: &Neighbor, at: u64) -> Option<u64> {
        let (end, is_across) = (at.saturating_add(self.ahead()), self.is_across(n));
        let mut next = at;
        loop {
            let index = first_askable(n, now, next, &self.open).filter(|index| *index < end)?;
            if is_across && self.spread.first_not_nearby(index) != Some(index) {
                next = index + 1;
                continue;
            }
            let helped = self.playheads.helped.get(&index).filter(|_| self.is_source(n));
            if index < at + NEXT || helped.is_none_or(|(at, _)| now.since(*at) >= HELP) {
                return Some(index);
            }
            next = index + 1;
        }
    }

    fn set_playheads(&mut self, now: Time, playheads: &[u64]) {
        let at: Vec<u64> = playheads.iter().copied().take(MAX_PLAYHEADS).collect();
        if at != self.playheads.at {
            let per_second = self.objects_per_second().unwrap_or_default();
            self.playheads.played = self.playheads.follow(now, &at, per_second, self.ahead());
            self.playheads.at = at;
            self.note_played_soon(now);
            self.fill(now);
        }
    }
}

impl ReplicationMut<'_> {
    /// The indices at which the application reads, all of them; the next call replaces them. At most
    /// 16 count.
    ///
    /// The next 40 objects from each on, or what is played in 8 s
    /// ([`set_play_rate`](Self::set_play_rate)), are asked for before all others, whatever the strategy,
    /// if the application has jumped: if objects before it are still wanted.
    pub fn set_playheads(&mut self, playheads: &[u64]) {
        self.group.replication.set_playheads(self.now, playheads);
        self.group.drain_features();
    }

    /// The bytes that the application plays in a second, if that is known.
    pub fn set_play_rate(&mut self, bytes_per_second: Option<u64>) {
        self.group.replication.playheads.rate = bytes_per_second;
    }
}
