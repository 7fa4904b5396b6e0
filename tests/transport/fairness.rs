//! Who gets how much of a link that several share, and how long its queue becomes
//! (`protocol-notes/congestion.md`).
//!
//! `cargo test --release --test transport fairness -- --ignored --nocapture` prints the tables of
//! the notes.

use crate::support::shared::{Kind, Measured, Route, Shared};
use crate::support::tcp::Tcp;
use crate::support::{millis, secs};
use rtmfp::proto::transport::Controller;

const BBR: Kind = Kind::Rtmfp(Controller::Bbr);
const APPENDIX_A: Kind = Kind::Rtmfp(Controller::AppendixA);
const RENO: Kind = Kind::Tcp(Tcp::Reno);
const CUBIC: Kind = Kind::Tcp(Tcp::Cubic);

/// 5 Mbit/s, 50 ms.
const fn route(queue: u64) -> Route {
    Route { rate: 625_000, round_trip: millis(50), queue: millis(queue), loss: 0.0 }
}

/// The second transfer begins 2 s after the first, or a bit later: by the seed.
fn pair(seed: u64, route: Route, kinds: [Kind; 2]) -> Measured {
    println!("seed {seed}");
    let mut shared = Shared::new(seed, route);
    shared.start(kinds[0]);
    shared.run(millis(2000 + 137 * seed));
    shared.start(kinds[1]);
    shared.run(secs(10));
    shared.measure(secs(20))
}

/// So many sessions of one sender through 5 Mbit/s with 40 ms: the first ten seconds, and twenty
/// seconds later.
fn uplink(seed: u64, controller: Controller, sessions: usize, queue: u64) -> [Measured; 2] {
    println!("seed {seed}");
    let mut shared = Shared::new(seed, Route { round_trip: millis(40), ..route(queue) });
    let sender = shared.rtmfp(controller);
    for _ in 0..sessions {
        shared.start_from(sender, controller);
        shared.run(millis(100 + 7 * seed));
    }
    let first = shared.measure(secs(10));
    shared.run(secs(10));
    [first, shared.measure(secs(20))]
}

#[test]
fn bbr_and_appendix_a_both_get_something() {
    for (seed, kinds) in [(1, [BBR, APPENDIX_A]), (2, [APPENDIX_A, BBR])] {
        let measured = pair(seed, route(100), kinds);
        assert!((0.2..0.8).contains(&measured.share()), "{measured:?}");
        assert!(measured.total() > 0.9 * 625e3, "{measured:?}");
    }
}

#[test]
fn bbr_and_reno_both_get_something() {
    for (seed, kinds) in [(1, [BBR, RENO]), (2, [RENO, BBR])] {
        let measured = pair(seed, route(100), kinds);
        assert!((0.2..0.8).contains(&measured.share()), "{measured:?}");
    }
}

/// The usual case of a swarm: a home's uplink with a long queue, which Appendix A fills.
#[test]
fn sessions_of_one_sender_share_its_uplink_and_keep_its_queue_short() {
    let [_, bbr] = uplink(1, Controller::Bbr, 10, 1000);
    assert!(bbr.fairness() > 0.9 && bbr.total() > 0.9 * 625e3, "{bbr:?}");
    assert!(bbr.wait.1 < 200.0 && bbr.loss < 0.01, "{bbr:?}");
}

#[test]
#[ignore = "checks nothing: measures a table of protocol-notes/congestion.md"]
fn table_of_pairs() {
    for queue in [50, 200, 1000] {
        let kinds = [
            [BBR, BBR],
            [BBR, APPENDIX_A],
            [APPENDIX_A, BBR],
            [APPENDIX_A, APPENDIX_A],
            [BBR, RENO],
            [RENO, BBR],
            [APPENDIX_A, RENO],
            [RENO, RENO],
            [BBR, CUBIC],
            [CUBIC, BBR],
            [CUBIC, RENO],
        ];
        for kinds in kinds {
            for seed in 1..=3 {
                let measured = pair(seed, route(queue), kinds);
                println!("queue {queue} ms, {kinds:?}: {measured}");
            }
        }
    }
}

#[test]
#[ignore = "checks nothing: measures a table of protocol-notes/congestion.md"]
fn table_of_one_uplink() {
    for controller in [Controller::Bbr, Controller::AppendixA] {
        for queue in [40, 200, 1000] {
            for sessions in [1, 4, 10, 20] {
                let [first, then] = uplink(1, controller, sessions, queue);
                println!("{sessions} {controller}, queue {queue} ms, first: {first}");
                println!("{sessions} {controller}, queue {queue} ms, then:  {then}");
            }
        }
    }
}
