//! The rendezvous server that `share` brings along when it is told no other.

use anyhow::Context;
use rtmfp::driver::{BindError, KeyLogFile};
use rtmfp::server::{Server, ServerConfig, ServerError};
use rtmfp::vod::ServerAddress;
use rtmfp::vod::link::MAX_SERVERS;
use std::net::SocketAddr;

/// Starts a server at RTMFP's port, or, if that is taken, at one that the operating system chooses.
pub(crate) async fn start(key_log: Option<KeyLogFile>) -> anyhow::Result<Server> {
    let config = ServerConfig { key_log, ..ServerConfig::default() };
    let server = match Server::start(config.clone()).await {
        Err(ServerError::Listen(BindError::PortTaken { .. })) => {
            let any_port = config.listen.iter().map(|a| SocketAddr::new(a.ip(), 0)).collect();
            Server::start(ServerConfig { listen: any_port, ..config }).await
        }
        started => started,
    };
    server.context("cannot start a rendezvous server (--via URL uses another one)")
}

/// Where others reach it, for a link: this host's addresses, or, on a host without network, its
/// loopback address.
pub(crate) fn addresses(server: &Server) -> anyhow::Result<Vec<ServerAddress>> {
    let all = server.client_addresses();
    let outside: Vec<SocketAddr> = all.iter().copied().filter(|a| !a.ip().is_loopback()).collect();
    let usable = if outside.is_empty() { all } else { outside };
    let named = usable.iter().map(|a| ServerAddress::new(&a.ip().to_string(), a.port()));
    Ok(named.take(MAX_SERVERS).collect::<Result<_, _>>()?)
}
