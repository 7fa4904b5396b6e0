//! A far end with valid keys that sends nonsense: no panic, and nothing grows without bound.

use crate::support::puppet::{Puppet, flags, fragment, metadata};
use crate::support::{for_seeds, millis, quick, secs};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::proto::transport::Event;
use rtmfp::wire::chunk::{
    BitmapAck, FragmentControl, NextUserData, RangeAck, UserData, UserDataFlags,
};
use rtmfp::wire::option::encode_option;
use rtmfp::wire::{Chunk, vlu};

/// Packets that the endpoint sent, each within the datagram limit.
fn sent(puppet: &mut Puppet) -> usize {
    let packets = puppet.take();
    assert!(packets.iter().all(|p| p.len <= 1200));
    packets.len()
}

/// The endpoint still answers.
fn alive(puppet: &mut Puppet) {
    puppet.take();
    puppet.send(&[Chunk::Ping(b"alive?")]);
    assert!(puppet.take().iter().any(|p| p.any(|c| c == Chunk::PingReply(b"alive?"))));
}

#[test]
fn floods_of_pings_are_answered_within_bounds() {
    let mut puppet = Puppet::initiator(1, quick());
    let many = vec![Chunk::Ping(b""); 5000];
    let packet = puppet.packet(&many);
    let address = puppet.address;
    puppet.solo.deliver(address, packet);
    let packets = puppet.take();
    let replies: usize = packets.iter().map(|p| p.chunks().len()).sum();
    assert!(replies <= 32, "{replies}");
    let long = vec![Chunk::Ping(&[1; 1000]); 50];
    puppet.send(&long);
    assert!(sent(&mut puppet) <= 32);
    alive(&mut puppet);
}

#[test]
fn acknowledgements_of_everything_and_nothing() {
    let mut puppet = Puppet::initiator(2, quick());
    let flow = puppet.flow_with(&[&[0; 30_000]]);
    puppet.take();
    let mut runs = Vec::new();
    for number in [0, 0, u64::MAX - 10, 5, 3, u64::MAX] {
        vlu::encode(number, &mut runs);
    }
    for cumulative in [0, 1, 7, u64::MAX - 1, u64::MAX] {
        for flow in [flow.0, 0, 99, u64::MAX] {
            for blocks in [0, 1, u64::MAX] {
                let ack = RangeAck { flow, buffer_blocks: blocks, cumulative, runs: &runs };
                puppet.send(&[Chunk::RangeAck(ack)]);
                let bits = &[0xff; 900];
                let ack = BitmapAck { flow, buffer_blocks: blocks, cumulative, bits };
                puppet.send(&[Chunk::BitmapAck(ack), Chunk::BitmapAck(ack)]);
            }
        }
    }
    sent(&mut puppet);
    alive(&mut puppet);
    assert_eq!(puppet.solo.endpoint.queued(puppet.session, flow), 0);
}

#[test]
fn sequence_numbers_at_the_end_of_the_world() {
    for sequence in [u64::MAX, u64::MAX - 1, 1 << 63, 1 << 32] {
        for fsn_offset in [1, 2, sequence / 2, sequence] {
            let mut puppet = Puppet::initiator(3, quick());
            let options = metadata(b"test");
            let far = UserData { fsn_offset, ..fragment(2, sequence, &options, b"far") };
            let next =
                NextUserData { flags: flags(FragmentControl::Whole), options: None, data: b"next" };
            puppet.send(&[
                Chunk::UserData(far),
                Chunk::NextUserData(next),
                Chunk::NextUserData(next),
            ]);
            puppet.message(2, 1, b"one");
            puppet.message(2, 2, b"two");
            let last = UserDataFlags { last: true, abandon: true, ..far.flags };
            puppet.send(&[Chunk::UserData(UserData { flags: last, data: b"", ..far })]);
            puppet.send(&[Chunk::UserData(UserData {
                flags: last,
                data: b"",
                fsn_offset: 0,
                ..far
            })]);
            assert!(puppet.solo.events().len() < 8);
            alive(&mut puppet);
        }
    }
}

#[test]
fn a_hundred_thousand_flows() {
    let mut config = quick();
    config.max_flows = 50;
    let mut puppet = Puppet::initiator(4, config);
    let options = metadata(b"x");
    for round in 0..2000u64 {
        let chunks: Vec<_> =
            (0..50).map(|i| Chunk::UserData(fragment(50 * round + i, 1, &options, b"y"))).collect();
        puppet.send(&chunks);
        sent(&mut puppet);
    }
    let session = puppet.solo.endpoint.session(puppet.session).unwrap();
    assert_eq!(session.flow_counts(), (0, 50));
    assert_eq!(puppet.solo.endpoint.stats().flows_refused, 100_000 - 50);
    assert_eq!(puppet.solo.events().len(), 100);
    alive(&mut puppet);
}

#[test]
fn short_flows_one_after_another_never_run_out() {
    let mut config = quick();
    config.max_flows = 50;
    let mut puppet = Puppet::initiator(5, config);
    for flow in 2..2002 {
        let options = metadata(b"x");
        let whole = fragment(flow, 1, &options, b"message");
        let last = UserDataFlags { last: true, ..whole.flags };
        puppet.send(&[Chunk::UserData(UserData { flags: last, ..whole })]);
        puppet.take();
    }
    let events = puppet.solo.events();
    assert_eq!(events.iter().filter(|e| matches!(e, Event::FlowFinished { .. })).count(), 2000);
    let session = puppet.solo.endpoint.session(puppet.session).unwrap();
    assert!(session.flow_counts().1 <= 50);
}

#[test]
fn option_lists_that_explode() {
    let mut puppet = Puppet::initiator(6, quick());
    let mut bomb = Vec::new();
    for i in 0..500 {
        encode_option(8192 + i, b"", &mut bomb);
    }
    encode_option(0, b"m", &mut bomb);
    bomb.push(0);
    puppet.send(&[Chunk::UserData(fragment(2, 1, &bomb, b"x"))]);
    let mut long = Vec::new();
    encode_option(0, &[0; 60_000], &mut long);
    long.push(0);
    let packet = puppet.packet(&[Chunk::UserData(fragment(3, 1, &long, b"x"))]);
    let address = puppet.address;
    puppet.solo.deliver(address, packet);
    assert!(puppet.solo.events().len() <= 2);
    alive(&mut puppet);
}

#[test]
fn everything_behind_a_gap() {
    let mut config = quick();
    config.receive_buffer = 64 << 10;
    let mut puppet = Puppet::initiator(7, config);
    let options = metadata(b"x");
    for sequence in 2..2000 {
        puppet.send(&[Chunk::UserData(fragment(2, sequence, &options, &[0; 1100]))]);
        sent(&mut puppet);
    }
    // What was not kept is not acknowledged, so that it is sent again.
    puppet.message(2, 1, b"first");
    let messages = crate::support::messages(puppet.solo.events());
    assert!((60..130).contains(&messages.len()), "{}", messages.len());
    let mut cumulative = 0;
    for packet in puppet.take() {
        for chunk in packet.chunks() {
            if let Chunk::RangeAck(ack) = chunk {
                cumulative = ack.cumulative;
            }
        }
    }
    assert_eq!(cumulative as usize, messages.len());
}

#[test]
fn a_sender_that_ignores_a_closed_window() {
    let mut config = quick();
    config.receive_buffer = 64 << 10;
    let mut puppet = Puppet::initiator(8, config);
    puppet.message(2, 1, b"first");
    let session = puppet.session;
    let flow = rtmfp::proto::transport::FlowId(2);
    puppet.solo.act(|e, now| e.pause_flow(now, session, flow, true).unwrap());
    for sequence in 2..2000 {
        puppet.send(&[Chunk::UserData(fragment(2, sequence, &[], &[0; 1100]))]);
        sent(&mut puppet);
    }
    puppet.solo.events();
    puppet.solo.act(|e, now| e.pause_flow(now, session, flow, false).unwrap());
    let messages = crate::support::messages(puppet.solo.events());
    assert!((60..130).contains(&messages.len()), "{}", messages.len());
}

#[test]
fn random_chunks_in_random_order() {
    for_seeds(200, |seed| {
        let mut random = SeededRandom::new(seed);
        let mut puppet = if seed % 2 == 0 {
            Puppet::initiator(seed, quick())
        } else {
            Puppet::responder(seed, quick())
        };
        let near = puppet.flow_with(&[&[0; 9000], b"more"]);
        for _ in 0..150 {
            let mut plain = vec![puppet.flags()];
            for _ in 0..random.below(6) {
                noise(&mut random, near.0, &mut plain);
            }
            let packet = puppet.raw_packet(&plain);
            let address = puppet.address;
            puppet.solo.deliver(address, packet);
            let step = millis(random.below(300));
            puppet.solo.run_for(step);
            assert!(sent(&mut puppet) < 40);
        }
        assert!(puppet.solo.endpoint.load().0 <= 1);
        puppet.solo.run_for(secs(400));
        assert_eq!(puppet.solo.endpoint.load(), (0, 0, 0));
    });
}

/// Appends a chunk of any type except the two that close, with a payload that is likely to parse.
fn noise(random: &mut SeededRandom, flow: u64, out: &mut Vec<u8>) {
    const KINDS: [u8; 19] = [
        0x7f, 0x30, 0x0f, 0x70, 0x71, 0x79, 0x38, 0x78, 0x01, 0x41, 0x10, 0x10, 0x11, 0x50, 0x51,
        0x18, 0x5e, 0xec, 0x99,
    ];
    let kind = KINDS[random.below(KINDS.len() as u64) as usize];
    let mut payload = Vec::new();
    if matches!(kind, 0x10 | 0x11) {
        payload.push(random.below(256) as u8);
    }
    for _ in 0..random.below(8) {
        let number = match random.below(6) {
            0 => flow,
            1 => u64::MAX - random.below(3),
            2 => random.below(1 << 40),
            _ => random.below(12),
        };
        vlu::encode(number, &mut payload);
    }
    for _ in 0..random.below(20) {
        payload.push(random.below(256) as u8);
    }
    out.push(kind);
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(&payload);
}
