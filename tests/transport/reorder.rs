//! Packets overtake each other: order within a flow holds, and flows do not wait for each other.

use crate::support::puppet::{Puppet, flags, fragment, metadata};
use crate::support::{Pair, for_seeds, quick};
use rtmfp::proto::sim::Link;
use rtmfp::wire::Chunk;
use rtmfp::wire::chunk::{FragmentControl, UserData};

#[test]
fn many_flows_over_a_network_that_shuffles() {
    for_seeds(64, |seed| {
        let link =
            Link { reorder: 0.5, jitter: crate::support::millis(80), loss: 0.02, ..Link::bad() };
        let mut pair = Pair::new(seed, link);
        let (session, far) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let mut flows = Vec::new();
        for i in 0..8u8 {
            let (node, id) = if i % 2 == 0 { (a, session) } else { (b, far) };
            flows.push((node, id, pair.open_flow(node, id, &[i])));
        }
        for round in 0..12u8 {
            for (i, &(node, id, flow)) in flows.iter().enumerate() {
                let message = [&[i as u8, round][..], &[7; 900]].concat();
                pair.send(node, id, flow, &message);
            }
        }
        for &(node, id, flow) in &flows {
            pair.close_flow(node, id, flow);
        }
        assert!(pair.run_until_done(a, session) && pair.run_until_done(b, far));
        for node in [a, b] {
            let messages = pair.messages(node);
            assert_eq!(messages.len(), 48);
            for i in 0..8 {
                let rounds: Vec<u8> = messages.iter().filter(|m| m[0] == i).map(|m| m[1]).collect();
                assert!(rounds.is_empty() || rounds == (0..12).collect::<Vec<_>>());
            }
        }
        pair.close_and_check(a, session);
    });
}

#[test]
fn fragments_in_every_order_make_the_message() {
    let controls = [
        (FragmentControl::Begin, &b"a"[..]),
        (FragmentControl::Middle, b"b"),
        (FragmentControl::End, b"c"),
        (FragmentControl::Whole, b"d"),
    ];
    let mut order = [0usize, 1, 2, 3];
    // Heap's algorithm, iterative.
    let mut counts = [0; 4];
    let mut i = 0;
    let mut tried = 0;
    loop {
        let mut puppet = Puppet::initiator(1, quick());
        let options = metadata(b"test");
        for &at in &order {
            let (control, data) = controls[at];
            let part = fragment(2, 1 + at as u64, &options, data);
            puppet.send(&[Chunk::UserData(UserData { flags: flags(control), ..part })]);
        }
        let messages = crate::support::messages(puppet.solo.events());
        assert_eq!(messages, [&b"abc"[..], b"d"], "{order:?}");
        tried += 1;
        while i < 4 && counts[i] >= i {
            counts[i] = 0;
            i += 1;
        }
        if i == 4 {
            break;
        }
        order.swap(if i % 2 == 0 { 0 } else { counts[i] }, i);
        counts[i] += 1;
        i = 0;
    }
    assert_eq!(tried, 24);
}

#[test]
fn mild_reordering_is_not_taken_for_loss() {
    let mut pair = Pair::new(2, Link { jitter: crate::support::millis(1), ..Link::lan() });
    let (session, _) = pair.open();
    let a = pair.a;
    let flow = pair.open_flow(a, session, b"data");
    for _ in 0..50 {
        pair.send(a, session, flow, &[7; 1000]);
        pair.network.run_for(crate::support::millis(5));
    }
    assert!(pair.network.run_until(|n| n[a].0.queued(session, flow) == 0));
    assert_eq!(pair.network[a].0.session(session).unwrap().stats().fragments_lost, 0);
}
