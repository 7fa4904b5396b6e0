//! The content of reports, sent and received.

use super::Membership;
use super::members::{Member, is_plausible};
use super::message::{ReportRef, ReportWriter};
use super::session::PeerSession;
use super::topology::{self, Candidates, FULL_MESH, Others};
use crate::crypto::Fingerprint;
use crate::group::{GroupAddress, MembershipRules};
use crate::transport::{SessionId, Time};
use crate::wire::{Address, Origin};
use bytes::Bytes;
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
    pub(super) fn report_for(&self, now: Time, session: &PeerSession, ask: bool) -> Bytes {
        let receiver = Address::new(session.far_address, Origin::Reflexive);
        let own = self.own_addresses.iter().map(|a| Address::new(*a, Origin::Reflexive));
        let server = self.config.server.map(|a| Address::new(a, Origin::Relay));
        let mut report = ReportWriter::new([ask, self.is_unsettled], receiver, own.chain(server));
        for member in self.wanted_by(now, session) {
            let addresses = self.addresses_of(member);
            if !report.push(&member.peer, member.age(now), &addresses) {
                break;
            }
        }
        report.finish()
    }

    /// Adds the members of a neighbor's report to the known members.
    pub(super) fn on_report(&mut self, now: Time, session: SessionId, report: &ReportRef<'_>) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let near = report.receiver_address().map(|a| a.socket).filter(is_plausible);
        let is_new = std::mem::replace(&mut state.near_address, near) != near;
        let (from, address) = (state.peer, state.far_address);
        if is_new {
            self.note_own_addresses();
        }
        self.members.confirm(now, from, address);
        let server = self.config.server;
        let shares = |a: Address| a.origin == Origin::Relay && Some(a.socket) == server;
        self.members.set_shares_server(&from, report.sender_addresses().any(shares));
        for record in report.records() {
            if let Some(peer) = record.peer().filter(|p| *p != self.config.near && *p != from) {
                self.members.add_reported(now, peer, record.age(), session, record.addresses());
            }
        }
    }

    /// The members that this node wants as neighbors: of those known, a silent neighbor among them.
    /// Lost ones are wanted as well, but take no place of others: the ring must close over them.
    pub(super) fn wanted_neighbors(&self, now: Time) -> Vec<Fingerprint> {
        self.wanted_among(now, None)
    }

    /// Beside the known members that count, `also` is one.
    fn wanted_among(&self, now: Time, also: Option<Fingerprint>) -> Vec<Fingerprint> {
        let of_peer = |member: &Member| member.peer;
        let choose = |counts: &dyn Fn(&Member) -> bool| {
            let is_candidate = |_: &GroupAddress, m: &Member| {
                m.is_neighbor || counts(m) || also.is_some_and(|peer| peer == m.peer)
            };
            let candidates = Candidates::new(self.members.ring(), is_candidate);
            self.choose(&self.address, &candidates, &|member| !member.has_parted(now))
        };
        let all = || choose(&|member| member.is_fresh(now));
        if self.config.membership == MembershipRules::Observed {
            return all().into_iter().map(of_peer).collect();
        }
        let present = choose(&|member| member.is_fresh(now) && !member.lost);
        let mut wanted: Vec<_> = present.into_iter().map(of_peer).collect();
        if !self.members.has_lost() {
            return wanted;
        }
        let beside = wanted.len();
        for member in all() {
            if wanted.iter().take(beside).all(|peer| *peer != member.peer) {
                wanted.push(member.peer);
            }
        }
        wanted
    }

    /// True if this node would want this member as a neighbor, known or not.
    pub(in crate::proto::group) fn would_want(&mut self, now: Time, peer: Fingerprint) -> bool {
        let is_new = self.members.get(&peer).is_none();
        if is_new {
            self.members.add(now, peer);
        }
        let would_want = self.wanted_among(now, Some(peer)).contains(&peer);
        if is_new {
            self.members.forget(&peer);
        }
        would_want
    }

    /// The members that the peer of a session should want as neighbors.
    fn wanted_by(&self, now: Time, session: &PeerSession) -> Vec<&Member> {
        let small = self.members.len() <= FULL_MESH;
        let lists_all = self.config.membership == MembershipRules::Observed;
        let is_listed = |member: &Member| {
            let is_sure = member.is_known_first_hand() && (small || !member.lost);
            (lists_all || is_sure) && member.is_fresh(now)
        };
        if small {
            let mut listed: Vec<_> =
                self.members.ring().values().filter(|member| is_listed(member)).collect();
            listed.sort_unstable_by_key(|member| member.peer);
            return listed;
        }
        let is_candidate =
            |at: &GroupAddress, member: &Member| *at != session.address && is_listed(member);
        let candidates = Candidates::new(self.members.ring(), is_candidate);
        self.choose(&session.address, &candidates, &|_| true)
    }

    /// The known members that are next above and below this node on the ring.
    pub(super) fn adjacent(&self, now: Time) -> Vec<Fingerprint> {
        let is_present = |_: &GroupAddress, m: &Member| m.is_fresh(now) && !m.lost;
        let candidates = Candidates::new(self.members.ring(), is_present);
        let mut adjacent: Vec<_> =
            topology::adjacent(&self.address, &candidates).iter().map(|m| m.peer).collect();
        adjacent.sort_unstable();
        adjacent
    }

    /// In the order of their peer IDs. `may_choose` is false for members that are chosen only for
    /// their places on the ring.
    fn choose<'a>(
        &self,
        x: &GroupAddress,
        candidates: &Candidates<'a, Member, impl Fn(&GroupAddress, &Member) -> bool>,
        may_choose: &dyn Fn(&Member) -> bool,
    ) -> Vec<&'a Member> {
        let others = Others { rtts: &self.rtts, random: self.random_member, may_choose };
        let mut chosen = topology::wanted(x, candidates, &others);
        chosen.sort_unstable_by_key(|member| member.peer);
        chosen
    }

    /// The addresses of a member for a report: that of its current or latest session, and the
    /// server if it can introduce the member.
    fn addresses_of(&self, member: &Member) -> Vec<Address> {
        let session = self.session_of(&member.peer).and_then(|session| self.session(session));
        let session = session.map(|session| session.far_address);
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
    pub(in crate::proto::group) fn own_addresses(&self) -> &[SocketAddr] {
        &self.own_addresses
    }

    /// What the peers see has changed.
    pub(super) fn note_own_addresses(&mut self) {
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
        self.own_addresses = own.into_iter().take(MAX_OWN_ADDRESSES).map(|(_, own)| own).collect();
    }
}
