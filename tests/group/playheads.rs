//! A jump within a file that is being fetched.

use crate::support::net::{Net, peer, server, spec};
use rtmfp::proto::group::{GroupConfig, ReplicationStrategy};
use rtmfp::proto::transport::Time;
use std::time::Duration;

const CHUNKS: u64 = 512;
const SIZE: usize = 64 * 1024;
const RECEIVERS: usize = 10;
const HOUR: Duration = Duration::from_secs(3600);
/// The objects of a jump to 80 %, at a tenth of the way.
const PROGRESS: u64 = CHUNKS / 10;
const JUMP: u64 = CHUNKS * 8 / 10;

/// Bytes a second of so many megabits.
fn mbit(megabits: f64) -> u64 {
    (megabits * 1e6 / 8.0) as u64
}

/// A provider and ten receivers with half its uplink.
fn swarm() -> Net {
    let mut net = Net::new(0);
    for node in 0..=RECEIVERS {
        let mut config = GroupConfig::new(spec(), peer(node));
        config.server = Some(server());
        net.add_configured(config);
        let this = &mut net.nodes[node];
        (this.object_size, this.shares, this.is_light) = (SIZE, true, true);
        this.downlink = mbit(20.0);
        this.uplink = if node == 0 { mbit(10.0) } else { mbit(5.0) };
    }
    net.with(0, |g, now| g.replication_mut(now).add_have(0..=CHUNKS - 1)).unwrap();
    for node in 1..=RECEIVERS {
        (0..node).for_each(|other| net.introduce(node, other));
        net.with(node, |group, now| {
            let mut replication = group.replication_mut(now);
            replication.set_provider(Some(peer(0)));
            replication.set_strategy(ReplicationStrategy::Swarm);
            replication.add_want(0..=CHUNKS - 1)
        })
        .unwrap();
    }
    net
}

fn is_complete(net: &Net) -> bool {
    (1..=RECEIVERS).all(|n| net.nodes[n].group.replication().want().is_empty())
}

fn held(net: &Net, node: usize) -> u64 {
    net.nodes[node].group.replication().have().len()
}

/// Plays on from a jump until the end at a rate in bytes a second. Returns how long the first object
/// took, how long was waited in all, and when all copies were complete.
fn jump_and_play(net: &mut Net, rate: u64) -> (f64, f64, f64) {
    // It plays from the beginning.
    net.with(1, |g, now| g.replication_mut(now).set_playheads(&[0]));
    assert!(net.run_until(HOUR, |net| held(net, 1) >= PROGRESS));
    let each = Duration::from_secs_f64(SIZE as f64 / rate as f64);
    let (jumped, mut first, mut waited) = (net.now, 0.0, 0.0);
    let mut due = net.now;
    for index in JUMP..CHUNKS {
        net.with(1, |g, now| g.replication_mut(now).set_playheads(&[index]));
        let has = |net: &Net| net.nodes[1].group.replication().have().contains(index);
        assert!(net.run_until(HOUR, has));
        if index == JUMP {
            first = net.now.since(jumped).as_secs_f64();
        }
        waited += net.now.since(due).as_secs_f64();
        due = due.max(net.now) + each;
        net.run_for(due.since(net.now));
    }
    net.with(1, |g, now| g.replication_mut(now).set_playheads(&[]));
    net.run_until(HOUR, is_complete);
    let ends = (1..=RECEIVERS).filter_map(|n| net.nodes[n].arrivals.last());
    let end = ends.map(|(at, _)| at.since(Time::ZERO).as_secs_f64()).fold(0.0, f64::max);
    (first, waited, end)
}

#[test]
fn a_jump_is_played_at_once() {
    let mut net = swarm();
    assert!(net.run_until(HOUR, is_complete));
    let alone = net.now.since(Time::ZERO).as_secs_f64();
    check_a_jump(&mut swarm(), alone);
    // The rate is known, so that less is asked for first.
    let mut net = swarm();
    net.with(1, |g, now| g.replication_mut(now).set_play_rate(Some(mbit(2.5))));
    check_a_jump(&mut net, alone);
}

/// A jump costs a receiver little waiting, and the others nothing; without it, all are complete after
/// `alone`.
fn check_a_jump(net: &mut Net, alone: f64) {
    let (first, waited, end) = jump_and_play(net, mbit(2.5));
    println!("{first:.2} s, in all {waited:.2} s, everybody complete {end:.1} s ({alone:.1} s)");
    // The receiver's share of the provider's uplink, 1 Mbit/s, carries an object in half a second,
    // and one was requested before; with a second one it would wait for 1.4 s. It alone would make
    // it wait for 30 s.
    assert!(first < 1.2, "{first:.2} s until the first object");
    assert!(waited < 5.0, "{waited:.2} s of waiting");
    assert!(end < 1.05 * alone, "{end:.1} s instead of {alone:.1} s");
}
