//! Messages arrive whole, once and in order, whatever the network does to packets.

use crate::support::{Pair, for_seeds};
use rtmfp::proto::sim::{Link, SeededRandom};

#[test]
fn every_message_once_and_in_order_over_a_bad_network() {
    for_seeds(64, |seed| {
        let mut pair = Pair::new(seed, Link::bad());
        let (session, _) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let flow = pair.open_flow(a, session, b"data");
        let mut random = SeededRandom::new(seed);
        let sent: Vec<Vec<u8>> = (0..20u8).map(|i| vec![i; random.below(6000) as usize]).collect();
        for message in &sent {
            pair.send(a, session, flow, message);
        }
        pair.network.act(a, |e, _| e.0.close_flow(session, flow).unwrap());
        assert!(pair.network.run_until(|n| n[a].0.session(session).unwrap().flow_counts().0 == 0));
        let received = pair.messages(b);
        assert_eq!(received.len(), sent.len());
        assert!(received.iter().zip(&sent).all(|(r, s)| r == s));
        pair.close_and_check(a, session);
    });
}

#[test]
fn a_clean_network_loses_nothing() {
    let mut pair = Pair::new(1, Link::lan());
    let (session, far) = pair.open();
    let (a, b) = (pair.a, pair.b);
    let flow = pair.open_flow(a, session, b"data");
    for _ in 0..100 {
        pair.send(a, session, flow, &[7; 10_000]);
    }
    let start = pair.now();
    assert!(pair.network.run_until(|n| n[a].0.queued(session, flow) == 0));
    let stats = pair.network[a].0.session(session).unwrap().stats();
    eprintln!("{:?} {:?}", pair.now() - start, stats);
    assert_eq!((stats.fragments_lost, stats.timeouts), (0, 0));
    assert_eq!(pair.messages(b).len(), 100);
    pair.close_and_check(b, far);
}
