//! New members of groups, until they have met somebody.
//!
//! A client that vanishes says nothing, and the server learns of it only when pings stay unanswered.
//! So a new member is introduced to members that were active lately, each of them is pinged, and what
//! comes of it is looked at for some seconds: a member that does not answer, or for which the
//! newcomer has to say hello again, counts for nothing, and the newcomer is introduced to another.

use super::Rendezvous;
use crate::crypto::Fingerprint;
use crate::flash::group_channel::GroupId;
use crate::transport::{FlowId, SessionId, Time};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

/// A new member is not introduced to members from which nothing has come for this long. Whoever is there
/// has answered a ping by then ([`Config::keepalive`](crate::transport::Config)).
const LATELY: Duration = Duration::from_secs(30);
/// A member that was active within this time is not pinged when a newcomer is introduced to it.
const JUST_NOW: Duration = Duration::from_secs(1);
/// A member that does not answer its ping within this time counts as gone, until it does.
const ANSWER: Duration = Duration::from_millis(700);
/// When a newcomer is checked after it was introduced to members: the pings must be answered by then;
/// the players' second and third hello would have come.
const CHECKS: [Duration; 3] = [ANSWER, Duration::from_millis(2000), Duration::from_millis(5000)];
/// A hello for the same member after this time is a repetition.
const REPETITION: Duration = Duration::from_secs(1);
/// When a newcomer whose introductions have all failed is introduced again, the first time;
/// each further time comes after twice as long.
const AGAIN: Duration = Duration::from_secs(15);
const AGAIN_MAX: Duration = Duration::from_secs(120);

/// Members that one newcomer is introduced to in one go, checks included; then it has to wait for
/// [`AGAIN`].
const MAX_TOLD: usize = 64;
/// Newcomers that are followed up; others are introduced once.
const MAX_NEWCOMERS: usize = 8192;

/// A membership: the client's session and its `GC` flow.
type Key = (SessionId, FlowId);

/// The newcomers of all groups.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    all: HashMap<Key, Newcomer>,
    checks: BTreeSet<(Time, Key)>,
    /// Which newcomers were introduced to a member.
    by_member: HashMap<SessionId, Vec<Key>>,
}

#[derive(Debug)]
struct Newcomer {
    group: GroupId,
    told: Vec<Told>,
    /// When it was introduced to members last, and how many checks there were since.
    since: Time,
    checks: usize,
    /// When the next check is.
    next: Time,
    again: Duration,
}

/// A member that a newcomer was introduced to.
#[derive(Debug)]
struct Told {
    member: SessionId,
    at: Time,
    /// The newcomer's first hello for it.
    hello: Option<Time>,
    /// There was another one: the first was not answered.
    repeated: bool,
}

/// What has come of an introduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Success {
    Open,
    Likely,
    Failed,
}

impl Told {
    /// `heard` is when the member's last packet came, if there is a session with it.
    fn success(&self, now: Time, heard: Option<Time>) -> Success {
        let active = heard.is_some_and(|heard| heard + JUST_NOW >= self.at);
        match (self.repeated, active) {
            (true, _) => Success::Failed,
            (false, true) => Success::Likely,
            (false, false) if now.since(self.at) >= ANSWER => Success::Failed,
            (false, false) => Success::Open,
        }
    }
}

impl Newcomers {
    /// When the next check is.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.checks.first().map(|&(at, _)| at)
    }

    /// A membership has ended.
    pub(super) fn forget(&mut self, key: Key) {
        let Some(newcomer) = self.all.remove(&key) else { return };
        self.checks.remove(&(newcomer.next, key));
        self.forget_told(key, &newcomer.told);
    }

    fn forget_told(&mut self, key: Key, told: &[Told]) {
        for told in told {
            if let Some(keys) = self.by_member.get_mut(&told.member) {
                keys.retain(|other| *other != key);
                if keys.is_empty() {
                    self.by_member.remove(&told.member);
                }
            }
        }
    }

    /// Begins to follow up a newcomer, which is introduced to members now.
    fn begin(&mut self, now: Time, key: Key, group: GroupId) -> bool {
        if self.all.len() >= MAX_NEWCOMERS && !self.all.contains_key(&key) {
            return false;
        }
        self.forget(key);
        let next = now + CHECKS[0];
        let newcomer =
            Newcomer { group, told: Vec::new(), since: now, checks: 0, next, again: AGAIN };
        self.all.insert(key, newcomer);
        self.checks.insert((next, key));
        true
    }

    fn note_told(&mut self, now: Time, key: Key, members: &[SessionId]) {
        let Some(newcomer) = self.all.get_mut(&key) else { return };
        (newcomer.since, newcomer.checks) = (now, 0);
        for &member in members {
            newcomer.told.push(Told { member, at: now, hello: None, repeated: false });
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

    /// Somebody at the address of one of `newcomers` has said hello for a member.
    fn note_hello(&mut self, now: Time, member: SessionId, newcomer: impl Fn(SessionId) -> bool) {
        let keys = self.by_member.get(&member).into_iter().flatten();
        for key in keys.filter(|(session, _)| newcomer(*session)) {
            let told = self.all.get_mut(key).map(|n| n.told.iter_mut());
            let Some(told) = told.into_iter().flatten().find(|told| told.member == member) else {
                continue;
            };
            match told.hello {
                Some(first) => told.repeated |= now.since(first) >= REPETITION,
                None => told.hello = Some(now),
            }
        }
    }
}

impl Rendezvous {
    /// A client has joined a group: it is introduced to members, and followed up until it has met one.
    pub(super) fn welcome(&mut self, now: Time, session: SessionId, flow: FlowId, group: GroupId) {
        let key = (session, flow);
        let others = self.groups.count(group) > 1;
        let followed = others && self.newcomers.begin(now, key, group);
        let told = self.tell_of_others(now, key, group, self.config.introduce_members);
        if told < self.config.introduce_members && followed {
            self.wake(now, session, group);
        }
    }

    /// Notes a hello for a member.
    pub(super) fn note_hello(&mut self, now: Time, from: SocketAddr, member: SessionId) {
        let endpoint = &self.endpoint;
        let at = |id| endpoint.session(id).is_some_and(|info| info.path().remote == from);
        self.newcomers.note_hello(now, member, at);
    }

    /// Looks at newcomers whose time has come.
    pub(super) fn newcomer_timeouts(&mut self, now: Time) {
        while let Some(&(at, key)) = self.newcomers.checks.first()
            && at <= now
        {
            self.check(now, key);
        }
    }

    fn check(&mut self, now: Time, key: Key) {
        let Some(newcomer) = self.newcomers.all.get_mut(&key) else { return };
        newcomer.checks += 1;
        let group = newcomer.group;
        let wanted = self.config.introduce_members;
        let heard = |id| self.endpoint.session(id).map(|info| info.last_received());
        let successes = newcomer.told.iter().map(|told| told.success(now, heard(told.member)));
        let good = successes.filter(|success| *success != Success::Failed).count();
        let room = MAX_TOLD.saturating_sub(newcomer.told.len());
        self.tell_of_others(now, key, group, wanted.saturating_sub(good).min(room));
        let Some(newcomer) = self.newcomers.all.get_mut(&key) else { return };
        if let Some(after) = CHECKS.get(newcomer.checks) {
            let next = newcomer.since + *after;
            return self.newcomers.schedule(key, next);
        }
        if good > 0 || self.groups.count(group) <= 1 {
            return self.newcomers.forget(key);
        }
        // Alone. Whoever failed may have come back.
        let told = std::mem::take(&mut newcomer.told);
        let next = now + newcomer.again;
        newcomer.again = (newcomer.again * 2).min(AGAIN_MAX);
        self.newcomers.forget_told(key, &told);
        self.newcomers.schedule(key, next);
    }

    /// Introduces a newcomer to up to `count` members that are new to it and were active
    /// lately. Returns of how many.
    fn tell_of_others(&mut self, now: Time, key: Key, group: GroupId, count: usize) -> usize {
        if count == 0 {
            return 0;
        }
        let (session, flow) = key;
        let told: &[Told] = self.newcomers.all.get(&key).map_or(&[], |newcomer| &newcomer.told);
        let endpoint = &self.endpoint;
        let fit = |id: SessionId| {
            let info = endpoint.session(id);
            id != session
                && info.is_some_and(|info| now.since(info.last_received()) < LATELY)
                && told.iter().all(|told| told.member != id)
        };
        let members = self.groups.choose(group, count, &mut *self.random, fit);
        self.newcomers.note_told(now, key, &members);
        for &member in &members {
            self.probe(now, member);
        }
        let mut peers: Vec<Fingerprint> = members
            .iter()
            .filter_map(|id| self.endpoint.session(*id))
            .map(|info| info.far())
            .collect();
        peers.dedup();
        self.tell_members(now, session, flow, &peers);
        members.len()
    }

    /// Pings members that were silent for long: if one is there, the next check finds it.
    fn wake(&mut self, now: Time, session: SessionId, group: GroupId) {
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

    /// Pings a member, unless that is known to be there or was pinged just now.
    fn probe(&mut self, now: Time, member: SessionId) {
        let Some(info) = self.endpoint.session(member) else { return };
        let heard = info.last_received();
        let Some(client) = self.clients.get_mut(&member) else { return };
        let recent = |at: Time| now.since(at) < JUST_NOW;
        if !recent(heard) && !client.probed.is_some_and(recent) {
            client.probed = Some(now);
            self.endpoint.probe(now, member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId([7; 32]);

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
        newcomers.note_told(now, key(1), &[SessionId(50), SessionId(51)]);
        (0..20_000).for_each(|n| newcomers.forget(key(n)));
        assert!(newcomers.all.is_empty() && newcomers.by_member.is_empty());
        assert_eq!(newcomers.next_timeout(), None);
    }

    #[test]
    fn what_an_introduction_has_come_to() {
        let at = Time::from_millis(10_000);
        let told = |repeated| Told { member: SessionId(1), at, hello: None, repeated };
        let (soon, late) = (at + ANSWER / 2, at + ANSWER);
        let (before, lately) = (Time::from_millis(8_000), Time::from_millis(9_500));
        assert_eq!(told(false).success(soon, Some(before)), Success::Open);
        assert_eq!(told(false).success(late, Some(before)), Success::Failed);
        assert_eq!(told(false).success(late, None), Success::Failed);
        assert_eq!(told(false).success(late, Some(lately)), Success::Likely);
        assert_eq!(told(false).success(late, Some(soon)), Success::Likely);
        assert_eq!(told(true).success(late, Some(soon)), Success::Failed);
    }

    /// Two sockets of one client, or a copy of a packet, are no repetition.
    #[test]
    fn a_hello_soon_after_the_first_is_no_repetition() {
        let mut newcomers = Newcomers::default();
        let now = Time::from_millis(1000);
        newcomers.begin(now, key(1), GROUP);
        newcomers.note_told(now, key(1), &[SessionId(5)]);
        let repeated = |newcomers: &Newcomers| newcomers.all[&key(1)].told[0].repeated;
        for after in [0, 10, 999] {
            let at = now + Duration::from_millis(after);
            newcomers.note_hello(at, SessionId(5), |session| session == SessionId(1));
            assert!(!repeated(&newcomers));
        }
        let at = now + Duration::from_millis(1500);
        newcomers.note_hello(at, SessionId(5), |session| session == SessionId(2));
        assert!(!repeated(&newcomers), "somebody else's");
        newcomers.note_hello(at, SessionId(5), |session| session == SessionId(1));
        assert!(repeated(&newcomers));
    }
}
