//! Packets in pieces (RFC 7016 §3.4): what is unavoidably larger than a datagram may be.

use crate::support::puppet::{HERE, Puppet, Solo, startup};
use crate::support::{Pair, for_seeds, millis, quick, secs};
use rtmfp::proto::crypto::{DhGroup, Epd, IdentityConfig, KeyStyle};
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{Config, Time};
use rtmfp::wire::chunk::PacketFragment;
use rtmfp::wire::{Chunk, Mode, PacketHeader};
use std::net::SocketAddr;

/// A certificate with static keys in every group, and a long name: 1,500 bytes.
fn large() -> IdentityConfig {
    let groups = DhGroup::ALL.to_vec();
    let hostname = Some("x".repeat(400));
    let mut config = IdentityConfig::default();
    config.keys = KeyStyle::Static;
    config.groups = groups;
    config.hostname = hostname;
    config
}

fn piece(id: u64, number: u64, more: bool, data: &[u8]) -> Chunk<'_> {
    Chunk::PacketFragment(PacketFragment { more, reserved: 0, packet_id: id, number, data })
}

/// A plain startup packet with a hello.
fn hello(solo: &Solo, padding: usize) -> Vec<u8> {
    let epd = solo.own_epd();
    let mut plain = vec![3];
    let hello = rtmfp::wire::chunk::InitiatorHello { epd: epd.as_bytes(), tag: &[7; 16] };
    Chunk::InitiatorHello(hello).encode(&mut plain).unwrap();
    plain.resize(plain.len() + padding, 0xff);
    plain
}

#[test]
fn large_certificates_pass_in_both_directions() {
    for_seeds(8, |seed| {
        let identity = large();
        let lossy = Link::lan().with_loss(if seed == 0 { 0.0 } else { 0.1 });
        let mut pair =
            Pair::with_identities(seed, lossy, (quick(), &identity), (quick(), &identity));
        let (session, _) = pair.open();
        let wire = pair.wire();
        let pieces = |c: Chunk<'_>| matches!(c, Chunk::PacketFragment(_));
        for from in [0, 1] {
            let mut startup = wire.seen.iter().filter(|s| s.startup && s.from == from);
            assert!(startup.any(|s| s.any(pieces)), "{from}");
        }
        // Not more than four datagrams and 4,380 bytes in 200 ms to one address.
        for from in [0, 1] {
            let cut: Vec<_> =
                wire.seen.iter().filter(|s| s.from == from && s.any(pieces)).collect();
            for first in &cut {
                let soon = cut.iter().filter(|s| s.at >= first.at && s.at < first.at + millis(200));
                let lens: Vec<usize> = soon.map(|s| s.len).collect();
                assert!(lens.len() <= 4 && lens.iter().sum::<usize>() <= 4380, "{lens:?}");
            }
        }
        pair.network.act(pair.a, |e, now| e.0.close(now, session));
        pair.network.run_for(secs(200));
        assert_eq!(pair.network[pair.b].0.load(), (0, 0, 0));
    });
}

#[test]
fn a_hello_in_pieces_is_answered_like_a_whole_one() {
    let here: SocketAddr = HERE.parse().unwrap();
    let mut solo = Solo::new(1, quick(), &IdentityConfig::default());
    let plain = hello(&solo, 0);
    let (one, two) = plain.split_at(30);
    // In any order, and each of them twice.
    for chunk in [piece(5, 1, false, two), piece(5, 1, false, two), piece(5, 0, true, one)] {
        solo.say(here, 0, &chunk);
    }
    let answers = solo.take_startup();
    assert!(matches!(answers[..], [ref a] if matches!(a.chunks()[0], Chunk::ResponderHello(_))));
}

#[test]
fn pieces_of_different_sources_and_sessions_are_not_mixed() {
    let mut solo = Solo::new(2, quick(), &IdentityConfig::default());
    let plain = hello(&solo, 0);
    let (one, two) = plain.split_at(30);
    solo.say(HERE.parse().unwrap(), 0, &piece(5, 0, true, one));
    solo.say("192.0.2.1:1936".parse().unwrap(), 0, &piece(5, 1, false, two));
    solo.say(HERE.parse().unwrap(), 0, &piece(6, 1, false, two));
    assert!(solo.take_startup().is_empty());
}

#[test]
fn hostile_pieces_do_not_multiply_and_are_bounded() {
    let mut solo = Solo::new(3, quick(), &IdentityConfig::default());
    let plain = hello(&solo, 0);
    let mut sent = 0;
    let mut answered = 0;
    for i in 0..2000u64 {
        let from = SocketAddr::from(([10, 0, (i % 7) as u8, (i % 251) as u8], 1000));
        let chunk = piece(i, i % 3, i % 2 == 0, &plain);
        sent += startup(0, &chunk).len();
        solo.say(from, 0, &chunk);
        answered += solo.take_startup().iter().map(|s| s.len).sum::<usize>();
    }
    assert!(answered <= 3 * sent);
    // Nested pieces lead nowhere.
    let mut inner = vec![3];
    piece(1, 0, false, &plain).encode(&mut inner).unwrap();
    solo.say(HERE.parse().unwrap(), 0, &piece(9, 0, false, &inner));
    assert!(solo.take_startup().is_empty());
    assert_eq!(solo.endpoint.load(), (0, 0, 0));
}

#[test]
fn hostile_half_packets_from_one_host_do_not_keep_others_out() {
    let mut solo = Solo::new(4, quick(), &IdentityConfig::default());
    let plain = hello(&solo, 0);
    for i in 0..500u64 {
        let from = SocketAddr::from(([203, 0, 113, 9], 1000 + (i % 100) as u16));
        solo.say(from, 0, &piece(i, 0, true, &[3; 900]));
    }
    let (one, two) = plain.split_at(30);
    solo.say(HERE.parse().unwrap(), 0, &piece(5, 0, true, one));
    solo.say(HERE.parse().unwrap(), 0, &piece(5, 1, false, two));
    assert_eq!(solo.take_startup().len(), 1);
}

fn session_plain(puppet: &Puppet, chunks: &[Chunk<'_>]) -> Vec<u8> {
    let mut plain = vec![puppet.flags()];
    chunks.iter().for_each(|c| c.encode(&mut plain).unwrap());
    plain
}

#[test]
fn a_sessions_packet_in_pieces_is_processed_once_whole() {
    for_seeds(200, |seed| {
        let mut puppet = Puppet::initiator(seed, quick());
        let metadata = crate::support::puppet::metadata(b"test");
        let data = vec![7; 3000];
        let user = crate::support::puppet::fragment(4, 1, &metadata, &data);
        let plain = session_plain(&puppet, &[Chunk::UserData(user), Chunk::Ping(b"behind")]);
        let pieces: Vec<&[u8]> = plain.chunks(1000).collect();
        let count = pieces.len() as u64;
        // Rotated by the seed, with a doubled one.
        for i in 0..=count {
            let number = (i + seed) % count;
            puppet.send(&[piece(seed, number, number + 1 < count, pieces[number as usize])]);
        }
        assert_eq!(crate::support::messages(puppet.solo.events()), [&data[..]]);
        assert!(puppet.take().iter().any(|p| p.any(|c| c == Chunk::PingReply(b"behind"))));
    });
}

#[test]
fn a_packet_of_another_mode_or_without_end_leads_nowhere() {
    let mut puppet = Puppet::initiator(1, quick());
    let mut wrong = Vec::new();
    PacketHeader::new(Mode::Responder).encode(&mut wrong);
    Chunk::Ping(b"no").encode(&mut wrong).unwrap();
    puppet.send(&[piece(1, 0, false, &wrong)]);
    for number in 0..1000 {
        puppet.send(&[piece(2, number, true, &[9; 1000])]);
    }
    // One piece too late: the packet has not grown for more than a second.
    let right = session_plain(&puppet, &[Chunk::Ping(b"late")]);
    puppet.send(&[piece(3, 0, true, &right[..3])]);
    puppet.solo.run_for(millis(1001));
    puppet.send(&[piece(3, 1, false, &right[3..])]);
    // And one that contains itself.
    let mut nested = session_plain(&puppet, &[Chunk::Ping(b"outer")]);
    piece(4, 0, false, &right).encode(&mut nested).unwrap();
    puppet.take();
    puppet.send(&[piece(4, 0, false, &nested)]);
    let replies: Vec<Vec<u8>> = puppet
        .take()
        .iter()
        .flat_map(|p| {
            p.chunks().into_iter().map(|c| format!("{c:?}").into_bytes()).collect::<Vec<_>>()
        })
        .collect();
    let reports = |text: &str| replies.iter().any(|r| String::from_utf8_lossy(r).contains(text));
    assert_eq!(replies.len(), 1, "{replies:?}");
    assert!(reports("PingReply"));
}

#[test]
fn a_long_discriminator_is_asked_in_pieces() {
    let mut solo = Solo::new(6, Config::default(), &IdentityConfig::default());
    let epd = Epd::for_uri(&format!("rtmfp://host/{}", "x".repeat(1500)));
    let here: SocketAddr = HERE.parse().unwrap();
    solo.act(|e, now| e.open(now, epd, &[here]));
    let sent = solo.take_startup();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|s| s.len <= 1200 && s.at == Time::from_millis(1000)));
}
