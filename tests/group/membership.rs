//! Members find each other, report, and leave.

use crate::support::net::{Net, address, peer, server, spec};
use rtmfp::proto::group::message::{MembershipMessage, Record, Report};
use rtmfp::proto::group::{
    FlowKind, FlowVerdict, GroupAction as A, GroupEvent, GroupSpecBuilder, ReceiveMode,
};
use rtmfp::proto::transport::{FlowAction, FlowId};
use rtmfp::wire::{Address, Origin};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn reports(net: &Net, node: usize, to: usize) -> Vec<Report> {
    let sent = net.sent(node, to, FlowKind::Membership);
    sent.iter()
        .filter_map(|m| match MembershipMessage::parse(m) {
            Ok(MembershipMessage::Report(report)) => Some(report),
            _ => None,
        })
        .collect()
}

fn first_bytes(net: &Net, node: usize, to: usize) -> Vec<u8> {
    net.sent(node, to, FlowKind::Membership).iter().map(|m| m[0]).collect()
}

#[test]
fn two_members_say_hello_and_report() {
    let mut net = Net::new(2);
    net.introduce(0, 1);
    net.run_for(SECOND);
    for (node, far) in [(0, 1), (1, 0)] {
        assert_eq!(first_bytes(&net, node, far), [0x01, 0x02, 0x0e, 0x0a], "node {node}");
        let connect = GroupEvent::NeighborConnect {
            peer_id: peer(far),
            address: net.nodes[far].group.address(),
        };
        assert_eq!(net.nodes[node].events, std::slice::from_ref(&connect));
        assert_eq!(connect.code(), "NetGroup.Neighbor.Connect");
        assert_eq!(net.nodes[node].group.estimated_member_count(), 2.0);
        let report = &reports(&net, node, far)[0];
        assert!(!report.asks());
        let reflexive = Address::new(address(far), Origin::Reflexive);
        assert_eq!(report.receiver_address(), Some(reflexive));
        assert_eq!(report.records[0].peer(), Some(peer(far)), "the receiver is listed");
        assert_eq!(report.records.len(), 1, "the sender is not");
        let info = net.nodes[node].group.neighbors()[0];
        assert_eq!(info.receive_mode, Some(ReceiveMode::Exact));
    }
    let to_initiator = &reports(&net, 1, 0)[0];
    assert_eq!(to_initiator.sender_addresses(), [Address::new(server(), Origin::Relay)]);
}

#[test]
fn periodic_reports_ask_and_are_answered() {
    let mut net = Net::new(2);
    net.introduce(0, 1);
    net.run_for(60 * SECOND);
    let all: Vec<_> = [reports(&net, 0, 1), reports(&net, 1, 0)].concat();
    let asking = all.iter().filter(|r| r.asks()).count();
    let answers = all.iter().filter(|r| !r.asks()).count() - 2;
    assert!((4..=20).contains(&asking), "{asking}");
    // The last one may be answered later.
    assert!((asking - 1..=asking).contains(&answers), "{asking} and {answers}");
    let later = reports(&net, 0, 1).pop().unwrap();
    let own = Address::new(address(0), Origin::Reflexive);
    assert_eq!(later.sender_addresses(), [own, Address::new(server(), Origin::Relay)]);
    assert_eq!(net.nodes[0].group.own_addresses(), [address(0)]);
}

#[test]
fn another_group_or_a_wrong_secret_is_rejected_and_the_session_kept() {
    let mut net = Net::new(1);
    let other = GroupSpecBuilder::new("other").unwrap().object_replication(true).build().unwrap();
    net.add(other);
    net.introduce(0, 1);
    net.run_for(SECOND);
    assert!(net.nodes.iter().all(|n| n.events.is_empty()));
    assert!(net.neighbors(0).is_empty() && net.neighbors(1).is_empty());
    assert_eq!(first_bytes(&net, 0, 1), [0x01]);
    assert!(first_bytes(&net, 1, 0).is_empty());
    // It is tried again, in the same session, at later ticks.
    net.run_for(60 * SECOND);
    assert!((2..=12).contains(&first_bytes(&net, 0, 1).len()));
}

#[test]
fn wrong_proof_is_rejected() {
    let mut net = Net::new(2);
    net.introduce(0, 1);
    net.run_for(SECOND);
    let hello = net.sent(0, 1, FlowKind::Membership)[0].clone();
    let session = net.session(1, 0);
    let flow = FlowId(9999);
    for at in [70, 100, 2, 110, 136] {
        let mut wrong = hello.to_vec();
        wrong[at] ^= 0x01;
        let verdict = net.with(1, |g, now| g.on_hello(now, session, flow, &wrong.into()));
        assert_eq!(verdict, FlowVerdict::Reject(0), "byte {at}");
    }
    assert_eq!(net.nodes[1].group.stats().hellos_rejected, 5);
    assert_eq!(net.neighbors(1).len(), 1, "the relation that exists is not harmed");
    // A hello overheard in one session is worth nothing in another.
    let third = net.add(spec());
    net.introduce(third, 1);
    net.run_for(SECOND);
    let session = net.session(1, third);
    let verdict = net.with(1, |g, now| g.on_hello(now, session, flow, &hello));
    assert_eq!(verdict, FlowVerdict::Reject(0));
}

#[test]
fn both_ends_may_open_at_once() {
    let mut net = Net::new(2);
    net.introduce(0, 1);
    net.introduce(1, 0);
    net.run_for(SECOND);
    let counts = [0, 1].map(|n| net.nodes[n].group.stats().neighbors);
    assert_eq!(counts, [1, 1], "one of the two sessions is left");
    net.run_for(60 * SECOND);
    assert_eq!([0, 1].map(|n| net.nodes[n].group.stats().neighbors), [1, 1]);
    let connects = |n: usize| {
        let events = net.nodes[n].events.iter();
        events.filter(|e| matches!(e, GroupEvent::NeighborConnect { .. })).count()
    };
    assert!(connects(0) <= 2 && connects(1) <= 2, "no flapping");
    net.with(0, |g, now| g.replication_mut(now).add_have(5..=5)).unwrap();
    net.with(1, |g, now| g.replication_mut(now).add_want(5..=5)).unwrap();
    net.run_for(SECOND);
    assert_eq!(net.fetched(1), [5]);
}

#[test]
fn members_are_found_through_reports() {
    let mut net = Net::new(3);
    net.introduce(1, 0);
    net.introduce(2, 0);
    net.run_for(SECOND);
    assert_eq!(net.neighbors(1), [0].into());
    net.run_for(60 * SECOND);
    assert_eq!(net.neighbors(1), [0, 2].into());
    assert_eq!(net.neighbors(2), [0, 1].into());
}

/// What only one neighbor says goes no further; whom this node has met is passed on with where.
#[test]
fn hearsay_is_not_passed_on() {
    let mut net = Net::new(3);
    net.introduce(1, 0);
    net.introduce(2, 0);
    net.run_for(SECOND);
    let stranger = Address::new("203.0.113.5:1935".parse().unwrap(), Origin::Reflexive);
    let mut report = Report::new(true, stranger, &[stranger]);
    report.records.push(Record::new(&peer(77), 1, &[stranger]));
    let message = MembershipMessage::Report(report).to_bytes();
    net.inject(0, 1, FlowKind::Membership, &message);
    assert_eq!(net.nodes[0].group.stats().members, 3, "it is tried");
    net.run_for(60 * SECOND);
    for to in [1, 2] {
        let later = reports(&net, 0, to).pop().unwrap();
        let known: Vec<_> = later.records.iter().filter_map(|r| r.peer()).collect();
        assert_eq!(known, [peer(1), peer(2)], "those that it has met");
        let addresses: Vec<_> = later.records.iter().map(|r| r.addresses()[0]).collect();
        let seen = |n| Address::new(address(n), Origin::Reflexive);
        assert_eq!(addresses, [seen(1), seen(2)], "where it has met them, whatever they say");
        assert!(!later.sender_addresses().contains(&stranger), "two others agree on another");
    }
}

#[test]
fn a_hint_waits_for_the_next_tick() {
    let mut net = Net::new(2);
    net.with(0, |g, now| g.on_introduced(now, peer(1), true));
    net.run_for(10 * SECOND);
    assert!(net.neighbors(0).is_empty());
    net.run_for(10 * SECOND);
    assert_eq!(net.neighbors(0), [1].into());
}

/// Flash's `addNeighbor` and `addMemberHint`.
#[test]
fn the_application_names_members() {
    let mut net = Net::new(4);
    assert!(net.with(0, |g, now| g.add_member(now, peer(1), false)));
    assert!(net.with(0, |g, now| g.add_member(now, peer(2), true)));
    net.run_for(SECOND);
    assert_eq!(net.neighbors(0), [1].into());
    assert!(net.with(0, |g, now| g.add_member(now, peer(1), false)), "it is a neighbor");
    net.run_for(20 * SECOND);
    assert_eq!(net.neighbors(0), [1, 2].into());

    assert!(!net.with(0, |g, now| g.add_member(now, peer(0), false)), "this member itself");
    net.with(0, |g, now| g.block(now, peer(2)));
    assert!(!net.with(0, |g, now| g.add_member(now, peer(2), false)));
    net.with(0, |g, now| g.set_max_neighbors(now, 1));
    assert!(!net.with(0, |g, now| g.add_member(now, peer(3), false)), "no place");
    assert!(net.with(0, |g, now| g.add_member(now, peer(3), true)));
    net.with(0, |g, now| g.close(now));
    assert!(!net.with(0, |g, now| g.add_member(now, peer(1), true)));

    let alone = GroupSpecBuilder::new("t").unwrap().peer_to_peer_disabled(true).build().unwrap();
    let alone = net.add(alone);
    assert!(!net.with(alone, |g, now| g.add_member(now, peer(1), false)));
}

#[test]
fn leaving_finishes_replication_first() {
    let mut net = Net::new(2);
    net.with(0, |g, now| g.replication_mut(now).add_have(0..=3)).unwrap();
    net.introduce_all();
    let session = net.session(0, 1);
    let mut kinds = Vec::new();
    let replication = net.token(0, session, FlowKind::Replication);
    let membership = net.token(0, session, FlowKind::Membership);
    net.nodes[0].group.close(net.now);
    while let Some(action) = net.nodes[0].group.poll_action() {
        kinds.push(action);
    }
    assert_eq!(
        kinds,
        [
            A::Flow { session, action: FlowAction::Finish { token: replication } },
            A::Flow { session, action: FlowAction::Finish { token: membership } },
            A::ReleaseSession { session },
        ]
    );
    assert_eq!(net.nodes[0].group.poll_timeout(), None);
    assert!(net.nodes[0].group.is_closed());
}

#[test]
fn lost_neighbor_is_tried_again_in_the_same_session() {
    let mut net = Net::new(2);
    net.with(0, |g, now| g.replication_mut(now).add_have(0..=3)).unwrap();
    net.introduce_all();
    let session = net.session(0, 1);
    net.reject(0, session, FlowKind::Replication);
    net.run_for(Duration::from_millis(100));
    assert!(net.neighbors(0).is_empty() && net.neighbors(1).is_empty());
    let last = net.nodes[1].events.last().unwrap();
    assert_eq!(last.code(), "NetGroup.Neighbor.Disconnect");
    net.run_for(40 * SECOND);
    assert_eq!(net.neighbors(0), [1].into());
    assert_eq!(net.session(0, 1), session, "no second session");
}

#[test]
fn unreachable_members_are_tried_again_and_forgotten() {
    let mut net = Net::new(2);
    net.nodes[1].unreachable = true;
    net.introduce(0, 1);
    net.run_for(30 * SECOND);
    assert_eq!(net.nodes[0].group.stats().members, 1);
    net.run_for(320 * SECOND);
    assert_eq!(net.nodes[0].group.stats().members, 0);
    net.nodes[1].unreachable = false;
    net.introduce(0, 1);
    net.run_for(SECOND);
    assert_eq!(net.neighbors(0), [1].into());
}

#[test]
fn receive_mode_is_told_at_every_change() {
    let mut net = Net::new(2);
    net.introduce_all();
    net.with(0, |g, now| g.set_receive_mode(now, ReceiveMode::Nearest));
    net.with(0, |g, now| g.set_receive_mode(now, ReceiveMode::Nearest));
    net.run_for(SECOND);
    let last = net.sent(0, 1, FlowKind::Membership).pop().unwrap();
    assert_eq!(last[..], [0x0f]);
    assert_eq!(first_bytes(&net, 0, 1).iter().filter(|b| **b == 0x0f).count(), 1);
    let seen = net.nodes[1].group.neighbors()[0].receive_mode;
    assert_eq!(seen, Some(ReceiveMode::Nearest));
    assert_ne!(net.nodes[0].group.local_coverage().0, net.nodes[0].group.address());
}

#[test]
fn small_groups_become_a_full_mesh() {
    let mut net = Net::new(12);
    for node in 1..12 {
        net.introduce(node, node - 1);
    }
    net.run_for(180 * SECOND);
    for node in 0..12 {
        assert_eq!(net.neighbors(node).len(), 11, "node {node}");
    }
}

#[test]
fn bootstrap_peers_are_connected_to_at_once() {
    let builder = GroupSpecBuilder::new("t").unwrap().object_replication(true).server_channel(true);
    let mut net = Net::new(1);
    net.add(builder.bootstrap_peer(peer(0)).build().unwrap());
    net.run_for(SECOND);
    assert_eq!(net.neighbors(1), [0].into());
}
