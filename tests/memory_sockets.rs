//! Memory of a server that strangers attack over real sockets, as the operating system counts it.
//!
//! It is that of the whole process, so this test has a binary, and with it a process, of its own.
#![cfg(target_os = "linux")]
#![allow(unreachable_pub, reason = "modules of a test")]

#[path = "support/packets.rs"]
mod packets;
#[path = "support/quick.rs"]
mod quick;
#[path = "support/startup.rs"]
mod startup;

use packets::{flags, fragment, metadata, open_default};
use quick::quick;
use rtmfp::proto::crypto::{
    Certificate, Epd, Identity, IdentityConfig, Initiate, KeyingRandom, SessionKeys,
};
use rtmfp::proto::flash::{ClientConfig, ClientConnection, Uri};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::proto::transport::{FlowAction, SESSION_ALLOWANCE, Time};
use rtmfp::server::{Server, ServerConfig};
use rtmfp::wire::chunk::{
    FragmentControl, InitiatorHello, InitiatorKeying, NextUserData, OPTION_RETURN_ASSOCIATION,
    ResponderHello,
};
use rtmfp::wire::option::encode_vlu_option;
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Chunk, Mode, PacketHeader};
use startup::{seal, startup};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

const SESSIONS: u32 = 20;
const FLOWS: u64 = 50;
const PACKETS: u64 = 3;
const FRAGMENTS: usize = 220;

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

struct Stranger {
    socket: UdpSocket,
    session: u32,
    keys: SessionKeys,
    sent: u64,
}

impl Stranger {
    #[expect(clippy::disallowed_methods, reason = "a stranger with a socket of its own")]
    fn open(server: SocketAddr, epd: &Epd, id: u32) -> Self {
        let mut random = SeededRandom::new(u64::from(id));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        // Far more than an answer takes; without it a fault would hang the test.
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let hello = InitiatorHello { epd: epd.as_bytes(), tag: &[1; 16] };
        let plain = exchange(&socket, &startup(0, &Chunk::InitiatorHello(hello)));
        let Some(Chunk::ResponderHello(ResponderHello { cookie, certificate, .. })) = first(&plain)
        else {
            panic!("no answer to the hello");
        };
        let identity = Arc::new(Identity::generate(&IdentityConfig::default(), &mut random));
        let far = Certificate::parse(certificate).unwrap();
        let offer = quick().negotiation;
        let key_random = KeyingRandom::from_rng(&mut random);
        let (own, ours, random) = (identity.clone(), false, key_random);
        let initiate = Initiate { identity: own, far, offer, ours, random };
        let initiated = initiate.run().unwrap();
        let keying = InitiatorKeying {
            session_id: id,
            cookie,
            certificate: identity.certificate().as_bytes(),
            component: initiated.component(),
            signature: b"X",
        };
        let plain = exchange(&socket, &startup(0, &Chunk::InitiatorKeying(keying)));
        let Some(Chunk::ResponderKeying(answer)) = first(&plain) else {
            panic!("no answer to the keying");
        };
        let keys = initiated.finish(answer.component).expect("keys");
        Self { socket, session: answer.session_id, keys, sent: 0 }
    }

    /// Sends a packet and waits for the server's answer.
    fn send(&mut self, chunks: &[Chunk<'_>]) {
        let header = PacketHeader::new(Mode::Initiator);
        let datagram = seal(&mut self.keys.sealer, self.session, &header, chunks);
        self.sent += datagram.len() as u64;
        self.socket.send(&datagram).unwrap();
        self.socket.recv(&mut [0; 2000]).expect("an acknowledgement");
    }

    /// Connects, so that the server takes more flows.
    fn connect(&mut self) {
        let uri = "rtmfp://127.0.0.1/app".parse::<Uri>().unwrap();
        let config = ClientConfig::default();
        let mut client = ClientConnection::connect(Time::ZERO, config, &uri, Vec::new()).unwrap();
        while let Some(action) = client.poll_action() {
            if let FlowAction::Send { message, .. } = action {
                let options = metadata(b"TC\x04\x00");
                self.send(&[Chunk::UserData(fragment(2, 1, &options, &message))]);
                return;
            }
        }
    }

    /// Fills flows that answer the server's first one.
    fn attack(&mut self) {
        let mut options = metadata(b"TC\x04\x00");
        options.pop();
        encode_vlu_option(OPTION_RETURN_ASSOCIATION, 2, &mut options);
        options.push(0);
        for packet in 0..PACKETS {
            for flow in 3..3 + FLOWS {
                let first = fragment(flow, 2 + packet * FRAGMENTS as u64, &options, b"x");
                let flags = flags(FragmentControl::Whole);
                let next = NextUserData { flags, options: None, data: b"x" };
                let mut chunks = vec![Chunk::NextUserData(next); FRAGMENTS];
                chunks[0] = Chunk::UserData(first);
                self.send(&chunks);
            }
        }
    }
}

fn exchange(socket: &UdpSocket, question: &[u8]) -> Vec<u8> {
    socket.send(question).unwrap();
    let mut answer = [0; 2000];
    let len = socket.recv(&mut answer).expect("an answer");
    open_default(&answer[..len]).expect("a startup packet")
}

fn first(plain: &[u8]) -> Option<Chunk<'_>> {
    chunks(PacketHeader::parse(plain).unwrap().1).next()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_holds_little_more_than_what_was_sent() {
    let mut config = ServerConfig::default();
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.rendezvous.transport.negotiation = quick().negotiation;
    let server = Server::start(config).await.unwrap();
    let epd = Epd::for_fingerprint(server.fingerprint());
    let address = server.local_addresses()[0];
    let mut strangers: Vec<_> =
        (1..=SESSIONS).map(|id| Stranger::open(address, &epd, id)).collect();
    let mut honest = Stranger::open(address, &epd, 1000);
    strangers.iter_mut().for_each(Stranger::connect);
    let before = resident();
    let handshakes: u64 = strangers.iter().map(|s| s.sent).sum();
    for stranger in &mut strangers {
        stranger.attack();
        honest.send(&[Chunk::Ping(b"still there?")]);
    }
    let sent = strangers.iter().map(|s| s.sent).sum::<u64>() - handshakes;
    let grown = resident().saturating_sub(before);
    // The runtime and the allocator have something to say as well.
    let allowed = 3 * sent + u64::from(SESSIONS) * SESSION_ALLOWANCE + (4 << 20);
    println!("{sent} bytes sent, {grown} bytes of memory more, {allowed} allowed");
    assert!(sent > 3_000_000, "{sent}");
    assert!(grown < allowed, "{grown} bytes for {sent} sent");
    let stats = server.stats().await.unwrap();
    assert_eq!(stats.rendezvous.endpoint.sessions_evicted, 0);
}
