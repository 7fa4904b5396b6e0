//! Rejected flows (RFC 7016 §3.6.2.10, §3.6.3.7).

use crate::support::puppet::{Puppet, fin, fragment};
use crate::support::wiretap::Seen;
use crate::support::{Pair, for_seeds, quick, secs};
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{Event, FlowId, FlowOptions, SendError};
use rtmfp::wire::Chunk;
use rtmfp::wire::chunk::RangeAck;
use rtmfp::wire::option::encode_option;

#[test]
fn the_sender_is_told_once_and_the_flow_finishes() {
    for_seeds(200, |seed| {
        let mut pair = Pair::new(seed, Link::bad());
        let (session, far) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let flow = pair.open_flow(a, session, b"data");
        pair.send(a, session, flow, b"first");
        let opened = |n: &rtmfp::proto::sim::Network<crate::support::Tapped>| {
            n[b].0.session(far).unwrap().flow_counts().1 == 1
        };
        assert!(pair.network.run_until(opened));
        if seed % 2 == 0 {
            pair.network.run_for(secs(3)); // An idle flow: only the receiver detects it.
        } else {
            pair.send(a, session, flow, &[1; 50_000]);
        }
        pair.network.act(b, |e, _| e.0.reject_flow(far, flow, 42).unwrap());
        assert_eq!(
            pair.network.act(b, |e, _| e.0.reject_flow(far, flow, 43)),
            Err(SendError::NoFlow),
            "rejected already"
        );
        assert!(pair.run_until_done(a, session));
        let reported: Vec<_> = pair
            .events(a)
            .into_iter()
            .filter(|e| matches!(e, Event::FlowRejected { .. } | Event::FlowDone { .. }))
            .collect();
        let [Event::FlowRejected { flow: f, exception: 42, .. }, Event::FlowDone { .. }] =
            reported[..]
        else {
            panic!("{reported:?}")
        };
        assert_eq!(f, flow);
        let result = pair.network.act(a, |e, now| {
            e.0.send(now, session, flow, b"x".as_slice().into(), Default::default())
        });
        assert_eq!(result, Err(SendError::NoFlow));
        let after: Vec<_> = pair
            .events(b)
            .into_iter()
            .skip_while(|e| !matches!(e, Event::Message { .. }))
            .skip(1)
            .collect();
        assert!(after.is_empty(), "{after:?}");
        pair.close_and_check(a, session);
    });
}

fn exceptions(packets: &[Seen]) -> Vec<u64> {
    let mut all = Vec::new();
    for chunk in packets.iter().flat_map(Seen::chunks) {
        if let Chunk::FlowException { exception, .. } = chunk {
            all.push(exception);
        }
    }
    all
}

#[test]
fn an_exception_comes_with_every_acknowledgement_and_again_until_the_flow_is_finished() {
    let mut puppet = Puppet::initiator(1, quick());
    puppet.message(2, 1, b"one");
    puppet.take();
    let session = puppet.session;
    puppet.solo.act(|e, _| e.reject_flow(session, FlowId(2), 7).unwrap());
    let packets = puppet.take();
    assert_eq!(exceptions(&packets), [7]);
    let mut blocks = None;
    for chunk in packets[0].chunks() {
        if let Chunk::RangeAck(ack) = chunk {
            blocks = Some(ack.buffer_blocks);
        }
    }
    assert_eq!(blocks, Some(0), "no space for a rejected flow");
    puppet.message(2, 2, b"two");
    assert_eq!(exceptions(&puppet.take()), [7]);
    let start = puppet.solo.now;
    let again: Vec<_> = puppet.wait_alive(secs(60));
    let times: Vec<_> = again
        .iter()
        .filter(|p| !exceptions(std::slice::from_ref(p)).is_empty())
        .map(|p| (p.at - start).as_millis())
        .collect();
    assert_eq!(times[..4], [500, 1207, 2207, 3621], "as the observed player");
    assert!(times.windows(2).all(|w| w[1] - w[0] <= 10_000) && times.len() < 20);
    puppet.send(&[Chunk::UserData(fin(2, 3))]);
    puppet.take();
    assert!(exceptions(&puppet.wait_alive(secs(60))).is_empty());
    let events = puppet.solo.events();
    let messages = events.iter().filter(|e| matches!(e, Event::Message { .. })).count();
    assert_eq!(messages, 1, "nothing is delivered after the rejection: {events:?}");
}

/// The answer to a first fragment with these options.
fn start_with(options: &[u8]) -> (Vec<u64>, Vec<Event>) {
    let mut puppet = Puppet::initiator(2, quick());
    puppet.send(&[Chunk::UserData(fragment(2, 1, options, b"x"))]);
    (exceptions(&puppet.take()), puppet.solo.events())
}

fn options(list: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    list.iter().for_each(|(kind, value)| encode_option(*kind, value, &mut out));
    out.push(0);
    out
}

#[test]
fn flows_that_must_be_rejected() {
    for (why, list) in [
        ("no options", vec![]),
        ("no metadata", options(&[(9000, b"x")])),
        ("an unknown option that must be understood", options(&[(0, b"m"), (77, b"")])),
        ("an association with no flow", options(&[(0, b"m"), (0x0a, &[5])])),
        ("a malformed association", options(&[(0, b"m"), (0x0a, &[])])),
    ] {
        let (exceptions, events) = start_with(&list);
        assert_eq!((&exceptions[..], events.len()), (&[0][..], 0), "{why}");
    }
    let (exceptions, events) = start_with(&options(&[(0, b"m"), (8192, b"x")]));
    assert!(exceptions.is_empty() && events.len() == 2, "an option that may be ignored");
}

#[test]
fn an_unknown_option_later_rejects_an_open_flow() {
    let mut puppet = Puppet::initiator(3, quick());
    puppet.message(2, 1, b"x");
    puppet.take();
    puppet.solo.events();
    let list = options(&[(0, b"m"), (77, b"")]);
    puppet.send(&[Chunk::UserData(fragment(2, 2, &list, b"x"))]);
    assert_eq!(exceptions(&puppet.take()), [0]);
    assert!(matches!(puppet.solo.events()[..], [Event::FlowFinished { .. }]));
}

#[test]
fn a_return_flow_needs_an_open_flow() {
    let mut puppet = Puppet::initiator(4, quick());
    let near = puppet.flow_with(&[b"question"]);
    let list = options(&[(0, b"m"), (0x0a, &[near.0 as u8])]);
    puppet.send(&[Chunk::UserData(fragment(2, 1, &list, b"answer"))]);
    assert!(exceptions(&puppet.take()).is_empty());
    let events = puppet.solo.events();
    assert!(
        matches!(&events[0], Event::FlowOpened { association, .. } if *association == Some(near))
    );
    let session = puppet.session;
    puppet.solo.act(|e, _| e.close_flow(session, near).unwrap());
    puppet.take();
    puppet.send(&[Chunk::UserData(fragment(3, 1, &list, b"too late"))]);
    assert_eq!(exceptions(&puppet.take()), [0]);
    assert!(puppet.solo.events().is_empty());
}

#[test]
fn a_return_flow_arrives_with_its_association() {
    let mut pair = Pair::new(5, Link::bad());
    let (session, far) = pair.open();
    let (a, b) = (pair.a, pair.b);
    let question = pair.open_flow(a, session, b"question");
    pair.send(a, session, question, b"?");
    pair.network.run_for(secs(2));
    let association = Some(question);
    let mut options = FlowOptions::default();
    options.association = association;
    let answer = pair.open_flow_with(b, far, b"answer", options);
    pair.send(b, far, answer, b"!");
    pair.network.run_for(secs(2));
    let opened = pair.events(a).into_iter().find_map(|event| match event {
        Event::FlowOpened { metadata, association, .. } => Some((metadata, association)),
        _ => None,
    });
    assert_eq!(opened, Some((b"answer".as_slice().into(), Some(question))));
    pair.close_and_check(a, session);
}

#[test]
fn a_rejected_sender_finishes_with_an_abandoned_fragment() {
    let mut puppet = Puppet::initiator(6, quick());
    let flow = puppet.flow_with(&[&[1; 5000], b"more"]);
    puppet.take();
    puppet.send(&[Chunk::FlowException { flow: flow.0, exception: 9 }]);
    puppet.send(&[Chunk::FlowException { flow: flow.0, exception: 10 }]);
    puppet.send(&[Chunk::FlowException { flow: 99, exception: 9 }]);
    // Fragments 1 to 4 were in flight, 5 and the last message never left.
    puppet.ack(flow.0, 3, 0);
    assert_eq!(given_up(&puppet.take()), [(6, true)]);
    let runs = [0, 0];
    let ack = RangeAck { flow: flow.0, buffer_blocks: 0, cumulative: 4, runs: &runs };
    puppet.send(&[Chunk::RangeAck(ack)]);
    assert_eq!(given_up(&puppet.take()), [(5, false)]);
    puppet.ack(flow.0, 6, 0);
    let events = puppet.solo.events();
    assert!(
        matches!(events[..], [Event::FlowRejected { exception: 9, .. }, Event::FlowDone { .. }]),
        "{events:?}"
    );
}

/// Sequence number and final flag of every fragment, each of which must be abandoned.
fn given_up(packets: &[Seen]) -> Vec<(u64, bool)> {
    let mut all = Vec::new();
    for chunk in packets.iter().flat_map(Seen::chunks) {
        if let Chunk::UserData(data) = chunk {
            assert!(data.flags.abandon && data.data.is_empty());
            all.push((data.sequence, data.flags.last));
        }
    }
    all
}

/// Flows beyond the bound are rejected, and end like any rejected flow; others go on.
#[test]
fn flows_beyond_the_bound_are_rejected() {
    for_seeds(200, |seed| {
        let mut few = quick();
        few.max_flows = 3;
        let mut pair = Pair::with_configs(seed, Link::bad(), quick(), few);
        let (session, _) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let flows: Vec<FlowId> = (0..8)
            .map(|_| {
                let flow = pair.open_flow(a, session, b"data");
                pair.send(a, session, flow, &[1; 2000]);
                flow
            })
            .collect();
        pair.network.run_for(secs(20));
        let rejected: Vec<FlowId> = pair
            .events(a)
            .into_iter()
            .filter_map(|e| match e {
                Event::FlowRejected { flow, exception: 0, .. } => Some(flow),
                _ => None,
            })
            .collect();
        assert_eq!((rejected.len(), pair.messages(b).len()), (5, 3));
        let left = pair.network[a].0.session(session).unwrap().flow_counts().0;
        assert_eq!(left, 3, "the rejected ones are done");
        for flow in flows.into_iter().filter(|flow| !rejected.contains(flow)) {
            pair.close_flow(a, session, flow);
        }
        assert!(pair.run_until_done(a, session));
        pair.close_and_check(a, session);
    });
}
