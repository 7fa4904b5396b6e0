//! When a receiver acknowledges (RFC 7016 §3.6.3.4.1), and in which form.

use crate::support::puppet::{Puppet, fin, fragment, metadata};
use crate::support::wiretap::Seen;
use crate::support::{millis, quick, quick_with};
use rtmfp::proto::transport::Config;
use rtmfp::wire::Chunk;
use rtmfp::wire::chunk::AckRange;

/// The acknowledgements of flow 2 in `packets`: cumulative number and runs.
fn acks(packets: &[Seen]) -> Vec<(u64, Vec<AckRange>)> {
    let mut all = Vec::new();
    for chunk in packets.iter().flat_map(Seen::chunks) {
        if let Chunk::RangeAck(ack) = chunk {
            assert_eq!(ack.flow, 2);
            all.push((ack.cumulative, ack.ranges().collect()));
        }
        assert!(!matches!(chunk, Chunk::BitmapAck(_)));
    }
    all
}

/// A peer whose flow 2 was opened by message 1 and acknowledged.
fn opened(config: Config) -> Puppet {
    let mut puppet = Puppet::initiator(1, config);
    puppet.message(2, 1, b"one");
    assert_eq!(acks(&puppet.take()), [(1, vec![])], "a new flow: at once");
    puppet
}

fn message(puppet: &mut Puppet, sequence: u64) {
    puppet.send(&[Chunk::UserData(fragment(2, sequence, &[], b"more"))]);
}

#[test]
fn a_single_packet_is_acknowledged_after_200_ms() {
    let mut puppet = opened(quick());
    message(&mut puppet, 2);
    assert!(acks(&puppet.wait(millis(199))).is_empty());
    assert_eq!(acks(&puppet.wait(millis(1))), [(2, vec![])]);
    assert!(acks(&puppet.wait(millis(1000))).is_empty(), "once");
}

#[test]
fn the_second_packet_is_acknowledged_at_once() {
    let mut puppet = opened(quick());
    for round in 1..10 {
        message(&mut puppet, 2 * round);
        assert!(puppet.take().is_empty());
        message(&mut puppet, 2 * round + 1);
        assert_eq!(acks(&puppet.take()), [(2 * round + 1, vec![])]);
    }
}

#[test]
fn gaps_duplicates_and_what_fills_gaps_are_acknowledged_at_once() {
    let mut puppet = opened(quick());
    message(&mut puppet, 3);
    assert_eq!(acks(&puppet.take()), [(1, vec![3..=3])]);
    message(&mut puppet, 6);
    assert_eq!(acks(&puppet.take()), [(1, vec![3..=3, 6..=6])]);
    message(&mut puppet, 2);
    assert_eq!(acks(&puppet.take()), [(3, vec![6..=6])]);
    message(&mut puppet, 2);
    assert_eq!(acks(&puppet.take()), [(3, vec![6..=6])], "a duplicate");
    message(&mut puppet, 5);
    message(&mut puppet, 4);
    assert_eq!(acks(&puppet.take()), [(3, vec![5..=6]), (6, vec![])]);
    message(&mut puppet, 1);
    assert_eq!(acks(&puppet.take()), [(6, vec![])], "an old one");
}

#[test]
fn the_end_and_what_is_given_up_are_acknowledged_at_once() {
    let mut puppet = opened(quick());
    let mut skip = fragment(2, 5, &[], b"five");
    skip.fsn_offset = 1;
    puppet.send(&[Chunk::UserData(skip)]);
    assert!(puppet.take().is_empty(), "no gap is left");
    puppet.send(&[Chunk::UserData(fin(2, 6))]);
    assert_eq!(acks(&puppet.take()), [(6, vec![])]);
    puppet.send(&[Chunk::UserData(fin(2, 6))]);
    assert_eq!(acks(&puppet.take()), [(6, vec![])], "a complete flow still answers");
}

#[test]
fn a_buffer_probe_is_answered_at_once() {
    let mut puppet = opened(quick());
    puppet.send(&[Chunk::BufferProbe(2)]);
    assert_eq!(acks(&puppet.take()), [(1, vec![])]);
    puppet.send(&[Chunk::BufferProbe(3)]);
    assert!(puppet.take().is_empty(), "no such flow");
}

#[test]
fn acknowledgements_of_several_flows_share_a_packet() {
    let mut puppet = Puppet::initiator(2, quick());
    let options = metadata(b"test");
    let chunks: Vec<_> =
        (2..12).map(|flow| Chunk::UserData(fragment(flow, 1, &options, b"x"))).collect();
    puppet.send(&chunks);
    let packets = puppet.take();
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].chunks().len(), 10);
}

#[test]
fn acknowledgements_travel_with_data() {
    let mut puppet = opened(quick());
    message(&mut puppet, 2);
    puppet.flow_with(&[b"answer"]);
    let packets = puppet.take();
    assert_eq!(acks(&packets), [(2, vec![])]);
    assert!(packets[0].any(|c| matches!(c, Chunk::UserData(_))));
    assert!(acks(&puppet.wait(millis(300))).is_empty());
}

#[test]
fn acknowledgements_wait_for_data_that_is_about_to_leave() {
    let mut puppet = opened(quick());
    // More than the first window: the rest waits.
    puppet.flow_with(&[&[1; 20_000]]);
    assert!(acks(&puppet.take()).is_empty());
    message(&mut puppet, 2);
    message(&mut puppet, 3);
    assert!(acks(&puppet.wait(millis(19))).is_empty());
    assert_eq!(acks(&puppet.wait(millis(1))), [(3, vec![])], "it does not wait for long");
    for sequence in 4..11 {
        message(&mut puppet, sequence);
        assert!(puppet.take().is_empty());
    }
    message(&mut puppet, 11);
    assert_eq!(acks(&puppet.take()), [(11, vec![])], "nor are many kept waiting");
    message(&mut puppet, 12);
    message(&mut puppet, 13);
    puppet.ack(2, 3, 64);
    let packets = puppet.take();
    assert_eq!(acks(&packets), [(13, vec![])]);
    assert!(packets[0].any(|c| matches!(c, Chunk::UserData(_))), "along with data");
    message(&mut puppet, 15);
    assert_eq!(acks(&puppet.take()), [(13, vec![15..=15])], "a gap: at once");
}

#[test]
fn bitmaps_only_if_asked_for() {
    let holes = |puppet: &mut Puppet| {
        for i in 0..40 {
            message(puppet, 3 + 2 * i);
        }
        puppet.take().pop().unwrap()
    };
    let mut ranges = opened(quick());
    assert!(holes(&mut ranges).any(|c| matches!(c, Chunk::RangeAck(_))));
    let mut bitmaps = opened(quick_with(|c| c.bitmap_acks = true));
    assert!(holes(&mut bitmaps).any(|c| matches!(c, Chunk::BitmapAck(_))));
}

#[test]
fn many_gaps_do_not_exceed_a_packet() {
    let mut puppet = opened(quick());
    for i in 0..1200 {
        message(&mut puppet, 3 + 2 * i);
    }
    let packets = puppet.take();
    let last = packets.last().unwrap();
    assert!(last.len <= 1200);
    let all = acks(std::slice::from_ref(last));
    assert!(all[0].0 == 1 && all[0].1.len() > 400);
}
