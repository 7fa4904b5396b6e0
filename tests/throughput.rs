//! How fast sessions are over links with a rate, in virtual time (`protocol-notes/congestion.md`).

mod bottleneck;

use bottleneck::{Path, Streams, mb};
use rtmfp::transport::Controller;
use std::fmt::Write;
use std::time::Duration;

#[test]
fn goodput_by_loss_and_round_trip() {
    let mut table = String::from("goodput in MB/s over 50 Mbit/s (6.25 MB/s), queue of one round trip\n");
    for controller in [Controller::AppendixA, Controller::Bbr] {
        for loss in [0.0, 0.1, 1.0, 5.0] {
            for rtt in [10, 50, 200] {
                let path = Path::new(rtt).with_loss(loss / 100.0);
                let t = std::time::Instant::now();
                let mut streams = Streams::new(1, path, &[controller]);
                streams.run(Duration::from_secs(2));
                let before = streams.received(0);
                streams.run(Duration::from_secs(3));
                let rate = mb(streams.received(0) - before) / 3.0;
                let _ = writeln!(table, "{controller:10} {loss:3} % {rtt:3} ms {rate:5.2} {:?} {:?}", t.elapsed(), streams.stats(0));
            }
        }
    }
    println!("{table}");
}
