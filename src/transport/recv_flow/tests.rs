//! Fragments of a receiving flow, one at a time and in any order.

use super::*;
use FragmentControl::{Begin, End, Middle, Whole};
use proptest::prelude::*;

fn flow() -> RecvFlow {
    RecvFlow::new(FlowId(2), 10_000, 1000)
}

fn part(sequence: u64, control: FragmentControl, data: &[u8]) -> Received<'_> {
    Received { sequence, forward: 0, control, abandon: false, last: false, data }
}

/// An outcome with the messages that came of it.
struct Got {
    messages: Vec<Bytes>,
    /// Before which of the messages something is missing.
    gaps: Vec<usize>,
    outcome: Outcome,
}

impl std::ops::Deref for Got {
    type Target = Outcome;

    fn deref(&self) -> &Outcome {
        &self.outcome
    }
}

fn receive(flow: &mut RecvFlow, fragment: Received<'_>) -> Got {
    let (mut messages, mut gaps) = (Vec::new(), Vec::new());
    let outcome = flow.receive(Time::ZERO, fragment, u64::MAX, &mut |delivery| match delivery {
        Delivery::Message(message) => messages.push(message),
        Delivery::TooLong(_) => panic!("no message is too long here"),
        Delivery::Gap => gaps.push(messages.len()),
    });
    Got { messages, gaps, outcome }
}

fn pause(flow: &mut RecvFlow, paused: bool) -> Vec<Bytes> {
    let mut messages = Vec::new();
    flow.pause(Time::ZERO, paused, &mut |delivery| match delivery {
        Delivery::Message(message) => messages.push(message),
        Delivery::TooLong(_) => panic!("no message is too long here"),
        Delivery::Gap => panic!("nothing is missing"),
    });
    messages
}

#[test]
fn in_order_messages_pass_at_once() {
    let mut flow = flow();
    let outcome = receive(&mut flow, part(1, Whole, b"one"));
    assert_eq!(outcome.messages, [&b"one"[..]]);
    assert!(!outcome.ack_now);
    assert_eq!(flow.buffered(), 0);
}

#[test]
fn reordered_fragments_become_one_message() {
    let mut flow = flow();
    assert!(receive(&mut flow, part(3, End, b"c")).messages.is_empty());
    assert!(receive(&mut flow, part(1, Begin, b"a")).messages.is_empty());
    let outcome = receive(&mut flow, part(2, Middle, b"b"));
    assert_eq!(outcome.messages, [&b"abc"[..]]);
    assert!(receive(&mut flow, part(2, Middle, b"b")).ack_now, "a duplicate");
    assert_eq!(flow.buffered(), 0);
}

#[test]
fn abandoned_segments_are_dropped() {
    let mut flow = flow();
    receive(&mut flow, part(1, Begin, b"a"));
    receive(&mut flow, part(4, Whole, b"next"));
    let skip = Received { forward: 3, ..part(5, Whole, b"last") };
    let outcome = receive(&mut flow, skip);
    assert_eq!(outcome.messages, [&b"next"[..], b"last"]);
    assert_eq!(outcome.gaps, [0]);
    assert_eq!(flow.buffered(), 0);
}

#[test]
fn gaps_are_delivered_once_between_messages() {
    let mut flow = flow();
    let given_up =
        |sequence, forward| Received { abandon: true, forward, ..part(sequence, Whole, b"") };
    assert!(receive(&mut flow, part(1, Whole, b"a")).gaps.is_empty());
    assert!(receive(&mut flow, part(4, Whole, b"d")).gaps.is_empty(), "may still be filled");
    let got = receive(&mut flow, given_up(2, 2));
    assert_eq!((&got.messages[..], &got.gaps[..]), (&[][..], &[0][..]), "at once");
    let got = receive(&mut flow, given_up(3, 3));
    assert_eq!((&got.messages[..], &got.gaps[..]), (&[Bytes::from("d")][..], &[][..]));
    receive(&mut flow, part(5, Begin, b"e"));
    assert_eq!(receive(&mut flow, given_up(6, 6)).gaps, [0], "what was begun is missing");
    let got = receive(&mut flow, part(7, Whole, b"g"));
    assert_eq!((got.messages.len(), got.gaps.len()), (1, 0));
    let end = Received { last: true, ..given_up(8, 8) };
    let got = receive(&mut flow, end);
    assert!(got.finished && got.gaps.is_empty(), "an end like that is not a loss");
}

#[test]
fn a_loss_before_the_end_is_delivered() {
    let mut flow = flow();
    receive(&mut flow, part(1, Whole, b"a"));
    let end = Received { abandon: true, last: true, forward: 3, ..part(3, Whole, b"") };
    let got = receive(&mut flow, end);
    assert!(got.finished && got.gaps == [0]);
}

#[test]
fn an_end_without_a_beginning_is_dropped() {
    let mut flow = flow();
    let got = receive(&mut flow, part(1, End, b"x"));
    assert!(got.messages.is_empty() && got.gaps == [0]);
    assert!(receive(&mut flow, part(2, Middle, b"x")).messages.is_empty());
    assert_eq!(receive(&mut flow, part(3, Whole, b"y")).messages, [&b"y"[..]]);
}

#[test]
fn the_final_fragment_finishes() {
    let mut flow = flow();
    receive(&mut flow, part(1, Whole, b"x"));
    let fin = Received { abandon: true, last: true, ..part(2, Whole, b"") };
    let outcome = receive(&mut flow, fin);
    assert!(outcome.finished && outcome.ack_now && outcome.messages.is_empty());
    assert_eq!(flow.linger_until(), Some(Time::ZERO + COMPLETE_LINGER));
    assert!(!receive(&mut flow, fin).finished, "only once");
}

#[test]
fn a_rejected_flow_reports_its_exception() {
    let mut flow = flow();
    receive(&mut flow, part(1, Whole, b"x"));
    assert!(flow.reject(7) && !flow.reject(8));
    let mut out = Vec::new();
    assert!(flow.assemble_ack(1000, true, false, Time::ZERO, &mut out));
    assert_eq!(out, [0x5e, 0, 2, 2, 7, 0x51, 0, 3, 2, 0, 1]);
    let outcome = receive(&mut flow, part(2, Whole, b"y"));
    assert!(outcome.messages.is_empty() && outcome.ack_now);
    let fin = Received { abandon: true, last: true, ..part(3, Whole, b"") };
    assert!(!receive(&mut flow, fin).finished);
    assert!(flow.linger_until().is_some());
}

#[test]
fn the_window_shrinks_by_what_is_held() {
    let mut flow = flow();
    receive(&mut flow, part(2, Whole, &[0; 5000]));
    assert_eq!(flow.blocks(), 5);
    flow.paused = true;
    receive(&mut flow, part(3, Whole, &[0; 5000]));
    assert_eq!(flow.blocks(), 0);
    flow.paused = false;
    assert_eq!(flow.blocks(), 1, "an open flow never advertises nothing");
}

#[test]
fn hostile_memory_is_bounded() {
    let mut flow = flow();
    for i in 0..1000 {
        receive(&mut flow, part(2 + i, Whole, &[0; 1000]));
    }
    assert!(flow.buffered() <= 10_000 + WINDOW_SLACK + 2000);
    assert!(!flow.seen.contains(900), "what was dropped is not acknowledged");
    let jump = Received { forward: u64::MAX - 2, ..part(u64::MAX - 1, Whole, b"") };
    assert!(receive(&mut flow, jump).messages.len() <= 80);
}

#[test]
fn hostile_sender_to_a_paused_flow_is_bounded() {
    let mut flow = flow();
    pause(&mut flow, true);
    for i in 0..1000 {
        receive(&mut flow, part(1 + i, Whole, &[0; 1000]));
    }
    assert!(flow.buffered() <= 10_000 + WINDOW_SLACK + 2000, "{}", flow.buffered());
    assert_eq!(pause(&mut flow, false).len(), 75);
    assert!(!flow.seen.contains(76), "what was dropped is not acknowledged");
}

#[test]
fn a_message_that_is_too_long_is_passed_over() {
    let mut flow = flow();
    let mut delivered = Vec::new();
    let mut take = |flow: &mut RecvFlow, part: Received<'_>| {
        let _ = flow.receive(Time::ZERO, part, u64::MAX, &mut |delivery| delivered.push(delivery));
        flow.buffered()
    };
    assert_eq!(take(&mut flow, part(1, Begin, &[1; 900])), 900);
    // Hostile: it has no end.
    assert!((2..100).all(|n| take(&mut flow, part(n, Middle, &[2; 900])) == 0));
    take(&mut flow, part(100, End, &[3; 900]));
    take(&mut flow, part(101, Whole, b"next"));
    take(&mut flow, part(102, Begin, &[4; 900]));
    take(&mut flow, part(103, End, &[4; 900]));
    take(&mut flow, part(104, Begin, &[5; 1000]));
    // Cut off by another one.
    take(&mut flow, part(105, Middle, &[5; 1000]));
    take(&mut flow, part(106, Whole, b"last"));
    let head = |byte| Delivery::TooLong(Bytes::from(vec![byte; HEAD]));
    let message = |text: &'static [u8]| Delivery::Message(Bytes::from_static(text));
    let expected = [head(1), message(b"next"), head(4), head(5), Delivery::Gap, message(b"last")];
    assert_eq!(delivered, expected);
    assert!(flow.is_open() && flow.buffered() == 0);
}

#[test]
fn a_paused_flow_delivers_when_resumed() {
    let mut flow = flow();
    pause(&mut flow, true);
    assert!(receive(&mut flow, part(1, Whole, b"x")).messages.is_empty());
    assert_eq!(pause(&mut flow, false), [&b"x"[..]]);
}

proptest! {
    /// Whatever the order, the same messages come out: the short way for fragments in order
    /// and the long way agree.
    #[test]
    fn any_order_gives_the_same_messages(
        lens in proptest::collection::vec(1u64..5, 1..20),
        order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..40),
    ) {
        let mut fragments = Vec::new();
        for (n, &len) in lens.iter().enumerate() {
            for i in 0..len {
                let control = match (i == 0, i + 1 == len) {
                    (true, true) => Whole,
                    (true, false) => Begin,
                    (false, true) => End,
                    (false, false) => Middle,
                };
                fragments.push((control, vec![n as u8; 1 + i as usize]));
            }
        }
        let mut shuffled: Vec<usize> = (0..fragments.len()).collect();
        for (i, index) in order.iter().enumerate() {
            shuffled.swap(i % fragments.len(), index.index(fragments.len()));
        }
        let mut flow = RecvFlow::new(FlowId(2), 100_000, 1000);
        let mut messages = Vec::new();
        for i in shuffled {
            let (control, data) = &fragments[i];
            messages.extend(receive(&mut flow, part(i as u64 + 1, *control, data)).messages);
        }
        let whole = |(n, &len): (usize, &u64)| vec![n as u8; (len * (len + 1) / 2) as usize];
        prop_assert_eq!(messages, lens.iter().enumerate().map(whole).collect::<Vec<_>>());
        prop_assert_eq!(flow.buffered(), 0);
    }
}
