//! Pings, and how a dead far end is found out (RFC 7016 §3.5.4).

use crate::support::puppet::{ELSEWHERE, Puppet};
use crate::support::{Pair, millis, quick, secs};
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{CloseReason, Event};
use rtmfp::wire::Chunk;

fn pings(
    packets: &[crate::support::wiretap::Seen],
    puppet: &Puppet,
    since: rtmfp::proto::transport::Time,
) -> Vec<u128> {
    let _ = puppet;
    packets
        .iter()
        .filter(|p| p.any(|c| c == Chunk::Ping(&[])))
        .map(|p| (p.at - since).as_millis())
        .collect()
}

#[test]
fn a_silent_far_end_is_pinged_and_given_up() {
    let mut puppet = Puppet::initiator(1, quick());
    let start = puppet.solo.now;
    let packets = puppet.wait(secs(100));
    let times = pings(&packets, &puppet, start);
    assert_eq!(times[0], 20_000);
    assert!(times.windows(2).all(|w| w[1] - w[0] >= 250) && times.len() >= 4, "{times:?}");
    assert!(*times.last().unwrap() <= 67_000);
    let events = puppet.solo.events();
    assert!(matches!(events[..], [Event::SessionClosed { reason: CloseReason::Dead, .. }]));
    let closed = packets.iter().find(|p| p.any(|c| c == Chunk::CloseAck)).expect("a goodbye");
    assert_eq!((closed.at - start).as_secs(), 20 + 47);
    assert_eq!(puppet.solo.endpoint.load(), (0, 0, 0));
}

#[test]
fn any_packet_postpones_the_ping() {
    let mut puppet = Puppet::initiator(2, quick());
    for _ in 0..20 {
        assert!(puppet.wait(secs(19)).is_empty());
        puppet.send(&[Chunk::PingReply(b"unasked")]);
    }
    let start = puppet.solo.now;
    let packets = puppet.wait(secs(21));
    assert_eq!(pings(&packets, &puppet, start), [20_000]);
    puppet.send(&[Chunk::PingReply(&[])]);
    assert!(puppet.wait(secs(19)).is_empty(), "answered");
}

#[test]
fn set_keepalive_changes_both_times() {
    let mut puppet = Puppet::initiator(3, quick());
    let session = puppet.session;
    puppet.solo.act(|e, _| e.set_keepalive(session, secs(5), secs(10)));
    let start = puppet.solo.now;
    let packets = puppet.wait(secs(100));
    assert_eq!(pings(&packets, &puppet, start)[0], 5000);
    assert_eq!((packets.last().unwrap().at - start).as_secs(), 15);
    assert!(matches!(puppet.solo.events()[..], [Event::SessionClosed { .. }]));
}

#[test]
fn unanswered_data_finds_a_dead_end_even_if_pings_are_answered() {
    let mut puppet = Puppet::initiator(4, quick());
    puppet.flow_with(&[b"anybody there?"]);
    let start = puppet.solo.now;
    let mut repetitions = 0;
    while puppet.solo.events().is_empty() {
        assert!(puppet.solo.now - start <= secs(48));
        for packet in puppet.wait(secs(1)) {
            repetitions += usize::from(packet.any(|c| matches!(c, Chunk::UserData(_))));
        }
        puppet.send(&[Chunk::PingReply(&[])]);
    }
    assert!((puppet.solo.now - start).as_secs() >= 47);
    assert!((6..20).contains(&repetitions), "{repetitions}");
}

#[test]
fn pings_are_answered_at_once_with_the_same_bytes_to_where_they_came_from() {
    let mut puppet = Puppet::initiator(5, quick());
    for message in [&b""[..], b"M", &[0xff; 38], &[7; 1100]] {
        puppet.send(&[Chunk::Ping(message)]);
        let packets = puppet.take();
        assert_eq!(packets.len(), 1);
        assert_eq!(
            (packets[0].to, packets[0].chunks()),
            (puppet.address, vec![Chunk::PingReply(message)])
        );
    }
    puppet.send(&[Chunk::Ping(b"1"), Chunk::Ping(b"2")]);
    assert_eq!(puppet.take()[0].chunks(), [Chunk::PingReply(b"1"), Chunk::PingReply(b"2")]);
    let elsewhere = ELSEWHERE.parse().unwrap();
    let packet = puppet.packet(&[Chunk::Ping(b"moved")]);
    puppet.solo.deliver(elsewhere, packet);
    let packets = puppet.take();
    assert_eq!(packets[0].to, elsewhere);
    assert!(packets[0].any(|c| c == Chunk::PingReply(b"moved")));
    puppet.send(&[Chunk::Ping(&[1; 4000])]);
    assert!(puppet.take().is_empty(), "a reply that exceeds the datagram limit");
}

#[test]
fn a_cut_link_is_found_out_at_both_ends() {
    for busy in [false, true] {
        let mut pair = Pair::new(6, Link::bad());
        let (session, _) = pair.open();
        let (a, b) = (pair.a, pair.b);
        pair.network.run_for(secs(100));
        if busy {
            let flow = pair.open_flow(a, session, b"data");
            pair.send(a, session, flow, &[0; 100_000]);
            pair.network.run_for(millis(200));
        }
        pair.events(a);
        pair.events(b);
        pair.network.set_default_link(Link::cut());
        pair.network.run_for(if busy { secs(48) } else { secs(68) });
        let closed =
            |event: &Event| matches!(event, Event::SessionClosed { reason: CloseReason::Dead, .. });
        assert!(pair.events(a).iter().any(closed), "busy: {busy}");
        pair.network.run_for(secs(20));
        assert!(pair.events(b).iter().any(closed));
        pair.check_end();
    }
}

#[test]
fn an_idle_session_lives_on() {
    let mut pair = Pair::new(7, Link::bad());
    let (session, _) = pair.open();
    pair.network.run_for(secs(3000));
    let stats = pair.network[pair.a].0.session(session).unwrap().stats();
    assert!((150..900).contains(&stats.datagrams_sent), "{stats:?}");
    pair.close_and_check(pair.a, session);
}
