//! The other sockets of a server, for connectivity checks: a driver of their own, which the workers
//! ask.

use super::service::Command;
use super::{ServerConfig, ServerError};
use crate::crypto::{Identity, IdentityConfig};
use crate::driver::{
    Clock, Handle, Service, Sockets, WeakHandle, host_addresses, os_random, spawn,
};
use crate::rendezvous::{ProbePurpose, ProbeRequest, ProbeSocket, Prober};
use crate::transport::{Layer, Time};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

/// Opens the sockets that connectivity checks need beside those at `listening`, and adds them to
/// the configuration of the workers. `None` if no checks are wanted.
pub(super) fn start(
    config: &mut ServerConfig,
    listening: &[SocketAddr],
    clock: Clock,
) -> Result<Option<Probing>, ServerError> {
    if config.rendezvous.connectivity.is_none() {
        return Ok(None);
    }
    let (purposes, wanted): (Vec<_>, Vec<_>) = places(config, listening).into_iter().unzip();
    let sockets = Sockets::bind(&wanted)?;
    let host = host_addresses();
    let places = purposes.into_iter().zip(sockets.local_addresses());
    config.rendezvous.probe_sockets = places
        .map(|(purpose, local)| {
            let others = &config.connectivity_addresses;
            ProbeSocket::new(purpose, reached_at(local, &host, others))
        })
        .collect();
    let mut random = os_random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut *random);
    let workers = Arc::new(OnceLock::new());
    let prober = Prober::new(Arc::new(identity), random);
    let machine = ProberMachine { prober, workers: Arc::clone(&workers) };
    let (handle, _) = spawn(machine, sockets, clock);
    Ok(Some(Probing { handle, workers }))
}

/// The sockets, for each version of IP in which the server listens.
fn places(config: &ServerConfig, listening: &[SocketAddr]) -> Vec<(ProbePurpose, SocketAddr)> {
    let mut all = Vec::new();
    for is_ipv4 in [true, false] {
        let own = listening.iter().find(|address| address.is_ipv4() == is_ipv4);
        let Some(own) = own.map(SocketAddr::ip) else { continue };
        let reply_port = config.connectivity_port;
        all.push((ProbePurpose::HelloFromPort, SocketAddr::new(own, 0)));
        all.push((ProbePurpose::ReplyToPort, SocketAddr::new(own, reply_port)));
        let mut others = config.connectivity_addresses.iter();
        let mut next = || others.find(|ip| ip.is_ipv4() == is_ipv4).copied();
        if let Some(ip) = next() {
            all.push((ProbePurpose::HelloFromAddress, SocketAddr::new(ip, 0)));
        }
        if let Some(ip) = next() {
            // Beside a socket that has this port at all addresses there is no space for it.
            let port = if own.is_unspecified() { 0 } else { reply_port };
            all.push((ProbePurpose::ReplyToAddress, SocketAddr::new(ip, port)));
        }
    }
    all
}

/// The addresses at which clients reach a socket, likely ones first.
fn reached_at(local: SocketAddr, host: &[IpAddr], others: &[IpAddr]) -> Vec<SocketAddr> {
    if !local.ip().is_unspecified() {
        return vec![local];
    }
    let loopback: IpAddr = match local {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let own = host.iter().filter(|ip| ip.is_ipv4() == local.is_ipv4() && !others.contains(ip));
    own.chain([&loopback]).map(|&ip| SocketAddr::new(ip, local.port())).collect()
}

/// The driver of the sockets.
#[derive(Debug)]
pub(super) struct Probing {
    handle: Handle<ProbeRequest>,
    workers: Arc<OnceLock<Vec<WeakHandle<Command>>>>,
}

impl Probing {
    /// The way for the requests of a worker.
    pub(super) fn requests(&self) -> WeakHandle<ProbeRequest> {
        self.handle.downgrade()
    }

    /// Answers go to these workers from now on. It lasts as long as the handle that is returned.
    pub(super) fn connect(self, workers: Vec<WeakHandle<Command>>) -> Handle<ProbeRequest> {
        // Nobody else has set it.
        let _ = self.workers.set(workers);
        self.handle
    }
}

struct ProberMachine {
    prober: Prober,
    workers: Arc<OnceLock<Vec<WeakHandle<Command>>>>,
}

impl Layer for ProberMachine {
    type Inner = Prober;

    fn inner(&self) -> &Prober {
        &self.prober
    }

    fn inner_mut(&mut self) -> &mut Prober {
        &mut self.prober
    }

    fn after_call(&mut self, _now: Time) {
        while let Some(answer) = self.prober.poll_answer() {
            let workers = self.workers.get().map(Vec::as_slice).unwrap_or_default();
            if let Some(worker) = workers.get(answer.worker()) {
                // A worker that is busy loses it like a packet.
                let _ = worker.try_send(Command::Probed(answer));
            }
        }
    }
}

impl Service for ProberMachine {
    type Command = ProbeRequest;
    type Event = std::convert::Infallible;

    fn handle_command(&mut self, now: Time, request: ProbeRequest) {
        self.prober.handle_request(now, &request);
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        None
    }

    fn begin_shutdown(&mut self, _now: Time) {}

    fn is_idle(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn each_version_of_ip_has_its_sockets() {
        let mut config = ServerConfig { connectivity_port: 7, ..ServerConfig::default() };
        let any: [SocketAddr; 2] = ["0.0.0.0:1935".parse().unwrap(), "[::]:1935".parse().unwrap()];
        let places = |config: &ServerConfig, listening: &[SocketAddr]| {
            let all = super::places(config, listening).into_iter();
            all.map(|(_, address)| address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(places(&config, &any), ["0.0.0.0:0", "0.0.0.0:7", "[::]:0", "[::]:7"]);
        config.connectivity_addresses = ips(&["192.0.2.2", "2001:db8::2", "192.0.2.3"]);
        let own: SocketAddr = "192.0.2.1:1935".parse().unwrap();
        let v4 = ["192.0.2.1:0", "192.0.2.1:7", "192.0.2.2:0", "192.0.2.3:7"];
        assert_eq!(places(&config, &[own]), v4);
        assert_eq!(places(&config, &any)[4..], ["[::]:0", "[::]:7", "[2001:db8::2]:0"]);
    }

    #[test]
    fn clients_reach_what_is_not_another_address() {
        let host = ips(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        let reached = |local: &str| {
            let all = reached_at(local.parse().unwrap(), &host, &ips(&["192.0.2.2"]));
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(reached("0.0.0.0:7"), ["192.0.2.1:7", "127.0.0.1:7"]);
        assert_eq!(reached("[::]:7"), ["[2001:db8::1]:7", "[::1]:7"]);
        assert_eq!(reached("192.0.2.2:7"), ["192.0.2.2:7"]);
    }
}
