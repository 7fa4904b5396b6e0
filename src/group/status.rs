//! The state of a group, for its owner: neighbors and counters.

use super::info::NetGroupBytes;
use super::multicast::MulticastStats;
use super::posting::PostingStats;
use super::replication::{NeighborTrade, ReplicationStats};
use super::routing::RoutingStats;
use super::{Group, GroupAddress, ReceiveMode};
use crate::crypto::Fingerprint;
use crate::transport::{SessionId, Time};
use std::net::SocketAddr;
use std::time::Duration;

/// A connected neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NeighborInfo {
    /// The session.
    pub session: SessionId,
    /// Its fingerprint: the peer ID.
    pub peer: Fingerprint,
    /// Its group address.
    pub address: GroupAddress,
    /// The far address of the session.
    pub far_address: SocketAddr,
    /// The round-trip time of the session, if known.
    pub rtt: Option<Duration>,
    /// The time at which it became a neighbor, connected or not yet.
    pub since: Time,
    /// Its receive mode, once announced.
    pub receive_mode: Option<ReceiveMode>,
    /// Object replication with it.
    pub trade: NeighborTrade,
}

/// Counters of a group since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GroupStats {
    /// Neighbors now.
    pub neighbors: usize,
    /// Members known now, excluding this node.
    pub members: usize,
    /// Rejected hellos: wrong proof, not for this node, or too many neighbors.
    pub hellos_rejected: u64,
    /// Membership messages that could not be parsed.
    pub malformed: u64,
    /// Object replication.
    pub replication: ReplicationStats,
    /// Directed routing.
    pub routing: RoutingStats,
    /// Streams.
    pub multicast: MulticastStats,
    /// Posting.
    pub posting: PostingStats,
    /// Message bytes exchanged with neighbors, by capability.
    pub bytes: NetGroupBytes,
}

impl Group {
    /// The connected neighbors.
    pub fn neighbors(&self) -> Vec<NeighborInfo> {
        let neighbors = self.membership.neighbors();
        let describe = neighbors.map(|(id, session, neighbor)| NeighborInfo {
            session: id,
            peer: session.peer,
            address: session.address,
            far_address: session.far_address,
            rtt: session.rtt,
            since: neighbor.since,
            receive_mode: neighbor.mode,
            trade: self.replication.trade(id),
        });
        describe.collect()
    }

    /// The estimated number of members, by the density of the neighbors on the ring.
    pub fn estimated_member_count(&self) -> f64 {
        self.membership.estimated_member_count()
    }

    /// The part of the ring for which this node is responsible, from and to.
    pub fn local_coverage(&self) -> (GroupAddress, GroupAddress) {
        self.membership.local_coverage()
    }

    /// This node's addresses as its peers see them, most frequent first.
    pub fn own_addresses(&self) -> Vec<SocketAddr> {
        self.membership.own_addresses().to_vec()
    }

    /// Counters.
    pub fn stats(&self) -> GroupStats {
        let counters = self.membership.counters();
        GroupStats {
            neighbors: self.membership.neighbors().count(),
            members: self.membership.members(),
            hellos_rejected: counters.hellos_rejected,
            malformed: counters.malformed,
            replication: self.replication.stats(),
            routing: self.routing.stats(),
            multicast: self.multicast.stats(),
            posting: self.posting.stats(),
            bytes: self.traffic.totals(),
        }
    }
}
