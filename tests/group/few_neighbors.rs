//! Members that take few neighbors.

use crate::support::net::{Answer, Net, peer, server, spec};
use rtmfp::proto::group::{GroupConfig, MIN_NEIGHBORS, ReplicationStrategy};
use std::time::Duration;

const OBJECTS: u64 = 20;

/// A group in which these members, counted from 0, have the smallest bound. The first has
/// everything, and all others want it.
fn group(members: usize, is_bounded: impl Fn(usize) -> bool) -> Net {
    let mut net = Net::new(0);
    for member in 0..members {
        let mut config = GroupConfig::new(spec(), peer(member));
        config.server = Some(server());
        if is_bounded(member) {
            config.max_neighbors = MIN_NEIGHBORS;
        }
        net.add_configured(config);
        net.nodes[member].shares = true;
        // As the server does: the newcomer and some of those before it are introduced.
        (member.saturating_sub(4)..member).for_each(|whom| net.introduce(member, whom));
        net.run_for(Duration::from_secs(2));
    }
    net.with(0, |g, now| g.replication_mut(now).add_have(0..=OBJECTS - 1)).unwrap();
    for member in 1..members {
        net.with(member, |g, now| g.replication_mut(now).add_want(0..=OBJECTS - 1)).unwrap();
    }
    net
}

fn check(mut net: Net, is_bounded: impl Fn(usize) -> bool) {
    let all =
        |net: &Net| net.nodes.iter().all(|node| node.group.replication().have().len() == OBJECTS);
    assert!(net.run_until(Duration::from_secs(600), all), "somebody lacks objects");
    net.run_for(Duration::from_secs(300));
    let counts: Vec<_> = (0..net.nodes.len()).map(|member| net.neighbors(member).len()).collect();
    println!("neighbors: {counts:?}");
    for (member, count) in counts.into_iter().enumerate() {
        assert!(count > 0, "{member} is alone");
        assert!(!is_bounded(member) || count <= MIN_NEIGHBORS, "{member} has {count}");
    }
}

#[test]
fn a_member_with_six_neighbors_takes_part() {
    for members in [4, 12, 30] {
        let is_bounded = |member| member == members - 1 || member == 1;
        check(group(members, is_bounded), is_bounded);
    }
}

#[test]
fn a_group_of_members_with_six_neighbors_works() {
    for members in [8, 14, 40] {
        check(group(members, |_| true), |_| true);
    }
}

#[test]
fn members_that_want_nothing_do_not_keep_a_newcomer_waiting() {
    let mut net = Net::new(0);
    for member in 0..MIN_NEIGHBORS + 2 {
        let mut config = GroupConfig::new(spec(), peer(member));
        config.server = Some(server());
        if member == 0 {
            config.max_neighbors = MIN_NEIGHBORS;
        }
        net.add_configured(config);
    }
    for member in 0..=MIN_NEIGHBORS {
        net.with(member, |g, now| g.replication_mut(now).add_have(0..=OBJECTS - 1)).unwrap();
    }
    (1..=MIN_NEIGHBORS).for_each(|member| net.introduce(member, 0));
    net.run_for(Duration::from_millis(1500));
    assert_eq!(net.neighbors(0).len(), MIN_NEIGHBORS);

    let newcomer = MIN_NEIGHBORS + 1;
    net.with(newcomer, |g, now| g.replication_mut(now).add_want(0..=OBJECTS - 1)).unwrap();
    net.introduce(newcomer, 0);
    net.run_for(Duration::from_millis(500));
    assert!(net.neighbors(0).contains(&newcomer));
}

#[test]
fn members_that_claim_everything_keep_nobody_from_the_provider() {
    let (provider, first, second) = (0, MIN_NEIGHBORS + 1, MIN_NEIGHBORS + 2);
    let mut net = Net::new(0);
    for member in 0..=second {
        let mut config = GroupConfig::new(spec(), peer(member));
        config.max_neighbors = MIN_NEIGHBORS;
        net.add_configured(config);
    }
    // They answer nothing.
    let claimers = 1..=MIN_NEIGHBORS;
    for member in 0..=MIN_NEIGHBORS {
        net.with(member, |g, now| g.replication_mut(now).add_have(0..=OBJECTS - 1)).unwrap();
        net.nodes[member].answer = if member == provider { Answer::Write } else { Answer::Hold };
    }
    net.nodes[provider].shares = true;
    for fetcher in [first, second] {
        net.nodes[fetcher].shares = true;
        claimers.clone().for_each(|member| net.introduce(member, fetcher));
        net.with(fetcher, |g, now| {
            let mut replication = g.replication_mut(now);
            replication.set_strategy(ReplicationStrategy::Swarm);
            replication.set_provider(Some(peer(provider)));
            replication.add_want(0..=OBJECTS - 1)
        })
        .unwrap();
    }
    net.run_for(Duration::from_millis(300));
    assert_eq!(net.neighbors(first).len(), MIN_NEIGHBORS);
    net.introduce(second, first);
    net.introduce(first, provider);
    net.introduce(second, provider);
    net.run_for(Duration::from_millis(500));
    assert!([first, second].iter().all(|&fetcher| net.neighbors(fetcher).contains(&provider)));
    net.run_for(Duration::from_secs(4));
    assert!(net.neighbors(second).contains(&first));
    let all = |net: &Net| {
        let has_all = |node: usize| net.nodes[node].group.replication().have().len() == OBJECTS;
        has_all(first) && has_all(second)
    };
    assert!(net.run_until(Duration::from_secs(10), all));
}
