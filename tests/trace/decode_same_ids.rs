//! Sessions that share a session ID, as those of servers do that count from 1: with nothing but a
//! checksum of 16 bits in packets, a wrong key fits once in 65,536 times.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rtmfp::proto::crypto::{
    DhGroup, Identity, IdentityConfig, Initiate, KeyingRandom, Negotiation, Respond, Sealer,
};
use rtmfp::trace::flows::Side;
use rtmfp::trace::writer::{packet, startup_packet};
use rtmfp::trace::{
    Analyzer, CaptureStats, DatagramRef, Decoder, KeyLog, PacketView, Status, Undecoded, Verify,
    json, line,
};
use rtmfp::wire::chunk::{InitiatorKeying, ResponderKeying};
use rtmfp::wire::{Chunk, Mode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const SEED: u8 = 15;

/// Of every end, in every session.
const ID: u32 = 1;

const SESSIONS: usize = 10;

/// Of these the secrets are not in the key log.
const UNREADABLE: [usize; 3] = [2, 5, 9];

const PACKETS: u32 = 100_000;

/// A client of the server with its session.
struct Client {
    address: SocketAddr,
    initiator: Sealer,
    responder: Sealer,
    keying: Vec<u8>,
    answer: Vec<u8>,
    line: String,
}

fn server() -> SocketAddr {
    ([192, 0, 2, 1], 1935).into()
}

fn client(number: usize, rng: &mut ChaCha20Rng) -> Client {
    let mut config = IdentityConfig::default();
    config.groups = vec![DhGroup::Modp2];
    let (a, b) =
        (Arc::new(Identity::generate(&config, rng)), Arc::new(Identity::generate(&config, rng)));
    let initiated = Initiate {
        identity: a.clone(),
        far: b.certificate().clone(),
        offer: Negotiation::checksum_only(),
        ours: false,
        random: KeyingRandom::from_rng(rng),
    }
    .run()
    .unwrap();
    let skic = initiated.component().to_vec();
    let (skrc, responder) = Respond {
        identity: b,
        initiator: a.certificate().clone(),
        skic: skic.clone(),
        policy: Negotiation::checksum_only(),
        random: KeyingRandom::from_rng(rng),
    }
    .run()
    .unwrap();
    let keys = initiated.finish(&skrc).unwrap();
    let (session_id, signature) = (ID, &b"X"[..]);
    let (cookie, certificate) = (&b"c"[..], a.certificate().as_bytes());
    let keying = InitiatorKeying { session_id, cookie, certificate, component: &skic, signature };
    let answer = ResponderKeying { session_id, component: &skrc, signature };
    Client {
        // Two of them behind one address translator.
        address: ([198, 51, 100, (number / 2) as u8], 1000 + number as u16).into(),
        line: keys.key_log.line().to_string(),
        initiator: keys.sealer,
        responder: responder.sealer,
        keying: startup_packet(0, Mode::Startup, &[Chunk::InitiatorKeying(keying)]),
        answer: startup_packet(ID, Mode::Startup, &[Chunk::ResponderKeying(answer)]),
    }
}

/// All clients, and an analyzer that has seen their keyings.
struct Recording {
    clients: Vec<Client>,
    analyzer: Analyzer,
    frame: u64,
}

fn recording(rng: &mut ChaCha20Rng, verify: Verify) -> Recording {
    let clients: Vec<_> = (0..SESSIONS).map(|number| client(number, rng)).collect();
    let mut keys = KeyLog::default();
    for (number, client) in clients.iter().enumerate() {
        if !UNREADABLE.contains(&number) {
            keys.read(client.line.as_bytes()).unwrap();
        }
    }
    let analyzer = Analyzer::new(Decoder::new(keys).verifying(verify));
    let mut recording = Recording { clients, analyzer, frame: 0 };
    for number in 0..SESSIONS {
        let client = &recording.clients[number];
        let (address, keying, answer) =
            (client.address, client.keying.clone(), client.answer.clone());
        recording.feed(address, server(), &keying);
        let keyed = recording.feed(server(), address, &answer).keying.unwrap();
        assert_eq!(keyed.session, number as u64);
    }
    recording
}

impl Recording {
    fn feed(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) -> PacketView<'_> {
        self.frame += 1;
        let (frame, missing) = (self.frame, 0);
        let time = Duration::from_millis(frame);
        self.analyzer.feed(&DatagramRef { frame, time, source, destination, payload, missing })
    }

    /// A datagram of a session and the way that it takes.
    fn datagram(
        &mut self,
        number: usize,
        side: Side,
        chunks: &[Chunk<'_>],
    ) -> (SocketAddr, SocketAddr, Vec<u8>) {
        let client = &mut self.clients[number];
        match side {
            Side::Initiator => {
                let payload = packet(&mut client.initiator, ID, Mode::Initiator, chunks);
                (client.address, server(), payload)
            }
            Side::Responder => {
                let payload = packet(&mut client.responder, ID, Mode::Responder, chunks);
                (server(), client.address, payload)
            }
        }
    }
}

#[test]
fn a_hundred_thousand_packets_of_ten_sessions_with_one_id() {
    println!("seed {SEED}");
    let mut rng = ChaCha20Rng::from_seed([SEED; 32]);
    let mut recording = recording(&mut rng, Verify::Sampled);
    let (mut read, mut unread) = (0, 0);
    for n in 0..PACKETS {
        let random = rng.next_u32();
        let number = random as usize % SESSIONS;
        let side = if random & 0x10000 == 0 { Side::Initiator } else { Side::Responder };
        // Now and then a client gets another port, and announces it.
        let moves = n % 5000 == 4999;
        let side = if moves { Side::Initiator } else { side };
        if moves {
            recording.clients[number].address.set_port(2000 + (n / 1000) as u16);
        }
        let mut data = [0; 40];
        data[..4].copy_from_slice(&n.to_be_bytes());
        let data = &data[..4 + random as usize / 7 % 36];
        let (from, to, payload) = recording.datagram(number, side, &[Chunk::Ping(data)]);
        let packet = recording.feed(from, to, &payload);
        if UNREADABLE.contains(&number) {
            assert_eq!(packet.status, Status::Undecoded(Undecoded::NoSecret(ID)), "packet {n}");
            unread += 1;
            continue;
        }
        assert_eq!(packet.status, Status::Session(number as u64, side), "packet {n}");
        assert_eq!(packet.chunks().next(), Some(Chunk::Ping(data)), "packet {n}");
        assert_eq!((packet.trailing, packet.has_wrong_mode()), (0, false));
        read += 1;
    }
    assert_eq!(read + unread, PACKETS);
    assert!(read > PACKETS / 2 && unread > PACKETS / 4);
}

/// Packets that cannot be read are those of the session between the same addresses.
#[test]
fn sessions_without_secrets_are_told_apart_by_their_addresses() {
    let mut rng = ChaCha20Rng::from_seed([SEED; 32]);
    let mut recording = recording(&mut rng, Verify::All);
    for number in UNREADABLE {
        for side in [Side::Initiator, Side::Responder] {
            let (from, to, payload) = recording.datagram(number, side, &[Chunk::Ping(b"?")]);
            assert_eq!(recording.feed(from, to, &payload).session, Some((number as u64, side)));
        }
    }
    // One that could be read was damaged: it is not taken for one of the others.
    let (from, to, mut payload) = recording.datagram(0, Side::Initiator, &[Chunk::Ping(&[7; 60])]);
    let last = payload.len() - 1;
    payload[last] ^= 1;
    let packet = recording.feed(from, to, &payload);
    assert_eq!((packet.status, packet.session), (Status::Undecoded(Undecoded::NoKey(ID)), None));
}

/// A checksum that is right, and nothing else: what a wrong key makes of a packet.
#[test]
fn what_does_not_fill_a_packet_is_reported() {
    let mut rng = ChaCha20Rng::from_seed([SEED; 32]);
    let mut recording = recording(&mut rng, Verify::All);
    // A ping, then what would be a chunk of 0x4142 bytes.
    let mut plain = vec![Mode::Initiator.bits(), 0x01, 0, 1, 7];
    plain.extend([0x10, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46]);
    let sealer = &mut recording.clients[0].initiator;
    let mut payload = Vec::new();
    let start = sealer.begin(&mut payload);
    payload.extend(plain);
    let range = sealer.finish(&mut payload, start);
    sealer.seal(ID, &mut payload, &[range]);
    let (ours, stranger) = (recording.clients[0].address, ([203, 0, 113, 1], 9).into());

    let packet = recording.feed(ours, server(), &payload);
    assert_eq!(packet.status, Status::Session(0, Side::Initiator), "nobody else's");
    assert!(packet.trailing >= 7);
    let trailing = packet.trailing;
    let (mut text, mut bytes, mut stats) = (String::new(), Vec::new(), CaptureStats::default());
    line::write(&packet, &mut text).unwrap();
    let expected = format!("[{trailing} bytes are neither chunks nor padding]");
    assert!(text.contains("Ping") && text.ends_with(&expected), "{text}");
    json::packet(&packet, false, &mut bytes);
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(value["trailing"], trailing);
    stats.count(&packet);
    assert_eq!((stats.session, stats.trailing), (1, 1));

    // Of a stranger it is a coincidence.
    let packet = recording.feed(stranger, server(), &payload);
    assert!(matches!(packet.status, Status::Undecoded(_)), "{:?}", packet.status);

    // The mode is that of the other end: also reported.
    let sealer = &mut recording.clients[0].initiator;
    let wrong = rtmfp::trace::writer::packet(sealer, ID, Mode::Responder, &[Chunk::Ping(b"?")]);
    let packet = recording.feed(ours, server(), &wrong);
    assert_eq!((packet.trailing, packet.has_wrong_mode()), (0, true));
    text.clear();
    line::write(&packet, &mut text).unwrap();
    assert!(text.ends_with("[marked as of the responder]"), "{text}");
}
