//! Server configuration.

use crate::crypto::IdentityConfig;
use crate::driver::KeyLogFile;
use crate::flash::uri::DEFAULT_PORT;
use crate::rendezvous::RendezvousConfig;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Settings of a [`Server`](super::Server). The defaults suit most servers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where to listen, `0.0.0.0:1935` and `[::]:1935` by default. Port 0 lets the operating system
    /// choose. `[::]` is left out with a warning on a host without IPv6.
    pub listen: Vec<SocketAddr>,
    /// Services and bounds of the rendezvous service.
    pub rendezvous: RendezvousConfig,
    /// Properties of a newly generated certificate.
    pub identity: IdentityConfig,
    /// The file that keeps certificate and keys from one start to the next; created, readable by its
    /// owner only, if it does not exist. Without it every start generates a new certificate, which
    /// matters only to clients that require a certain one.
    pub identity_file: Option<PathBuf>,
    /// The file to which the secrets of sessions are written, for decoding captures. Anyone who can
    /// read it can read and forge the traffic of the sessions. `None`, the default, keeps no secrets.
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
    /// These addresses to listen on, in place of the default.
    pub fn with_listen(mut self, listen: Vec<SocketAddr>) -> Self {
        self.listen = listen;
        self
    }

    /// Every address of this host at RTMFP's port (RFC 7425 §6.1).
    pub fn default_listen() -> Vec<SocketAddr> {
        vec![
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)),
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)),
        ]
    }
}
