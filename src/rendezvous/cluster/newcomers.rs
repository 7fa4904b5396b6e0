//! New members of groups whose members are clients of several members of the cluster.
//!
//! A newcomer is introduced to as many members as by a lone server, of the same kind: half of them
//! the newest of the whole group, the others from all over it. Every member of the cluster names
//! candidates among its clients, and the one that has the newcomer chooses. It waits for
//! [`GATHER`] at most, so that a member that lags costs candidates and no time.

use super::super::follow_up::{CHECKS, LATELY, MAX_INTRODUCTIONS};
use super::{Candidate, Candidates, ClientId, Command, MemberId, Membership, Rendezvous, Seek, To};
use crate::crypto::Fingerprint;
use crate::flash::group_channel::GroupId;
use crate::transport::{SessionId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Candidates of members that have not named theirs within this time are left out.
const GATHER: Duration = Duration::from_millis(50);
/// A member that was asked for its clients has answered after this time.
const ANSWERED: Duration = Duration::from_millis(100);

/// What the timer of a newcomer stands for.
#[derive(Debug, Default)]
pub(in super::super) enum Phase {
    /// The next check.
    #[default]
    Waiting,
    /// The check goes on: other members were asked if their clients are alive.
    Asking,
    /// Candidates are being named.
    Gathering(Gathering),
}

/// The candidates so far.
#[derive(Debug)]
pub(in super::super) struct Gathering {
    count: usize,
    from: BTreeMap<MemberId, Source>,
}

/// What one member has named.
#[derive(Debug)]
struct Source {
    candidates: Vec<Candidate>,
    /// Members of the group that are its clients.
    members: usize,
}

impl Gathering {
    /// Takes up to `count` candidates: half of them those that joined last, then others, from
    /// each source in proportion to its members.
    fn choose(&mut self, draw: &mut dyn FnMut(u64) -> u64) -> Vec<(ClientId, Candidate)> {
        let mut chosen = Vec::new();
        while chosen.len() < self.count {
            let is_for_newest = chosen.len() < self.count.div_ceil(2);
            let source = if is_for_newest { self.newest() } else { self.drawn(draw) };
            let Some(member) = source else { break };
            let Some(source) = self.from.get_mut(&member) else { break };
            // The newest stand first, so that those from all over the group are at the end.
            let index = match is_for_newest {
                true => source.newest().map_or(0, |(index, _)| index),
                false => source.candidates.len() - 1,
            };
            let candidate = source.candidates.remove(index);
            chosen.push((ClientId { member, session: candidate.session }, candidate));
        }
        chosen
    }

    /// The source of the candidate that joined last.
    fn newest(&self) -> Option<MemberId> {
        let joined = |(&member, source): (&MemberId, &Source)| {
            source.newest().map(|(_, joined)| (joined, member))
        };
        self.from.iter().filter_map(joined).max().map(|(_, member)| member)
    }

    /// A source of those that have candidates left.
    fn drawn(&self, draw: &mut dyn FnMut(u64) -> u64) -> Option<MemberId> {
        let left = self.from.iter().filter(|(_, source)| !source.candidates.is_empty());
        let left = left.map(|(&member, source)| (member, source.members.max(1) as u64));
        let sum: u64 = left.clone().map(|(_, weight)| weight).sum();
        let mut at = if sum == 0 { 0 } else { draw(sum) };
        left.into_iter().find_map(|(member, weight)| {
            let found = at < weight;
            at = at.saturating_sub(weight);
            found.then_some(member)
        })
    }
}

impl Source {
    /// The candidate that joined last: its place, and when it joined.
    fn newest(&self) -> Option<(usize, Time)> {
        let joined = self.candidates.iter().enumerate().map(|(index, it)| (it.joined, index));
        joined.max().map(|(joined, index)| (index, joined))
    }
}

impl Rendezvous {
    /// A client has joined a group that may have members elsewhere.
    pub(in super::super) fn welcome_in_cluster(
        &mut self,
        now: Time,
        newcomer: Membership,
        group: GroupId,
    ) {
        let count = self.config.introduce_members;
        if self.newcomers.begin(now, newcomer, group) {
            return self.seek(now, newcomer, group, count);
        }
        // Nobody follows it up: it gets what is here, and what others name.
        self.introduce_newcomer(now, newcomer, group, count);
        let members = self.groups.count(group);
        let others = self.cluster.as_ref().map_or(1, |cluster| cluster.others.len().max(1));
        let (count, except) = ((count / others).max(1), Vec::new());
        let seek = Seek { group, newcomer, count, except, members };
        self.tell(To::Group(group), Command::Seek(Box::new(seek)));
    }

    /// Asks everybody for candidates, those of this member first.
    fn seek(&mut self, now: Time, newcomer: Membership, group: GroupId, count: usize) {
        let earlier = self.newcomers.introduced(newcomer);
        let candidates = self.candidates(now, group, count, newcomer.0, &earlier);
        let members = self.groups.count(group);
        let own = Source { candidates, members };
        let from = [(self.own(newcomer.0).member, own)].into();
        self.newcomers.enter(newcomer, Phase::Gathering(Gathering { count, from }), now + GATHER);
        if self.cluster.as_ref().is_none_or(|cluster| cluster.others.is_empty()) {
            return self.gathered(now, newcomer);
        }
        let seek = Seek { group, newcomer, count, except: earlier, members };
        self.tell(To::Group(group), Command::Seek(Box::new(seek)));
    }

    /// Members of a group that are clients of this member, for a newcomer. Silent ones are pinged if
    /// there are few others.
    fn candidates(
        &mut self,
        now: Time,
        group: GroupId,
        count: usize,
        newcomer: SessionId,
        except: &[ClientId],
    ) -> Vec<Candidate> {
        let member = self.own(newcomer).member;
        let endpoint = &self.endpoint;
        let fit = |id: SessionId| {
            let info = endpoint.session(id);
            id != newcomer
                && info.is_some_and(|info| now.since(info.last_received()) < LATELY)
                && !except.contains(&ClientId { member, session: id })
        };
        let chosen = self.groups.choose(group, count, &mut *self.random, fit);
        let candidate = |session: SessionId| {
            let info = self.endpoint.session(session)?;
            let memberships = self.clients.get(&session)?.memberships.values();
            let joined = memberships.filter(|it| it.group == Some(group)).map(|it| it.joined);
            let (peer, seen) = (info.far(), info.last_received());
            Some(Candidate { peer, session, joined: joined.max()?, seen })
        };
        let candidates: Vec<Candidate> = chosen.into_iter().filter_map(candidate).collect();
        if candidates.len() < count {
            self.wake(now, newcomer, group);
        }
        candidates
    }

    pub(super) fn on_seek(&mut self, now: Time, from: MemberId, seek: &Seek) {
        let group = seek.group;
        let members = self.groups.count(group);
        if members > 0
            && let Some(cluster) = &mut self.cluster
        {
            cluster.note_members(group, from, seek.members);
        }
        let count = seek.count.min(self.config.introduce_members);
        // No session of this member has the ID of another's.
        let newcomer = seek.newcomer;
        let candidates = self.candidates(now, group, count, newcomer.0, &seek.except);
        let found = Candidates { group, newcomer, candidates, members };
        self.tell(To::Member(from), Command::Candidates(Box::new(found)));
    }

    pub(super) fn on_candidates(&mut self, now: Time, from: MemberId, found: Candidates) {
        let Candidates { group, newcomer, candidates, members } = found;
        let is_here = self.groups.count(group) > 0;
        let Some(cluster) = &mut self.cluster else { return };
        if is_here {
            cluster.note_members(group, from, members);
        }
        let everybody = cluster.others.len() + 1;
        match self.newcomers.phase(newcomer) {
            Some(Phase::Gathering(gathering)) => {
                gathering.from.insert(from, Source { candidates, members });
                if gathering.from.len() >= everybody {
                    self.gathered(now, newcomer);
                }
            }
            // Too late: the next check asks again, if it is needed.
            Some(_) => {}
            None => {
                let member = |session| ClientId { member: from, session };
                let all = candidates.into_iter().map(|it| (member(it.session), it)).collect();
                self.introduce_to(now, newcomer, all);
            }
        }
    }

    /// The time of a newcomer has come.
    pub(in super::super) fn check_in_cluster(&mut self, now: Time, newcomer: Membership) {
        match self.newcomers.phase(newcomer) {
            None => {}
            Some(Phase::Gathering(_)) => self.gathered(now, newcomer),
            Some(Phase::Asking) => self.judge(now, newcomer),
            Some(Phase::Waiting) => {
                if self.ask_others(now, newcomer) {
                    self.newcomers.enter(newcomer, Phase::Asking, now + ANSWERED);
                } else {
                    self.judge(now, newcomer);
                }
            }
        }
    }

    /// Asks others for those of their clients of which it is not known that they have answered.
    /// False if there are none.
    fn ask_others(&mut self, now: Time, newcomer: Membership) -> bool {
        let own = self.own(newcomer.0).member;
        let open = self.newcomers.unanswered(now, newcomer);
        let mut of_member = BTreeMap::<MemberId, Vec<SessionId>>::new();
        for client in open.into_iter().filter(|client| client.member != own) {
            of_member.entry(client.member).or_default().push(client.session);
        }
        let asks = !of_member.is_empty();
        for (member, sessions) in of_member {
            self.tell(To::Member(member), Command::Ask { newcomer, sessions });
        }
        asks
    }

    pub(super) fn on_ask(&mut self, from: MemberId, newcomer: Membership, sessions: &[SessionId]) {
        let seen = sessions.iter().filter_map(|&session| {
            self.endpoint.session(session).map(|info| (session, info.last_received()))
        });
        let seen = seen.take(MAX_INTRODUCTIONS).collect();
        self.tell(To::Member(from), Command::Seen { newcomer, seen });
    }

    pub(super) fn on_seen(
        &mut self,
        from: MemberId,
        newcomer: Membership,
        seen: &[(SessionId, Time)],
    ) {
        self.newcomers.note_seen(newcomer, from, seen);
    }

    /// Introduces a newcomer to others in place of those that have failed.
    fn judge(&mut self, now: Time, newcomer: Membership) {
        let own = self.own(newcomer.0).member;
        let last_received = |client: ClientId, seen: Option<Time>| match client.member == own {
            true => self.endpoint.session(client.session).map(|info| info.last_received()),
            false => seen,
        };
        let Some((group, good, free)) = self.newcomers.judge(now, newcomer, last_received) else {
            return;
        };
        let count = self.config.introduce_members.saturating_sub(good).min(free);
        if count > 0 {
            self.seek(now, newcomer, group, count);
        } else {
            self.plan(now, newcomer);
        }
    }

    /// Everybody has named candidates, or had the time to.
    fn gathered(&mut self, now: Time, newcomer: Membership) {
        let Some(phase) = self.newcomers.phase(newcomer) else { return };
        let Phase::Gathering(mut gathering) = std::mem::take(phase) else { return };
        let random = &mut self.random;
        let chosen = gathering.choose(&mut |below| random.next_u64() % below);
        if !chosen.is_empty() {
            let introduced = chosen.iter().map(|(client, it)| (*client, Some(it.seen)));
            let introduced: Vec<_> = introduced.collect();
            self.newcomers.note_introductions(now, newcomer, &introduced);
            self.introduce_to(now, newcomer, chosen);
        }
        self.plan(now, newcomer);
    }

    /// Sends a newcomer the members that were chosen, and pings them.
    fn introduce_to(
        &mut self,
        now: Time,
        (session, flow): Membership,
        chosen: Vec<(ClientId, Candidate)>,
    ) {
        let own = self.own(session).member;
        let mut elsewhere = BTreeMap::<MemberId, Vec<SessionId>>::new();
        let mut peers: Vec<Fingerprint> = Vec::new();
        for (client, candidate) in chosen {
            match client.member == own {
                true => self.probe(now, client.session),
                false => elsewhere.entry(client.member).or_default().push(client.session),
            }
            if !peers.contains(&candidate.peer) {
                peers.push(candidate.peer);
            }
        }
        for (member, sessions) in elsewhere {
            self.tell(To::Member(member), Command::Probe { sessions });
        }
        self.send_members(now, session, flow, &peers);
    }

    /// Sets the time of the next check, or ends the follow-up.
    fn plan(&mut self, now: Time, newcomer: Membership) {
        let Some((group, since, checks, good)) = self.newcomers.standing(newcomer) else { return };
        let alone = self.members_everywhere(group) <= 1;
        match CHECKS.get(checks) {
            Some(_) if alone => self.newcomers.forget(newcomer),
            Some(&after) => {
                let next = (since + after).max(now);
                self.newcomers.enter(newcomer, Phase::Waiting, next);
            }
            None if good > 0 || alone => self.newcomers.forget(newcomer),
            None => self.newcomers.begin_again(now, newcomer),
        }
    }

    pub(super) fn on_left_elsewhere(&mut self, from: MemberId, group: GroupId, members: usize) {
        if self.groups.count(group) > 0
            && let Some(cluster) = &mut self.cluster
        {
            cluster.note_members(group, from, members);
        }
    }

    /// A client of this member has left a group.
    pub(in super::super) fn report_leave(&mut self, group: GroupId, members: usize) {
        let Some(cluster) = &mut self.cluster else { return };
        if members == 0 {
            cluster.elsewhere.remove(&group);
        }
        cluster.send(To::Group(group), Command::Left { group, members });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(sessions: std::ops::Range<u32>) -> Vec<Candidate> {
        let at = |session: u32| Time::from_millis(u64::from(session));
        let candidate = |session: u32| Candidate {
            peer: Fingerprint([session as u8; 32]),
            session: SessionId(session),
            joined: at(session),
            seen: at(session),
        };
        sessions.rev().map(candidate).collect()
    }

    fn source(sessions: std::ops::Range<u32>, members: usize) -> Source {
        Source { candidates: candidates(sessions), members }
    }

    #[test]
    fn half_are_the_newest_of_all_and_the_others_are_in_proportion() {
        let mut state = 7u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let mut of_second = 0;
        for _ in 0..1000 {
            let from = [
                (MemberId::worker(0), source(0..12, 900)),
                (MemberId::worker(1), source(100..112, 100)),
                (MemberId::worker(2), source(0..0, 0)),
            ];
            let chosen = Gathering { count: 12, from: from.into() }.choose(&mut draw);
            let newest: Vec<u32> = chosen[..6].iter().map(|(it, _)| it.session.0).collect();
            assert_eq!(newest, [111, 110, 109, 108, 107, 106]);
            assert_eq!(chosen.len(), 12);
            of_second +=
                chosen[6..].iter().filter(|(it, _)| it.member == MemberId::worker(1)).count();
        }
        assert!((500..700).contains(&of_second), "a tenth of 6,000: {of_second}");
    }

    #[test]
    fn few_candidates_are_all_taken() {
        let from = [(MemberId::worker(0), source(0..2, 2)), (MemberId::worker(1), source(5..6, 1))];
        let mut gathering = Gathering { count: 12, from: from.into() };
        let chosen = gathering.choose(&mut |below| below - 1);
        assert_eq!(chosen.len(), 3);
        assert!(gathering.choose(&mut |below| below - 1).is_empty());
    }
}
