//! Neighbors that are not needed: a member connects to everyone who is introduced to it, and keeps
//! those that the topology wants.

use super::Membership;
use super::message::MembershipMessage;
use super::output::End;
use super::session::{Neighbor, PeerSession};
use crate::crypto::Fingerprint;
use crate::transport::{SessionId, Time};
use std::collections::BTreeSet;
use std::time::Duration;

/// When the first neighbors are informed, after joining: at a random time from here on.
const FIRST: Duration = Duration::from_secs(95);
const FIRST_SPREAD: u64 = 5_000;

/// A neighbor is kept for this long at least, and informed again after this time.
const PATIENCE: Duration = Duration::from_secs(90);

/// A neighbor is not dropped for another one before this time.
const GRACE: Duration = Duration::from_secs(10);

/// The time after joining at which unneeded neighbors are first informed.
pub(super) const fn first_after(random: u64) -> Duration {
    Duration::from_millis(FIRST.as_millis() as u64 + random % FIRST_SPREAD)
}

impl Membership {
    /// Informs every neighbor that is not wanted. It leaves if it does not want this node either.
    pub(super) fn trim(
        &mut self,
        now: Time,
        wanted: &[Fingerprint],
        is_used: &impl Fn(SessionId) -> bool,
    ) {
        let is_due = |n: &Neighbor| {
            let patient = |since: Time| now.since(since) >= PATIENCE;
            patient(n.since) && n.unneeded_at.is_none_or(patient)
        };
        for session in self.unwanted(wanted, is_used, is_due) {
            if let Some(neighbor) = self.neighbor_mut(session) {
                neighbor.unneeded_at = Some(now);
            }
            self.send(session, &MembershipMessage::Unneeded);
        }
    }

    /// The neighbor in a session and this node do not need each other: it is ended.
    pub(in crate::proto::group) fn part(&mut self, now: Time, session: SessionId) {
        self.note_parting(now, session);
        self.end_neighbor(now, session, End::Neighbor);
    }

    /// The neighbor in a session and this node have agreed to part.
    pub(super) fn note_parting(&mut self, now: Time, session: SessionId) {
        if let Some(peer) = self.peer(session) {
            self.members.set_parted(now, &peer);
        }
    }

    /// Ends the unwanted neighbor that has been one for the longest, if there is one, to make a
    /// place for one that is wanted.
    pub(in crate::proto::group) fn yield_place(
        &mut self,
        now: Time,
        is_used: &impl Fn(SessionId) -> bool,
    ) {
        let wanted = self.wanted_neighbors(now);
        let unwanted = self.unwanted(&wanted, is_used, |n| now.since(n.since) >= GRACE);
        let since = |s: &SessionId| self.sessions.get(s)?.neighbor.as_ref().map(|n| n.since);
        if let Some(longest) = unwanted.into_iter().min_by_key(since) {
            self.end_neighbor(now, longest, End::Neighbor);
        }
    }

    /// The connected neighbors that are neither wanted nor used.
    fn unwanted(
        &self,
        wanted: &[Fingerprint],
        is_used: &impl Fn(SessionId) -> bool,
        accept: impl Fn(&Neighbor) -> bool,
    ) -> Vec<SessionId> {
        let wanted: BTreeSet<&Fingerprint> = wanted.iter().collect();
        let is_unwanted = |(id, s, n): &(SessionId, &PeerSession, &Neighbor)| {
            !wanted.contains(&s.peer) && accept(n) && !is_used(*id)
        };
        self.neighbors().filter(is_unwanted).map(|(id, ..)| id).collect()
    }
}
