//! Memory that far ends can make an endpoint hold: little more than they have sent, and bounded for
//! a session, for an address, and in all.

use crate::support::puppet::{Solo, flags, fragment, initiate, metadata, seal};
use crate::support::{Pair, Tapped, for_seeds, quick};
use rtmfp::proto::crypto::{Identity, IdentityConfig, SessionKeys};
use rtmfp::proto::sim::{Link, Network};
use rtmfp::proto::transport::{
    CloseReason, Config, Controller, Event, SESSION_ALLOWANCE, SessionId,
};
use rtmfp::wire::chunk::{FragmentControl, NextUserData, UserData};
use rtmfp::wire::{Chunk, Mode, PacketHeader};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Fragments of one byte that fit into a packet together.
const FRAGMENTS: usize = 200;

/// Settings of a server with the quick keys of these tests.
fn server() -> Config {
    let mut config = Config::server();
    config.negotiation = quick().negotiation;
    config
}

/// A far end with a session to the endpoint.
struct Stranger {
    address: SocketAddr,
    session: SessionId,
    keys: SessionKeys,
    sent: u64,
}

impl Stranger {
    fn new(solo: &mut Solo, address: &str) -> Self {
        let identity = Identity::generate(&IdentityConfig::default(), &mut solo.random);
        let address = address.parse().unwrap();
        let number = 1 + solo.endpoint.load().0 as u32;
        let (session, keys) =
            initiate(solo, address, number, &Arc::new(identity), quick().negotiation);
        let mut stranger = Self { address, session, keys, sent: 0 };
        stranger.send(solo, &[Chunk::Ping(b"")]);
        stranger
    }

    fn send(&mut self, solo: &mut Solo, chunks: &[Chunk<'_>]) {
        let header = PacketHeader::new(Mode::Initiator);
        let datagram = seal(&mut self.keys.sealer, self.session.0, &header, chunks);
        self.sent += datagram.len() as u64;
        solo.deliver(self.address, datagram);
        solo.sent.clear();
    }

    /// Sends a packet full of fragments of one byte from `sequence` on, which must be above 1.
    fn hold(&mut self, solo: &mut Solo, flow: u64, sequence: u64, options: &[u8]) {
        let first = fragment(flow, sequence, options, b"x");
        let next = NextUserData { flags: flags(FragmentControl::Whole), options: None, data: b"x" };
        let mut chunks = vec![Chunk::NextUserData(next); FRAGMENTS];
        chunks[0] = Chunk::UserData(first);
        self.send(solo, &chunks);
    }

    /// Fills flows behind gaps with fragments of one byte, `packets` in each.
    fn attack(&mut self, solo: &mut Solo, flows: u64, packets: u64) {
        let options = metadata(b"x");
        for packet in 0..packets {
            for flow in 2..2 + flows {
                self.hold(solo, flow, 2 + packet * FRAGMENTS as u64, &options);
            }
        }
    }
}

fn solo(seed: u64, config: Config) -> Solo {
    Solo::new(seed, config, &IdentityConfig::default())
}

#[test]
fn fragments_of_one_byte_behind_a_gap_cost_no_more_than_they_are_long() {
    let mut solo = solo(1, server());
    let mut strangers: Vec<_> =
        (0..5).map(|i| Stranger::new(&mut solo, &format!("192.0.2.{i}:1935"))).collect();
    let before: u64 = strangers.iter().map(|s| s.sent).sum();
    for stranger in &mut strangers {
        stranger.attack(&mut solo, 32, 6);
    }
    let sent = strangers.iter().map(|s| s.sent).sum::<u64>() - before;
    let held = solo.endpoint.memory() + 5 * SESSION_ALLOWANCE;
    assert!(held < 2 * sent, "{held} bytes are held for {sent}");
    assert!(held > sent / 4, "the attack failed: {held} of {sent}");
}

#[test]
fn a_session_holds_no_more_than_its_bound() {
    let bound = 64 << 10;
    let mut config = server();
    config.max_session_memory = bound;
    let mut solo = solo(2, config);
    let mut stranger = Stranger::new(&mut solo, "192.0.2.1:1935");
    stranger.attack(&mut solo, 63, 10);
    assert!(solo.endpoint.memory() <= bound, "{}", solo.endpoint.memory());
    assert!(solo.endpoint.stats().fragments_refused > 0);
    assert_eq!(solo.endpoint.stats().sessions_evicted, 0);
    // Fragments in every other place, from the last to the first.
    let mut stranger = Stranger::new(&mut solo, "192.0.2.2:1935");
    let options = metadata(b"x");
    for i in 0..20_000 {
        let chunk = Chunk::UserData(fragment(2 + i % 7, 90_000 - 2 * i, &options, b"x"));
        stranger.send(&mut solo, &[chunk]);
    }
    assert!(solo.endpoint.memory() <= 2 * bound, "{}", solo.endpoint.memory());
}

#[test]
fn messages_in_progress_beyond_the_bound_reject_the_heaviest_flow() {
    let mut config = server();
    config.max_session_memory = 100_000;
    config.max_message = 90_000;
    let mut solo = solo(3, config);
    let mut stranger = Stranger::new(&mut solo, "192.0.2.1:1935");
    solo.events();
    let options = metadata(b"x");
    let part = |flow, sequence, control| {
        let part = fragment(flow, sequence, &options, &[7; 1000]);
        Chunk::UserData(UserData { flags: flags(control), ..part })
    };
    for sequence in 1..60 {
        for flow in [2, 3] {
            let begin = sequence == 1;
            let control = if begin { FragmentControl::Begin } else { FragmentControl::Middle };
            stranger.send(&mut solo, &[part(flow, sequence, control)]);
            assert!(solo.endpoint.memory() <= 100_000);
        }
    }
    assert_eq!(solo.endpoint.stats().flows_rejected, 1);
    let events = solo.events();
    assert!(matches!(events.last(), Some(Event::FlowFinished { .. })), "{events:?}");
    let rejected = match events.last() {
        Some(Event::FlowFinished { flow, .. }) => flow.0,
        _ => 0,
    };
    let other = 5 - rejected;
    stranger.send(&mut solo, &[part(other, 60, FragmentControl::End)]);
    let messages = crate::support::messages(solo.events());
    assert_eq!(messages.iter().map(|m| m.len()).collect::<Vec<_>>(), [60_000], "the other goes on");
}

/// Attacks over and over, with honest sessions in between; returns who was evicted.
fn evicted(config: Config, attackers: &[&str], honest: &[&str]) -> Vec<SessionId> {
    let bounds = (config.max_address_memory, config.max_memory);
    let mut solo = solo(4, config);
    let mut honest: Vec<_> = honest.iter().map(|a| Stranger::new(&mut solo, a)).collect();
    let mut evicted = Vec::new();
    for round in 1..6 {
        for address in attackers {
            let mut stranger = Stranger::new(&mut solo, address);
            solo.events();
            stranger.attack(&mut solo, 20, 5);
            assert!(solo.endpoint.memory() <= bounds.1, "{}", solo.endpoint.memory());
            for event in solo.events() {
                if let Event::SessionClosed { session, reason } = event {
                    assert_eq!(reason, CloseReason::Evicted);
                    assert!(honest.iter().all(|h| h.session != session), "an honest one");
                    evicted.push(session);
                }
            }
        }
        for honest in &mut honest {
            let options = metadata(b"x");
            honest.send(&mut solo, &[Chunk::UserData(fragment(2, round, &options, b"hello"))]);
            assert_eq!(crate::support::messages(solo.events()), [&b"hello"[..]]);
        }
    }
    assert_eq!(solo.endpoint.stats().sessions_evicted, evicted.len() as u64);
    // What is held is given back.
    for session in solo.endpoint.sessions().map(|(id, _)| id).collect::<Vec<_>>() {
        solo.act(|e, now| e.close_abruptly(now, session));
    }
    assert_eq!((solo.endpoint.memory(), solo.endpoint.load().0), (0, 0));
    evicted
}

#[test]
fn of_one_address_the_heaviest_sessions_are_closed() {
    let mut config = server();
    config.max_address_memory = 150_000;
    let attackers = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4"];
    let honest = ["192.0.2.1:9", "198.51.100.1:9"];
    assert!(evicted(config, &attackers, &honest).len() >= 10);
}

#[test]
fn of_all_addresses_the_heaviest_sessions_are_closed() {
    let mut config = server();
    config.max_memory = 150_000;
    let attackers = ["192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3", "192.0.2.4:4"];
    let honest = ["192.0.2.1:9", "198.51.100.1:9"];
    assert!(evicted(config, &attackers, &honest).len() >= 10);
}

#[test]
fn addresses_of_one_ipv6_network_are_one() {
    let mut config = server();
    config.max_address_memory = 150_000;
    let attackers = ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "[2001:db8::4]:1"];
    assert!(evicted(config, &attackers, &["[2001:db8:0:1::9]:1"]).len() >= 10);
}

#[test]
fn a_reader_that_acknowledges_nothing_counts() {
    let mut config = server();
    config.max_address_memory = 400_000;
    let mut solo = solo(5, config);
    let mut readers = Vec::new();
    for port in 1..10 {
        let reader = Stranger::new(&mut solo, &format!("192.0.2.1:{port}"));
        solo.act(|e, now| {
            let flow = e.open_flow(reader.session, b"x", Default::default()).unwrap();
            let message = bytes::Bytes::from(vec![0; 100_000]);
            e.send(now, reader.session, flow, message, Default::default()).unwrap();
        });
        assert!(solo.endpoint.memory() <= 400_000);
        readers.push(reader);
    }
    assert!(solo.endpoint.stats().sessions_evicted >= 4);
}

/// Sends messages of `length` bytes in some flows to an endpoint that may hold little of them. Returns
/// how many fragments it has refused.
fn refused(seed: u64, controller: Controller, (flows, count, length): (usize, u8, usize)) -> u64 {
    let mut tight = quick();
    tight.max_session_memory = 30_000;
    let mut loose = quick();
    loose.controller = controller;
    let mut pair = Pair::with_configs(seed, Link::bad(), loose, tight);
    let (session, _) = pair.open();
    let (a, b) = (pair.a, pair.b);
    let flows: Vec<_> = (0..flows).map(|_| pair.open_flow(a, session, b"data")).collect();
    for i in 0..count {
        for &flow in &flows {
            pair.send(a, session, flow, &vec![i; length]);
        }
    }
    let is_done = |n: &Network<Tapped>| flows.iter().all(|f| n[a].0.queued(session, *f) == 0);
    assert!(pair.network.run_until(is_done));
    let stats = pair.network[b].0.stats();
    assert_eq!(stats.flows_rejected, 0);
    let mut messages = pair.messages(b);
    // Those of each flow are in order.
    if flows.len() > 1 {
        messages.sort();
    }
    let all = (0..count).flat_map(|i| vec![vec![i; length]; flows.len()]);
    assert!(messages == all.collect::<Vec<_>>(), "{} messages", messages.len());
    let refused = stats.fragments_refused;
    pair.close_and_check(a, session);
    refused
}

#[test]
fn what_was_refused_for_lack_of_space_arrives_later() {
    for controller in [Controller::AppendixA, Controller::Bbr] {
        let total = AtomicU64::new(0);
        for sent in [(1, 200, 1000), (1, 60, 7000), (3, 100, 1000)] {
            for_seeds(4, |seed| {
                total.fetch_add(refused(seed, controller, sent), Ordering::Relaxed);
            });
            println!("{controller}, {sent:?}: {total:?} fragments were refused");
        }
        assert!(total.into_inner() > 0, "{controller}");
    }
}
