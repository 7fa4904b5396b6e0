//! Objects spread among members with little upload.

use crate::support::net::{Answer, Net};
use rtmfp::proto::group::ReplicationStrategy;
use std::time::Duration;

const CHUNKS: u64 = 200;
const SIZE: usize = 64 * 1024;

/// A provider and four receivers that start together. Returns the provider's upload in files and the
/// time taken.
fn swarm(strategy: ReplicationStrategy, uplink: u64, latency: Duration) -> (f64, Duration) {
    let mut net = Net::new(5);
    net.latency = latency;
    net.with(0, |g, now| g.replication_mut(now).add_have(0..=CHUNKS - 1)).unwrap();
    for node in &mut net.nodes {
        (node.uplink, node.object_size, node.shares) = (uplink, SIZE, true);
    }
    net.introduce_all();
    let start = net.now;
    for node in 1..5 {
        net.with(node, |g, now| g.replication_mut(now).set_strategy(strategy));
        net.with(node, |g, now| g.replication_mut(now).add_want(0..=CHUNKS - 1)).unwrap();
    }
    let all = |net: &Net| (1..5).all(|n| net.nodes[n].group.replication().want().is_empty());
    assert!(net.run_until(Duration::from_secs(3600), all), "{strategy:?} does not finish");
    for node in 1..5 {
        assert_eq!(net.fetched(node).len() as u64, CHUNKS);
        assert_eq!(net.nodes[node].group.stats().replication.duplicates, 0);
    }
    let sent = net.nodes[0].group.stats().replication.objects_sent;
    (sent as f64 / CHUNKS as f64, net.now.since(start))
}

#[test]
fn receivers_that_start_together_trade() {
    for (uplink, latency) in
        [(1_000_000, 10), (1_000_000, 100), (10_000_000, 5), (100_000, 50), (100_000_000, 1)]
    {
        let spread = ReplicationStrategy::RarestFirstSpread;
        let (files, time) = swarm(spread, uplink, Duration::from_millis(latency));
        println!("{uplink} B/s, {latency} ms: {files:.2} files in {time:?}");
        assert!(files <= 2.0, "{uplink} B/s, {latency} ms: the provider sent {files:.2} files");
        // Four copies through five equal uplinks cannot take less than 0.8 files' time, one copy from
        // the provider not less than one.
        let ideal = CHUNKS as f64 * SIZE as f64 / uplink as f64 + latency as f64 / 1000.0;
        assert!(time.as_secs_f64() < 2.0 * ideal + 0.5, "{time:?} instead of {ideal:.1} s");
    }
}

#[test]
fn the_strategies_of_flash_finish_too() {
    for strategy in [ReplicationStrategy::LowestFirst, ReplicationStrategy::RarestFirst] {
        let (files, time) = swarm(strategy, 10_000_000, Duration::from_millis(5));
        println!("{strategy:?}: {files:.2} files in {time:?}");
        assert!(files <= 4.0);
    }
}

#[test]
fn one_receiver_fills_a_long_fat_path() {
    let mut net = Net::new(2);
    net.latency = Duration::from_millis(50);
    net.nodes[0].uplink = 10_000_000;
    net.nodes[0].object_size = SIZE;
    net.with(0, |g, now| g.replication_mut(now).add_have(0..=399)).unwrap();
    net.introduce_all();
    let start = net.now;
    net.with(1, |g, now| g.replication_mut(now).add_want(0..=399)).unwrap();
    let all = |net: &Net| net.nodes[1].group.replication().want().is_empty();
    assert!(net.run_until(Duration::from_secs(60), all));
    let time = net.now.since(start).as_secs_f64();
    // 2.6 s of transmission; four in flight would take 100 rounds of 126 ms.
    assert!(time < 3.5, "{time}");
}

/// A provider, two receivers that trade, and members that take part without being of any use.
/// Returns the time until both receivers have everything.
fn with_useless(silent: usize, idle: usize) -> Option<Duration> {
    let mut net = Net::new(3 + silent + idle);
    let (silent, idle) = (3..3 + silent, 3 + silent..3 + silent + idle);
    for node in &mut net.nodes {
        (node.uplink, node.object_size, node.shares) = (1_000_000, SIZE, true);
    }
    net.with(0, |g, now| g.replication_mut(now).add_have(0..=CHUNKS - 1)).unwrap();
    for node in silent {
        net.nodes[node].answer = Answer::Hold;
        net.with(node, |g, now| g.replication_mut(now).add_have(0..=CHUNKS - 1)).unwrap();
    }
    net.introduce_all();
    let start = net.now;
    for node in (1..3).chain(idle.clone()) {
        let spread = ReplicationStrategy::RarestFirstSpread;
        net.with(node, |g, now| g.replication_mut(now).set_strategy(spread));
        net.with(node, |g, now| g.replication_mut(now).add_want(0..=CHUNKS - 1)).unwrap();
    }
    // They have announced that they have nothing, and send nothing from now on.
    idle.for_each(|node| net.nodes[node].uplink = 1);
    let all = |net: &Net| (1..3).all(|n| net.nodes[n].group.replication().want().is_empty());
    net.run_until(Duration::from_secs(3600), all).then(|| net.now.since(start))
}

#[test]
fn members_that_are_of_no_use_do_not_stop_the_others() {
    let alone = with_useless(0, 0).unwrap();
    for (silent, idle) in [(1, 0), (0, 1), (1, 1), (2, 2), (10, 3), (30, 0)] {
        let time = with_useless(silent, idle);
        println!("{silent} silent, {idle} idle: {time:?} instead of {alone:?}");
        let time = time.expect("the receivers finish");
        assert!(time < 2 * alone + Duration::from_secs(10), "{time:?} instead of {alone:?}");
    }
}
