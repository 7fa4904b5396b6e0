//! Every datagram comes twice or more: nothing happens twice.

use crate::support::{Pair, for_seeds, messages, secs};
use rtmfp::proto::sim::{Link, SeededRandom};
use rtmfp::proto::transport::Event;

fn doubling() -> Link {
    Link { duplicate: 0.9, ..Link::bad() }
}

#[test]
fn messages_arrive_once_and_sessions_open_once() {
    for_seeds(64, |seed| {
        let mut pair = Pair::new(seed, doubling());
        let (a, b) = (pair.a, pair.b);
        pair.ask(a, b);
        let both = |n: &rtmfp::proto::sim::Network<crate::support::Tapped>| {
            n[a].0.sessions().count() == 1 && n[b].0.sessions().count() == 1
        };
        assert!(pair.network.run_until(both));
        let (session, far) = (pair.session(a), pair.session(b));
        let flows = [pair.open_flow(a, session, b"x"), pair.open_flow(a, session, b"y")];
        let back = pair.open_flow(b, far, b"z");
        let mut random = SeededRandom::new(seed);
        for i in 0..20u8 {
            let len = random.below(4000) as usize;
            pair.send(a, session, flows[usize::from(i % 2)], &vec![i; len]);
            pair.send(b, far, back, &vec![i; len]);
        }
        flows.into_iter().for_each(|flow| pair.close_flow(a, session, flow));
        pair.close_flow(b, far, back);
        assert!(pair.run_until_done(a, session) && pair.run_until_done(b, far));
        // Late copies find their flows lingering.
        pair.network.run_for(secs(5));
        for (node, opened) in [(b, 2), (a, 1)] {
            let events = pair.events(node);
            let count = |wanted: fn(&Event) -> bool| events.iter().filter(|e| wanted(e)).count();
            assert_eq!(count(|e| matches!(e, Event::SessionOpened { .. })), 1);
            assert_eq!(count(|e| matches!(e, Event::FlowOpened { .. })), opened);
            assert_eq!(count(|e| matches!(e, Event::FlowFinished { .. })), opened);
            assert_eq!(messages(events).len(), 20);
        }
        pair.close_and_check(a, session);
        for node in [a, b] {
            let closed = pair.events(node);
            let closed = closed.iter().filter(|e| matches!(e, Event::SessionClosed { .. }));
            assert_eq!(closed.count(), 1);
        }
    });
}
