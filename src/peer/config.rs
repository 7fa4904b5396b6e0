//! [`PeerConfig`].

use super::Seed;
use crate::crypto::IdentityConfig;
use crate::driver::{Announced, KeyLogFile};
use crate::node::NodeConfig;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Settings of a [`Connection`](super::Connection). The defaults suit everybody who has no special
/// wish.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// The transport and the NetConnection.
    pub node: NodeConfig,
    /// What the certificate shall be like. By default it is like a Flash Player's: a static key in
    /// group 2, and no URI selects it. All programs take that, nobody else can claim the peer ID
    /// (RFC 7425 §7), and among ourselves ephemeral keys in group 14 are added to it. With
    /// [`KeyStyle::Ephemeral`](crate::crypto::KeyStyle::Ephemeral) or other groups MonaServer 1.x and
    /// librtmfp are out of reach, and a certificate that is much larger does not fit the answer
    /// that the short hello of a Flash Player may get.
    pub identity: IdentityConfig,
    /// The secret that the identity is derived from, so that the peer ID is the same every time;
    /// `None`, the default, makes a new one. No two processes may use the same at the same time.
    pub seed: Option<Seed>,
    /// Where to listen; by default on every address, at a port that the operating system chooses.
    /// `[::]` is left out with a warning on a host without IPv6.
    pub listen: Vec<SocketAddr>,
    /// Addresses that a router forwards to the sockets, for other members.
    pub announced: Vec<Announced>,
    /// Where the secrets of its sessions go, for those who decode captures: whoever reads this file
    /// can read and forge what the sessions carry. `None`, the default, keeps no secrets.
    pub key_log: Option<KeyLogFile>,
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
        }
    }
}
