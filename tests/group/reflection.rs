//! Nobody can make others send much to somebody: for every way to name an address, at most three
//! bytes reach it for each that the attackers have sent.
//!
//! The attackers know the protocol, and repeat what helps them for as long as they like. Honest
//! members are this crate's, with groups that look for members for ever.

use crate::support::startup;
use crate::support::world::{SERVER, World, hello, victims};
use crate::support::{millis, secs};
use rand_core::Rng;
use rtmfp::proto::crypto::{Epd, Fingerprint, KeyStyle};
use rtmfp::proto::group::message::{Record, Report};
use rtmfp::proto::sim::{NodeId, SeededRandom, Tapped};
use rtmfp::proto::transport::{IntroductionRequest, Path};
use rtmfp::wire::chunk::{InitiatorHello, Redirect, ResponderHello};
use rtmfp::wire::{Address, Chunk, Origin};
use std::net::SocketAddr;

const BOTH: [KeyStyle; 2] = [KeyStyle::Ephemeral, KeyStyle::Static];

fn origin(addresses: &[SocketAddr]) -> Vec<Address> {
    addresses.iter().map(|&socket| Address::new(socket, Origin::Reflexive)).collect()
}

/// Members join at once.
fn crowd(world: &mut World, members: usize) {
    for _ in 0..members {
        world.add_member();
    }
}

/// Members join one after the other while an attack goes on.
fn arrive(world: &mut World, members: usize) {
    for _ in 0..members {
        world.add_member();
        world.wait(millis(500));
    }
}

/// Clients report the victim's addresses to the server, which sends them to whoever requests them.
#[test]
fn addresses_reported_to_the_server() {
    for (seed, attackers, members, rounds) in [(1, 12, 3, 6), (2, 1, 40, 4), (3, 20, 20, 1)] {
        let mut world = World::new(seed, KeyStyle::Ephemeral);
        world.be_frugal();
        for _ in 0..attackers {
            world.add_attacker(&victims(16));
        }
        world.wait(secs(2));
        arrive(&mut world, members);
        for _ in 0..rounds {
            world.wait(secs(100));
            world.check_effect("reported to the server");
        }
    }
}

/// The same with other networks: private addresses, a network of IPv6, many hosts of one network.
#[test]
fn addresses_of_every_class_reported_to_the_server() {
    let classes: [fn(u16) -> SocketAddr; 4] = [
        |i| SocketAddr::from(([192, 168, 1, 1], 4000 + i)),
        |i| SocketAddr::from(([10, 1, 2, 1 + i as u8], 4000)),
        |i| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, i], 4000)),
        |i| SocketAddr::from(([192, 0, 2, 1 + i as u8], 4000)),
    ];
    for (seed, class) in classes.iter().enumerate() {
        let mut world = World::new(seed as u64, KeyStyle::Ephemeral);
        world.be_frugal();
        let victims: Vec<SocketAddr> = (0..16).map(class).collect();
        world.victims = victims.iter().map(SocketAddr::ip).collect();
        for _ in 0..4 {
            world.add_attacker(&victims);
        }
        world.wait(secs(2));
        arrive(&mut world, 12);
        world.wait(secs(200));
        world.check("classes of addresses");
    }
}

/// Clients report new addresses all the time.
#[test]
fn addresses_reported_again_and_again() {
    let mut world = World::new(4, KeyStyle::Ephemeral);
    world.be_frugal();
    let attackers: Vec<NodeId> = (0..4).map(|_| world.add_attacker(&victims(16))).collect();
    world.wait(secs(2));
    for round in 0..20u16 {
        world.add_member();
        for &attacker in &attackers {
            let new: Vec<SocketAddr> = (0..16)
                .map(|i| SocketAddr::from((crate::support::world::VICTIM, 5000 + 16 * round + i)))
                .collect();
            world.network.act(attacker, |host, now| host.node().set_addresses(now, new));
        }
        world.wait(secs(10));
    }
    world.check_effect("reported again and again");
}

/// Where an attacker is that members ask for, and its certificate.
struct Asked {
    address: SocketAddr,
    peer: Fingerprint,
    certificate: Vec<u8>,
}

/// Attackers that have joined the group and then do nothing but what the test does for them.
fn asked(world: &mut World, attackers: usize) -> Vec<Asked> {
    let ids: Vec<NodeId> = (0..attackers).map(|_| world.add_attacker(&[])).collect();
    world.wait(secs(2));
    let asked = |id: NodeId| {
        let address = world.network.address(id);
        let node = world.network.remove(id).unwrap().into_node();
        let certificate = node.endpoint().identity().certificate().as_bytes().to_vec();
        Asked { address, peer: node.peer_id(), certificate }
    };
    ids.into_iter().map(asked).collect()
}

/// A redirect from whom the hello in `datagram` asks, `repeat` times.
fn redirect(world: &mut World, datagram: &Tapped, to: &[Address], repeat: usize) {
    let Some((tag, _)) = hello(datagram) else { return };
    for _ in 0..repeat {
        let mut scratch = Vec::new();
        let redirect = Redirect::new(&tag, to, &mut scratch);
        world.inject(datagram.to, datagram.from, startup(0, &Chunk::Redirect(redirect)));
    }
}

/// Whoever is asked answers with redirects to the victim.
#[test]
fn redirects_by_those_who_are_asked() {
    for (seed, count, repeat) in [(5, 1, 1), (6, 8, 1), (7, 24, 1), (8, 2, 5)] {
        let mut world = World::new(seed, KeyStyle::Ephemeral);
        let asked = asked(&mut world, 4);
        crowd(&mut world, 10);
        world.run(secs(300), |world, datagram| {
            if asked.iter().any(|attacker| attacker.address == datagram.to) {
                redirect(world, datagram, &origin(&victims(count)), repeat);
            }
        });
        world.check_effect("redirects");
    }
}

/// The server itself is hostile: it introduces members that never answer, and redirects to the
/// victim.
#[test]
fn redirects_by_the_server() {
    for (seed, count, repeat) in [(9, 4, 1), (10, 24, 3)] {
        let mut world = World::new(seed, KeyStyle::Ephemeral);
        world.corrupt_server();
        asked(&mut world, 12);
        crowd(&mut world, 10);
        let server: SocketAddr = SERVER.parse().unwrap();
        world.run(secs(300), |world, datagram| {
            if datagram.to == server && hello(datagram).is_some_and(|(_, peer)| peer.is_some()) {
                redirect(world, datagram, &origin(&victims(count)), repeat);
            }
        });
        world.check_effect("a hostile server");
    }
}

/// Whoever is asked answers as if from the victim's address.
#[test]
fn answers_to_hellos_with_a_forged_source() {
    for (seed, repeat) in [(11, 1), (12, 20)] {
        let mut world = World::new(seed, KeyStyle::Ephemeral);
        let asked = asked(&mut world, 4);
        crowd(&mut world, 10);
        world.run(secs(300), |world, datagram| {
            let Some((tag, wanted)) = hello(datagram) else { return };
            let by = asked.iter().find(|a| a.address == datagram.to && Some(a.peer) == wanted);
            let Some(Asked { certificate, .. }) = by else { return };
            let answer = ResponderHello { tag_echo: &tag, cookie: &[], certificate };
            for i in 0..repeat {
                let bytes = startup(0, &Chunk::ResponderHello(answer));
                world.inject(victims(repeat)[usize::from(i)], datagram.from, bytes);
            }
        });
        world.check_effect("forged answers");
    }
}

/// Sends hellos for every member to the server, as if from these addresses.
fn forge_hellos(world: &mut World, from: &[SocketAddr], mut check: impl FnMut(&World)) {
    let members: Vec<_> = world.members.iter().map(|&id| world.peer_id(id)).collect();
    let server = SERVER.parse().unwrap();
    world.count_anew();
    for round in 0..400u16 {
        for (i, &member) in members.iter().enumerate() {
            let epd = Epd::for_fingerprint(member);
            let hello = InitiatorHello { epd: epd.as_bytes(), tag: &round.to_be_bytes() };
            let from = from[(usize::from(round) + i) % from.len()];
            world.inject(from, server, startup(0, &Chunk::InitiatorHello(hello)));
        }
        world.wait(millis(500));
        check(world);
    }
}

/// Hellos to the server, as if from the victim: redirects come back, and answers of those to whom
/// they are forwarded.
#[test]
fn hellos_to_the_server_with_a_forged_source() {
    for (seed, keys) in (13..).zip(BOTH) {
        let mut world = World::new(seed, keys);
        arrive(&mut world, 20);
        world.add_client_at_the_victims_host();
        world.wait(secs(5));
        forge_hellos(&mut world, &victims(8), World::check_ratio);
        world.check_effect("forged hellos");
    }
}

/// The same as if from a client of the server, whose own hellos bring it more than three times
/// their length if whom it asks for has a large certificate: that is bounded by itself.
#[test]
fn hellos_to_the_server_as_if_from_a_client() {
    for (seed, keys) in (13..).zip(BOTH) {
        let mut world = World::new(seed, keys);
        arrive(&mut world, 20);
        let client = world.add_client_at_the_victims_host();
        world.wait(secs(5));
        // A client's own address has a budget beyond three times the hellos, which the first ones
        // use: a player's hello is short.
        forge_hellos(&mut world, &[client], |world| {
            assert!(world.beyond() <= 8192 + 64 * 200, "{}", world.beyond());
        });
        if keys == KeyStyle::Ephemeral {
            world.check_effect("as if from a client");
        }
    }
}

/// Forgers become neighbors of every member, or of one, and report members at the victim's
/// addresses, which change; they say that everybody else is there too.
fn report(seed: u64, forgers: usize, members: usize, known: usize) {
    let mut world = World::new(seed, KeyStyle::Ephemeral);
    let forgers: Vec<NodeId> = (0..forgers).map(|_| world.add_forger()).collect();
    arrive(&mut world, members);
    world.wait(secs(5));
    forgers.iter().for_each(|&forger| world.introduce_forger(forger, known));
    world.wait(secs(2));
    let mut random = SeededRandom::new(seed);
    for round in 0..24u16 {
        let at = |i: u16| origin(&victims(1000)[usize::from((8 * i + round) % 900)..][..8]);
        let mut report = Report::new(true, at(0)[0], &at(1));
        // Some small and some as large as can be.
        for i in 0..if round % 3 == 0 { 60 } else { 2 } {
            let mut peer = [0; 32];
            random.fill_bytes(&mut peer);
            report.records.push(Record::new(&Fingerprint(peer), 0, &at(i)));
        }
        for &forger in &forgers {
            world.network.act(forger, |host, now| host.forger().report(now, &report));
        }
        world.wait(secs(5));
    }
    world.wait(secs(300));
    world.check_effect("reports");
}

#[test]
fn reports_of_members() {
    report(15, 1, 4, 4);
}

#[test]
fn reports_of_members_to_one_of_many() {
    report(16, 1, 30, 1);
}

#[test]
fn reports_of_members_by_several() {
    report(17, 4, 20, 20);
}

#[test]
fn reports_of_members_to_all() {
    report(18, 1, 12, 12);
}

/// One report, and then nothing but signs of life: what members try again on their own is bounded.
#[test]
fn one_report() {
    for (seed, addresses) in [(19, 1), (20, 8)] {
        let mut world = World::new(seed, KeyStyle::Ephemeral);
        let forger = world.add_forger();
        arrive(&mut world, 10);
        world.wait(secs(5));
        world.introduce_forger(forger, 10);
        world.wait(secs(2));
        let addresses = origin(&victims(addresses));
        let mut report = Report::new(false, addresses[0], &addresses);
        report.records =
            (0..50).map(|i| Record::new(&Fingerprint([i; 32]), 0, &addresses)).collect();
        world.network.act(forger, |host, now| host.forger().report(now, &report));
        for _ in 0..6 {
            world.wait(secs(100));
            world.check_effect("one report");
        }
    }
}

/// Forgers forward hellos in their sessions, as if the victim had asked.
#[test]
fn forwarded_hellos() {
    for (seed, keys) in (21..).zip(BOTH) {
        let mut world = World::new(seed, keys);
        let forger = world.add_forger();
        arrive(&mut world, 10);
        world.introduce_forger(forger, 10);
        world.wait(secs(2));
        let members: Vec<_> = world.members.iter().map(|&id| world.peer_id(id)).collect();
        for round in 0..3000u16 {
            for &wanted in &members {
                let epd = Epd::for_fingerprint(wanted);
                let from = Path::to(victims(50)[usize::from(round % 50)]);
                let tag = round.to_be_bytes().to_vec().into();
                let hello = IntroductionRequest { epd, wanted, tag, from, received: 0 };
                world.network.act(forger, |host, now| {
                    let endpoint = &mut host.forger().endpoint;
                    let session = endpoint.session_with(wanted).unwrap();
                    endpoint.forward_hello(now, session, &hello);
                });
            }
            world.wait(millis(100));
        }
        world.check_effect("forwarded hellos");
        assert!(world.ratio() <= 1.0, "paid by the forwarder: {}", world.ratio());
    }
}

/// Packets of a session that seem to come from the victim: far ends look whether the peer has
/// moved, and when it falls silent they look for it there.
#[test]
fn packets_of_a_session_with_a_forged_source() {
    let mut world = World::new(23, KeyStyle::Ephemeral);
    let forger = world.add_forger();
    arrive(&mut world, 10);
    world.introduce_forger(forger, 10);
    world.wait(secs(2));
    let own = world.network.address(forger).to_string();
    for round in 0..100 {
        world.network.relocate(forger, &victims(8)[round % 8].to_string());
        world.network.act(forger, |host, now| host.forger().report(now, &Report::default()));
        world.network.relocate(forger, &own);
        world.wait(secs(2));
    }
    world.network.remove(forger);
    world.wait(secs(200));
    world.check_effect("a session's packets");
}
