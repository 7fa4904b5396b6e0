//! A flood of hellos for one client: it gets few of them, and those who have asked for little are
//! introduced nevertheless.
use crate::support::startup;
use crate::support::world::{SERVER, World};
use crate::support::{millis, secs};
use rtmfp::proto::crypto::{Epd, Fingerprint, KeyStyle};
use rtmfp::proto::sim::NodeId;
use rtmfp::wire::Chunk;
use rtmfp::wire::chunk::InitiatorHello;
use std::net::SocketAddr;

/// Asks the server for `wanted` as if from `from`, eight thousand times in a second, for five
/// seconds. Returns how many of the hellos were forwarded.
fn flood(world: &mut World, wanted: Fingerprint, from: impl Fn(u32) -> SocketAddr) -> u64 {
    let before = world.server_stats();
    let epd = Epd::for_fingerprint(wanted);
    for i in 0..40_000u32 {
        let tag = [&[0; 12][..], &i.to_be_bytes()].concat();
        let hello = InitiatorHello { epd: epd.as_bytes(), tag: &tag };
        let bytes = startup(0, &Chunk::InitiatorHello(hello));
        world.network.inject(from(i), SERVER.parse().unwrap(), bytes);
        if i % 80 == 79 {
            world.network.run_for(millis(10));
        }
    }
    let after = world.server_stats();
    let introductions = after.introductions - before.introductions;
    let forwarded = after.forwarded - before.forwarded;
    assert_eq!(introductions - forwarded, after.forwards_limited - before.forwards_limited);
    println!("{introductions} answered, {forwarded} forwarded");
    forwarded
}

fn target(world: &mut World) -> (NodeId, Fingerprint) {
    let target = world.add_member();
    world.wait(secs(2));
    (target, world.peer_id(target))
}

#[test]
fn hostile_hellos_from_one_host_are_forwarded_seldom() {
    let mut world = World::new(1, KeyStyle::Ephemeral);
    let (_, wanted) = target(&mut world);
    let one = "100.2.0.1:2000".parse().unwrap();
    let forwarded = flood(&mut world, wanted, |_| one);
    assert!((16..=16 + 4 * 5 + 1).contains(&forwarded), "one host: {forwarded}");
    let limited = world.server_stats().introductions_limited;
    assert!(limited >= 40_000 - 400 - 200 * 5 - 1, "answered no more than 200 a second: {limited}");
}

#[test]
fn hostile_hellos_from_everywhere_are_forwarded_within_the_budget_of_the_client() {
    let mut world = World::new(2, KeyStyle::Ephemeral);
    let (target, wanted) = target(&mut world);
    let received = |world: &World| match &world.network[target] {
        crate::support::world::Host::Member(node) => {
            let sessions: Vec<_> = node.endpoint().sessions().collect();
            sessions.iter().map(|(_, s)| s.stats().datagrams_received).sum::<u64>()
        }
        _ => unreachable!(),
    };
    let before = received(&world);
    let forwarded = flood(&mut world, wanted, |i| ([100, 3, (i >> 8) as u8, i as u8], 1).into());
    // Half of what other clients may do.
    assert!((32..=32 + 16 * 5 + 1).contains(&forwarded), "many hosts: {forwarded}");
    assert!(received(&world) - before <= forwarded + 20);
}

/// A newcomer that is asked for by the flood's target, and the other way round, meets it.
#[test]
fn honest_clients_meet_while_a_flood_goes_on() {
    let mut world = World::new(3, KeyStyle::Ephemeral);
    let (target, wanted) = target(&mut world);
    let newcomer = world.add_member();
    flood(&mut world, wanted, |i| ([100, 3, (i >> 8) as u8, i as u8], 1).into());
    let neighbor = world.peer_id(newcomer);
    let crate::support::world::Host::Member(node) = &world.network[target] else { unreachable!() };
    assert!(node.endpoint().session_with(neighbor).is_some());
}
