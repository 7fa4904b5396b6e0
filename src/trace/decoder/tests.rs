use super::*;
use crate::crypto::{
    DhGroup, Identity, IdentityConfig, Initiate, KeyingRandom, Negotiation, Respond, Sealer,
    SessionKeys,
};
use crate::trace::CaptureStats;
use crate::wire::Mode;
use crate::wire::chunk::PacketFragment;
use proptest::prelude::*;
use rand_core::SeedableRng;
use std::sync::Arc;
use std::time::Duration;

const INITIATOR_ID: u32 = 0x0200_0000;
const RESPONDER_ID: u32 = 0x0900_0000;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn seal(sealer: &mut Sealer, session_id: u32, mode: Mode, chunks: &[Chunk<'_>]) -> Datagram {
    let mut buf = Vec::new();
    let start = sealer.begin(&mut buf);
    PacketHeader::new(mode).encode(&mut buf);
    chunks.iter().for_each(|chunk| chunk.encode(&mut buf).unwrap());
    let range = sealer.finish(&mut buf, start);
    sealer.seal(session_id, &mut buf, &[range]);
    Datagram { time: Duration::ZERO, source: address(1), destination: address(2), payload: buf }
}

fn startup(session_id: u32, chunk: Chunk<'_>) -> Datagram {
    seal(&mut Sealer::default_key(), session_id, Mode::Startup, &[chunk])
}

fn initiator_keying(session_id: u32, component: &[u8]) -> Datagram {
    let chunk =
        InitiatorKeying { session_id, cookie: b"", certificate: b"", component, signature: b"X" };
    startup(0, Chunk::InitiatorKeying(chunk))
}

fn responder_keying(to: u32, session_id: u32, component: &[u8]) -> Datagram {
    let chunk = ResponderKeying { session_id, component, signature: b"X" };
    startup(to, Chunk::ResponderKeying(chunk))
}

/// A keying between two ends: the components and what each end has.
struct Keyed {
    skic: Vec<u8>,
    skrc: Vec<u8>,
    initiator: SessionKeys,
    responder: SessionKeys,
}

fn keyed(seed: u8) -> Keyed {
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([seed; 32]);
    let config = IdentityConfig { groups: vec![DhGroup::Modp2], ..Default::default() };
    let mut identity = || Arc::new(Identity::generate(&config, &mut rng));
    let (a, b) = (identity(), identity());
    let initiated = Initiate {
        identity: a.clone(),
        far: b.certificate().clone(),
        offer: Negotiation::default(),
        ours: false,
        random: KeyingRandom::from_rng(&mut rng),
    }
    .run()
    .unwrap();
    let skic = initiated.component().to_vec();
    let (skrc, responder) = Respond {
        identity: b,
        initiator: a.certificate().clone(),
        skic: skic.clone(),
        policy: Negotiation::default(),
        random: KeyingRandom::from_rng(&mut rng),
    }
    .run()
    .unwrap();
    let initiator = initiated.finish(&skrc).unwrap();
    Keyed { skic, skrc, initiator, responder }
}

fn decoder(known: &[&Keyed]) -> Decoder {
    let mut keys = KeyLog::default();
    for keyed in known {
        keys.read(keyed.initiator.key_log.line().as_bytes()).unwrap();
    }
    Decoder::new(keys)
}

fn packet(decoded: Decoded) -> Packet {
    match decoded {
        Decoded::Packet(packet) => packet,
        Decoded::Undecoded(reason) => panic!("{reason}"),
    }
}

#[test]
fn a_session_with_its_secret() {
    let mut keyed = keyed(1);
    let mut decoder = decoder(&[&keyed]);
    let first = packet(decoder.feed(&initiator_keying(INITIATOR_ID, &keyed.skic)));
    assert_eq!((first.sender, first.session_id, first.keying), (Sender::Startup, 0, None));
    let answer = responder_keying(INITIATOR_ID, RESPONDER_ID, &keyed.skrc);
    let keying = Keying {
        session: 0,
        initiator_id: INITIATOR_ID,
        responder_id: RESPONDER_ID,
        has_secret: true,
    };
    assert_eq!(packet(decoder.feed(&answer)).keying, Some(keying));
    assert_eq!(packet(decoder.feed(&answer)).keying, None, "a repetition");

    let ping = [Chunk::Ping(b"?")];
    let ours = seal(&mut keyed.initiator.sealer, RESPONDER_ID, Mode::Initiator, &ping);
    let opened = packet(decoder.feed(&ours));
    assert_eq!(opened.sender, Sender::Initiator(0));
    assert_eq!(opened.header().unwrap().mode, Mode::Initiator);
    assert_eq!(opened.chunks().collect::<Vec<_>>(), ping);
    assert_eq!(packet(decoder.feed(&ours)), opened, "what was captured twice is shown twice");

    let mut theirs = seal(&mut keyed.responder.sealer, INITIATOR_ID, Mode::Responder, &ping);
    theirs.source = address(999);
    let opened = packet(decoder.feed(&theirs));
    assert_eq!((opened.sender, opened.source), (Sender::Responder(0), address(999)));
}

#[test]
fn a_session_without_its_secret_is_distinguished_from_noise() {
    let mut keyed = keyed(1);
    let mut decoder = decoder(&[]);
    decoder.feed(&initiator_keying(INITIATOR_ID, &keyed.skic));
    let answer = responder_keying(INITIATOR_ID, RESPONDER_ID, &keyed.skrc);
    assert!(!packet(decoder.feed(&answer)).keying.unwrap().has_secret);
    let mut ping =
        |id| seal(&mut keyed.initiator.sealer, id, Mode::Initiator, &[Chunk::Ping(b"?")]);
    let decoded = decoder.feed(&ping(RESPONDER_ID));
    assert_eq!(decoded, Decoded::Undecoded(Undecoded::NoSecret(RESPONDER_ID)));
    assert_eq!(decoder.feed(&ping(7)), Decoded::Undecoded(Undecoded::NoKey(7)));
    let mut short = ping(RESPONDER_ID);
    short.payload.truncate(MIN_DATAGRAM - 1);
    assert_eq!(decoder.feed(&short), Decoded::Undecoded(Undecoded::TooShort));
}

#[test]
fn sessions_with_the_same_ids_are_distinguished_by_their_keys() {
    let (mut one, mut two) = (keyed(1), keyed(2));
    let mut decoder = decoder(&[&one, &two]);
    // Both questions before both answers, in the other order.
    for keyed in [&one, &two] {
        decoder.feed(&initiator_keying(INITIATOR_ID, &keyed.skic));
    }
    for (session, keyed) in [&two, &one].into_iter().enumerate() {
        let answer = responder_keying(INITIATOR_ID, RESPONDER_ID, &keyed.skrc);
        let keying = packet(decoder.feed(&answer)).keying.unwrap();
        assert_eq!((keying.session, keying.has_secret), (session as u64, true));
    }
    for (session, keys) in [(1, &mut one.initiator), (0, &mut two.initiator)] {
        let ping = seal(&mut keys.sealer, RESPONDER_ID, Mode::Initiator, &[Chunk::Ping(b"?")]);
        assert_eq!(packet(decoder.feed(&ping)).sender, Sender::Initiator(session));
    }
}

#[test]
fn hostile_floods_of_keyings_are_bounded() {
    let mut decoder = decoder(&[]);
    for n in 0..(MAX_SESSIONS + 1000) as u32 {
        let component = n.to_be_bytes();
        decoder.feed(&initiator_keying(n / 2, &component));
        decoder.feed(&responder_keying(n / 2, 7, &component));
    }
    assert_eq!(decoder.pending.len(), MAX_PENDING);
    assert_eq!(decoder.sessions.len(), MAX_SESSIONS);
    assert_eq!(decoder.by_id[&7].len(), MAX_SAME_ID);
    assert!(decoder.by_id.len() <= 2 * MAX_SESSIONS);
    assert!(!decoder.by_id.contains_key(&0), "dropped with its sessions");
}

#[test]
fn counts() {
    let mut keyed = keyed(1);
    let mut decoder = decoder(&[&keyed]);
    let mut stats = CaptureStats::default();
    let data = [0x80, 0x02, 0x01, 0x01, 0x03, 0x00, b'G', b'C', 0x00, b'x'];
    let chunks = [
        Chunk::parse(kind::USER_DATA, &data).unwrap(),
        Chunk::Padding { kind: kind::PADDING_00, payload: b"" },
        Chunk::Ping(b"?"),
    ];
    let answer = responder_keying(INITIATOR_ID, RESPONDER_ID, &keyed.skrc);
    let mut short = answer.clone();
    short.payload.truncate(3);
    for datagram in [
        initiator_keying(INITIATOR_ID, &keyed.skic),
        answer.clone(),
        answer,
        seal(&mut keyed.initiator.sealer, RESPONDER_ID, Mode::Initiator, &chunks),
        seal(&mut keyed.initiator.sealer, 1, Mode::Initiator, &chunks),
        short,
    ] {
        stats.add(&decoder.feed(&datagram));
    }
    let expected = CaptureStats {
        datagrams: 6,
        startup: 3,
        session: 1,
        sessions: 1,
        too_short: 1,
        undecoded: 1,
        chunks: [(0x38, 1), (0x78, 2), (0x10, 1), (0x01, 1)].into(),
        flow_metadata: [(b"GC".to_vec(), 1)].into(),
        ..CaptureStats::default()
    };
    assert_eq!(stats, expected);
}

proptest! {
    #[test]
    fn arbitrary_datagrams_never_panic(payload: Vec<u8>) {
        let datagram =
            Datagram { time: Duration::ZERO, source: address(1), destination: address(2), payload };
        let mut stats = CaptureStats::default();
        stats.add(&decoder(&[]).feed(&datagram));
        prop_assert_eq!(stats.datagrams, 1);
    }

    #[test]
    fn arbitrary_startup_packets_never_panic(plain: Vec<u8>, session_id: u32) {
        let mut sealer = Sealer::default_key();
        let mut payload = Vec::new();
        let start = sealer.begin(&mut payload);
        payload.extend_from_slice(&plain);
        let range = sealer.finish(&mut payload, start);
        sealer.seal(session_id, &mut payload, &[range]);
        let datagram =
            Datagram { time: Duration::ZERO, source: address(1), destination: address(2), payload };
        match decoder(&[]).feed(&datagram) {
            Decoded::Packet(packet) => prop_assert_eq!(packet.sender, Sender::Startup),
            // The checksum may be right by chance.
            Decoded::Undecoded(reason) => {
                prop_assert!(session_id != 0 && reason == Undecoded::NoKey(session_id));
            }
        }
    }
}

fn at(millis: u64, mut datagram: Datagram) -> Datagram {
    datagram.time = Duration::from_millis(millis);
    datagram
}

fn pieces_of(plain: &[u8], packet_id: u64) -> Vec<Chunk<'_>> {
    let count = plain.len().div_ceil(40);
    let piece = |(number, data)| {
        let (number, more) = (number as u64, number + 1 < count);
        Chunk::PacketFragment(PacketFragment { more, reserved: 0, packet_id, number, data })
    };
    plain.chunks(40).enumerate().map(piece).collect()
}

fn plain(mode: Mode, chunks: &[Chunk<'_>]) -> Vec<u8> {
    let mut plain = Vec::new();
    PacketHeader::new(mode).encode(&mut plain);
    chunks.iter().for_each(|chunk| chunk.encode(&mut plain).unwrap());
    plain.extend([0xff; 5]);
    plain
}

#[test]
fn a_keying_and_packets_in_pieces_are_put_together() {
    let keyed = keyed(1);
    let mut decoder = decoder(&[&keyed]);
    let question = InitiatorKeying {
        session_id: INITIATOR_ID,
        cookie: b"",
        certificate: b"",
        component: &keyed.skic,
        signature: b"X",
    };
    let question = plain(Mode::Startup, &[Chunk::InitiatorKeying(question)]);
    // The last piece first.
    for piece in pieces_of(&question, 9).into_iter().rev() {
        packet(decoder.feed(&startup(0, piece)));
    }
    let answer = responder_keying(INITIATOR_ID, RESPONDER_ID, &keyed.skrc);
    assert!(packet(decoder.feed(&answer)).keying.is_some_and(|keying| keying.has_secret));

    let mut sealer = keyed.initiator.sealer;
    let whole = plain(Mode::Initiator, &[Chunk::Ping(&[7; 90]), Chunk::BufferProbe(3)]);
    let mut seal = |chunk| seal(&mut sealer, RESPONDER_ID, Mode::Initiator, &[chunk]);
    let mut last = None;
    for (i, piece) in pieces_of(&whole, 1).into_iter().enumerate() {
        last = Some(packet(decoder.feed(&at(900 * i as u64, seal(piece)))));
    }
    let codes: Vec<u8> = last.unwrap().raw_chunks().map(|(code, _)| code).collect();
    assert_eq!(codes, [kind::PACKET_FRAGMENT, kind::PING, kind::BUFFER_PROBE]);

    // A pause of more than a second, and a packet of another mode than its pieces.
    let mut seen = Vec::new();
    for (i, piece) in pieces_of(&whole, 2).into_iter().enumerate() {
        seen.push(packet(decoder.feed(&at(10_000 + 1100 * i as u64, seal(piece)))));
    }
    let wrong = plain(Mode::Responder, &[Chunk::Ping(b"no")]);
    for piece in pieces_of(&wrong, 3) {
        seen.push(packet(decoder.feed(&at(20_000, seal(piece)))));
    }
    assert!(seen.iter().all(|packet| packet.raw_chunks().count() <= 2), "{seen:?}");
    assert!(seen.iter().all(|p| p.raw_chunks().all(|(code, _)| code != kind::PING)));
}

#[test]
fn startup_pieces_of_different_sources_are_not_mixed() {
    let mut decoder = decoder(&[]);
    let hello = plain(Mode::Startup, &[Chunk::Ping(&[1; 60])]);
    for (i, piece) in pieces_of(&hello, 5).into_iter().enumerate() {
        let mut datagram = startup(0, piece);
        datagram.source = address(100 + i as u16);
        let codes = packet(decoder.feed(&datagram));
        assert!(codes.raw_chunks().all(|(code, _)| code != kind::PING));
    }
}
