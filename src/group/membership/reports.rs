//! The content of reports, sent and received.

use super::Membership;
use super::members::{MAX_AGE, Member, is_plausible};
use super::message::{MAX_REPORT, Record, Report};
use super::session::PeerSession;
use super::topology::{self, Candidate, FULL_MESH};
use crate::crypto::Fingerprint;
use crate::group::{GroupAddress, MembershipRules};
use crate::transport::{SessionId, Time};
use crate::wire::{Address, Origin};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Addresses of this node in a report; further ones are left out.
const MAX_OWN_ADDRESSES: usize = 4;

impl Membership {
    /// A report for the neighbor in a session: its address, this node's addresses, and the members
    /// that it should have as neighbors. In a small group these are all members, the neighbor
    /// included, and never this node.
    ///
    /// Only first-hand knowledge is passed on: members with which this node had a session, at the
    /// address of that session, and members that the server has introduced. A single neighbor that
    /// reports an address must not make the whole group send there.
    pub(super) fn report_for(&self, now: Time, session: &PeerSession, ask: bool) -> Report {
        let receiver = Address::new(session.far_address, Origin::Reflexive);
        let own = self.own_addresses().into_iter().map(|a| Address::new(a, Origin::Reflexive));
        let server = self.config.server.map(|a| Address::new(a, Origin::Relay));
        let mut report = Report::new(ask, receiver, &own.chain(server).collect::<Vec<_>>());
        if self.is_unsettled {
            report.set_unsettled();
        }

        let mut len = 1 + report.encoded_len();
        for peer in self.wanted_by(now, session) {
            let Some(member) = self.members.get(&peer) else { continue };
            let record = Record::new(&peer, member.age(now), &self.addresses_of(&peer, member));
            len += record.encoded_len();
            if len >= MAX_REPORT {
                break;
            }
            report.records.push(record);
        }
        report
    }

    /// Adds the members of a neighbor's report to the known members.
    pub(super) fn on_report(&mut self, now: Time, session: SessionId, report: &Report) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        state.near_address = report.receiver_address().map(|a| a.socket).filter(is_plausible);
        let (from, address) = (state.peer, state.far_address);
        self.members.confirm(now, from, address);
        let server = self.config.server;
        let shares = |a: &Address| a.origin == Origin::Relay && Some(a.socket) == server;
        self.members.set_shares_server(&from, report.sender_addresses().iter().any(shares));
        for record in &report.records {
            if let Some(peer) = record.peer().filter(|p| *p != self.config.near && *p != from) {
                self.members.add_reported(now, peer, record.age, session, &record.addresses());
            }
        }
    }

    /// The members that this node wants as neighbors: of those known, a silent neighbor among them.
    /// Lost ones are wanted as well, but take no place of others: the ring must close over them.
    pub(super) fn wanted_neighbors(&self, now: Time) -> Vec<Fingerprint> {
        self.wanted_among(now, None)
    }

    /// True if this node would want this member as a neighbor, known or not.
    pub(in crate::proto::group) fn would_want(&self, now: Time, peer: Fingerprint) -> bool {
        self.wanted_among(now, Some(peer)).contains(&peer)
    }

    fn wanted_among(&self, now: Time, also: Option<Fingerprint>) -> Vec<Fingerprint> {
        let neighbors = || self.neighbors().map(|(_, session, _)| (session.peer, session.address));
        let choose = |known: &mut dyn Iterator<Item = (&Fingerprint, &Member)>| {
            let known = known.map(|(peer, member)| (*peer, member.address));
            let also = also.map(|peer| (peer, GroupAddress::of(&peer)));
            let mut all: Vec<_> = known.chain(neighbors()).chain(also).collect();
            all.sort_unstable();
            all.dedup();
            all.retain(|(peer, _)| *peer != self.config.near);
            self.choose(&self.address, &all)
        };
        if self.config.membership == MembershipRules::Observed {
            return choose(&mut self.fresh(now));
        }
        let mut wanted = choose(&mut self.fresh(now).filter(|(_, member)| !member.lost));
        if self.members.iter().any(|(_, member)| member.lost) {
            let beside: BTreeSet<_> = wanted.iter().copied().collect();
            let all = choose(&mut self.fresh(now)).into_iter();
            wanted.extend(all.filter(|peer| !beside.contains(peer)));
        }
        wanted
    }

    /// The members that the peer of a session should want as neighbors.
    fn wanted_by(&self, now: Time, session: &PeerSession) -> Vec<Fingerprint> {
        let small = self.members.len() <= FULL_MESH;
        let lists_all = self.config.membership == MembershipRules::Observed;
        let is_listed =
            |member: &Member| lists_all || member.is_known_first_hand() && (small || !member.lost);
        let known = self.fresh(now).filter(|(_, member)| is_listed(member));
        let others = known.filter(|(p, _)| small || **p != session.peer);
        let others: Vec<_> = others.map(|(p, member)| (*p, member.address)).collect();
        match small {
            true => others.into_iter().map(|(peer, _)| peer).collect(),
            false => self.choose(&session.address, &others),
        }
    }

    /// The known members that are next above and below this node on the ring.
    pub(super) fn adjacent(&self, now: Time) -> Vec<Fingerprint> {
        let present = self.fresh(now).filter(|(_, member)| !member.lost);
        let known: Vec<_> = present.map(|(peer, member)| (*peer, member.address)).collect();
        let addresses: Vec<GroupAddress> = known.iter().map(|(_, address)| *address).collect();
        let places = topology::adjacent(&self.address, &addresses);
        places.into_iter().filter_map(|place| known.get(place)).map(|(peer, _)| *peer).collect()
    }

    fn choose(&self, x: &GroupAddress, peers: &[(Fingerprint, GroupAddress)]) -> Vec<Fingerprint> {
        let rtts = self.rtts();
        let candidate = |&(peer, address): &(Fingerprint, GroupAddress)| Candidate {
            address,
            rtt: rtts.get(&peer).copied(),
        };
        let candidates: Vec<_> = peers.iter().map(candidate).collect();
        let chosen = topology::wanted(x, &candidates, self.random_member);
        chosen.into_iter().filter_map(|i| peers.get(i)).map(|(peer, _)| *peer).collect()
    }

    fn fresh(&self, now: Time) -> impl Iterator<Item = (&Fingerprint, &Member)> {
        self.members.iter().filter(move |(_, m)| m.age(now) < MAX_AGE)
    }

    /// The addresses of a member for a report: that of its current or latest session, and the
    /// server if it can introduce the member.
    fn addresses_of(&self, peer: &Fingerprint, member: &Member) -> Vec<Address> {
        let session = self.sessions.values().find(|s| s.peer == *peer).map(|s| s.far_address);
        let Some(seen) = session.or(member.met_at) else {
            let reported = member.reported_addresses();
            if self.config.membership == MembershipRules::Observed && !reported.is_empty() {
                let passed_on = reported.iter().map(|&at| Address::new(at, Origin::Reflexive));
                return passed_on.collect();
            }
            let server = self.config.server.filter(|_| member.introduced);
            return server.map(|a| Address::new(a, Origin::Unknown)).into_iter().collect();
        };
        let server = self.config.server.filter(|_| member.shares_server);
        let server = server.map(|a| Address::new(a, Origin::Relay));
        [Address::new(seen, Origin::Reflexive)].into_iter().chain(server).collect()
    }

    /// This node's addresses as its peers see them, most frequent first. If at least two hosts
    /// agree on one, addresses that only a single host reports are left out.
    pub(in crate::proto::group) fn own_addresses(&self) -> Vec<SocketAddr> {
        let mut witnesses: BTreeMap<SocketAddr, BTreeSet<IpAddr>> = BTreeMap::new();
        for session in self.sessions.values() {
            if let Some(own) = session.near_address {
                witnesses.entry(own).or_default().insert(session.far_address.ip());
            }
        }
        let mut own: Vec<_> = witnesses.into_iter().map(|(own, by)| (by.len(), own)).collect();
        own.sort_by_key(|&(count, _)| std::cmp::Reverse(count));
        let enough = own.first().map_or(0, |&(most, _)| most.min(2));
        own.retain(|&(count, _)| count >= enough);
        own.into_iter().take(MAX_OWN_ADDRESSES).map(|(_, own)| own).collect()
    }
}
