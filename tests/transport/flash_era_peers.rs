//! Programs that know of RTMFP what Flash Player does, and nothing else: MonaServer 1.x and librtmfp
//! as they were observed (`protocol-notes/interoperability.md`), here as strict far ends. A peer and
//! a server meet them with their default settings.

use crate::support::millis;
use crate::support::puppet::{HERE, NEAR_ID, Puppet, Solo, fragment, metadata, startup};
use crate::support::wiretap::Seen;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rtmfp::peer::PeerConfig;
use rtmfp::proto::crypto::{
    Certificate, DhGroup, Epd, Identity, IdentityConfig, Initiate, KeyingRandom, Negotiation,
    Respond, SessionKeys, Verification,
};
use rtmfp::proto::rendezvous::RendezvousConfig;
use rtmfp::proto::transport::{Event, SessionId};
use rtmfp::wire::chunk::{InitiatorHello, InitiatorKeying, ResponderHello, ResponderKeying};
use rtmfp::wire::{Chunk, Mode, PacketHeader};
use std::net::SocketAddr;
use std::sync::Arc;

/// A player's certificate begins so, and its key follows.
const STATIC_KEY: [u8; 4] = [0x81, 0x02, 0x1d, 0x02];
/// What MonaServer 1.x and librtmfp answer, and the only thing that librtmfp takes.
const NOTHING: [u8; 7] = [0x03, 0x1a, 0x00, 0x00, 0x02, 0x1e, 0x00];

fn here() -> SocketAddr {
    HERE.parse().unwrap()
}

/// A peer as the program starts one.
fn peer(seed: u64) -> Solo {
    let config = PeerConfig::default();
    Solo::new(seed, config.node.transport, &config.identity)
}

/// The certificate of MonaServer 1.x: it announces groups 2, 5 and 14.
fn mona_certificate() -> Vec<u8> {
    let mut bytes = vec![0x01, 0x0a, 0x41, 0x0e];
    bytes.extend_from_slice(&[0x4b; 64]);
    bytes.extend_from_slice(&[0x02, 0x15, 0x02, 0x02, 0x15, 0x05, 0x02, 0x15, 0x0e]);
    bytes
}

/// Takes a keying as these programs do: they read at fixed places what a player puts there, and
/// know nothing of HMACs.
fn assert_like_a_players(keying: &InitiatorKeying<'_>) {
    assert_eq!(keying.cookie.len(), 64);
    assert_eq!(keying.certificate.len(), 132, "the public key is all that follows");
    assert_eq!(keying.certificate[..4], STATIC_KEY);
    let component = keying.component;
    assert_eq!(component.len(), 76);
    assert_eq!(component[..5], [0x02, 0x1d, 0x02, 0x41, 0x0e]);
    let [0x03, 0x1a, hmac, _, 0x02, 0x1e, sseq] = component[69..] else { panic!("{component:x?}") };
    assert_eq!((hmac, sseq), (2, 2), "nothing that they cannot read is promised or requested");
}

/// They read packets only with a timestamp, and verify a checksum.
fn assert_readable(packets: &[Seen]) {
    for packet in packets {
        assert!(packet.header.timestamp.is_some(), "{packet:?}");
    }
}

/// Answers the hello and the keying of `solo`, which opens a session for `epd`.
fn respond(mut solo: Solo, epd: Epd, certificate: &[u8], identity: Arc<Identity>) -> Puppet {
    solo.act(|e, now| e.open(now, epd, &[here()]));
    let hello = solo.take_startup().pop().expect("a hello");
    assert!(hello.header.timestamp.is_some());
    let Chunk::InitiatorHello(hello) = hello.chunks()[0] else { panic!("{hello:?}") };
    let answer = ResponderHello { tag_echo: hello.tag, cookie: &[7; 64], certificate };
    solo.deliver(here(), startup(0, &Chunk::ResponderHello(answer)));

    let keying = solo.take_startup().pop().expect("a keying");
    assert!(keying.header.timestamp.is_some());
    let Chunk::InitiatorKeying(keying) = keying.chunks()[0] else { panic!("{keying:?}") };
    assert_like_a_players(&keying);
    let (component, keys) = Respond {
        identity: identity.clone(),
        initiator: Certificate::parse(keying.certificate).unwrap(),
        skic: keying.component.to_vec(),
        policy: Negotiation::checksum_only(),
        random: KeyingRandom::from_rng(&mut solo.random),
    }
    .run()
    .unwrap();
    assert_eq!(component[..7], NOTHING);
    assert_eq!(keys.negotiated.receive.verification, Verification::Checksum);
    let answer = ResponderKeying { session_id: NEAR_ID, component: &component, signature: b"X" };
    let session = SessionId(keying.session_id);
    solo.deliver(here(), startup(session.0, &Chunk::ResponderKeying(answer)));
    let events = solo.events();
    assert!(matches!(events[..], [Event::SessionOpened { .. }]), "{events:?}");
    Puppet::new(solo, here(), session, Mode::Responder, keys)
}

fn identity(config: &IdentityConfig) -> Arc<Identity> {
    Arc::new(Identity::generate(config, &mut ChaCha20Rng::from_seed([99; 32])))
}

/// A server that computes in group 2 alone, whatever it announces.
fn server(solo: Solo) -> Puppet {
    let mut config = IdentityConfig::default();
    config.groups = vec![DhGroup::Modp2];
    let epd = Epd::for_uri("rtmfp://127.0.0.1/chat");
    respond(solo, epd, &mona_certificate(), identity(&config))
}

/// MonaServer 1.x closes a session that begins with anything but a request to connect.
#[test]
fn the_first_packet_at_a_server_is_the_request_to_connect() {
    let mut server = server(peer(1));
    assert!(server.take().is_empty(), "the request comes first");
    server.flow_with(&[b"connect"]);
    let packets = server.take();
    let Chunk::UserData(data) = packets[0].chunks()[0] else { panic!("{packets:?}") };
    assert_eq!(data.data, b"connect");
    assert_readable(&packets);
    let later = server.wait(millis(200));
    assert!(!later.iter().any(|p| p.any(|c| matches!(c, Chunk::Ping(_)))), "{later:?}");
}

/// Many packets in one tick of the clock, and acknowledgements: all have a timestamp, until the far
/// end leaves it out itself.
#[test]
fn all_packets_have_timestamps_until_the_far_end_omits_them() {
    let mut server = server(peer(2));
    let message = [7; 900];
    server.flow_with(&[&message[..]; 3]);
    let packets = server.take();
    assert_eq!(packets.len(), 3);
    assert_readable(&packets);

    let header = PacketHeader { timestamp: Some(1), ..PacketHeader::new(Mode::Responder) };
    for sequence in 1..=3 {
        let options = metadata(b"test");
        let data = fragment(2, sequence, &options, b"data");
        let datagram = server.packet_with(&header, &[Chunk::UserData(data)]);
        server.solo.deliver(here(), datagram);
        server.solo.run_for(millis(1));
    }
    let packets = server.wait(millis(400));
    assert!(packets.len() >= 2, "{packets:?}");
    assert_readable(&packets);

    // It knows packets without: from then on only new timestamps are sent.
    server.send(&[Chunk::Ping(b"a")]);
    server.send(&[Chunk::Ping(b"b")]);
    let packets = server.take();
    assert!(packets.iter().any(|p| p.header.timestamp.is_none()), "{packets:?}");
}

/// librtmfp as a member that the peer knows.
#[test]
fn a_peer_opens_a_session_to_librtmfp() {
    let far = identity(&IdentityConfig::like_a_player());
    let epd = Epd::for_fingerprint(far.fingerprint());
    let mut peer = respond(peer(3), epd, far.certificate().as_bytes(), far.clone());
    // Nothing is sent: after a while a ping confirms the session, with a timestamp.
    let packets = peer.wait(millis(60));
    assert!(packets.iter().any(|p| p.any(|c| c == Chunk::Ping(&[]))), "{packets:?}");
    assert_readable(&packets);
}

/// Sends a hello with `epd` and keys as librtmfp and Flash Player do. Returns the hello and the answer
/// to the keying.
fn initiate(solo: &mut Solo, epd: &[u8]) -> (Vec<u8>, Vec<u8>, SessionKeys) {
    let identity = IdentityConfig::like_a_player();
    let identity = Arc::new(Identity::generate(&identity, &mut solo.random));
    solo.say(here(), 0, &Chunk::InitiatorHello(InitiatorHello { epd, tag: &[1; 16] }));
    let hello = solo.take_startup().pop().expect("an answer to the hello");
    assert!(hello.header.timestamp.is_some());
    let Chunk::ResponderHello(hello) = hello.chunks()[0] else { panic!("{hello:?}") };
    assert_eq!(hello.cookie.len(), 64, "other cookies are refused");
    let mut offer = Negotiation::default();
    (offer.hmac.request, offer.sseq.request) = (false, false);
    let initiated = Initiate {
        identity: identity.clone(),
        far: Certificate::parse(hello.certificate).unwrap(),
        offer,
        ours: false,
        random: KeyingRandom::from_rng(&mut solo.random),
    }
    .run()
    .unwrap();
    assert_eq!(initiated.component()[69..], [0x03, 0x1a, 0x02, 0x10, 0x02, 0x1e, 0x02]);
    let keying = InitiatorKeying {
        session_id: NEAR_ID,
        cookie: hello.cookie,
        certificate: identity.certificate().as_bytes(),
        component: initiated.component(),
        signature: b"X",
    };
    solo.say(here(), 0, &Chunk::InitiatorKeying(keying));
    let answer = solo.take_startup().pop().expect("an answer to the keying");
    assert!(answer.header.timestamp.is_some());
    let Chunk::ResponderKeying(answer) = answer.chunks()[0] else { panic!("{answer:?}") };
    let keys = initiated.finish(answer.component).unwrap();
    (hello.certificate.to_vec(), answer.component.to_vec(), keys)
}

#[test]
fn librtmfp_opens_a_session_to_a_peer() {
    let mut solo = peer(4);
    let epd = Epd::for_fingerprint(solo.endpoint.fingerprint());
    let (certificate, component, keys) = initiate(&mut solo, epd.as_bytes());
    assert_eq!((certificate.len(), &certificate[..4]), (132, &STATIC_KEY[..]));
    assert_eq!(component[..7], NOTHING);
    assert_eq!(component.len(), 7 + 66);
    assert_eq!(keys.negotiated.receive.verification, Verification::Checksum);
}

#[test]
fn librtmfp_opens_a_session_to_a_server() {
    let config = RendezvousConfig::default().transport;
    let mut solo = Solo::new(5, config, &IdentityConfig::default());
    let (_, component, keys) = initiate(&mut solo, b"\x05\x0achat");
    assert_eq!(component[..11], [&NOTHING[..], &[0x81, 0x02, 0x0d, 0x02]].concat());
    assert_eq!(component.len(), 7 + 132);
    assert_eq!(keys.negotiated.receive.verification, Verification::Checksum);
}
