//! Servers on several machines, as one.
//!
//! What members of a cluster ask each other is in [`rendezvous::cluster`](crate::rendezvous::cluster).
//! A [`Carrier`] brings it to those on other machines, by a message bus.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | settings, and the bus that they name |
//! | `frame` | what servers send each other, as bytes |
//! | `roster` | the other servers, and how much each has to do |
//! | `nats` | NATS as the bus |
//! | `static_list` | other servers that take newcomers, without a bus |

#[cfg(feature = "cluster-nats")]
mod frame;
#[cfg(feature = "cluster-nats")]
mod nats;
#[cfg(feature = "cluster-nats")]
mod roster;
mod static_list;

#[cfg(feature = "cluster-nats")]
pub use nats::{ClusterUrl, ClusterUrlError};

use super::carrier::Carrier;
use super::mail::Boxes;
use crate::driver::{Clock, Sockets};
use crate::flash::Uri;
use crate::rendezvous::RendezvousConfig;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(feature = "cluster-nats")]
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The place of a server in a cluster.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// The cluster's name: only servers that give the same one find each other on a bus. Letters,
    /// digits, `-` and `_`, at most [`MAX_NAME`](Self::MAX_NAME) of them.
    pub name: String,
    /// The servers of NATS, of which one is used at a time. Without any there is no bus.
    #[cfg(feature = "cluster-nats")]
    pub nats: Vec<ClusterUrl>,
    /// Other servers to which newcomers are sent when this one has [enough](Self::enough) clients:
    /// `HOST` or `HOST:PORT`. Not used with a bus, by which servers know how busy others are.
    pub servers: Vec<String>,
    /// Clients from which on newcomers are sent to [`servers`](Self::servers); nine tenths of the
    /// sessions that the server may have, by default.
    pub enough: Option<usize>,
    /// The addresses to which clients of other servers may be sent; empty: those that
    /// [`listen`](super::ServerConfig::listen) names or the interfaces of this host have.
    pub addresses: Vec<SocketAddr>,
}

impl ClusterConfig {
    /// The longest name.
    pub const MAX_NAME: usize = 64;

    /// True if this can be one of the [`servers`](Self::servers).
    pub fn is_server(text: &str) -> bool {
        host_and_port(text).is_some()
    }

    /// True if this can be the name of a cluster.
    pub fn is_name(text: &str) -> bool {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=Self::MAX_NAME).contains(&text.len()) && text.bytes().all(is_fit)
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            name: "rtmfp".to_owned(),
            #[cfg(feature = "cluster-nats")]
            nats: Vec::new(),
            servers: Vec::new(),
            enough: None,
            addresses: Vec::new(),
        }
    }
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ClusterConfig");
        out.field("name", &self.name).field("addresses", &self.addresses);
        out.field("servers", &self.servers).field("enough", &self.enough);
        #[cfg(feature = "cluster-nats")]
        out.field("nats", &self.nats);
        out.finish()
    }
}

/// The host and the port of another server.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let uri = Uri::parse(&format!("rtmfp://{text}/")).ok().filter(|uri| uri.app().is_empty())?;
    uri.server().map(|(host, port)| (host.to_string().replace(['[', ']'], ""), port))
}

/// The bus by which a server reaches others, or what takes its place.
#[derive(Debug)]
pub(super) enum Bus {
    #[cfg(feature = "cluster-nats")]
    Nats(Arc<Counters>, nats::Membership),
    StaticList,
}

impl Bus {
    /// Connects the workers with those of other servers, or has newcomers sent to them, if the
    /// configuration says so.
    pub(super) fn start(
        config: &ClusterConfig,
        clock: Clock,
        rendezvous: &RendezvousConfig,
        sockets: &Sockets,
        boxes: &Boxes,
    ) -> Option<(Self, Option<Arc<dyn Carrier>>)> {
        #[cfg(feature = "cluster-nats")]
        if !config.nats.is_empty() {
            let (bus, carrier) = Self::nats(config, clock, rendezvous, sockets, boxes);
            return Some((bus, Some(carrier)));
        }
        #[cfg(not(feature = "cluster-nats"))]
        let _ = (clock, sockets);
        if config.servers.is_empty() {
            return None;
        }
        let enough = config.enough.unwrap_or(rendezvous.transport.max_sessions / 10 * 9);
        static_list::start(&config.servers, enough, boxes);
        Some((Self::StaticList, None))
    }

    #[cfg(feature = "cluster-nats")]
    fn nats(
        config: &ClusterConfig,
        clock: Clock,
        rendezvous: &RendezvousConfig,
        sockets: &Sockets,
        boxes: &Boxes,
    ) -> (Self, Arc<dyn Carrier>) {
        let counters = Arc::new(Counters::default());
        let addresses = match config.addresses.is_empty() {
            true => own_addresses(sockets),
            false => config.addresses.clone(),
        };
        let own = (rendezvous.transport.max_sessions, addresses);
        let (nats, membership) =
            nats::Nats::start(config, clock, own, boxes.clone(), Arc::clone(&counters));
        (Self::Nats(counters, membership), nats)
    }

    /// What is known of other servers.
    pub(super) fn stats(&self) -> Option<ClusterStats> {
        match self {
            #[cfg(feature = "cluster-nats")]
            Self::Nats(counters, _) => Some(counters.read()),
            Self::StaticList => None,
        }
    }

    /// Tells other servers that this one stops.
    pub(super) async fn leave(&self) {
        match self {
            #[cfg(feature = "cluster-nats")]
            Self::Nats(_, membership) => membership.end().await,
            Self::StaticList => {}
        }
    }
}

/// The addresses of this host; those of loopback only if it has no others.
#[cfg(feature = "cluster-nats")]
fn own_addresses(sockets: &Sockets) -> Vec<SocketAddr> {
    let mut addresses = super::reachable(&sockets.peer_addresses(), &sockets.local_addresses());
    if addresses.iter().any(|address| !address.ip().is_loopback()) {
        addresses.retain(|address| !address.ip().is_loopback());
    }
    addresses
}

/// Counters of a server's place in a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStats {
    /// The bus can be reached now.
    pub connected: bool,
    /// Servers of the cluster that are known now, this one among them.
    pub servers: usize,
    /// Commands that were given to the bus.
    pub sent: u64,
    /// Commands that have come from other servers.
    pub received: u64,
    /// Commands that were lost: the bus was not connected, or could not keep up.
    pub lost: u64,
}

/// [`ClusterStats`], as they change.
#[cfg(feature = "cluster-nats")]
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connected: AtomicBool,
    /// Other servers.
    pub(super) others: AtomicUsize,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) lost: AtomicU64,
}

#[cfg(feature = "cluster-nats")]
impl Counters {
    pub(super) fn read(&self) -> ClusterStats {
        ClusterStats {
            connected: self.connected.load(Relaxed),
            servers: self.others.load(Relaxed) + 1,
            sent: self.sent.load(Relaxed),
            received: self.received.load(Relaxed),
            lost: self.lost.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_hosts_with_or_without_a_port() {
        let of = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(host_and_port("b.example"), of("b.example", 1935));
        assert_eq!(host_and_port("192.0.2.1:80"), of("192.0.2.1", 80));
        assert_eq!(host_and_port("[2001:db8::1]:80"), of("2001:db8::1", 80));
        for wrong in ["", "a/b", "rtmfp://a", "a:b", "a:0", "a:99999"] {
            assert_eq!(host_and_port(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_words() {
        for good in ["rtmfp", "a", "Europe-1_b", &"x".repeat(64)] {
            assert!(ClusterConfig::is_name(good), "{good}");
        }
        for wrong in ["", "a.b", "a b", ">", "*", "é", &"x".repeat(65)] {
            assert!(!ClusterConfig::is_name(wrong), "{wrong}");
        }
    }
}
