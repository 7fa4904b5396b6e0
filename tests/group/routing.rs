//! Directed messages between groups, message by message.

use crate::support::net::{Net, peer};
use bytes::Bytes;
use rtmfp::amf::{self, Value};
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::{
    FlowKind, GroupAddress, GroupConfig, GroupError, GroupEvent, GroupSpec, GroupSpecBuilder,
    MAX_HOPS, ReceiveMode, Routed, RoutedMessage, SendMode, SendResult,
};
use rtmfp::proto::transport::FlowInput;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn spec() -> GroupSpec {
    GroupSpecBuilder::new("r").unwrap().routing(true).server_channel(true).build().unwrap()
}

/// Members that are all neighbors of each other, in mode EXACT.
fn group(members: usize) -> Net {
    let mut net = Net::new(0);
    for _ in 0..members {
        net.add(spec());
    }
    net.introduce_all();
    net.run_for(SECOND);
    net
}

fn text(text: &str) -> Bytes {
    amf::to_bytes(&Value::from(text)).unwrap()
}

fn address(net: &Net, node: usize) -> GroupAddress {
    net.nodes[node].group.address()
}

/// The nodes in increasing order of their addresses.
fn ring(net: &Net) -> Vec<usize> {
    let mut ring: Vec<_> = (0..net.nodes.len()).collect();
    ring.sort_by_key(|&node| address(net, node));
    ring
}

fn nearest(net: &mut Net, node: usize, to: &GroupAddress, message: Bytes) -> SendResult {
    net.with(node, |group, _| group.routing_mut().send_to_nearest(to, message)).unwrap()
}

/// Messages that arrived at a node since the last call: text, sender, whether it is the node itself.
fn arrived(net: &mut Net, node: usize) -> Vec<(String, GroupAddress, bool)> {
    net.run_for(SECOND);
    let events = std::mem::take(&mut net.nodes[node].events).into_iter();
    let messages = events.filter_map(|event| match event {
        GroupEvent::SendToNotify { message, from, from_local } => {
            let text = message.decode().unwrap().as_str().unwrap().to_owned();
            Some((text, from, from_local))
        }
        _ => None,
    });
    messages.collect()
}

fn coverage_events(net: &mut Net, node: usize) -> Vec<(GroupAddress, GroupAddress)> {
    let events = std::mem::take(&mut net.nodes[node].events).into_iter();
    let moved = events.filter_map(|event| match event {
        GroupEvent::LocalCoverageNotify { from, to } => Some((from, to)),
        _ => None,
    });
    moved.collect()
}

fn set_nearest(net: &mut Net, node: usize) {
    net.with(node, |group, now| group.set_receive_mode(now, ReceiveMode::Nearest));
    net.run_for(SECOND);
}

#[test]
fn the_next_neighbor_around_the_ring_in_any_mode() {
    let mut net = group(5);
    let ring = ring(&net);
    for (at, &node) in ring.iter().enumerate() {
        let (above, below) = (ring[(at + 1) % 5], ring[(at + 4) % 5]);
        for (mode, to) in [(SendMode::NextIncreasing, above), (SendMode::NextDecreasing, below)] {
            let send = |group: &mut rtmfp::proto::group::Group, _| {
                group.routing_mut().send_to_neighbor(mode, text("hello"))
            };
            assert_eq!(net.with(node, send), Ok(SendResult::Sent));
            let from = address(&net, node);
            assert_eq!(arrived(&mut net, to), [("hello".to_owned(), from, false)]);
        }
    }
    assert!((0..5).all(|node| arrived(&mut net, node).is_empty()));
}

#[test]
fn every_neighbor_gets_one_in_increasing_order() {
    let mut net = group(4);
    let ring = ring(&net);
    let send = |group: &mut rtmfp::proto::group::Group, _| {
        group.routing_mut().send_to_all_neighbors(text("all"))
    };
    assert_eq!(net.with(ring[1], send), Ok(SendResult::Sent));
    let sent = net.nodes[ring[1]].sent.iter().filter(|(_, kind, _)| *kind == FlowKind::Routing);
    let sent: Vec<_> = sent.map(|(to, _, message)| (*to, message.clone())).collect();
    assert_eq!(sent, [ring[2], ring[3], ring[0]].map(|to| (to, text("all"))));
    assert_eq!(net.nodes[ring[1]].group.stats().routing.messages_sent, 3);
    for node in [ring[2], ring[3], ring[0]] {
        assert_eq!(arrived(&mut net, node).len(), 1);
    }
}

#[test]
fn nobody_to_send_to() {
    let mut net = group(1);
    let own = address(&net, 0);
    net.with(0, |group, _| {
        let mut routing = group.routing_mut();
        for mode in [SendMode::NextIncreasing, SendMode::NextDecreasing] {
            assert_eq!(routing.send_to_neighbor(mode, text("x")), Ok(SendResult::NoRoute));
        }
        assert_eq!(routing.send_to_all_neighbors(text("x")), Ok(SendResult::NoRoute));
        let far = GroupAddress([7; 32]);
        assert_eq!(routing.send_to_nearest(&far, text("x")), Ok(SendResult::NoRoute));
        assert_eq!(SendResult::NoRoute.as_str(), "no route");
        // Its own address is its own in any mode.
        assert_eq!(routing.send_to_nearest(&own, text("me")), Ok(SendResult::Sent));
    });
    assert_eq!(arrived(&mut net, 0), [("me".to_owned(), own, true)]);
    assert_eq!(net.nodes[0].group.stats().routing.messages_local, 1);
}

#[test]
fn an_exact_address_is_reached_in_any_mode() {
    let mut net = group(3);
    for to in [1, 2] {
        let address = address(&net, to);
        assert_eq!(nearest(&mut net, 0, &address, text("exact")), SendResult::Sent);
        assert_eq!(arrived(&mut net, to).len(), 1);
    }
    // One bit beside it, nobody is responsible.
    let mut beside = address(&net, 1);
    beside.0[31] ^= 1;
    assert_eq!(nearest(&mut net, 0, &beside, text("x")), SendResult::NoRoute);
    // Somebody in mode NEAREST is, however far away.
    set_nearest(&mut net, 2);
    assert_eq!(nearest(&mut net, 0, &beside, text("far")), SendResult::Sent);
    assert_eq!(arrived(&mut net, 2).len(), 1);
    // An exact address goes before, even so.
    let exact = address(&net, 1);
    assert_eq!(nearest(&mut net, 0, &exact, text("exact")), SendResult::Sent);
    assert_eq!(arrived(&mut net, 1).len(), 1);
}

/// The reference: the smallest difference of big numbers modulo 2^256.
fn reference(net: &Net, candidates: &[usize], to: &GroupAddress) -> usize {
    use num_bigint::BigUint;
    let big = |address: &GroupAddress| BigUint::from_bytes_be(&address.0);
    let ring: BigUint = BigUint::from(1u8) << 256;
    let distance = |&&node: &&usize| {
        let (a, b) = (big(&address(net, node)), big(to));
        let up = (&ring + &a - &b) % &ring;
        let down = (&ring + &b - &a) % &ring;
        up.min(down)
    };
    *candidates.iter().min_by_key(distance).unwrap()
}

#[test]
fn the_nearest_of_those_in_mode_nearest_around_the_end_of_the_ring() {
    let mut net = group(6);
    let takers = [0, 2, 3, 5];
    takers.into_iter().for_each(|node| set_nearest(&mut net, node));
    (0..6).for_each(|node| net.nodes[node].events.clear());
    let mut targets = vec![GroupAddress([0; 32]), GroupAddress([0xff; 32])];
    targets.extend((0..32).map(|n| GroupAddress(Fingerprint([n * 8; 32]).0)));
    targets.extend((0..32).map(|n| GroupAddress::of(&Fingerprint([n; 32]))));
    for to in targets {
        let expected = reference(&net, &takers, &to);
        // From a member in mode NEAREST and from one that is not.
        for from in [0, 1] {
            if expected == 1 || to == address(&net, 1) || to == address(&net, 4) {
                continue;
            }
            assert_eq!(nearest(&mut net, from, &to, text("x")), SendResult::Sent);
            let local = from == expected;
            let sender = address(&net, from);
            assert_eq!(arrived(&mut net, expected), [("x".to_owned(), sender, local)], "{to}");
        }
    }
    assert!((0..6).all(|node| arrived(&mut net, node).is_empty()), "nobody got any other");
}

#[test]
fn the_coverage_is_reported_when_it_moves_and_only_then() {
    let mut net = group(3);
    (0..3).for_each(|node| assert!(coverage_events(&mut net, node).is_empty(), "EXACT"));
    // The only one: the whole ring.
    set_nearest(&mut net, 0);
    let whole = net.nodes[0].group.local_coverage();
    assert_eq!(coverage_events(&mut net, 0), [whole]);
    assert!(coverage_events(&mut net, 1).is_empty(), "EXACT");
    net.with(0, |group, now| group.set_receive_mode(now, ReceiveMode::Nearest));
    assert!(coverage_events(&mut net, 0).is_empty(), "no change");
    // Another one takes half of it; both are informed.
    set_nearest(&mut net, 1);
    for node in [0, 1] {
        let (from, to) = net.nodes[node].group.local_coverage();
        assert_eq!(coverage_events(&mut net, node), [(from, to)]);
        assert_ne!((from, to), whole);
    }
    let [a, b] = [0, 1].map(|node| net.nodes[node].group.local_coverage());
    let one = |address: GroupAddress| address.plus_power_of_two(0);
    assert!(one(a.1) == b.0 && one(b.1) == a.0, "no gap: {a:?} {b:?}");
    // It is gone.
    net.close_session(0, 1);
    net.run_for(SECOND);
    assert_eq!(coverage_events(&mut net, 0), [whole]);
    net.with(0, |group, now| group.set_receive_mode(now, ReceiveMode::Exact));
    let own = address(&net, 0);
    assert_eq!(coverage_events(&mut net, 0), [(own, own)]);
    let event = GroupEvent::LocalCoverageNotify { from: own, to: own };
    assert_eq!(event.code(), "NetGroup.LocalCoverage.Notify");
}

#[test]
fn what_cannot_be_sent_is_an_error() {
    let mut net = group(2);
    let to = address(&net, 1);
    let large = Bytes::from(vec![0; (1 << 20) + 1]);
    for (message, bytes) in [(Bytes::new(), 0), (large, (1 << 20) + 1)] {
        let error = GroupError::MessageSize { bytes, max: 1 << 20 };
        net.with(0, |group, _| {
            let mut routing = group.routing_mut();
            assert_eq!(routing.send_to_nearest(&to, message.clone()), Err(error.clone()));
            assert_eq!(routing.send_to_all_neighbors(message), Err(error));
        });
    }
    net.with(0, |group, now| {
        group.close(now);
        assert_eq!(group.routing_mut().send_to_nearest(&to, text("x")), Err(GroupError::Closed));
    });
    let other = net.add(crate::support::net::spec());
    net.with(other, |group, _| {
        let sent = group.routing_mut().send_to_all_neighbors(text("x"));
        assert_eq!(sent, Err(GroupError::RoutingDisabled));
    });
}

#[test]
fn messages_wait_for_a_slow_neighbor_within_a_bound_and_in_order() {
    let mut net = Net::new(0);
    for node in 0..3 {
        let mut config = GroupConfig::new(spec(), peer(node));
        config.routing.max_queued = 20;
        net.add_configured(config);
    }
    net.introduce_all();
    net.run_for(SECOND);
    let all = |net: &mut Net, message: &str| {
        net.with(0, |group, _| group.routing_mut().send_to_all_neighbors(text(message)))
    };
    assert_eq!(all(&mut net, "first"), Ok(SendResult::Sent));
    let session = net.session(0, 1);
    let token = net.token(0, session, FlowKind::Routing);
    let blocked = FlowInput::Blocked { token };
    net.with(0, |group, now| group.on_flow_input(now, session, blocked));
    // Eight bytes each.
    for message in ["wait1", "wait2", "lost!"] {
        assert_eq!(all(&mut net, message), Ok(SendResult::Sent), "for one of two");
    }
    let to = address(&net, 1);
    let full = GroupError::QueueFull { queued: 16, max: 20 };
    net.with(0, |group, _| {
        assert_eq!(group.routing_mut().send_to_nearest(&to, text("lost!")), Err(full));
        assert_eq!(group.stats().routing.refused, 2);
    });
    assert_eq!(arrived(&mut net, 1).len(), 1);
    net.with(0, |group, now| group.on_flow_input(now, session, FlowInput::Writable { token }));
    assert_eq!(all(&mut net, "later"), Ok(SendResult::Sent));
    let texts: Vec<_> = arrived(&mut net, 1).into_iter().map(|(text, ..)| text).collect();
    assert_eq!(texts, ["wait1", "wait2", "later"]);
    assert_eq!(arrived(&mut net, 2).len(), 5);
}

#[test]
fn hostile_messages_are_dropped_and_counted() {
    let mut net = group(2);
    let _ = net.with(1, |group, _| group.routing_mut().send_to_all_neighbors(text("open")));
    assert_eq!(arrived(&mut net, 0).len(), 1);
    net.inject(0, 1, FlowKind::Routing, &vec![2; (1 << 20) + 1]);
    net.inject(0, 1, FlowKind::Routing, &[]);
    assert!(arrived(&mut net, 0).is_empty());
    let stats = net.nodes[0].group.stats().routing;
    assert_eq!((stats.too_large, stats.malformed, stats.messages_received), (1, 1, 1));
    // No value: the application finds out, and nothing else happens.
    net.inject(0, 1, FlowKind::Routing, &[0x11, 0x0a, 0xff]);
    let event = net.nodes[0].events.pop().unwrap();
    let GroupEvent::SendToNotify { message, from_local: false, .. } = event else { panic!() };
    assert!(message.decode().is_err());
    let forwarded = net.with(0, |group, _| group.routing_mut().forward(&message, false));
    assert!(matches!(forwarded, Err(GroupError::Value(_))));
    assert!(net.neighbors(0).contains(&1), "still a neighbor");
}

#[test]
fn without_routing_in_the_groupspec_the_flow_is_accepted_and_ignored() {
    let mut net = Net::new(2);
    net.introduce_all();
    // A player sends on a flow that the group does not know: here, a group that does.
    let builder = GroupSpecBuilder::new("t").unwrap();
    let with_routing =
        builder.object_replication(true).server_channel(true).routing(true).build().unwrap();
    assert_ne!(with_routing.group_id(), crate::support::net::spec().group_id());
    let session = net.session(0, 1);
    let token = net.token(0, session, FlowKind::Membership);
    net.with(0, |group, now| {
        use rtmfp::proto::group::FlowVerdict;
        use rtmfp::proto::transport::FlowId;
        let (flow, kind) = (FlowId(9_999), FlowKind::Routing);
        let verdict = group.on_flow_opened(now, session, flow, kind, token);
        assert_eq!(verdict, FlowVerdict::Accept);
        group.on_message(now, session, flow, text("x"));
        // The end of this flow is no loss, unlike that of others.
        group.on_flow_finished(now, session, flow);
    });
    assert!(arrived(&mut net, 0).is_empty());
    assert!(net.neighbors(0).contains(&1));
}

#[test]
fn a_neighbor_that_rejects_the_flow_is_lost() {
    let mut net = group(2);
    let _ = net.with(0, |group, _| group.routing_mut().send_to_all_neighbors(text("x")));
    let session = net.session(0, 1);
    net.reject(0, session, FlowKind::Routing);
    assert!(!net.neighbors(0).contains(&1));
}

/// Sends on what has arrived until nothing moves any more. Returns where messages came to their
/// destination, and with how many hops.
fn forward_all(net: &mut Net) -> Vec<(usize, RoutedMessage)> {
    let mut arrived = Vec::new();
    loop {
        net.run_for(SECOND);
        let mut moved = false;
        for node in 0..net.nodes.len() {
            for event in std::mem::take(&mut net.nodes[node].events) {
                let GroupEvent::SendToNotify { message, from_local, .. } = event else { continue };
                let forward = |group: &mut rtmfp::proto::group::Group, _| {
                    group.routing_mut().forward(&message, from_local)
                };
                match net.with(node, forward).unwrap() {
                    Routed::Arrived(message) => arrived.push((node, message)),
                    Routed::Forwarded(SendResult::Sent) => moved = true,
                    other => panic!("{other:?}"),
                }
            }
        }
        if !moved {
            return arrived;
        }
    }
}

#[test]
fn a_message_travels_to_the_nearest_member_of_a_large_group() {
    let mut net = Net::new(0);
    for member in 0..48 {
        let mut config = GroupConfig::new(spec(), Fingerprint([member + 1; 32]));
        config.receive_mode = ReceiveMode::Nearest;
        net.add_configured(config);
        let member = usize::from(member);
        (member.saturating_sub(3)..member).for_each(|whom| net.introduce(member, whom));
        net.run_for(SECOND);
    }
    net.run_for(180 * SECOND);
    let all: Vec<_> = (0..48).collect();
    let mut most = 0;
    for n in 0..60 {
        let (from, to) = (n * 7 % 48, GroupAddress::of(&Fingerprint([n as u8 + 100; 32])));
        (0..48).for_each(|node| net.nodes[node].events.clear());
        let message = RoutedMessage::new(to, "hello");
        let sent = net.with(from, |group, _| group.routing_mut().send_routed(&message));
        assert_eq!(sent, Ok(SendResult::Sent));
        let arrived = forward_all(&mut net);
        let [(at, message)] = &arrived[..] else { panic!("{arrived:?}") };
        assert_eq!(*at, reference(&net, &all, &to));
        assert_eq!(message.value.as_str(), Some("hello"));
        most = most.max(message.hops.unwrap());
    }
    assert!(most <= 5, "{most} hops");
}

#[test]
fn what_a_silent_neighbor_was_sent_goes_to_the_next_nearest() {
    let mut net = group(3);
    (0..3).for_each(|node| set_nearest(&mut net, node));
    // One that is nearest to member 1, and not its own address.
    let to = (0..=255).map(|n| GroupAddress::of(&Fingerprint([n; 32])));
    let mut to = to.filter(|to| reference(&net, &[0, 1, 2], to) == 1 && *to != address(&net, 1));
    let (to, own) = (to.next().unwrap(), address(&net, 1));
    let next = reference(&net, &[0, 2], &to);
    let got = |net: &Net, node: usize| {
        let is_message = |event: &&GroupEvent| matches!(event, GroupEvent::SendToNotify { .. });
        net.nodes[node].events.iter().filter(is_message).count()
    };
    let send = |net: &mut Net, to: &GroupAddress| {
        let sent = net.with(0, |group, _| group.routing_mut().send_to_nearest(to, text("x")));
        assert_eq!(sent, Ok(SendResult::Sent));
    };
    send(&mut net, &to);
    net.run_for(10 * SECOND);
    assert_eq!((got(&net, 1), got(&net, next)), (1, 0), "it answers");

    send(&mut net, &to);
    send(&mut net, &own);
    let session = net.session(0, 1);
    let since = net.now;
    // The owner reports it before each timeout of the group.
    let run_silent = |net: &mut Net, seconds: u64| {
        for _ in 0..10 * seconds {
            net.with(0, |group, now| group.on_unanswered(now, session, Some(since)));
            net.run_for(SECOND / 10);
        }
    };
    run_silent(&mut net, 1);
    assert_eq!(got(&net, next), 0);
    run_silent(&mut net, 4);
    assert_eq!((got(&net, 1), got(&net, next)), (3, 1), "not what is for itself");
    assert_eq!(net.nodes[0].group.stats().routing.messages_redirected, 1);

    send(&mut net, &to);
    net.run_for(SECOND);
    assert_eq!((got(&net, 1), got(&net, next)), (3, 2), "at once while it is silent");
    net.with(0, |group, now| group.on_unanswered(now, session, None));
    send(&mut net, &to);
    net.run_for(10 * SECOND);
    assert_eq!((got(&net, 1), got(&net, next)), (4, 2));

    // Something was on its way at the last timeout, and nothing has been reported since.
    net.with(0, |group, now| group.on_unanswered(now, session, Some(now)));
    net.run_for(3 * SECOND);
    send(&mut net, &to);
    net.run_for(SECOND);
    assert_eq!((got(&net, 1), got(&net, next)), (5, 2), "it may have answered meanwhile");
}

#[test]
fn messages_of_flash_applications_are_sent_on_as_they_are() {
    let mut net = group(3);
    (0..3).for_each(|node| set_nearest(&mut net, node));
    let to = address(&net, 2);
    let object = Value::object([
        ("destination", Value::from(to.to_string())),
        ("sender", "abc".into()),
        ("value", 7.0.into()),
    ]);
    let bytes = amf::to_bytes(&object).unwrap();
    let forwarded =
        net.with(1, |group, _| group.routing_mut().forward(&bytes.clone().into(), false));
    assert_eq!(forwarded, Ok(Routed::Forwarded(SendResult::Sent)));
    assert_eq!(net.sent(1, 2, FlowKind::Routing), [bytes]);
    let arrived = forward_all(&mut net);
    assert_eq!((arrived[0].0, arrived[0].1.hops), (2, None));
    assert_eq!(arrived[0].1.value.as_f64(), Some(7.0));
    // Anything else is the application's.
    let other = text("anything").into();
    let forwarded = net.with(1, |group, _| group.routing_mut().forward(&other, false));
    assert_eq!(forwarded, Ok(Routed::Other("anything".into())));
}

#[test]
fn a_message_does_not_travel_for_ever() {
    let mut net = group(2);
    let mut message = RoutedMessage::new(address(&net, 1), "x");
    message.hops = Some(MAX_HOPS);
    let message = amf::to_bytes(&message.to_value()).unwrap().into();
    let forwarded = net.with(0, |group, _| group.routing_mut().forward(&message, false));
    assert_eq!(forwarded, Ok(Routed::TooManyHops));
    assert!(net.sent(0, 1, FlowKind::Routing).is_empty());
}
