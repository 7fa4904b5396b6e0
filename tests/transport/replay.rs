//! Datagrams that were recorded, doubled, changed or invented are refused.

use crate::support::puppet::Puppet;
use crate::support::{Pair, for_seeds, quick, secs};
use rtmfp::proto::crypto::Negotiation;
use rtmfp::proto::sim::{Link, SeededRandom};
use rtmfp::wire::Chunk;

fn refused(puppet: &Puppet) -> u64 {
    puppet.solo.endpoint.session(puppet.session).unwrap().stats().datagrams_refused
}

#[test]
fn a_replayed_packet_is_refused() {
    let mut puppet = Puppet::initiator(1, quick());
    let address = puppet.address;
    let packets: Vec<_> = (0..100u8).map(|i| puppet.packet(&[Chunk::Ping(&[i])])).collect();
    for packet in &packets {
        puppet.solo.deliver(address, packet.clone());
    }
    assert_eq!((puppet.take().len(), refused(&puppet)), (100, 0));
    for packet in packets {
        puppet.solo.deliver(address, packet);
    }
    assert_eq!((puppet.take().len(), refused(&puppet)), (0, 100));
}

#[test]
fn packets_out_of_order_are_accepted_once() {
    for_seeds(20, |seed| {
        let mut puppet = Puppet::initiator(seed, quick());
        let address = puppet.address;
        let mut random = SeededRandom::new(seed);
        let mut packets: Vec<_> = (0..30u8).map(|i| puppet.packet(&[Chunk::Ping(&[i])])).collect();
        packets.extend(packets.clone());
        let mut answered = 0;
        while !packets.is_empty() {
            let packet = packets.swap_remove(random.below(packets.len() as u64) as usize);
            puppet.solo.deliver(address, packet);
            answered += puppet.take().len();
        }
        assert_eq!((answered, refused(&puppet)), (30, 30));
    });
}

#[test]
fn hostile_bits_are_refused() {
    let mut puppet = Puppet::initiator(2, quick());
    let address = puppet.address;
    for i in 0..4000 {
        let mut packet = puppet.packet(&[Chunk::Ping(b"a ping of several blocks of the cipher")]);
        let bit = 32 + i % (8 * (packet.len() - 4));
        packet[bit / 8] ^= 1 << (bit % 8);
        // The session ID is scrambled with the first eight bytes; keep it right.
        if (4..12).contains(&(bit / 8)) {
            packet[(bit / 8) % 4] ^= 1 << (bit % 8);
        }
        puppet.solo.deliver(address, packet);
    }
    assert!(puppet.take().is_empty());
    assert_eq!(refused(&puppet), 4000);
}

#[test]
fn hostile_bits_under_a_checksum_never_harm() {
    let mut config = quick();
    config.negotiation = Negotiation::checksum_only();
    let mut random = SeededRandom::new(3);
    let mut puppet = Puppet::initiator(3, config);
    let address = puppet.address;
    for i in 0..20_000u32 {
        let mut packet = puppet.packet(&[Chunk::Ping(&i.to_be_bytes()), Chunk::BufferProbe(5)]);
        let at = 4 + random.below(packet.len() as u64 - 4) as usize;
        packet[at] ^= 1 + random.below(255) as u8;
        if at < 12 {
            continue; // Another session's ID.
        }
        puppet.solo.deliver(address, packet);
    }
    assert!(puppet.take().len() < 10, "a 16-bit checksum misses one in 65,536");
    assert!(puppet.solo.endpoint.session(puppet.session).is_some());
}

#[test]
fn hostile_datagrams_of_noise_are_dropped() {
    for_seeds(20, |seed| {
        let mut pair = Pair::new(seed, Link::lan());
        let (session, far) = pair.open();
        let mut random = SeededRandom::new(seed);
        let (from, to) = (pair.network.address(pair.a), pair.network.address(pair.b));
        for len in 0..600 {
            let mut bytes = vec![0; len];
            rand_core::Rng::fill_bytes(&mut random, &mut bytes);
            pair.network.inject(from, to, bytes);
        }
        pair.network.run_for(secs(1));
        assert!(pair.network[pair.b].0.session(far).is_some());
        pair.close_and_check(pair.a, session);
    });
}

#[test]
fn a_doubled_network_delivers_once() {
    for_seeds(64, |seed| {
        let link = Link { duplicate: 0.9, reorder: 0.3, ..Link::bad() };
        let mut pair = Pair::new(seed, link);
        let (session, _) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let flow = pair.open_flow(a, session, b"data");
        for i in 0..30 {
            pair.send(a, session, flow, &[i; 1500]);
        }
        pair.close_flow(a, session, flow);
        assert!(pair.run_until_done(a, session));
        let messages = pair.messages(b);
        assert!(messages.iter().enumerate().all(|(i, m)| m[..] == [i as u8; 1500]));
        assert_eq!(messages.len(), 30);
        assert_eq!(pair.network[b].0.load().0, 1, "doubled keyings open nothing");
        pair.close_and_check(a, session);
    });
}
