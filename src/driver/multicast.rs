//! IP multicast: sockets that listen on a group's address, and sending to one on every network of the
//! host.

use super::address::normalize;
use super::interfaces::{NetworkInterface, interfaces};
use super::socket::{Class, Inbound, Socket};
use crate::group::IpMulticastAddress;
use crate::transport::Ecn;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};
use tracing::debug;

/// A socket that receives what is sent to one IP multicast address.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: IpMulticastAddress,
    socket: Socket,
    joined: BTreeSet<NetworkInterface>,
}

impl Listener {
    /// Listens on this address, on every interface. Other programs on this host may do the same.
    pub(super) fn open(address: IpMulticastAddress) -> io::Result<Self> {
        let socket = Socket::shared(listening_address(address.group))?;
        let mut listener = Self { address, socket, joined: BTreeSet::new() };
        listener.join();
        if listener.joined.is_empty() {
            let text = "no interface of this host takes IP multicast";
            return Err(io::Error::new(io::ErrorKind::NetworkUnreachable, text));
        }
        Ok(listener)
    }

    /// Joins the group on the interfaces that have come.
    pub(super) fn join(&mut self) {
        let any = match self.address.group {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let interfaces: BTreeSet<_> = interfaces(any).into_iter().collect();
        self.joined.retain(|known| interfaces.contains(known));
        for interface in interfaces {
            if self.joined.contains(&interface) {
                continue;
            }
            match self.socket.join_multicast(&self.address, interface) {
                Ok(()) => {
                    self.joined.insert(interface);
                }
                Err(error) => {
                    let group = self.address.group;
                    debug!(%group, ?interface, "not listening to IP multicast here: {error}");
                }
            }
        }
    }

    pub(super) fn receive(&mut self, inbound: &mut Inbound) {
        self.socket.receive(inbound);
    }

    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_readable(cx)
    }
}

/// Where a socket is bound that listens on `group`: there, so that it gets nothing else; some systems
/// allow only the port.
fn listening_address(group: SocketAddr) -> SocketAddr {
    if cfg!(windows) {
        let any = match group {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        return SocketAddr::new(any, group.port());
    }
    group
}

/// Sends a datagram to an IP multicast address, from each of `sockets` on each network that it is on.
/// What a network refuses counts as lost.
pub(super) fn send<'a>(
    sockets: impl Iterator<Item = &'a mut Socket>,
    to: SocketAddr,
    dscp: u8,
    datagram: &[u8],
) -> usize {
    let to = normalize(to);
    let mut sent = 0;
    for socket in sockets.filter(|socket| socket.local().is_ipv4() == to.is_ipv4()) {
        for interface in interfaces(socket.local().ip()) {
            let class = Class { ecn: Ecn::NotCapable, dscp };
            match socket.send_multicast(to, interface, class, datagram) {
                Ok(()) => sent += 1,
                Err(error) => debug!(%to, ?interface, "no announcement here: {error}"),
            }
        }
    }
    sent
}
