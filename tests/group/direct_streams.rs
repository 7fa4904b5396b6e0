//! Streams from peer to peer, without a group: who gets what, who is refused, and what stays behind.

use crate::support::{for_seeds, millis, secs};
use bytes::Bytes;
use rtmfp::proto::crypto::{Epd, Fingerprint, Identity, IdentityConfig};
use rtmfp::proto::flash::stream::{NetStreamError, NetStreamEvent};
use rtmfp::proto::flash::{Body, Format, Message, UserControl};
use rtmfp::proto::node::{Node, NodeConfig, NodeEvent, PublishToPeers, StreamHandle};
use rtmfp::proto::sim::{Actor, Link, Network, NodeId};
use rtmfp::proto::transport::{FlowId, FlowOptions, Layer, MessageOptions, Time};
use std::sync::Arc;

/// The first flow of a session, with which a stream is asked for.
const ASKING: FlowId = FlowId(2);

/// A node alone, and the events of its streams.
struct Host {
    node: Node,
    events: Vec<(StreamHandle, NetStreamEvent)>,
}

impl Layer for Host {
    type Inner = Node;

    fn inner(&self) -> &Node {
        &self.node
    }

    fn inner_mut(&mut self) -> &mut Node {
        &mut self.node
    }
}

impl Actor for Host {
    fn react(&mut self, _now: Time) -> bool {
        while let Some(event) = self.node.poll_event() {
            if let NodeEvent::Stream(handle, event) = event {
                self.events.push((handle, event));
            }
        }
        false
    }
}

fn host(network: &mut Network<Host>, number: usize) -> NodeId {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    let seed = Box::new(network.random());
    let node = Node::new(NodeConfig::default(), identity, Box::new(random), seed);
    network.add(&format!("10.0.0.{number}:1"), Host { node, events: Vec::new() })
}

fn hosts(seed: u64, link: Link, count: usize) -> (Network<Host>, Vec<NodeId>) {
    let mut network = Network::new(seed, link);
    let hosts = (1..=count).map(|number| host(&mut network, number)).collect();
    (network, hosts)
}

fn id(network: &Network<Host>, host: NodeId) -> Fingerprint {
    network[host].node.peer_id()
}

fn publish(network: &mut Network<Host>, at: NodeId, name: &str, max_peers: usize) -> StreamHandle {
    let mut options = PublishToPeers::default();
    options.max_peers = max_peers;
    network.act(at, |it, now| it.node.publish_to_peers(now, name, options)).unwrap()
}

fn play(network: &mut Network<Host>, at: NodeId, from: NodeId, name: &str) -> StreamHandle {
    let (peer, address) = (id(network, from), network.address(from));
    network.act(at, |it, now| it.node.play_from_peer(now, peer, name, &[address])).unwrap()
}

fn write(network: &mut Network<Host>, at: NodeId, stream: StreamHandle, message: &Message) -> bool {
    network.act(at, |it, now| it.node.write_to_stream(now, stream, message))
}

fn data(at: u32, text: &str) -> Message {
    Message::new(at, Body::Data(Format::Extended, Bytes::copy_from_slice(text.as_bytes())))
}

fn events(network: &Network<Host>, of: NodeId, stream: StreamHandle) -> Vec<&NetStreamEvent> {
    network[of].events.iter().filter(|(it, _)| *it == stream).map(|(_, event)| event).collect()
}

/// The messages that a stream has brought.
fn messages(network: &Network<Host>, of: NodeId, stream: StreamHandle) -> Vec<Message> {
    let messages = events(network, of, stream).into_iter().filter_map(|event| match event {
        NetStreamEvent::Message(message) => Some(message.clone()),
        _ => None,
    });
    messages.collect()
}

fn has(network: &Network<Host>, of: NodeId, stream: StreamHandle, event: &NetStreamEvent) -> bool {
    events(network, of, stream).contains(&event)
}

#[test]
fn messages_go_to_all_who_play_and_the_end_too() {
    for_seeds(6, |seed| {
        let link = if seed % 2 == 0 { Link::lan() } else { Link::bad() };
        let (mut network, hosts) = hosts(seed, link, 4);
        let published = publish(&mut network, hosts[0], "media", 8);
        let played: Vec<_> =
            hosts[1..].iter().map(|&it| (it, play(&mut network, it, hosts[0], "media"))).collect();
        let peers = |n: &Network<Host>| n[hosts[0]].node.peers_of_stream(published).len();
        assert!(network.run_until(|n| peers(n) == 3));
        let sent: Vec<_> = (0..100).map(|n| data(n, &"x".repeat(37 * n as usize))).collect();
        for message in &sent {
            assert!(write(&mut network, hosts[0], published, message));
            network.run_for(millis(20));
        }
        let back = data(7, "from a player");
        assert!(write(&mut network, played[0].0, played[0].1, &back));
        let heard = NetStreamEvent::PeerMessage { peer_id: id(&network, hosts[1]), message: back };
        assert!(network.run_until(|n| has(n, hosts[0], published, &heard)));
        network.act(hosts[0], |it, now| it.node.close_stream(now, published));
        for &(at, stream) in &played {
            assert!(network.run_until(|n| has(n, at, stream, &NetStreamEvent::Ended)));
            assert!(messages(&network, at, stream) == sent);
            let first = &events(&network, at, stream)[..2];
            assert_eq!(first, [&NetStreamEvent::Connected, &NetStreamEvent::Reset]);
        }
        assert!(network.run_until(|n| n[hosts[0]].node.is_delivered(published)));
        for (at, stream) in played {
            network.act(at, |it, now| it.node.close_stream(now, stream));
        }
        // Nobody needs the sessions any more.
        let sessions = |n: &Network<Host>| n[hosts[0]].node.endpoint().sessions().count();
        assert!(network.run_until(|n| sessions(n) == 0));
    });
}

#[test]
fn peers_come_and_go_and_as_many_as_wanted() {
    let (mut network, hosts) = hosts(1, Link::lan(), 4);
    let published = publish(&mut network, hosts[0], "media", 2);
    let first = play(&mut network, hosts[1], hosts[0], "media");
    let second = play(&mut network, hosts[2], hosts[0], "media");
    network.run_for(secs(2));
    let third = play(&mut network, hosts[3], hosts[0], "media");
    let refused = NetStreamEvent::Failed(NetStreamError::Rejected);
    assert!(network.run_until(|n| has(n, hosts[3], third, &refused)));
    assert_eq!(network[hosts[0]].node.peers_of_stream(published).len(), 2);
    network.act(hosts[1], |it, now| it.node.close_stream(now, first));
    let left = NetStreamEvent::PeerDisconnect { peer_id: id(&network, hosts[1]) };
    assert!(network.run_until(|n| has(n, hosts[0], published, &left)));
    let third = play(&mut network, hosts[3], hosts[0], "media");
    network.run_for(secs(2));
    assert!(write(&mut network, hosts[0], published, &data(0, "x")));
    network.run_for(secs(1));
    for (at, stream) in [(hosts[2], second), (hosts[3], third)] {
        assert_eq!(messages(&network, at, stream), [data(0, "x")]);
    }
    assert_eq!(messages(&network, hosts[1], first), []);
    // A peer that dies is gone, too.
    let left = NetStreamEvent::PeerDisconnect { peer_id: id(&network, hosts[2]) };
    network.remove(hosts[2]);
    assert!(network.run_until(|n| has(n, hosts[0], published, &left)));
}

/// One peer cannot take the places of all others.
#[test]
fn hostile_peers_that_play_many_times_take_one_place() {
    let (mut network, hosts) = hosts(1, Link::lan(), 3);
    let published = publish(&mut network, hosts[0], "media", 2);
    let greedy: Vec<_> = (0..10).map(|_| play(&mut network, hosts[1], hosts[0], "media")).collect();
    network.run_for(secs(2));
    let refused = NetStreamEvent::Failed(NetStreamError::Rejected);
    let count = greedy.iter().filter(|&&it| has(&network, hosts[1], it, &refused)).count();
    assert_eq!(count, 6);
    let played = play(&mut network, hosts[2], hosts[0], "media");
    assert!(network.run_until(|n| has(n, hosts[2], played, &NetStreamEvent::Reset)));
    assert_eq!(network[hosts[0]].node.peers_of_stream(published).len(), 5);
}

#[test]
fn the_application_admits_peers() {
    let (mut network, hosts) = hosts(1, Link::lan(), 3);
    let friend = id(&network, hosts[1]);
    let mut options = PublishToPeers::default();
    options.admission = Some(Arc::new(move |peer| peer == friend));
    network.act(hosts[0], |it, now| it.node.publish_to_peers(now, "media", options)).unwrap();
    let admitted = play(&mut network, hosts[1], hosts[0], "media");
    let refused = play(&mut network, hosts[2], hosts[0], "media");
    let rejected = NetStreamEvent::Failed(NetStreamError::Rejected);
    assert!(network.run_until(|n| has(n, hosts[2], refused, &rejected)));
    assert!(network.run_until(|n| has(n, hosts[1], admitted, &NetStreamEvent::Reset)));
}

#[test]
fn a_stream_that_is_published_later_begins_then() {
    let (mut network, hosts) = hosts(1, Link::lan(), 2);
    publish(&mut network, hosts[0], "other", 8);
    let played = play(&mut network, hosts[1], hosts[0], "media");
    network.run_for(secs(5));
    assert_eq!(events(&network, hosts[1], played), [&NetStreamEvent::Connected]);
    let published = publish(&mut network, hosts[0], "media", 8);
    let again = network
        .act(hosts[0], |it, now| it.node.publish_to_peers(now, "media", PublishToPeers::default()));
    assert_eq!(again, Err(NetStreamError::NameInUse));
    assert!(write(&mut network, hosts[0], published, &data(0, "x")));
    network.run_for(secs(1));
    assert_eq!(messages(&network, hosts[1], played), [data(0, "x")]);
}

#[test]
fn two_streams_between_two_peers_use_one_session() {
    let (mut network, hosts) = hosts(1, Link::lan(), 2);
    let there = publish(&mut network, hosts[0], "there", 8);
    let back = publish(&mut network, hosts[1], "back", 8);
    let played = [
        play(&mut network, hosts[1], hosts[0], "there"),
        play(&mut network, hosts[0], hosts[1], "back"),
    ];
    network.run_for(secs(5));
    assert!(write(&mut network, hosts[0], there, &data(0, "there")));
    assert!(write(&mut network, hosts[1], back, &data(0, "back")));
    network.run_for(secs(1));
    assert_eq!(messages(&network, hosts[1], played[0]), [data(0, "there")]);
    assert_eq!(messages(&network, hosts[0], played[1]), [data(0, "back")]);
    let sessions = |n: &Network<Host>, at: NodeId| n[at].node.endpoint().sessions().count();
    assert_eq!(sessions(&network, hosts[0]), 1);
    network.act(hosts[1], |it, now| it.node.close_stream(now, played[0]));
    network.run_for(secs(5));
    assert_eq!(sessions(&network, hosts[0]), 1, "the other stream needs it");
    network.act(hosts[0], |it, now| it.node.close_stream(now, played[1]));
    assert!(network.run_until(|n| sessions(n, hosts[0]) == 0));
}

#[test]
fn a_peer_that_is_not_there_is_reported() {
    let (mut network, hosts) = hosts(1, Link::lan(), 2);
    let peer = Fingerprint([7; 32]);
    let nobody = network.act(hosts[0], |it, now| it.node.play_from_peer(now, peer, "media", &[]));
    assert_eq!(nobody, Err(NetStreamError::NoServer));
    let address = network.address(hosts[1]);
    let stream = network
        .act(hosts[0], |it, now| it.node.play_from_peer(now, peer, "media", &[address]))
        .unwrap();
    let failed = |n: &Network<Host>| {
        matches!(
            events(n, hosts[0], stream)[..],
            [NetStreamEvent::Failed(NetStreamError::Unreachable(_))]
        )
    };
    assert!(network.run_until(failed));
    assert!(!write(&mut network, hosts[0], stream, &data(0, "x")));
}

/// A publisher that spreads a stream over flows, as servers do, sets barriers between what belongs
/// together (RFC 7425 §5.2). What comes after one is delivered after all that came before it.
#[test]
fn messages_of_several_flows_wait_at_barriers() {
    for_seeds(6, |seed| {
        let (mut network, hosts) = hosts(seed, Link::bad(), 2);
        // Another stream, so that peers may ask for this one, which the test itself sends.
        publish(&mut network, hosts[0], "another", 8);
        let played = play(&mut network, hosts[1], hosts[0], "spread");
        assert!(network.run_until(|n| has(n, hosts[1], played, &NetStreamEvent::Connected)));
        network.run_for(secs(5));
        let mut sessions = network[hosts[0]].node.endpoint().sessions();
        let (session, _) = sessions.next().expect("the peer asks for the stream");
        drop(sessions);
        let mut flows = Vec::new();
        for _ in 0..3 {
            flows.push(network.act(hosts[0], |it, _| {
                let options = FlowOptions::immediate(Some(ASKING));
                it.node.inner_mut().open_flow(session, b"TC\x04\x01", options).unwrap()
            }));
        }
        let mut send = |flow: usize, message: &Message| {
            let bytes = message.encode().into_bytes();
            network.act(hosts[0], |it, now| {
                let endpoint = it.node.inner_mut();
                endpoint.send(now, session, flows[flow], bytes, MessageOptions::RELIABLE).unwrap();
            });
        };
        // The timestamps number the parts; the flows take turns in having the longest.
        for part in 0..20 {
            for flow in 0..3 {
                for n in 0..=(part + flow) % 3 * 5 {
                    send(flow, &data(part as u32, &"x".repeat(200 * n)));
                }
                let sync = UserControl::FlowSync { id: part as u32, count: 3 };
                send(flow, &Message::new(0, Body::UserControl(sync)));
            }
        }
        for &flow in &flows {
            network.act(hosts[0], |it, _| it.node.inner_mut().close_flow(session, flow).unwrap());
        }
        let all = (0..20).flat_map(|part| (0..3).map(move |flow| (part + flow) % 3 * 5 + 1));
        let all: usize = all.sum();
        assert!(network.run_until(|n| messages(n, hosts[1], played).len() == all));
        let parts: Vec<_> =
            messages(&network, hosts[1], played).iter().map(|it| it.timestamp).collect();
        assert!(parts.is_sorted(), "{parts:?}");
    });
}

/// A peer can neither fill the memory of a publisher with names nor disturb it with other messages.
#[test]
fn hostile_peers_wait_for_a_bounded_number_of_names() {
    let (mut network, hosts) = hosts(1, Link::lan(), 2);
    let published = publish(&mut network, hosts[0], "media", 8);
    let (peer, address) = (id(&network, hosts[0]), network.address(hosts[0]));
    network.act(hosts[1], |it, now| {
        it.node.inner_mut().open(now, Epd::for_fingerprint(peer), &[address])
    });
    network.run_for(secs(1));
    let (session, _) = network[hosts[1]].node.endpoint().sessions().next().expect("a session");
    let play = |name: &str| {
        let mut message = b"\x14\0\0\0\0\x02\0\x04play\0\0\0\0\0\0\0\0\0\x05\x02".to_vec();
        message.extend((name.len() as u16).to_be_bytes());
        message.extend(name.as_bytes());
        Bytes::from(message)
    };
    let mut send = |metadata: &[u8], message: Bytes| {
        network.act(hosts[1], |it, now| {
            let endpoint = it.node.inner_mut();
            let flow = endpoint.open_flow(session, metadata, FlowOptions::default()).unwrap();
            endpoint.send(now, session, flow, message, MessageOptions::RELIABLE).unwrap();
        });
        network.run_for(millis(200));
    };
    for n in 0..40 {
        send(b"TC\x04\x05", play(&format!("nothing {n}")));
    }
    for garbage in [&b"\x14"[..], b"\x0f\0\0\0\0\0\x02\0\x01x", b"\x11\0\0\0\0\0\x0a"] {
        send(b"TC\x04\x06", Bytes::copy_from_slice(garbage));
    }
    let left = network[hosts[1]].node.endpoint().session(session).unwrap().flow_counts().0;
    assert_eq!(left, 16);
    assert_eq!(network[hosts[0]].node.peers_of_stream(published), []);
}
