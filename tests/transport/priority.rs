//! Which flow goes first when several have something to send.

use crate::support::puppet::Puppet;
use crate::support::{Pair, for_seeds, millis, quick, secs};
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{Controller, Event, FlowId, FlowOptions, MessageOptions, Priority};
use rtmfp::wire::{Chunk, Mode, PacketHeader};
use std::collections::VecDeque;

fn with(priority: Priority) -> FlowOptions {
    FlowOptions::default().with_priority(priority)
}

/// The flows of the messages of `b`, in order of arrival.
fn arrivals(pair: &mut Pair) -> Vec<FlowId> {
    let b = pair.b;
    let flow = |event| match event {
        Event::Message { flow, .. } => Some(flow),
        _ => None,
    };
    pair.events(b).into_iter().filter_map(flow).collect()
}

#[test]
fn the_urgent_overtake_the_bulk() {
    let mut pair = Pair::new(1, Link::lan().with_rate(100_000));
    let (session, _) = pair.open();
    let a = pair.a;
    let order = [Priority::Background, Priority::Bulk, Priority::Routine, Priority::Immediate];
    let flows = order.map(|p| pair.open_flow_with(a, session, b"data", with(p)));
    // The first has started long before the others come.
    for _ in 0..100 {
        pair.send(a, session, flows[0], &[0; 1000]);
    }
    pair.network.run_for(millis(100));
    let early = arrivals(&mut pair).len();
    assert!(early < 20, "{early}");
    let asked = pair.now();
    pair.network.act(a, |e, now| {
        for &flow in &flows[1..] {
            for _ in 0..10 {
                let message = vec![1; 1000].into();
                e.0.send(now, session, flow, message, Default::default()).unwrap();
            }
        }
    });
    pair.network.run_for(secs(10));
    assert_eq!(arrivals(&mut pair).len() + early, 130);
    // Some were lost in the queue of the slow link, so look at the order of the first attempts.
    let mut tried = Vec::new();
    for chunk in pair.wire().session_packets(0).filter(|p| p.at >= asked).flat_map(|p| p.chunks()) {
        if let Chunk::UserData(data) = chunk
            && !tried.contains(&(data.flow, data.sequence))
        {
            tried.push((data.flow, data.sequence));
        }
    }
    let mut expected = Vec::new();
    for flow in [flows[3], flows[2], flows[1]] {
        expected.extend((1..=10).map(|sequence| (flow.0, sequence)));
    }
    let bulk = tried.iter().take_while(|(flow, _)| *flow == flows[0].0).count();
    assert!(bulk <= 1, "{tried:?}");
    assert_eq!(tried[bulk..bulk + 30], expected);
    pair.close_and_check(a, session);
}

/// On a bad link every flow gets through, and the more urgent ones are through earlier: the last
/// message of each priority arrives before the last of the next, though they were queued in the
/// opposite order. There are more of the less urgent, as the last urgent one may need to be sent
/// several times.
#[test]
fn the_urgent_are_through_first_on_a_bad_link() {
    const MESSAGES: [usize; 2] = [60, 20];
    for_seeds(64, |seed| {
        let mut pair = Pair::new(seed, Link::bad());
        let (session, _) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let order = [Priority::Background, Priority::Immediate];
        let flows = order.map(|p| pair.open_flow_with(a, session, b"data", with(p)));
        for (flow, messages) in flows.into_iter().zip(MESSAGES) {
            for _ in 0..messages {
                pair.send(a, session, flow, &[0; 1000]);
            }
        }
        let mut finished = Vec::new();
        let mut counts = [0; 2];
        while finished.len() < 2 {
            assert!(pair.now() < rtmfp::proto::transport::Time::from_millis(300_000), "{counts:?}");
            pair.network.run_for(millis(20));
            for event in pair.events(b) {
                let Event::Message { flow, .. } = event else { continue };
                let which = flows.iter().position(|f| *f == flow).expect("one of the two");
                counts[which] += 1;
                if counts[which] == MESSAGES[which] {
                    finished.push(which);
                }
            }
        }
        assert_eq!(finished, [1, 0], "the immediate one first");
        pair.close_and_check(a, session);
    });
}

#[test]
fn equals_share() {
    // The queue takes all: what is lost is not shared.
    let mut pair = Pair::new(2, Link::lan().with_rate(100_000).with_queue(secs(2)));
    let (session, _) = pair.open();
    let a = pair.a;
    let flows: Vec<_> = (0..4).map(|_| pair.open_flow(a, session, b"data")).collect();
    // All at once, so that none has a head start.
    pair.network.act(a, |e, now| {
        for flow in flows.iter().flat_map(|flow| [*flow; 50]) {
            let message = vec![0; 1000].into();
            e.0.send(now, session, flow, message, MessageOptions::RELIABLE).unwrap();
        }
    });
    pair.network.run_for(millis(1000));
    let arrived = arrivals(&mut pair);
    assert!((60..130).contains(&arrived.len()), "{}", arrived.len());
    for flow in &flows {
        let share = arrived.iter().filter(|f| *f == flow).count();
        assert!(share * 4 + 8 >= arrived.len() && share * 4 <= arrived.len() + 8, "{share}");
    }
    pair.close_and_check(a, session);
}

#[test]
fn small_messages_of_a_flow_share_a_packet() {
    let mut puppet = Puppet::initiator(3, quick());
    let session = puppet.session;
    puppet.solo.act(|e, now| {
        let flow = e.open_flow(session, b"test", FlowOptions::default()).unwrap();
        for i in 0..20u8 {
            e.send(now, session, flow, vec![i; 10].into(), Default::default()).unwrap();
        }
    });
    let packets = puppet.take();
    assert_eq!(packets.len(), 1);
    let chunks = packets[0].chunks();
    assert!(matches!(chunks[0], Chunk::UserData(_)));
    assert!(chunks[1..].iter().all(|c| matches!(c, Chunk::NextUserData(_))));
    assert_eq!(chunks.len(), 20);
}

/// The burst after an acknowledgement of the next `acknowledged` packets of `sent`, which it joins.
fn burst_after(puppet: &mut Puppet, flow: u64, sent: &mut VecDeque<u64>, packets: usize) -> usize {
    let highest = sent.drain(..packets).next_back().expect("a packet to acknowledge");
    puppet.ack(flow, highest, 1000);
    let burst = puppet.take();
    for packet in &burst {
        let mut sequences = packet.chunks().into_iter().filter_map(|chunk| match chunk {
            Chunk::UserData(data) => Some(data.sequence),
            _ => None,
        });
        sent.extend(sequences.next_back());
    }
    burst.len()
}

#[test]
fn bursts_are_six_packets_or_twice_what_was_acknowledged() {
    // The other controller spreads packets over time instead.
    let mut config = quick();
    config.controller = Controller::AppendixA;
    let mut puppet = Puppet::initiator(4, config);
    let flow = puppet.flow_with(&[&[0; 800_000]]).0;
    let first = puppet.take().len();
    assert!((3..=4).contains(&first), "three packets like the observed player");
    let mut sent: VecDeque<u64> = (1..=first as u64).collect();
    let mut acknowledged = 0;
    let mut largest = 0;
    for _ in 0..60 {
        acknowledged += 2;
        let burst = burst_after(&mut puppet, flow, &mut sent, 2);
        assert!(burst <= (2 * acknowledged).max(6), "{burst} after {acknowledged}");
        acknowledged = if burst > 0 { 0 } else { acknowledged };
        largest = largest.max(burst);
    }
    let in_flight = sent.len();
    assert!(in_flight > 40 && largest <= in_flight / 8 + 4, "{largest} of {in_flight}");
    // An acknowledgement of many lets as many go, and one more that the window has grown by.
    let burst = burst_after(&mut puppet, flow, &mut sent, 20);
    assert!((18..=30).contains(&burst), "{burst}");
}

/// A window that is far from full, since its owner was slow, is not filled at once.
#[test]
fn an_open_window_is_not_filled_by_one_burst() {
    let mut puppet = Puppet::initiator(6, quick());
    let flow = puppet.flow_with(&[&[0; 100_000]]).0;
    let mut sent: VecDeque<u64> = (1..=puppet.take().len() as u64).collect();
    while sent.len() > 2 {
        burst_after(&mut puppet, flow, &mut sent, 2);
    }
    let session = puppet.session;
    puppet.solo.act(|e, now| {
        let message = vec![0; 100_000].into();
        e.send(now, session, FlowId(flow), message, Default::default()).unwrap();
    });
    let burst = puppet.take().len();
    assert_eq!(burst, 6, "what was acknowledged before there was anything to send does not count");
}

#[test]
fn time_critical_flows_say_so() {
    let mut puppet = Puppet::initiator(5, quick());
    let session = puppet.session;
    let send = |puppet: &mut Puppet, time_critical| {
        let options = FlowOptions::default().with_time_critical(time_critical);
        puppet.solo.act(|e, now| {
            let flow = e.open_flow(session, b"test", options).unwrap();
            e.send(now, session, flow, b"x".as_slice().into(), Default::default()).unwrap();
        });
        puppet.take()[0].header.time_critical
    };
    assert!(send(&mut puppet, true));
    assert!(!send(&mut puppet, false));
    // What this session itself receives in this way is no reason to slow its far end down.
    let header = PacketHeader { time_critical: true, ..PacketHeader::new(Mode::Initiator) };
    let packet = puppet.packet_with(&header, &[Chunk::Ping(b"x")]);
    let address = puppet.address;
    puppet.solo.deliver(address, packet);
    assert!(!puppet.take()[0].header.time_critical_reverse);
}
