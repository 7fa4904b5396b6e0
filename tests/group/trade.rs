//! Neighbors announce, request and send objects.

use crate::support::net::{Answer, Net, object, peer, server, spec};
use rtmfp::proto::group::message::ReplicationMessage as M;
use rtmfp::proto::group::{
    FlowKind, GroupConfig, GroupError, GroupEvent, GroupSpecBuilder, ReplicationStrategy,
};
use rtmfp::proto::transport::Bandwidth;
use std::collections::BTreeSet;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn have(net: &mut Net, node: usize, range: std::ops::RangeInclusive<u64>) {
    net.with(node, |g, now| g.replication_mut(now).add_have(range)).unwrap();
}

fn want(net: &mut Net, node: usize, range: std::ops::RangeInclusive<u64>) {
    net.with(node, |g, now| g.replication_mut(now).add_want(range)).unwrap();
}

fn traded(net: &Net, node: usize, to: usize) -> Vec<Vec<u8>> {
    net.sent(node, to, FlowKind::Replication).iter().map(|m| m.to_vec()).collect()
}

fn requested(net: &Net, node: usize, of: usize) -> Vec<u64> {
    net.sent(node, of, FlowKind::Replication)
        .into_iter()
        .filter_map(|m| match M::parse(m) {
            Ok(M::Request(index)) => Some(index),
            _ => None,
        })
        .collect()
}

fn count_kind(net: &Net, node: usize, to: usize, kind: u8) -> usize {
    traded(net, node, to).iter().filter(|m| m[0] == kind).count()
}

#[test]
fn a_fetch_from_beginning_to_end() {
    let mut net = Net::new(2);
    net.introduce_all();
    have(&mut net, 0, 0..=0);
    have(&mut net, 0, 1..=5);
    net.run_for(SECOND);
    want(&mut net, 1, 0..=5);
    net.run_for(SECOND);
    assert_eq!(
        traded(&net, 1, 0),
        [
            vec![0x10],
            vec![0x14],
            vec![0x1a, 0],
            vec![0x1a, 1],
            vec![0x1a, 2],
            vec![0x1a, 3],
            vec![0x1a, 4],
            vec![0x1a, 5],
            vec![0x15],
        ]
    );
    let provider = traded(&net, 0, 1);
    assert_eq!(provider[..4], [vec![0x10, 0, 0], vec![0x10, 0], vec![0x10, 1, 4], vec![0x17]]);
    assert_eq!(provider[4], [&[0x18, 0], &object(0, 16)[..]].concat());
    assert_eq!(net.fetched(1), [0, 1, 2, 3, 4, 5]);
    let group = &net.nodes[1].group;
    assert!(group.replication().want().is_empty() && group.replication().have().is_empty());
    let stats = group.stats().replication;
    assert_eq!((stats.objects_received, stats.requests_sent), (6, 6));
    assert_eq!(stats.bytes_received, 96);
    let request = GroupEvent::ReplicationRequest { index: 0, request_id: 1 };
    assert_eq!(net.nodes[0].events[1], request);
}

#[test]
fn announcements_are_as_called() {
    let mut net = Net::new(2);
    net.introduce_all();
    have(&mut net, 0, 0..=3);
    net.run_for(SECOND);
    // The calls of a recorded player, and what it sent.
    want(&mut net, 1, 0..=3);
    net.with(1, |g, now| g.replication_mut(now).remove_want(0..=3)).unwrap();
    want(&mut net, 1, 0..=3);
    have(&mut net, 1, 0..=3);
    want(&mut net, 1, 0..=3);
    net.with(1, |g, now| g.replication_mut(now).remove_have(0..=3)).unwrap();
    want(&mut net, 1, 2..=9);
    let reversed = std::ops::RangeInclusive::new(9, 2);
    want(&mut net, 1, reversed);
    assert_eq!(
        traded(&net, 1, 0),
        [
            &[0x10][..],
            &[0x14],
            &[0x15],
            &[0x11, 0, 3],
            &[0x14],
            &[0x15],
            &[0x10, 0, 3],
            &[0x11, 0, 3],
            &[0x14],
            &[0x11, 0, 3],
            &[0x11, 2, 7],
        ]
    );
    assert_eq!(net.nodes[1].group.replication().want().len(), 10);
}

#[test]
fn a_new_neighbor_is_told_the_complete_set() {
    let mut net = Net::new(2);
    for range in [0..=0, 5..=6, 8..=9, 20..=30, (1 << 53) - 2..=1 << 53] {
        have(&mut net, 0, range);
    }
    net.introduce_all();
    let set = [0, 0, 3, 1, 0, 1, 9, 10, 0x8f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5e, 2];
    assert_eq!(traded(&net, 0, 1), [[&[0x10], &set[..]].concat()]);
    assert!(traded(&net, 1, 0).is_empty(), "nothing to say, no flow");
    let reversed = net.with(0, |g, now| g.replication_mut(now).add_have(0..=(1 << 53) + 1));
    assert!(reversed.is_err());
}

#[test]
fn orders_of_the_player() {
    for (strategy, from_both) in
        [(ReplicationStrategy::LowestFirst, [0, 25]), (ReplicationStrategy::RarestFirst, [0, 41])]
    {
        let mut net = Net::new(3);
        net.nodes[0].answer = Answer::Hold;
        net.nodes[2].answer = Answer::Hold;
        have(&mut net, 0, 0..=40);
        have(&mut net, 2, 25..=60);
        net.with(1, |g, now| g.replication_mut(now).set_strategy(strategy));
        net.introduce_all();
        want(&mut net, 1, 0..=60);
        net.run_for(SECOND);
        for (holder, first) in [(0, from_both[0]), (2, from_both[1])] {
            let asked = requested(&net, 1, holder);
            assert_eq!(asked, (first..first + 4).collect::<Vec<_>>(), "{strategy:?}");
        }
        // Drain it all, one request after the other.
        for _ in 0..100 {
            for node in [0, 2] {
                if let Some(id) = net.nodes[node].held.pop() {
                    net.with(node, |g, now| {
                        g.replication_mut(now).write_requested(id, object(0, 1))
                    });
                }
            }
            net.run_for(50 * MILLI);
        }
        assert_eq!(net.fetched(1).iter().collect::<BTreeSet<_>>().len(), 61);
        assert_eq!(net.fetched(1).len(), 61, "each once");
        if strategy == ReplicationStrategy::RarestFirst {
            let asked = requested(&net, 1, 0);
            assert_eq!(asked[..25], (0..25).collect::<Vec<_>>()[..], "the shared ones last");
        }
    }
}

#[test]
fn denied_objects_are_asked_of_others_first() {
    let mut net = Net::new(3);
    net.nodes[0].answer = Answer::Deny;
    have(&mut net, 0, 0..=3);
    have(&mut net, 2, 0..=3);
    net.introduce_all();
    net.nodes[2].answer = Answer::Hold;
    want(&mut net, 1, 0..=1);
    net.nodes[2].answer = Answer::Write;
    net.run_for(200 * MILLI);
    assert_eq!(net.fetched(1).len(), 2);
    assert!(!net.failed(1).is_empty());
    for index in net.failed(1) {
        assert_eq!(requested(&net, 1, 0).iter().filter(|i| **i == index).count(), 1);
    }
}

#[test]
fn the_only_holder_is_asked_again_but_not_in_a_tight_loop() {
    let mut net = Net::new(2);
    net.nodes[0].answer = Answer::Deny;
    have(&mut net, 0, 7..=7);
    net.introduce_all();
    want(&mut net, 1, 7..=7);
    net.run_for(60 * SECOND);
    let tries = net.failed(1).len();
    assert!((5..=9).contains(&tries), "{tries}");
    net.nodes[0].answer = Answer::Write;
    net.run_for(31 * SECOND);
    assert_eq!(net.fetched(1), [7]);
    assert!(net.nodes[1].group.neighbors()[0].trade.in_flight == 0);
}

#[test]
fn a_holder_that_leaves_frees_its_requests_at_once() {
    for how in ["flow", "session", "close"] {
        let mut net = Net::new(3);
        for node in [0, 2] {
            net.nodes[node].answer = Answer::Hold;
            have(&mut net, node, 0..=3);
        }
        net.introduce_all();
        want(&mut net, 1, 0..=3);
        net.run_for(SECOND);
        let asked = [requested(&net, 1, 0), requested(&net, 1, 2)].concat();
        assert_eq!(asked.len(), 4, "each index at one holder only");
        let pending = requested(&net, 1, 0);
        assert!(!pending.is_empty());
        match how {
            "flow" => {
                let session = net.session(0, 1);
                net.reject(0, session, FlowKind::Replication);
            }
            "session" => net.close_session(0, 1),
            _ => net.with(0, |g, now| g.close(now)),
        }
        net.run_for(50 * MILLI);
        assert_eq!(net.failed(1), pending, "{how}");
        assert_eq!(requested(&net, 1, 2).len(), 4, "{how}: all are at the other now");
        for id in std::mem::take(&mut net.nodes[2].held) {
            net.with(2, |g, now| g.replication_mut(now).write_requested(id, object(0, 1)));
        }
        net.run_for(50 * MILLI);
        assert_eq!(net.fetched(1).len(), 4);
        let late = net.nodes[0].held[0];
        let pending =
            net.with(0, |g, now| g.replication_mut(now).write_requested(late, object(0, 1)));
        assert!(!pending, "{how}: nobody waits for it");
    }
}

#[test]
fn overdue_answers_are_sought_elsewhere_and_still_welcome() {
    let mut net = Net::new(3);
    net.nodes[0].answer = Answer::Hold;
    have(&mut net, 0, 0..=3);
    net.introduce_all();
    want(&mut net, 1, 0..=3);
    net.run_for(SECOND);
    have(&mut net, 2, 0..=2);
    net.run_for(2 * SECOND);
    assert!(net.fetched(1).is_empty(), "not overdue yet");
    net.run_for(4 * SECOND);
    assert_eq!(net.fetched(1), [0, 1, 2], "from the other");
    assert_eq!(net.nodes[1].group.stats().replication.overdue, 3);
    assert!(net.failed(1).is_empty());
    net.run_for(300 * SECOND);
    assert_eq!(requested(&net, 1, 0), [0, 1, 2, 3], "the only holder of 3 is waited for");
    for id in std::mem::take(&mut net.nodes[0].held) {
        net.with(0, |g, now| g.replication_mut(now).write_requested(id, object(0, 1)));
    }
    net.run_for(SECOND);
    assert_eq!(net.fetched(1), [0, 1, 2, 3], "the late duplicates are dropped");
    assert_eq!(net.nodes[1].group.stats().replication.duplicates, 3);
}

#[test]
fn unhave_frees_a_request_and_choke_does_not() {
    let mut net = Net::new(3);
    for node in [0, 2] {
        net.nodes[node].answer = Answer::Hold;
        have(&mut net, node, 0..=1);
    }
    net.introduce_all();
    want(&mut net, 1, 0..=1);
    net.run_for(SECOND);
    let at_first = requested(&net, 1, 0);
    net.inject(1, 0, FlowKind::Replication, &[0x16]);
    let asked = requested(&net, 1, 2).len();
    net.with(0, |g, now| g.replication_mut(now).remove_have(0..=1)).unwrap();
    net.run_for(SECOND);
    assert_eq!(asked + at_first.len(), 2, "the choke changed nothing");
    assert_eq!(requested(&net, 1, 2).len(), 2);
    assert!(net.failed(1).is_empty());
}

#[test]
fn unwanted_but_requested_objects_are_delivered_unrequested_are_not() {
    let mut net = Net::new(2);
    net.nodes[0].answer = Answer::Hold;
    have(&mut net, 0, 0..=0);
    net.introduce_all();
    want(&mut net, 1, 0..=0);
    net.run_for(SECOND);
    net.with(1, |g, now| g.replication_mut(now).remove_want(0..=0)).unwrap();
    net.inject(1, 0, FlowKind::Replication, b"\x18\x09\x05");
    net.inject(1, 0, FlowKind::Replication, b"\x19\x09");
    assert_eq!(net.nodes[1].group.stats().replication.unrequested, 2);
    let id = net.nodes[0].held[0];
    net.with(0, |g, now| g.replication_mut(now).write_requested(id, object(0, 1)));
    net.run_for(SECOND);
    assert_eq!(net.fetched(1), [0]);
}

#[test]
fn an_object_found_bad_may_be_wanted_again() {
    let mut net = Net::new(2);
    have(&mut net, 0, 4..=4);
    net.introduce_all();
    for round in 1..=3 {
        want(&mut net, 1, 4..=4);
        net.run_for(SECOND);
        assert_eq!(net.fetched(1).len(), round);
    }
    let ids: BTreeSet<_> = net.nodes[0]
        .events
        .iter()
        .filter_map(|e| match e {
            GroupEvent::ReplicationRequest { request_id, .. } => Some(*request_id),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [1].into(), "request IDs are used again");
}

#[test]
fn objects_that_are_too_large_fail() {
    let mut net = Net::new(2);
    net.nodes[0].object_size = (4 << 20) + 1;
    have(&mut net, 0, 0..=0);
    net.introduce_all();
    want(&mut net, 1, 0..=0);
    net.run_for(SECOND);
    assert!(net.fetched(1).is_empty());
    assert!(!net.failed(1).is_empty());
    assert!(net.nodes[1].group.stats().replication.too_large >= 1);
}

/// Nodes that serve so many neighbors at a time.
fn with_places(places: usize, nodes: usize) -> Net {
    let mut net = Net::new(0);
    for node in 0..nodes {
        let mut config = GroupConfig::new(spec(), peer(node));
        config.server = Some(server());
        config.replication.max_unchoked = places;
        net.add_configured(config);
    }
    net
}

/// All connect to the first.
fn meet(net: &mut Net) {
    (1..net.nodes.len()).for_each(|node| net.introduce(node, 0));
    net.run_for(SECOND);
}

/// Neighbors that the first serves now.
fn served(net: &Net) -> usize {
    net.nodes[0].group.neighbors().iter().filter(|n| n.trade.served).count()
}

#[test]
fn twelve_fetchers_share_eight_places() {
    let mut net = with_places(8, 13);
    have(&mut net, 0, 0..=1_000_000);
    net.nodes[0].uplink = 20_000;
    meet(&mut net);
    (1..13).for_each(|node| want(&mut net, node, 0..=1_000_000));
    for _ in 0..60 {
        net.run_for(SECOND);
        assert_eq!(served(&net), 8);
    }
    for node in 1..13 {
        assert!(!net.fetched(node).is_empty(), "node {node} was served");
        let (unchokes, chokes) = (count_kind(&net, 0, node, 0x17), count_kind(&net, 0, node, 0x16));
        assert!(unchokes - chokes <= 1, "one after the other");
    }
    let chokes: usize = (1..13).map(|node| count_kind(&net, 0, node, 0x16)).sum();
    assert!((8..=14).contains(&chokes), "two places a round: {chokes}");
}

#[test]
fn a_narrow_uplink_serves_few_at_a_time() {
    let mut net = with_places(8, 10);
    have(&mut net, 0, 0..=1_000_000);
    net.nodes[0].uplink = 20_000;
    net.nodes[0].object_size = 1000;
    meet(&mut net);
    (1..10).for_each(|node| want(&mut net, node, 0..=1_000_000));
    net.run_for(SECOND);
    // To each an object in four seconds, and to two in any case.
    for (uplink, places) in [(None, 8), (Some(1250), 5), (Some(1000), 4), (None, 8)] {
        let uplink = uplink.map(Bandwidth::bytes_per_second);
        net.with(0, |g, now| g.replication_mut(now).set_uplink(uplink));
        for _ in 0..15 {
            net.run_for(SECOND);
            assert_eq!(served(&net), places, "{uplink:?}");
        }
    }
    net.nodes[0].object_size = 10_000;
    net.run_for(5 * SECOND);
    let uplink = Some(Bandwidth::bytes_per_second(1000));
    net.with(0, |g, now| g.replication_mut(now).set_uplink(uplink));
    net.run_for(SECOND);
    assert_eq!(served(&net), 2);
    assert!((1..10).all(|node| !net.fetched(node).is_empty()), "nobody is left out");
}

/// The floor: a weak member, which fetches too, serves one after the other, and nobody is left out.
#[test]
fn a_weak_fetcher_serves_one_at_a_time_and_everybody_in_turns() {
    let mut net = with_places(8, 7);
    have(&mut net, 0, 0..=1_000_000);
    net.nodes[0].uplink = 20_000;
    net.nodes[0].object_size = 10_000;
    let uplink = Some(Bandwidth::bytes_per_second(20_000));
    net.with(0, |g, now| g.replication_mut(now).set_uplink(uplink));
    want(&mut net, 0, 2_000_000..=2_000_000);
    meet(&mut net);
    (1..7).for_each(|node| want(&mut net, node, 0..=1_000_000));
    for _ in 0..65 {
        net.run_for(SECOND);
        assert_eq!(served(&net), 1);
    }
    for node in 1..7 {
        assert!(net.fetched(node).len() >= 10, "node {node} had a turn: {:?}", net.fetched(node));
    }
    // What it can give is not less because of that: two objects a second.
    let all: usize = (1..7).map(|node| net.fetched(node).len()).sum();
    assert!(all > 110, "{all} objects in 65 s");
}

#[test]
fn choke_comes_after_the_answers_that_are_due() {
    let mut net = with_places(8, 10);
    net.nodes[0].answer = Answer::Hold;
    have(&mut net, 0, 0..=100);
    meet(&mut net);
    (1..10).for_each(|node| want(&mut net, node, 0..=100));
    net.run_for(30 * SECOND);
    assert!((1..10).all(|node| count_kind(&net, 0, node, 0x16) == 0), "nothing answered yet");
    for id in std::mem::take(&mut net.nodes[0].held) {
        net.with(0, |g, now| g.replication_mut(now).write_requested(id, object(0, 1)));
    }
    net.run_for(MILLI);
    let choked: Vec<_> = (1..10).filter(|&n| count_kind(&net, 0, n, 0x16) == 1).collect();
    assert_eq!(choked.len(), 1, "one waits, one place changes hands");
    let sent = traded(&net, 0, choked[0]);
    assert_eq!(sent.last().unwrap()[..], [0x16]);
    assert_eq!(sent.iter().filter(|m| m[0] == 0x18).count(), 4);
}

#[test]
fn those_who_want_nothing_make_room() {
    let mut net = with_places(8, 10);
    have(&mut net, 0, 0..=0);
    meet(&mut net);
    (1..9).for_each(|node| want(&mut net, node, 0..=0));
    net.run_for(SECOND);
    assert!((1..9).all(|node| count_kind(&net, 0, node, 0x16) == 0), "places are kept");
    want(&mut net, 9, 0..=0);
    net.run_for(SECOND);
    assert_eq!(net.fetched(9), [0], "no wait for the next round");
}

#[test]
fn replication_must_be_enabled() {
    let mut net = Net::new(0);
    net.add(GroupSpecBuilder::new("t").unwrap().build().unwrap());
    let refused = net.with(0, |g, now| g.replication_mut(now).add_want(0..=1));
    assert_eq!(refused, Err(GroupError::ReplicationDisabled));
}
