//! A receiver that holds back, for a long time and over a bad network: nothing is lost, nothing
//! floods, and the flow goes on (RFC 7016 §3.6.2.9).

use crate::support::{Pair, for_seeds, messages, quick, secs};
use rtmfp::proto::sim::{Link, SeededRandom};
use rtmfp::proto::transport::Event;
use rtmfp::wire::Chunk;

#[test]
fn a_held_flow_resumes_and_is_whole() {
    for_seeds(64, |seed| {
        let mut small = quick();
        small.receive_buffer = 16_384;
        let mut pair = Pair::with_configs(seed, Link::bad(), quick(), small);
        let (session, far) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let flow = pair.open_flow(a, session, b"data");
        let mut random = SeededRandom::new(seed);
        let sent: Vec<Vec<u8>> =
            (0..40u8).map(|i| vec![i; 1 + random.below(3000) as usize]).collect();
        for message in &sent {
            pair.send(a, session, flow, message);
        }
        pair.close_flow(a, session, flow);
        let opened = |n: &rtmfp::proto::sim::Network<crate::support::Tapped>| {
            n[b].0.session(far).is_some_and(|s| s.flow_counts().1 == 1)
        };
        assert!(pair.network.run_until(opened));
        let mut received = Vec::new();
        for _ in 0..3 {
            pair.network.act(b, |e, now| e.0.pause_flow(now, far, flow, true).unwrap());
            pair.network.run_for(secs(5 + random.below(40)));
            let from = pair.network[a].1.sent.len();
            pair.network.run_for(secs(60));
            let packets = pair.network[a].1.sent.len() - from;
            // Two probes in 3 s, and a few that were on their way.
            assert!(packets < 45, "{packets} packets in a minute to a closed window");
            let events = pair.events(b);
            assert!(!events.iter().any(|e| matches!(e, Event::FlowFinished { .. })));
            received.extend(messages(events));
            let _ = pair.network.act(b, |e, now| e.0.pause_flow(now, far, flow, false));
            pair.network.run_for(crate::support::millis(300));
            received.extend(pair.messages(b));
            if pair.network[b].0.session(far).unwrap().flow_counts().1 == 0 {
                break;
            }
        }
        assert!(pair.run_until_done(a, session));
        received.extend(pair.messages(b));
        assert_eq!(received.len(), sent.len());
        assert!(received.iter().zip(&sent).all(|(r, s)| r == s));
        let probes = |c: Chunk<'_>| matches!(c, Chunk::BufferProbe(_));
        assert!(pair.wire().session_packets(0).any(|p| p.any(probes)));
        pair.close_and_check(a, session);
    });
}
