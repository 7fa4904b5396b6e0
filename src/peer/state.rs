//! [`ConnectionState`] and [`ConnectionStats`].

use crate::driver;
use crate::transport::LinkRates;
use std::net::SocketAddr;

/// The state of a connection to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// A server is being connected to.
    Connecting,
    /// The connection is up.
    Connected {
        /// The server's address.
        server: SocketAddr,
    },
    /// There is no server, and none is wanted: the URI was `rtmfp:`.
    Serverless,
    /// There is no connection. Groups and their neighbors remain, but the server introduces no
    /// further members.
    Closed,
}

/// Counters of a connection since it was made, and its current size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Open sessions, including the one to the server.
    pub sessions: usize,
    /// What the links to other networks carry, as far as it was measured or
    /// [remembered](super::Connection::remember_links).
    pub links: LinkRates,
    /// Datagrams and bytes.
    pub network: driver::NetworkStats,
}
