//! What can be read of clients, groups and introductions: lists in parts, so that no answer is long.

use super::history::Introduction;
use super::{Client, Rendezvous};
use crate::crypto::Fingerprint;
use crate::flash::group_channel::GroupId;
use crate::transport::{SessionId, Time};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A part of a list that is in the order of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<K> {
    /// Only what comes after this key.
    pub after: Option<K>,
    /// Entries at most.
    pub limit: usize,
}

/// A client, or a session that has not connected yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// Its peer ID.
    pub peer: Fingerprint,
    /// Its address, as the server sees it.
    pub address: SocketAddr,
    /// The application; `None` before it has connected.
    pub app: Option<Arc<str>>,
    /// Since its last packet.
    pub idle: Duration,
    /// Smoothed round trip time, once measured.
    pub round_trip: Option<Duration>,
    /// Bytes of UDP payload from it that verified.
    pub bytes_received: u64,
    /// Bytes of UDP payload sent to it.
    pub bytes_sent: u64,
    /// Groups that it is a member of.
    pub groups: usize,
}

/// An application.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApplicationInfo {
    /// Its name: what follows the server in the URI, without query.
    pub name: Arc<str>,
    /// Clients that are connected to it.
    pub clients: usize,
}

/// A group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Its ID.
    pub group: GroupId,
    /// Members that are connected here.
    pub members: usize,
}

impl Rendezvous {
    /// Sessions in the order of their peer IDs.
    pub fn clients(&self, now: Time, part: &Part<Fingerprint>) -> Vec<ClientInfo> {
        let sessions = self.clients.iter().map(|(&id, client)| (client.peer, id));
        let sessions = first_of(sessions, part);
        sessions.filter_map(|(_, id)| self.client(now, id)).collect()
    }

    /// Applications that clients are connected to, in the order of their names.
    pub fn applications(&self, part: &Part<Arc<str>>) -> Vec<ApplicationInfo> {
        let mut counts: HashMap<&Arc<str>, usize> = HashMap::new();
        for client in self.clients.values().filter(|client| client.connection.is_connected()) {
            *counts.entry(&client.app).or_default() += 1;
        }
        let counts = counts.into_iter().map(|(name, clients)| (Arc::clone(name), clients));
        first_of(counts, part).map(|(name, clients)| ApplicationInfo { name, clients }).collect()
    }

    /// Groups in the order of their IDs.
    pub fn groups(&self, part: &Part<GroupId>) -> Vec<GroupInfo> {
        let groups = first_of(self.groups.counts(), part);
        groups.map(|(group, members)| GroupInfo { group, members }).collect()
    }

    /// The number of a group's members, and some of them in the order of their peer IDs.
    pub fn group_members(
        &self,
        now: Time,
        group: GroupId,
        part: &Part<Fingerprint>,
    ) -> (usize, Vec<ClientInfo>) {
        let members = self.groups.members(group);
        let members = members.filter_map(|id| Some((self.clients.get(&id)?.peer, id)));
        let members = first_of(members, part).filter_map(|(_, id)| self.client(now, id));
        (self.groups.count(group), members.collect())
    }

    /// The introductions of the last while, the newest first, at most
    /// [`MAX_REMEMBERED`](super::MAX_REMEMBERED).
    pub fn introductions(&self, now: Time) -> impl Iterator<Item = Introduction> {
        self.history.newest_first(now)
    }

    /// Which of these addresses are those of clients, and of whom.
    pub fn peers_at(&self, addresses: &HashSet<SocketAddr>) -> Vec<(SocketAddr, Fingerprint)> {
        let clients = self.clients.values().map(|client| (client.address, client.peer));
        clients.filter(|(address, _)| addresses.contains(address)).collect()
    }

    fn client(&self, now: Time, id: SessionId) -> Option<ClientInfo> {
        let (client, session) = (self.clients.get(&id)?, self.endpoint.session(id)?);
        let Client { peer, address, .. } = *client;
        let is_member = |membership: &&super::client::Membership| membership.group.is_some();
        let stats = session.stats();
        Some(ClientInfo {
            peer,
            address,
            app: client.connection.is_connected().then(|| Arc::clone(&client.app)),
            idle: now.since(session.last_received()),
            round_trip: session.round_trip(),
            bytes_received: stats.bytes_received,
            bytes_sent: stats.bytes_sent,
            groups: client.memberships.values().filter(is_member).count(),
        })
    }
}

/// The first entries of a part, of entries in any order. It takes time for all of them, but memory
/// only for those that it returns.
fn first_of<K: Ord + Clone, V>(
    entries: impl Iterator<Item = (K, V)>,
    part: &Part<K>,
) -> impl Iterator<Item = (K, V)> {
    let mut first = BTreeMap::new();
    for (key, value) in entries.filter(|(key, _)| part.after.as_ref().is_none_or(|it| key > it)) {
        let is_full = first.len() >= part.limit;
        if is_full && first.last_key_value().is_none_or(|(last, _)| *last < key) {
            continue;
        }
        first.insert(key, value);
        if first.len() > part.limit {
            first.pop_last();
        }
    }
    first.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_list_are_the_whole() {
        let all = || (0..100_u32).map(|n| (n * 37 % 100, n));
        let mut part = Part { after: None, limit: 30 };
        let mut read = Vec::new();
        loop {
            let keys: Vec<u32> = first_of(all(), &part).map(|(key, _)| key).collect();
            let Some(&last) = keys.last() else { break };
            assert!(keys.len() <= 30);
            read.extend(keys);
            part.after = Some(last);
        }
        assert_eq!(read, (0..100).collect::<Vec<_>>());
        assert_eq!(first_of(all(), &Part { after: None, limit: 0 }).count(), 0);
    }
}
