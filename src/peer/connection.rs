//! [`Connection`]: one endpoint and its NetConnection.

use super::error::{Problem, Unreachable};
use super::event::{ConnectionEvent, ConnectionEvents};
use super::machine::{Command, PeerMachine};
use super::queue::Queue;
use super::reconnect::{Reconnect, ResolvedServer};
use super::signals::{Signal, Signals};
use super::state::{ConnectionState, ConnectionStats};
use super::{ConnectError, PeerConfig};
use crate::crypto::{Fingerprint, Identity};
use crate::driver::{self, Clock, Handle, Pool, ShutdownError, Sockets, Stopped, os_random};
use crate::flash::{Host, Uri};
use crate::node::{Limits, Node};
use crate::transport::{LinkRates, Time};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// One endpoint with its own peer ID, and its NetConnection to a server.
///
/// Clones are cheap and refer to the same connection. When the last clone and the last handle of
/// its groups are dropped, everything is closed; [`close`](Self::close) does so at once and waits
/// for the far ends.
#[derive(Clone)]
pub struct Connection {
    pub(super) handle: Handle<Command>,
    peer_id: Fingerprint,
    events: Arc<Queue<ConnectionEvent>>,
    state: watch::Receiver<ConnectionState>,
    signals: Arc<Signals>,
    pool: Pool,
}

impl Connection {
    /// Connects to the server of `uri` (`rtmfp://host/app`) with the default settings.
    ///
    /// The URI `rtmfp:` names no server: members of groups are found on the local network, if the
    /// groupspec allows that, and by the groupspec's bootstrap peers.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] names the attempt that failed.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with IO and time.
    pub async fn connect(uri: &str) -> Result<Self, ConnectError> {
        Self::connect_with(PeerConfig::default(), uri).await
    }

    /// Connects as [`connect`](Self::connect) does, with the given settings.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(config: PeerConfig, uri: &str) -> Result<Self, ConnectError> {
        let uri = Uri::parse(uri)?;
        if uri.is_serverless() {
            return Self::serverless(config).await;
        }
        let opened = Self::connect_to_any(config, std::slice::from_ref(&uri)).await;
        opened.map_err(|error| of_single_server(error, &uri))
    }

    /// Connects as [`connect_with`](Self::connect_with) does, to the first of several servers that
    /// can be reached. If the connection is lost later, the servers are tried in turn.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); [`ConnectError::Unreachable`] holds the failure of each
    /// server.
    ///
    /// # Panics
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_to_any(config: PeerConfig, servers: &[Uri]) -> Result<Self, ConnectError> {
        let servers = resolve(servers).await?;
        let connection = Self::open(config)?;
        connection.connect_to(servers).await?;
        Ok(connection)
    }

    /// Opens a connection that needs no server: members of groups are found on the local network, if
    /// the groupspec allows that, and by the groupspec's bootstrap peers. Meanwhile the first of
    /// `servers` that can be reached is connected to, however long that takes; the
    /// [events](Self::events) tell how it goes.
    ///
    /// # Errors
    ///
    /// No socket, or a URI without a server.
    ///
    /// # Panics
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_in_background(
        config: PeerConfig,
        servers: &[Uri],
    ) -> Result<Self, ConnectError> {
        if servers.iter().any(Uri::is_serverless) {
            return Err(ConnectError::Serverless);
        }
        let connection = Self::serverless(config).await?;
        if !servers.is_empty() {
            let servers = servers.iter().map(ResolvedServer::unresolved).collect();
            let (reconnect, commands) =
                (Reconnect::new(servers, Vec::new()), connection.handle.downgrade());
            let begun = connection
                .with_machine(move |peer, now| peer.connect_in_background(now, reconnect, commands))
                .await;
            begun.map_err(|Stopped| ConnectError::Closed)?;
        }
        Ok(connection)
    }

    /// Connects again, to the same or another server, replacing the current connection. Peer ID,
    /// groups and neighbors remain; the groups are joined at the server.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn reconnect(&self, uri: &str) -> Result<(), ConnectError> {
        let uri = Uri::parse(uri)?;
        let connected = async { self.connect_to(resolve(std::slice::from_ref(&uri)).await?).await };
        connected.await.map_err(|error| of_single_server(error, &uri))
    }

    /// This end's peer ID.
    pub fn peer_id(&self) -> Fingerprint {
        self.peer_id
    }

    /// The addresses of its sockets.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.handle.local_addresses()
    }

    /// The current state.
    pub fn state(&self) -> ConnectionState {
        *self.state.borrow()
    }

    /// The state, as a channel to wait on.
    pub fn watch_state(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }

    /// The events of this connection.
    pub fn events(&self) -> ConnectionEvents {
        ConnectionEvents::new(Arc::clone(&self.events))
    }

    /// Counters of this connection.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the connection was closed.
    pub async fn stats(&self) -> Result<ConnectionStats, Stopped> {
        let of_endpoint = |peer: &mut PeerMachine, _| {
            let endpoint = peer.node().endpoint();
            (endpoint.sessions().count(), endpoint.links())
        };
        let (sessions, links) = self.with_machine(of_endpoint).await?;
        Ok(ConnectionStats { sessions, links, network: self.handle.stats() })
    }

    /// Begins with what the links to other networks carried in an earlier run, from its
    /// [`ConnectionStats::links`]: a full uplink that carries little serves few members at a time from
    /// the start. It is a hint, which the first measurement replaces, and which is not believed for
    /// long while transfers do not fill the link.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the connection was closed.
    pub async fn remember_links(&self, links: LinkRates) -> Result<(), Stopped> {
        self.with_machine(move |peer, now| peer.remember_links(now, links)).await
    }

    /// Counters of the sockets.
    pub fn network_stats(&self) -> driver::NetworkStats {
        self.handle.stats()
    }

    /// Sets how fast this connection sends and receives, with all of its groups and files. Takes
    /// effect at once, for what is on its way as well; [`Limits::default`] is no limit.
    ///
    /// ```no_run
    /// # async fn example(connection: rtmfp::Connection) -> Result<(), Box<dyn std::error::Error>> {
    /// use rtmfp::peer::{Bandwidth, Limits};
    ///
    /// let up = Bandwidth::bytes_per_second(500_000);
    /// let limits = Limits::default().with_up(Some(up)).with_down(Some("4Mbit/s".parse()?));
    /// connection.set_limits(limits).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the connection was closed.
    pub async fn set_limits(&self, limits: Limits) -> Result<(), Stopped> {
        self.with_machine(move |peer, now| peer.set_limits(now, limits)).await
    }

    /// How fast this connection sends and receives at most.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the connection was closed.
    pub async fn limits(&self) -> Result<Limits, Stopped> {
        self.with_machine(|peer, _| peer.node().limits()).await
    }

    /// The threads for blocking work of its [guests](crate::node::Guest).
    pub fn pool(&self) -> Pool {
        self.pool.clone()
    }

    /// Leaves every group and closes every session, and waits until the far ends have confirmed, at
    /// most for `grace`.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] if a far end did not confirm; everything is closed nevertheless.
    pub async fn close(&self, grace: Duration) -> Result<(), ShutdownError> {
        self.handle.shutdown(grace).await
    }

    /// Opens sockets and a node, without a server.
    fn open(mut config: PeerConfig) -> Result<Self, ConnectError> {
        let mut sockets = Sockets::bind_available(&config.listen)?;
        sockets.announce(config.announced);
        let mut random = os_random();
        let identity = match &config.seed {
            Some(seed) => Identity::generate(&config.identity, &mut seed.random("identity")),
            None => Identity::generate(&config.identity, &mut *random),
        };
        let clock = Clock::start();
        config.node.transport.keep_secrets |= config.key_log.is_some();
        let mut node = Node::new(config.node, identity, random, os_random());
        node.set_limits(clock.now(), config.limits);
        let peer_id = node.peer_id();
        let events = Arc::new(Queue::new());
        let (sender, state) = watch::channel(ConnectionState::Closed);
        let signals = Arc::new(Signals::default());
        let (queue, reports) = (Arc::clone(&events), Arc::clone(&signals));
        let machine = PeerMachine::new(node, queue, sender, reports, config.key_log);
        let (handle, _) = driver::spawn(machine, sockets, clock);
        Ok(Self { handle, peer_id, events, state, signals, pool: Pool::default() })
    }

    /// Opens an endpoint that has no server.
    async fn serverless(config: PeerConfig) -> Result<Self, ConnectError> {
        let connection = Self::open(config)?;
        let own = connection.handle.peer_addresses();
        let begun = connection.with_machine(move |peer, now| peer.begin_serverless(now, own)).await;
        begun.map_err(|Stopped| ConnectError::Closed)?;
        Ok(connection)
    }

    async fn connect_to(&self, servers: Reconnect) -> Result<(), ConnectError> {
        let (own, commands) = (self.handle.peer_addresses(), self.handle.downgrade());
        let (answer, outcome) = oneshot::channel();
        let command = move |peer: &mut PeerMachine, now: Time| {
            peer.set_addresses(now, own);
            peer.connect(now, servers, commands, answer);
        };
        self.with_machine(command).await.map_err(|Stopped| ConnectError::Closed)?;
        let outcome = outcome.await.map_err(|_| ConnectError::Closed)?;
        outcome.map(drop).map_err(ConnectError::Unreachable)
    }

    /// Reports something to the machine without waiting for it.
    pub(super) fn signal(&self, signal: Signal) {
        self.signals.push(signal);
        // Wakes the machine; while the queue is full it is awake.
        drop(self.handle.try_send(Box::new(|_, _| {})));
    }

    /// Calls the machine in its task.
    pub(super) async fn with_machine<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut PeerMachine, Time) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (answer, result) = oneshot::channel();
        let command = move |peer: &mut PeerMachine, now: Time| {
            // The caller may be gone.
            drop(answer.send(call(peer, now)));
        };
        self.handle.send(Box::new(command)).await?;
        result.await.map_err(|_| Stopped)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer_id", &self.peer_id)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// The servers whose names have addresses, and the failures of the others.
async fn resolve(servers: &[Uri]) -> Result<Reconnect, ConnectError> {
    let (mut resolved, mut failures) = (Vec::new(), Vec::new());
    for uri in servers {
        let (host, port) = uri.server().ok_or(ConnectError::Serverless)?;
        let addresses = match host {
            Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, port)]),
            Host::Name(name) => driver::resolve(name, port).await,
        };
        match addresses {
            Ok(addresses) => resolved.push(ResolvedServer { uri: uri.clone(), addresses }),
            Err(error) => {
                let problem = Problem::Name(Arc::new(error));
                failures.push(Unreachable { server: format!("{host}:{port}"), problem });
            }
        }
    }
    match (resolved.is_empty(), failures.is_empty()) {
        (true, true) => Err(ConnectError::Serverless),
        (true, false) => Err(ConnectError::Unreachable(failures)),
        (false, _) => Ok(Reconnect::new(resolved, failures)),
    }
}

/// The error of an attempt that tried only one server.
fn of_single_server(error: ConnectError, uri: &Uri) -> ConnectError {
    let ConnectError::Unreachable(mut failures) = error else { return error };
    match (failures.pop().map(|failure| failure.problem), uri.server()) {
        (Some(Problem::Connect { error, .. }), _) => error.into(),
        (Some(Problem::Name(source)), Some((Host::Name(host), _))) => {
            ConnectError::Resolve { host: host.clone(), source }
        }
        _ => ConnectError::Closed,
    }
}
