//! What this member asks of others: to push classes of fragments, and single fragments.

use super::{Stream, Turn};
use crate::group::multicast::link::{Link, Near};
use crate::group::multicast::message::MulticastControl;
use crate::random::SplitMix64;
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// Subscriptions grow by a class each time; observed 1.95 to 2.03 s.
const SUBSCRIBE_INTERVAL: Duration = Duration::from_millis(1950);
const SUBSCRIBE_JITTER_MS: u64 = 80;

/// A request without an answer is repeated after this.
const PULL_TIMEOUT: Duration = Duration::from_secs(1);

/// A stream of which so many fragments or fewer are due has just begun: it is delivered from its
/// beginning. Metadata, codec configuration and a first key frame come all at once.
const BEGINNING: u64 = 64;

/// The clock by which this member asks neighbors to push.
#[derive(Debug)]
pub(super) struct Subscriptions {
    at: Time,
    /// The class that is next.
    class: u8,
    /// The neighbor that was asked last; a random one before the first.
    turn: Option<SessionId>,
    has_news: bool,
}

impl Subscriptions {
    pub(super) fn new(now: Time, rng: &mut SplitMix64) -> Self {
        let class = rng.below(8) as u8;
        Self { at: now + interval(rng), class, turn: None, has_news: false }
    }

    /// Something was announced or arrived.
    pub(super) fn note_news(&mut self) {
        self.has_news = true;
    }
}

fn interval(rng: &mut SplitMix64) -> Duration {
    SUBSCRIBE_INTERVAL + Duration::from_millis(rng.below(SUBSCRIBE_JITTER_MS))
}

impl Stream {
    pub(super) fn next_subscription(&self) -> Option<Time> {
        Some(self.subscriptions.at)
    }

    /// About every two seconds, if there was anything new: one more class from one more neighbor. The
    /// first class is random, then they take turns, as the neighbors do, without those that were
    /// asked for the class already. If a class then comes from two, the slower is
    /// [cut down](Self::unsubscribe).
    pub(super) fn subscribe(&mut self, turn: &mut Turn<'_>) {
        if self.subscriptions.at > turn.now {
            return;
        }
        self.subscriptions.at = turn.now + interval(turn.rng);
        if !std::mem::take(&mut self.subscriptions.has_news) {
            return;
        }
        let class = 1u8 << self.subscriptions.class;
        self.subscriptions.class = (self.subscriptions.class + 1) % 8;
        let is_open = |(_, link): &(&SessionId, &Link)| link.control == Near::Open;
        let open: Vec<_> = self.links.iter().filter(is_open).collect();
        let after = self.subscriptions.turn.unwrap_or_else(|| {
            let place = turn.rng.below(open.len() as u64) as usize;
            open.get(place).map_or(SessionId(0), |(session, _)| **session)
        });
        let free = open.iter().filter(|(_, link)| link.asked & class == 0);
        let free: Vec<SessionId> = free.map(|(session, _)| **session).collect();
        let next = free.iter().find(|session| **session > after).or(free.first());
        if let Some(&session) = next {
            self.subscriptions.turn = Some(session);
            self.change_subscription(turn, session, class, true);
        }
    }

    /// A neighbor has pushed what was here already: it is not asked for the class any more.
    pub(super) fn unsubscribe(&mut self, turn: &mut Turn<'_>, session: SessionId, class: u8) {
        if self.links.get(&session).is_some_and(|link| link.asked & class != 0) {
            self.change_subscription(turn, session, class, false);
        }
    }

    fn change_subscription(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        class: u8,
        is_wanted: bool,
    ) {
        let Some(link) = self.links.get_mut(&session) else { return };
        match is_wanted {
            true => link.asked |= class,
            false => link.asked &= !class,
        }
        link.ever_asked |= link.asked;
        let mask = link.asked;
        self.send_control(turn, session, &MulticastControl::Push(mask));
    }

    /// Asks for the fragments that were not pushed in time.
    pub(super) fn pull(&mut self, turn: &mut Turn<'_>) {
        while let Some((number, want)) = self.wants.pop_due(turn.now) {
            if self.order.next().is_none() && !self.begin(turn.now) {
                continue;
            }
            if self.wants.get(number).is_none() {
                continue;
            }
            if turn.now >= want.known + self.settings.window_duration {
                self.wants.remove(number);
                continue;
            }
            let Some(session) = self.holder(turn, number, want.named_by, want.asked) else {
                continue;
            };
            self.wants.schedule(number, turn.now + PULL_TIMEOUT, Some(session));
            if let Some(link) = self.links.get_mut(&session) {
                link.on_pull(number);
            }
            self.send_control(turn, session, &MulticastControl::Pull(number));
        }
    }

    /// Begins delivery at the second newest fragment that has been known for the fetch period, or at the
    /// first of the stream, if that one is among its first fragments. False if nobody has one.
    fn begin(&mut self, now: Time) -> bool {
        let reference = self.reference();
        let is_held = |number: &u64| self.links.values().any(|link| link.has(*number));
        let mut ripe = self.wants.ripe(now, self.settings.fetch_period);
        let newest = ripe.find(|n| reference.is_none_or(|most| *n <= most) && is_held(n));
        drop(ripe);
        let Some(newest) = newest else { return false };
        let first = match newest <= BEGINNING && (self.held.contains(1) || is_held(&1)) {
            true => 1,
            false => newest.saturating_sub(1).max(newest.min(1)),
        };
        self.start(now, first);
        true
    }

    /// A neighbor that has a fragment: a random one, but if possible neither that which named it
    /// first, which is nearest to the publisher and asked by everybody, nor that which was asked last.
    fn holder(
        &self,
        turn: &mut Turn<'_>,
        number: u64,
        named_by: SessionId,
        asked: Option<SessionId>,
    ) -> Option<SessionId> {
        let has = |(_, link): &(&SessionId, &Link)| link.is_askable() && link.has(number);
        let mut holders: Vec<SessionId> =
            self.links.iter().filter(has).map(|(session, _)| *session).collect();
        for other in asked.into_iter().chain([named_by]) {
            if holders.len() > 1 {
                holders.retain(|session| *session != other);
            }
        }
        let place = turn.rng.below(holders.len() as u64) as usize;
        holders.get(place).copied()
    }
}
