//! Members of local networks: what one of them has brought in, the others take from it.

use crate::support::for_seeds;
use crate::support::net::{Answer, Net, object, server, spec};
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::{GroupConfig, ReplicationStrategy};
use rtmfp::proto::transport::Time;
use std::time::Duration;

const CHUNKS: u64 = 256;
const SIZE: usize = 64 * 1024;
const FILE: f64 = (CHUNKS * SIZE as u64) as f64;
const NETWORKS: usize = 4;
const EACH: usize = 5;
const HOUR: Duration = Duration::from_secs(3600);

/// Bytes a second of so many megabits.
fn mbit(megabits: f64) -> u64 {
    (megabits * 1e6 / 8.0) as u64
}

fn peer(seed: u64, node: usize) -> Fingerprint {
    let mut bytes = [node as u8 + 1; 32];
    bytes[..8].copy_from_slice(
        &(seed * 1000 + node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(),
    );
    Fingerprint(bytes)
}

/// The network of a receiver, which are counted from 1.
fn network(node: usize) -> usize {
    (node - 1) % NETWORKS
}

/// A provider with 10 Mbit/s up, and four networks of five receivers, each of which has a fifth of
/// its network's 5 Mbit/s. They know that they are near, or not.
fn swarm(seed: u64, knows: bool) -> Net {
    let mut net = Net::new(0);
    for node in 0..=NETWORKS * EACH {
        let mut config = GroupConfig::new(spec(), peer(seed, node));
        config.server = Some(server());
        net.add_configured(config);
        let this = &mut net.nodes[node];
        (this.object_size, this.shares, this.is_light) = (SIZE, true, true);
        this.uplink = if node == 0 { mbit(10.0) } else { mbit(5.0 / EACH as f64) };
        if node > 0 && knows {
            net.join_network(node, network(node));
        }
    }
    net.with(0, |g, now| g.replication_mut(now).add_have(0..=CHUNKS - 1)).unwrap();
    net
}

fn start(net: &mut Net, seed: u64) {
    for node in 1..=NETWORKS * EACH {
        (0..node).for_each(|other| net.introduce(node, other));
        net.with(node, |group, now| {
            let mut replication = group.replication_mut(now);
            replication.set_provider(Some(peer(seed, 0)));
            replication.set_strategy(ReplicationStrategy::Swarm);
            replication.add_want(0..=CHUNKS - 1)
        })
        .unwrap();
    }
}

/// All play the file from its beginning, and read what is there.
fn play(net: &mut Net, seed: u64, rate: Option<u64>) {
    for node in 1..=NETWORKS * EACH {
        net.with(node, |g, now| g.replication_mut(now).set_play_rate(rate));
    }
    while !is_complete(net) {
        assert!(net.now < Time::ZERO + HOUR, "seed {seed}: not complete");
        net.run_for(Duration::from_millis(100));
        for node in 1..=NETWORKS * EACH {
            net.with(node, |group, now| {
                let next: Vec<u64> = group.replication().want().first().into_iter().collect();
                group.replication_mut(now).set_playheads(&next);
            });
        }
    }
}

fn is_complete(net: &Net) -> bool {
    net.nodes[1..].iter().all(|node| node.group.replication().want().is_empty())
}

/// Runs until all are complete. Returns the copies over each network's line, and the seconds.
fn run(net: &mut Net, seed: u64) -> (Vec<f64>, f64) {
    start(net, seed);
    assert!(net.run_until(HOUR, is_complete), "seed {seed}: not complete");
    // An object takes its size only on the links.
    let all: usize = (0..CHUNKS).map(|index| object(index, 0).len()).sum();
    let mut copies = vec![0.0; NETWORKS];
    for node in 1..=NETWORKS * EACH {
        let stats = net.nodes[node].group.replication().stats();
        let across = stats.bytes_received - stats.bytes_received_locally;
        copies[network(node)] += across as f64 / all as f64;
    }
    (copies, net.now.since(Time::ZERO).as_secs_f64())
}

/// The start-up after which a receiver plays at this rate without waiting, in seconds.
fn startup(net: &Net, node: usize, rate: u64) -> f64 {
    let each = SIZE as f64 / rate as f64;
    let arrivals = net.nodes[node].arrivals.iter();
    let late =
        arrivals.map(|(at, index)| at.since(Time::ZERO).as_secs_f64() - *index as f64 * each);
    late.fold(0.0, f64::max)
}

/// That of the receiver for which it is the longest, at 2 Mbit/s.
fn longest_startup(net: &Net) -> f64 {
    (1..=NETWORKS * EACH).map(|node| startup(net, node, mbit(2.0))).fold(0.0, f64::max)
}

#[test]
fn a_network_brings_in_little_more_than_one_copy() {
    for_seeds(1, |seed| {
        let mut net = swarm(seed, true);
        let (copies, seconds) = run(&mut net, seed);
        let startup = longest_startup(&net);
        println!(
            "seed {seed}: {copies:.2?} copies over the lines, {seconds:.1} s, start-up {startup:.1} s"
        );
        assert!(copies.iter().all(|copies| *copies <= 1.3), "seed {seed}: {copies:.2?}");
        // The provider, and four lines with half its uplink.
        let least = NETWORKS as f64 * FILE / (mbit(10.0) + NETWORKS as u64 * mbit(5.0)) as f64;
        assert!(seconds < 1.8 * least, "seed {seed}: {seconds:.1} s, least {least:.1} s");
        assert!(startup < 20.0, "seed {seed}: {startup:.1} s");
    });
}

#[test]
fn what_is_played_next_comes_sooner() {
    // An object takes its size only on the links.
    let each = object(100, 0).len() as f64 / SIZE as f64;
    let rate = (mbit(2.0) as f64 * each) as u64;
    let startup = |seed, rate| {
        let mut net = swarm(seed, true);
        start(&mut net, seed);
        play(&mut net, seed, rate);
        longest_startup(&net)
    };
    let (known, unknown) = (startup(3, Some(rate)), startup(3, None));
    println!("start-up {known:.1} s, without a rate {unknown:.1} s");
    assert!(known < 0.85 * unknown, "{known:.1} s, without a rate {unknown:.1} s");
}

#[test]
fn without_knowing_who_is_near_everybody_brings_in_a_copy() {
    let (copies, seconds) = run(&mut swarm(1, false), 1);
    println!("{copies:.2?} copies, {seconds:.1} s");
    assert!(copies.iter().all(|copies| *copies > 4.0), "{copies:.2?}");
}

#[test]
fn nobody_waits_for_a_neighbor_that_brings_in_and_gives_nothing() {
    for_seeds(1, |seed| {
        let mut net = swarm(seed, true);
        // The first of each network has the best rank for a fifth of all, and answers nobody.
        (1..=NETWORKS).for_each(|node| net.nodes[node].answer = Answer::Hold);
        let (copies, seconds) = run(&mut net, seed);
        println!("seed {seed}: {copies:.2?} copies over the lines, {seconds:.1} s");
        assert!(seconds < 60.0, "seed {seed}: {seconds:.1} s");
    });
}

/// Seconds until the next eight objects are there, when one of two far holders no longer answers.
fn without_one_holder(has_local_others: bool, rate: Option<u64>) -> f64 {
    let mut net = Net::new(4);
    net.nodes.iter_mut().for_each(|node| (node.object_size, node.uplink) = (SIZE, mbit(40.0)));
    for node in 2..4 {
        net.with(node, |g, now| g.replication_mut(now).add_have(0..=CHUNKS - 1)).unwrap();
    }
    if has_local_others {
        (0..2).for_each(|node| net.join_network(node, 1));
    }
    net.introduce_all();
    net.with(0, |group, now| {
        let mut replication = group.replication_mut(now);
        replication.set_strategy(ReplicationStrategy::Swarm);
        replication.set_play_rate(rate);
        replication.add_want(0..=63)
    })
    .unwrap();
    let is_complete = |net: &Net| net.nodes[0].group.replication().want().is_empty();
    assert!(net.run_until(HOUR, is_complete));
    net.nodes[2].answer = Answer::Hold;
    let start = net.now;
    net.with(0, |group, now| {
        group.replication_mut(now).set_playheads(&[64]);
        group.replication_mut(now).add_want(64..=71)
    })
    .unwrap();
    assert!(net.run_until(HOUR, is_complete));
    assert!(!net.nodes[2].held.is_empty(), "it was not asked");
    net.now.since(start).as_secs_f64()
}

/// What crosses the line is not asked for twice as soon as elsewhere, unless it is played next.
#[test]
fn late_objects_are_asked_for_again_when_all_may_wait_for_them() {
    let rate = Some(4 * SIZE as u64);
    let elsewhere = without_one_holder(false, None);
    let (across, played) = (without_one_holder(true, None), without_one_holder(true, rate));
    println!("{elsewhere:.2} s, across the line {across:.2} s, played next {played:.2} s");
    assert!((1.0..1.5).contains(&elsewhere), "{elsewhere:.2} s");
    assert!((2.0..2.5).contains(&across), "{across:.2} s");
    assert!((1.0..1.5).contains(&played), "{played:.2} s");
}
