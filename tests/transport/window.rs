//! Flow control (RFC 7016 §3.6.2.9, §3.6.3.5).

use crate::support::puppet::{Puppet, flags, fragment, metadata};
use crate::support::{Pair, for_seeds, millis, quick, quick_with, secs};
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{Event, SendError};
use rtmfp::wire::Chunk;
use rtmfp::wire::chunk::{FragmentControl, UserData};

#[test]
fn a_paused_flow_stops_its_sender_and_resumes() {
    for_seeds(64, |seed| {
        let mut small = quick();
        small.receive_buffer = 20_000;
        let mut pair = Pair::with_configs(seed, Link::bad(), quick(), small);
        let (session, far) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let flow = pair.open_flow(a, session, b"data");
        pair.send(a, session, flow, b"first");
        assert!(pair.network.run_until(|n| n[a].0.queued(session, flow) == 0));
        pair.network.act(b, |e, now| e.0.pause_flow(now, far, flow, true).unwrap());
        for i in 0..100u8 {
            pair.send(a, session, flow, &[i; 1000]);
        }
        pair.network.run_for(secs(60));
        assert_eq!(pair.messages(b).len(), 1, "held back");
        assert!(pair.network[a].0.queued(session, flow) >= 50_000, "the window is closed");
        assert!(pair.network[b].0.session(far).is_some(), "and nobody thinks the other is dead");
        pair.network.run_for(secs(120));
        pair.network.act(b, |e, now| e.0.pause_flow(now, far, flow, false).unwrap());
        assert!(pair.network.run_until(|n| n[a].0.queued(session, flow) == 0));
        let messages = pair.messages(b);
        assert_eq!(messages.len(), 100);
        assert!(messages.iter().enumerate().all(|(i, m)| m[..] == [i as u8; 1000]));
        pair.close_and_check(a, session);
    });
}

#[test]
fn a_closed_window_is_probed_at_growing_periods() {
    let mut puppet = Puppet::initiator(1, quick());
    let flow = puppet.flow_with(&[b"one"]);
    puppet.take();
    puppet.ack(flow.0, 1, 0);
    let session = puppet.session;
    puppet.solo.act(|e, now| {
        e.send(now, session, flow, b"two".as_slice().into(), Default::default()).unwrap();
    });
    let start = puppet.solo.now;
    let mut probes = Vec::new();
    let packets = puppet.wait_alive(secs(600));
    assert!(!packets.iter().any(|p| p.any(|c| matches!(c, Chunk::UserData(_)))));
    for packet in packets.iter().filter(|p| p.any(|c| c == Chunk::BufferProbe(flow.0))) {
        probes.push((packet.at - start).as_millis());
    }
    assert_eq!(probes[0], 0);
    let periods: Vec<_> = probes.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(periods[0] >= 1000, "{periods:?}");
    assert!(periods.windows(2).all(|w| w[1] >= w[0]), "{periods:?}");
    assert_eq!(periods.last(), Some(&60_000), "{periods:?}");
    // Any space lets it go on.
    puppet.ack(flow.0, 1, 1);
    assert!(
        puppet
            .take()
            .iter()
            .any(|p| p.any(|c| matches!(c, Chunk::UserData(d) if d.data == b"two")))
    );
    puppet.ack(flow.0, 2, 1);
    let later = puppet.wait_alive(secs(100));
    assert!(!later.iter().any(|p| p.any(|c| matches!(c, Chunk::BufferProbe(_)))));
}

#[test]
fn no_more_is_in_flight_than_the_window_allows() {
    let mut puppet = Puppet::initiator(2, quick());
    let flow = puppet.flow_with(&[&[1; 50_000]]);
    let sent = |puppet: &mut Puppet| -> Vec<u64> {
        let mut all = Vec::new();
        for packet in puppet.take() {
            for chunk in packet.chunks() {
                if let Chunk::UserData(UserData { sequence, .. }) = chunk {
                    all.push(sequence);
                }
            }
        }
        all
    };
    let mut highest = *sent(&mut puppet).last().unwrap();
    for _ in 0..5 {
        // Two blocks: one fragment fills the first, the second exceeds.
        puppet.ack(flow.0, highest, 2);
        let more = sent(&mut puppet);
        assert_eq!(more.len(), 2, "{more:?}");
        highest = *more.last().unwrap();
    }
}

#[test]
fn a_message_longer_than_the_buffer_still_passes() {
    let mut small = quick();
    small.receive_buffer = 4096;
    let mut pair = Pair::with_configs(3, Link::bad(), quick(), small);
    let (session, _) = pair.open();
    let (a, b) = (pair.a, pair.b);
    let flow = pair.open_flow(a, session, b"data");
    pair.send(a, session, flow, &[5; 60_000]);
    assert!(pair.network.run_until(|n| n[a].0.queued(session, flow) == 0));
    assert_eq!(pair.messages(b), [&[5; 60_000][..]]);
    pair.close_and_check(a, session);
}

#[test]
fn what_is_advertised_is_what_is_left() {
    let mut puppet = Puppet::initiator(4, quick_with(|c| c.receive_buffer = 10 * 1024));
    let options = metadata(b"test");
    let mut blocks = Vec::new();
    for sequence in [3, 4, 5] {
        let part = fragment(2, sequence, &options, &[0; 1024 - 3]);
        puppet.send(&[Chunk::UserData(part)]);
        for packet in puppet.take() {
            for chunk in packet.chunks() {
                if let Chunk::RangeAck(ack) = chunk {
                    blocks.push(ack.buffer_blocks);
                }
            }
        }
    }
    assert_eq!(blocks, [9, 8, 7]);
}

#[test]
fn hostile_message_without_end_is_passed_over() {
    let mut config = quick();
    config.max_message = 100_000;
    let mut puppet = Puppet::initiator(5, config);
    let options = metadata(b"test");
    for sequence in 1..200 {
        let control = if sequence == 1 { FragmentControl::Begin } else { FragmentControl::Middle };
        let part = fragment(2, sequence, &options, &[0; 1000]);
        puppet.send(&[Chunk::UserData(UserData { flags: flags(control), ..part })]);
        puppet.take();
        let events = puppet.solo.events();
        match (sequence, &events[..]) {
            (1, [Event::FlowOpened { .. }]) => {}
            (101, [Event::MessageTooLong { head, .. }]) => assert_eq!(head.len(), 512),
            (_, []) => {}
            _ => panic!("{sequence}: {events:?}"),
        }
    }
}

#[test]
fn a_full_queue_refuses_and_tells_when_there_is_space() {
    let mut small = quick();
    small.max_send_queue = 200_000;
    let mut pair = Pair::with_configs(6, Link::bad(), small, quick());
    let (session, _) = pair.open();
    let a = pair.a;
    let flow = pair.open_flow(a, session, b"data");
    let mut sent = 0;
    loop {
        let message = vec![sent as u8; 10_000].into();
        let result =
            pair.network.act(a, |e, now| e.0.send(now, session, flow, message, Default::default()));
        match result {
            Ok(()) => sent += 1,
            Err(error) => {
                assert_eq!(error, SendError::Full);
                break;
            }
        }
    }
    assert!((15..=20).contains(&sent), "{sent}");
    let writable = |event: &Event| matches!(event, Event::Writable { flow: f, .. } if *f == flow);
    assert!(!pair.events(a).iter().any(writable));
    pair.network.run_for(millis(60_000));
    assert_eq!(pair.events(a).iter().filter(|e| writable(e)).count(), 1);
    assert_eq!(pair.messages(pair.b).len(), sent);
}
