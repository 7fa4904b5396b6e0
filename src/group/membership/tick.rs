//! Periodic maintenance: reports, connection attempts, expiry.

use super::Membership;
use super::output::{End, Output};
use super::session::PeerSession;
use crate::crypto::Fingerprint;
use crate::transport::{SessionId, Time};
use std::time::Duration;

/// The first tick after joining.
pub(super) const FIRST: Duration = Duration::from_secs(15);

/// Consecutive ticks are one to four times this apart.
const BEAT: Duration = Duration::from_secs(5);
const MAX_BEATS: u64 = 4;

/// A neighbor that is not connected after this time is dropped.
const HELLO_TIMEOUT: Duration = Duration::from_secs(90);

/// A session without a neighbor is released after this time.
const IDLE_SESSION: Duration = Duration::from_secs(120);

/// Members next on the ring to connect to between two ticks.
pub(super) const RING_ATTEMPTS: usize = 6;

/// Members to connect to in one tick; further ones wait for the next.
const MAX_ATTEMPTS: usize = 16;

/// The random member of the lists of wanted neighbors is drawn anew after so many ticks on average,
/// which is about seven minutes.
const REDRAW: u64 = 32;

impl Membership {
    /// Sends one report to one neighbor, and attempts to connect to wanted members.
    pub(super) fn tick(&mut self, now: Time, is_used: &impl Fn(SessionId) -> bool) {
        self.tick_at = now + BEAT * (1 + self.rng.below(MAX_BEATS) as u32);
        self.ring_attempts = RING_ATTEMPTS;
        self.drop_unanswered(now);
        self.expire(now);
        self.ask_for_report(now);
        let wanted = self.wanted_neighbors(now);
        self.is_unsettled = self.is_far_from(&wanted);
        if self.trim_at.is_none() {
            self.trim(now, &wanted, is_used);
        }
        self.connect_wanted(now, wanted, is_used);
        self.release_idle(now);
        // Draws the random member of the lists of wanted neighbors anew from time to time.
        if self.rng.below(REDRAW) == 0 {
            self.random_member = self.rng.next_u64();
        }
    }

    fn drop_unanswered(&mut self, now: Time) {
        let stale = |s: &PeerSession| {
            let neighbor = s.neighbor.as_ref();
            neighbor.is_some_and(|n| !n.is_connected && now.since(n.since) >= HELLO_TIMEOUT)
        };
        for session in self.sessions_where(stale) {
            self.end_neighbor(now, session, End::Neighbor);
            if let Some(peer) = self.peer(session) {
                self.members.set_lost(&peer);
            }
        }
    }

    fn expire(&mut self, now: Time) {
        let (members, of_peer, sessions) = (&mut self.members, &self.of_peer, &self.sessions);
        let is_neighbor = |peer: &Fingerprint| {
            let of_peer = of_peer.range((*peer, SessionId(0))..=(*peer, SessionId(u32::MAX)));
            of_peer.filter_map(|(_, id)| sessions.get(id)).any(|s| s.neighbor.is_some())
        };
        members.expire(now, is_neighbor);
    }

    /// Requests a report from a random neighbor.
    fn ask_for_report(&mut self, now: Time) {
        let askable =
            |s: &PeerSession| s.neighbor.as_ref().is_some_and(|n| n.is_connected && !n.owes_report);
        let sessions = self.sessions_where(askable);
        let drawn = self.rng.below(sessions.len() as u64) as usize;
        let Some(&session) = sessions.get(drawn) else { return };
        if let Some(neighbor) = self.neighbor_mut(session) {
            neighbor.owes_report = true;
        }
        self.send_report(now, session, true);
    }

    /// True if less than two fifths of the neighbors and of the wanted members are both.
    fn is_far_from(&self, wanted: &[Fingerprint]) -> bool {
        let (mut both, mut all) = (0, wanted.len());
        for (_, session, _) in self.neighbors() {
            let is_wanted = wanted.contains(&session.peer);
            both += usize::from(is_wanted);
            all += usize::from(!is_wanted);
        }
        5 * both < 2 * all
    }

    fn connect_wanted(
        &mut self,
        now: Time,
        mut wanted: Vec<Fingerprint>,
        is_used: &impl Fn(SessionId) -> bool,
    ) {
        wanted.retain(|peer| !self.has_neighbor(peer) && !self.blocked.contains(peer));
        if !wanted.is_empty() && self.is_full() {
            self.yield_place(now, is_used);
        }
        // A table full of members that do not exist must not crowd out those that do.
        for i in (1..wanted.len()).rev() {
            wanted.swap(i, self.rng.below(i as u64 + 1) as usize);
        }
        for peer in wanted.into_iter().take(MAX_ATTEMPTS) {
            self.connect(now, peer);
        }
    }

    fn release_idle(&mut self, now: Time) {
        let idle = |s: &PeerSession| {
            s.neighbor.is_none() && !s.released && now.since(s.idle_since) >= IDLE_SESSION
        };
        for session in self.sessions_where(idle) {
            if let Some(state) = self.sessions.get_mut(&session) {
                state.released = true;
            }
            self.output.push_back(Output::ReleaseSession(session));
        }
    }
}
