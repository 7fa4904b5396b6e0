//! How fast sessions are through a bottleneck, in virtual time (`protocol-notes/congestion.md`).
//!
//! The figures are repeated exactly by their seeds; they are kept as snapshots so that a change of
//! behaviour shows as a difference. `INSTA_UPDATE=always` writes them anew.

use crate::support::bottleneck::{Path, RATE, Streams, mb};
use rtmfp::proto::transport::Controller;
use std::fmt::Write;
use std::time::Duration;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Goodput in MB/s of a second of a session that has found its rate.
fn goodput(controller: Controller, loss: f64, rtt: u64) -> f64 {
    let mut streams = Streams::new(1, Path::new(rtt).with_loss(loss), &[controller]);
    streams.run(millis(500 + 10 * rtt));
    streams.measure(0, millis(1000))
}

fn table(controller: Controller) -> String {
    let mut table = format!("{controller}: MB/s over 6.25 MB/s, queue of one round trip\n");
    table += "loss    10 ms  50 ms 200 ms\n";
    for percent in [0.0, 0.1, 1.0, 5.0] {
        let _ = write!(table, "{percent:>4} %");
        for rtt in [10, 50, 200] {
            let _ = write!(table, " {:6.2}", goodput(controller, percent / 100.0, rtt));
        }
        table.push('\n');
    }
    table
}

#[test]
fn goodput_of_appendix_a_by_loss_and_round_trip() {
    insta::assert_snapshot!(table(Controller::AppendixA));
}

#[test]
fn goodput_of_bbr_by_loss_and_round_trip() {
    insta::assert_snapshot!(table(Controller::Bbr));
}

/// A fifth of the rate of the tables, so that more time passes for the same work.
const SLOW: u64 = RATE / 5;

/// Goodput of two sessions in the same two seconds, in MB/s.
fn shares(controllers: [Controller; 2]) -> [f64; 2] {
    let path = Path::new(50).with_rate(SLOW, millis(50));
    let mut streams = Streams::new(2, path, &controllers);
    streams.run(millis(6000));
    let before = [streams.received(0), streams.received(1)];
    streams.run(millis(4000));
    [0, 1].map(|i| mb(streams.received(i) - before[i]) / 4.0)
}

#[test]
fn two_bbr_sessions_share_a_path() {
    let [a, b] = shares([Controller::Bbr, Controller::Bbr]);
    assert!(a + b > 1.1 && a < 3.0 * b && b < 3.0 * a, "{a:.2} and {b:.2} MB/s");
}

#[test]
fn bbr_does_not_starve_appendix_a() {
    let [bbr, appendix_a] = shares([Controller::Bbr, Controller::AppendixA]);
    assert!(appendix_a > 0.15 && bbr > 0.15, "{bbr:.2} and {appendix_a:.2} MB/s");
}

#[test]
fn bbr_bears_a_fifth_lost() {
    let path = Path::new(50).with_rate(SLOW, millis(50)).with_loss(0.2);
    let mut streams = Streams::new(3, path, &[Controller::Bbr]);
    streams.run(millis(2000));
    let rate = streams.measure(0, millis(4000));
    assert!(rate > 0.4, "{rate:.2} MB/s");
}

#[test]
fn bbr_gives_way_when_the_path_becomes_slow() {
    let path = Path::new(50).with_rate(SLOW, millis(50));
    let mut streams = Streams::new(4, path, &[Controller::Bbr]);
    streams.run(millis(3000));
    streams.set_path(Path::new(50).with_rate(SLOW / 10, millis(500)));
    streams.run(millis(3000));
    let round_trip = streams.sender(0).round_trip().expect("measured");
    assert!(round_trip < millis(250), "{round_trip:?}");
    let rate = streams.measure(0, millis(4000));
    assert!(rate > 0.08, "{rate:.3} MB/s");
}

#[test]
fn bbr_finds_a_path_that_has_become_fast() {
    let path = Path::new(50).with_rate(SLOW / 10, millis(50));
    let mut streams = Streams::new(5, path, &[Controller::Bbr]);
    streams.run(millis(3000));
    streams.set_path(Path::new(50).with_rate(SLOW, millis(50)));
    streams.run(millis(6000));
    let rate = streams.measure(0, millis(1000));
    assert!(rate > 1.0, "{rate:.2} MB/s");
}
