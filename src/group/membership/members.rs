//! Known members of the group and their addresses.

use crate::crypto::Fingerprint;
use crate::group::GroupAddress;
use crate::transport::{FarAddress, NamedBy, SessionId, Time};
use crate::wire::{Address, Origin};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

/// Records of this age and above are dropped, in seconds.
pub(super) const MAX_AGE: u64 = 300;

/// An attempt to connect counts as failed after this time.
const ATTEMPT: Duration = Duration::from_secs(120);

/// For how long a member from which this node has parted is not chosen for its low round-trip time
/// or at random.
const PARTED: Duration = Duration::from_secs(600);

/// Reported addresses of a member; further ones are ignored.
const MAX_REPORTED: usize = 3;

const MICROS: i64 = 1_000_000;

/// A member, connected or not.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) peer: Fingerprint,
    /// Its address in the latest session with it.
    pub(super) met_at: Option<SocketAddr>,
    /// True if this node's server can introduce it, by its own report.
    pub(super) shares_server: bool,
    /// True if the server introduced it.
    pub(super) introduced: bool,
    /// True if its session was lost or it could not be reached, and there is no news of it since.
    pub(super) lost: bool,
    /// True while it is a connected neighbor.
    pub(super) is_neighbor: bool,
    reported: Option<Reported>,
    attempt: Option<Time>,
    /// When this node and it have agreed to part.
    parted: Option<Time>,
    /// When its latest message arrived at any member, as far as known: microseconds on the clock of
    /// [`Time`], negative before its begin.
    latest: i64,
}

/// The addresses of a member as a neighbor reports them; they may be anything.
#[derive(Debug, Clone)]
struct Reported {
    by: SessionId,
    addresses: Box<[SocketAddr]>,
}

impl Member {
    fn has_addresses(&self) -> bool {
        self.met_at.is_some() || self.reported.as_ref().is_some_and(|r| !r.addresses.is_empty())
    }

    /// Seconds since its latest message to any member, as far as known.
    pub(super) fn age(&self, now: Time) -> u64 {
        let micros = micros(now).saturating_sub(self.latest);
        u64::try_from(micros / MICROS).unwrap_or(0)
    }

    /// True if the latest news of it is not too old.
    pub(super) fn is_fresh(&self, now: Time) -> bool {
        self.age(now) < MAX_AGE
    }

    /// True if this node has parted from it not long ago.
    pub(super) fn has_parted(&self, now: Time) -> bool {
        self.parted.is_some_and(|at| now.since(at) < PARTED)
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
    /// By their places on the ring.
    ring: BTreeMap<GroupAddress, Member>,
    addresses: HashMap<Fingerprint, GroupAddress>,
    /// Those that are known only by reports, by the session of the reporter, the oldest first.
    reported: BTreeMap<SessionId, BTreeSet<(i64, GroupAddress)>>,
    /// How many are lost.
    lost: usize,
    max: usize,
}

impl Members {
    pub(super) fn new(max: usize) -> Self {
        Self {
            ring: BTreeMap::new(),
            addresses: HashMap::new(),
            reported: BTreeMap::new(),
            lost: 0,
            max,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn get(&self, peer: &Fingerprint) -> Option<&Member> {
        self.ring.get(self.addresses.get(peer)?)
    }

    /// All of them by their addresses.
    pub(super) const fn ring(&self) -> &BTreeMap<GroupAddress, Member> {
        &self.ring
    }

    /// True if any of them is lost.
    pub(super) const fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Adds a member that the server or a groupspec names. Known addresses are kept.
    pub(super) fn add_introduced(&mut self, now: Time, peer: Fingerprint) {
        self.make_place(&peer);
        self.change(now, peer, |member| {
            member.introduced = true;
            member.lost = false;
            member.latest = micros(now);
        });
    }

    /// Adds a member that has announced itself from this address. That of a session is kept.
    pub(super) fn add_announced(&mut self, now: Time, peer: Fingerprint, address: SocketAddr) {
        self.make_place(&peer);
        self.change(now, peer, |member| {
            member.lost = false;
            member.latest = micros(now);
            member.met_at.get_or_insert(address);
        });
    }

    /// A message from the member itself has arrived, in a session with `address`.
    pub(super) fn confirm(&mut self, now: Time, peer: Fingerprint, address: SocketAddr) {
        self.change(now, peer, |member| {
            member.latest = micros(now);
            member.lost = false;
            member.met_at = Some(address);
        });
    }

    /// A session with `address` to this member is open. Ignored if the member is not known.
    pub(super) fn set_met_at(&mut self, peer: &Fingerprint, address: SocketAddr) {
        self.change_known(peer, |member| member.met_at = Some(address));
    }

    /// Records if the server can introduce the member, by its own report.
    pub(super) fn set_shares_server(&mut self, peer: &Fingerprint, shares_server: bool) {
        self.change_known(peer, |member| member.shares_server = shares_server);
    }

    /// Records if the member is a connected neighbor; one that is has a place in any case.
    pub(super) fn set_neighbor(&mut self, now: Time, peer: Fingerprint, is_neighbor: bool) {
        if is_neighbor {
            self.change(now, peer, |member| member.is_neighbor = true);
        } else {
            self.change_known(&peer, |member| member.is_neighbor = false);
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
        addresses: impl Iterator<Item = Address>,
    ) {
        if age >= MAX_AGE {
            return;
        }
        let known = self.get(&peer);
        if known.is_some_and(|m| m.age(now) <= age && m.has_addresses()) {
            return;
        }
        if known.is_none() && self.len() >= self.max && !self.drop_reported(by) {
            return;
        }
        self.change(now, peer, |member| {
            let before = member.age(now);
            member.lost &= before <= age;
            member.latest = micros(now) - age.min(before) as i64 * MICROS;
            // A server's addresses are useful only to clients of that server.
            let direct = addresses.filter(|a| a.origin != Origin::Relay).map(|a| a.socket);
            let addresses: Box<[_]> = direct.filter(is_plausible).take(MAX_REPORTED).collect();
            if !addresses.is_empty() || member.reported.is_none() {
                member.reported = Some(Reported { by, addresses });
            }
        });
    }

    /// Begins an attempt to connect. `false` if there is one already, or the member is not known.
    pub(super) fn begin_attempt(&mut self, now: Time, peer: &Fingerprint) -> bool {
        let begin = |member: &mut Member| {
            let pending = member.attempt.is_some_and(|at| now.since(at) < ATTEMPT);
            if !pending {
                member.attempt = Some(now);
            }
            !pending
        };
        self.change_known(peer, begin).unwrap_or(false)
    }

    /// The member cannot be reached now.
    pub(super) fn set_lost(&mut self, peer: &Fingerprint) {
        self.change_known(peer, |member| member.lost = true);
    }

    /// The member and this node do not need each other.
    pub(super) fn set_parted(&mut self, now: Time, peer: &Fingerprint) {
        self.change_known(peer, |member| member.parted = Some(now));
    }

    pub(super) fn end_attempt(&mut self, peer: &Fingerprint) {
        self.change_known(peer, |member| member.attempt = None);
    }

    /// Drops members whose records are too old, except those for which `keep` is true.
    pub(super) fn expire(&mut self, now: Time, keep: impl Fn(&Fingerprint) -> bool) {
        let is_old = |(_, member): &(&GroupAddress, &Member)| {
            !member.is_fresh(now) && !member.is_neighbor && !keep(&member.peer)
        };
        let old: Vec<_> = self.ring.iter().filter(is_old).map(|(address, _)| *address).collect();
        for address in old {
            self.remove(&address);
        }
    }

    /// Adds a member of which nothing is known yet.
    pub(super) fn add(&mut self, now: Time, peer: Fingerprint) {
        self.change(now, peer, |_| {});
    }

    /// Removes a member.
    pub(super) fn forget(&mut self, peer: &Fingerprint) {
        if let Some(address) = self.addresses.get(peer).copied() {
            self.remove(&address);
        }
    }

    /// Changes a member, which is added if it is not known.
    fn change(&mut self, now: Time, peer: Fingerprint, change: impl FnOnce(&mut Member)) {
        let address = *self.addresses.entry(peer).or_insert_with(|| GroupAddress::of(&peer));
        self.ring.entry(address).or_insert_with(|| Member {
            peer,
            met_at: None,
            shares_server: false,
            introduced: false,
            lost: false,
            is_neighbor: false,
            reported: None,
            attempt: None,
            parted: None,
            latest: micros(now) - MAX_AGE as i64 * MICROS,
        });
        self.change_at(&address, change);
    }

    fn change_known<T>(
        &mut self,
        peer: &Fingerprint,
        change: impl FnOnce(&mut Member) -> T,
    ) -> Option<T> {
        let address = *self.addresses.get(peer)?;
        self.change_at(&address, change)
    }

    /// Changes a member, and its place among the reported ones with it.
    fn change_at<T>(
        &mut self,
        address: &GroupAddress,
        change: impl FnOnce(&mut Member) -> T,
    ) -> Option<T> {
        let member = self.ring.get_mut(address)?;
        let place = |member: &Member| Some((member.only_reported_by()?, member.latest));
        let (before, was_lost) = (place(member), member.lost);
        let result = change(member);
        let after = place(member);
        self.lost = self.lost + usize::from(member.lost) - usize::from(was_lost);
        if before != after {
            self.leave_reported(before, address);
            if let Some((by, latest)) = after {
                self.reported.entry(by).or_default().insert((latest, *address));
            }
        }
        Some(result)
    }

    fn leave_reported(&mut self, place: Option<(SessionId, i64)>, address: &GroupAddress) {
        let Some((by, latest)) = place else { return };
        if let Some(of_reporter) = self.reported.get_mut(&by) {
            of_reporter.remove(&(latest, *address));
            if of_reporter.is_empty() {
                self.reported.remove(&by);
            }
        }
    }

    fn remove(&mut self, address: &GroupAddress) -> bool {
        let Some(member) = self.ring.remove(address) else { return false };
        self.addresses.remove(&member.peer);
        self.lost -= usize::from(member.lost);
        let place = member.only_reported_by().map(|by| (by, member.latest));
        self.leave_reported(place, address);
        true
    }

    /// Drops the oldest of the members that are known only by reports of the neighbor that has
    /// reported most of these: who reports members that do not exist displaces no others. `false` if
    /// there are none.
    fn drop_reported(&mut self, by: SessionId) -> bool {
        // Among equals it is the present one, whose next record would otherwise displace another's.
        let rank = |&(reporter, of): &(&SessionId, &BTreeSet<_>)| (of.len(), *reporter == by);
        let most = self.reported.iter().max_by_key(rank);
        let oldest = most.and_then(|(_, of)| of.first()).map(|(_, address)| *address);
        oldest.is_some_and(|address| self.remove(&address))
    }

    /// Drops the oldest of all if a new one has no place, but no neighbor.
    fn make_place(&mut self, peer: &Fingerprint) {
        if self.addresses.contains_key(peer) || self.len() < self.max {
            return;
        }
        let others = self.ring.iter().filter(|(_, member)| !member.is_neighbor);
        let oldest = others.min_by_key(|(_, m)| m.latest).map(|(address, _)| *address);
        oldest.map(|address| self.remove(&address));
    }
}

fn micros(time: Time) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
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
        members.add_reported(Time::ZERO, peer(1), 400, NEIGHBOR, at(1).into_iter());
        assert_eq!(members.len(), 0, "too old");
        members.add_reported(Time::ZERO, peer(1), 20, NEIGHBOR, at(1).into_iter());
        members.add_reported(Time::ZERO, peer(1), 30, NEIGHBOR, at(2).into_iter());
        assert_eq!(direct(&members, 1), [socket(1)]);
        members.add_reported(Time::ZERO, peer(1), 10, NEIGHBOR, at(3).into_iter());
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
        members.add_reported(Time::ZERO, peer(1), 1, NEIGHBOR, at(1).into_iter());
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
        assert_eq!(members.ring().values().map(|m| m.peer).collect::<Vec<_>>(), [peer(2)]);
    }

    #[test]
    fn a_flood_of_reported_members_is_bounded() {
        let mut members = Members::new(3);
        for n in 0..100 {
            members.add_reported(Time::ZERO, peer(n), 10, NEIGHBOR, at(n.into()).into_iter());
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
            members.add_reported(Time::ZERO, peer(n), 10, honest, at(n.into()).into_iter());
        }
        for n in 50..200 {
            members.add_reported(Time::ZERO, peer(n), 0, hostile, at(n.into()).into_iter());
        }
        assert_eq!(members.len(), 40);
        assert!((0..10).all(|n| members.get(&peer(n)).is_some()));
        // And what the honest one reports finds a place.
        for n in 10..20 {
            members.add_reported(Time::ZERO, peer(n), 10, honest, at(n.into()).into_iter());
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
        members.add_reported(Time::ZERO, peer(1), 1, NEIGHBOR, all.into_iter());
        assert_eq!(direct(&members, 1), ["10.0.0.2:5".parse().unwrap()]);
        let many: Vec<_> = (1..9).flat_map(at).collect();
        members.add_reported(Time::ZERO, peer(2), 1, NEIGHBOR, many.into_iter());
        assert_eq!(direct(&members, 2).len(), MAX_REPORTED);
    }
}
