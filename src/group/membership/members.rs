//! Known members of the group and their addresses.

use crate::crypto::Fingerprint;
use crate::group::GroupAddress;
use crate::transport::{FarAddress, NamedBy, SessionId, Time};
use crate::wire::{Address, Origin};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Records of this age and above are dropped, in seconds.
pub(super) const MAX_AGE: u64 = 300;

/// An attempt to connect counts as failed after this time.
const ATTEMPT: Duration = Duration::from_secs(120);

/// Reported addresses of a member; further ones are ignored.
const MAX_REPORTED: usize = 3;

/// A member, connected or not.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) address: GroupAddress,
    /// Its address in the latest session with it.
    pub(super) met_at: Option<SocketAddr>,
    /// True if this node's server can introduce it, by its own report.
    pub(super) shares_server: bool,
    /// True if the server introduced it.
    pub(super) introduced: bool,
    /// True if its session was lost or it could not be reached, and there is no news of it since.
    pub(super) lost: bool,
    reported: Option<Reported>,
    attempt: Option<Time>,
    age: u64,
    as_of: Time,
}

/// The addresses of a member as a neighbor reports them; they may be anything.
#[derive(Debug, Clone)]
struct Reported {
    by: SessionId,
    addresses: Vec<SocketAddr>,
}

impl Member {
    fn has_addresses(&self) -> bool {
        self.met_at.is_some() || self.reported.as_ref().is_some_and(|r| !r.addresses.is_empty())
    }

    /// Seconds since its latest message to any member, as far as known.
    pub(super) fn age(&self, now: Time) -> u64 {
        self.age.saturating_add(now.since(self.as_of).as_secs())
    }

    /// True if this node or the server had a session with it, so that it certainly exists.
    pub(super) const fn is_known_first_hand(&self) -> bool {
        self.met_at.is_some() || self.introduced
    }

    /// The addresses to try, each with its source: that of the latest session, then the reported
    /// ones.
    pub(super) fn direct_addresses(&self) -> Vec<FarAddress> {
        let before = self.met_at.map(|address| FarAddress { address, named_by: NamedBy::Before });
        let reported = self.reported.iter().flat_map(|reported| {
            let named_by = NamedBy::Session(reported.by);
            reported.addresses.iter().map(move |&address| FarAddress { address, named_by })
        });
        let new = reported.filter(|reported| Some(reported.address) != self.met_at);
        before.into_iter().chain(new).collect()
    }

    /// The addresses that a neighbor has reported.
    pub(super) fn reported_addresses(&self) -> &[SocketAddr] {
        self.reported.as_ref().map_or(&[], |reported| &reported.addresses)
    }

    /// The session in which it was reported, if nothing else is known of it.
    pub(super) fn only_reported_by(&self) -> Option<SessionId> {
        let reported = self.reported.as_ref().filter(|_| !self.is_known_first_hand())?;
        Some(reported.by)
    }
}

/// The known members, excluding this node.
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

    /// Adds a member that the server or a groupspec names. Known addresses are kept.
    pub(super) fn add_introduced(&mut self, now: Time, peer: Fingerprint) {
        if !self.map.contains_key(&peer) && self.map.len() >= self.max {
            self.drop_oldest(now);
        }
        let member = self.entry(now, peer);
        member.introduced = true;
        member.lost = false;
        (member.age, member.as_of) = (0, now);
    }

    /// Adds a member that has announced itself from this address. That of a session is kept.
    pub(super) fn add_announced(&mut self, now: Time, peer: Fingerprint, address: SocketAddr) {
        if !self.map.contains_key(&peer) && self.map.len() >= self.max {
            self.drop_oldest(now);
        }
        let member = self.entry(now, peer);
        member.lost = false;
        (member.age, member.as_of) = (0, now);
        member.met_at.get_or_insert(address);
    }

    /// A message from the member itself has arrived, in a session with `address`.
    pub(super) fn confirm(&mut self, now: Time, peer: Fingerprint, address: SocketAddr) {
        let member = self.entry(now, peer);
        (member.age, member.as_of) = (0, now);
        member.lost = false;
        member.met_at = Some(address);
    }

    /// A session with `address` to this member is open. Ignored if the member is not known.
    pub(super) fn set_met_at(&mut self, peer: &Fingerprint, address: SocketAddr) {
        if let Some(member) = self.map.get_mut(peer) {
            member.met_at = Some(address);
        }
    }

    /// Records if the server can introduce the member, by its own report.
    pub(super) fn set_shares_server(&mut self, peer: &Fingerprint, shares_server: bool) {
        if let Some(member) = self.map.get_mut(peer) {
            member.shares_server = shares_server;
        }
    }

    /// Adds a member that a neighbor reports in the session `by`. Ignored if the record is too old
    /// or not newer than the known one, or if the table is full.
    pub(super) fn add_reported(
        &mut self,
        now: Time,
        peer: Fingerprint,
        age: u64,
        by: SessionId,
        addresses: &[Address],
    ) {
        if age >= MAX_AGE {
            return;
        }
        let known = self.map.get(&peer);
        if known.is_some_and(|m| m.age(now) <= age && m.has_addresses()) {
            return;
        }
        if known.is_none() && self.map.len() >= self.max && !self.drop_reported(now, by) {
            return;
        }
        let member = self.entry(now, peer);
        member.lost &= member.age(now) <= age;
        (member.age, member.as_of) = (age.min(member.age(now)), now);
        // A server's addresses are useful only to clients of that server.
        let direct = addresses.iter().filter(|a| a.origin != Origin::Relay).map(|a| a.socket);
        let addresses: Vec<_> = direct.filter(is_plausible).take(MAX_REPORTED).collect();
        if !addresses.is_empty() || member.reported.is_none() {
            member.reported = Some(Reported { by, addresses });
        }
    }

    /// Begins an attempt to connect. `false` if there is one already, or the member is not known.
    pub(super) fn begin_attempt(&mut self, now: Time, peer: &Fingerprint) -> bool {
        let Some(member) = self.map.get_mut(peer) else { return false };
        let pending = member.attempt.is_some_and(|at| now.since(at) < ATTEMPT);
        if !pending {
            member.attempt = Some(now);
        }
        !pending
    }

    /// The member cannot be reached now.
    pub(super) fn set_lost(&mut self, peer: &Fingerprint) {
        if let Some(member) = self.map.get_mut(peer) {
            member.lost = true;
        }
    }

    pub(super) fn end_attempt(&mut self, peer: &Fingerprint) {
        if let Some(member) = self.map.get_mut(peer) {
            member.attempt = None;
        }
    }

    /// Drops members whose records are too old, except those for which `keep` is true.
    pub(super) fn expire(&mut self, now: Time, keep: impl Fn(&Fingerprint) -> bool) {
        self.map.retain(|peer, member| member.age(now) < MAX_AGE || keep(peer));
    }

    fn entry(&mut self, now: Time, peer: Fingerprint) -> &mut Member {
        self.map.entry(peer).or_insert_with(|| Member {
            address: GroupAddress::of(&peer),
            met_at: None,
            shares_server: false,
            introduced: false,
            lost: false,
            reported: None,
            attempt: None,
            age: MAX_AGE,
            as_of: now,
        })
    }

    /// Drops the oldest of the members that are known only by reports of the neighbor that has
    /// reported most of these: who reports members that do not exist displaces no others. `false` if
    /// there are none.
    fn drop_reported(&mut self, now: Time, by: SessionId) -> bool {
        let only_reported = |member: &Member| match &member.reported {
            Some(reported) if !member.is_known_first_hand() => Some(reported.by),
            _ => None,
        };
        let mut counts: BTreeMap<SessionId, usize> = BTreeMap::new();
        for reporter in self.map.values().filter_map(only_reported) {
            *counts.entry(reporter).or_default() += 1;
        }
        // Among equals it is the present one, whose next record would otherwise displace another's.
        let most = counts.iter().max_by_key(|&(&reporter, &count)| (count, reporter == by));
        let Some((&most, _)) = most else { return false };
        let of_most = self.map.iter().filter(|(_, member)| only_reported(member) == Some(most));
        let oldest = of_most.max_by_key(|(_, member)| member.age(now)).map(|(&peer, _)| peer);
        oldest.and_then(|peer| self.map.remove(&peer)).is_some()
    }

    fn drop_oldest(&mut self, now: Time) {
        let oldest = self.map.iter().max_by_key(|(_, m)| m.age(now)).map(|(&peer, _)| peer);
        oldest.and_then(|peer| self.map.remove(&peer));
    }
}

/// True if a packet can be sent to this address at all.
pub(super) fn is_plausible(address: &SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, std::net::IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::{MAX_REPORTED, Members};
    use crate::crypto::Fingerprint;
    use crate::transport::{NamedBy, SessionId, Time};
    use crate::wire::{Address, Origin};
    use std::net::SocketAddr;

    fn peer(n: u8) -> Fingerprint {
        Fingerprint([n; 32])
    }

    const NEIGHBOR: SessionId = SessionId(7);

    fn socket(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    fn at(port: u16) -> [Address; 1] {
        [Address::new(socket(port), Origin::Reflexive)]
    }

    fn direct(members: &Members, n: u8) -> Vec<SocketAddr> {
        members.get(&peer(n)).unwrap().direct_addresses().iter().map(|a| a.address).collect()
    }

    #[test]
    fn fresher_knowledge_wins() {
        let mut members = Members::new(10);
        members.add_reported(Time::ZERO, peer(1), 400, NEIGHBOR, &at(1));
        assert_eq!(members.len(), 0, "too old");
        members.add_reported(Time::ZERO, peer(1), 20, NEIGHBOR, &at(1));
        members.add_reported(Time::ZERO, peer(1), 30, NEIGHBOR, &at(2));
        assert_eq!(direct(&members, 1), [socket(1)]);
        members.add_reported(Time::ZERO, peer(1), 10, NEIGHBOR, &at(3));
        assert_eq!(direct(&members, 1), [socket(3)]);
        let later = Time::from_millis(5_000);
        assert_eq!(members.get(&peer(1)).unwrap().age(later), 15);
        members.confirm(later, peer(1), socket(4));
        assert_eq!(members.get(&peer(1)).unwrap().age(later), 0);
        assert_eq!(direct(&members, 1), [socket(4), socket(3)], "first where it was met");
    }

    #[test]
    fn the_source_of_an_address_is_kept() {
        let mut members = Members::new(10);
        members.add_reported(Time::ZERO, peer(1), 1, NEIGHBOR, &at(1));
        let member = members.get(&peer(1)).unwrap();
        assert_eq!(member.only_reported_by(), Some(NEIGHBOR));
        assert!(!member.is_known_first_hand());
        members.set_met_at(&peer(1), socket(2));
        let member = members.get(&peer(1)).unwrap();
        assert_eq!(member.only_reported_by(), None);
        let named: Vec<_> = member.direct_addresses().iter().map(|a| a.named_by).collect();
        assert_eq!(named, [NamedBy::Before, NamedBy::Session(NEIGHBOR)]);
    }

    #[test]
    fn members_expire_unless_kept() {
        let mut members = Members::new(10);
        members.add_introduced(Time::ZERO, peer(1));
        members.add_introduced(Time::ZERO, peer(2));
        members.expire(Time::from_millis(299_000), |_| false);
        assert_eq!(members.len(), 2);
        members.expire(Time::from_millis(300_000), |p| *p == peer(2));
        assert_eq!(members.iter().map(|(p, _)| *p).collect::<Vec<_>>(), [peer(2)]);
    }

    #[test]
    fn a_flood_of_reported_members_is_bounded() {
        let mut members = Members::new(3);
        for n in 0..100 {
            members.add_reported(Time::ZERO, peer(n), 10, NEIGHBOR, &at(n.into()));
        }
        assert_eq!(members.len(), 3);
        members.add_introduced(Time::ZERO, peer(200));
        assert_eq!(members.len(), 3);
        assert!(members.get(&peer(200)).is_some(), "the server is believed");
    }

    #[test]
    fn a_flood_of_one_neighbor_displaces_its_own_members_only() {
        let mut members = Members::new(40);
        let (honest, hostile) = (SessionId(1), SessionId(2));
        for n in 0..10 {
            members.add_reported(Time::ZERO, peer(n), 10, honest, &at(n.into()));
        }
        for n in 50..200 {
            members.add_reported(Time::ZERO, peer(n), 0, hostile, &at(n.into()));
        }
        assert_eq!(members.len(), 40);
        assert!((0..10).all(|n| members.get(&peer(n)).is_some()));
        // And what the honest one reports finds a place.
        for n in 10..20 {
            members.add_reported(Time::ZERO, peer(n), 10, honest, &at(n.into()));
        }
        assert!((0..20).all(|n| members.get(&peer(n)).is_some()));
        assert_eq!(members.len(), 40);
    }

    #[test]
    fn one_attempt_at_a_time() {
        let mut members = Members::new(3);
        assert!(!members.begin_attempt(Time::ZERO, &peer(1)));
        members.add_introduced(Time::ZERO, peer(1));
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
        members.add_reported(Time::ZERO, peer(1), 1, NEIGHBOR, &all);
        assert_eq!(direct(&members, 1), ["10.0.0.2:5".parse().unwrap()]);
        let many: Vec<_> = (1..9).flat_map(at).collect();
        members.add_reported(Time::ZERO, peer(2), 1, NEIGHBOR, &many);
        assert_eq!(direct(&members, 2).len(), MAX_REPORTED);
    }
}
