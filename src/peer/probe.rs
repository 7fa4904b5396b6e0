//! [`probe`]: the way between this host and a server, and what it means for peers.

use super::{CallError, ConnectError, Connection, ConnectionEvent, ConnectionEvents, PeerConfig};
use crate::crypto::Epd;
use crate::flash::connectivity::{CODE, METHOD};
use crate::flash::{Connectivity, Dependence};
use crate::transport::{FarAddress, Layer, NamedBy};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{interval, timeout};

/// Time for the results of a check to come.
const RESULTS_WITHIN: Duration = Duration::from_secs(12);
/// Time for the search for the largest datagram.
const PATH_WITHIN: Duration = Duration::from_secs(20);
/// Time for two sockets of this host to meet at the router.
const HAIRPIN_WITHIN: Duration = Duration::from_secs(4);
/// How often the state of a session is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What [`probe`] has found out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Probe {
    /// The address of the server that has answered.
    pub server: SocketAddr,
    /// Smoothed round trip time to the server.
    pub round_trip: Option<Duration>,
    /// The largest datagram that was found to get to the server, in bytes of UDP payload.
    pub datagram: usize,
    /// The results of the server's check, or why there are none.
    pub connectivity: Result<Connectivity, String>,
    /// The address translator leads back what this host sends to its own public address. `None` if there
    /// is no translator or that could not be tried.
    pub hairpin: Option<bool>,
}

/// What the results mean for peers that want to connect to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reachability {
    /// Anybody who knows its address reaches it.
    Open,
    /// Others reach it when a server introduces them, unless theirs is a symmetric translator.
    Introduced,
    /// Others reach it when a server introduces them.
    IntroducedToAll,
    /// Only those reach it, when introduced, to whose addresses nothing is kept from getting in.
    Symmetric,
    /// The server could not tell.
    Unknown,
}

impl Reachability {
    /// As a word for programs: `open`, `introduced`, `introduced-to-all`, `symmetric`, `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Introduced => "introduced",
            Self::IntroducedToAll => "introduced-to-all",
            Self::Symmetric => "symmetric",
            Self::Unknown => "unknown",
        }
    }
}

impl Probe {
    /// What the results mean for peers.
    pub fn reachability(&self) -> Reachability {
        let Ok(found) = &self.connectivity else { return Reachability::Unknown };
        match (found.mapping(), found.filtering()) {
            (_, Some(Dependence::EndpointIndependent)) => Reachability::Open,
            (Some(Dependence::EndpointIndependent | Dependence::PortIndependent), Some(filter)) => {
                match filter {
                    Dependence::AddressAndPortDependent | Dependence::Dependent => {
                        Reachability::Introduced
                    }
                    _ => Reachability::IntroducedToAll,
                }
            }
            (Some(_), Some(_)) => Reachability::Symmetric,
            _ => Reachability::Unknown,
        }
    }

    /// True if an address translator is between this host and the server.
    pub fn is_translated(&self) -> Option<bool> {
        let found = self.connectivity.as_ref().ok()?;
        // Nobody reports that address.
        let is_loopback = found.public_address.is_some_and(|public| public.ip().is_loopback());
        if is_loopback { Some(false) } else { found.public_address_is_local.map(|local| !local) }
    }
}

/// Connects to a server, and finds out what is between. The server makes the checks: one of this crate,
/// or one like Adobe's `cc.rtmfp.net`. Takes a few seconds.
///
/// # Errors
///
/// [`ConnectError`] if the server is not reached. What cannot be checked is `None` or an error in the
/// result.
pub async fn probe(config: PeerConfig, uri: &str) -> Result<Probe, ConnectError> {
    let connection = Connection::connect_with(config.clone(), uri).await?;
    let mut events = connection.events();
    let server = server_of(&mut events).await?;
    let second = async {
        // At a port of its own.
        let config = PeerConfig { listen: PeerConfig::default().listen, seed: None, ..config };
        let connection = Connection::connect_with(config, uri).await.ok()?;
        let mut events = connection.events();
        let server = server_of(&mut events).await.ok()?;
        let checked = results(&connection, &mut events, server).await.ok()?;
        Some((connection, checked))
    };
    let first = results(&connection, &mut events, server);
    let path = connection.measure_path(server);
    let (connectivity, (round_trip, datagram), second) = tokio::join!(first, path, second);
    let mut found = Probe { server, round_trip, datagram, connectivity, hairpin: None };
    if let (Some((second, its)), Some(true)) = (second, found.is_translated()) {
        found.hairpin = hairpin((&connection, &found.connectivity), (&second, &its)).await;
        // Who does not confirm notices that it is gone.
        let _ = second.close(LOOK).await;
    }
    let _ = connection.close(LOOK).await;
    Ok(found)
}

async fn server_of(events: &mut ConnectionEvents) -> Result<SocketAddr, ConnectError> {
    loop {
        match events.recv().await {
            Ok(ConnectionEvent::Connected { server }) => return Ok(server),
            Ok(_) | Err(super::RecvError::Lagged(_)) => {}
            Err(super::RecvError::Closed) => return Err(ConnectError::Closed),
        }
    }
}

/// The results of a check: our server is asked, others begin by themselves.
async fn results(
    connection: &Connection,
    events: &mut ConnectionEvents,
    server: SocketAddr,
) -> Result<Connectivity, String> {
    let called = connection.check_connectivity(server);
    let reported = async {
        loop {
            match events.recv().await {
                Ok(ConnectionEvent::Status { code, info, .. }) if code == CODE => {
                    return Ok(Connectivity::from_info(&info));
                }
                Ok(ConnectionEvent::Closed) => {
                    return Err("the server closed the connection".to_owned());
                }
                Ok(_) | Err(super::RecvError::Lagged(_)) => {}
                Err(super::RecvError::Closed) => return Err("the connection is closed".to_owned()),
            }
        }
    };
    let first = async {
        tokio::select! {
            biased;
            reported = reported => reported,
            called = called => called.map_err(|error| error.to_string()),
        }
    };
    let late = || Err("the server does not make connectivity checks".to_owned());
    timeout(RESULTS_WITHIN, first).await.unwrap_or_else(|_| late())
}

/// True if two connections of this host reach each other at their public addresses.
async fn hairpin(
    (a, of_a): (&Connection, &Result<Connectivity, String>),
    (b, of_b): (&Connection, &Connectivity),
) -> Option<bool> {
    let of_a = of_a.as_ref().ok()?;
    let is_one_address = |found: &Connectivity| {
        let mapping = found.mapping()?;
        let one = [Dependence::EndpointIndependent, Dependence::PortIndependent];
        one.contains(&mapping).then_some(found.public_address?)
    };
    let (at_a, at_b) = (is_one_address(of_a)?, is_one_address(of_b)?);
    let (to_b, to_a) = tokio::join!(a.reaches(b.peer_id(), at_b), b.reaches(a.peer_id(), at_a));
    Some(to_a || to_b)
}

impl Connection {
    /// Asks the server, which is at this address, to find out what is between it and this connection.
    /// Servers of this crate do that.
    ///
    /// # Errors
    ///
    /// [`CallError`], also if the server does not make checks.
    pub async fn check_connectivity(&self, server: SocketAddr) -> Result<Connectivity, CallError> {
        let address = server.ip().to_canonical().to_string();
        let info = self.call(METHOD, vec![address.as_str().into()]).await?;
        Ok(Connectivity::from_info(&info))
    }

    /// Searches for the largest datagram that the path to the server at this address passes. Returns the
    /// round trip time and the bytes of UDP payload.
    async fn measure_path(&self, server: SocketAddr) -> (Option<Duration>, usize) {
        let (mut round_trip, mut datagram, mut begun) = (None, 0, false);
        let measuring = async {
            let mut looks = interval(LOOK);
            loop {
                looks.tick().await;
                let begins = !std::mem::replace(&mut begun, true);
                let look = self.with_machine(move |peer, now| {
                    let endpoint = peer.node_mut().inner_mut();
                    let mut sessions = endpoint.sessions();
                    let (id, _) = sessions.find(|(_, session)| session.path().remote == server)?;
                    drop(sessions);
                    if begins {
                        endpoint.search_path(now, id);
                    }
                    let session = endpoint.session(id)?;
                    let searches = session.is_searching_path();
                    Some((session.round_trip(), session.max_datagram(), searches))
                });
                // The server may have closed the session.
                let Ok(Some((time, size, searches))) = look.await else { return };
                (round_trip, datagram) = (time.or(round_trip), size.max(datagram));
                if !searches {
                    return;
                }
            }
        };
        // What was found until then.
        let _ = timeout(PATH_WITHIN, measuring).await;
        (round_trip, datagram)
    }

    /// True if a peer is reached at this address.
    async fn reaches(&self, peer: crate::crypto::Fingerprint, address: SocketAddr) -> bool {
        let opened = self.with_machine(move |machine, now| {
            let far = FarAddress { address, named_by: NamedBy::Owner };
            machine.node_mut().inner_mut().open_at(now, Epd::for_fingerprint(peer), [far]);
        });
        if opened.await.is_err() {
            return false;
        }
        let waiting = async {
            let mut looks = interval(LOOK);
            loop {
                looks.tick().await;
                let is_open = self.with_machine(move |machine, _| {
                    machine.node().endpoint().session_with(peer).is_some()
                });
                if is_open.await.unwrap_or(true) {
                    return;
                }
            }
        };
        timeout(HAIRPIN_WITHIN, waiting).await.is_ok()
    }
}
