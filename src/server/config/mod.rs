//! Server configuration.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the configuration of a server |
//! | `admin` | where the page with a server's state is |
//! | `settings` | what a file and environment variables can say |
//! | `table` | every setting |
//! | `forms` | the forms of their values |
//! | `member` | settings of the server's own member of groups |
//! | `document` | a text in TOML, as settings |

#[cfg(feature = "settings")]
mod admin;
#[cfg(feature = "settings")]
mod document;
#[cfg(feature = "settings")]
mod forms;
#[cfg(feature = "settings")]
mod member;
#[cfg(feature = "settings")]
mod settings;
#[cfg(feature = "settings")]
mod table;
#[cfg(all(test, feature = "settings"))]
mod tests;

#[cfg(feature = "settings")]
pub use admin::{AdminHostError, AdminListen, AdminListenError, AdminSettings};
#[cfg(feature = "settings")]
pub use member::{Ingest, IngestError, MemberSettings, SeedDescriptor};
#[cfg(feature = "settings")]
pub use settings::{
    HookSettings, LogFormat, LogSettings, Optional, Reloaded, Settings, SettingsError, VARIABLES,
};

use super::ClusterConfig;
use crate::crypto::IdentityConfig;
use crate::driver::{KeyLogFile, Sockets};
use crate::flash::uri::DEFAULT_PORT;
use crate::rendezvous::RendezvousConfig;
use crate::server::hooks::{Hooks, ServerHooks};
use crate::transport::MAX_WORKERS;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;

/// The usual TCP port of the page with a server's state: next to that of a film. That of RTMFP is RTMP's
/// where TCP is concerned, and a server of that protocol may run on the same host.
#[cfg(any(feature = "settings", feature = "web"))]
pub const ADMIN_PORT: u16 = 8936;

/// Settings of a [`Server`](super::Server). The defaults suit most servers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where to listen, `0.0.0.0:1935` and `[::]:1935` by default. Port 0 lets the operating system
    /// choose. `[::]` is left out with a warning on a host without IPv6.
    pub listen: Vec<SocketAddr>,
    /// Threads that serve clients, one to [`MAX_WORKERS`](crate::transport::MAX_WORKERS), each with
    /// its own sockets; beside them, Diffie-Hellman runs on others. One by default, and one whatever
    /// is asked for where the system does not [spread](Sockets::SPREAD) what arrives over sockets
    /// (others than Linux). A single one runs in the runtime that starts the server.
    /// [`workers_for_all_processors`](Self::workers_for_all_processors) are as many as can be of use.
    pub workers: usize,
    /// Services and bounds of the rendezvous service.
    pub rendezvous: RendezvousConfig,
    /// Its place among servers on other machines.
    pub cluster: ClusterConfig,
    /// Properties of a newly generated certificate.
    pub identity: IdentityConfig,
    /// The file that keeps certificate and keys from one start to the next; created, readable by its
    /// owner only, if it does not exist. Without it every start generates a new certificate, which
    /// matters only to clients that require a certain one.
    pub identity_file: Option<PathBuf>,
    /// The folder that keeps persistent shared objects from one start to the next, a file for each;
    /// made if it does not exist. One server uses it at a time. Changes are written after five seconds,
    /// and at the end; what can't be written is kept in memory and tried again. Without a folder the
    /// objects end with the server.
    pub shared_objects: Option<PathBuf>,
    /// The UDP port to which clients are introduced in connectivity checks, 0 for one that the
    /// operating system chooses. A firewall in front of the server must let datagrams in there that
    /// nobody has asked for; otherwise the server takes clients for those of a symmetric address
    /// translator.
    pub connectivity_port: u16,
    /// Other addresses of this host, for connectivity checks: from the first of a version of IP clients
    /// are sent hellos, and they are introduced to the second.
    pub connectivity_addresses: Vec<IpAddr>,
    /// Logic of the owner: what clients may do, and the answers to their calls. With
    /// [`RendezvousConfig::hooks`], which says what is asked.
    pub hooks: Option<ServerHooks>,
    /// The file to which the secrets of sessions are written, for decoding captures. Anyone who can
    /// read it can read and forge the traffic of the sessions. `None`, the default, keeps no secrets.
    pub key_log: Option<KeyLogFile>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: Self::default_listen(),
            workers: 1,
            rendezvous: RendezvousConfig::default(),
            cluster: ClusterConfig::default(),
            identity: IdentityConfig::default(),
            identity_file: None,
            shared_objects: None,
            connectivity_port: 0,
            connectivity_addresses: Vec::new(),
            hooks: None,
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

    /// These [hooks](Self::hooks), which are asked everything unless
    /// [`RendezvousConfig::hooks`] says otherwise.
    pub fn with_hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Some(ServerHooks::new(hooks));
        self.rendezvous.hooks.get_or_insert_default();
        self
    }

    /// So many [workers](Self::workers), in place of the default.
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// One [worker](Self::workers) for each processor where that is possible, otherwise one.
    pub fn workers_for_all_processors() -> usize {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        if Sockets::SPREAD { processors.min(MAX_WORKERS) } else { 1 }
    }

    /// Every address of this host at RTMFP's port (RFC 7425 §6.1).
    pub fn default_listen() -> Vec<SocketAddr> {
        vec![
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)),
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)),
        ]
    }
}
