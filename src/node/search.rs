//! [`Search`]: the state of the search for members of a group.

use super::{GroupHandle, NetConnectionError, Node, Server};
use crate::crypto::Fingerprint;
use crate::transport::{OpenSessionError, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

/// Members in [`Search::unreached`]; beyond this, the oldest is dropped.
pub const MAX_UNREACHED: usize = 16;
/// Members counted in [`Search::met`]; further ones are not counted.
pub const MAX_MET: usize = 4096;

/// The state of the search for members of a group; it shows why no member is found.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Search {
    /// The rendezvous server, the latest if there were several; `None` before the first answer.
    pub server: Option<SocketAddr>,
    /// True while the connection to the server is up.
    pub connected: bool,
    /// Why the latest attempt to connect to the server failed; `None` after a success.
    pub connect_failure: Option<NetConnectionError>,
    /// True if the server does not keep groups: it has refused this group's channel.
    pub is_unserved: bool,
    /// The IP multicast addresses on which members of the group announce themselves.
    pub on_lan: Vec<SocketAddr>,
    /// Members known now, including neighbors, excluding this node.
    pub known: usize,
    /// Neighbors now.
    pub neighbors: usize,
    /// Members that have been neighbors, each counted once, up to [`MAX_MET`].
    pub met: usize,
    /// Members that are being connected to, and the state of each attempt.
    pub trying: Vec<(Fingerprint, OpenSessionError)>,
    /// Members that could not be reached and why, at most [`MAX_UNREACHED`], the latest last.
    pub unreached: Vec<(Fingerprint, OpenSessionError)>,
}

/// The part of [`Search`] that the node records.
#[derive(Debug, Default)]
pub(super) struct SearchLog {
    connect_failure: Option<NetConnectionError>,
    unserved: BTreeSet<GroupHandle>,
    met: BTreeMap<GroupHandle, BTreeSet<Fingerprint>>,
    unreached: VecDeque<(Fingerprint, OpenSessionError)>,
}

impl SearchLog {
    pub(super) fn connected(&mut self) {
        self.connect_failure = None;
        self.unserved.clear();
    }

    pub(super) fn connect_failed(&mut self, error: NetConnectionError) {
        self.connect_failure = Some(error);
    }

    pub(super) fn unserved(&mut self, group: GroupHandle) {
        self.unserved.insert(group);
    }

    pub(super) fn met(&mut self, group: GroupHandle, peer: Fingerprint) {
        self.reached(peer);
        let met = self.met.entry(group).or_default();
        if met.len() < MAX_MET {
            met.insert(peer);
        }
    }

    pub(super) fn reached(&mut self, peer: Fingerprint) {
        self.unreached.retain(|(known, _)| *known != peer);
    }

    pub(super) fn unreached(&mut self, peer: Fingerprint, error: OpenSessionError) {
        self.reached(peer);
        if self.unreached.len() >= MAX_UNREACHED {
            self.unreached.pop_front();
        }
        self.unreached.push_back((peer, error));
    }

    pub(super) fn left(&mut self, group: GroupHandle) {
        self.met.remove(&group);
        self.unserved.remove(&group);
    }
}

impl Node {
    /// The state of the search for members of a group; `None` if it was left.
    pub fn search(&self, now: Time, group: GroupHandle) -> Option<Search> {
        let stats = self.group(group)?.stats();
        let log = &self.search;
        let server = match &self.server {
            Server::Session(server) => self.endpoint.session(server.session),
            _ => None,
        };
        Some(Search {
            server: server.map(|info| info.path().remote).or(self.server_address),
            connected: self.is_connected(),
            connect_failure: log.connect_failure.clone(),
            is_unserved: log.unserved.contains(&group),
            on_lan: self.lan.of_group(group),
            known: stats.members,
            neighbors: stats.neighbors,
            met: self.members_met(group),
            trying: self.attempts_so_far(now),
            unreached: log.unreached.iter().cloned().collect(),
        })
    }

    fn attempts_so_far(&self, now: Time) -> Vec<(Fingerprint, OpenSessionError)> {
        let attempts = self.attempts.iter();
        let so_far = attempts.filter_map(|(&open, (peer, _))| {
            self.endpoint.so_far(now, open).map(|error| (*peer, error))
        });
        so_far.collect()
    }

    /// Members of a group that have been neighbors, each counted once, up to [`MAX_MET`].
    pub fn members_met(&self, group: GroupHandle) -> usize {
        self.search.met.get(&group).map_or(0, BTreeSet::len)
    }

    /// True if this member has been a neighbor in the group.
    pub fn has_met(&self, group: GroupHandle, peer: &Fingerprint) -> bool {
        self.search.met.get(&group).is_some_and(|met| met.contains(peer))
    }
}
