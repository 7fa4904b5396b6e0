//! What our reports say, and what we take from those of others.

use super::engine::Group;
use super::link::Link;
use super::members::{MAX_AGE, Member, is_plausible};
use super::message::report::{MAX_REPORT, Record, Report};
use super::topology::{self, Candidate, FULL_MESH};
use crate::crypto::Fingerprint;
use crate::transport::{SessionId, Time};
use crate::wire::{Address, Origin};
use std::net::SocketAddr;

/// Own addresses remembered, as neighbours see them.
const MAX_OWN_ADDRESSES: usize = 4;

impl Group {
    /// A report for the neighbour on `link`: its address, ours, and the members that it wants by our
    /// reckoning. In a small group these are all, itself included, and never we.
    pub(super) fn report_for(&self, now: Time, link: &Link, ask: bool) -> Report {
        let receiver = Address::new(link.far_address, Origin::Reflexive);
        let own = self.own_addresses.iter().map(|&a| Address::new(a, Origin::Reflexive));
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

    /// Takes in a neighbour's report.
    pub(super) fn learn_from(&mut self, now: Time, from: Fingerprint, report: &Report) {
        self.members.hear(now, from, report.sender_addresses());
        if let Some(own) = report.receiver_address().map(|a| a.socket).filter(is_plausible) {
            self.remember_own_address(own);
        }
        for record in &report.records {
            if let Some(peer) = record.peer().filter(|p| *p != self.config.near && *p != from) {
                self.members.learn(now, peer, record.age, record.addresses());
            }
        }
    }

    pub(super) fn remember_own_address(&mut self, own: SocketAddr) {
        self.own_addresses.retain(|a| *a != own);
        self.own_addresses.insert(0, own);
        self.own_addresses.truncate(MAX_OWN_ADDRESSES);
    }

    /// The members that this node wants as neighbours.
    pub(super) fn wanted_by_us(&self, now: Time) -> Vec<Fingerprint> {
        let near = self.config.near;
        let all: Vec<_> = self.fresh(now).filter(|(p, _)| **p != near).map(|(p, _)| *p).collect();
        self.choose(&self.address, &all)
    }

    fn wanted_by(&self, now: Time, link: &Link) -> Vec<Fingerprint> {
        let small = self.members.len() <= FULL_MESH;
        let others = self.fresh(now).filter(|(p, _)| small || **p != link.peer);
        let others: Vec<_> = others.map(|(p, _)| *p).collect();
        match small {
            true => others,
            false => self.choose(&link.address, &others),
        }
    }

    fn choose(&self, x: &super::GroupAddress, peers: &[Fingerprint]) -> Vec<Fingerprint> {
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

    /// What we tell about a member's addresses: what it said itself; else where we see it; of one known
    /// only from the server, the server.
    fn addresses_of(&self, peer: &Fingerprint, member: &Member) -> Vec<Address> {
        if !member.addresses.is_empty() {
            return member.addresses.clone();
        }
        if let Some(link) = self.links.values().find(|l| l.peer == *peer) {
            return vec![Address::new(link.far_address, Origin::Reflexive)];
        }
        let server = self.config.server.filter(|_| member.introduced);
        server.map(|a| Address::new(a, Origin::Unknown)).into_iter().collect()
    }

    /// The addresses at which neighbours see this node, the latest first.
    pub fn own_addresses(&self) -> &[SocketAddr] {
        &self.own_addresses
    }

    pub(super) fn session_of(&self, peer: &Fingerprint) -> Option<SessionId> {
        self.links.iter().rfind(|(_, l)| l.peer == *peer).map(|(&session, _)| session)
    }
}
