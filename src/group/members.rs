//! Who is known to be in the group, and where.

use super::GroupAddress;
use super::message::report::MAX_ADDRESSES;
use crate::crypto::Fingerprint;
use crate::transport::Time;
use crate::wire::{Address, Origin};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Knowledge older than this is worth nothing, in seconds.
pub(super) const MAX_AGE: u64 = 300;

/// An attempt to connect that has not come to an end by now has been forgotten by the owner.
const ATTEMPT: Duration = Duration::from_secs(120);

/// A member, connected or not.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) address: GroupAddress,
    /// As its neighbours report them, in that order.
    pub(super) addresses: Vec<Address>,
    /// The server introduced it.
    pub(super) introduced: bool,
    attempt: Option<Time>,
    age: u64,
    as_of: Time,
}

impl Member {
    /// Seconds since someone heard from it.
    pub(super) fn age(&self, now: Time) -> u64 {
        self.age.saturating_add(now.since(self.as_of).as_secs())
    }

    /// Where to try it: its addresses except those of a server.
    pub(super) fn direct_addresses(&self) -> Vec<SocketAddr> {
        let direct = self.addresses.iter().filter(|a| a.origin != Origin::Relay);
        direct.map(|a| a.socket).filter(is_plausible).collect()
    }
}

/// The known members, without this node.
#[derive(Debug)]
pub(super) struct Members {
    map: BTreeMap<Fingerprint, Member>,
    max: usize,
}

impl Members {
    pub(super) fn new(max: usize) -> Self {
        Self { map: BTreeMap::new(), max }
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn get(&self, peer: &Fingerprint) -> Option<&Member> {
        self.map.get(peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Fingerprint, &Member)> {
        self.map.iter()
    }

    /// The server or a groupspec names a member. Known addresses stay.
    pub(super) fn introduce(&mut self, now: Time, peer: Fingerprint) {
        if !self.map.contains_key(&peer) && self.map.len() >= self.max {
            self.forget_oldest(now);
        }
        let member = self.entry(now, peer);
        member.introduced = true;
        (member.age, member.as_of) = (0, now);
    }

    /// A neighbour speaks for itself; `addresses` are its own if it said any.
    pub(super) fn hear(&mut self, now: Time, peer: Fingerprint, addresses: Vec<Address>) {
        let member = self.entry(now, peer);
        (member.age, member.as_of) = (0, now);
        if !addresses.is_empty() {
            member.addresses = addresses;
        }
    }

    /// A neighbour reports a member. Ignored if it is too old, not newer than what is known, or if the
    /// table is full.
    pub(super) fn learn(
        &mut self,
        now: Time,
        peer: Fingerprint,
        age: u64,
        addresses: Vec<Address>,
    ) {
        if age >= MAX_AGE {
            return;
        }
        let known = self.map.get(&peer);
        let full = known.is_none() && self.map.len() >= self.max;
        if full || known.is_some_and(|m| m.age(now) <= age && !m.addresses.is_empty()) {
            return;
        }
        let member = self.entry(now, peer);
        (member.age, member.as_of) = (age.min(member.age(now)), now);
        if !addresses.is_empty() {
            member.addresses = addresses.into_iter().take(MAX_ADDRESSES).collect();
        }
    }

    /// Whether to try to connect now; takes note that it is being tried.
    pub(super) fn begin_attempt(&mut self, now: Time, peer: &Fingerprint) -> bool {
        let Some(member) = self.map.get_mut(peer) else { return false };
        let pending = member.attempt.is_some_and(|at| now.since(at) < ATTEMPT);
        if !pending {
            member.attempt = Some(now);
        }
        !pending
    }

    pub(super) fn end_attempt(&mut self, peer: &Fingerprint) {
        if let Some(member) = self.map.get_mut(peer) {
            member.attempt = None;
        }
    }

    /// Forgets who has not been heard of for long, except `keep`.
    pub(super) fn expire(&mut self, now: Time, keep: impl Fn(&Fingerprint) -> bool) {
        self.map.retain(|peer, member| member.age(now) < MAX_AGE || keep(peer));
    }

    fn entry(&mut self, now: Time, peer: Fingerprint) -> &mut Member {
        self.map.entry(peer).or_insert_with(|| Member {
            address: GroupAddress::of(&peer),
            addresses: Vec::new(),
            introduced: false,
            attempt: None,
            age: MAX_AGE,
            as_of: now,
        })
    }

    fn forget_oldest(&mut self, now: Time) {
        let oldest = self.map.iter().max_by_key(|(_, m)| m.age(now)).map(|(&peer, _)| peer);
        oldest.and_then(|peer| self.map.remove(&peer));
    }
}

/// Whether a packet can be sent there at all.
pub(super) fn is_plausible(address: &SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, std::net::IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> Fingerprint {
        Fingerprint([n; 32])
    }

    fn address(port: u16) -> Address {
        Address::new(([10, 0, 0, 1], port).into(), Origin::Reflexive)
    }

    #[test]
    fn fresher_knowledge_wins() {
        let mut members = Members::new(10);
        members.learn(Time::ZERO, peer(1), 400, vec![address(1)]);
        assert_eq!(members.len(), 0, "too old");
        members.learn(Time::ZERO, peer(1), 20, vec![address(1)]);
        members.learn(Time::ZERO, peer(1), 30, vec![address(2)]);
        assert_eq!(members.get(&peer(1)).unwrap().addresses, [address(1)]);
        members.learn(Time::ZERO, peer(1), 10, vec![address(3)]);
        assert_eq!(members.get(&peer(1)).unwrap().addresses, [address(3)]);
        let later = Time::from_millis(5_000);
        assert_eq!(members.get(&peer(1)).unwrap().age(later), 15);
        members.hear(later, peer(1), Vec::new());
        assert_eq!(members.get(&peer(1)).unwrap().age(later), 0);
        assert_eq!(members.get(&peer(1)).unwrap().addresses, [address(3)]);
    }

    #[test]
    fn members_expire_unless_kept() {
        let mut members = Members::new(10);
        members.introduce(Time::ZERO, peer(1));
        members.introduce(Time::ZERO, peer(2));
        members.expire(Time::from_millis(299_000), |_| false);
        assert_eq!(members.len(), 2);
        members.expire(Time::from_millis(300_000), |p| *p == peer(2));
        assert_eq!(members.iter().map(|(p, _)| *p).collect::<Vec<_>>(), [peer(2)]);
    }

    #[test]
    fn a_flood_of_reported_members_is_bounded() {
        let mut members = Members::new(3);
        for n in 0..100 {
            members.learn(Time::ZERO, peer(n), 10, vec![address(n.into())]);
        }
        assert_eq!(members.len(), 3);
        members.introduce(Time::ZERO, peer(200));
        assert_eq!(members.len(), 3);
        assert!(members.get(&peer(200)).is_some(), "the server is believed");
    }

    #[test]
    fn one_attempt_at_a_time() {
        let mut members = Members::new(3);
        assert!(!members.begin_attempt(Time::ZERO, &peer(1)));
        members.introduce(Time::ZERO, peer(1));
        assert!(members.begin_attempt(Time::ZERO, &peer(1)));
        assert!(!members.begin_attempt(Time::from_millis(60_000), &peer(1)));
        assert!(members.begin_attempt(Time::from_millis(130_000), &peer(1)));
        members.end_attempt(&peer(1));
        assert!(members.begin_attempt(Time::from_millis(130_000), &peer(1)));
    }

    #[test]
    fn hostile_addresses_are_not_tried() {
        let mut members = Members::new(3);
        let all = ["0.0.0.0:5", "224.0.0.1:5", "255.255.255.255:5", "10.0.0.1:0", "10.0.0.2:5"];
        let all = all.map(|a| Address::new(a.parse().unwrap(), Origin::Reflexive));
        members.learn(Time::ZERO, peer(1), 1, all.to_vec());
        let direct = members.get(&peer(1)).unwrap().direct_addresses();
        assert_eq!(direct, ["10.0.0.2:5".parse().unwrap()]);
    }
}
