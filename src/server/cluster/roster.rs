//! The other servers of the cluster, by their signs of life, and how much each has to do. Without IO.

use super::frame::Beat;
use crate::rendezvous::cluster::MemberId;
use crate::transport::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// How often a server gives a sign of life.
pub(super) const BEAT_PERIOD: Duration = Duration::from_secs(1);
/// A server that has given none for this long is gone.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(3);
/// Other servers at most; further ones are ignored.
const MAX_SERVERS: usize = 64;

/// A server sends newcomers elsewhere when it has more clients than its part and a fifth of it, and
/// these more: those that come between two signs of life.
const TOLERANCE: u128 = 5;
const SLACK: u128 = 16;
/// Addresses to which newcomers are sent.
const MAX_NAMED: usize = 8;

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A server has come.
    Joined(u32),
    /// A server has stopped, or is gone.
    Gone(u32),
}

#[derive(Debug)]
pub(super) struct Roster {
    own: u32,
    servers: BTreeMap<u32, (Beat, Time)>,
}

impl Roster {
    /// What the server with this number knows.
    pub(super) fn new(own: u32) -> Self {
        Self { own, servers: BTreeMap::new() }
    }

    /// A server has given a sign of life.
    pub(super) fn heard(&mut self, now: Time, server: u32, beat: Beat) -> Option<Change> {
        let is_new = !self.servers.contains_key(&server);
        if server == self.own || (is_new && self.servers.len() >= MAX_SERVERS) {
            return None;
        }
        self.servers.insert(server, (beat, now));
        is_new.then_some(Change::Joined(server))
    }

    /// A server has said that it stops.
    pub(super) fn left(&mut self, server: u32) -> Option<Change> {
        self.servers.remove(&server).map(|_| Change::Gone(server))
    }

    /// The servers that have given no sign of life for too long.
    pub(super) fn expire(&mut self, now: Time) -> Vec<Change> {
        let gone = |(_, (_, heard)): &(&u32, &mut (Beat, Time))| now.since(*heard) >= GONE_AFTER;
        let gone = self.servers.iter_mut().filter(gone).map(|(&server, _)| server);
        let gone: Vec<u32> = gone.collect();
        gone.into_iter().filter_map(|server| self.left(server)).collect()
    }

    pub(super) fn knows(&self, server: u32) -> bool {
        self.servers.contains_key(&server)
    }

    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    /// Where newcomers are to be sent: to servers that have fewer clients than their part, if this one
    /// has clearly more than its own. A server's part is in proportion to the sessions that it may
    /// have.
    pub(super) fn less_busy(&self, clients: u32, limit: u32) -> Vec<SocketAddr> {
        let others = || self.servers.values().map(|(beat, _)| beat);
        let all = others().map(|beat| (u64::from(beat.clients), u64::from(beat.limit)));
        let own = (u64::from(clients), u64::from(limit));
        let (sum, limits) = all.fold(own, |sum, of| (sum.0 + of.0, sum.1 + of.1));
        let part = |limit: u32| u128::from(sum) * u128::from(limit) / u128::from(limits.max(1));
        let own_part = part(limit);
        let is_busy = u128::from(clients) > own_part + own_part / TOLERANCE + SLACK;
        let mut less: Vec<&Beat> = others()
            .filter(|beat| is_busy && u128::from(beat.clients) < part(beat.limit))
            .collect();
        // The least busy of them first, in proportion.
        less.sort_by(|a, b| {
            let of = |beat: &Beat, other: &Beat| u64::from(beat.clients) * u64::from(other.limit);
            of(a, b).cmp(&of(b, a))
        });
        less.iter().flat_map(|beat| beat.addresses.iter().copied()).take(MAX_NAMED).collect()
    }

    /// The members of all other servers.
    pub(super) fn members(&self) -> BTreeSet<MemberId> {
        let of_server = |(&server, (beat, _)): (&u32, &(Beat, Time))| {
            (0..beat.workers).map(move |worker| MemberId { server, worker })
        };
        self.servers.iter().flat_map(of_server).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 1;

    fn beat(workers: u16) -> Beat {
        Beat { workers, clients: 0, limit: 100, addresses: Vec::new() }
    }

    fn busy(clients: u32, limit: u32, host: u8) -> Beat {
        Beat { workers: 1, clients, limit, addresses: vec![([192, 0, 2, host], 1935).into()] }
    }

    #[test]
    fn newcomers_are_sent_to_those_that_have_fewer_than_their_part() {
        let mut roster = Roster::new(OWN);
        assert_eq!(roster.less_busy(50, 100), [], "there is nobody else");
        for (server, clients) in [(2, 100), (3, 20), (4, 10)] {
            assert!(roster.heard(at(0), server, busy(clients, 1000, server as u8)).is_some());
        }
        let named = |clients, limit| {
            let named = roster.less_busy(clients, limit);
            named.iter().map(|it| it.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(named(70, 1000), [""; 0], "about its part, which is 50");
        assert_eq!(named(110, 1000), ["192.0.2.4:1935", "192.0.2.3:1935"]);
        assert_eq!(named(110, 4000), [""; 0], "it may have four times as many sessions");
        assert_eq!(roster.less_busy(u32::MAX, u32::MAX), roster.less_busy(u32::MAX, u32::MAX));
        assert_eq!(roster.less_busy(9, 0), []);
    }

    /// However many there are and whatever they have: no server to which another sends newcomers sends
    /// them on.
    #[test]
    fn nobody_is_sent_round_in_circles() {
        let mut state = 9u32;
        let mut draw = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for _ in 0..500 {
            let servers: Vec<_> = (1..=5u8).map(|it| busy(draw(500), 1 + draw(1000), it)).collect();
            let named_by = |own: usize| {
                let mut roster = Roster::new(own as u32);
                for (number, beat) in servers.iter().enumerate().filter(|it| it.0 != own) {
                    let _ = roster.heard(at(0), number as u32, beat.clone());
                }
                roster.less_busy(servers[own].clients, servers[own].limit)
            };
            for own in 0..5 {
                for address in named_by(own) {
                    let named = servers.iter().position(|it| it.addresses[0] == address).unwrap();
                    assert_eq!(named_by(named), [], "{servers:?}");
                }
            }
        }
    }

    fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1000)
    }

    #[test]
    fn servers_come_and_go() {
        let mut roster = Roster::new(OWN);
        assert_eq!(roster.heard(at(0), OWN, beat(1)), None, "itself");
        assert_eq!(roster.heard(at(0), 2, beat(2)), Some(Change::Joined(2)));
        assert_eq!(roster.heard(at(1), 3, beat(1)), Some(Change::Joined(3)));
        assert_eq!(roster.heard(at(1), 2, beat(2)), None);
        let members = [(2, 0), (2, 1), (3, 0)];
        let members = members.map(|(server, worker)| MemberId { server, worker });
        assert_eq!(roster.members(), members.into());
        assert_eq!(roster.heard(at(3), 3, beat(1)), None);
        assert_eq!(roster.expire(at(3)), []);
        assert_eq!(roster.expire(at(4)), [Change::Gone(2)]);
        assert_eq!(roster.left(3), Some(Change::Gone(3)));
        assert_eq!(roster.left(3), None);
        assert_eq!(roster.len(), 0);
    }

    #[test]
    fn hostile_floods_of_servers_are_bounded() {
        let mut roster = Roster::new(OWN);
        for server in 2..200 {
            let _ = roster.heard(at(0), server, beat(1));
        }
        assert_eq!(roster.len(), MAX_SERVERS);
        assert!(!roster.knows(199));
    }
}
