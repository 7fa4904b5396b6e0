//! A limit of what an endpoint sends: the rate, bursts, fair shares, and what does not wait.
//!
//! Every test prints its seed; virtual time makes the figures exact.

use crate::support::bulk::Bulk;
use crate::support::{millis, quick, secs};
use bytes::Bytes;
use rtmfp::proto::crypto::Epd;
use rtmfp::proto::sim::{Link, Network, NodeId};
use rtmfp::proto::transport::{
    Bandwidth, Controller, FlowId, FlowOptions, MessageOptions, SessionId, Time,
};
use std::time::Duration;

/// What a sender keeps queued in a flow.
const QUEUED: u64 = 256 << 10;

/// A sender and its receivers, with a session to each.
struct Star {
    network: Network<Bulk>,
    center: NodeId,
    leaves: Vec<NodeId>,
}

impl Star {
    fn new(seed: u64, link: &Link, controller: Controller, leaves: usize) -> Self {
        println!("seed {seed}, {controller}, {leaves} receivers");
        let mut network = Network::new(seed, link.clone());
        let center = add(&mut network, "10.0.0.1:1000", controller);
        let leaves: Vec<_> = (0..leaves)
            .map(|i| add(&mut network, &format!("10.0.1.1:{}", 1000 + i), controller))
            .collect();
        let mut star = Self { network, center, leaves };
        star.leaves.clone().into_iter().for_each(|leaf| star.meet(leaf));
        star
    }

    fn meet(&mut self, leaf: NodeId) {
        let epd = Epd::for_fingerprint(self.network[leaf].endpoint.fingerprint());
        let address = self.network.address(leaf);
        let center = self.center;
        self.network.act(center, |host, now| host.endpoint.open(now, epd, &[address]));
        assert!(self.network.run_until(|n| n[leaf].endpoint.sessions().count() == 1));
    }

    /// Opens a session to a newcomer. Returns how long that takes.
    fn welcome(&mut self, address: &str) -> Duration {
        let newcomer = add(&mut self.network, address, Controller::Bbr);
        let asked = self.network.now();
        self.meet(newcomer);
        self.network.now().since(asked)
    }

    fn limit(&mut self, rate: Option<u64>) {
        let limit = rate.map(Bandwidth::bytes_per_second);
        self.network.act(self.center, |host, now| host.endpoint.set_send_limit(now, limit));
    }

    /// The session from one node to another.
    fn session(&self, from: NodeId, to: NodeId) -> SessionId {
        let far = self.network[to].endpoint.fingerprint();
        self.network[from].endpoint.session_with(far).expect("a session")
    }

    fn open_flow(&mut self, from: NodeId, to: NodeId, options: FlowOptions) -> (SessionId, FlowId) {
        let session = self.session(from, to);
        let open = |host: &mut Bulk, _| host.endpoint.open_flow(session, b"data", options);
        (session, self.network.act(from, open).expect("a flow"))
    }

    fn stream(&mut self, from: NodeId, to: NodeId) {
        let flow = self.open_flow(from, to, FlowOptions::default());
        self.network.act(from, |host, _| host.flows.push(flow));
    }

    /// The center streams to every leaf.
    fn stream_to_all(&mut self) {
        for leaf in self.leaves.clone() {
            self.stream(self.center, leaf);
        }
    }

    /// What the center sends in the next `time`: when, and how many bytes.
    fn sent_in(&mut self, time: Duration) -> Vec<(Time, u64)> {
        self.network.tap();
        self.network.take_tapped();
        self.network.run_for(time);
        let from = self.network.address(self.center);
        let tapped = self.network.take_tapped().into_iter().filter(|packet| packet.from == from);
        tapped.map(|packet| (packet.at, packet.bytes.len() as u64)).collect()
    }

    /// Bytes that each leaf receives in the next `time`.
    fn received_in(&mut self, time: Duration) -> Vec<u64> {
        let before = self.received();
        self.network.run_for(time);
        self.received().into_iter().zip(before).map(|(after, before)| after - before).collect()
    }

    fn received(&self) -> Vec<u64> {
        self.leaves.iter().map(|&leaf| self.network[leaf].received).collect()
    }
}

fn add(network: &mut Network<Bulk>, address: &str, controller: Controller) -> NodeId {
    let mut config = quick();
    config.controller = controller;
    let host = Bulk::new(network, config, QUEUED);
    network.add(address, host)
}

fn total(sent: &[(Time, u64)]) -> u64 {
    sent.iter().map(|(_, bytes)| bytes).sum()
}

/// The most bytes in any stretch of this length.
fn most_within(sent: &[(Time, u64)], window: Duration) -> u64 {
    let (mut most, mut sum, mut first) = (0, 0, 0);
    for &(at, bytes) in sent {
        sum += bytes;
        while sent[first].0 + window <= at {
            sum -= sent[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

const CONTROLLERS: [Controller; 2] = [Controller::AppendixA, Controller::Bbr];

#[test]
fn ten_seconds_are_within_three_percent_of_the_limit() {
    let link = Link::lan().with_delay(millis(20));
    for (seed, rate) in [(1, 20_000), (2, 100_000), (3, 1_000_000), (4, 3_000_000)] {
        for controller in CONTROLLERS {
            for leaves in [1, 5] {
                let mut star = Star::new(seed, &link, controller, leaves);
                star.limit(Some(rate));
                star.stream_to_all();
                star.network.run_for(secs(3));
                let sent = star.sent_in(secs(10));
                let ratio = total(&sent) as f64 / (10 * rate) as f64;
                println!("{rate} B/s: {ratio:.4} of it");
                assert!((0.97..=1.03).contains(&ratio), "{rate} B/s: {ratio}");
            }
        }
    }
}

#[test]
fn bursts_are_bounded() {
    let link = Link::lan().with_delay(millis(20));
    for (seed, rate) in [(1, 20_000), (2, 200_000), (3, 2_000_000)] {
        let mut star = Star::new(seed, &link, Controller::AppendixA, 3);
        star.limit(Some(rate));
        // Nothing was sent for a while, and then there is much at once.
        star.network.run_for(secs(5));
        star.stream_to_all();
        let sent = star.sent_in(secs(10));
        let most = most_within(&sent, millis(50));
        // 50 ms, what was saved up, and a turn of a session.
        let bound = rate / 20 + (rate / 50).max(2400) * 5 / 4 + 1200;
        println!("{rate} B/s: {most} bytes in 50 ms, at most {bound}");
        assert!(most <= bound, "{most} > {bound}");
    }
}

#[test]
fn sessions_get_equal_shares() {
    for controller in CONTROLLERS {
        let mut star = Star::new(5, &Link::lan().with_delay(millis(10)), controller, 8);
        for (i, leaf) in star.leaves.clone().into_iter().enumerate() {
            let link = Link::lan().with_delay(millis(1 + 15 * i as u64));
            star.network.set_link(star.center, leaf, link.clone());
            star.network.set_link(leaf, star.center, link);
        }
        star.limit(Some(400_000));
        star.stream_to_all();
        star.network.run_for(secs(5));
        let shares = star.received_in(secs(20));
        println!("{shares:?}");
        let mean = shares.iter().sum::<u64>() as f64 / 8.0;
        for share in shares {
            assert!((share as f64 / mean - 1.0).abs() < 0.1, "{share} of {mean}");
        }
    }
}

#[test]
fn a_session_that_sends_little_loses_nothing_to_the_others() {
    let mut star = Star::new(6, &Link::lan().with_delay(millis(10)), Controller::Bbr, 3);
    star.limit(Some(100_000));
    star.stream(star.center, star.leaves[0]);
    star.stream(star.center, star.leaves[1]);
    let (session, flow) = star.open_flow(star.center, star.leaves[2], FlowOptions::default());
    star.network.run_for(secs(3));
    let mut late = Duration::ZERO;
    for _ in 0..100 {
        let asked = star.network.now();
        let seen = star.network[star.leaves[2]].urgent.len();
        star.network.act(star.center, |host, now| {
            let message = Bytes::from_static(&[1; 100]);
            host.endpoint.send(now, session, flow, message, MessageOptions::RELIABLE).unwrap();
        });
        star.network.run_for(millis(200));
        let arrived = star.network[star.leaves[2]].urgent[seen];
        late = late.max(arrived.since(asked));
    }
    println!("at most {late:?}");
    // One turn of each of the others, 12 ms a datagram, and the way.
    assert!(late < millis(70), "{late:?}");
}

#[test]
fn time_critical_data_goes_first() {
    let mut star = Star::new(7, &Link::lan().with_delay(millis(5)), Controller::Bbr, 6);
    // A datagram takes 60 ms.
    star.limit(Some(20_000));
    star.leaves.clone()[..5].iter().for_each(|&leaf| star.stream(star.center, leaf));
    let mut options = FlowOptions::default();
    options.time_critical = true;
    let (session, flow) = star.open_flow(star.center, star.leaves[5], options);
    star.network.run_for(secs(5));
    let mut late = Duration::ZERO;
    for _ in 0..50 {
        let asked = star.network.now();
        star.network.act(star.center, |host, now| {
            let message = Bytes::from_static(&[1; 100]);
            host.endpoint.send(now, session, flow, message, MessageOptions::RELIABLE).unwrap();
        });
        star.network.run_for(millis(331));
        let arrived = *star.network[star.leaves[5]].urgent.last().expect("arrived");
        assert!(arrived >= asked, "not arrived within 331 ms");
        late = late.max(arrived.since(asked));
    }
    println!("at most {late:?}");
    assert!(late < millis(140), "{late:?}");
}

#[test]
fn acknowledgements_and_handshakes_do_not_wait() {
    let mut star = Star::new(8, &Link::lan().with_delay(millis(20)), Controller::Bbr, 2);
    let unlimited = star.welcome("10.0.2.1:1000");
    star.limit(Some(100_000));
    star.stream(star.center, star.leaves[0]);
    // The other way there is no limit but the link's.
    let fast = Link::lan().with_delay(millis(20)).with_rate(1_000_000).with_queue(millis(40));
    star.network.set_link(star.leaves[0], star.center, fast);
    star.stream(star.leaves[0], star.center);
    star.network.run_for(secs(5));
    let before = star.network[star.center].received;
    let sent = total(&star.sent_in(secs(10))) as f64 / 1e6;
    let received = (star.network[star.center].received - before) as f64 / 1e7;
    println!("{received:.2} MB/s down, {sent:.3} MB up in 10 s");
    assert!(received > 0.8, "{received} MB/s of 1 MB/s");
    assert!((0.97..=1.03).contains(&sent), "{sent} MB");
    let took = star.welcome("10.0.2.1:1001");
    println!("a session after {took:?}, without a limit after {unlimited:?}");
    assert!(took < unlimited + millis(5), "{took:?}");
}

#[test]
fn a_limit_may_be_changed_at_any_time() {
    let mut star = Star::new(9, &Link::lan().with_delay(millis(10)), Controller::Bbr, 3);
    star.stream_to_all();
    for rate in [500_000, 50_000, 2_000_000, 100_000] {
        star.limit(Some(rate));
        let limit = star.network[star.center].endpoint.send_limit();
        assert_eq!(limit.map(Bandwidth::as_bytes_per_second), Some(rate));
        // The sessions have never seen more than the limit before, and look for more.
        star.network.run_for(secs(4));
        let ratio = total(&star.sent_in(secs(5))) as f64 / (5 * rate) as f64;
        println!("{rate} B/s: {ratio:.3}");
        assert!((0.97..=1.03).contains(&ratio), "{ratio}");
    }
    star.limit(None);
    let unlimited = total(&star.sent_in(secs(1)));
    println!("without: {unlimited} bytes in a second");
    assert!(unlimited > 5_000_000, "{unlimited}");
}

/// What the limit lets through says nothing about the path: when it is lifted, the session is as
/// fast as it was.
#[test]
fn congestion_control_does_not_take_the_limit_for_the_path() {
    for controller in CONTROLLERS {
        let link = Link::lan().with_delay(millis(25)).with_rate(1_000_000).with_queue(millis(50));
        let mut star = Star::new(10, &link, controller, 1);
        star.stream_to_all();
        star.network.run_for(secs(5));
        let free = star.received_in(secs(3))[0];
        star.limit(Some(50_000));
        star.network.run_for(secs(30));
        star.limit(None);
        star.network.run_for(secs(2));
        let again = star.received_in(secs(3))[0];
        println!("{controller}: {free} bytes before, {again} after");
        assert!(again as f64 > 0.8 * free as f64, "{again} of {free}");
    }
}
