//! The rendezvous server as a process: sockets, identity, log, graceful stop.
//!
//! The service itself is in [`rendezvous`](crate::rendezvous); this module runs it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use rtmfp::server::{Server, ServerConfig};
//! use std::time::Duration;
//!
//! let server = Server::start(ServerConfig::default()).await?;
//! for uri in server.client_uris() {
//!     println!("clients connect to {uri}");
//! }
//! // …
//! server.stop(Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The log (`tracing`) has a line at `info` for what a person must know: where the server listens,
//! who connects and goes, which streams begin and end, once a minute the counters if they have changed. Groups and introductions
//! are logged at `debug`.
//!
//! | file | what |
//! | --- | --- |
//! | `config/` | configuration, and files of it |
//! | `error` | errors of starting and stopping |
//! | `hooks/` | logic of the owner |
//! | `identity` | the file that keeps its certificate |
//! | `limits` | which limits are reached |
//! | `service` | the rendezvous state machine as a service of the driver |
//! | `workers` | several of these, as one |
//! | `prober` | other sockets, for connectivity checks |
//! | `mail` | what workers send each other |
//! | `carrier` | what brings commands to other members of a cluster |
//! | `cluster/` | servers on several machines |
//! | `log` | log lines of events |
//! | `objects` | the folder that keeps persistent shared objects |
//! | `saver` | the task that writes them |
//! | `report` | events as they are serialized |
//! | `survey` | what can be read of clients and groups |
//! | `tokens/` | tokens that let clients connect |

mod carrier;
mod cluster;
mod config;
mod error;
mod hooks;
mod identity;
mod limits;
mod log;
mod mail;
mod objects;
mod prober;
#[cfg(feature = "serde")]
mod report;
mod saver;
mod service;
mod survey;
#[cfg(feature = "tokens")]
mod tokens;
mod workers;

pub use crate::crypto::{DhGroup, IdentityConfig, KeyStyle};
pub use crate::rendezvous::hooks::{Caller, ConnectFacts};
pub use crate::rendezvous::{
    ApplicationInfo, CheckTokens, ClientInfo, ConnectivityLimits, Decision, GroupInfo, HookConfig,
    HookEvent, HookKind, Introduction, MAX_REMEMBERED, MAX_TOKEN, Names, Outcome, OwnToken, Part,
    Query, QueryId, RefusalReason, RendezvousConfig, RendezvousEvent, RendezvousStats, Rights,
    SharedObjectLimits, StreamInfo, StreamLimits, TokenError,
};
pub use cluster::{ClusterConfig, ClusterStats};
#[cfg(feature = "cluster-nats")]
pub use cluster::{ClusterUrl, ClusterUrlError};
#[cfg(any(feature = "settings", feature = "web"))]
pub use config::ADMIN_PORT;
pub use config::ServerConfig;
#[cfg(feature = "settings")]
pub use config::{
    AdminHostError, AdminListen, AdminListenError, AdminSettings, HookSettings, Ingest,
    IngestError, LogFormat, LogSettings, MemberSettings, Optional, Reloaded, SeedDescriptor,
    Settings, SettingsError, VARIABLES,
};
pub use error::{IdentityFileError, ServerError, SharedObjectsError, StopError};
#[cfg(feature = "hooks")]
pub use hooks::{HookUrlError, HttpHook};
pub use hooks::{Hooks, ServerHooks};
pub use limits::LimitReached;
#[cfg(feature = "serde")]
pub use report::{Counters, Report};
pub use service::ServerEvent;
pub use survey::{GroupState, Introduced, Listing, MemberLink, ServerLoad};
#[cfg(feature = "tokens")]
pub use tokens::{Allowed, Claims, MAX_KEYS, MIN_SECRET, OneOrMany, SecretFileError, TokenKeys};

use crate::crypto::Fingerprint;
use crate::driver::{self, Clock, Stopped, os_random};
use crate::flash::uri::DEFAULT_PORT;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tracing::info;
use workers::Workers;

/// Events queued for a slow receiver; beyond this, the oldest are dropped.
pub const EVENT_QUEUE: usize = 1024;

/// Counters of a server since it started, and its current clients and groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Time since the start.
    pub uptime: Duration,
    /// Clients, groups and introductions.
    pub rendezvous: RendezvousStats,
    /// Datagrams and bytes.
    pub network: driver::NetworkStats,
    /// Its place in a cluster, if it has one.
    pub cluster: Option<ClusterStats>,
}

/// A running rendezvous server. Clones are cheap and refer to the same server, which stops when the
/// last of them is dropped; [`stop`](Self::stop) stops it gracefully.
#[derive(Debug, Clone)]
pub struct Server {
    workers: Workers,
    clock: Clock,
    fingerprint: Fingerprint,
    /// New receivers subscribe through this one, from which nothing is read. The log task owns the
    /// sender.
    events: Arc<broadcast::Receiver<ServerEvent>>,
}

impl Server {
    /// Starts a server; it listens when this returns.
    ///
    /// # Errors
    ///
    /// [`ServerError`] if an address can't be listened on or the identity file can't be used.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with IO and time.
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let identity = identity::obtain(&config, &mut *os_random())?;
        let fingerprint = identity.fingerprint();
        let clock = Clock::start();
        let (workers, events) = Workers::start(config, identity, clock)?;
        for address in workers.local_addresses() {
            info!("listening on UDP {address}");
        }
        info!(workers = workers.len(), "serving");
        info!("certificate fingerprint {fingerprint}");
        let (listeners, listener) = broadcast::channel(EVENT_QUEUE);
        tokio::spawn(log::run(events, listeners));
        Ok(Self { workers, clock, fingerprint, events: Arc::new(listener) })
    }

    /// The server's events from now on. A receiver that lags behind by more than [`EVENT_QUEUE`]
    /// events loses the oldest and gets their number
    /// ([`RecvError::Lagged`](broadcast::error::RecvError)). The channel closes when the server has
    /// stopped.
    pub fn events(&self) -> broadcast::Receiver<ServerEvent> {
        self.events.resubscribe()
    }

    /// The addresses it listens on, with the ports that the operating system chose.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.workers.local_addresses()
    }

    /// The addresses to which clients connect: of this host's interfaces where the server listens on
    /// all of them, and loopback addresses last. A router that translates addresses has another
    /// one towards the Internet, which is not known here.
    pub fn client_addresses(&self) -> Vec<SocketAddr> {
        reachable(&self.workers.peer_addresses(), self.local_addresses())
    }

    /// [`client_addresses`](Self::client_addresses) as URIs (`rtmfp://192.0.2.7/`). Whatever
    /// follows the slash, a client may name any application.
    pub fn client_uris(&self) -> Vec<String> {
        self.client_addresses().into_iter().map(uri).collect()
    }

    /// The fingerprint of its certificate, which clients may demand.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Counters.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the server has stopped.
    pub async fn stats(&self) -> Result<ServerStats, Stopped> {
        let rendezvous = self.workers.stats().await?;
        let uptime = self.clock.now().since(crate::transport::Time::ZERO);
        let (network, cluster) = (self.workers.network(), self.workers.cluster());
        Ok(ServerStats { uptime, rendezvous, network, cluster })
    }

    /// The streams that are published now, in no particular order.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the server has stopped.
    pub async fn streams(&self) -> Result<Vec<StreamInfo>, Stopped> {
        self.workers.streams().await
    }

    /// Changes settings while the server runs; [`reconfigure`](crate::rendezvous::Rendezvous::reconfigure) says which. Clients stay.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the server has stopped.
    pub async fn reconfigure(&self, config: RendezvousConfig) -> Result<(), Stopped> {
        self.workers.reconfigure(config).await
    }

    /// Stops the server: closes every client's connection and waits until all clients have
    /// confirmed it, at most for `grace`. When this returns, the ports are free, and persistent shared
    /// objects are saved. Returns the counters as they were before the clients were disconnected.
    ///
    /// # Errors
    ///
    /// [`StopError`]; the server has stopped nevertheless.
    pub async fn stop(&self, grace: Duration) -> Result<ServerStats, StopError> {
        let stats = self.stats().await.map_err(|Stopped| StopError::AlreadyStopped)?;
        info!("stopping, {} clients connected", stats.rendezvous.clients);
        let shutdown = self.workers.shutdown(grace).await;
        // Until shared objects are saved.
        let mut events = self.events();
        while !matches!(events.recv().await, Err(broadcast::error::RecvError::Closed)) {}
        match shutdown {
            Ok(()) => Ok(stats),
            Err(source) => Err(StopError::Shutdown { source, stats: Box::new(stats) }),
        }
    }

    /// Waits until the server has stopped for any reason.
    pub async fn stopped(&self) {
        self.workers.closed().await;
    }
}

/// The addresses of interfaces, and loopback addresses where sockets listen on them.
fn reachable(interfaces: &[SocketAddr], listening: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut addresses = interfaces.to_vec();
    for local in listening {
        let loopback = match local.ip() {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            _ => continue,
        };
        addresses.push(SocketAddr::new(loopback, local.port()));
    }
    addresses
}

fn uri(address: SocketAddr) -> String {
    match (address.port(), address.ip()) {
        (DEFAULT_PORT, IpAddr::V4(ip)) => format!("rtmfp://{ip}/"),
        (DEFAULT_PORT, IpAddr::V6(ip)) => format!("rtmfp://[{ip}]/"),
        (port, IpAddr::V4(ip)) => format!("rtmfp://{ip}:{port}/"),
        (port, IpAddr::V6(ip)) => format!("rtmfp://[{ip}]:{port}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::Uri;

    #[test]
    fn uris_name_the_port_only_if_it_is_another() {
        let uri_of = |text: &str| uri(text.parse().unwrap());
        assert_eq!(uri_of("192.0.2.7:1935"), "rtmfp://192.0.2.7/");
        assert_eq!(uri_of("192.0.2.7:19350"), "rtmfp://192.0.2.7:19350/");
        assert_eq!(uri_of("[2001:db8::7]:1935"), "rtmfp://[2001:db8::7]/");
        assert_eq!(uri_of("[2001:db8::7]:7"), "rtmfp://[2001:db8::7]:7/");
        assert!(Uri::parse(&uri_of("[2001:db8::7]:7")).is_ok());
    }
}
