//! Closing while everything else goes on: both ends end up with nothing, one event each.

use crate::support::{Pair, for_seeds, millis, secs};
use rtmfp::proto::sim::{Link, SeededRandom};
use rtmfp::proto::transport::Event;

#[derive(Debug, Clone, Copy)]
enum How {
    Orderly,
    Abrupt,
}

fn race(seed: u64, link: Link) {
    let mut random = SeededRandom::new(seed);
    let mut pair = Pair::new(seed, link);
    let (session, far) = pair.open();
    let (a, b) = (pair.a, pair.b);
    let up = pair.open_flow(a, session, b"up");
    let down = pair.open_flow(b, far, b"down");
    pair.send(a, session, up, &[1; 20_000]);
    pair.send(b, far, down, &[2; 20_000]);
    pair.network.run_for(millis(random.below(400)));
    let how = |random: &mut SeededRandom| match random.below(3) {
        0 => How::Abrupt,
        _ => How::Orderly,
    };
    let both = random.chance(0.7);
    let ends = if both { vec![(a, session), (b, far)] } else { vec![(b, far)] };
    for (node, session) in ends {
        let how = how(&mut random);
        pair.network.act(node, |e, now| match how {
            How::Orderly => e.0.close(now, session),
            How::Abrupt => e.0.close_abruptly(now, session),
        });
        if random.chance(0.3) {
            // It asks again at once, while the old session is being closed.
            let other = if node == a { b } else { a };
            pair.ask(node, other);
        }
        pair.network.run_for(millis(random.below(150)));
    }
    pair.network.run_for(secs(250));
    let closed = |events: &[Event]| {
        let mut ids: Vec<_> = events
            .iter()
            .filter_map(|e| match e {
                Event::SessionClosed { session, .. } => Some(*session),
                _ => None,
            })
            .collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all, "reported twice for one session");
        ids
    };
    for (node, session) in [(a, session), (b, far)] {
        let events = pair.events(node);
        assert!(closed(&events).contains(&session), "{events:?}");
        let open: Vec<_> = pair.network[node].0.sessions().map(|(id, _)| id).collect();
        assert_eq!(pair.network[node].0.load(), (open.len(), 0, 0));
        for id in open {
            pair.network.act(node, |e, now| e.0.close(now, id));
        }
    }
    pair.check_end();
}

#[test]
fn over_a_bad_network() {
    for_seeds(200, |seed| race(seed, Link::bad()));
}

#[test]
fn over_a_clean_network() {
    for_seeds(200, |seed| race(seed, Link::lan().with_delay(millis(30))));
}
