//! One UDP socket, with segmentation offload in both directions.

use super::address::normalize;
use super::clock::instant_now;
use super::error::BindError;
use super::flood::{self, Thinning};
use super::interfaces::NetworkInterface;
use super::readiness::Watched;
use super::stats::Counters;
use crate::group::IpMulticastAddress;
use crate::transport::{Arrived, Ecn};
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tracing::debug;

/// Buffer requested of the operating system for each direction, in bytes. It may give less.
const SOCKET_BUFFER: usize = 2 << 20;
/// Bytes of UDP payload in one call that sends: what IPv6 allows is more, what IPv4 allows is
/// this (65,535 less headers of 28).
const MAX_SEND: usize = 65_507;
/// Bytes of one receive buffer when the operating system joins datagrams: it never joins more.
const JOINED_BUFFER: usize = 65_536;
/// Bytes of one receive buffer otherwise. The observed player sends and takes at most 4,996.
const SINGLE_BUFFER: usize = 8192;
/// One call takes all that has arrived, as far as there are buffers; elsewhere, one datagram.
const TAKES_ALL: bool = cfg!(any(target_os = "linux", target_os = "android"));
/// A socket that fails this often in a row to receive rests for [`RECEIVE_REST`].
const MAX_RECEIVE_ERRORS: u32 = 8;
const RECEIVE_REST: Duration = Duration::from_millis(100);

/// Fields of a datagram's IP header that determine how routers treat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Class {
    pub(super) ecn: Ecn,
    /// 0 to 63.
    pub(super) dscp: u8,
}

impl Class {
    /// The traffic class byte (RFC 2474, RFC 3168).
    const fn byte(self) -> u8 {
        let ecn = match self.ecn {
            Ecn::NotCapable => 0,
            Ecn::Capable => 2,
            Ecn::Congested => 3,
        };
        self.dscp << 2 | ecn
    }
}

/// Who else may have a socket at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    No,
    /// Other programs, for IP multicast.
    WithAnybody,
    /// The sockets of other drivers of this process.
    #[cfg(unix)]
    WithBeside,
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Socket {
    io: Watched,
    state: UdpSocketState,
    local: SocketAddr,
    receive_errors: u32,
    rests_until: Option<Instant>,
    /// The traffic class that the socket has now, if it was ever set.
    traffic_class: u8,
    /// The last refusal that was logged: repetitions are not.
    logged: Option<io::ErrorKind>,
}

/// Buffers into which [`Socket::receive`] puts datagrams.
pub(super) struct Inbound {
    storage: Vec<u8>,
    buffer: usize,
    metas: [RecvMeta; BATCH_SIZE],
    filled: usize,
}

impl Socket {
    pub(super) fn bind(address: SocketAddr) -> Result<Self, BindError> {
        Self::open(address).map_err(|error| BindError::new(address, error))
    }

    /// A socket whose address other programs may use as well, for IP multicast.
    pub(super) fn shared(address: SocketAddr) -> io::Result<Self> {
        Self::open_with(address, Sharing::WithAnybody)
    }

    /// A socket more at the address of this one. The system divides among the two what arrives,
    /// by a hash of both addresses.
    ///
    /// The first socket was alone at its port when it was bound, so that no other program had it.
    #[cfg(unix)]
    pub(super) fn beside(&self) -> Result<Self, BindError> {
        let open = || {
            SockRef::from(self.io.socket()).set_reuse_port(true)?;
            Self::open_with(self.local, Sharing::WithBeside)
        };
        open().map_err(|error| BindError::new(self.local, error))
    }

    fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_with(address, Sharing::No)
    }

    fn open_with(address: SocketAddr, sharing: Sharing) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if sharing == Sharing::WithAnybody {
            socket.set_reuse_address(true)?;
            // Linux would divide unicast datagrams among the sockets; it shares without.
            #[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
            socket.set_reuse_port(true)?;
        }
        #[cfg(unix)]
        if sharing == Sharing::WithBeside {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        for result in [
            state.set_recv_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER),
            state.set_send_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER),
        ] {
            if let Err(error) = result {
                debug!(%address, "the socket keeps its default buffer: {error}");
            }
        }
        let io = Watched::new(socket.into())?;
        let local = io.socket().local_addr()?;
        Ok(Self {
            io,
            state,
            local,
            receive_errors: 0,
            rests_until: None,
            traffic_class: 0,
            logged: None,
        })
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn thin_out(&self, taken: Thinning) -> io::Result<()> {
        flood::thin_out(SockRef::from(self.io.socket()), taken)
    }

    /// Sends datagrams of `segment` bytes each, the last of which may be shorter. Returns the
    /// bytes that are dealt with: fewer than all if the send buffer is full. What the operating
    /// system refuses is dealt with too: it counts as lost on the way.
    pub(super) fn send(
        &mut self,
        remote: SocketAddr,
        class: Class,
        (run, segment): (&[u8], usize),
        counters: &Counters,
    ) -> usize {
        let mut done = 0;
        while done < run.len() {
            let joined = if class.dscp == 0 { self.segments_at_once(segment) } else { 1 };
            let end = run.len().min(done + joined * segment);
            let contents = &run[done..end];
            let datagrams = contents.len().div_ceil(segment);
            let result = match class.dscp {
                0 => self.try_send(remote, class.ecn, contents, segment),
                _ => self.try_send_classified(remote, class, contents),
            };
            match result {
                Ok(()) => {
                    counters.send_calls.add(1);
                    counters.datagrams_sent.add(datagrams);
                    counters.bytes_sent.add(contents.len());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    counters.send_blocked.add(1);
                    return done;
                }
                // The network card turned out not to split: one by one from now on.
                Err(_) if datagrams > 1 && self.segments_at_once(segment) < joined => continue,
                Err(error) => {
                    counters.datagrams_refused.add(datagrams);
                    self.log_refusal(remote, &error);
                }
            }
            done = end;
        }
        done
    }

    fn segments_at_once(&self, segment: usize) -> usize {
        (MAX_SEND / segment).min(self.state.max_gso_segments()).max(1)
    }

    fn try_send(
        &mut self,
        destination: SocketAddr,
        ecn: Ecn,
        contents: &[u8],
        segment: usize,
    ) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination,
            ecn: match ecn {
                Ecn::NotCapable => None,
                Ecn::Capable => Some(EcnCodepoint::Ect0),
                Ecn::Congested => Some(EcnCodepoint::Ce),
            },
            contents,
            segment_size: (contents.len() > segment).then_some(segment),
            src_ip: None,
        };
        let Self { io, state, .. } = self;
        io.try_send(|socket| state.try_send(UdpSockRef::from(socket), &transmit))
    }

    /// Sends one datagram with a code point. What sends several at once sets the whole traffic
    /// class of each to the congestion bits alone, so that it can't be used here.
    fn try_send_classified(
        &mut self,
        remote: SocketAddr,
        class: Class,
        contents: &[u8],
    ) -> io::Result<()> {
        let traffic_class = class.byte();
        if self.traffic_class != traffic_class {
            self.set_traffic_class(traffic_class)?;
            self.traffic_class = traffic_class;
        }
        let remote = remote.into();
        self.io.try_send(|socket| SockRef::from(socket).send_to(contents, &remote).map(drop))
    }

    /// Receives what is sent to a multicast group on this interface.
    pub(super) fn join_multicast(
        &self,
        address: &IpMulticastAddress,
        interface: NetworkInterface,
    ) -> io::Result<()> {
        let socket = SockRef::from(self.io.socket());
        match (address.group.ip(), address.source, interface) {
            (IpAddr::V4(group), None, NetworkInterface::V4(at)) => {
                socket.join_multicast_v4(&group, &at)
            }
            #[cfg(not(any(target_os = "haiku", target_os = "openbsd", target_os = "netbsd")))]
            (IpAddr::V4(group), Some(IpAddr::V4(source)), NetworkInterface::V4(at)) => {
                socket.join_ssm_v4(&source, &group, &at)
            }
            // Of IPv6, the source is not selected by the system; announcements are sealed anyway.
            (IpAddr::V6(group), _, NetworkInterface::V6(at)) => {
                socket.join_multicast_v6(&group, at)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Sends one datagram to a multicast group on this interface. It reaches programs on this host,
    /// and no other network.
    pub(super) fn send_multicast(
        &mut self,
        to: SocketAddr,
        interface: NetworkInterface,
        class: Class,
        datagram: &[u8],
    ) -> io::Result<()> {
        let socket = SockRef::from(self.io.socket());
        match interface {
            NetworkInterface::V4(at) => socket.set_multicast_if_v4(&at)?,
            NetworkInterface::V6(at) => socket.set_multicast_if_v6(at)?,
        }
        self.try_send_classified(to, class, datagram)
    }

    fn set_traffic_class(&self, byte: u8) -> io::Result<()> {
        let socket = SockRef::from(self.io.socket());
        if self.local.is_ipv4() {
            return socket.set_tos_v4(u32::from(byte));
        }
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
        return socket.set_tclass_v6(u32::from(byte));
        #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
        return Err(io::ErrorKind::Unsupported.into());
    }

    fn log_refusal(&mut self, remote: SocketAddr, error: &io::Error) {
        if self.logged.replace(error.kind()) != Some(error.kind()) {
            debug!(local = %self.local, %remote, "a datagram was refused: {error}");
        }
    }

    /// Receives into `inbound`, which holds nothing afterwards if nothing was there.
    ///
    /// Errors are those of ICMP messages about earlier datagrams, of which anybody can send any
    /// number: like the observed player, nothing is concluded from them.
    pub(super) fn receive(&mut self, inbound: &mut Inbound) {
        inbound.filled = 0;
        if self.is_resting() {
            return;
        }
        for _ in 0..MAX_RECEIVE_ERRORS {
            let (mut buffers, metas) = inbound.buffers();
            let mut filled = 0;
            let result = self.io.try_receive(|socket| {
                filled = self.state.recv(UdpSockRef::from(socket), &mut buffers, metas)?;
                match filled < BATCH_SIZE && TAKES_ALL {
                    // The next call could only find out the same.
                    true => Err(io::ErrorKind::WouldBlock.into()),
                    false => Ok(()),
                }
            });
            inbound.filled = filled;
            match result {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    self.note_receive_error(&error);
                }
                _ if filled > 0 => return self.receive_errors = 0,
                _ => return,
            }
        }
    }

    fn note_receive_error(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable};
        if matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable) {
            return;
        }
        self.receive_errors += 1;
        if self.receive_errors >= MAX_RECEIVE_ERRORS {
            self.receive_errors = 0;
            self.rests_until = Some(instant_now() + RECEIVE_REST);
            debug!(local = %self.local, "receiving fails, trying again soon: {error}");
        }
    }

    fn is_resting(&mut self) -> bool {
        self.rests_until = self.rests_until.filter(|&until| until > instant_now());
        self.rests_until.is_some()
    }

    /// When a socket that only fails is to be tried again.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.rests_until
    }

    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rests_until.is_some() {
            return Poll::Pending;
        }
        self.io.poll_readable(cx)
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_writable(cx)
    }

    /// Bytes that one receive buffer needs.
    pub(super) fn receive_buffer(&self) -> usize {
        if self.state.gro_segments() > 1 { JOINED_BUFFER } else { SINGLE_BUFFER }
    }
}

impl Inbound {
    /// Buffers of `buffer` bytes each.
    pub(super) fn new(buffer: usize) -> Self {
        let metas = [RecvMeta::default(); BATCH_SIZE];
        Self { storage: vec![0; buffer * BATCH_SIZE], buffer, metas, filled: 0 }
    }

    fn buffers(&mut self) -> ([IoSliceMut<'_>; BATCH_SIZE], &mut [RecvMeta]) {
        let mut chunks = self.storage.chunks_exact_mut(self.buffer);
        let buffers = std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        (buffers, &mut self.metas)
    }

    /// The datagrams received, each run with its source.
    pub(super) fn runs(&mut self) -> impl Iterator<Item = (SocketAddr, Arrived<'_>)> {
        let buffers = self.storage.chunks_exact_mut(self.buffer);
        self.metas.iter().take(self.filled).zip(buffers).map(|(meta, buffer)| {
            let len = meta.len.min(buffer.len());
            let ecn = match meta.ecn {
                None => Ecn::NotCapable,
                Some(EcnCodepoint::Ect0 | EcnCodepoint::Ect1) => Ecn::Capable,
                Some(EcnCodepoint::Ce) => Ecn::Congested,
            };
            let arrived = Arrived { bytes: &mut buffer[..len], segment: meta.stride.max(1), ecn };
            (normalize(meta.addr), arrived)
        })
    }
}
