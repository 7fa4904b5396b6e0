//! Queue, loss, abandonment and close of a sending flow, without a session.

use super::*;
use crate::wire::Chunk;

fn flow() -> SendFlow {
    SendFlow::new(FlowId(4), b"TC\x04\x01", FlowOptions::default()).unwrap()
}

fn push(flow: &mut SendFlow, bytes: &'static [u8], options: MessageOptions) {
    flow.push(Time::ZERO, Bytes::from_static(bytes), options, 1 << 20).unwrap();
}

/// Space without limit in packets that have `whole` bytes.
fn space(whole: usize) -> Space {
    Space { left: usize::MAX, whole }
}

/// Sends the next fragment alone in a packet and returns the chunk's bytes.
fn send(flow: &mut SendFlow, tsn: u64) -> Vec<u8> {
    let mut out = Vec::new();
    flow.assemble(None, space(60), tsn, &mut out).expect("something to send");
    out
}

fn ack(flow: &mut SendFlow, cumulative: u64, ranges: &[AckRange]) -> Vec<u64> {
    let mut tsns = Vec::new();
    flow.on_ack(Time::ZERO, 64, cumulative, ranges.iter().cloned(), |a| tsns.push(a.tsn));
    tsns
}

#[test]
fn options_until_the_first_acknowledgement() {
    let mut flow = flow();
    push(&mut flow, b"hello", MessageOptions::RELIABLE);
    push(&mut flow, b"world", MessageOptions::RELIABLE);
    let first = send(&mut flow, 1);
    assert_eq!(first, b"\x10\0\x10\x80\x04\x01\x01\x05\0TC\x04\x01\0hello".as_slice());
    assert_eq!(ack(&mut flow, 1, &[]), [1]);
    assert_eq!(send(&mut flow, 2), b"\x10\0\x09\x00\x04\x02\x01world");
}

#[test]
fn contiguous_fragments_share_a_header() {
    let mut flow = flow();
    push(&mut flow, b"one", MessageOptions::RELIABLE);
    push(&mut flow, b"two", MessageOptions::RELIABLE);
    let mut out = Vec::new();
    let (sequence, _) = flow.assemble(None, space(60), 1, &mut out).unwrap();
    out.clear();
    flow.assemble(Some(sequence), space(60), 2, &mut out).unwrap();
    assert_eq!(out, b"\x11\0\x04\0two");
}

/// Fragments of what was sent and not acknowledged.
fn fragments(flow: &SendFlow) -> Vec<(FragmentControl, usize)> {
    flow.queue.iter().map(|f| (f.control, f.data.len())).collect()
}

#[test]
fn long_messages_are_cut() {
    let mut flow = flow();
    flow.startup_options = None;
    push(&mut flow, &[7; 120], MessageOptions::RELIABLE);
    (1..=3).for_each(|tsn| drop(send(&mut flow, tsn)));
    assert!(!flow.is_ready());
    use FragmentControl::*;
    assert_eq!(fragments(&flow), [(Begin, 53), (Middle, 53), (End, 14)]);
}

/// Sends what fits into packets of `whole` bytes. Returns the lengths of their chunks together.
fn fill(flow: &mut SendFlow, whole: usize) -> Vec<usize> {
    let mut packets = Vec::new();
    while flow.is_ready() {
        let (mut out, mut previous) = (Vec::new(), None);
        loop {
            let left = if previous.is_none() { usize::MAX } else { whole - out.len() };
            let space = Space { left, whole };
            match flow.assemble(previous, space, 1, &mut out) {
                Some((sequence, _)) => previous = Some(sequence),
                None => break,
            }
        }
        packets.push(out.len());
    }
    packets
}

#[test]
fn packets_are_full_whatever_the_messages_are() {
    let mut flow = flow();
    flow.startup_options = None;
    for _ in 0..3 {
        push(&mut flow, &[7; 240], MessageOptions::RELIABLE);
    }
    assert_eq!(fill(&mut flow, 100), [100, 100, 100, 100, 100, 100, 100, 84]);
}

#[test]
fn short_and_unreliable_messages_stay_whole() {
    use FragmentControl::*;
    let mut short = flow();
    short.startup_options = None;
    (0..6).for_each(|_| push(&mut short, &[7; 22], MessageOptions::RELIABLE));
    fill(&mut short, 100);
    assert_eq!(fragments(&short), [(Whole, 22); 6]);
    let mut once = flow();
    once.startup_options = None;
    (0..4).for_each(|_| push(&mut once, &[7; 60], MessageOptions::ONCE));
    fill(&mut once, 100);
    assert_eq!(fragments(&once), [(Whole, 60); 4]);
}

#[test]
fn a_part_is_not_too_short_to_be_worth_it() {
    let mut flow = flow();
    flow.startup_options = None;
    push(&mut flow, &[7; 60], MessageOptions::RELIABLE);
    push(&mut flow, &[7; 60], MessageOptions::RELIABLE);
    // 33 bytes are left behind the first, 29 without the header.
    assert_eq!(fill(&mut flow, 100), [67, 67]);
}

#[test]
fn a_fragment_fits_when_it_is_sent_again_with_options() {
    let mut flow = flow();
    push(&mut flow, &[7; 30], MessageOptions::RELIABLE);
    push(&mut flow, &[7; 250], MessageOptions::RELIABLE);
    fill(&mut flow, 100);
    for sequence in 1..=flow.queue.len() as u64 {
        flow.on_lost(sequence);
    }
    while flow.is_ready() {
        assert!(send(&mut flow, 9).len() <= 100);
    }
}

#[test]
fn what_is_given_up_before_it_leaves_takes_one_number() {
    let mut flow = flow();
    flow.startup_options = None;
    let soon = MessageOptions::RELIABLE.with_finish_within(Duration::from_millis(100));
    push(&mut flow, &[1; 500], soon);
    push(&mut flow, b"second", MessageOptions::RELIABLE);
    flow.expire(Time::from_millis(100));
    // Sequence number 2, forward sequence number 1.
    assert_eq!(send(&mut flow, 1), b"\x10\0\x0a\0\x04\x02\x01second");
    assert_eq!(ack(&mut flow, 2, &[]), [1]);
    assert!(flow.is_done() || flow.queued() == 0);
}

#[test]
fn the_rest_of_a_message_is_given_up_with_what_has_left() {
    let mut flow = flow();
    flow.startup_options = None;
    let soon = MessageOptions::RELIABLE.with_finish_within(Duration::from_millis(100));
    push(&mut flow, &[1; 500], soon);
    send(&mut flow, 1);
    assert_eq!(ack(&mut flow, 1, &[]), [1]);
    flow.expire(Time::from_millis(100));
    push(&mut flow, b"next", MessageOptions::RELIABLE);
    // The receiver has the beginning: number 2 is skipped, so that it knows of the gap.
    assert_eq!(send(&mut flow, 2), b"\x10\0\x08\0\x04\x03\x01next");
    ack(&mut flow, 3, &[]);
    assert_eq!(flow.queued(), 0);
}

#[test]
fn messages_overtake_those_that_yield_and_have_not_begun() {
    let mut flow = flow();
    flow.startup_options = None;
    let [yields, overtakes] = [QueueOrder::Yields, QueueOrder::Overtakes]
        .map(|order| MessageOptions::RELIABLE.with_order(order));
    push(&mut flow, &[b'a'; 100], yields);
    let begun = send(&mut flow, 1);
    assert!(begun.ends_with(b"aa"), "{begun:?}");
    push(&mut flow, b"B", yields);
    push(&mut flow, b"1", overtakes);
    push(&mut flow, b"2", overtakes);
    push(&mut flow, b"C", MessageOptions::RELIABLE);
    push(&mut flow, b"D", yields);
    push(&mut flow, b"3", overtakes);
    assert!(send(&mut flow, 2).ends_with(b"aa"), "what has begun ends first");
    let last: Vec<u8> = (3..9).filter_map(|tsn| send(&mut flow, tsn).last().copied()).collect();
    assert_eq!(last, b"12BC3D");
}

#[test]
fn nothing_is_overtaken_where_messages_expire() {
    let mut flow = flow();
    flow.startup_options = None;
    let yields = MessageOptions::RELIABLE.with_order(QueueOrder::Yields);
    push(&mut flow, b"given up", yields.with_finish_within(Duration::from_millis(100)));
    push(&mut flow, b"1", MessageOptions::RELIABLE.with_order(QueueOrder::Overtakes));
    flow.expire(Time::from_millis(100));
    assert!(send(&mut flow, 1).ends_with(b"1"));
}

#[test]
fn finishing_never_sends_an_empty_message() {
    // After data was sent, and with no data at all: ABN | FIN, as the player does it.
    let mut sent = flow();
    push(&mut sent, b"hello", MessageOptions::RELIABLE);
    send(&mut sent, 1);
    sent.close();
    assert_eq!(send(&mut sent, 2)[3] & 0x7f, 0x03);
    let mut empty = flow();
    empty.close();
    assert_eq!(send(&mut empty, 1)[3] & 0x7f, 0x03);
    // An empty message in the queue must not become the final fragment either.
    let mut hollow = flow();
    push(&mut hollow, b"", MessageOptions::RELIABLE);
    hollow.close();
    assert_eq!(send(&mut hollow, 1)[3] & 0x03, 0);
    assert_eq!(send(&mut hollow, 2)[3] & 0x7f, 0x03);
    // A real last message that was never sent carries FIN itself.
    let mut real = flow();
    push(&mut real, b"bye", MessageOptions::RELIABLE);
    real.close();
    assert_eq!(send(&mut real, 1)[3] & 0x03, 0x01);
    assert!(!real.is_done());
    ack(&mut real, 1, &[]);
    assert!(real.is_done());
}

#[test]
fn a_rejected_flow_finishes_abandoned() {
    let mut flow = flow();
    push(&mut flow, b"one", MessageOptions::RELIABLE);
    send(&mut flow, 1);
    push(&mut flow, b"two", MessageOptions::RELIABLE);
    assert!(flow.on_rejected() && !flow.on_rejected());
    assert!(flow.push(Time::ZERO, Bytes::new(), MessageOptions::ONCE, 9).is_err());
    let fin = send(&mut flow, 2);
    assert_eq!(fin[3] & 0x0f, 0x03, "{fin:02x?}");
    ack(&mut flow, 2, &[]);
    assert!(flow.is_done());
}

#[test]
fn an_unreliable_message_is_given_up_after_a_loss() {
    let mut flow = flow();
    push(&mut flow, b"one", MessageOptions::ONCE);
    send(&mut flow, 1);
    flow.on_lost(1);
    // As the player does it: ABN, forward sequence number equal to the sequence number.
    let chunk = send(&mut flow, 2);
    let Ok(Chunk::UserData(data)) = Chunk::parse(chunk[0], &chunk[3..]) else { panic!() };
    assert!(data.flags.abandon);
    assert_eq!((data.sequence, data.fsn_offset, data.data), (1, 0, &[][..]));
    assert_eq!(ack(&mut flow, 1, &[]), [2]);
    assert_eq!(flow.queued(), 0);
}

#[test]
fn a_message_past_its_deadline_is_given_up() {
    let mut flow = flow();
    let soon = MessageOptions {
        finish_within: Some(Duration::from_millis(100)),
        ..MessageOptions::RELIABLE
    };
    push(&mut flow, &[1; 100], soon);
    push(&mut flow, b"later", MessageOptions::RELIABLE);
    send(&mut flow, 1);
    assert_eq!(flow.next_timeout(), Some(Time::from_millis(100)));
    flow.expire(Time::from_millis(100));
    let chunk = send(&mut flow, 2);
    assert!(chunk.ends_with(b"later"));
    flow.on_lost(1);
    assert!(flow.is_ready(), "the gap is to be announced");
}

#[test]
fn hostile_acknowledgements_of_what_was_never_sent() {
    let mut flow = flow();
    push(&mut flow, b"one", MessageOptions::RELIABLE);
    assert_eq!(ack(&mut flow, u64::MAX, &[5..=u64::MAX]), [] as [u64; 0]);
    assert!(flow.is_ready());
    send(&mut flow, 1);
    assert_eq!(ack(&mut flow, 0, &[2..=u64::MAX, 1..=1]), [1]);
}

#[test]
fn a_closed_window_is_probed() {
    let mut flow = flow();
    push(&mut flow, b"one", MessageOptions::RELIABLE);
    flow.on_ack(Time::ZERO, 0, 0, std::iter::empty(), |_| {});
    assert!(!flow.is_ready());
    let timeout = Duration::from_millis(250);
    assert!(flow.probe_due(Time::ZERO, timeout));
    assert!(!flow.probe_due(Time::from_millis(999), timeout));
    assert!(flow.probe_due(Time::from_millis(1000), timeout));
    assert_eq!(flow.next_timeout(), Some(Time::from_micros(2_414_213)));
    flow.on_ack(Time::ZERO, 1, 0, std::iter::empty(), |_| {});
    assert!(flow.is_ready() && flow.next_timeout().is_none());
}

#[test]
fn a_full_queue_refuses_and_reports_space() {
    let mut flow = flow();
    let big = Bytes::from(vec![0; 100_000]);
    let push =
        |flow: &mut SendFlow| flow.push(Time::ZERO, big.clone(), MessageOptions::RELIABLE, 150_000);
    push(&mut flow).unwrap();
    assert_eq!(push(&mut flow), Err(SendError::Full));
    let mut out = Vec::new();
    while flow.assemble(None, space(60_000), 1, &mut out).is_some() {}
    ack(&mut flow, 2, &[]);
    assert!(flow.take_writable() && !flow.take_writable());
}

#[test]
fn after_a_refusal_space_is_reported_while_half_of_the_queue_is_left() {
    let mut flow = flow();
    let push = |flow: &mut SendFlow, len: usize| {
        let message = Bytes::from(vec![0; len]);
        flow.push(Time::ZERO, message, MessageOptions::RELIABLE, 1_000_000)
    };
    while push(&mut flow, 50_000).is_ok() {}
    let mut out = Vec::new();
    let mut acknowledge_until_writable = |flow: &mut SendFlow, from: u64| {
        (from..100).find(|&sequence| {
            flow.assemble(None, space(60_000), sequence, &mut out);
            ack(flow, sequence, &[]);
            flow.take_writable()
        })
    };
    let first = acknowledge_until_writable(&mut flow, 1).unwrap();
    assert!((400_000..=500_000).contains(&flow.queued()), "{}", flow.queued());
    // A message of more than half waits for the space that it takes.
    assert_eq!(push(&mut flow, 900_000), Err(SendError::Full));
    acknowledge_until_writable(&mut flow, first + 1);
    assert!(flow.queued() <= 100_000 && flow.queued() > 0, "{}", flow.queued());
    push(&mut flow, 900_000).unwrap();
}

#[test]
fn a_gap_is_told_even_if_what_follows_turns_out_to_have_arrived() {
    let mut flow = flow();
    flow.startup_options = None;
    push(&mut flow, b"given up", MessageOptions::ONCE);
    push(&mut flow, b"reliable", MessageOptions::RELIABLE);
    send(&mut flow, 1);
    send(&mut flow, 2);
    // Both seem lost; in truth the second has arrived, with a forward sequence number of 0.
    flow.on_lost(2);
    flow.on_lost(1);
    assert!(flow.is_ready());
    assert!(ack(&mut flow, 0, &[2..=2]).is_empty());
    assert!(flow.is_ready(), "the receiver still waits for the first");
    assert_eq!(send(&mut flow, 3), [0x10, 0, 4, 0x02, 4, 1, 0]);
    ack(&mut flow, 2, &[]);
    assert!(!flow.is_ready() && flow.queue.is_empty());
}

/// Steps that one more acknowledgement of everything but the front costs, when `count` fragments
/// were acknowledged like that before.
fn steps_without_the_front(count: u64, ranges: impl Fn(u64) -> Vec<AckRange>) -> u64 {
    let mut flow = flow();
    flow.window = u64::MAX;
    for tsn in 1..=count {
        push(&mut flow, b"x", MessageOptions::RELIABLE);
        send(&mut flow, tsn);
    }
    for round in 0..50 {
        flow.on_ack(Time::ZERO, 1 << 40, 0, ranges(round).into_iter(), |_| ());
    }
    let before = flow.steps;
    flow.on_ack(Time::ZERO, 1 << 40, 0, ranges(50).into_iter(), |_| ());
    assert_eq!(flow.queue.len() as u64, count, "the front is not acknowledged");
    flow.steps - before
}

#[test]
fn hostile_ranges_acknowledged_again_cost_nothing() {
    let count = 10_000;
    assert!(steps_without_the_front(count, |_| vec![2..=count]) <= 3);
    assert!(steps_without_the_front(count, |_| vec![2..=u64::MAX]) <= 3);
    // Each time from another place.
    assert!(steps_without_the_front(count, |round| vec![2 + round..=count - round]) <= 20);
    // As many ranges as fit into a packet, all of them over the whole queue.
    assert!(steps_without_the_front(count, |_| vec![2..=count; 500]) <= 1500);
    let every_other = |_| (1..500).map(|i| 2 * i..=2 * i).collect();
    assert!(steps_without_the_front(count, every_other) <= 1000);
}

#[test]
fn every_fragment_is_acknowledged_once() {
    let mut flow = flow();
    for tsn in 1..=100 {
        push(&mut flow, b"x", MessageOptions::RELIABLE);
        send(&mut flow, tsn);
    }
    let mut acked: Vec<u64> = Vec::new();
    for ranges in [vec![3..=5, 7..=9], vec![2..=8, 50..=60], vec![4..=55], vec![2..=100]] {
        acked.extend(ack(&mut flow, 0, &ranges));
    }
    assert_eq!((acked.len(), acked.first()), (99, Some(&3)));
    acked.extend(ack(&mut flow, 1, &[]));
    acked.sort_unstable();
    assert_eq!(acked, (1..=100).collect::<Vec<_>>());
    assert_eq!((flow.outstanding, flow.queued, flow.queue.len()), (0, 0, 0));
}

#[test]
fn what_is_given_up_does_not_wait_to_be_sent_again() {
    let mut flow = flow();
    for tsn in 1..=100 {
        push(&mut flow, b"x", MessageOptions::ONCE);
        send(&mut flow, tsn);
    }
    for sequence in 2..=100 {
        flow.on_lost(sequence);
    }
    assert!(flow.lost.is_empty());
    assert!(!flow.is_ready(), "the front is in flight");
}
