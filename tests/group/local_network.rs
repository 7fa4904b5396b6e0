//! Members that find each other on the local network, without a server.

use crate::support::{for_seeds, quick, secs};
use rtmfp::proto::crypto::{Fingerprint, Identity, IdentityConfig};
use rtmfp::proto::group::{GroupSpec, GroupSpecBuilder, IpMulticastAddress};
use rtmfp::proto::lan::{Announcement, AnnouncementCodec};
use rtmfp::proto::node::{GroupHandle, Node, NodeConfig};
use rtmfp::proto::sim::{Actor, Link, Network, NodeId};
use rtmfp::proto::transport::{Layer, Time};
use std::net::SocketAddr;

fn spec(name: &str) -> GroupSpec {
    let builder = GroupSpecBuilder::new(name).unwrap().posting(true);
    let builder = builder.ip_multicast_member_updates(true);
    builder.ip_multicast_address(IpMulticastAddress::LAN).build().unwrap()
}

fn codec(spec: &GroupSpec) -> AnnouncementCodec {
    AnnouncementCodec::new(&spec.group_id().0, spec.canonical_text())
}

struct Host {
    node: Node,
    group: GroupHandle,
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
    fn react(&mut self, _: Time) -> bool {
        while self.node.poll_event().is_some() {}
        false
    }

    fn listens_on(&self, group: SocketAddr) -> bool {
        self.node.multicast_addresses().iter().any(|address| address.group == group)
    }

    fn handle_multicast(&mut self, now: Time, to: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        self.node.handle_multicast(now, to, from, bytes);
    }
}

fn join(network: &mut Network<Host>, address: &str, spec: GroupSpec) -> NodeId {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    let mut config = NodeConfig::default();
    config.transport = quick();
    let seed = Box::new(network.random());
    let mut node = Node::new(config, identity, Box::new(random), seed);
    let group = node.join(network.now(), spec);
    network.add(address, Host { node, group })
}

fn neighbors(host: &Host) -> usize {
    host.node.group(host.group).unwrap().stats().neighbors
}

/// Announcements in what was sent, by their senders, with times and questions.
fn announcements(network: &mut Network<Host>, spec: &GroupSpec) -> Vec<(SocketAddr, Time, bool)> {
    let codec = codec(spec);
    let sent = network.take_tapped().into_iter().filter(|sent| sent.to.ip().is_multicast());
    sent.filter_map(|it| Some((it.from, it.at, codec.decode(&it.bytes)?.asks))).collect()
}

#[test]
fn members_of_one_network_meet_without_a_server() {
    for_seeds(8, |seed| {
        let mut network = Network::new(seed, Link::lan().with_loss(0.02));
        let members: Vec<_> = (1..=6)
            .map(|n| {
                network.run_for(secs(2));
                join(&mut network, &format!("10.0.0.{n}:1935"), spec("office"))
            })
            .collect();
        let stranger = join(&mut network, "10.0.0.9:1935", spec("another"));
        let met = |n: &Network<Host>| members.iter().all(|&id| neighbors(&n[id]) == 5);
        assert!(network.run_until(met), "seed {seed}");
        assert!(network.now() < Time::ZERO + secs(45), "seed {seed}: at {:?}", network.now());
        assert_eq!(neighbors(&network[stranger]), 0, "seed {seed}");
    });
}

#[test]
fn a_newcomer_asks_twice_and_each_question_is_answered() {
    let mut network = Network::new(3, Link::lan());
    join(&mut network, "10.0.0.1:1935", spec("office"));
    network.run_for(secs(10));
    network.tap();
    let begun = network.now();
    join(&mut network, "10.0.0.2:1935", spec("office"));
    network.run_for(secs(10));
    let sent = announcements(&mut network, &spec("office"));
    let old: Vec<_> =
        sent.iter().filter(|(from, ..)| from.ip().to_string() == "10.0.0.1").collect();
    let new: Vec<_> =
        sent.iter().filter(|(from, ..)| from.ip().to_string() == "10.0.0.2").collect();
    assert_eq!(new.iter().map(|&&(_, _, asks)| asks).collect::<Vec<_>>(), [true, true]);
    assert_eq!(new[1].1.since(new[0].1), secs(1));
    assert_eq!(old.len(), 2, "{old:?}");
    for ((_, answered, asks), (_, asked, _)) in old.iter().zip(&new) {
        let delay = answered.since(*asked).as_millis();
        assert!(!asks && (150..420).contains(&delay), "{delay} ms");
    }
    let quick = network.now().since(begun);
    assert!(quick <= secs(10));
}

#[test]
fn a_flood_of_invented_members_costs_few_hellos() {
    let mut network = Network::new(5, Link::lan());
    join(&mut network, "10.0.0.1:1935", spec("office"));
    network.run_for(secs(10));
    network.tap();
    let codec = codec(&spec("office"));
    let (from, to) = ("10.0.0.66:6000".parse().unwrap(), IpMulticastAddress::LAN.group);
    let mut flood = 0;
    for n in 0..20_000_u32 {
        let mut invented = [0x55; 32];
        invented[..4].copy_from_slice(&n.to_be_bytes());
        let announcement = Announcement { peer_id: Some(Fingerprint(invented)), asks: true };
        let datagram = codec.encode(&announcement);
        flood += datagram.len();
        network.inject(from, to, datagram);
        network.run_for(std::time::Duration::from_millis(1));
    }
    network.run_for(secs(60));
    let sent = network.take_tapped();
    let by_member = sent.iter().filter(|it| it.from != from);
    let bytes: usize = by_member.clone().map(|it| it.bytes.len()).sum();
    assert!(bytes < 16 << 10, "{bytes} bytes for {flood}");
    assert!(by_member.count() > 10, "it has answered");
}

#[test]
fn whoever_leaves_is_silent() {
    let mut network = Network::new(7, Link::lan());
    let member = join(&mut network, "10.0.0.1:1935", spec("office"));
    network.run_for(secs(10));
    let group = network[member].group;
    network.act(member, |host, now| host.node.leave(now, group));
    assert!(network[member].node.multicast_addresses().is_empty());
    network.tap();
    network.run_for(secs(120));
    assert_eq!(network.take_tapped(), []);
}

#[test]
fn a_groupspec_without_member_updates_announces_nobody() {
    let mut network = Network::new(9, Link::lan());
    let builder = GroupSpecBuilder::new("office").unwrap().posting(true);
    let silent = builder.ip_multicast_address(IpMulticastAddress::LAN).build().unwrap();
    network.tap();
    let member = join(&mut network, "10.0.0.1:1935", silent);
    network.run_for(secs(60));
    assert!(network[member].node.multicast_addresses().is_empty());
    assert_eq!(network.take_tapped(), []);
}
