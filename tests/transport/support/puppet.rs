//! One endpoint alone, and a hand-moved peer that sends whatever a test wants under valid keys.

pub use super::packets::{flags, fragment, metadata, open_default};
use super::startup::seal_plain;
pub use super::startup::{seal, startup};
use super::wiretap::Seen;
use super::{millis, quick};
use bytes::Bytes;
use rtmfp::proto::crypto::{
    Certificate, Epd, Identity, IdentityConfig, Initiate, KeyingRandom, Negotiation, Opener,
    Respond, Sealer, SessionKeys,
};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::proto::transport::{
    Config, Endpoint, Event, Interface, Machine, Path, SessionId, Time, TransmitBuf,
};
use rtmfp::wire::chunk::{
    FragmentControl, InitiatorHello, InitiatorKeying, RangeAck, ResponderHello, ResponderKeying,
    UserData, UserDataFlags,
};
use rtmfp::wire::multiplex::session_id;
use rtmfp::wire::{Chunk, Mode, PacketHeader};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub const HERE: &str = "192.0.2.1:1935";
pub const ELSEWHERE: &str = "198.51.100.9:2000";
pub const NEAR_ID: u32 = 0x0200_0000;

/// An endpoint alone with a clock.
pub struct Solo {
    pub endpoint: Endpoint,
    pub now: Time,
    /// Every datagram that it has sent.
    pub sent: Vec<(Time, SocketAddr, Vec<u8>)>,
    pub random: SeededRandom,
}

impl Solo {
    pub fn new(seed: u64, config: Config, identity: &IdentityConfig) -> Self {
        let mut random = SeededRandom::new(seed);
        let identity = Identity::generate(identity, &mut random);
        let endpoint = Endpoint::new(config, identity.into(), Box::new(random.fork()));
        Self { endpoint, now: Time::from_millis(1000), sent: Vec::new(), random }
    }

    /// Lets the endpoint do something and takes what it sends.
    pub fn act<R>(&mut self, action: impl FnOnce(&mut Endpoint, Time) -> R) -> R {
        let result = action(&mut self.endpoint, self.now);
        self.drain();
        result
    }

    pub fn drain(&mut self) {
        while let Some(job) = self.endpoint.poll_job() {
            self.endpoint.handle_computed(self.now, job.run());
        }
        let mut buf = TransmitBuf::new();
        while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut buf) {
            for datagram in buf.datagrams() {
                self.sent.push((self.now, transmit.path.remote, datagram.to_vec()));
            }
        }
    }

    /// Gives a datagram to the endpoint.
    pub fn deliver(&mut self, from: SocketAddr, mut datagram: Vec<u8>) {
        let path = Path { interface: Interface(0), remote: from };
        self.act(|e, now| e.handle_datagram(now, path, &mut datagram));
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.endpoint.poll_timeout().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            self.act(|e, now| e.handle_timeout(now));
        }
        self.now = end;
    }

    /// Sends a startup chunk to the endpoint.
    pub fn say(&mut self, from: SocketAddr, session_id: u32, chunk: &Chunk<'_>) {
        self.deliver(from, startup(session_id, chunk));
    }

    pub fn hello(&mut self, from: SocketAddr, epd: &Epd, tag: &[u8]) {
        let hello = InitiatorHello { epd: epd.as_bytes(), tag };
        self.say(from, 0, &Chunk::InitiatorHello(hello));
    }

    pub fn own_epd(&self) -> Epd {
        Epd::for_fingerprint(self.endpoint.fingerprint())
    }

    /// Takes what was sent: startup packets decrypted, with their destination.
    pub fn take_startup(&mut self) -> Vec<Seen> {
        self.sent
            .drain(..)
            .filter_map(|(at, to, datagram)| {
                let plain = open_default(&datagram)?;
                let id = session_id(&datagram)?;
                Some(Seen::new((at, 0, to), id, true, (datagram.len(), &plain)))
            })
            .collect()
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.endpoint.poll_event()).collect()
    }
}

/// A startup datagram with several chunks.
pub fn startup_with(session_id: u32, chunks: &[Chunk<'_>]) -> Vec<u8> {
    seal(&mut Sealer::default_key(), session_id, &PacketHeader::new(Mode::Startup), chunks)
}

/// A startup datagram with anything in it.
pub fn startup_plain(session_id: u32, plain: &[u8]) -> Vec<u8> {
    seal_plain(&mut Sealer::default_key(), session_id, plain)
}

/// A peer with a session to a [`Solo`] endpoint.
pub struct Puppet {
    pub solo: Solo,
    pub address: SocketAddr,
    /// The session as the endpoint names it.
    pub session: SessionId,
    mode: Mode,
    sealer: Sealer,
    opener: Opener,
    near_id: u32,
}

impl Puppet {
    /// A peer that has opened a session to the endpoint and pinged it once.
    pub fn initiator(seed: u64, config: Config) -> Self {
        Self::initiator_with(seed, config, &IdentityConfig::default(), quick().negotiation)
    }

    pub fn initiator_with(
        seed: u64,
        config: Config,
        identity: &IdentityConfig,
        offer: Negotiation,
    ) -> Self {
        let solo = Solo::new(seed, config, &IdentityConfig::default());
        Self::initiator_to(solo, identity, offer)
    }

    /// A peer that has opened a session to this endpoint and pinged it once.
    pub fn initiator_to(mut solo: Solo, identity: &IdentityConfig, offer: Negotiation) -> Self {
        let identity = Arc::new(Identity::generate(identity, &mut solo.random));
        let address = HERE.parse().unwrap();
        let (session, keys) = initiate(&mut solo, address, NEAR_ID, &identity, offer);
        let mut puppet = Self::new(solo, address, session, Mode::Initiator, keys);
        puppet.send(&[Chunk::Ping(b"hello")]);
        puppet.solo.events();
        puppet.take();
        puppet
    }

    /// A peer to which the endpoint has opened a session.
    pub fn responder(seed: u64, config: Config) -> Self {
        let mut solo = Solo::new(seed, config, &IdentityConfig::default());
        let identity = Arc::new(Identity::generate(&IdentityConfig::default(), &mut solo.random));
        let address: SocketAddr = HERE.parse().unwrap();
        let (session, answer, keys) = respond(&mut solo, address, &identity);
        solo.deliver(address, answer);
        let mut puppet = Self::new(solo, address, session, Mode::Responder, keys);
        // The endpoint has nothing to say: in the end a ping confirms the session.
        let packets = puppet.wait(millis(50));
        assert!(packets.iter().any(|p| p.any(|c| c == Chunk::Ping(&[]))), "{packets:?}");
        puppet.send(&[Chunk::PingReply(&[])]);
        puppet.take();
        puppet.solo.events();
        puppet
    }

    pub fn new(
        solo: Solo,
        address: SocketAddr,
        session: SessionId,
        mode: Mode,
        keys: SessionKeys,
    ) -> Self {
        let SessionKeys { sealer, opener, .. } = keys;
        Self { solo, address, session, mode, sealer, opener, near_id: NEAR_ID }
    }

    /// Sends one packet.
    pub fn send(&mut self, chunks: &[Chunk<'_>]) {
        let datagram = self.packet(chunks);
        self.solo.deliver(self.address, datagram);
    }

    /// Packets that arrive before the endpoint can send anything.
    pub fn send_together(&mut self, packets: &[&[Chunk<'_>]]) {
        let mut datagrams: Vec<_> = packets.iter().map(|chunks| self.packet(chunks)).collect();
        let path = Path { interface: Interface(0), remote: self.address };
        for datagram in &mut datagrams {
            self.solo.endpoint.handle_datagram(self.solo.now, path, datagram);
        }
    }

    /// Makes one packet without sending it.
    pub fn packet(&mut self, chunks: &[Chunk<'_>]) -> Vec<u8> {
        seal(&mut self.sealer, self.session.0, &PacketHeader::new(self.mode), chunks)
    }

    /// Makes one packet out of anything.
    pub fn raw_packet(&mut self, plain: &[u8]) -> Vec<u8> {
        seal_plain(&mut self.sealer, self.session.0, plain)
    }

    /// Makes one packet with a header of its own.
    pub fn packet_with(&mut self, header: &PacketHeader, chunks: &[Chunk<'_>]) -> Vec<u8> {
        seal(&mut self.sealer, self.session.0, header, chunks)
    }

    /// The flags byte of a packet of this peer without anything.
    pub fn flags(&self) -> u8 {
        PacketHeader::new(self.mode).flags()
    }

    /// Takes the session packets that the endpoint has sent to this peer since the last call.
    pub fn take(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for (at, to, mut datagram) in std::mem::take(&mut self.solo.sent) {
            let len = datagram.len();
            if session_id(&datagram) != Some(self.near_id) || open_default(&datagram).is_some() {
                continue;
            }
            let plain = self.opener.open(&mut datagram[4..]).expect("a packet of the session");
            seen.push(Seen::new((at, 0, to), self.near_id, false, (len, plain)));
        }
        seen
    }

    /// Lets time pass and takes what is sent meanwhile.
    pub fn wait(&mut self, duration: Duration) -> Vec<Seen> {
        self.solo.run_for(duration);
        self.take()
    }

    /// Lets `duration` pass and gives a sign of life every 10 s.
    pub fn wait_alive(&mut self, duration: Duration) -> Vec<Seen> {
        let mut seen = Vec::new();
        let end = self.solo.now + duration;
        while self.solo.now < end {
            let step = millis(10_000).min(end - self.solo.now);
            seen.extend(self.wait(step));
            self.send(&[Chunk::PingReply(&[])]);
        }
        seen.extend(self.take());
        seen
    }

    /// Sends a whole message as one fragment, in a flow with metadata.
    pub fn message(&mut self, flow: u64, sequence: u64, data: &[u8]) {
        self.send(&[Chunk::UserData(fragment(flow, sequence, &metadata(b"test"), data))]);
    }

    /// Opens a sending flow at the endpoint and queues messages on it.
    pub fn flow_with(&mut self, messages: &[&[u8]]) -> rtmfp::proto::transport::FlowId {
        let session = self.session;
        self.solo.act(|e, now| {
            let flow = e.open_flow(session, b"test", Default::default()).unwrap();
            for message in messages {
                let message = Bytes::copy_from_slice(message);
                e.send(now, session, flow, message, Default::default()).unwrap();
            }
            flow
        })
    }

    /// Acknowledges everything up to `cumulative` with space for `blocks`.
    pub fn ack(&mut self, flow: u64, cumulative: u64, blocks: u64) {
        let ack = RangeAck { flow, buffer_blocks: blocks, cumulative, runs: &[] };
        self.send(&[Chunk::RangeAck(ack)]);
    }
}

/// Opens a session by hand from `address` to the endpoint. Returns the session as the endpoint
/// names it.
pub fn initiate(
    solo: &mut Solo,
    address: SocketAddr,
    near_id: u32,
    identity: &Arc<Identity>,
    offer: Negotiation,
) -> (SessionId, SessionKeys) {
    let epd = solo.own_epd();
    initiate_by(solo, address, epd.as_bytes(), (near_id, identity), offer)
}

/// The same with a discriminator of one's own.
pub fn initiate_by(
    solo: &mut Solo,
    address: SocketAddr,
    epd: &[u8],
    (near_id, identity): (u32, &Arc<Identity>),
    offer: Negotiation,
) -> (SessionId, SessionKeys) {
    solo.sent.clear();
    solo.say(address, 0, &Chunk::InitiatorHello(InitiatorHello { epd, tag: &[1; 16] }));
    let hello = solo.take_startup().pop().expect("an answer to the hello");
    let Chunk::ResponderHello(hello) = hello.chunks()[0] else { panic!("{hello:?}") };
    let far = Certificate::parse(hello.certificate).unwrap();
    let random = KeyingRandom::from_rng(&mut solo.random);
    let initiated =
        Initiate { identity: identity.clone(), far, offer, ours: false, random }.run().unwrap();
    let keying = InitiatorKeying {
        session_id: near_id,
        cookie: hello.cookie,
        certificate: identity.certificate().as_bytes(),
        component: initiated.component(),
        signature: b"X",
    };
    solo.say(address, 0, &Chunk::InitiatorKeying(keying));
    let answer = solo.take_startup().pop().expect("an answer to the keying");
    assert_eq!(answer.session, near_id);
    let Chunk::ResponderKeying(answer) = answer.chunks()[0] else { panic!("{answer:?}") };
    (SessionId(answer.session_id), initiated.finish(answer.component).expect("keys"))
}

/// Lets the endpoint open a session to `identity` at `address`, up to the answer to its keying,
/// which is returned with the session as the endpoint names it.
pub fn respond(
    solo: &mut Solo,
    address: SocketAddr,
    identity: &Arc<Identity>,
) -> (SessionId, Vec<u8>, SessionKeys) {
    let epd = Epd::for_fingerprint(identity.fingerprint());
    solo.act(|e, now| e.open(now, epd, &[address]));
    let hello = solo.take_startup().pop().expect("a hello");
    let Chunk::InitiatorHello(hello) = hello.chunks()[0] else { panic!("{hello:?}") };
    let certificate = identity.certificate().as_bytes();
    let answer = ResponderHello { tag_echo: hello.tag, cookie: &[7; 64], certificate };
    solo.say(address, 0, &Chunk::ResponderHello(answer));
    let keying = solo.take_startup().pop().expect("a keying");
    let Chunk::InitiatorKeying(keying) = keying.chunks()[0] else { panic!("{keying:?}") };
    assert_eq!(keying.cookie, [7; 64]);
    let (component, keys) = Respond {
        identity: identity.clone(),
        initiator: Certificate::parse(keying.certificate).unwrap(),
        skic: keying.component.to_vec(),
        policy: quick().negotiation,
        random: KeyingRandom::from_rng(&mut solo.random),
    }
    .run()
    .expect("keys");
    let answer = ResponderKeying { session_id: NEAR_ID, component: &component, signature: b"X" };
    let datagram = startup(keying.session_id, &Chunk::ResponderKeying(answer));
    (SessionId(keying.session_id), datagram, keys)
}

/// An empty fragment that is given up and ends the flow.
pub fn fin(flow: u64, sequence: u64) -> UserData<'static> {
    let flags = UserDataFlags { abandon: true, last: true, ..flags(FragmentControl::Whole) };
    UserData { flags, flow, sequence, fsn_offset: 0, options: None, data: &[] }
}
