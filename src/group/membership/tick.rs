//! Maintenance: reports, connection attempts, forgetting.

use super::inputs::Loss;
use super::session::Link;
use crate::group::{Group, GroupAction};
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// The first tick after joining.
pub(in crate::group) const FIRST: Duration = Duration::from_secs(15);

/// The clock of which a tick skips up to three beats.
const BEAT: Duration = Duration::from_secs(5);
const MAX_BEATS: u64 = 4;

/// A hello that is not answered for this long is taken back.
const HELLO_TIMEOUT: Duration = Duration::from_secs(90);

/// A session without a relation is of no use to the group after this.
const IDLE_SESSION: Duration = Duration::from_secs(120);

/// Members to connect to at one tick.
const MAX_ATTEMPTS: usize = 16;

impl Group {
    /// One report to one neighbour, and attempts to connect to wanted members.
    pub(in crate::group) fn tick(&mut self, now: Time) {
        self.tick_at = now + BEAT * (1 + self.rng.below(MAX_BEATS) as u32);
        self.give_up_hellos(now);
        self.forget(now);
        self.ask_someone(now);
        self.connect_wanted(now);
        self.release_idle(now);
        // Draw the random member of the wanted lists anew now and then.
        if self.rng.below(8) == 0 {
            self.random_member = self.rng.next();
        }
    }

    fn give_up_hellos(&mut self, now: Time) {
        let stale = |l: &Link| {
            l.relation.as_ref().is_some_and(|r| !r.up && now.since(r.since) >= HELLO_TIMEOUT)
        };
        for session in self.sessions_where(stale) {
            self.lose(now, session, Loss::Neighbor);
        }
    }

    fn forget(&mut self, now: Time) {
        let links = &self.links;
        self.members
            .expire(now, |peer| links.values().any(|l| l.peer == *peer && l.relation.is_some()));
    }

    fn ask_someone(&mut self, now: Time) {
        let askable = |l: &Link| l.relation.as_ref().is_some_and(|r| r.up && !r.owes_report);
        let sessions = self.sessions_where(askable);
        let drawn = self.rng.below(sessions.len() as u64) as usize;
        let Some(&session) = sessions.get(drawn) else { return };
        if let Some(relation) = self.links.get_mut(&session).and_then(|l| l.relation.as_mut()) {
            relation.owes_report = true;
        }
        self.send_report(now, session, true);
    }

    fn connect_wanted(&mut self, now: Time) {
        let mut wanted = self.wanted_by_us(now);
        wanted.retain(|peer| !self.has_relation(peer));
        // A table full of members that do not exist must not hide those that do.
        for i in (1..wanted.len()).rev() {
            wanted.swap(i, self.rng.below(i as u64 + 1) as usize);
        }
        for peer in wanted.into_iter().take(MAX_ATTEMPTS) {
            self.connect(now, peer);
        }
    }

    fn release_idle(&mut self, now: Time) {
        let idle = |l: &Link| {
            l.relation.is_none() && !l.released && now.since(l.idle_since) >= IDLE_SESSION
        };
        for session in self.sessions_where(idle) {
            if let Some(link) = self.links.get_mut(&session) {
                link.released = true;
            }
            self.actions.push_back(GroupAction::ReleaseSession { session });
        }
    }

    fn sessions_where(&self, wanted: impl Fn(&Link) -> bool) -> Vec<SessionId> {
        self.links.iter().filter(|(_, link)| wanted(link)).map(|(&session, _)| session).collect()
    }
}
