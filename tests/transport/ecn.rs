//! Congestion marks instead of losses (RFC 3168), reported by chunk 0xec.

use crate::support::puppet::Puppet;
use crate::support::{Pair, for_seeds, millis, quick, secs};
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{
    Arrived, Config, Controller, Ecn, Interface, Machine, Path, TransmitBuf,
};
use rtmfp::wire::Chunk;
use std::net::SocketAddr;

fn marking() -> Config {
    let mut config = quick();
    config.ecn = true;
    config
}

fn narrow(mark_after: Option<u64>) -> Link {
    let link = Link { queue: millis(400), mark_after: mark_after.map(millis), ..Link::lan() };
    link.with_delay(millis(20)).with_rate(200_000)
}

fn transfer(
    seed: u64,
    link: Link,
    a: Config,
    b: Config,
) -> (Pair, rtmfp::proto::transport::SessionId) {
    let mut pair = Pair::with_configs(seed, link, a, b);
    let (session, _) = pair.open();
    let flow = pair.open_flow(pair.a, session, b"data");
    for i in 0..50 {
        pair.send(pair.a, session, flow, &[i; 20_000]);
    }
    let a = pair.a;
    assert!(pair.network.run_until(|n| n[a].0.queued(session, flow) == 0));
    assert_eq!(pair.messages(pair.b).len(), 50);
    (pair, session)
}

#[test]
fn a_marking_queue_is_answered_before_it_drops() {
    for_seeds(4, |seed| {
        let (mut pair, session) = transfer(seed, narrow(Some(40)), marking(), marking());
        let stats = pair.network[pair.a].0.session(session).unwrap().stats();
        assert_eq!((stats.fragments_lost, stats.timeouts), (0, 0));
        assert!(pair.network.stats().marked > 0);
        assert!(pair.now() < rtmfp::proto::transport::Time::from_millis(9_000), "{:?}", pair.now());
        pair.close_and_check(pair.a, session);
    });
}

#[test]
fn without_marks_the_same_queue_fills_up_more() {
    let window = |mut config: Config| {
        // The other controller's window is no measure of the queue.
        config.controller = Controller::AppendixA;
        let mut pair = Pair::with_configs(1, narrow(Some(40)), config, marking());
        let (session, _) = pair.open();
        let flow = pair.open_flow(pair.a, session, b"data");
        pair.send(pair.a, session, flow, &[1; 900_000]);
        let mut most = 0;
        for _ in 0..400 {
            pair.network.run_for(millis(10));
            let session = pair.network[pair.a].0.session(session).unwrap();
            most = most.max(session.congestion_window());
        }
        most
    };
    assert!(window(marking()) * 3 / 2 < window(quick()));
}

#[test]
fn nobody_is_told_of_marks_who_does_not_mark() {
    for (a, b) in [(quick(), marking()), (quick(), quick())] {
        let (pair, _) = transfer(2, narrow(Some(40)), a, b);
        assert_eq!(pair.network.stats().marked, 0);
        let wire = pair.wire();
        let reports = |c: Chunk<'_>| matches!(c, Chunk::EcnReport(_));
        assert!(!wire.session_packets(1).any(|p| p.any(reports)));
    }
}

/// What the endpoint sends now, with its marks.
fn marks(puppet: &mut Puppet) -> Vec<Ecn> {
    let mut buf = TransmitBuf::new();
    let now = puppet.solo.now;
    let mut marks = Vec::new();
    while let Some(transmit) = puppet.solo.endpoint.poll_transmit(now, &mut buf) {
        marks.push(transmit.ecn);
    }
    marks
}

fn queue(puppet: &mut Puppet, flow: rtmfp::proto::transport::FlowId) {
    let (session, now) = (puppet.session, puppet.solo.now);
    let message = bytes::Bytes::from_static(b"data");
    puppet.solo.endpoint.send(now, session, flow, message, Default::default()).unwrap();
}

fn flow(puppet: &mut Puppet) -> rtmfp::proto::transport::FlowId {
    puppet.solo.endpoint.open_flow(puppet.session, b"test", Default::default()).unwrap()
}

/// As the observed player, which acknowledges and does not report.
#[test]
fn a_far_end_that_does_not_report_gets_no_more_marks() {
    let mut puppet = Puppet::initiator(3, marking());
    let flow = flow(&mut puppet);
    queue(&mut puppet, flow);
    assert_eq!(marks(&mut puppet), [Ecn::Capable]);
    puppet.ack(flow.0, 1, 64);
    queue(&mut puppet, flow);
    assert_eq!(marks(&mut puppet), [Ecn::NotCapable]);
}

#[test]
fn a_path_that_swallows_marked_packets_is_found_out() {
    let mut puppet = Puppet::initiator(4, marking());
    let flow = flow(&mut puppet);
    queue(&mut puppet, flow);
    assert_eq!(marks(&mut puppet), [Ecn::Capable]);
    let now = puppet.solo.now + secs(4);
    puppet.solo.now = now;
    puppet.solo.endpoint.handle_timeout(now);
    assert_eq!(marks(&mut puppet), [Ecn::NotCapable]);
}

#[test]
fn marks_received_are_reported_with_the_next_acknowledgement() {
    let mut puppet = Puppet::initiator(5, quick());
    let from: SocketAddr = puppet.address;
    let receive = |puppet: &mut Puppet, sequence: u64, ecn: Ecn| {
        let metadata = crate::support::puppet::metadata(b"test");
        let fragment = crate::support::puppet::fragment(4, sequence, &metadata, b"hello");
        let mut packet = puppet.packet(&[Chunk::UserData(fragment)]);
        let path = Path { interface: Interface(0), remote: from };
        let arrived = Arrived { ecn, ..Arrived::one(&mut packet) };
        puppet.solo.act(|e, now| e.handle_datagrams(now, path, arrived));
        puppet.solo.run_for(millis(200));
        puppet
            .take()
            .iter()
            .flat_map(|p| {
                let report = |c| if let Chunk::EcnReport(n) = c { Some(n) } else { None };
                p.chunks().into_iter().filter_map(report).collect::<Vec<_>>()
            })
            .collect::<Vec<u8>>()
    };
    assert_eq!(receive(&mut puppet, 1, Ecn::NotCapable), [0; 0]);
    assert_eq!(receive(&mut puppet, 2, Ecn::Capable), [0]);
    assert_eq!(receive(&mut puppet, 3, Ecn::NotCapable), [0; 0]);
    assert_eq!(receive(&mut puppet, 4, Ecn::Congested), [1]);
    assert_eq!(receive(&mut puppet, 5, Ecn::Congested), [2]);
}

#[test]
fn hostile_reports_never_stall_a_transfer() {
    let mut puppet = Puppet::initiator(6, marking());
    let flow = puppet.flow_with(&[&[1; 60_000]]);
    let mut sequence = 0;
    for i in 0..2000u32 {
        let fragments: u64 = puppet
            .take()
            .iter()
            .map(|p| {
                p.chunks()
                    .iter()
                    .filter(|c| matches!(c, Chunk::UserData(_) | Chunk::NextUserData(_)))
                    .count() as u64
            })
            .sum();
        sequence += fragments;
        puppet.send(&[Chunk::EcnReport((i * 31) as u8)]);
        puppet.ack(flow.0, sequence, 64);
        puppet.solo.run_for(millis(10));
    }
    assert_eq!(puppet.solo.endpoint.queued(puppet.session, flow), 0);
}
