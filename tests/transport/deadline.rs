//! Messages that may be given up: never twice, never out of order, and what was given up never
//! holds up what follows (RFC 7016 §3.6.2.7).

use crate::support::puppet::Puppet;
use crate::support::{Pair, for_seeds, millis, quick, quick_with, secs};
use rtmfp::proto::sim::{Link, SeededRandom};
use rtmfp::proto::transport::{Event, MessageOptions};
use rtmfp::wire::Chunk;

const STARTED_SOON: MessageOptions = MessageOptions::RELIABLE.with_start_within(millis(150));
const FINISHED_SOON: MessageOptions = MessageOptions::RELIABLE.with_finish_within(millis(300));
const ONCE_SOON: MessageOptions = MessageOptions::ONCE.with_start_within(millis(100));

/// Sends messages of every kind and checks what arrives.
fn run(seed: u64, link: Link, kinds: &[MessageOptions]) {
    let mut pair = Pair::new(seed, link);
    let (session, far) = pair.open();
    let (a, b) = (pair.a, pair.b);
    let flow = pair.open_flow(a, session, b"data");
    let mut random = SeededRandom::new(seed);
    let mut must_arrive = Vec::new();
    for i in 0..60u8 {
        let kind = kinds[random.below(kinds.len() as u64) as usize];
        let message = vec![i; 1 + random.below(4000) as usize];
        pair.send_with(a, session, flow, &message, kind);
        if kind == MessageOptions::RELIABLE {
            must_arrive.push(i);
        }
        pair.network.run_for(millis(random.below(40)));
    }
    pair.close_flow(a, session, flow);
    assert!(pair.run_until_done(a, session), "the flow does not finish");
    let events = pair.events(b);
    assert!(events.iter().any(|e| matches!(e, Event::FlowFinished { .. })), "it stalls");
    check_gaps(&events, 60);
    let messages = crate::support::messages(events);
    let arrived: Vec<u8> = messages.iter().map(|m| m[0]).collect();
    assert!(messages.iter().all(|m| m.iter().all(|&byte| byte == m[0])), "mixed up");
    assert!(arrived.windows(2).all(|w| w[0] < w[1]), "{arrived:?}");
    assert!(must_arrive.iter().all(|i| arrived.contains(i)), "a reliable one is missing");
    assert_eq!(pair.network[b].0.session(far).unwrap().flow_counts().0, 0);
    pair.close_and_check(a, session);
}

/// What is missing between the messages, which begin with their numbers below `count`, was reported,
/// and nothing else.
fn check_gaps(events: &[Event], count: u8) {
    let (mut next, mut gap) = (0, false);
    for event in events {
        match event {
            Event::Gap { .. } => assert!(!std::mem::replace(&mut gap, true), "reported twice"),
            Event::Message { message, .. } => {
                assert_eq!(std::mem::take(&mut gap), message[0] != next, "before {}", message[0]);
                next = message[0] + 1;
            }
            // The last message may be lost with the end of the flow, which it carries.
            Event::FlowFinished { .. } => {
                assert!(if gap { next < count } else { next + 1 >= count })
            }
            _ => {}
        }
    }
}

#[test]
fn a_mixture_over_a_bad_network() {
    let kinds =
        [MessageOptions::RELIABLE, MessageOptions::ONCE, STARTED_SOON, FINISHED_SOON, ONCE_SOON];
    for_seeds(64, |seed| run(seed, Link::bad(), &kinds));
    for_seeds(20, |seed| run(seed, Link::bad().with_loss(0.25), &kinds));
}

#[test]
fn each_kind_alone() {
    for kind in [MessageOptions::ONCE, STARTED_SOON, FINISHED_SOON, ONCE_SOON] {
        for_seeds(16, |seed| run(seed, Link::bad().with_loss(0.15), &[kind]));
    }
}

#[test]
fn over_a_slow_link_most_are_given_up() {
    for_seeds(30, |seed| {
        let link = Link::bad().with_rate(20_000);
        run(seed, link, &[FINISHED_SOON, STARTED_SOON, MessageOptions::RELIABLE]);
    });
}

/// Sends `count` messages over a lossy link without closing the flow: the last ones are lost or
/// given up, and no later message shows it.
#[test]
fn the_last_message_leaves_no_stall() {
    for_seeds(100, |seed| {
        let patient = || quick_with(|c| c.dead_after = secs(600));
        let mut pair = Pair::with_configs(seed, Link::bad(), patient(), patient());
        let (session, _) = pair.open();
        pair.network.set_default_link(Link::bad().with_loss(0.4));
        let (a, b) = (pair.a, pair.b);
        let flow = pair.open_flow(a, session, b"data");
        let kind = [MessageOptions::ONCE, FINISHED_SOON, ONCE_SOON][seed as usize % 3];
        for i in 0..10 {
            pair.send_with(a, session, flow, &[i; 2500], kind);
        }
        pair.network.run_for(secs(200));
        assert_eq!(pair.network[a].0.queued(session, flow), 0);
        let stats = pair.network[a].0.session(session).unwrap();
        assert_eq!(stats.outstanding(), 0);
        let before = pair.messages(b).len();
        assert!(before < 10 || seed % 3 != 0);
        pair.send(a, session, flow, b"reliable");
        pair.network.run_for(secs(200));
        assert_eq!(pair.messages(b), [&b"reliable"[..]]);
        pair.close_and_check(a, session);
    });
}

#[test]
fn a_message_that_was_not_started_in_time_never_leaves() {
    let mut puppet = Puppet::initiator(1, quick());
    let flow = puppet.flow_with(&[b"first"]);
    puppet.take();
    puppet.ack(flow.0, 1, 0);
    let session = puppet.session;
    puppet.solo.act(|e, now| {
        e.send(now, session, flow, b"late".as_slice().into(), STARTED_SOON).unwrap();
        e.send(now, session, flow, b"next".as_slice().into(), Default::default()).unwrap();
    });
    puppet.wait(millis(200));
    puppet.ack(flow.0, 1, 64);
    let packets = puppet.take();
    let mut seen = Vec::new();
    for packet in &packets {
        for chunk in packet.chunks() {
            if let Chunk::UserData(data) = chunk {
                seen.push((data.sequence, data.forward_sequence(), data.data.to_vec()));
            }
        }
    }
    assert_eq!(seen, [(3, 2, b"next".to_vec())]);
}

#[test]
fn a_lost_message_that_is_sent_once_is_given_up_as_the_player_does() {
    let mut puppet = Puppet::initiator(2, quick());
    let flow = puppet.flow_with(&[]);
    let session = puppet.session;
    puppet.solo.act(|e, now| {
        e.send(now, session, flow, b"once".as_slice().into(), MessageOptions::ONCE).unwrap();
    });
    puppet.take();
    let packets = puppet.wait(secs(12));
    assert!(packets.len() >= 2, "repeated until it is acknowledged");
    for packet in packets {
        let chunks = packet.chunks();
        let [Chunk::UserData(data)] = &chunks[..] else { panic!("{chunks:?}") };
        assert!(data.flags.abandon && data.data.is_empty());
        assert_eq!((data.sequence, data.fsn_offset), (1, 0));
    }
    puppet.ack(flow.0, 1, 64);
    assert!(puppet.wait(secs(15)).is_empty());
}
