//! The rendezvous server inside `share`, for use without `--via`.

use super::public_address::PublicAddress;
use super::screen;
use anyhow::Context;
use rtmfp::driver::{BindError, KeyLogFile};
use rtmfp::proto::flash::uri::DEFAULT_PORT;
use rtmfp::server::{Server, ServerConfig, ServerError};
use rtmfp::vod::ServerAddress;
use rtmfp::vod::link::MAX_SERVERS;
use std::net::SocketAddr;

/// Starts a server on the addresses that `listen` names, or on all, at the first of `ports` that is
/// free, or, if none is, at one that the operating system chooses.
pub(crate) async fn start(
    listen: &[SocketAddr],
    ports: &[u16],
    key_log: Option<KeyLogFile>,
) -> anyhow::Result<Server> {
    let default = ServerConfig::default_listen();
    let at = if listen.is_empty() { &default } else { listen };
    // The file's own socket has the port that was asked for.
    let is_free = |port: &u16| !listen.iter().any(|address| address.port() == *port);
    for port in ports.iter().copied().filter(is_free).chain([0]) {
        let mut config = ServerConfig::default().with_listen(with_port(at, port));
        config.key_log = key_log.clone();
        match Server::start(config).await {
            Err(ServerError::Listen(BindError::PortTaken { .. })) if port != 0 => {}
            started => {
                return started
                    .context("cannot start a rendezvous server (--via URL uses another one)");
            }
        }
    }
    anyhow::bail!("no port is free for a rendezvous server")
}

/// These addresses with another port, each once.
fn with_port(addresses: &[SocketAddr], port: u16) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for mut address in addresses.iter().copied() {
        address.set_port(port);
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// The addresses of the server for a link: the public address, and this host's addresses, or, on a host
/// without network, its loopback address, with a warning unless it was asked for.
pub(crate) fn addresses(
    server: &Server,
    public: Option<&PublicAddress>,
) -> anyhow::Result<Vec<ServerAddress>> {
    let all = server.client_addresses();
    let (inside, outside): (Vec<SocketAddr>, Vec<SocketAddr>) =
        all.into_iter().partition(|a| a.ip().is_loopback());
    let is_asked_for = server.local_addresses().iter().all(|local| local.ip().is_loopback());
    if outside.is_empty() && public.is_none() && !is_asked_for {
        screen::line(
            "WARNING: this host has no network: the link works on this computer only \
             (--public-address names another address)",
        );
    }
    let usable = if outside.is_empty() { inside } else { outside };
    let port = server.local_addresses().first().map_or(DEFAULT_PORT, SocketAddr::port);
    let public = public.map(|public| public.of_server(port)).transpose()?;
    let named = usable.iter().map(|a| ServerAddress::new(&a.ip().to_string(), a.port()));
    let all = public.into_iter().map(Ok).chain(named);
    Ok(all.take(MAX_SERVERS).collect::<Result<_, _>>()?)
}
