//! The network itself: when datagrams arrive.

use super::*;
use crate::transport::{Arrived, Computed, Transmit};

/// A machine that only notes what arrives, in microseconds.
#[derive(Debug, Default)]
struct Sink(Vec<u64>);

impl Machine for Sink {
    fn handle_datagrams(&mut self, now: Time, _: Path, arrived: Arrived<'_>) {
        self.0.extend(arrived.each().map(|_| now.as_micros()));
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn handle_computed(&mut self, _: Time, _: Computed) {}

    fn poll_transmit(&mut self, _: Time, _: &mut TransmitBuf) -> Option<Transmit> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn poll_job(&mut self) -> Option<Job> {
        None
    }
}

impl Actor for Sink {
    fn react(&mut self, _: Time) -> bool {
        false
    }
}

/// The arrivals at a machine to which two others send four datagrams of 1000 bytes each at 1 ms, and
/// the number lost.
fn arrivals(uplink: Link, downlink: Option<Link>) -> (Vec<u64>, u64) {
    let mut network = Network::new(1, uplink);
    let [to, a, b] = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]
        .map(|address| network.add(address, Sink::default()));
    downlink.into_iter().for_each(|link| network.set_downlink(to, link));
    for _ in 0..4 {
        for from in [a, b] {
            network.inject(network.address(from), network.address(to), vec![0; 1000]);
        }
    }
    while network.step() {}
    (network[to].0.clone(), network.stats().lost)
}

fn link(rate: u64) -> Link {
    Link::lan().with_rate(rate)
}

#[test]
fn each_uplink_has_its_rate() {
    let twice = |times: [u64; 4]| times.into_iter().flat_map(|t| [t, t]).collect::<Vec<_>>();
    let (times, lost) = arrivals(link(1_000_000), None);
    assert_eq!((times, lost), (twice([2500, 3500, 4500, 5500]), 0));
    let (times, _) = arrivals(link(1_000_000).with_overhead(250), None);
    assert_eq!(times, twice([2750, 4000, 5250, 6500]));
}

#[test]
fn a_downlink_is_one_queue_for_everybody() {
    let up = link(1_000_000);
    let (times, lost) = arrivals(up.clone(), Some(link(1_000_000)));
    assert_eq!((times, lost), ((0..8).map(|n| 3500 + 1000 * n).collect(), 0));
    // A wide one adds the time of one datagram.
    let (times, _) = arrivals(up.clone(), Some(link(10_000_000)));
    assert_eq!(times[..4], [2600, 2700, 3600, 3700]);
    // The second of the third pair would wait 3 ms, and then that of the fourth.
    let short = link(1_000_000).with_queue(Duration::from_micros(2500));
    let (times, lost) = arrivals(up, Some(short));
    assert_eq!((times.len(), lost), (6, 2));
}

/// Two machines behind one translator, one behind another, and one with an address of its own.
fn two_networks() -> (Network<Sink>, [NodeId; 4]) {
    let mut network = Network::new(1, Link::lan());
    let nodes = ["192.168.1.2:1", "192.168.1.3:1", "192.168.2.2:1", "198.51.100.1:1"]
        .map(|address| network.add(address, Sink::default()));
    for (node, host) in [(0, 1), (1, 1), (2, 2)] {
        network.set_nat(nodes[node], Nat::new(NatKind::PortRestricted, [203, 0, 113, host].into()));
    }
    (network, nodes)
}

/// Who gets a datagram from each of the others, at its own address.
fn reached(from: usize) -> Vec<usize> {
    let (mut network, nodes) = two_networks();
    for to in 0..4 {
        network.inject(network.address(nodes[from]), network.address(nodes[to]), vec![0; 9]);
    }
    while network.step() {}
    (0..4).filter(|&to| to != from && !network[nodes[to]].0.is_empty()).collect()
}

#[test]
fn those_behind_one_translator_are_in_one_network() {
    assert_eq!([0, 1, 2, 3].map(reached), [vec![1, 3], vec![0, 3], vec![3], vec![]]);
}

#[test]
fn a_translator_lets_answers_in_to_whoever_has_sent_and_sends_nothing_back() {
    let (mut network, nodes) = two_networks();
    let outside = network.address(nodes[3]);
    network.tap();
    for node in [0, 1] {
        network.inject(network.address(nodes[node]), outside, vec![0; 9]);
    }
    let sent = network.take_tapped();
    let public = [sent[0].from, sent[1].from];
    assert!(public[0].ip() == public[1].ip() && public[0].port() != public[1].port());
    network.inject(outside, public[1], vec![0; 9]);
    // By the public address of the other, which only others than these two may use.
    network.inject(network.address(nodes[0]), public[1], vec![0; 9]);
    while network.step() {}
    assert_eq!([0, 1].map(|node| network[nodes[node]].0.len()), [0, 1]);
}

#[test]
fn a_downlink_that_is_shared_is_one_queue_and_not_for_the_local_network() {
    let (mut network, nodes) = two_networks();
    let down = Link::lan().with_rate(1000).with_overhead(1).through(7);
    (0..2).for_each(|node| network.set_downlink(nodes[node], down.clone()));
    let outside = network.address(nodes[3]);
    network.tap();
    for node in [0, 1] {
        network.inject(network.address(nodes[node]), outside, vec![0; 9]);
    }
    for sent in network.take_tapped() {
        network.inject(outside, sent.from, vec![0; 9]);
    }
    network.inject(network.address(nodes[0]), network.address(nodes[1]), vec![0; 9]);
    while network.step() {}
    assert_eq!([&network[nodes[0]].0[..], &network[nodes[1]].0], [&[11_500][..], &[1500, 21_500]]);
    assert_eq!(network.carried(7), 20);
}
