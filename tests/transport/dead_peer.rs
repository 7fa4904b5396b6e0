//! A far end that vanishes is found out in time, whatever was going on.

use crate::support::{Pair, for_seeds, millis, secs};
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{CloseReason, Event, MIN_KEEPALIVE};
use std::time::Duration;

/// When the survivor detected it, and the reported reason of the close.
fn survive(seed: u64, busy: bool, link: Link) -> Duration {
    let mut pair = Pair::new(seed, link);
    let (session, _) = pair.open();
    let (a, b) = (pair.a, pair.b);
    let flow = pair.open_flow(a, session, b"data");
    pair.send(a, session, flow, b"hello");
    pair.network.run_for(millis(10_000 + seed));
    if busy {
        pair.send(a, session, flow, &[1; 50_000]);
        pair.network.run_for(millis(seed % 100));
    }
    pair.network.remove(b);
    let gone = pair.now();
    assert!(pair.network.run_until(|n| n[a].0.sessions().count() == 0));
    let took = pair.now() - gone;
    let closed = pair.events(a).into_iter().find_map(|e| match e {
        Event::SessionClosed { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(closed, Some(CloseReason::Dead));
    pair.network.run_for(secs(200));
    assert_eq!(pair.network[a].0.load(), (0, 0, 0));
    assert_eq!(rtmfp::proto::transport::Machine::poll_timeout(&pair.network[a].0), None);
    took
}

#[test]
fn a_silent_session_ends_after_a_ping_period_and_the_patience() {
    for_seeds(200, |seed| {
        let took = survive(seed, false, Link::bad());
        assert!((secs(55)..=secs(68)).contains(&took), "{took:?}");
    });
}

#[test]
fn a_busy_session_ends_after_the_patience() {
    for_seeds(200, |seed| {
        let took = survive(seed, true, Link::bad());
        assert!((secs(44)..=secs(50)).contains(&took), "{took:?}");
    });
}

#[test]
fn periods_have_a_minimum() {
    let mut pair = Pair::new(1, Link::lan());
    let (session, _) = pair.open();
    let (a, b) = (pair.a, pair.b);
    let zero = Duration::ZERO;
    pair.network.act(a, |e, _| e.0.set_keepalive(session, zero, zero));
    let from = pair.network[a].1.sent.len();
    pair.network.run_for(secs(60));
    let sent = pair.network[a].1.sent.len() - from;
    assert!((10..=12).contains(&sent), "{sent} pings in a minute, one in {MIN_KEEPALIVE:?}");
    pair.network.remove(b);
    pair.network.run_for(secs(20));
    assert_eq!(pair.network[a].0.sessions().count(), 0);
}
