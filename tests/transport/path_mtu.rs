//! Larger datagrams where the path takes them (RFC 7016 §3.5.4.3).

use crate::support::puppet::Puppet;
use crate::support::{Pair, Tapped, Wire, for_seeds, millis, quick, secs};
use rtmfp::proto::sim::{Link, Network};
use rtmfp::proto::transport::{Config, FlowId, SessionId};
use rtmfp::wire::Chunk;

fn searching() -> Config {
    let mut config = quick();
    config.max_probed_datagram = 1452;
    config
}

fn link(mtu: usize) -> Link {
    Link { mtu, ..Link::lan().with_delay(millis(10)) }
}

fn size(pair: &Pair) -> usize {
    let (_, session) = pair.network[pair.a].0.sessions().next().expect("a session");
    session.max_datagram()
}

/// A session over which so much was sent that the search is over.
fn after_search(seed: u64, link: Link, a: Config, b: Config) -> (Pair, SessionId) {
    let mut pair = Pair::with_configs(seed, link, a, b);
    let (session, _) = pair.open();
    let flow = pair.open_flow(pair.a, session, b"data");
    for _ in 0..8 {
        pair.send(pair.a, session, flow, &[1; 10_000]);
    }
    pair.network.run_for(secs(60));
    assert_eq!(pair.messages(pair.b).len(), 8);
    (pair, session)
}

/// The same, while a long message is being sent.
fn in_a_stream(seed: u64) -> (Pair, SessionId, FlowId) {
    let (mut pair, session) = after_search(seed, link(9000), searching(), quick());
    let flow = pair.open_flow(pair.a, session, b"more");
    pair.send(pair.a, session, flow, &[2; 400_000]);
    pair.network.run_for(millis(100 + seed));
    (pair, session, flow)
}

#[test]
fn what_the_path_takes_is_found_and_used() {
    for (mtu, least) in [(1200, 1200), (1280, 1200), (1392, 1360), (1452, 1452), (9000, 1452)] {
        let (mut pair, session) = after_search(1, link(mtu), searching(), quick());
        let found = size(&pair);
        assert!((least..=mtu.min(1452)).contains(&found), "{found} of {mtu}");
        let from = pair.network[pair.a].1.sent.len();
        let flow = pair.open_flow(pair.a, session, b"more");
        pair.send(pair.a, session, flow, &[2; 100_000]);
        pair.network.run_for(secs(10));
        let longest = pair.network[pair.a].1.sent[from..].iter().map(|d| d.2.len()).max().unwrap();
        assert!(longest + 32 > found && longest <= found, "{longest} of {found}");
        pair.close_and_check(pair.a, session);
    }
}

#[test]
fn nothing_is_looked_for_by_a_session_that_sends_little() {
    let mut pair = Pair::with_configs(2, link(9000), searching(), searching());
    let (session, _) = pair.open();
    let flow = pair.open_flow(pair.a, session, b"data");
    pair.send(pair.a, session, flow, &[1; 10_000]);
    pair.network.run_for(secs(600));
    let fragments = |c: Chunk<'_>| matches!(c, Chunk::PacketFragment(_));
    assert!(!pair.wire().seen.iter().any(|seen| seen.any(fragments)));
    assert_eq!(size(&pair), 1200);
}

/// As the observed player: it ignores packet fragments.
#[test]
fn a_far_end_that_puts_nothing_together_gets_nothing_larger() {
    let mut deaf = quick();
    deaf.max_reassembly = 0;
    let (mut pair, session) = after_search(3, link(9000), searching(), deaf);
    assert_eq!(size(&pair), 1200);
    let wire = Wire::new(&[&pair.network[pair.a], &pair.network[pair.b]]);
    let asked = wire.seen.iter().filter(|s| s.any(|c| matches!(c, Chunk::PacketFragment(_))));
    assert_eq!(asked.count(), 3);
    pair.close_and_check(pair.a, session);
}

/// A probe is padding and a ping behind it, and a lost one is no sign of congestion.
#[test]
fn a_probe_is_padding_and_a_ping() {
    let (pair, session) = after_search(4, link(1300), searching(), quick());
    let wire = pair.wire();
    let probes: Vec<_> = wire.session_packets(0).filter(|p| p.len > 1200).collect();
    assert!(probes.len() >= 3);
    for probe in probes {
        assert!(matches!(probe.chunks()[..], [Chunk::Padding { kind: 0, .. }, Chunk::Ping(_)]));
    }
    let stats = pair.network[pair.a].0.session(session).unwrap().stats();
    assert_eq!((stats.fragments_lost, stats.timeouts), (0, 0));
}

/// Fragments keep the size to which they were cut; they go in pieces then.
#[test]
fn a_path_that_takes_less_than_before_is_found_out() {
    for_seeds(64, |seed| {
        let (mut pair, session) = after_search(seed, link(9000), searching(), quick());
        assert_eq!(size(&pair), 1452);
        let (a, b) = (pair.a, pair.b);
        let flow = pair.open_flow(a, session, b"more");
        for i in 0..4 {
            pair.send(a, session, flow, &[i; 20_000]);
        }
        pair.network.run_for(millis(3 * (seed % 50)));
        pair.network.set_default_link(link(1200 + (seed % 5) as usize * 50));
        let done = |n: &Network<Tapped>| n[a].0.queued(session, flow) == 0;
        assert!(pair.network.run_until(done), "stuck");
        assert!(
            pair.now() < rtmfp::proto::transport::Time::from_millis(120_000),
            "{:?}",
            pair.now()
        );
        let messages = pair.messages(b);
        assert!(messages.len() == 4 && messages.iter().all(|m| m.len() == 20_000));
        pair.close_flow(a, session, flow);
        pair.network.run_for(secs(200));
        // It has looked again meanwhile.
        let stats = pair.network[a].0.session(session).unwrap().stats();
        let noticed = stats.fragments_lost > 12;
        assert!(size(&pair) <= if noticed { 1400 } else { 1452 }, "{stats:?}");
    });
}

/// A batch that is dropped as a whole says nothing of the size.
#[test]
fn a_lost_burst_keeps_the_size() {
    for_seeds(20, |seed| {
        let (mut pair, session, flow) = in_a_stream(seed);
        let a = pair.a;
        pair.network.set_default_link(Link::cut());
        pair.network.run_for(millis(15));
        pair.network.set_default_link(link(9000));
        while pair.network[a].0.queued(session, flow) > 0 {
            pair.network.run_for(millis(5));
            assert_eq!(size(&pair), 1452);
        }
        let stats = pair.network[a].0.session(session).unwrap().stats();
        assert!(stats.fragments_lost > 6 || stats.timeouts > 0, "{stats:?}");
    });
}

#[test]
fn a_path_that_takes_less_is_found_out_within_seconds() {
    for_seeds(20, |seed| {
        let (mut pair, session, flow) = in_a_stream(seed);
        let a = pair.a;
        pair.network.set_default_link(link(1300));
        let changed = pair.now();
        assert!(
            pair.network.run_until(|n| n[a].0.session(session).unwrap().max_datagram() == 1200)
        );
        assert!(pair.now().since(changed) < millis(1500), "{:?}", pair.now().since(changed));
        assert!(pair.network.run_until(|n| n[a].0.queued(session, flow) == 0));
        pair.network.run_for(secs(20));
        // Datagrams grow by blocks of 16 bytes: one that may have 1,315 has 1,300.
        assert!((1260..1316).contains(&size(&pair)), "{}", size(&pair));
    });
}

/// Nothing passed for a while: the size is not to blame, and is tried again at once.
#[test]
fn the_size_is_back_soon_after_the_link_was_down() {
    let (mut pair, session) = after_search(6, link(9000), searching(), quick());
    let a = pair.a;
    let flow = pair.open_flow(a, session, b"more");
    pair.send(a, session, flow, &[2; 400_000]);
    pair.network.run_for(millis(100));
    pair.network.set_default_link(Link::cut());
    pair.network.run_for(secs(5));
    assert_eq!(size(&pair), 1200);
    pair.network.set_default_link(link(9000));
    pair.network.run_for(secs(5));
    assert_eq!(size(&pair), 1452);
}

#[test]
fn a_new_path_is_taken_to_pass_no_more_than_any() {
    let (mut pair, session) = after_search(5, link(9000), searching(), searching());
    let (a, b) = (pair.a, pair.b);
    pair.network.relocate(b, "10.0.0.9:9");
    let far = pair.session(b);
    let flow = pair.open_flow(b, far, b"back");
    pair.send(b, far, flow, &[1; 10]);
    pair.network.run_for(millis(60));
    assert_eq!(pair.network[a].0.session(session).unwrap().path().remote.port(), 9);
    assert_eq!(size(&pair), 1200);
    pair.network.run_for(secs(60));
    assert_eq!(size(&pair), 1452);
}

#[test]
fn hostile_answers_to_probes_that_were_never_sent() {
    let mut puppet = Puppet::initiator(1, searching());
    for i in 0..=255u8 {
        puppet.send(&[Chunk::PingReply(&[b'P', 0, 0, 0, i])]);
    }
    let session = puppet.solo.endpoint.session(puppet.session).unwrap();
    assert_eq!(session.max_datagram(), 1200);
}

/// Asked for, it is searched for by a session that sends nothing, and the far end need not put
/// pieces together.
#[test]
fn a_search_that_is_asked_for_begins_at_once() {
    for (mtu, least) in [(1200, 1200), (1280, 1200), (1392, 1360), (1452, 1452), (9000, 1472)] {
        let mut deaf = quick();
        deaf.max_reassembly = 0;
        let mut config = quick();
        config.max_probed_datagram = 1472;
        let mut pair = Pair::with_configs(7, link(mtu), config, deaf);
        let (session, _) = pair.open();
        let searches =
            |pair: &Pair| pair.network[pair.a].0.session(session).unwrap().is_searching_path();
        assert!(!searches(&pair));
        let a = pair.a;
        pair.network.act(a, |bare, now| bare.0.search_path(now, session));
        assert!(searches(&pair));
        pair.network.run_for(secs(30));
        assert!(!searches(&pair));
        let found = size(&pair);
        assert!((least..=mtu.min(1472)).contains(&found), "{found} of {mtu}");
    }
}
