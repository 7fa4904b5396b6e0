//! Time critical data has way: forward (TC) and reverse notification (TCR) between sessions
//! (RFC 7016 §3.5.2.1).

use crate::support::puppet::Puppet;
use crate::support::{Pair, Wire, endpoint, for_seeds, millis, quick, secs};
use rtmfp::proto::crypto::Epd;
use rtmfp::proto::sim::{Link, NodeId};
use rtmfp::proto::transport::{Controller, FlowOptions, SessionId, Time};
use rtmfp::wire::{Chunk, Mode, PacketHeader};
use std::collections::VecDeque;

/// Two senders and a receiver, `hub`, to which both have a session.
struct Hub {
    pair: Pair,
    hub: NodeId,
    from_a: SessionId,
    from_b: SessionId,
}

impl Hub {
    fn new(seed: u64) -> Self {
        let mut pair = Pair::new(seed, Link::lan().with_delay(millis(20)));
        let machine = endpoint(&mut pair.network, quick());
        let hub = pair.network.add("10.0.0.3:1003", machine);
        let address = pair.network.address(hub);
        let epd = Epd::for_fingerprint(pair.network[hub].0.fingerprint());
        for node in [pair.a, pair.b] {
            pair.network.act(node, |e, now| e.0.open(now, epd.clone(), &[address]));
        }
        assert!(pair.network.run_until(|n| n[hub].0.sessions().count() == 2));
        let (from_a, from_b) = (pair.session(pair.a), pair.session(pair.b));
        Self { pair, hub, from_a, from_b }
    }

    /// `a` sends a time critical message every 100 ms for `count` times.
    fn speak(&mut self, count: usize) {
        let options = FlowOptions::default().with_time_critical(true);
        let flow = self.pair.open_flow_with(self.pair.a, self.from_a, b"voice", options);
        for _ in 0..count {
            self.pair.send(self.pair.a, self.from_a, flow, b"voice");
            self.pair.network.run_for(millis(100));
        }
    }
}

#[test]
fn the_receiver_tells_its_other_senders() {
    for_seeds(200, |seed| {
        let mut hub = Hub::new(seed);
        let bulk = hub.pair.open_flow(hub.pair.b, hub.from_b, b"bulk");
        hub.pair.send(hub.pair.b, hub.from_b, bulk, &[1; 30_000]);
        hub.speak(3);
        let until = hub.pair.now();
        hub.pair.send(hub.pair.b, hub.from_b, bulk, &[1; 3000]);
        hub.pair.network.run_for(secs(2));
        hub.pair.send(hub.pair.b, hub.from_b, bulk, &[1; 3000]);
        hub.pair.network.run_for(secs(1));
        let n = &hub.pair.network;
        let wire = Wire::new(&[&n[hub.pair.a], &n[hub.pair.b], &n[hub.hub]]);
        let (to_a, to_b) = (n.address(hub.pair.a), n.address(hub.pair.b));
        let reverse = |to| {
            let packets = wire.session_packets(2).filter(move |p| p.to == to);
            packets.map(|p| (p.at, p.header.time_critical_reverse)).collect::<Vec<_>>()
        };
        assert!(reverse(to_b).iter().any(|(at, set)| *set && *at <= until + millis(800)));
        assert!(reverse(to_a).iter().all(|(_, set)| !set), "the speaker itself is not notified");
        let late = reverse(to_b).into_iter().filter(|(at, _)| *at > until + millis(1000));
        assert!(late.clone().count() > 0 && late.into_iter().all(|(_, set)| !set));
        // The speaker's packets say what they are.
        let speaks = wire.session_packets(0).filter(|p| p.any(|c| matches!(c, Chunk::UserData(_))));
        assert!(speaks.into_iter().all(|p| p.header.time_critical));
    });
}

/// Bytes of the congestion window after a second of sending as much as possible, over 20 ms.
fn window(controller: Controller, reverse: bool, own: bool) -> u64 {
    let mut config = quick();
    config.controller = controller;
    let mut puppet = Puppet::initiator(1, config);
    let session = puppet.session;
    let options = FlowOptions::default().with_time_critical(own);
    let flow = puppet.solo.act(|e, now| {
        let flow = e.open_flow(session, b"test", options).unwrap();
        let message = bytes::Bytes::from(vec![1; 3_000_000]);
        e.send(now, session, flow, message, Default::default()).unwrap();
        flow
    });
    let (mut sequence, mut flight) = (0, VecDeque::new());
    for _ in 0..1000 {
        flight.extend(puppet.wait(millis(1)));
        let arrived = puppet.solo.now.since(Time::ZERO).saturating_sub(millis(20));
        while flight.front().is_some_and(|packet| packet.at <= Time::ZERO + arrived)
            && let Some(packet) = flight.pop_front()
        {
            let header = PacketHeader {
                time_critical_reverse: reverse,
                ..PacketHeader::new(Mode::Initiator)
            };
            let fragments = packet.chunks().into_iter();
            let data = |c: &Chunk<'_>| matches!(c, Chunk::UserData(_) | Chunk::NextUserData(_));
            sequence += fragments.filter(data).count() as u64;
            let ack = rtmfp::wire::chunk::RangeAck {
                flow: flow.0,
                buffer_blocks: 10_000,
                cumulative: sequence,
                runs: &[],
            };
            let ack = puppet.packet_with(&header, &[Chunk::RangeAck(ack)]);
            let address = puppet.address;
            puppet.solo.deliver(address, ack);
        }
    }
    puppet.solo.endpoint.session(session).unwrap().congestion_window()
}

/// A sender that was notified has no slow start, unless its own data is time critical.
#[test]
fn a_sender_that_was_told_yields() {
    for controller in [Controller::AppendixA, Controller::Bbr] {
        let [free, notified, both] = [(false, false), (true, false), (true, true)]
            .map(|(reverse, own)| window(controller, reverse, own));
        let start = 3 * 1200;
        assert!(free > start + 30_000, "{controller}: {free}");
        // At most 384 bytes a round trip, of which there were fifty.
        assert!(notified <= start + 50 * 384 + 1200, "{controller}: {notified}");
        assert!(notified < free / 2, "{controller}: {notified} of {free}");
        assert!(both > notified, "{controller}: {both} of {notified}");
    }
}
