//! How sessions end (RFC 7016 §3.5.5).

use crate::support::puppet::Puppet;
use crate::support::{Pair, for_seeds, millis, quick, secs};
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{CloseReason, Event, Machine, SendError};
use rtmfp::wire::Chunk;

fn reasons(events: Vec<Event>) -> Vec<CloseReason> {
    let reason = |event| match event {
        Event::SessionClosed { reason, .. } => Some(reason),
        _ => None,
    };
    events.into_iter().filter_map(reason).collect()
}

#[test]
fn an_orderly_close_over_a_bad_network() {
    for_seeds(200, |seed| {
        let mut pair = Pair::new(seed, Link::bad().with_loss(0.3));
        let (session, far) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let flow = pair.open_flow(a, session, b"data");
        pair.send(a, session, flow, &[0; 30_000]);
        pair.network.run_for(millis(10 * seed));
        pair.network.act(a, |e, now| e.0.close(now, session));
        assert_eq!(reasons(pair.events(a)), [CloseReason::Near]);
        let sent = pair.network.act(a, |e, now| {
            e.0.send(now, session, flow, b"x".as_slice().into(), Default::default())
        });
        assert!(matches!(sent, Err(SendError::NoSession | SendError::NoFlow)));
        pair.network.run_for(secs(90));
        assert_eq!(reasons(pair.events(b)), [CloseReason::Far], "seed {seed}");
        assert!(pair.network[b].0.session(far).is_none());
        pair.check_end();
    });
}

#[test]
fn both_ends_at_once() {
    for_seeds(200, |seed| {
        let mut pair = Pair::new(seed, Link::bad());
        let (session, far) = pair.open();
        let (a, b) = (pair.a, pair.b);
        pair.network.act(a, |e, now| e.0.close(now, session));
        pair.network.run_for(millis(seed));
        pair.network.act(b, |e, now| e.0.close(now, far));
        pair.check_end();
        assert_eq!(reasons(pair.events(a)), [CloseReason::Near]);
        assert_eq!(reasons(pair.events(b)).len(), 1);
    });
}

#[test]
fn a_close_request_is_repeated_every_5_s_for_90_s() {
    let mut puppet = Puppet::initiator(1, quick());
    let session = puppet.session;
    let start = puppet.solo.now;
    puppet.solo.act(|e, now| e.close(now, session));
    let packets = puppet.wait(secs(300));
    let times: Vec<_> = packets.iter().map(|p| (p.at - start).as_secs()).collect();
    assert_eq!(times, (0..18).map(|i| 5 * i).collect::<Vec<_>>());
    assert!(packets.iter().all(|p| p.chunks() == [Chunk::CloseRequest]));
    assert_eq!(puppet.solo.endpoint.load(), (0, 0, 0));
    assert_eq!(puppet.solo.endpoint.poll_timeout(), None);
}

#[test]
fn the_answer_ends_it() {
    let mut puppet = Puppet::initiator(2, quick());
    let session = puppet.session;
    puppet.solo.act(|e, now| e.close(now, session));
    puppet.take();
    // While it closes, it answers nothing but close requests.
    puppet.send(&[Chunk::Ping(b"there?")]);
    assert!(puppet.take().is_empty());
    puppet.send(&[Chunk::CloseRequest]);
    assert_eq!(puppet.take()[0].chunks(), [Chunk::CloseAck]);
    puppet.send(&[Chunk::CloseAck]);
    assert_eq!(puppet.solo.endpoint.load(), (0, 0, 0));
    assert_eq!(reasons(puppet.solo.events()), [CloseReason::Near]);
}

#[test]
fn the_far_ends_request_is_answered_even_if_its_answer_came_with_it() {
    let mut puppet = Puppet::initiator(8, quick());
    let session = puppet.session;
    puppet.solo.act(|e, now| e.close(now, session));
    puppet.take();
    puppet.send_together(&[&[Chunk::CloseRequest], &[Chunk::CloseAck]]);
    assert!(!puppet.solo.endpoint.is_settled(), "dropped now, it would leave the far end waiting");
    puppet.solo.drain();
    let packets = puppet.take();
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].chunks(), [Chunk::CloseAck]);
    assert!(puppet.solo.endpoint.is_settled());
    assert_eq!(puppet.solo.endpoint.load(), (0, 0, 0));
}

#[test]
fn a_request_that_waits_to_be_sent_is_sent_although_the_far_end_closes_too() {
    let mut puppet = Puppet::initiator(9, quick());
    puppet.solo.endpoint.close(puppet.solo.now, puppet.session);
    puppet.send(&[Chunk::CloseRequest]);
    let packets = puppet.take();
    let chunks: Vec<_> = packets.iter().flat_map(|p| p.chunks()).collect();
    assert_eq!(chunks, [Chunk::CloseRequest, Chunk::CloseAck]);
}

#[test]
fn a_close_request_is_answered_for_19_s() {
    let mut puppet = Puppet::initiator(3, quick());
    for second in 0..19 {
        puppet.send(&[Chunk::CloseRequest]);
        let packets = puppet.take();
        assert_eq!(packets.len(), 1, "after {second} s");
        assert_eq!(packets[0].chunks(), [Chunk::CloseAck]);
        puppet.solo.run_for(secs(1));
    }
    assert_eq!(reasons(puppet.solo.events()), [CloseReason::Far]);
    assert_eq!(puppet.solo.endpoint.load(), (0, 0, 0));
    puppet.send(&[Chunk::CloseRequest]);
    assert!(puppet.take().is_empty());
}

#[test]
fn an_unasked_for_acknowledgement_is_the_players_goodbye() {
    let mut puppet = Puppet::initiator(4, quick());
    puppet.message(2, 1, b"last words");
    puppet.take();
    puppet.send(&[Chunk::CloseAck]);
    let events = puppet.solo.events();
    assert!(matches!(events[1], Event::Message { .. }));
    assert_eq!(reasons(events), [CloseReason::Far]);
    assert_eq!(puppet.solo.endpoint.load(), (0, 0, 0));
    assert!(puppet.wait(secs(100)).is_empty());
}

#[test]
fn an_abrupt_close_is_one_packet() {
    let mut puppet = Puppet::initiator(5, quick());
    puppet.flow_with(&[&[0; 5000]]);
    puppet.take();
    let session = puppet.session;
    puppet.solo.act(|e, now| e.close_abruptly(now, session));
    let packets = puppet.wait(secs(100));
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].chunks(), [Chunk::CloseAck]);
    assert_eq!(reasons(puppet.solo.events()), [CloseReason::Near]);
    assert_eq!(puppet.solo.endpoint.load(), (0, 0, 0));
}

#[test]
fn what_stands_after_a_close_in_a_packet_is_not_done() {
    let mut puppet = Puppet::initiator(6, quick());
    let options = crate::support::puppet::metadata(b"test");
    let data = crate::support::puppet::fragment(2, 1, &options, b"too late");
    puppet.send(&[Chunk::CloseRequest, Chunk::UserData(data), Chunk::Ping(b"x")]);
    assert_eq!(puppet.take()[0].chunks(), [Chunk::CloseAck]);
    assert!(matches!(puppet.solo.events()[..], [Event::SessionClosed { .. }]));
}

#[test]
fn hostile_repetitions_of_a_request_draw_one_answer() {
    let mut puppet = Puppet::initiator(10, quick());
    puppet.send_together(&[&[Chunk::CloseRequest; 100], &[Chunk::CloseRequest; 100]]);
    puppet.solo.drain();
    let packets = puppet.take();
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].chunks(), [Chunk::CloseAck]);
}

#[test]
fn hostile_pings_do_not_keep_the_answer_out() {
    let mut puppet = Puppet::initiator(7, quick());
    let mut chunks = vec![Chunk::Ping(b"ping"); 100];
    chunks.push(Chunk::CloseRequest);
    puppet.send(&chunks);
    let packets = puppet.take();
    assert!(packets.iter().any(|p| p.any(|c| c == Chunk::CloseAck)));
}

#[test]
fn a_session_that_was_never_used_fades_away() {
    let mut pair = Pair::new(8, Link::lan());
    let (a, b) = (pair.a, pair.b);
    pair.ask(a, b);
    assert!(pair.network.run_until(|n| n[b].0.load().0 == 1));
    pair.network.remove(a);
    pair.network.run_for(secs(51));
    assert_eq!(pair.network[b].0.load(), (0, 0, 0));
    assert!(pair.events(b).is_empty(), "its owner received no event of it");
}
