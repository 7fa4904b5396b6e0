//! Announcements of a member of a swarm wait for each other, and for other messages.

use crate::support::net::{Net, object};
use rtmfp::proto::group::{FlowKind, ReplicationStrategy};
use std::ops::RangeInclusive;
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

/// Two neighbors; the first has 0 and follows the strategy of swarms.
fn two() -> Net {
    let mut net = Net::new(2);
    net.introduce_all();
    net.with(0, |g, now| g.replication_mut(now).set_strategy(ReplicationStrategy::Swarm));
    have(&mut net, 0, 0..=0);
    net.run_for(Duration::from_secs(10));
    net
}

fn have(net: &mut Net, node: usize, range: RangeInclusive<u64>) {
    net.with(node, |g, now| g.replication_mut(now).add_have(range)).unwrap();
}

fn lose(net: &mut Net, node: usize, range: RangeInclusive<u64>) {
    net.with(node, |g, now| g.replication_mut(now).remove_have(range)).unwrap();
}

/// What the first has sent since `before` messages.
fn sent_since(net: &Net, before: usize) -> Vec<Vec<u8>> {
    let sent = net.sent(0, 1, FlowKind::Replication);
    sent[before..].iter().map(|message| message.to_vec()).collect()
}

fn sent(net: &Net) -> usize {
    net.sent(0, 1, FlowKind::Replication).len()
}

#[test]
fn those_of_a_quarter_of_the_usual_interval_are_one() {
    let mut net = two();
    for index in 100..140 {
        have(&mut net, 0, index..=index);
        net.run_for(80 * MILLI);
    }
    let before = sent(&net);
    have(&mut net, 0, 4..=4);
    net.run_for(10 * MILLI);
    have(&mut net, 0, 7..=8);
    have(&mut net, 0, 5..=5);
    net.run_for(7 * MILLI);
    assert_eq!(sent(&net), before);
    net.run_for(4 * MILLI);
    assert_eq!(sent_since(&net, before), [[0x10, 4, 1, 0, 1]]);
    net.run_for(Duration::from_secs(10));
    assert_eq!(sent(&net), before + 1);
}

#[test]
fn they_go_along_with_another_message() {
    let mut net = two();
    net.with(1, |g, now| g.replication_mut(now).add_want(0..=0)).unwrap();
    have(&mut net, 0, 3..=3);
    let before = sent(&net);
    net.run_for(50 * MILLI);
    let sent = sent_since(&net, before);
    assert_eq!(sent[..2], [vec![0x10, 3], vec![0x17]], "before the neighbor is served");
    assert_eq!(sent[2], [&[0x18, 0], &object(0, 16)[..]].concat());
}

#[test]
fn who_has_it_is_told_at_last() {
    let mut net = two();
    have(&mut net, 1, 5..=6);
    net.run_for(Duration::from_secs(1));
    let before = sent(&net);
    have(&mut net, 0, 5..=5);
    net.run_for(4999 * MILLI);
    assert_eq!(sent(&net), before);
    net.run_for(2 * MILLI);
    assert_eq!(sent_since(&net, before), [[0x10, 5]]);
    have(&mut net, 0, 6..=6);
    net.run_for(Duration::from_secs(1));
    assert_eq!(sent(&net), before + 1);
    lose(&mut net, 1, 5..=6);
    net.run_for(150 * MILLI);
    assert_eq!(sent_since(&net, before + 1), [[0x10, 6]], "it has lost its own");
}

#[test]
fn what_is_lost_meanwhile_is_not_announced() {
    let mut net = two();
    let before = sent(&net);
    have(&mut net, 0, 4..=6);
    lose(&mut net, 0, 5..=6);
    net.run_for(Duration::from_secs(10));
    assert_eq!(sent_since(&net, before), [vec![0x10, 4], vec![0x11, 5, 1]]);
    have(&mut net, 0, 5..=5);
    lose(&mut net, 0, 5..=5);
    net.run_for(Duration::from_secs(10));
    assert_eq!(sent_since(&net, before + 2), [[0x11, 5]]);
}
