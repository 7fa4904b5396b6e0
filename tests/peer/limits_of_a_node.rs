//! How fast a node sends and receives, on a virtual network.

use crate::support::swarm::{Host, Swarm, group_of};
use rtmfp::peer::{Limits, LinkRate, LinkRates};
use rtmfp::proto::sim::{Link, NodeId};
use rtmfp::proto::transport::Bandwidth;
use rtmfp::vod::CHUNK_SIZE;
use std::time::Duration;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn rate(bytes: u64) -> Option<Bandwidth> {
    Some(Bandwidth::bytes_per_second(bytes))
}

fn swarm(seed: u64, size: usize) -> Swarm {
    println!("seed {seed}");
    Swarm::new(seed, Link::lan().with_delay(Duration::from_millis(10)), size, CHUNK_SIZE)
}

fn limit(swarm: &mut Swarm, node: NodeId, limits: Limits) {
    swarm.network.act(node, |host, now| host.peer_mut().node.set_limits(now, limits));
    assert_eq!(swarm.network[node].peer().node.limits(), limits);
}

/// Bytes of UDP payload received and sent so far.
fn traffic(host: &Host) -> (u64, u64) {
    let stats = host.peer().node.endpoint().stats();
    (stats.bytes_received, stats.bytes_sent)
}

/// Bytes that a node receives in so much time.
fn received_in(swarm: &mut Swarm, node: NodeId, time: Duration) -> u64 {
    let before = traffic(&swarm.network[node]).0;
    swarm.network.run_for(time);
    traffic(&swarm.network[node]).0 - before
}

#[test]
fn ten_seconds_of_a_download_are_within_three_percent_of_the_limit() {
    for (seed, limited) in [(1, 200_000), (2, 500_000), (4, 2_000_000)] {
        let mut swarm = swarm(seed, limited as usize * 16);
        let receiver = swarm.add_receiver();
        limit(&mut swarm, receiver, Limits::default().with_down(rate(limited)));
        swarm.network.run_for(secs(4));
        let ratio = received_in(&mut swarm, receiver, secs(10)) as f64 / (10 * limited) as f64;
        println!("{limited} B/s: {ratio:.4} of it");
        assert!((0.97..=1.03).contains(&ratio), "{limited} B/s: {ratio}");
        assert!(swarm.run(), "not complete");
        swarm.check_copies();
        swarm.check_nothing_leaks();
    }
}

#[test]
fn a_slow_download_completes() {
    let mut swarm = swarm(5, 1 << 20);
    let receiver = swarm.add_receiver();
    limit(&mut swarm, receiver, Limits::default().with_down(rate(20_000)));
    let start = swarm.network.now();
    assert!(swarm.run(), "not complete");
    let time = swarm.network.now().since(start).as_secs_f64();
    println!("{time:.1} s for 1 MiB at 20 KB/s");
    // 52.4 s at that rate; the first chunk may come at once, which are 3.3 s of it.
    assert!((49.0..=60.0).contains(&time), "{time}");
    swarm.check_copies();
    swarm.check_nothing_leaks();
}

/// The descriptor, which is small, does not make the chunks after it seem so.
#[test]
fn a_slow_download_asks_for_few_chunks_at_once_from_the_beginning() {
    let mut swarm = swarm(15, 1 << 20);
    let receiver = swarm.add_receiver();
    limit(&mut swarm, receiver, Limits::default().with_down(rate(20_000)));
    let mut most = 0;
    for _ in 0..500 {
        swarm.network.run_for(Duration::from_millis(20));
        let neighbors = group_of(swarm.network[receiver].peer()).neighbors();
        most = most.max(neighbors.iter().map(|neighbor| neighbor.trade.in_flight).sum());
    }
    println!("{most} at once");
    assert!((1..=2).contains(&most), "{most}");
}

/// Members that cannot send as fast as the limit are asked side by side.
#[test]
fn slow_members_together_fill_the_limit() {
    let mut swarm = swarm(6, 12 << 20);
    let others: Vec<_> = (0..4).map(|_| swarm.add_receiver()).collect();
    assert!(swarm.run(), "not complete");
    let everybody = others.into_iter().chain([swarm.provider]).collect::<Vec<_>>();
    for node in everybody {
        limit(&mut swarm, node, Limits::default().with_up(rate(150_000)));
    }
    let receiver = swarm.add_receiver();
    limit(&mut swarm, receiver, Limits::default().with_down(rate(500_000)));
    swarm.network.run_for(secs(5));
    let ratio = received_in(&mut swarm, receiver, secs(15)) as f64 / 7.5e6;
    println!("{ratio:.3} of 500 KB/s from five with 150 KB/s each");
    assert!((0.8..=1.03).contains(&ratio), "{ratio}");
}

#[test]
fn limits_change_while_a_file_is_on_its_way() {
    let mut swarm = swarm(8, 32 << 20);
    let receiver = swarm.add_receiver();
    for limited in [300_000, 1_500_000, 500_000] {
        limit(&mut swarm, receiver, Limits::default().with_down(rate(limited)));
        swarm.network.run_for(secs(3));
        let ratio = received_in(&mut swarm, receiver, secs(5)) as f64 / (5 * limited) as f64;
        println!("{limited} B/s: {ratio:.3} of it");
        assert!((0.95..=1.05).contains(&ratio), "{limited} B/s: {ratio}");
    }
    limit(&mut swarm, receiver, Limits::default());
    let start = swarm.network.now();
    assert!(swarm.run(), "not complete");
    assert!(swarm.network.now().since(start) < secs(15));
    swarm.check_copies();
}

#[test]
fn a_provider_with_a_limit_serves_everybody_and_no_faster() {
    let mut swarm = swarm(9, 4 << 20);
    let provider = swarm.provider;
    limit(&mut swarm, provider, Limits::default().with_up(rate(500_000)));
    for _ in 0..3 {
        swarm.add_receiver();
    }
    let (start, before) = (swarm.network.now(), traffic(&swarm.network[provider]).1);
    assert!(swarm.run(), "not complete");
    swarm.check_copies();
    let time = swarm.network.now().since(start).as_secs_f64();
    let sent = (traffic(&swarm.network[provider]).1 - before) as f64;
    let objects = group_of(swarm.network[provider].peer()).stats().replication.bytes_sent;
    println!("{sent} bytes, {objects} of them objects, in {time:.1} s");
    assert!(sent <= 500_000.0 * time * 1.03, "{sent} in {time}");
    assert!(time < 4.2e6 * 1.3 / 500_000.0 + 3.0, "{time}");
}

#[test]
fn a_metered_receiver_gets_the_file_and_serves_nobody() {
    let mut swarm = swarm(12, 1 << 20);
    let metered = swarm.add_metered_receiver();
    assert!(swarm.run(), "not complete");
    swarm.check_copies();
    let provider = swarm.provider;
    swarm.network.act(provider, |host, now| host.peer_mut().node.shut_down(now));
    let other = swarm.add_receiver();
    swarm.network.run_for(secs(120));
    let neighbors = |node: NodeId| group_of(swarm.network[node].peer()).stats().neighbors;
    assert_eq!((neighbors(metered), neighbors(other)), (1, 1), "they know each other");
    assert!(!swarm.network[other].is_complete());
    assert_eq!(swarm.uploaded(metered), 0);
    let replication = group_of(swarm.network[metered].peer()).replication();
    assert!(replication.have().is_empty());
}

/// Slow requests spread among the fetchers as fast ones do.
#[test]
fn receivers_with_limits_trade() {
    let mut swarm = swarm(13, 4 << 20);
    for _ in 0..4 {
        let receiver = swarm.add_receiver();
        limit(&mut swarm, receiver, Limits::default().with_down(rate(300_000)));
    }
    let start = swarm.network.now();
    assert!(swarm.run(), "not complete");
    let time = swarm.network.now().since(start).as_secs_f64();
    let uploaded = swarm.uploaded(swarm.provider) as f64 / swarm.file.len() as f64;
    println!("{time:.1} s, the provider uploaded {uploaded:.2} files");
    assert!(uploaded <= 2.0, "{uploaded}");
    // 4 MiB and headers at 300 KB/s.
    assert!((13.0..20.0).contains(&time), "{time}");
}

/// What a member sends to another does not keep its requests to that one waiting.
#[test]
fn receivers_with_slow_uplinks_still_fetch() {
    let mut swarm = swarm(14, 4 << 20);
    for _ in 0..3 {
        let receiver = swarm.add_receiver();
        limit(&mut swarm, receiver, Limits::default().with_up(rate(60_000)));
    }
    let start = swarm.network.now();
    assert!(swarm.run(), "not complete");
    let time = swarm.network.now().since(start).as_secs_f64();
    let uploaded = swarm.uploaded(swarm.provider) as f64 / swarm.file.len() as f64;
    println!("{time:.1} s, the provider uploaded {uploaded:.2} files");
    // Two thirds of each copy come from the others, 46 s at the limit.
    assert!(time < 75.0, "{time}");
}

/// Members that a node serves now.
fn served(swarm: &Swarm, node: NodeId) -> usize {
    let neighbors = group_of(swarm.network[node].peer()).neighbors();
    neighbors.iter().filter(|neighbor| neighbor.trade.served).count()
}

#[test]
fn a_remembered_uplink_serves_few_at_first_and_binds_nobody() {
    println!("seed 6");
    let link = Link::lan().with_delay(Duration::from_millis(10)).with_rate(500_000);
    let mut swarm = Swarm::new(6, link, 8 << 20, CHUNK_SIZE);
    let (provider, remembered) = (swarm.provider, Bandwidth::bytes_per_second(10_000));
    let up = Some(LinkRate { rate: remembered, is_full: true });
    let links = LinkRates { up, down: None };
    swarm.network.act(provider, |host, now| host.peer_mut().node.remember_links(now, links));
    assert_eq!(swarm.network[provider].peer().node.endpoint().uplink(), up);
    (0..8).for_each(|_| {
        swarm.add_receiver();
    });
    swarm.network.run_for(secs(1));
    assert_eq!(served(&swarm, provider), 2);
    // It carries a hundred times as much.
    swarm.network.run_for(secs(5));
    assert_eq!(served(&swarm, provider), 8);
    let found = swarm.network[provider].peer().node.endpoint().uplink().expect("it is used");
    assert!(found.rate.as_bytes_per_second() > 500_000, "{found:?}");
    assert!(swarm.run(), "not complete");
    swarm.check_copies();
    swarm.check_nothing_leaks();
}

#[test]
fn a_limit_of_what_is_sent_serves_few() {
    let mut swarm = swarm(7, 2 << 20);
    let provider = swarm.provider;
    limit(&mut swarm, provider, Limits::default().with_up(rate(50_000)));
    (0..6).for_each(|_| {
        swarm.add_receiver();
    });
    swarm.network.run_for(secs(3));
    assert_eq!(served(&swarm, provider), 3, "an object each in four seconds");
    limit(&mut swarm, provider, Limits::default());
    swarm.network.run_for(secs(1));
    assert_eq!(served(&swarm, provider), 6);
    assert!(swarm.run(), "not complete");
    swarm.check_copies();
}
