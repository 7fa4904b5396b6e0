//! What hostile and broken members send is ignored, rejected or bounded.

use crate::support::net::{Answer, Net, address, object, peer, spec};
use bytes::Bytes;
use proptest::prelude::*;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::{Hello, MembershipMessage};
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, Group, GroupAction, GroupConfig, GroupSpecBuilder,
};
use rtmfp::proto::transport::{FlowId, SessionId, Time};
use rtmfp::wire::vlu;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Two members that both trade, so that all flows exist.
fn pair() -> Net {
    let mut net = Net::new(2);
    for node in [0, 1] {
        net.with(node, |g, now| {
            g.replication_mut(now).add_have(10 * node as u64..=10 * node as u64 + 5)
        })
        .unwrap();
    }
    net.introduce_all();
    net
}

#[test]
fn malformed_messages_are_ignored() {
    let mut net = pair();
    let before = net.nodes[0].sent.len();
    for message in
        [&[0x12, 0x00][..], &[0x13, 0x00], &[0x1b, 0x00], &[], &[0x10, 0x80], &[0x18], &[0x1a]]
    {
        net.inject(0, 1, FlowKind::Replication, message);
    }
    for message in [&[0x03][..], &[0x0a], &[], &[0x02], &[0x0e], &[0x0c], &[0x0b; 33]] {
        net.inject(0, 1, FlowKind::Membership, message);
    }
    assert_eq!(net.nodes[0].sent.len(), before, "no reaction");
    assert_eq!(net.neighbors(0), [1].into());
    assert_eq!(net.nodes[0].group.stats().replication.malformed, 7);
}

#[test]
fn a_set_of_every_second_index_is_bounded() {
    let mut net = pair();
    let mut message = vec![0x10];
    (0..20_000).for_each(|_| message.extend_from_slice(&[2, 0]));
    net.inject(0, 1, FlowKind::Replication, &message);
    let stats = net.nodes[0].group.stats().replication;
    assert!(stats.ignored_haves >= 20_000 - 4096 - 6);
    assert!(net.nodes[0].group.neighbors()[0].trade.have <= 4096 + 5);
    // Everything at once costs one range, and taking holes out of it is bounded, too.
    net.inject(0, 1, FlowKind::Replication, b"\x10\x00\x8f\xff\xff\xff\xff\xff\xff\x7f");
    net.inject(0, 1, FlowKind::Replication, &[&[0x11], &message[1..]].concat());
    net.with(0, |g, now| g.replication_mut(now).add_want(0..=1 << 53)).unwrap();
    net.run_for(SECOND);
    assert_eq!(net.neighbors(0), [1].into());
}

#[test]
fn a_flood_of_requests_is_bounded() {
    let mut net = pair();
    // Objects are known to be small.
    net.with(1, |g, now| g.replication_mut(now).add_want(1..=1)).unwrap();
    net.run_for(SECOND);
    net.nodes[0].answer = Answer::Hold;
    net.with(1, |g, now| g.replication_mut(now).add_want(0..=0)).unwrap();
    net.run_for(SECOND);
    for _ in 0..1000 {
        net.inject(0, 1, FlowKind::Replication, &[0x1a, 0x05]);
    }
    assert_eq!(net.nodes[0].held.len(), 32, "shown");
    let denied = |net: &Net| {
        let sent = net.sent(0, 1, FlowKind::Replication);
        sent.iter().filter(|m| m[0] == 0x19).count()
    };
    assert_eq!(denied(&net), 1000 + 1 - 32 - 256);
    net.inject(0, 1, FlowKind::Replication, &[0x1a, 0x77]);
    assert_eq!(denied(&net), 1000 + 1 - 32 - 256 + 1, "not in the Have set");
    // Each answer lets one more come forward.
    let id = net.nodes[0].held[0];
    assert!(net.with(0, |g, now| g.replication_mut(now).deny_requested(id)));
    assert_eq!(net.nodes[0].held.len(), 33);
}

#[test]
fn the_answer_to_a_neighbor_that_is_gone_goes_to_nobody_else() {
    let mut net = Net::new(3);
    net.nodes[0].answer = Answer::Hold;
    net.with(0, |g, now| g.replication_mut(now).add_have(0..=9)).unwrap();
    net.introduce_all();
    net.with(1, |g, now| g.replication_mut(now).add_want(3..=3)).unwrap();
    net.run_for(SECOND);
    net.close_session(0, 1);
    net.with(2, |g, now| g.replication_mut(now).add_want(4..=4)).unwrap();
    net.run_for(SECOND);
    let &[gone, waiting] = &net.nodes[0].held[..] else { panic!("two requests") };
    assert!(!net.with(0, |g, now| g.replication_mut(now).write_requested(gone, object(3, 1))));
    net.run_for(SECOND);
    assert!(net.fetched(2).is_empty(), "an answer to another question");
    assert!(net.with(0, |g, now| g.replication_mut(now).write_requested(waiting, object(4, 1))));
    net.run_for(SECOND);
    assert_eq!(net.fetched(2), [4]);
}

#[test]
fn requests_while_choked_are_denied_at_once() {
    let mut net = pair();
    net.inject(0, 1, FlowKind::Replication, &[0x1a, 0x05]);
    assert_eq!(net.sent(0, 1, FlowKind::Replication).last().unwrap()[..], [0x19, 0x05]);
    assert!(!net.with(0, |g, now| g.replication_mut(now).deny_requested(1)));
}

#[test]
fn asked_for_reports_cannot_be_multiplied() {
    let mut net = pair();
    let before = net.sent(0, 1, FlowKind::Membership).len();
    let ask = b"\x0a\x01\x00\x08\x0d\x02\x0a\x00\x00\x01\x07\x8f\x01\x0a\x00";
    for _ in 0..1000 {
        net.inject(0, 1, FlowKind::Membership, ask);
    }
    assert_eq!(net.sent(0, 1, FlowKind::Membership).len(), before + 1);
    assert!(net.nodes[0].group.own_addresses().len() <= 4);
}

#[test]
fn reported_members_are_bounded_and_old_ones_ignored() {
    let mut net = pair();
    for block in 0..100u32 {
        let mut report = b"\x0a\x01\x0a\x00".to_vec();
        for i in 0..50u32 {
            report.extend_from_slice(&[0x22, 0x21, 0x0f]);
            let number = (block * 50 + i).to_be_bytes();
            report.extend_from_slice(&[number; 8].concat());
            vlu::encode(if i % 2 == 0 { 400 } else { 5 }, &mut report);
            report.extend_from_slice(&[1, 0x0a, 0]);
        }
        net.inject(0, 1, FlowKind::Membership, &report);
    }
    assert_eq!(net.nodes[0].group.stats().members, 1024);
    net.run_for(20 * SECOND);
    assert_eq!(net.neighbors(0), [1].into());
}

#[test]
fn flows_that_are_not_expected_are_rejected() {
    let mut net = pair();
    let session = net.session(0, 1);
    let open = |net: &mut Net, session, kind, associated| {
        let associated = net.token(0, session, associated);
        net.with(0, |g, now| g.on_flow_opened(now, session, FlowId(7777), kind, associated))
    };
    use FlowKind::{Membership, MulticastControl, Replication, Routing};
    let reject = FlowVerdict::Reject(0);
    assert_eq!(open(&mut net, session, Replication, Membership), reject, "a second one");
    assert_eq!(open(&mut net, session, Routing, Replication), reject);
    assert_eq!(open(&mut net, session, MulticastControl, Membership), reject);
    assert_eq!(open(&mut net, session, Membership, Membership), reject);
    assert_eq!(open(&mut net, SessionId(1), Routing, Membership), reject);
    assert_eq!(open(&mut net, session, Routing, Membership), FlowVerdict::Accept, "though unused");
    net.with(0, |g, now| {
        g.on_message(now, session, FlowId(7777), Bytes::from_static(b"\x02\x00\x01x"));
        g.on_flow_finished(now, session, FlowId(7777));
    });
    assert_eq!(net.neighbors(0), [1].into());
}

#[test]
fn messages_before_the_hello_wait_for_it_and_are_bounded() {
    for size in [10, 300 * 1024] {
        let mut net = Net::new(1);
        net.with(0, |g, now| g.replication_mut(now).add_want(0..=3)).unwrap();
        let near = net.nodes[0].peer;
        let session = SessionId(5);
        let far = Fingerprint([99; 32]);
        let address = address(9);
        net.with(0, |g, now| {
            g.on_introduced(now, far, true);
            g.on_session_opened(now, session, far, true, [1; 32], [2; 32], address);
        });
        let associated = net.token(0, session, FlowKind::Membership);
        let group = &mut net.nodes[0].group;
        let verdict =
            group.on_flow_opened(Time::ZERO, session, FlowId(8), FlowKind::Replication, associated);
        assert_eq!(verdict, FlowVerdict::Accept);
        group.on_message(Time::ZERO, session, FlowId(8), Bytes::from_static(&[0x10, 0, 3]));
        group.on_message(Time::ZERO, session, FlowId(8), vec![0x7f; size].into());
        let hello = Hello::new(&spec(), &[1; 32], near);
        let hello = MembershipMessage::Hello(hello).to_bytes();
        let verdict = group.on_hello(Time::ZERO, session, FlowId(9), &hello);
        assert_eq!(verdict, FlowVerdict::Accept);
        group.on_message(Time::ZERO, session, FlowId(9), Bytes::from_static(&[0x02]));
        let interested = group.neighbors()[0].trade.interesting;
        assert_eq!(interested, size == 10, "kept if small, lost with the relation if not");
    }
}

#[test]
fn neighbors_are_bounded() {
    let mut net = Net::new(4);
    let spec = spec();
    let mut config = GroupConfig::new(spec, peer(4));
    config.max_neighbors = 2;
    net.add_configured(config);
    for node in 0..4 {
        net.introduce(node, 4);
    }
    net.run_for(SECOND);
    assert_eq!(net.neighbors(4).len(), 2);
    assert!(net.nodes[4].group.stats().hellos_rejected >= 2);
}

#[test]
fn bootstrap_peers_are_not_all_asked_for_at_once() {
    let mut builder = GroupSpecBuilder::new("t").unwrap().server_channel(true);
    for n in 1..60 {
        builder = builder.bootstrap_peer(Fingerprint([n; 32]));
    }
    let config = GroupConfig::new(builder.build().unwrap(), Fingerprint([200; 32]));
    let mut group = Group::new(config, Time::ZERO, 1);
    let actions = std::iter::from_fn(|| group.poll_action());
    let asked = actions.filter(|a| matches!(a, GroupAction::Connect { .. }));
    assert_eq!(asked.count(), 16);
}

#[test]
fn peer_to_peer_disabled_means_no_neighbors() {
    let builder = GroupSpecBuilder::new("t").unwrap().peer_to_peer_disabled(true);
    let mut net = Net::new(0);
    net.add(builder.build().unwrap());
    net.add(builder.build().unwrap());
    net.introduce(0, 1);
    net.run_for(30 * SECOND);
    assert!(net.neighbors(0).is_empty() && net.neighbors(1).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_messages_never_panic(
        messages in prop::collection::vec(
            (any::<bool>(), 0u8..0x20, prop::collection::vec(any::<u8>(), 0..12)), 0..60),
    ) {
        let mut net = pair();
        net.with(0, |g, now| g.replication_mut(now).add_want(0..=1000)).unwrap();
        for (replication, kind, body) in messages {
            if net.neighbors(0).is_empty() {
                break;
            }
            let flow = if replication { FlowKind::Replication } else { FlowKind::Membership };
            net.inject(0, 1, flow, &[&[kind], &body[..]].concat());
        }
        net.run_for(20 * SECOND);
    }
}
