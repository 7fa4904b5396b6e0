//! Groups beyond the size in which everybody is a neighbor of everybody: neighbors that are not needed
//! are informed and leave, the ring is kept, and it heals.

use crate::support::net::{Net, peer, server, spec};
use bytes::Bytes;
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::message::{Hello, MembershipMessage};
use rtmfp::proto::group::{FlowKind, FlowVerdict, Group, GroupAction, GroupConfig, GroupSpec};
use rtmfp::proto::transport::{FlowAction, FlowId, SessionId, Time};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MEMBERS: usize = 32;

/// Members that are all introduced to each other.
fn group() -> Net {
    let mut net = Net::new(0);
    for member in 0..MEMBERS {
        let mut config = GroupConfig::new(spec(), peer(member));
        config.server = Some(server());
        net.add_configured(config);
    }
    net.introduce_all();
    net
}

fn refusals(net: &Net, node: usize) -> usize {
    let sent = net.nodes[node].sent.iter();
    sent.filter(|(_, kind, m)| *kind == FlowKind::Membership && m[..] == [0x0c]).count()
}

/// The nodes that run, in increasing order of their addresses.
fn ring(net: &Net, gone: &BTreeSet<usize>) -> Vec<usize> {
    let mut ring: Vec<_> = (0..MEMBERS).filter(|node| !gone.contains(node)).collect();
    ring.sort_by_key(|&node| net.nodes[node].group.address());
    ring
}

/// Each has as neighbors those that are so many steps above and below.
fn check_ring(net: &Net, gone: &BTreeSet<usize>, steps: &[usize]) {
    let ring = ring(net, gone);
    for (at, &node) in ring.iter().enumerate() {
        let neighbors = net.neighbors(node);
        for &step in steps {
            let next = ring[(at + step) % ring.len()];
            assert!(neighbors.contains(&next), "{node} lacks {next}, {step} further");
        }
    }
}

#[test]
fn neighbors_that_are_not_needed_are_informed_after_95_s_and_leave() {
    let mut net = group();
    net.run_for(94 * SECOND);
    assert!((0..MEMBERS).all(|node| net.neighbors(node).len() == MEMBERS - 1));
    assert!((0..MEMBERS).all(|node| refusals(&net, node) == 0));
    net.run_for(10 * SECOND);
    // Those who are refused leave, so that the last ones have fewer to refuse.
    let refused: usize = (0..MEMBERS).map(|node| refusals(&net, node)).sum();
    assert!(refused > 4 * MEMBERS, "{refused}");
    net.run_for(60 * SECOND);
    let counts: Vec<_> = (0..MEMBERS).map(|node| net.neighbors(node).len()).collect();
    println!("neighbors: {counts:?}");
    assert!(counts.iter().sum::<usize>() < MEMBERS * (MEMBERS - 4), "{counts:?}");
    check_ring(&net, &BTreeSet::new(), &[1, 2, 3]);
    // Nothing more happens all the time: refused members are not asked for again.
    let before: usize = (0..MEMBERS).map(|node| refusals(&net, node)).sum();
    net.run_for(60 * SECOND);
    let after: usize = (0..MEMBERS).map(|node| refusals(&net, node)).sum();
    assert!(after - before <= 4 * MEMBERS, "{before} and {after}");
}

#[test]
fn small_groups_refuse_nobody() {
    let mut net = Net::new(12);
    net.introduce_all();
    net.run_for(200 * SECOND);
    assert!((0..12).all(|node| net.neighbors(node).len() == 11 && refusals(&net, node) == 0));
}

#[test]
fn neighbors_that_trade_objects_are_kept() {
    let mut net = group();
    net.with(0, |group, now| group.replication_mut(now).add_have(0..=3)).unwrap();
    for node in 1..MEMBERS {
        net.with(node, |group, now| group.replication_mut(now).add_want(0..=3)).unwrap();
    }
    net.run_for(150 * SECOND);
    assert!((1..MEMBERS).all(|node| net.fetched(node).len() == 4));
    assert_eq!(net.neighbors(0).len(), MEMBERS - 1, "the provider has all");
}

#[test]
fn a_newcomer_connects_to_those_beside_it_before_its_first_tick() {
    let mut net = Net::new(0);
    for member in 0..40usize {
        net.add(spec());
        (member.saturating_sub(6)..member).for_each(|whom| net.introduce(member, whom));
        net.run_for(SECOND);
    }
    net.run_for(120 * SECOND);
    let late = net.add(spec());
    for whom in [5, 17, 30] {
        net.introduce(late, whom);
    }
    net.run_for(5 * SECOND);
    let own = net.nodes[late].group.address();
    let addresses: Vec<_> = (0..40).map(|node| net.nodes[node].group.address()).collect();
    let above = (0..40).min_by_key(|node| own.clockwise_to(&addresses[*node])).unwrap();
    let below = (0..40).max_by_key(|node| own.clockwise_to(&addresses[*node])).unwrap();
    let neighbors = net.neighbors(late);
    assert!(neighbors.contains(&above) && neighbors.contains(&below), "{neighbors:?}");
}

#[test]
fn the_ring_heals_when_a_third_of_the_members_is_gone() {
    let mut net = group();
    net.run_for(120 * SECOND);
    let gone: BTreeSet<_> = (0..MEMBERS).filter(|node| node % 3 == 0).collect();
    for &node in &gone {
        net.nodes[node].unreachable = true;
        for far in net.neighbors(node) {
            net.close_session(node, far);
        }
        net.with(node, |group, now| group.close(now));
        net.run_for(SECOND / 10);
    }
    net.run_for(120 * SECOND);
    check_ring(&net, &gone, &[1]);
    net.run_for(300 * SECOND);
    check_ring(&net, &gone, &[1, 2, 3]);
}

#[test]
fn a_member_with_few_places_has_them_for_those_that_it_wants() {
    let mut net = Net::new(0);
    for member in 0..MEMBERS {
        let mut config = GroupConfig::new(spec(), peer(member));
        config.max_neighbors = 24;
        net.add_configured(config);
        (member.saturating_sub(3)..member).for_each(|whom| net.introduce(member, whom));
        net.run_for(SECOND);
    }
    net.run_for(200 * SECOND);
    let counts: Vec<_> = (0..MEMBERS).map(|node| net.neighbors(node).len()).collect();
    assert!(counts.iter().all(|&count| count <= 24), "{counts:?}");
    let ring = ring(&net, &BTreeSet::new());
    for (at, node) in ring.iter().enumerate() {
        let next = ring[(at + 1) % MEMBERS];
        assert!(net.neighbors(*node).contains(&next), "{node} lacks {next}: {counts:?}");
    }
}

fn message(line: &Value) -> Option<Bytes> {
    let hex = line["hex"].as_str()?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    Some(hex.chunks(2).map(byte).collect::<Vec<_>>().into())
}

/// Those that a recorded player refused first, and the 24 members that it had.
fn recorded() -> (Fingerprint, Vec<Fingerprint>, BTreeSet<Fingerprint>) {
    let name = "/fixtures/traces/member-24-close-on-0c.jsonl";
    let path = format!("{}{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (mut near, mut members, mut refused) = (None, Vec::new(), BTreeSet::new());
    let mut flows = HashMap::new();
    for line in lines.filter(|line| line["t"].as_f64().unwrap() < 120.0) {
        let peer = || line["fp"].as_str().unwrap().parse::<Fingerprint>().unwrap();
        match line["ev"].as_str() {
            Some("joined") => near = Some(peer()),
            Some("identity") => members.push(peer()),
            _ => {}
        }
        let Some(message) = message(&line).filter(|_| line["dir"] == "A>O") else { continue };
        let flow = line["flow"].as_u64().unwrap();
        if line["meta"] != "47521c" {
            continue;
        } else if let Ok(MembershipMessage::Hello(hello)) = MembershipMessage::parse(&message) {
            flows.insert(flow, hello.receiver);
        } else if message[..] == [0x0c] {
            refused.insert(flows[&flow]);
        }
    }
    (near.unwrap(), members, refused)
}

/// A group in the place of the player, with neighbors that are all equally far.
#[test]
fn a_recorded_player_refuses_the_same_members() {
    let (near, members, refused) = recorded();
    assert_eq!((members.len(), refused.len()), (24, 8));
    let spec = GroupSpec::parse("G:0102010c020e7400").unwrap();
    let mut group = Group::new(GroupConfig::new(spec.clone(), near), Time::ZERO, 5);
    let nonce = [1; 32];
    for (number, &far) in members.iter().enumerate() {
        let (session, flow) = (SessionId(number as u32), FlowId(100 + number as u64));
        let address = "127.0.0.1:20000".parse().unwrap();
        group.on_introduced(Time::ZERO, far, true);
        group.on_session_opened(Time::ZERO, session, far, true, nonce, [2; 32], address);
        group.on_rtt(session, Duration::from_millis(1));
        let hello = MembershipMessage::Hello(Hello::new(&spec, &nonce, near)).to_bytes();
        assert_eq!(group.on_hello(Time::ZERO, session, flow, &hello), FlowVerdict::Accept);
        group.on_message(Time::ZERO, session, flow, Bytes::from_static(&[0x02]));
    }
    let mut sent: BTreeMap<Fingerprint, Time> = BTreeMap::new();
    while let Some(now) = group.poll_timeout().filter(|now| *now < Time::from_millis(101_000)) {
        group.handle_timeout(now);
        while let Some(action) = group.poll_action() {
            if let GroupAction::Flow { session, action: FlowAction::Send { message, .. } } = action
                && message[..] == [0x0c]
            {
                assert!(sent.insert(members[session.0 as usize], now).is_none());
            }
        }
    }
    assert!(sent.values().all(|at| *at >= Time::from_millis(95_000)), "{sent:?}");
    // One of those that are kept is drawn at random.
    let ours: BTreeSet<_> = sent.into_keys().collect();
    assert_eq!(ours.len(), 8);
    assert!(ours.intersection(&refused).count() >= 7, "{ours:?}, the player {refused:?}");
}
