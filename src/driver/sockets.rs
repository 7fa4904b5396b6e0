//! The sockets of a driver, by interface number.

use super::address::{MAX_HOST_ADDRESSES, host_addresses, is_useful, normalize};
use super::error::BindError;
use super::flood::Thinning;
use super::multicast::{self, Listener};
use super::socket::{Class, Inbound, Socket};
use super::stats::Counters;
use crate::group::IpMulticastAddress;
use crate::transport::{Interface, Transmit, TransmitBuf};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use tokio::time::Instant;
use tracing::{debug, warn};

/// A batch of so many datagrams is sent at once: joining it with others would save less than the
/// copy costs.
const ENOUGH: usize = 16;
/// Sockets that one driver has at most.
pub const MAX_SOCKETS: usize = 64;
/// Datagrams that are joined before they are sent; what Linux takes in one call. A batch more may
/// come on top.
const MAX_JOINED: usize = 64;

/// Bound UDP sockets, one for each address to listen on; [`Interface`]`(n)` is the n-th.
///
/// A datagram goes out through the socket that its [`Path`](crate::transport::Path) names, or, if
/// that does not support the remote address's version of IP, through the first that does. On a host
/// with several addresses of one version, name each instead of `0.0.0.0` or `[::]`: with those, the
/// operating system chooses from which address an answer comes.
#[derive(Debug)]
pub struct Sockets {
    all: Vec<Socket>,
    joined: Joined,
    held: Held,
    announced: Vec<Announced>,
    /// Those that listen on IP multicast addresses.
    listeners: Vec<Listener>,
    /// IP multicast addresses that cannot be listened on.
    deaf_to: Vec<IpMulticastAddress>,
    logged_unroutable: bool,
}

/// An address that others may use because a router forwards it; `port` is that of the socket unless
/// it is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// The address of the router.
    pub ip: IpAddr,
    /// Its port.
    pub port: Option<u16>,
}

/// Datagrams of one session that go to one address in as few calls as possible.
#[derive(Debug, Default)]
struct Joined {
    to: Option<Target>,
    batch: TransmitBuf,
}

/// A socket, the far address, fields of the IP header, and the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    socket: usize,
    remote: SocketAddr,
    class: Class,
    session: u32,
}

/// Datagrams for which a send buffer had no space.
#[derive(Debug, Default)]
struct Held {
    to: Option<Target>,
    /// Bytes and length of a segment.
    runs: VecDeque<(Vec<u8>, usize)>,
}

impl Sockets {
    /// Opens a socket for each address. Port 0 lets the operating system choose. IPv6 sockets take
    /// no IPv4: name both `0.0.0.0` and `[::]` for both.
    ///
    /// # Errors
    ///
    /// [`BindError`] names the address that can't be used, the cause, and a remedy.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with IO.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        if addresses.is_empty() {
            return Err(BindError::NoAddress);
        }
        if addresses.len() > MAX_SOCKETS {
            return Err(BindError::TooMany { count: addresses.len(), max: MAX_SOCKETS });
        }
        Ok(Self::of(addresses.iter().copied().map(Socket::bind).collect::<Result<_, _>>()?))
    }

    /// True if this system spreads what arrives over several sockets with one address
    /// (`SO_REUSEPORT`): those of one far address over the same socket.
    pub const SPREAD: bool = cfg!(any(target_os = "linux", target_os = "android"));

    /// Sockets more at the same addresses, for another driver; [`Interface`]`(n)` means the same
    /// address to both. What arrives is [spread](Self::SPREAD) over all.
    ///
    /// # Errors
    ///
    /// [`BindError`], also where the system has no such sockets.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with IO.
    pub fn bind_beside(&self) -> Result<Self, BindError> {
        #[cfg(unix)]
        return Ok(Self::of(self.all.iter().map(Socket::beside).collect::<Result<_, _>>()?));
        #[cfg(not(unix))]
        {
            let address = self.local_addresses().first().copied().ok_or(BindError::NoAddress)?;
            Err(BindError::new(address, std::io::ErrorKind::Unsupported.into()))
        }
    }

    fn of(all: Vec<Socket>) -> Self {
        let (joined, held) = (Joined::default(), Held::default());
        Self {
            all,
            joined,
            held,
            announced: Vec::new(),
            listeners: Vec::new(),
            deaf_to: Vec::new(),
            logged_unroutable: false,
        }
    }

    /// As [`bind`](Self::bind), but on a host without IPv6 `[::]` and `[::1]` are left out if there
    /// is an IPv4 address beside them, and likewise `0.0.0.0` and `127.0.0.1` on a host without
    /// IPv4. A warning is logged.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with IO.
    pub fn bind_available(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut wanted = addresses.to_vec();
        loop {
            match Self::bind(&wanted) {
                Err(BindError::NoSuchFamily { address, source })
                    if (address.ip().is_unspecified() || address.ip().is_loopback())
                        && wanted.iter().any(|other| other.is_ipv4() != address.is_ipv4()) =>
                {
                    let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
                    warn!("no {family} on this host ({source}): not listening on {address}");
                    wanted.retain(|other| *other != address);
                }
                bound => return bound,
            }
        }
    }

    /// The addresses of the sockets, with the ports that the operating system chose.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.all.iter().map(Socket::local).collect()
    }

    /// The addresses at which other hosts may reach the sockets without a NAT between: what a peer
    /// reports about itself to the server (`setPeerInfo`). Those [announced](Self::announce) stand
    /// first. In place of `0.0.0.0` and `[::]` stand [the host's own addresses](host_addresses);
    /// loopback addresses are left out.
    pub fn peer_addresses(&self) -> Vec<SocketAddr> {
        let host = host_addresses();
        let mut found = self.announced_addresses();
        for local in self.local_addresses() {
            let (ip, port) = (local.ip(), local.port());
            let same_family = host.iter().filter(|h| h.is_ipv4() == ip.is_ipv4());
            match ip.is_unspecified() {
                true => found.extend(same_family.map(|&ip| SocketAddr::new(ip, port))),
                false if is_useful(&ip) => found.push(local),
                false => {}
            }
        }
        found
    }

    /// Adds addresses that a router forwards to these sockets.
    pub fn announce(&mut self, addresses: impl IntoIterator<Item = Announced>) {
        self.announced.extend(addresses.into_iter().take(MAX_HOST_ADDRESSES));
    }

    fn announced_addresses(&self) -> Vec<SocketAddr> {
        let address = |&Announced { ip, port }: &Announced| {
            let own = self.all.iter().map(Socket::local);
            let own = own.into_iter().find(|local| local.is_ipv4() == ip.is_ipv4());
            Some(SocketAddr::new(ip, port.or(own.map(|own| own.port()))?))
        };
        self.announced.iter().filter_map(address).collect()
    }

    /// True if the host's addresses are those of the sockets.
    pub(super) fn listen_on_all(&self) -> bool {
        self.all.iter().any(|socket| socket.local().ip().is_unspecified())
    }

    /// Number of sockets.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Buffers large enough for any of the sockets.
    pub(super) fn inbound(&self) -> Inbound {
        Inbound::new(self.all.iter().map(Socket::receive_buffer).max().unwrap_or_default())
    }

    /// Receives from the socket `index` into `inbound`.
    pub(super) fn receive(&mut self, index: usize, inbound: &mut Inbound) {
        if let Some(socket) = self.all.get_mut(index) {
            socket.receive(inbound);
        }
    }

    /// Takes a part of the startup packets from now on; see [`thin_out`](super::flood::thin_out).
    pub(super) fn thin_out(&self, taken: Thinning) {
        debug!("one in so many startup packets is taken: {taken:?}");
        for socket in &self.all {
            if let Err(error) = socket.thin_out(taken) {
                debug!(local = %socket.local(), "startup packets can't be thinned out: {error}");
            }
        }
    }

    /// Listens on these IP multicast addresses, and no others. One on which that is not possible is
    /// reported once, as a warning.
    pub(super) fn listen_on(&mut self, wanted: &[IpMulticastAddress]) {
        let known = self.listeners.iter().map(|listener| &listener.address).chain(&self.deaf_to);
        if wanted.len() == known.clone().count() && known.clone().all(|it| wanted.contains(it)) {
            return;
        }
        self.listeners.retain(|listener| wanted.contains(&listener.address));
        self.deaf_to.retain(|address| wanted.contains(address));
        for &address in wanted {
            let is_known = self.listeners.iter().any(|listener| listener.address == address);
            if is_known || self.deaf_to.contains(&address) {
                continue;
            }
            match Listener::open(address) {
                Ok(listener) => self.listeners.push(listener),
                Err(error) => {
                    warn!("no members on the local network at {address}: {error}");
                    self.deaf_to.push(address);
                }
            }
        }
    }

    /// The host's interfaces may have changed.
    pub(super) fn join_again(&mut self) {
        self.listeners.iter_mut().for_each(Listener::join);
    }

    /// Number of sockets that listen on IP multicast addresses.
    pub(super) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// Receives from the `index`-th of them. Returns the address that it listens on.
    pub(super) fn receive_multicast(
        &mut self,
        index: usize,
        inbound: &mut Inbound,
    ) -> Option<SocketAddr> {
        let listener = self.listeners.get_mut(index)?;
        listener.receive(inbound);
        Some(listener.address.group)
    }

    /// Takes a batch. It is sent by [`flush`](Self::flush) at the latest, but together with others
    /// of its session that go to the same address: each acknowledgement that arrives lets a few
    /// datagrams go, and a call for all of those costs little more than a call for one. Not to be
    /// called while
    /// [blocked](Self::is_blocked).
    pub(super) fn send(&mut self, transmit: Transmit, batch: &TransmitBuf, counters: &Counters) {
        let path = transmit.path;
        let remote = normalize(path.remote);
        if remote.ip().is_multicast() {
            for datagram in batch.datagrams() {
                let sent = multicast::send(self.all.iter_mut(), remote, transmit.dscp, datagram);
                counters.send_calls.add(sent);
                counters.datagrams_sent.add(sent);
                counters.bytes_sent.add(sent * datagram.len());
            }
            return;
        }
        let Some(socket) = self.route(path.interface, remote) else {
            counters.datagrams_unroutable.add(batch.datagrams().len());
            self.log_unroutable(remote);
            return;
        };
        let class = Class { ecn: transmit.ecn, dscp: transmit.dscp };
        let target = Target { socket, remote, class, session: transmit.session };
        let enough = batch.datagrams().len() >= ENOUGH || transmit.alone;
        if self.joined.to != Some(target) || enough {
            self.flush(counters);
        }
        if enough && !self.is_blocked() {
            return self.send_batch(target, batch, counters);
        }
        self.joined.to = Some(target);
        batch.datagrams().for_each(|datagram| self.joined.batch.push(datagram));
        if self.joined.batch.datagrams().len() >= MAX_JOINED || transmit.alone {
            self.flush(counters);
        }
    }

    /// Sends what was taken. What finds no space is held, and the sockets are blocked until it is
    /// gone.
    pub(super) fn flush(&mut self, counters: &Counters) {
        if self.is_blocked() {
            return;
        }
        let Some(to) = self.joined.to.take() else { return };
        let mut batch = std::mem::take(&mut self.joined.batch);
        self.send_batch(to, &batch, counters);
        batch.clear();
        self.joined.batch = batch;
    }

    /// Sends a batch; what finds no space is held.
    fn send_batch(&mut self, to: Target, batch: &TransmitBuf, counters: &Counters) {
        let Some(socket) = self.all.get_mut(to.socket) else { return };
        let runs = &mut self.held.runs;
        for (bytes, segment) in batch.runs().filter(|(_, segment)| *segment > 0) {
            let done = match runs.is_empty() {
                true => socket.send(to.remote, to.class, (bytes, segment), counters),
                false => 0,
            };
            if done < bytes.len() {
                runs.push_back((bytes[done..].to_vec(), segment));
            }
        }
        self.held.to = Some(to);
    }

    /// True if something waits for space in a send buffer.
    pub(super) fn is_blocked(&self) -> bool {
        !self.held.runs.is_empty()
    }

    /// Sends what is held, as far as there is space now.
    pub(super) fn send_held(&mut self, counters: &Counters) {
        let Held { to: Some(to), runs } = &mut self.held else { return };
        let Some(socket) = self.all.get_mut(to.socket) else { return };
        while let Some((bytes, segment)) = runs.front_mut() {
            let done = socket.send(to.remote, to.class, (bytes, *segment), counters);
            if done < bytes.len() {
                bytes.drain(..done);
                return;
            }
            runs.pop_front();
        }
    }

    /// Holds runs back as a full send buffer would.
    #[cfg(test)]
    pub(super) fn hold(&mut self, socket: usize, to: SocketAddr, runs: Vec<(Vec<u8>, usize)>) {
        self.held = Held {
            to: Some(Target { socket, remote: to, class: Class::default(), session: 0 }),
            runs: runs.into(),
        };
    }

    /// The number of the socket that `wanted` and the family of `remote` select.
    fn route(&self, wanted: Interface, remote: SocketAddr) -> Option<usize> {
        let supports = |socket: &Socket| socket.local().is_ipv4() == remote.is_ipv4();
        let named = usize::from(wanted.0);
        match self.all.get(named).is_some_and(supports) {
            true => Some(named),
            false => self.all.iter().position(supports),
        }
    }

    fn log_unroutable(&mut self, remote: SocketAddr) {
        if !std::mem::replace(&mut self.logged_unroutable, true) {
            let family = if remote.is_ipv4() { "IPv4" } else { "IPv6" };
            debug!(%remote, "no socket speaks {family}: datagrams to such addresses are dropped");
        }
    }

    /// Waits until a socket may have something to receive. May be cancelled.
    pub(super) async fn readable(&self) {
        poll_fn(|cx| {
            // All are asked, so that each knows whom to wake.
            let ready = self.all.iter().filter(|s| s.poll_readable(cx).is_ready()).count();
            let readable = self.listeners.iter().filter(|l| l.poll_readable(cx).is_ready()).count();
            if ready + readable > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until every socket can send, which a new one can as soon as it is known to be able.
    pub(super) async fn ready(&self) {
        for socket in &self.all {
            poll_fn(|cx| socket.poll_writable(cx)).await;
        }
    }

    /// Waits until what is held may find space; for ever, if nothing is held. May be cancelled.
    pub(super) async fn writable(&self) {
        let blocked = self.held.to.filter(|_| self.is_blocked());
        poll_fn(|cx| match blocked.and_then(|to| self.all.get(to.socket)) {
            Some(socket) => socket.poll_writable(cx),
            None => Poll::Pending,
        })
        .await;
    }

    /// When a socket that only fails is to be tried again.
    pub(super) fn rest_until(&self) -> Option<Instant> {
        self.all.iter().filter_map(Socket::rests_until).min()
    }
}
