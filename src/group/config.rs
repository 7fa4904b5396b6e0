//! [`GroupConfig`].

use super::{GroupSpec, ReceiveMode, ReplicationLimits};
use crate::crypto::Fingerprint;
use std::net::SocketAddr;

/// Settings of one group. [`GroupConfig::new`] fills in the defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GroupConfig {
    /// The groupspec.
    pub spec: GroupSpec,
    /// This endpoint's fingerprint.
    pub near: Fingerprint,
    /// The server that can introduce this member; sent to others in reports. `None` without a
    /// server.
    pub server: Option<SocketAddr>,
    /// The directed messages to receive.
    pub receive_mode: ReceiveMode,
    /// The most neighbors at a time; further hellos are rejected and no further member is connected
    /// to.
    pub max_neighbors: usize,
    /// The most members remembered; further ones that others report are ignored.
    pub max_members: usize,
    /// Limits of object replication.
    pub replication: ReplicationLimits,
}

impl GroupConfig {
    /// Settings with the defaults: 64 neighbors, 1024 members, mode EXACT, no server.
    pub fn new(spec: GroupSpec, near: Fingerprint) -> Self {
        Self {
            spec,
            near,
            server: None,
            receive_mode: ReceiveMode::Exact,
            max_neighbors: 64,
            max_members: 1024,
            replication: ReplicationLimits::default(),
        }
    }
}
