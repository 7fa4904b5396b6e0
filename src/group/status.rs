//! The state of a group, for its owner: neighbors and counters.

use super::info::NetGroupBytes;
use super::multicast::MulticastStats;
use super::posting::PostingStats;
use super::replication::{NeighborTrade, ReplicationStats};
use super::routing::RoutingStats;
use super::{GroupAddress, ReceiveMode};
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
