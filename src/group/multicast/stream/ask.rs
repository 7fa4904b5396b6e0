//! What this member asks of others: single fragments.

use super::{Stream, Turn};
use crate::group::SubscriptionRules;
use crate::group::multicast::link::Link;
use crate::group::multicast::message::MulticastControl;
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// A request without an answer is repeated after this.
const PULL_TIMEOUT: Duration = Duration::from_secs(1);

/// A fragment that was passed by is asked for this long after the first map that names it. It is looked
/// at again after the same time, until the fetch period is over.
const PASSED_BY: Duration = Duration::from_millis(300);

/// A fragment was passed by when so many later ones of its class were pushed: neighbors push in order,
/// so that it was not lost on its way here.
const LATER: u64 = 2;

/// A stream of which so many fragments or fewer are due has just begun: it is delivered from its
/// beginning. Metadata, codec configuration and a first key frame come all at once.
const BEGINNING: u64 = 64;

impl Stream {
    /// Asks for the fragments that were not pushed in time.
    pub(super) fn pull(&mut self, turn: &mut Turn<'_>) {
        while let Some((number, want)) = self.wants.pop_due(turn.now) {
            let ripe_at = want.known + self.settings.fetch_period;
            if turn.now < ripe_at && !self.is_passed_by(number) {
                self.wants.schedule(number, ripe_at.min(turn.now + PASSED_BY), None);
                continue;
            }
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

    /// When a fragment is first looked at, after a map has named it.
    pub(super) fn look_after(&self) -> Duration {
        match self.limits.subscription {
            SubscriptionRules::Prompt => self.settings.fetch_period.min(PASSED_BY),
            SubscriptionRules::Observed => self.settings.fetch_period,
        }
    }

    /// True if whoever pushes the class of a fragment has gone on without it.
    fn is_passed_by(&self, number: u64) -> bool {
        self.order.next().is_some()
            && self.newest_pushed(number) >= number.saturating_add(8 * LATER)
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
