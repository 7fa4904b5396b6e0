//! What a server is told.

use crate::crypto::IdentityConfig;
use crate::driver::KeyLogFile;
use crate::flash::uri::DEFAULT_PORT;
use crate::rendezvous::RendezvousConfig;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Settings of a [`Server`](super::Server). The defaults suit everybody who has no special wish.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to listen, `0.0.0.0:1935` and `[::]:1935` by default. Port 0 lets the operating system
    /// choose. `[::]` is left out with a warning on a host without IPv6.
    pub listen: Vec<SocketAddr>,
    /// What the server offers, and its bounds.
    pub rendezvous: RendezvousConfig,
    /// What a new certificate shall be like.
    pub identity: IdentityConfig,
    /// The file that keeps certificate and keys from one start to the next; made, readable by its
    /// owner only, if it does not exist. Without it every start has a new certificate, which
    /// disturbs only clients that demand a certain one.
    pub identity_file: Option<PathBuf>,
    /// Where the secrets of its sessions go, for those who decode captures: whoever reads this file
    /// can read and forge what the sessions carry. `None`, the default, keeps no secrets.
    pub key_log: Option<KeyLogFile>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: Self::default_listen(),
            rendezvous: RendezvousConfig::default(),
            identity: IdentityConfig::default(),
            identity_file: None,
            key_log: None,
        }
    }
}

impl ServerConfig {
    /// Every address of this host at RTMFP's port (RFC 7425 §6.1).
    pub fn default_listen() -> Vec<SocketAddr> {
        vec![
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)),
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)),
        ]
    }
}
