//! [`PeerConfig`].

use super::Seed;
use crate::crypto::IdentityConfig;
use crate::driver::{Announced, KeyLogFile};
use crate::node::{Limits, NodeConfig};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Silence of the server after which it is pinged on a metered link, as members ping each other.
const METERED_KEEPALIVE: Duration = Duration::from_secs(20);

/// Settings of a [`Connection`](super::Connection). The defaults suit most applications.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerConfig {
    /// The transport and the NetConnection.
    pub node: NodeConfig,
    /// Properties of the certificate. The default is that of a Flash Player: a static key in group
    /// 2, not selected by any URI. Every program accepts it, nobody else can claim the peer ID (RFC
    /// 7425 §7), and between two endpoints of this crate ephemeral keys in group 14 are added. With
    /// [`KeyStyle::Ephemeral`](crate::crypto::KeyStyle::Ephemeral) or other groups, MonaServer 1.x
    /// and librtmfp cannot be reached, and a much larger certificate does not fit into the answer
    /// to the short hello of a Flash Player.
    pub identity: IdentityConfig,
    /// The secret from which the identity is derived, so that the peer ID is the same every time.
    /// `None`, the default, makes a new identity. No two processes may use the same secret at the
    /// same time.
    pub seed: Option<Seed>,
    /// Addresses to listen on; by default every address, at a port that the operating system
    /// chooses. On a host without IPv6, `[::]` is skipped with a warning.
    pub listen: Vec<SocketAddr>,
    /// Addresses that a router forwards to the sockets, for other members.
    pub announced: Vec<Announced>,
    /// The key log for the secrets of the sessions, for decoding captures: whoever reads this file
    /// can read and forge the traffic of the sessions. `None`, the default, writes no secrets.
    pub key_log: Option<KeyLogFile>,
    /// How fast the connection sends and receives; by default as fast as it can.
    /// [`Connection::set_limits`](super::Connection::set_limits) changes it later.
    pub limits: Limits,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            node: NodeConfig::default(),
            identity: IdentityConfig::like_a_player(),
            seed: None,
            listen: vec![
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            ],
            announced: Vec::new(),
            key_log: None,
            limits: Limits::default(),
        }
    }
}

impl PeerConfig {
    /// These addresses to listen on, in place of the default.
    pub fn with_listen(mut self, listen: Vec<SocketAddr>) -> Self {
        self.listen = listen;
        self
    }

    /// Fewer signs of life, for a link on which every byte costs: the server is pinged every 20 s
    /// instead of every 5 s, so that a restart of it is noticed later.
    pub fn for_metered_link(mut self) -> Self {
        self.node.server_keepalive = METERED_KEEPALIVE;
        self
    }
}
