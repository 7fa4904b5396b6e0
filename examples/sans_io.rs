//! The protocol without an async runtime: one `std::net::UdpSocket` in a loop that runs once a
//! frame, as the loop of an emulator does.
//!
//! With a rendezvous server running (`rtmfp serve`), type this in one terminal, where the number is
//! how many seconds the loop goes on:
//!
//! ```text
//! $ cargo run --no-default-features --features core --example sans_io rtmfp://127.0.0.1/example 60
//! I am baf815aa…, a member of the group example/sans-io
//! connected to 127.0.0.1:1935
//! NetGroup.Neighbor.Connect
//! neighbors: [0b1bf774…]
//! NetGroup.Neighbor.Disconnect
//! neighbors: []
//! closed
//! ```
//!
//! and the same with a smaller number in another, which ends first:
//!
//! ```text
//! $ cargo run --no-default-features --features core --example sans_io rtmfp://127.0.0.1/example 6
//! I am 0b1bf774…, a member of the group example/sans-io
//! connected to 127.0.0.1:1935
//! NetGroup.Neighbor.Connect
//! neighbors: [baf815aa…]
//! closed
//! ```
#![expect(clippy::disallowed_methods, reason = "a program with a socket, a clock and a frame rate")]

use getrandom::SysRng;
use rand_core::UnwrapErr;
use rtmfp::GroupSpecBuilder;
use rtmfp::proto::crypto::{Identity, IdentityConfig};
use rtmfp::proto::flash::{Host, Uri};
use rtmfp::proto::node::{Node, NodeConfig, NodeEvent};
use rtmfp::proto::transport::{Interface, Machine, Path, Time, TransmitBuf};
use std::error::Error;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

/// 60 Hz.
const FRAME: Duration = Duration::from_micros(16_667);
/// The largest datagram that is accepted.
const MAX_DATAGRAM: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: sans_io rtmfp://HOST/APP [SECONDS]";
    let uri: Uri = args.next().ok_or(usage)?.parse()?;
    let seconds = args.next().map_or(Ok(10), |seconds| seconds.parse())?;

    let mut network = Network::new()?;
    let servers = resolve(&uri)?;
    let spec = GroupSpecBuilder::new("example/sans-io")?.server_channel(true).build()?;
    println!("I am {}, a member of the group {}", network.node.peer_id(), spec.name());
    let now = network.now();
    let group = network.node.join(now, spec);
    network.node.connect(now, &uri, &servers);

    let end = network.now() + Duration::from_secs(seconds);
    while network.now() < end {
        let before = Instant::now();
        network.frame()?;
        while let Some(event) = network.node.poll_event() {
            report(&event);
            if let NodeEvent::Group(..) = event
                && let Some(group) = network.node.group(group)
            {
                let neighbors = group.neighbors();
                let peers: Vec<_> = neighbors.iter().map(|n| n.peer.to_string()).collect();
                println!("neighbors: [{}]", peers.join(", "));
            }
        }
        // The rest of the frame is the emulator's.
        std::thread::sleep(FRAME.saturating_sub(before.elapsed()));
    }

    // Everybody learns that this member leaves, unless they no longer answer.
    network.node.shut_down(network.now());
    let end = network.now() + Duration::from_secs(2);
    while !network.node.is_idle() && network.now() < end {
        network.frame()?;
        std::thread::sleep(FRAME);
    }
    println!("closed");
    Ok(())
}

/// A node with what it lacks: a socket and a clock.
struct Network {
    node: Node,
    socket: UdpSocket,
    start: Instant,
    incoming: Vec<u8>,
    outgoing: TransmitBuf,
}

impl Network {
    fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_nonblocking(true)?;
        let random = || Box::new(UnwrapErr(SysRng));
        let identity = Identity::generate(&IdentityConfig::default(), &mut *random());
        let node = Node::new(NodeConfig::default(), identity, random(), random());
        let (incoming, outgoing) = (vec![0; MAX_DATAGRAM], TransmitBuf::new());
        Ok(Self { node, socket, start: Instant::now(), incoming, outgoing })
    }

    /// The machine's time begins with this program.
    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// Everything that has come since the last frame goes into the node, then everything that the
    /// node wants sent goes out. Its events can be read afterwards.
    fn frame(&mut self) -> io::Result<()> {
        loop {
            match self.socket.recv_from(&mut self.incoming) {
                Ok((len, remote)) => {
                    let path = Path { interface: Interface(0), remote };
                    self.node.handle_datagram(self.now(), path, &mut self.incoming[..len]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Some systems report here that an earlier datagram was refused by its host.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error),
            }
        }
        if self.node.poll_timeout().is_some_and(|at| at <= self.now()) {
            self.node.handle_timeout(self.now());
        }
        // Diffie-Hellman for a new session takes some milliseconds. A program that must not miss a
        // frame computes on another thread, and calls `handle_computed` in a later frame.
        while let Some(job) = self.node.poll_job() {
            self.node.handle_computed(self.now(), job.run());
        }
        while let Some(transmit) = self.node.poll_transmit(self.now(), &mut self.outgoing) {
            for datagram in self.outgoing.datagrams() {
                // What is lost on the way is sent again, so what the system refuses is too.
                let _ = self.socket.send_to(datagram, transmit.path.remote);
            }
        }
        Ok(())
    }
}

/// The IPv4 addresses of the server, as the socket is one of IPv4. This waits for the name to be
/// resolved: a program that must not miss a frame does it on another thread.
fn resolve(uri: &Uri) -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    let addresses = match uri.server().ok_or("the URI names no server")? {
        (Host::Name(name), port) => (name.as_str(), port).to_socket_addrs()?.collect(),
        (Host::Ip(ip), port) => vec![SocketAddr::new(*ip, port)],
    };
    Ok(addresses.into_iter().filter(SocketAddr::is_ipv4).collect())
}

fn report(event: &NodeEvent) {
    match event {
        NodeEvent::Connected { server } => println!("connected to {server}"),
        NodeEvent::ConnectFailed(error) => println!("not connected: {error}"),
        NodeEvent::Disconnected => println!("disconnected"),
        NodeEvent::Group(_, event) => println!("{}", event.code()),
        // A session was opened, which matters to key logs and statistics.
        _ => {}
    }
}
