//! A far end that has keyed a session and then sends whatever it likes in it, while the near end
//! goes on using the session. The near end's datagrams can be read by the far end, its timers come
//! to rest, and the session is dropped once it is closed.
//!
//! The input is a list of steps: a byte for what happens, and an argument with its length before it.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rtmfp::proto::crypto::{
    DhGroup, Epd, Identity, IdentityConfig, Initiate, KeyStyle, KeyingRandom, NO_SIGNATURE,
    Negotiation, Opener, Sealer,
};
use rtmfp::proto::transport::{
    Config, Endpoint, Event, FlowId, FlowOptions, Machine, MessageOptions, Path, SessionId, Time,
    TransmitBuf,
};
use rtmfp::wire::chunk::{InitiatorHello, InitiatorKeying};
use rtmfp::wire::packet::{Chunks, chunks};
use rtmfp::wire::{Chunk, Mode, PacketHeader, multiplex, vlu};

const FAR_SESSION: u32 = 0x0200_0000;
/// The timers may call for attention this often without time passing.
const MAX_WAKES: usize = 100;
/// Datagrams in answer to one step: all of a window, and acknowledgements.
const MAX_DATAGRAMS: usize = 10_000;

static NEAR: LazyLock<Arc<Identity>> = LazyLock::new(|| identity(1, KeyStyle::Ephemeral));
static FAR: LazyLock<Arc<Identity>> = LazyLock::new(|| identity(2, KeyStyle::Static));

fuzz_target!(|input: &[u8]| {
    let mut session = Harness::keyed();
    let mut rest = input;
    while let Some((&step, after)) = rest.split_first() {
        let Ok((argument, after)) = vlu::parse_prefixed("step", after) else { break };
        rest = after;
        session.step(step, argument);
    }
    session.end();
});

/// Keys in the fastest group.
fn identity(seed: u8, keys: KeyStyle) -> Arc<Identity> {
    let mut config = IdentityConfig::default();
    config.keys = keys;
    config.groups = vec![DhGroup::Modp2];
    Arc::new(Identity::generate(&config, &mut ChaCha20Rng::from_seed([seed; 32])))
}

struct Harness {
    endpoint: Endpoint,
    now: Time,
    path: Path,
    near_session: u32,
    sealer: Sealer,
    opener: Opener,
    startup_opener: Opener,
    /// The near end's sending flows.
    flows: Vec<FlowId>,
    /// The far end's flows that the near end knows.
    received: Vec<FlowId>,
}

impl Harness {
    /// A session that the far end has opened by the book.
    fn keyed() -> Self {
        let mut random = ChaCha20Rng::from_seed([3; 32]);
        let offer = Negotiation::checksum_only();
        let initiate = Initiate {
            identity: FAR.clone(),
            far: NEAR.certificate().clone(),
            offer: offer.clone(),
            ours: false,
            random: KeyingRandom::from_rng(&mut random),
        };
        let initiated = initiate.run().expect("a group in common");

        let mut config = Config::default();
        config.negotiation = offer;
        config.receive_buffer = 64 << 10;
        config.max_message = 16 << 10;
        let mut endpoint = Endpoint::new(config, NEAR.clone(), Box::new(random));
        let now = Time::from_millis(1_000);
        let path = Path::to("192.0.2.1:1935".parse().expect("an address"));
        let epd = Epd::for_fingerprint(NEAR.fingerprint());
        let hello = Chunk::InitiatorHello(InitiatorHello { epd: epd.as_bytes(), tag: &[7; 16] });
        let cookie = startup(&mut endpoint, now, path, &hello, |chunk| match chunk {
            Chunk::ResponderHello(hello) => Some(hello.cookie.to_vec()),
            _ => None,
        });
        let keying = Chunk::InitiatorKeying(InitiatorKeying {
            session_id: FAR_SESSION,
            cookie: &cookie,
            certificate: FAR.certificate().as_bytes(),
            component: initiated.component(),
            signature: NO_SIGNATURE,
        });
        let (near_session, component) =
            startup(&mut endpoint, now, path, &keying, |chunk| match chunk {
                Chunk::ResponderKeying(keying) => {
                    Some((keying.session_id, keying.component.to_vec()))
                }
                _ => None,
            });
        let keys = initiated.finish(&component).expect("a good answer");
        Self {
            endpoint,
            now,
            path,
            near_session,
            sealer: keys.sealer,
            opener: keys.opener,
            startup_opener: Opener::default_key(),
            flows: Vec::new(),
            received: Vec::new(),
        }
    }

    fn step(&mut self, step: u8, argument: &[u8]) {
        let number = argument.first().copied().unwrap_or(0);
        match step % 16 {
            0..=5 => {
                let timestamp = Some((self.now.as_millis() / 4) as u16);
                let echo = (step & 0x80 != 0).then_some(u16::from(step));
                let header = PacketHeader {
                    timestamp,
                    timestamp_echo: echo,
                    time_critical: step & 0x40 != 0,
                    time_critical_reverse: step & 0x20 != 0,
                    ..PacketHeader::new(Mode::Initiator)
                };
                let mut plain = Vec::new();
                header.encode(&mut plain);
                plain.extend_from_slice(argument);
                self.send(&plain);
            }
            6 => self.send(argument),
            7 => self.endpoint.handle_datagram(self.now, self.path, &mut argument.to_vec()),
            8 => {
                let mut datagram = sealed(&mut Sealer::default_key(), 0, argument);
                self.endpoint.handle_datagram(self.now, self.path, &mut datagram);
            }
            9 => self.path.remote.set_port(1935 + u16::from(number % 3)),
            10 | 11 => self.pass(Duration::from_millis(u64::from(number) * 20)),
            12 => self.open_flow(argument),
            13 | 14 => self.use_flow(number, argument),
            _ => self.use_received(number),
        }
        self.drain();
    }

    /// Sends a packet in the session.
    fn send(&mut self, plain: &[u8]) {
        let mut datagram = sealed(&mut self.sealer, self.near_session, plain);
        self.endpoint.handle_datagram(self.now, self.path, &mut datagram);
    }

    fn open_flow(&mut self, metadata: &[u8]) {
        let mut options = FlowOptions::default();
        options.association = self.received.first().copied().filter(|_| metadata.len() % 2 == 1);
        let id = SessionId(self.near_session);
        if let Ok(flow) = self.endpoint.open_flow(id, metadata, options) {
            self.flows.push(flow);
        }
    }

    fn use_flow(&mut self, number: u8, argument: &[u8]) {
        let Some(&flow) = self.flows.get(usize::from(number) % self.flows.len().max(1)) else {
            return;
        };
        let id = SessionId(self.near_session);
        if number >= 0xf0 {
            let _ = self.endpoint.close_flow(id, flow);
            return;
        }
        let options =
            if number.is_multiple_of(2) { MessageOptions::RELIABLE } else { MessageOptions::ONCE };
        let message = argument.repeat(1 + usize::from(number >> 4) * 8);
        let _ = self.endpoint.send(self.now, id, flow, Bytes::from(message), options);
    }

    fn use_received(&mut self, number: u8) {
        let Some(&flow) = self.received.get(usize::from(number) % self.received.len().max(1))
        else {
            return;
        };
        let id = SessionId(self.near_session);
        let _ = match number >> 5 {
            0 => self.endpoint.reject_flow(id, flow, u64::from(number)),
            other => self.endpoint.pause_flow(self.now, id, flow, other % 2 == 0),
        };
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut wakes = 0;
        while let Some(due) = self.endpoint.poll_timeout().filter(|due| *due <= until) {
            wakes = if due > self.now { 0 } else { wakes + 1 };
            assert!(wakes < MAX_WAKES, "a timer that does not come to rest");
            self.now = self.now.max(due);
            self.endpoint.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// The far end can read all packets of the near end; its events make sense.
    fn drain(&mut self) {
        while let Some(job) = self.endpoint.poll_job() {
            self.endpoint.handle_computed(self.now, job.run());
        }
        let mut buf = TransmitBuf::new();
        let mut sent = 0;
        while self.endpoint.poll_transmit(self.now, &mut buf).is_some() {
            for datagram in buf.datagrams() {
                sent += 1;
                self.check(datagram);
            }
            assert!(sent < MAX_DATAGRAMS, "no end of datagrams");
        }
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::FlowOpened { flow, .. } => {
                    assert!(!self.received.contains(&flow), "a flow opened twice");
                    self.received.push(flow);
                }
                Event::Message { flow, .. } => assert!(self.received.contains(&flow)),
                Event::FlowFinished { flow, .. } => self.received.retain(|f| *f != flow),
                Event::FlowRejected { flow, .. } | Event::FlowDone { flow, .. } => {
                    self.flows.retain(|f| *f != flow);
                }
                Event::SessionClosed { .. } => {
                    self.flows.clear();
                    self.received.clear();
                }
                _ => {}
            }
        }
    }

    fn check(&mut self, datagram: &[u8]) {
        assert!(datagram.len() <= Config::default().max_probed_datagram);
        let id = multiplex::session_id(datagram).expect("a session ID");
        let mut encrypted = datagram[multiplex::SESSION_ID_LEN..].to_vec();
        let plain = match self.opener.open(&mut encrypted) {
            Ok(plain) if id == FAR_SESSION => plain.to_vec(),
            _ => {
                encrypted = datagram[multiplex::SESSION_ID_LEN..].to_vec();
                let opened = self.startup_opener.open(&mut encrypted);
                opened.expect("a datagram that the far end can open").to_vec()
            }
        };
        let (_, rest) = PacketHeader::parse(&plain).expect("a header");
        let mut raw = chunks(rest);
        let count = std::iter::from_fn(|| raw.raw()).count();
        assert!(raw.rest().iter().all(|byte| *byte == 0xff), "padding");
        let readable: Chunks<'_> = chunks(rest);
        assert_eq!(readable.count(), count, "all chunks can be read");
    }

    /// After the near end has closed, everything is dropped in time.
    fn end(mut self) {
        self.endpoint.close(self.now, SessionId(self.near_session));
        self.drain();
        let others: Vec<_> = self.endpoint.sessions().map(|(id, _)| id).collect();
        for id in others {
            self.endpoint.close_abruptly(self.now, id);
        }
        self.pass(Duration::from_secs(600));
        assert_eq!(self.endpoint.load(), (0, 0, 0));
        assert_eq!(self.endpoint.poll_timeout(), None);
    }
}

/// A datagram with this plain packet.
fn sealed(sealer: &mut Sealer, session: u32, plain: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    let start = sealer.begin(&mut datagram);
    datagram.extend_from_slice(plain);
    let range = sealer.finish(&mut datagram, start);
    sealer.seal(session, &mut datagram, &[range]);
    datagram
}

/// Sends a startup chunk and returns what `find` finds in the answers.
fn startup<T>(
    endpoint: &mut Endpoint,
    now: Time,
    path: Path,
    chunk: &Chunk<'_>,
    find: impl Fn(Chunk<'_>) -> Option<T>,
) -> T {
    let mut plain = Vec::new();
    PacketHeader::new(Mode::Startup).encode(&mut plain);
    chunk.encode(&mut plain).expect("a chunk of startup");
    endpoint.handle_datagram(now, path, &mut sealed(&mut Sealer::default_key(), 0, &plain));
    while let Some(job) = endpoint.poll_job() {
        endpoint.handle_computed(now, job.run());
    }
    let mut buf = TransmitBuf::new();
    while endpoint.poll_transmit(now, &mut buf).is_some() {
        for datagram in buf.datagrams() {
            let mut encrypted = datagram[multiplex::SESSION_ID_LEN..].to_vec();
            let plain = Opener::default_key().open(&mut encrypted).expect("startup").to_vec();
            let (_, rest) = PacketHeader::parse(&plain).expect("a header");
            if let Some(found) = chunks(rest).find_map(&find) {
                return found;
            }
        }
    }
    panic!("no answer to {chunk:?}");
}
