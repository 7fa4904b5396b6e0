//! Fragments that arrive, their order, and what is given up.

use super::ending::Ending;
use super::{News, Stream, Turn};
use crate::group::multicast::held::Piece;
use crate::group::multicast::link::Link;
use crate::group::multicast::message::{Map, MulticastData};
use crate::transport::{SessionId, Time};

/// Fragments that a neighbor may be ahead of the others. What it offers beyond is ignored, so that
/// huge numbers cannot lead away from the stream.
const MAX_LEAD: u64 = 8192;

/// The longest fragment that is accepted, in bytes; Flash's have about a kilobyte.
const MAX_FRAGMENT: usize = 16 << 10;

impl Stream {
    /// A neighbor tells what it has.
    pub(super) fn on_map(&mut self, turn: &mut Turn<'_>, session: SessionId, map: Map) {
        let Some(link) = self.links.get_mut(&session) else { return };
        link.map_at = turn.now;
        let before = link.map.replace(map);
        if self.is_ours {
            return;
        }
        self.refer();
        self.become_known(turn);
        self.subscriptions.note_news(turn.now);
        self.want_from(turn.now, session, before.as_ref());
        self.resync(turn.now);
    }

    /// Wants what is new in a neighbor's map.
    fn want_from(&mut self, now: Time, session: SessionId, before: Option<&Map>) {
        let Some(map) = self.links.get(&session).and_then(|link| link.map.as_ref()) else { return };
        let floor = self.order.next().unwrap_or(0);
        let look_after = self.look_after();
        let numbers = map.numbers().take_while(|number| *number >= floor);
        for number in numbers {
            let is_new = !before.is_some_and(|before| before.has(number));
            if is_new && self.is_plausible(number) && !self.held.contains(number) {
                self.wants.add(now, number, session, look_after);
            }
        }
    }

    /// A fragment, or the end, from a neighbor.
    pub(in crate::proto::group::multicast) fn on_piece(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        data: MulticastData,
        size: usize,
    ) {
        let Some(number) = data.number() else { return };
        let class = 1u8 << (number % 8);
        let is_end = matches!(data, MulticastData::End(_));
        let Some(link) = self.links.get_mut(&session) else { return };
        let is_answer = link.is_answer(number);
        let is_push = !is_answer && link.ever_asked & class != 0;
        self.info.received(turn.now, size, !is_answer);
        let is_taken = is_answer || if is_end { link.on_end(number) } else { is_push };
        if !is_taken {
            turn.counts.unrequested += 1;
            return;
        }
        if self.has_had(number) {
            self.info.duplicate();
            self.on_second_end(turn.now, session, &data);
            if is_push {
                self.on_late_push(turn, session, number);
            }
            return;
        }
        if !self.is_plausible(number) || size > MAX_FRAGMENT {
            turn.counts.implausible += 1;
            return;
        }
        if is_push {
            self.on_first_push(turn.now, session, number);
        }
        self.accept(turn, session, number, data);
    }

    fn accept(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        number: u64,
        data: MulticastData,
    ) {
        let is_first = number == 1 && matches!(data, MulticastData::Fragment(_));
        let known = self.wants.remove(number).map_or(turn.now, |want| want.known);
        let piece = Piece::new(data, known, turn.now, Some(session));
        if !self.held.insert(number, piece, self.limits.max_stream_bytes) {
            return;
        }
        self.last_news = turn.now;
        self.subscriptions.note_news(turn.now);
        self.contradict_end(turn, session, number);
        self.become_known(turn);
        self.push(turn, number, Some(session));
        if is_first && self.order.next().is_none() {
            // It was pushed: perhaps nothing will have to be asked for.
            self.start(turn.now, number);
        }
        self.deliver(turn);
        self.schedule_map(turn.now);
    }

    /// True if a fragment is held, or was delivered or given up.
    fn has_had(&self, number: u64) -> bool {
        let is_past = self.order.next().is_some_and(|next| number < next);
        self.is_ours || is_past || self.held.contains(number)
    }

    /// Delivers what is complete and in order.
    pub(super) fn deliver(&mut self, turn: &mut Turn<'_>) {
        while let Some(next) = self.order.next()
            && self.ending == Ending::No
            && let Some(piece) = self.held.piece(next)
        {
            match &piece.data {
                MulticastData::Fragment(fragment) => {
                    let message = self.order.push(fragment, self.is_wanted);
                    self.news.extend(message.map(News::Message));
                    self.progress = (turn.now, self.reference);
                    self.arrival = piece.received;
                }
                _ => {
                    let from = piece.from;
                    self.reach_end(turn, next, from);
                }
            }
        }
    }

    /// Begins delivery at a fragment; those before it were never wanted.
    pub(super) fn start(&mut self, now: Time, number: u64) {
        self.order.skip_to(number);
        self.wants.remove_below(number);
        self.leap = (0, number);
        self.progress = (now, self.reference);
    }

    /// When a gap has lasted for the whole window: from the arrival of the fragments at both of its ends.
    pub(super) fn gap_at(&self) -> Option<Time> {
        let next = self.order.next().filter(|_| self.ending == Ending::No)?;
        let (_, piece) = self.held.after(next)?;
        Some(piece.received.max(self.arrival) + self.settings.window_duration)
    }

    /// Gives up what has been missing for the whole window.
    pub(super) fn skip_gaps(&mut self, turn: &mut Turn<'_>) {
        while self.gap_at().is_some_and(|at| at <= turn.now)
            && let Some(next) = self.order.next()
            && let Some((number, _)) = self.held.after(next)
        {
            self.info.lost(number - next);
            self.leap = (next, number);
            self.order.skip_to(number);
            self.wants.remove_below(number);
            self.deliver(turn);
        }
    }

    /// If nothing was delivered for the whole window, but most neighbors go on getting fragments
    /// that were leapt over, the leap was wrong: goes back to where they are. One who sends huge
    /// numbers delays the stream by that, but cannot stop it.
    fn resync(&mut self, now: Time) {
        let (since, reference_then) = self.progress;
        let Some(reference) = self.reference else { return };
        let is_over = self.ending != Ending::No;
        let is_stalled = is_over || now >= since + self.settings.window_duration;
        let (from, to) = self.leap;
        let has_passed = (from..to).contains(&reference) && reference_then < Some(reference);
        if is_stalled && has_passed && self.order.next().is_some_and(|next| reference < next) {
            if self.has_ended() {
                self.news.push_back(News::Reopened);
            }
            self.ending = Ending::No;
            self.start(now, reference);
            self.leap = (0, 0);
            self.news.push_back(News::Reset);
        }
    }

    /// Fragments are accepted up to a distance before what half of the neighbors have.
    fn is_plausible(&self, number: u64) -> bool {
        let Some(reference) = self.reference else { return true };
        let newest = self.order.next().map_or(reference, |next| next.max(reference));
        number <= newest.saturating_add(MAX_LEAD)
    }

    /// Determines the newest fragment that half of the neighbors have, without those whose maps are
    /// old.
    pub(super) fn refer(&mut self) {
        let latest = self.links.values().filter(|l| l.map.is_some()).map(|l| l.map_at).max();
        let hold_time = self.hold_time();
        let is_fresh = |link: &&Link| latest.is_some_and(|at| link.map_at + hold_time >= at);
        let fresh = self.links.values().filter(is_fresh).filter_map(Link::newest);
        let mut newest: Vec<u64> = fresh.collect();
        newest.sort_unstable();
        self.reference = newest.get(newest.len().saturating_sub(1) / 2).copied();
    }

    /// The lower one of the middle of what the neighbors have.
    pub(super) fn reference(&self) -> Option<u64> {
        self.reference
    }
}
