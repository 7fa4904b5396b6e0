//! A group in which nothing happens keeps its neighbors: members do not part and meet again, though
//! their round-trip times vary and each draws a neighbor at random every now and then.

use crate::support::net::{Net, spec};
use crate::support::{millis, secs};
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::group::{GroupConfig, GroupEvent, MembershipRules};
use rtmfp::proto::sim::SeededRandom;
use std::time::Duration;

const MEMBERS: usize = 20;

/// A group that is there for ten minutes.
fn settled(is_observed: impl Fn(usize) -> bool, random: &mut SeededRandom) -> Net {
    let mut net = Net::new(0);
    for member in 0..MEMBERS {
        let mut id = [0; 32];
        id.fill_with(|| random.below(256) as u8);
        let mut config = GroupConfig::new(spec(), Fingerprint(id));
        if is_observed(member) {
            config.membership = MembershipRules::Observed;
        }
        net.add_configured(config);
        (member.saturating_sub(12)..member).for_each(|whom| net.introduce(member, whom));
        net.run_for(millis(500));
    }
    pass(&mut net, 120, random);
    net
}

/// Lets so many times five seconds pass. The transport reports the round-trip times.
fn pass(net: &mut Net, times: u32, random: &mut SeededRandom) {
    for _ in 0..times {
        net.run_for(secs(5));
        for node in 0..MEMBERS {
            let neighbors = net.nodes[node].group.neighbors();
            for session in neighbors.into_iter().map(|neighbor| neighbor.session) {
                let rtt = Duration::from_micros(800 + random.below(1500));
                net.with(node, |group, _| group.on_rtt(session, rtt));
            }
        }
    }
}

/// How often the members lose a neighbor in half an hour, on average.
fn partings(is_observed: impl Fn(usize) -> bool, seed: u64) -> usize {
    let mut random = SeededRandom::new(seed);
    let mut net = settled(is_observed, &mut random);
    net.nodes.iter_mut().for_each(|node| node.events.clear());
    pass(&mut net, 360, &mut random);
    let is_parting = |event: &&GroupEvent| matches!(event, GroupEvent::NeighborDisconnect { .. });
    let partings = net.nodes.iter().map(|node| node.events.iter().filter(is_parting).count());
    let partings: Vec<_> = partings.collect();
    let neighbors: Vec<_> = (0..MEMBERS).map(|node| net.neighbors(node).len()).collect();
    println!("seed {seed}: neighbors {neighbors:?}, partings {partings:?}");
    assert!(neighbors.iter().all(|count| *count >= 10));
    partings.iter().sum::<usize>().div_ceil(MEMBERS)
}

/// Each member of twenty wants about 16 others, of which one is drawn at random.
#[test]
fn twenty_members_keep_their_neighbors() {
    for seed in 1..=3 {
        let partings = partings(|_| false, seed);
        assert!(partings <= 8, "{partings} a member with seed {seed}");
    }
}

#[test]
fn members_of_the_observed_rules_are_kept_as_well() {
    let partings = partings(|member| member % 2 == 1, 1);
    assert!(partings <= 8, "{partings} a member");
}
