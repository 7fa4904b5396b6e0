//! A flood of keyings costs its sender what it costs us, and does not keep others out who share
//! its address.

use crate::support::puppet::{Solo, open_default, startup};
use crate::support::{millis, quick};
use rtmfp::proto::crypto::{Epd, Identity, IdentityConfig};
use rtmfp::proto::sim::{Bare, Link, Network, NodeId};
use rtmfp::proto::transport::{Config, Endpoint, Interface, Machine, Path};
use rtmfp::wire::chunk::{InitiatorHello, InitiatorKeying};
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Chunk, PacketHeader};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a keying costs the server's processor.
const KEYING: Duration = Duration::from_micros(300);

fn server() -> Config {
    let mut config = Config::server();
    config.negotiation = quick().negotiation;
    config
}

/// Keyings without end under one cookie, each with another component and session ID.
struct Attacker {
    identity: Identity,
    number: u32,
}

impl Attacker {
    fn new(solo: &mut Solo) -> Self {
        Self {
            identity: Identity::generate(&IdentityConfig::default(), &mut solo.random),
            number: 1,
        }
    }

    fn keying(&mut self, cookie: &[u8]) -> Vec<u8> {
        self.number += 1;
        // An ephemeral component of group 2: a length, a type, a group, and a public value.
        let mut component = vec![0x81, 0x02, 0x0d, 0x02];
        component.resize(4 + 128, 0x55);
        component[5..9].copy_from_slice(&self.number.to_be_bytes());
        let keying = InitiatorKeying {
            session_id: self.number,
            cookie,
            certificate: self.identity.certificate().as_bytes(),
            component: &component,
            signature: b"X",
        };
        startup(0, &Chunk::InitiatorKeying(keying))
    }
}

/// A cookie of the endpoint for `address`.
fn cookie(solo: &mut Solo, address: SocketAddr) -> Vec<u8> {
    let epd = solo.own_epd();
    solo.sent.clear();
    solo.hello(address, &epd, &[1; 16]);
    let answer = solo.take_startup().pop().expect("an answer");
    let Chunk::ResponderHello(hello) = answer.chunks()[0] else { panic!("{answer:?}") };
    hello.cookie.to_vec()
}

#[test]
fn a_cookie_is_worth_a_few_keyings() {
    let config = server();
    let burst = config.keyings_per_address.burst as usize;
    let mut solo = Solo::new(1, config, &IdentityConfig::default());
    let mut attacker = Attacker::new(&mut solo);
    let address: SocketAddr = "192.0.2.1:1000".parse().unwrap();
    let cookie = cookie(&mut solo, address);
    for _ in 0..1000 {
        solo.deliver(address, attacker.keying(&cookie));
    }
    assert_eq!(solo.endpoint.load().0, burst, "keyings that were computed");
    assert_eq!(solo.endpoint.stats().keyings_ignored, 1000 - burst as u64);
    // Some come back with time, but no more at once.
    solo.run_for(millis(2_500));
    for _ in 0..1000 {
        solo.deliver(address, attacker.keying(&cookie));
    }
    assert_eq!(solo.endpoint.load().0, burst + 2);
}

#[test]
fn sessions_that_nobody_uses_give_way_first_those_of_the_greediest_port() {
    let mut config = server();
    config.max_unconfirmed_per_ip = 10;
    let mut solo = Solo::new(2, config, &IdentityConfig::default());
    let mut attacker = Attacker::new(&mut solo);
    // One port asks once, and others as much as they can.
    for (port, keyings) in [(1, 1), (2, 8), (3, 8), (4, 8)] {
        let address: SocketAddr = format!("192.0.2.1:{port}").parse().unwrap();
        let cookie = cookie(&mut solo, address);
        for _ in 0..keyings {
            solo.deliver(address, attacker.keying(&cookie));
        }
    }
    assert_eq!(solo.endpoint.load().0, 10);
    assert_eq!(solo.endpoint.stats().unconfirmed_evicted, 15);
    // Another address has places of its own.
    let address: SocketAddr = "192.0.2.2:1".parse().unwrap();
    let cookie = cookie(&mut solo, address);
    solo.deliver(address, attacker.keying(&cookie));
    assert_eq!(solo.endpoint.load().0, 11);
}

#[test]
fn a_full_table_takes_newcomers_instead_of_sessions_that_nobody_uses() {
    let mut config = server();
    config.max_sessions = 40;
    let mut solo = Solo::new(5, config, &IdentityConfig::default());
    let mut attacker = Attacker::new(&mut solo);
    let mut keyings = |solo: &mut Solo, host: u8, count: usize| {
        let address: SocketAddr = format!("192.0.2.{host}:1").parse().unwrap();
        let cookie = cookie(solo, address);
        let keyings: Vec<_> = (0..count).map(|_| attacker.keying(&cookie)).collect();
        keyings.iter().for_each(|keying| solo.deliver(address, keying.clone()));
        (address, keyings[0].clone())
    };
    for host in 1..=5 {
        keyings(&mut solo, host, 8);
    }
    let load = |solo: &Solo| (solo.endpoint.load().0, solo.endpoint.stats().unconfirmed_evicted);
    assert_eq!(load(&solo), (40, 0));
    // Those that have most lose first.
    let mut singles = Vec::new();
    for host in 6..=20 {
        singles.push(keyings(&mut solo, host, 1));
        assert_eq!(load(&solo), (40, u64::from(host) - 5));
    }
    // The answers to these are still known, so that nothing is computed or dropped.
    for (address, keying) in singles {
        solo.sent.clear();
        solo.deliver(address, keying);
        assert_eq!((load(&solo), solo.sent.len()), ((40, 15), 1), "{address}");
    }
}

/// The same long before the table is full: few from each address are many altogether.
#[test]
fn unused_sessions_are_bounded_over_all_addresses() {
    let mut config = server();
    config.max_unconfirmed = 20;
    let mut solo = Solo::new(6, config, &IdentityConfig::default());
    let mut attacker = Attacker::new(&mut solo);
    for host in 1..=30u8 {
        let address: SocketAddr = format!("192.0.2.{host}:1").parse().unwrap();
        let cookie = cookie(&mut solo, address);
        for _ in 0..2 {
            solo.deliver(address, attacker.keying(&cookie));
        }
        let expected = (2 * usize::from(host)).min(20);
        assert_eq!(solo.endpoint.load().0, expected, "{address}");
    }
    assert_eq!(solo.endpoint.stats().unconfirmed_evicted, 40);
}

/// Opens sessions from behind the address of an attacker that sends a keying in each millisecond,
/// by `ports` cookies. Returns how long the slowest took.
fn open_in_a_flood(seed: u64, config: Config, ports: u16) -> Duration {
    let mut network = Network::new(seed, Link::lan().with_delay(millis(50)));
    let mut identity = IdentityConfig::default();
    identity.groups = quick().negotiation.groups;
    let endpoint = |network: &mut Network<Bare>, config: Config| {
        let mut random = network.random();
        let identity = Arc::new(Identity::generate(&identity, &mut random));
        Bare(Endpoint::new(config, identity, Box::new(random)))
    };
    let machine = endpoint(&mut network, config);
    let epd = Epd::for_fingerprint(machine.0.fingerprint());
    let server = network.add("10.0.0.1:1935", machine);
    network.set_job_cost(server, KEYING);
    let here = network.address(server);
    network.tap();
    let mut solo = Solo::new(seed, quick(), &IdentityConfig::default());
    let mut attacker = Attacker::new(&mut solo);
    let mut cookies = Vec::new();
    for port in 0..ports {
        let address: SocketAddr = format!("192.0.2.1:{}", 10_000 + port).parse().unwrap();
        cookies.push((address, cookie_over(&mut network, here, address, &epd)));
    }
    let mut clients: Vec<(NodeId, _)> = Vec::new();
    let mut slowest = Duration::ZERO;
    let mut opened = 0;
    for step in 0..20_000u32 {
        let (from, cookie) = &cookies[step as usize % cookies.len()];
        network.inject(*from, here, attacker.keying(cookie));
        if step % 1000 == 500 && step < 15_000 {
            let machine = endpoint(&mut network, quick());
            let client = network.add(&format!("192.0.2.1:{}", 1000 + step / 1000), machine);
            network.act(client, |e, now| e.0.open(now, epd.clone(), &[here]));
            clients.push((client, network.now()));
        }
        network.run_for(millis(1));
        let now = network.now();
        clients.retain(|(client, since)| {
            let open = network[*client].0.sessions().next().is_some();
            if open {
                opened += 1;
                slowest = slowest.max(now - *since);
            }
            !open
        });
    }
    assert!(clients.is_empty() && opened >= 15, "{} of {opened} never opened", clients.len());
    slowest
}

#[test]
fn a_host_that_asks_for_little_goes_first_and_finds_a_place() {
    let mut config = server();
    config.max_pending_keyings = 80;
    let mut solo = Solo::new(7, config, &IdentityConfig::default());
    let mut attacker = Attacker::new(&mut solo);
    let at = |host: u8, port: u16| SocketAddr::from(([192, 0, 2, host], port));
    // Ten keyings of each of eight hosts: as many as may wait.
    let ports = (1..=8).flat_map(|host| [at(host, 1), at(host, 2)]);
    let mut flood = Vec::new();
    for address in ports {
        let cookie = cookie(&mut solo, address);
        flood.extend((0..5).map(|_| (address, attacker.keying(&cookie))));
    }
    let once_more = flood[0].0;
    let more = cookie(&mut solo, once_more);
    let (honest, first) = (at(9, 1), cookie(&mut solo, at(9, 1)));
    flood.push((once_more, attacker.keying(&more)));
    flood.push((honest, attacker.keying(&first)));
    // Nothing is computed meanwhile.
    for (from, mut keying) in flood {
        let path = Path { interface: Interface(0), remote: from };
        solo.endpoint.handle_datagram(solo.now, path, &mut keying);
    }
    assert_eq!((solo.endpoint.load().2, solo.endpoint.stats().keyings_ignored), (80, 2));
    solo.sent.clear();
    solo.drain();
    assert_eq!(solo.endpoint.load().0, 80, "all that waited were computed");
    let answered: Vec<SocketAddr> = solo.sent.iter().map(|(_, to, _)| *to).collect();
    let place = answered.iter().position(|&to| to == honest).expect("an answer");
    // Each of the others was first with its own first keying.
    assert!(place <= 8, "{place} before it: {answered:?}");
    assert_eq!(answered.iter().filter(|&&to| to == once_more).count(), 5);
}

/// A host is soon like any other again.
#[test]
fn keyings_of_a_host_are_forgotten() {
    let mut solo = Solo::new(8, server(), &IdentityConfig::default());
    let mut attacker = Attacker::new(&mut solo);
    let at = |host: u8| SocketAddr::from(([192, 0, 2, host], 1));
    let (old, new) = (cookie(&mut solo, at(1)), cookie(&mut solo, at(2)));
    let order = |solo: &mut Solo, attacker: &mut Attacker| {
        for (from, cookie) in [(at(1), &old), (at(2), &new)] {
            let path = Path { interface: Interface(0), remote: from };
            let mut keying = attacker.keying(cookie);
            solo.endpoint.handle_datagram(solo.now, path, &mut keying);
        }
        solo.sent.clear();
        solo.drain();
        solo.sent.iter().map(|(_, to, _)| *to).collect::<Vec<_>>()
    };
    for _ in 0..5 {
        let keying = attacker.keying(&old);
        solo.deliver(at(1), keying);
    }
    assert_eq!(order(&mut solo, &mut attacker), [at(2), at(1)]);
    solo.run_for(millis(7_000));
    assert_eq!(order(&mut solo, &mut attacker), [at(1), at(2)], "in the order in which they came");
}

/// A cookie for an address without a machine.
fn cookie_over(
    network: &mut Network<Bare>,
    server: SocketAddr,
    address: SocketAddr,
    epd: &Epd,
) -> Vec<u8> {
    let hello = InitiatorHello { epd: epd.as_bytes(), tag: &[1; 16] };
    network.inject(address, server, startup(0, &Chunk::InitiatorHello(hello)));
    network.run_for(millis(150));
    let answers = network.take_tapped().into_iter().filter(|datagram| datagram.to == address);
    let plain = answers.filter_map(|datagram| open_default(&datagram.bytes)).next();
    let plain = plain.expect("an answer to the hello");
    let (_, rest) = PacketHeader::parse(&plain).unwrap();
    match chunks(rest).next() {
        Some(Chunk::ResponderHello(hello)) => hello.cookie.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_honest_client_gets_in_while_its_neighbor_floods_with_one_cookie() {
    let slowest = open_in_a_flood(3, server(), 1);
    assert!(slowest < millis(400), "{slowest:?}");
}

#[test]
fn an_honest_client_gets_in_while_its_neighbor_floods_with_many_cookies() {
    // More sessions than there may be, and fewer places for those that are not used yet.
    let mut config = server();
    config.max_sessions_per_ip = 200;
    config.max_unconfirmed_per_ip = 150;
    let slowest = open_in_a_flood(4, config, 100);
    assert!(slowest < millis(2_500), "{slowest:?}");
}
