//! The queue of an uplink that the sessions of one endpoint share stays short, and far ends that lie
//! about delays cannot slow it down.

use crate::support::shared::{Measured, Route, Shared};
use crate::support::{millis, secs};
use rtmfp::proto::sim::{Link, NodeId};
use rtmfp::proto::transport::{Controller, LinkRate};

const RATE: f64 = 625e3;

/// A sender with so many sessions through 5 Mbit/s with 40 ms and a queue of 200 ms.
fn uplink(seed: u64, controller: Controller, sessions: usize) -> (Shared, Vec<NodeId>) {
    let (shared, _, receivers) = uplink_of(seed, controller, sessions);
    (shared, receivers)
}

/// The same, and the sender.
fn uplink_of(seed: u64, controller: Controller, sessions: usize) -> (Shared, NodeId, Vec<NodeId>) {
    println!("seed {seed}");
    let (round_trip, queue) = (millis(40), millis(200));
    let mut shared = Shared::new(seed, Route { rate: RATE as u64, round_trip, queue, loss: 0.0 });
    let sender = shared.rtmfp(controller);
    let mut receivers = Vec::new();
    for _ in 0..sessions {
        receivers.push(shared.start_from(sender, controller));
        shared.run(millis(100));
    }
    shared.run(secs(10));
    (shared, sender, receivers)
}

/// Without the pace, twenty sessions wait for 171 ms and lose 4 %, ten wait for 124 ms.
#[test]
fn many_sessions_wait_no_longer_than_a_few() {
    for sessions in [4, 10, 20] {
        let (mut shared, sender, _) = uplink_of(1, Controller::Bbr, sessions);
        let measured = shared.measure(secs(20));
        let found = shared.network[sender].endpoint().uplink().expect("it is busy");
        assert!(found.is_full, "{sessions} sessions");
        let found = found.rate.as_bytes_per_second() as f64;
        assert!((0.9..1.1).contains(&(found / RATE)), "{sessions} sessions: {found:.0} B/s");
        println!("{sessions} sessions: {measured}");
        assert!(measured.total() > 0.9 * RATE && measured.fairness() > 0.97, "{measured:?}");
        assert!(measured.wait.0 < 60.0 && measured.loss < 0.001, "{measured:?}");
    }
}

#[test]
fn what_passes_either_link_is_measured() {
    let (mut shared, center, others) = uplink_of(3, Controller::Bbr, 4);
    // Each of them could fill it.
    let down = 1_000_000;
    let downlink = Link::lan().with_rate(down).with_queue(millis(100));
    shared.network.set_downlink(center, downlink);
    others.iter().for_each(|&other| shared.start_back(other, center, down));
    shared.run(secs(20));
    let links = shared.network[center].endpoint().links();
    println!("{links:?}");
    let share = |rate: Option<LinkRate>, of: f64| {
        rate.map_or(0.0, |rate| rate.rate.as_bytes_per_second() as f64 / of)
    };
    assert!((0.95..1.05).contains(&share(links.down, down as f64)), "{links:?}");
    assert!((0.8..1.05).contains(&share(links.up, RATE)), "{links:?}");
    assert!(links.up.is_some_and(|up| up.is_full), "{links:?}");
    // One of four gets a quarter of it, and that its own downlink carries more, nobody can know.
    let endpoint = shared.network[others[0]].endpoint();
    assert!(share(endpoint.downlink(), RATE) < 0.5, "{:?}", endpoint.downlink());
    assert_eq!(endpoint.believed_uplink(), None, "one session alone does not show it");
}

/// Each would be a datagram, with headers of all layers, beside one with data that waits.
#[test]
fn acknowledgements_go_along_with_data_that_waits() {
    let (mut shared, sender, receivers) = uplink_of(1, Controller::Bbr, 4);
    receivers.iter().for_each(|&receiver| shared.start_back(receiver, sender, RATE as u64 / 4));
    shared.run(secs(10));
    shared.network.tap();
    let measured = shared.measure(secs(10));
    let from = shared.network.address(sender);
    let sent: Vec<_> = shared.network.take_tapped();
    let sent: Vec<_> = sent.iter().filter(|datagram| datagram.from == from).collect();
    let short = sent.iter().filter(|datagram| datagram.bytes.len() < 200).count();
    println!("{short} of {} datagrams are short; {measured}", sent.len());
    assert!(short * 20 < sent.len(), "{short} of {} datagrams are short", sent.len());
    assert!(measured.total() > 0.85 * RATE && measured.fairness() > 0.97, "{measured:?}");
    assert!(measured.wait.0 < 60.0 && measured.loss < 0.001, "{measured:?}");
}

#[test]
fn one_session_is_left_to_its_controller() {
    let (mut shared, _) = uplink(1, Controller::Bbr, 1);
    let measured = shared.measure(secs(10));
    assert!(measured.total() > 0.94 * RATE && measured.wait.0 < 10.0, "{measured:?}");
}

#[test]
fn appendix_a_fills_the_queue_as_ever() {
    let (mut shared, _) = uplink(1, Controller::AppendixA, 4);
    let measured = shared.measure(secs(10));
    assert!(measured.wait.0 > 100.0, "{measured:?}");
}

/// So many of four far ends claim that packets take 400 ms longer to them from now on.
fn with_liars(liars: usize) -> Measured {
    let (mut shared, receivers) = uplink(1, Controller::Bbr, 4);
    for &receiver in &receivers[..liars] {
        shared.claim_delay(receiver, millis(400));
    }
    let measured = shared.measure(secs(20));
    println!("{liars} liars: {measured}");
    measured
}

#[test]
fn a_hostile_claim_of_delays_changes_nothing() {
    let measured = with_liars(1);
    assert!(measured.total() > 0.9 * RATE && measured.wait.0 < 80.0, "{measured:?}");
}

/// There is no way to tell which are true, but that it does not help to send less.
#[test]
fn hostile_claims_of_most_do_not_last() {
    let measured = with_liars(3);
    assert!(measured.total() > 0.7 * RATE, "{measured:?}");
}
