//! The attacker's socket. On loopback it sends from any address of 127.64.0.0/10, as an attacker does who
//! forges sources or has many hosts; elsewhere from its own alone.

use anyhow::Context;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use std::io::{ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Bytes of one receive buffer: the system may join datagrams up to so many.
const BUFFER: usize = 65_536;
/// Datagrams that one call of the system takes, all from one source.
pub(super) const RUN: usize = 32;
/// Hosts that can be forged: 22 bits.
const HOSTS: u32 = 1 << 22;

pub(super) struct Line {
    socket: UdpSocket,
    state: UdpSocketState,
    server: SocketAddr,
    has_hosts: bool,
    storage: Vec<u8>,
    pub(super) sent: Counted,
    pub(super) received: Counted,
}

/// Datagrams and bytes of their payload.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
}

impl Counted {
    fn add(&mut self, bytes: usize) {
        self.datagrams += 1;
        self.bytes += bytes as u64;
    }
}

impl Line {
    pub(super) fn open(server: SocketAddr) -> anyhow::Result<Self> {
        let any = SocketAddr::from(([0; 4], 0));
        let socket = UdpSocket::bind(any).context("the attacker's socket")?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            state,
            server,
            has_hosts: server.ip().is_loopback(),
            storage: vec![0; BUFFER * BATCH_SIZE],
            sent: Counted::default(),
            received: Counted::default(),
        })
    }

    /// The address of one of the attacker's hosts.
    pub(super) const fn host(number: u32) -> Ipv4Addr {
        let [_, a, b, c] = (number % HOSTS).to_be_bytes();
        Ipv4Addr::new(127, 64 + a, b, c)
    }

    /// Sends one datagram. What the system has no space for is lost, as on any line.
    pub(super) fn send(&mut self, from: Ipv4Addr, datagram: &[u8]) {
        self.send_run(from, datagram, datagram.len());
    }

    /// Sends datagrams of the same length, which the system takes at once.
    pub(super) fn send_run(&mut self, from: Ipv4Addr, run: &[u8], segment: usize) {
        let at_once = self.state.max_gso_segments().clamp(1, RUN) * segment;
        for contents in run.chunks(at_once.max(1)) {
            let transmit = Transmit {
                destination: self.server,
                ecn: None,
                contents,
                segment_size: (contents.len() > segment).then_some(segment),
                src_ip: self.has_hosts.then_some(IpAddr::V4(from)),
            };
            if self.state.try_send(UdpSockRef::from(&self.socket), &transmit).is_ok() {
                self.sent.datagrams += (contents.len() / segment) as u64;
                self.sent.bytes += contents.len() as u64;
            }
        }
    }

    /// Reads what has come, until nothing is there or many datagrams were read, each with the host that it
    /// came for.
    pub(super) fn receive(
        &mut self,
        mut each: impl FnMut(Ipv4Addr, &mut [u8], &mut Vec<(Ipv4Addr, Vec<u8>)>),
    ) -> anyhow::Result<usize> {
        let mut answers = Vec::new();
        let mut total = 0;
        while total < 16 * BATCH_SIZE {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut chunks = self.storage.chunks_exact_mut(BUFFER);
            let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let socket = UdpSockRef::from(&self.socket);
            let filled = match self.state.recv(socket, &mut buffers, &mut metas) {
                Ok(filled) => filled,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Of an earlier datagram: the server's host was not there.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error.into()),
            };
            for (meta, buffer) in metas.iter().take(filled).zip(&mut buffers) {
                let Some(IpAddr::V4(to)) = meta.dst_ip else { continue };
                for datagram in buffer[..meta.len].chunks_mut(meta.stride.max(1)) {
                    self.received.add(datagram.len());
                    total += 1;
                    each(to, datagram, &mut answers);
                }
            }
        }
        for (from, answer) in answers {
            self.send(from, &answer);
        }
        Ok(total)
    }
}
