//! What our reports say, and what we take from those of others.

use super::members::{MAX_AGE, Member, is_plausible};
use super::message::{MAX_REPORT, Record, Report};
use super::session::Link;
use super::topology::{self, Candidate, FULL_MESH};
use crate::crypto::Fingerprint;
use crate::group::{Group, GroupAddress};
use crate::transport::{SessionId, Time};
use crate::wire::{Address, Origin};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Own addresses in a report, as neighbours see them.
const MAX_OWN_ADDRESSES: usize = 4;

impl Group {
    /// A report for the neighbour on `link`: its address, ours, and the members that it wants by our
    /// reckoning. In a small group these are all, itself included, and never we.
    ///
    /// Only what this node knows itself is passed on: members that it has met, where it has met
    /// them, and those that the server has introduced. One neighbour's word that somebody is at an
    /// address must not make the whole group send there.
    pub(in crate::group) fn report_for(&self, now: Time, link: &Link, ask: bool) -> Report {
        let receiver = Address::new(link.far_address, Origin::Reflexive);
        let own = self.own_addresses().into_iter().map(|a| Address::new(a, Origin::Reflexive));
        let server = self.config.server.map(|a| Address::new(a, Origin::Relay));
        let mut report = Report::new(ask, receiver, &own.chain(server).collect::<Vec<_>>());

        let mut len = 1 + report.encoded_len();
        for peer in self.wanted_by(now, link) {
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

    /// Takes in a neighbour's report, which came in `session`.
    pub(in crate::group) fn learn_from(&mut self, now: Time, session: SessionId, report: &Report) {
        let Some(link) = self.links.get_mut(&session) else { return };
        link.sees_us_at = report.receiver_address().map(|a| a.socket).filter(is_plausible);
        let (from, address) = (link.peer, link.far_address);
        self.members.hear(now, from, address);
        let server = self.config.server;
        let shares = |a: &Address| a.origin == Origin::Relay && Some(a.socket) == server;
        self.members.set_shares_server(&from, report.sender_addresses().iter().any(shares));
        for record in &report.records {
            if let Some(peer) = record.peer().filter(|p| *p != self.config.near && *p != from) {
                self.members.learn(now, peer, record.age, session, &record.addresses());
            }
        }
    }

    /// The members that this node wants as neighbours.
    pub(in crate::group) fn wanted_by_us(&self, now: Time) -> Vec<Fingerprint> {
        let near = self.config.near;
        let all: Vec<_> = self.fresh(now).filter(|(p, _)| **p != near).map(|(p, _)| *p).collect();
        self.choose(&self.address, &all)
    }

    fn wanted_by(&self, now: Time, link: &Link) -> Vec<Fingerprint> {
        let small = self.members.len() <= FULL_MESH;
        let known = self.fresh(now).filter(|(_, member)| member.is_known_first_hand());
        let others = known.filter(|(p, _)| small || **p != link.peer);
        let others: Vec<_> = others.map(|(p, _)| *p).collect();
        match small {
            true => others,
            false => self.choose(&link.address, &others),
        }
    }

    fn choose(&self, x: &GroupAddress, peers: &[Fingerprint]) -> Vec<Fingerprint> {
        let candidate = |peer: &Fingerprint| Candidate {
            address: self.members.get(peer).map_or(*x, |m| m.address),
            rtt: self.rtt_of(peer),
        };
        let candidates: Vec<_> = peers.iter().map(candidate).collect();
        let chosen = topology::wanted(x, &candidates, self.random_member);
        chosen.into_iter().filter_map(|i| peers.get(i).copied()).collect()
    }

    fn fresh(&self, now: Time) -> impl Iterator<Item = (&Fingerprint, &Member)> {
        self.members.iter().filter(move |(_, m)| m.age(now) < MAX_AGE)
    }

    /// What we tell about a member's addresses: where we see it, or have seen it, and the server if
    /// that can introduce it.
    fn addresses_of(&self, peer: &Fingerprint, member: &Member) -> Vec<Address> {
        let link = self.links.values().find(|l| l.peer == *peer).map(|link| link.far_address);
        let Some(seen) = link.or(member.met_at) else {
            let server = self.config.server.filter(|_| member.introduced);
            return server.map(|a| Address::new(a, Origin::Unknown)).into_iter().collect();
        };
        let server = self.config.server.filter(|_| member.shares_server);
        let server = server.map(|a| Address::new(a, Origin::Relay));
        [Address::new(seen, Origin::Reflexive)].into_iter().chain(server).collect()
    }

    /// The addresses at which neighbours see this node, first those that most agree on. Where at
    /// least two hosts agree, the word of a single one counts for nothing.
    pub fn own_addresses(&self) -> Vec<SocketAddr> {
        let mut witnesses: BTreeMap<SocketAddr, BTreeSet<IpAddr>> = BTreeMap::new();
        for link in self.links.values() {
            if let Some(own) = link.sees_us_at {
                witnesses.entry(own).or_default().insert(link.far_address.ip());
            }
        }
        let mut own: Vec<_> = witnesses.into_iter().map(|(own, by)| (by.len(), own)).collect();
        own.sort_by_key(|&(count, _)| std::cmp::Reverse(count));
        let enough = own.first().map_or(0, |&(most, _)| most.min(2));
        own.retain(|&(count, _)| count >= enough);
        own.into_iter().take(MAX_OWN_ADDRESSES).map(|(_, own)| own).collect()
    }

    pub(in crate::group) fn session_of(&self, peer: &Fingerprint) -> Option<SessionId> {
        self.links.iter().rfind(|(_, l)| l.peer == *peer).map(|(&session, _)| session)
    }
}
