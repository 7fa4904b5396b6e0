//! The far end's address changes (RFC 7016 §3.5.4.2).

use crate::support::puppet::{ELSEWHERE, Puppet};
use crate::support::{Pair, for_seeds, millis, quick, secs};
use rtmfp::proto::sim::Link;
use rtmfp::proto::transport::{Event, FlowId, SessionId};
use rtmfp::wire::Chunk;
use std::net::SocketAddr;

fn elsewhere() -> SocketAddr {
    ELSEWHERE.parse().unwrap()
}

/// Messages on their way in both directions, on a flow each.
fn both_ways(pair: &mut Pair, near: SessionId, far: SessionId, count: u8) -> (FlowId, FlowId) {
    let (a, b) = (pair.a, pair.b);
    let up = pair.open_flow(a, near, b"up");
    let down = pair.open_flow(b, far, b"down");
    for i in 0..count {
        pair.send(a, near, up, &[i; 2000]);
        pair.send(b, far, down, &[i; 2000]);
    }
    (up, down)
}

#[test]
fn a_transfer_goes_on_at_a_new_address() {
    for_seeds(64, |seed| {
        let mut pair = Pair::new(seed, Link::bad());
        let (session, far) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let (up, down) = both_ways(&mut pair, session, far, 60);
        pair.network.run_for(millis(150 + 9 * seed));
        pair.network.relocate(a, "10.0.0.77:7");
        let done = |n: &rtmfp::proto::sim::Network<crate::support::Tapped>| {
            n[a].0.queued(session, up) == 0 && n[b].0.queued(far, down) == 0
        };
        assert!(pair.network.run_until(done));
        assert_eq!(crate::support::messages(pair.events(a)).len(), 60);
        let events = pair.events(b);
        let moved =
            |e: &Event| matches!(e, Event::AddressChanged { address, .. } if address.port() == 7);
        assert!(events.iter().any(moved));
        assert_eq!(crate::support::messages(events).len(), 60);
        let path = pair.network[b].0.session(far).unwrap().path();
        assert_eq!(path.remote, pair.network.address(a));
        pair.close_and_check(a, session);
    });
}

/// What is asked of `to`: the messages of the pings that went there.
fn challenges(puppet: &mut Puppet, to: SocketAddr) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for packet in puppet.take().iter().filter(|p| p.to == to) {
        for chunk in packet.chunks() {
            if let Chunk::Ping(message) = chunk {
                all.push(message.to_vec());
            }
        }
    }
    all
}

fn deliver_from(puppet: &mut Puppet, from: SocketAddr, chunks: &[Chunk<'_>]) {
    let packet = puppet.packet(chunks);
    puppet.solo.deliver(from, packet);
}

#[test]
fn hostile_a_copied_packet_from_elsewhere_is_not_believed() {
    let mut puppet = Puppet::initiator(1, quick());
    let flow = puppet.flow_with(&[b"one"]);
    puppet.ack(flow.0, 1, 64);
    puppet.take();
    for _ in 0..5 {
        deliver_from(&mut puppet, elsewhere(), &[Chunk::PingReply(b"nothing")]);
        assert_eq!(challenges(&mut puppet, elsewhere()).len(), 1);
        deliver_from(&mut puppet, elsewhere(), &[Chunk::PingReply(b"nothing")]);
        assert!(challenges(&mut puppet, elsewhere()).is_empty(), "one a second");
        let session = puppet.session;
        puppet.solo.act(|e, now| {
            e.send(now, session, flow, b"more".as_slice().into(), Default::default()).unwrap();
        });
        let address = puppet.address;
        assert!(puppet.take().iter().all(|p| p.to == address));
        puppet.solo.run_for(secs(1));
        puppet.take();
    }
    assert!(puppet.solo.events().is_empty());
}

#[test]
fn the_right_answer_from_the_right_address_moves_the_session() {
    let mut puppet = Puppet::initiator(2, quick());
    let third: SocketAddr = "203.0.113.5:5".parse().unwrap();
    deliver_from(&mut puppet, elsewhere(), &[Chunk::PingReply(b"")]);
    let challenge = challenges(&mut puppet, elsewhere()).remove(0);
    assert_eq!(challenge[0], b'M');
    let answer = [Chunk::PingReply(&challenge)];
    deliver_from(&mut puppet, third, &answer);
    let address = puppet.address;
    deliver_from(&mut puppet, address, &answer);
    puppet.take();
    assert!(puppet.solo.events().is_empty(), "from another address");
    deliver_from(&mut puppet, elsewhere(), &answer);
    assert!(matches!(
        puppet.solo.events()[..],
        [Event::AddressChanged { address, .. }] if address == elsewhere()
    ));
    puppet.flow_with(&[b"now there"]);
    assert!(puppet.take().iter().all(|p| p.to == elsewhere()));
    // Back, and the old answer again: a replay.
    puppet.solo.run_for(millis(1001));
    puppet.take();
    deliver_from(&mut puppet, address, &[Chunk::PingReply(b"")]);
    let back = challenges(&mut puppet, address).remove(0);
    deliver_from(&mut puppet, address, &[Chunk::PingReply(&back)]);
    deliver_from(&mut puppet, elsewhere(), &answer);
    let session = puppet.session;
    assert_eq!(puppet.solo.endpoint.session(session).unwrap().path().remote, address);
}

#[test]
fn a_ping_and_the_answer_in_one_packet_do_not_block_the_session() {
    let mut puppet = Puppet::initiator(3, quick());
    deliver_from(&mut puppet, elsewhere(), &[Chunk::PingReply(b"")]);
    let challenge = challenges(&mut puppet, elsewhere()).remove(0);
    // The reply to the ping is queued for the new address before that becomes the session's.
    let both = [Chunk::Ping(b"here"), Chunk::PingReply(&challenge)];
    deliver_from(&mut puppet, elsewhere(), &both);
    let packets = puppet.take();
    assert!(
        packets.iter().any(|p| p.to == elsewhere() && p.any(|c| c == Chunk::PingReply(b"here")))
    );
    deliver_from(&mut puppet, elsewhere(), &[Chunk::Ping(b"again")]);
    assert!(puppet.take()[0].any(|c| c == Chunk::PingReply(b"again")));
}

/// Both ends move within a round trip: the ping that would verify the first goes to where the
/// second no longer is. Nobody is at the address that either knows, but one has sent from its new
/// one, and is sought there.
#[test]
fn both_ends_move_within_a_round_trip() {
    for_seeds(64, |seed| {
        let mut pair = Pair::new(seed, Link::bad());
        let (session, far) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let (up, down) = both_ways(&mut pair, session, far, 10);
        pair.network.run_for(millis(200));
        pair.network.relocate(a, "10.0.0.77:7");
        // As soon as `b` has received from the new address, it moves too.
        let received = pair.network[b].1.received.len();
        assert!(pair.network.run_until(|n| n[b].1.received.len() > received));
        pair.network.relocate(b, "10.0.0.88:8");
        let done = |n: &rtmfp::proto::sim::Network<crate::support::Tapped>| {
            n[a].0.queued(session, up) == 0 && n[b].0.queued(far, down) == 0
        };
        assert!(pair.network.run_until(done));
        assert!(pair.network[a].0.session(session).is_some(), "the session is lost");
        assert_eq!(crate::support::messages(pair.events(a)).len(), 10);
        assert_eq!(crate::support::messages(pair.events(b)).len(), 10);
        pair.close_and_check(a, session);
    });
}

/// One has moved and is verified; then it goes back, and the other moves at the same moment.
#[test]
fn one_goes_back_while_the_other_moves() {
    for_seeds(64, |seed| {
        let mut pair = Pair::new(seed, Link::bad());
        let (session, far) = pair.open();
        let (a, b) = (pair.a, pair.b);
        let up = pair.open_flow(a, session, b"up");
        let down = pair.open_flow(b, far, b"down");
        pair.network.relocate(a, "10.0.0.77:7");
        pair.send(a, session, up, b"from there");
        let verified = |n: &rtmfp::proto::sim::Network<crate::support::Tapped>| {
            n[b].0.session(far).unwrap().path().remote.port() == 7
        };
        assert!(pair.network.run_until(verified));
        pair.network.relocate(a, "10.0.0.1:1001");
        pair.network.relocate(b, "10.0.0.88:8");
        pair.send(a, session, up, b"up");
        pair.send(b, far, down, b"down");
        let done = |n: &rtmfp::proto::sim::Network<crate::support::Tapped>| {
            n[a].0.queued(session, up) == 0 && n[b].0.queued(far, down) == 0
        };
        assert!(pair.network.run_until(done));
        assert_eq!(crate::support::messages(pair.events(a)), [&b"down"[..]]);
        assert_eq!(crate::support::messages(pair.events(b)), [&b"from there"[..], b"up"]);
        pair.close_and_check(a, session);
    });
}

/// What is impossible: nobody is left at any address that either end has ever known.
#[test]
fn both_at_the_same_moment_is_the_end_of_the_session() {
    let mut pair = Pair::new(1, Link::lan());
    let (session, _) = pair.open();
    let (a, b) = (pair.a, pair.b);
    pair.network.relocate(a, "10.0.0.77:7");
    pair.network.relocate(b, "10.0.0.88:8");
    let flow = pair.open_flow(a, session, b"data");
    pair.send(a, session, flow, b"hello");
    pair.network.run_for(secs(100));
    assert_eq!((pair.network[a].0.load().0, pair.network[b].0.load().0), (0, 0));
}
