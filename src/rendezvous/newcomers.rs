//! New members of groups, until they have met a member.
//!
//! A client may vanish without notice, and the server learns of it only when pings stay unanswered.
//! So a new member is introduced to members that were active lately, each of them is pinged, and the
//! result is checked for some seconds: a member that does not answer, or for which the
//! newcomer has to send another hello, does not count, and the newcomer is introduced to another.

use super::Rendezvous;
use super::cluster::{ClientId, MemberId, Phase};
use super::follow_up::{ANSWER, CHECKS, LATELY, MAX_INTRODUCTIONS};
use crate::crypto::Fingerprint;
use crate::flash::group_channel::GroupId;
use crate::transport::{FlowId, SessionId, Time};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

/// A member that was active within this time is not pinged when a newcomer is introduced to it.
const JUST_NOW: Duration = Duration::from_secs(1);
/// A hello for the same member after this time is a repetition.
const REPETITION: Duration = Duration::from_secs(1);
/// Time after which a newcomer whose introductions have all failed is introduced again, the first time;
/// each further time comes after twice as long.
const AGAIN: Duration = Duration::from_secs(15);
const AGAIN_MAX: Duration = Duration::from_secs(120);

/// Newcomers that are followed up; others are introduced once.
const MAX_NEWCOMERS: usize = 8192;

/// A membership: the client's session and its `GC` flow.
type Key = (SessionId, FlowId);

/// The newcomers of all groups.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    all: HashMap<Key, Newcomer>,
    checks: BTreeSet<(Time, Key)>,
    /// The newcomers that were introduced to a member.
    by_member: HashMap<ClientId, Vec<Key>>,
}

#[derive(Debug)]
struct Newcomer {
    group: GroupId,
    introductions: Vec<Attempt>,
    /// Time of its last introductions, and the number of checks since.
    since: Time,
    checks: usize,
    /// Time of the next check.
    next: Time,
    again: Duration,
    /// What the next check begins with, if there are other members of the cluster.
    phase: Phase,
    /// Introductions that had not failed at the last check.
    good: usize,
}

/// The introduction of a newcomer to a member.
#[derive(Debug)]
struct Attempt {
    member: ClientId,
    at: Time,
    /// The time of the last packet of a client of another member of the cluster, so far as is
    /// known.
    seen: Option<Time>,
    /// The newcomer's first hello for it.
    hello: Option<Time>,
    /// The newcomer sent another one: the first was not answered.
    repeated: bool,
}

/// The result of an introduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Success {
    Open,
    Likely,
    Failed,
}

impl Attempt {
    /// `last_received` is the time of the member's last packet, if there is a session with it.
    fn success(&self, now: Time, last_received: Option<Time>) -> Success {
        let active = last_received.is_some_and(|last| last + JUST_NOW >= self.at);
        match (self.repeated, active) {
            (true, _) => Success::Failed,
            (false, true) => Success::Likely,
            (false, false) if now.since(self.at) >= ANSWER => Success::Failed,
            (false, false) => Success::Open,
        }
    }
}

impl Newcomers {
    /// Time of the next check.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.checks.first().map(|&(at, _)| at)
    }

    /// A membership has ended.
    pub(super) fn forget(&mut self, key: Key) {
        let Some(newcomer) = self.all.remove(&key) else { return };
        self.checks.remove(&(newcomer.next, key));
        self.forget_introductions(key, &newcomer.introductions);
    }

    fn forget_introductions(&mut self, key: Key, introductions: &[Attempt]) {
        for introduction in introductions {
            if let Some(keys) = self.by_member.get_mut(&introduction.member) {
                keys.retain(|other| *other != key);
                if keys.is_empty() {
                    self.by_member.remove(&introduction.member);
                }
            }
        }
    }

    /// Begins to follow up a newcomer, which is introduced to members now.
    pub(super) fn begin(&mut self, now: Time, key: Key, group: GroupId) -> bool {
        if self.all.len() >= MAX_NEWCOMERS && !self.all.contains_key(&key) {
            return false;
        }
        self.forget(key);
        let next = now + CHECKS[0];
        let newcomer = Newcomer {
            group,
            introductions: Vec::new(),
            since: now,
            checks: 0,
            next,
            again: AGAIN,
            phase: Phase::Waiting,
            good: 0,
        };
        self.all.insert(key, newcomer);
        self.checks.insert((next, key));
        true
    }

    /// Notes introductions to members, with the time of the last packet of those elsewhere.
    pub(super) fn note_introductions(
        &mut self,
        now: Time,
        key: Key,
        members: &[(ClientId, Option<Time>)],
    ) {
        let Some(newcomer) = self.all.get_mut(&key) else { return };
        (newcomer.since, newcomer.checks) = (now, 0);
        for &(member, seen) in members {
            let attempt = Attempt { member, at: now, seen, hello: None, repeated: false };
            newcomer.introductions.push(attempt);
            self.by_member.entry(member).or_default().push(key);
        }
    }

    fn schedule(&mut self, key: Key, next: Time) {
        if let Some(newcomer) = self.all.get_mut(&key) {
            self.checks.remove(&(newcomer.next, key));
            newcomer.next = next;
            self.checks.insert((next, key));
        }
    }

    /// Notes a hello for a member from the address of one of `newcomers`.
    fn note_hello(&mut self, now: Time, member: ClientId, newcomer: impl Fn(SessionId) -> bool) {
        let keys = self.by_member.get(&member).into_iter().flatten();
        for key in keys.filter(|(session, _)| newcomer(*session)) {
            let introductions = self.all.get_mut(key).map(|n| n.introductions.iter_mut());
            let mut introductions = introductions.into_iter().flatten();
            let Some(found) = introductions.find(|it| it.member == member) else { continue };
            match found.hello {
                Some(first) => found.repeated |= now.since(first) >= REPETITION,
                None => found.hello = Some(now),
            }
        }
    }

    /// The members to which a newcomer was introduced.
    pub(super) fn introduced(&self, key: Key) -> Vec<ClientId> {
        let introductions = self.all.get(&key).map(|newcomer| &newcomer.introductions);
        introductions.into_iter().flatten().map(|it| it.member).collect()
    }

    /// What a newcomer's timer stands for, if it is followed up.
    pub(super) fn phase(&mut self, key: Key) -> Option<&mut Phase> {
        self.all.get_mut(&key).map(|newcomer| &mut newcomer.phase)
    }

    /// Sets that, and the time of the timer.
    pub(super) fn enter(&mut self, key: Key, phase: Phase, next: Time) {
        if let Some(newcomer) = self.all.get_mut(&key) {
            newcomer.phase = phase;
            self.schedule(key, next);
        }
    }

    /// The members elsewhere of which it is not known that they have answered.
    pub(super) fn unanswered(&self, now: Time, key: Key) -> Vec<ClientId> {
        let introductions = self.all.get(&key).map(|newcomer| &newcomer.introductions);
        let open = introductions
            .into_iter()
            .flatten()
            .filter(|it| !it.repeated && it.success(now, it.seen) != Success::Likely);
        open.map(|it| it.member).collect()
    }

    /// Notes when clients of `from` have sent something; those of which it does not speak are gone.
    pub(super) fn note_seen(&mut self, key: Key, from: MemberId, seen: &[(SessionId, Time)]) {
        let Some(newcomer) = self.all.get_mut(&key) else { return };
        let of_sender = newcomer.introductions.iter_mut().filter(|it| it.member.member == from);
        for introduction in of_sender {
            let found = seen.iter().find(|(session, _)| *session == introduction.member.session);
            // It was asked for those only that are not known to have answered.
            introduction.seen = found.map(|&(_, at)| at).max(introduction.seen);
        }
    }

    /// A check of a newcomer: its group, the number of introductions that have not failed, and how
    /// many more it may have.
    pub(super) fn judge(
        &mut self,
        now: Time,
        key: Key,
        last_received: impl Fn(ClientId, Option<Time>) -> Option<Time>,
    ) -> Option<(GroupId, usize, usize)> {
        let newcomer = self.all.get_mut(&key)?;
        newcomer.checks += 1;
        let introductions = newcomer.introductions.iter();
        let successes = introductions.map(|it| it.success(now, last_received(it.member, it.seen)));
        newcomer.good = successes.filter(|success| *success != Success::Failed).count();
        let free = MAX_INTRODUCTIONS.saturating_sub(newcomer.introductions.len());
        Some((newcomer.group, newcomer.good, free))
    }

    /// A newcomer's group, the time of its last introductions, the number of checks since, and how
    /// many introductions had not failed at the last.
    pub(super) fn standing(&self, key: Key) -> Option<(GroupId, Time, usize, usize)> {
        let newcomer = self.all.get(&key)?;
        Some((newcomer.group, newcomer.since, newcomer.checks, newcomer.good))
    }

    /// Every introduction of a newcomer has failed. Whoever failed may have come back when it is
    /// introduced again.
    pub(super) fn begin_again(&mut self, now: Time, key: Key) {
        let Some(newcomer) = self.all.get_mut(&key) else { return };
        let introductions = std::mem::take(&mut newcomer.introductions);
        let next = now + newcomer.again;
        newcomer.again = (newcomer.again * 2).min(AGAIN_MAX);
        newcomer.phase = Phase::Waiting;
        self.forget_introductions(key, &introductions);
        self.schedule(key, next);
    }
}

impl Rendezvous {
    /// A client has joined a group: it is introduced to members, and followed up until it has met one.
    pub(super) fn welcome(&mut self, now: Time, session: SessionId, flow: FlowId, group: GroupId) {
        let key = (session, flow);
        if self.cluster.is_some() {
            return self.welcome_in_cluster(now, key, group);
        }
        let others = self.groups.count(group) > 1;
        let followed = others && self.newcomers.begin(now, key, group);
        let introduced = self.introduce_newcomer(now, key, group, self.config.introduce_members);
        if introduced < self.config.introduce_members && followed {
            self.wake(now, session, group);
        }
    }

    /// Notes a hello for a member.
    pub(super) fn note_hello(&mut self, now: Time, from: SocketAddr, member: ClientId) {
        let endpoint = &self.endpoint;
        let at = |id| endpoint.session(id).is_some_and(|info| info.path().remote == from);
        self.newcomers.note_hello(now, member, at);
    }

    /// Checks newcomers whose time has come.
    pub(super) fn newcomer_timeouts(&mut self, now: Time) {
        while let Some(&(at, key)) = self.newcomers.checks.first()
            && at <= now
        {
            match self.cluster {
                Some(_) => self.check_in_cluster(now, key),
                None => self.check(now, key),
            }
        }
    }

    fn check(&mut self, now: Time, key: Key) {
        let wanted = self.config.introduce_members;
        let last_received = |client: ClientId, _| {
            self.endpoint.session(client.session).map(|info| info.last_received())
        };
        let Some((group, good, free)) = self.newcomers.judge(now, key, last_received) else {
            return;
        };
        self.introduce_newcomer(now, key, group, wanted.saturating_sub(good).min(free));
        let Some(newcomer) = self.newcomers.all.get_mut(&key) else { return };
        if let Some(after) = CHECKS.get(newcomer.checks) {
            let next = newcomer.since + *after;
            return self.newcomers.schedule(key, next);
        }
        if good > 0 || self.groups.count(group) <= 1 {
            return self.newcomers.forget(key);
        }
        self.newcomers.begin_again(now, key);
    }

    /// Introduces a newcomer to up to `count` members that are new to it and were active
    /// lately. Returns the number of them.
    pub(super) fn introduce_newcomer(
        &mut self,
        now: Time,
        key: Key,
        group: GroupId,
        count: usize,
    ) -> usize {
        if count == 0 {
            return 0;
        }
        let (session, flow) = key;
        let newcomer = self.newcomers.all.get(&key);
        let earlier = newcomer.map_or(&[][..], |newcomer| &newcomer.introductions);
        let endpoint = &self.endpoint;
        let fit = |id: SessionId| {
            let info = endpoint.session(id);
            id != session
                && info.is_some_and(|info| now.since(info.last_received()) < LATELY)
                && earlier.iter().all(|introduction| introduction.member.session != id)
        };
        let members = self.groups.choose(group, count, &mut *self.random, fit);
        let introduced: Vec<_> = members.iter().map(|&id| (self.own(id), None)).collect();
        self.newcomers.note_introductions(now, key, &introduced);
        for &member in &members {
            self.probe(now, member);
        }
        let mut peers: Vec<Fingerprint> = members
            .iter()
            .filter_map(|id| self.endpoint.session(*id))
            .map(|info| info.far())
            .collect();
        peers.dedup();
        self.send_members(now, session, flow, &peers);
        members.len()
    }

    /// Pings members that were silent for long: if one is alive, the next check finds it.
    pub(super) fn wake(&mut self, now: Time, session: SessionId, group: GroupId) {
        let endpoint = &self.endpoint;
        let silent = |id: SessionId| {
            let info = endpoint.session(id);
            id != session && info.is_some_and(|info| now.since(info.last_received()) >= LATELY)
        };
        let count = self.config.introduce_members;
        for member in self.groups.choose(group, count, &mut *self.random, silent) {
            self.probe(now, member);
        }
    }

    /// Pings a member, unless it is known to be alive or was pinged just now.
    pub(super) fn probe(&mut self, now: Time, member: SessionId) {
        let Some(info) = self.endpoint.session(member) else { return };
        let last_received = info.last_received();
        let Some(client) = self.clients.get_mut(&member) else { return };
        let recent = |at: Time| now.since(at) < JUST_NOW;
        if !recent(last_received) && !client.probed.is_some_and(recent) {
            client.probed = Some(now);
            self.endpoint.probe(now, member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId([7; 32]);

    fn client(number: u32) -> ClientId {
        ClientId { member: MemberId::worker(0), session: SessionId(number) }
    }

    fn key(number: u32) -> Key {
        (SessionId(number), FlowId(2))
    }

    #[test]
    fn hostile_crowd_of_newcomers_is_bounded() {
        let mut newcomers = Newcomers::default();
        let now = Time::from_millis(1000);
        let begun = (0..20_000).filter(|&n| newcomers.begin(now, key(n), GROUP)).count();
        assert_eq!((begun, newcomers.all.len()), (MAX_NEWCOMERS, MAX_NEWCOMERS));
        assert!(newcomers.begin(now, key(1), GROUP), "one of them joins again");
        assert_eq!(newcomers.checks.len(), MAX_NEWCOMERS);
        newcomers.note_introductions(now, key(1), &[(client(50), None), (client(51), None)]);
        (0..20_000).for_each(|n| newcomers.forget(key(n)));
        assert!(newcomers.all.is_empty() && newcomers.by_member.is_empty());
        assert_eq!(newcomers.next_timeout(), None);
    }

    #[test]
    fn what_an_introduction_has_come_to() {
        let at = Time::from_millis(10_000);
        let introduction =
            |repeated| Attempt { member: client(1), at, seen: None, hello: None, repeated };
        let (soon, late) = (at + ANSWER / 2, at + ANSWER);
        let (before, lately) = (Time::from_millis(8_000), Time::from_millis(9_500));
        assert_eq!(introduction(false).success(soon, Some(before)), Success::Open);
        assert_eq!(introduction(false).success(late, Some(before)), Success::Failed);
        assert_eq!(introduction(false).success(late, None), Success::Failed);
        assert_eq!(introduction(false).success(late, Some(lately)), Success::Likely);
        assert_eq!(introduction(false).success(late, Some(soon)), Success::Likely);
        assert_eq!(introduction(true).success(late, Some(soon)), Success::Failed);
    }

    /// Two sockets of one client, or a copy of a packet, are no repetition.
    #[test]
    fn a_hello_soon_after_the_first_is_no_repetition() {
        let mut newcomers = Newcomers::default();
        let now = Time::from_millis(1000);
        newcomers.begin(now, key(1), GROUP);
        newcomers.note_introductions(now, key(1), &[(client(5), None)]);
        let repeated = |newcomers: &Newcomers| newcomers.all[&key(1)].introductions[0].repeated;
        for after in [0, 10, 999] {
            let at = now + Duration::from_millis(after);
            newcomers.note_hello(at, client(5), |session| session == SessionId(1));
            assert!(!repeated(&newcomers));
        }
        let at = now + Duration::from_millis(1500);
        newcomers.note_hello(at, client(5), |session| session == SessionId(2));
        assert!(!repeated(&newcomers), "somebody else's");
        newcomers.note_hello(at, client(5), |session| session == SessionId(1));
        assert!(repeated(&newcomers));
    }
}
