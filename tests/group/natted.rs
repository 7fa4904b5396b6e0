//! Members behind translators of all kinds, with loss, delay, and members that come and vanish: what
//! one posts, sends, streams and shares reaches the others.

use crate::support::{for_seeds, millis, quick, secs};
use rtmfp::amf::{self, Value};
use rtmfp::proto::crypto::{Identity, IdentityConfig};
use rtmfp::proto::flash::stream::NetStreamEvent;
use rtmfp::proto::flash::{Body, Format, Message, Uri};
use rtmfp::proto::group::{
    Group, GroupConfig, GroupEvent, GroupSpec, GroupSpecBuilder, NetStreamId, PublishOptions,
};
use rtmfp::proto::node::{GroupHandle, Node, NodeConfig, NodeEvent, PublishToPeers, StreamHandle};
use rtmfp::proto::rendezvous::{Rendezvous, RendezvousConfig};
use rtmfp::proto::sim::{Actor, Link, Nat, NatKind, Network, NodeId};
use rtmfp::proto::transport::{Layer, Machine, Time};
use std::net::IpAddr;

const SERVER: &str = "10.0.0.1:1935";
const MEMBERS: usize = 8;
/// Two members behind symmetric translators cannot be neighbors, nor can one of these and one behind a
/// port-restricted one; what they have to tell each other goes through the others.
const NATS: [Option<NatKind>; MEMBERS] = [
    None,
    Some(NatKind::FullCone),
    Some(NatKind::AddressRestricted),
    Some(NatKind::PortRestricted),
    Some(NatKind::Symmetric),
    Some(NatKind::FullCone),
    Some(NatKind::AddressRestricted),
    Some(NatKind::Symmetric),
];

enum Host {
    Server(Box<Rendezvous>),
    Member(Box<Member>),
}

struct Member {
    node: Node,
    group: GroupHandle,
    nat: Option<NatKind>,
    events: Vec<GroupEvent>,
    /// Of streams outside of the group.
    streams: Vec<(StreamHandle, NetStreamEvent)>,
}

impl Member {
    fn connect(&mut self, now: Time) {
        let uri: Uri = "rtmfp://10.0.0.1/app".parse().unwrap();
        self.node.connect(now, &uri, &[SERVER.parse().unwrap()]);
    }

    fn with<T>(&mut self, now: Time, call: impl FnOnce(&mut Group, Time) -> T) -> T {
        self.node.with_group(now, self.group, call).expect("the group")
    }

    fn on_event(&mut self, now: Time, event: GroupEvent) {
        match &event {
            GroupEvent::ReplicationFetchResult { index, .. } => {
                let index = *index;
                self.with(now, |group, now| group.replication_mut(now).add_have(index..=index))
                    .unwrap();
            }
            GroupEvent::ReplicationRequest { request_id, .. } => {
                let (id, object) = (*request_id, value("object"));
                self.with(now, |group, now| group.replication_mut(now).write_requested(id, object));
            }
            _ => {}
        }
        self.events.push(event);
    }
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server) => &**server,
            Self::Member(member) => &member.node,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server) => &mut **server,
            Self::Member(member) => &mut member.node,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, now: Time) -> bool {
        let Self::Member(member) = self else {
            let Self::Server(server) = self else { return false };
            while server.poll_event().is_some() {}
            return false;
        };
        let mut busy = false;
        while let Some(event) = member.node.poll_event() {
            busy = true;
            match event {
                NodeEvent::ConnectFailed(_) => member.connect(now),
                NodeEvent::Group(_, event) => member.on_event(now, event),
                NodeEvent::Stream(handle, event) => member.streams.push((handle, event)),
                _ => {}
            }
        }
        busy
    }
}

fn value(text: &str) -> bytes::Bytes {
    amf::to_bytes(&Value::String(text.into())).unwrap()
}

fn spec() -> GroupSpec {
    let builder = GroupSpecBuilder::new("natted").unwrap().posting(true).routing(true);
    builder.multicast(true).object_replication(true).server_channel(true).build().unwrap()
}

struct World {
    network: Network<Host>,
    members: Vec<NodeId>,
    came: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let link = Link::lan().with_delay(millis(20 + 10 * (seed % 5))).with_loss(0.02);
        let mut network = Network::new(seed, link);
        let mut random = network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let mut config = RendezvousConfig::default();
        config.transport.negotiation = quick().negotiation;
        let choices = Box::new(network.random());
        let server = Rendezvous::new(config, identity, Box::new(random), choices);
        network.add(SERVER, Host::Server(Box::new(server)));
        let mut world = Self { network, members: Vec::new(), came: 0 };
        for number in 0..MEMBERS {
            world.add(NATS[(number + seed as usize) % MEMBERS]);
            world.network.run_for(millis(500));
        }
        world
    }

    fn add(&mut self, nat: Option<NatKind>) -> NodeId {
        let mut random = self.network.random();
        let identity = Identity::generate(&IdentityConfig::like_a_player(), &mut random);
        let mut config = NodeConfig::default();
        config.transport.negotiation = quick().negotiation;
        let choices = Box::new(self.network.random());
        let mut node = Node::new(config, identity, Box::new(random), choices);
        let (now, number) = (self.network.now(), self.came as u8 + 1);
        self.came += 1;
        let group = node.join_with(now, GroupConfig::new(spec(), node.peer_id()));
        let address = match nat {
            None => format!("198.51.100.{number}:1000"),
            Some(_) => format!("192.168.{number}.2:1000"),
        };
        node.set_addresses(now, vec![address.parse().unwrap()]);
        let member = Member { node, group, nat, events: Vec::new(), streams: Vec::new() };
        let id = self.network.add(&address, Host::Member(Box::new(member)));
        if let Some(kind) = nat {
            self.network.set_nat(id, Nat::new(kind, IpAddr::from([203, 0, 113, number])));
        }
        self.network.act(id, |host, now| host.member_mut().connect(now));
        self.members.push(id);
        id
    }

    fn with<T>(&mut self, id: NodeId, call: impl FnOnce(&mut Group, Time) -> T) -> T {
        self.network.act(id, |host, now| host.member_mut().with(now, call))
    }

    fn events(&self, id: NodeId) -> &[GroupEvent] {
        &self.network[id].member().events
    }

    /// The messages of a stream outside of the group, by their timestamps, and whether it has ended.
    fn played(&self, id: NodeId, stream: StreamHandle) -> (Vec<u32>, bool) {
        let of_stream = self.network[id].member().streams.iter();
        let of_stream = of_stream.filter(|(handle, _)| *handle == stream).map(|(_, event)| event);
        let messages = of_stream.clone().filter_map(|event| match event {
            NetStreamEvent::Message(message) => Some(message.timestamp),
            _ => None,
        });
        (messages.collect(), of_stream.clone().any(|event| *event == NetStreamEvent::Ended))
    }

    /// One vanishes, and another comes.
    fn change(&mut self, seed: u64) {
        let gone = self.members.remove((seed as usize / 3) % self.members.len());
        self.network.remove(gone);
        self.add(NATS[(seed as usize / 5) % MEMBERS]);
        self.network.run_for(secs(30));
    }

    /// All members but `from` come to this within so many seconds.
    fn all(
        &mut self,
        what: &str,
        from: NodeId,
        seconds: u64,
        done: impl Fn(&Self, NodeId) -> bool,
    ) {
        for _ in 0..seconds {
            if self.members.iter().all(|&id| id == from || done(self, id)) {
                return;
            }
            self.network.run_for(secs(1));
        }
        let lacks = self.members.iter().filter(|&&id| id != from && !done(self, id));
        panic!("{what}: {:?} of {:?} lack it", lacks.collect::<Vec<_>>(), self.members);
    }

    fn post(&mut self, from: NodeId, text: &str) {
        self.with(from, |group, now| group.posting_mut(now).post(value(text).into())).unwrap();
        let has = |world: &Self, id| {
            world.events(id).iter().any(|event| match event {
                GroupEvent::PostingNotify { message, .. } => *message.as_bytes() == value(text),
                _ => false,
            })
        };
        self.all("a posting", from, 60, has);
    }
}

impl Host {
    fn member(&self) -> &Member {
        let Self::Member(member) = self else { panic!("not a member") };
        member
    }

    fn member_mut(&mut self) -> &mut Member {
        let Self::Member(member) = self else { panic!("not a member") };
        member
    }
}

#[test]
fn postings_reach_all_behind_translators() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed);
        world.network.run_for(secs(20));
        world.post(world.members[0], "short");
        world.post(world.members[3], "one that is long enough to be announced by its key");
        world.change(seed);
        world.post(world.members[5], "after a change");
        world.post(*world.members.last().unwrap(), "of the one that came last");
    });
}

#[test]
fn directed_messages_reach_neighbors_behind_translators() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed);
        world.network.run_for(secs(20));
        world.change(seed);
        // Nobody notices for a while that a member has vanished.
        world.network.run_for(secs(60));
        let from = world.members[seed as usize % MEMBERS];
        let neighbors = world.with(from, |group, _| group.neighbors());
        assert!(!neighbors.is_empty());
        for neighbor in neighbors {
            let message = value("to a neighbor");
            let sent = world.with(from, |group, _| {
                group.routing_mut().send_to_nearest(&neighbor.address, message)
            });
            assert_eq!(sent.unwrap().as_str(), "sent");
            world.network.run_for(secs(5));
            let is_it = |id: &&NodeId| world.network[**id].member().node.peer_id() == neighbor.peer;
            let id = *world.members.iter().find(is_it).expect("a member that is there");
            let got = |event: &&GroupEvent| matches!(event, GroupEvent::SendToNotify { .. });
            assert_eq!(world.events(id).iter().filter(got).count(), 1);
        }
    });
}

#[test]
fn objects_reach_all_behind_translators() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed);
        world.network.run_for(secs(10));
        let from = world.members[seed as usize % MEMBERS];
        for id in world.members.clone() {
            world.with(id, |group, now| {
                let mut replication = group.replication_mut(now);
                match id == from {
                    true => replication.add_have(0..=9),
                    false => replication.add_want(0..=9),
                }
                .unwrap();
            });
        }
        let has_all = |world: &World, id| {
            let member = world.network[id].member();
            member.node.group(member.group).unwrap().replication().have().len() == 10
        };
        world.all("objects", from, 240, has_all);
    });
}

#[test]
fn streams_reach_all_behind_translators() {
    const COUNT: u32 = 100;
    for_seeds(3, |seed| {
        let mut world = World::new(seed);
        world.network.run_for(secs(20));
        world.change(seed);
        for id in world.members.clone() {
            world.with(id, |group, now| group.multicast_mut(now).play("live")).unwrap();
        }
        let from = world.members[seed as usize % MEMBERS];
        let stream: NetStreamId = world
            .with(from, |group, now| {
                group.multicast_mut(now).publish("live", PublishOptions::default())
            })
            .unwrap();
        for number in 0..COUNT {
            let payload = vec![number as u8; 1500];
            let message = Message::new(number * 100, Body::Video(payload.into()));
            world.with(from, |group, now| group.multicast_mut(now).send(stream, &message)).unwrap();
            world.network.run_for(millis(100));
        }
        // Whatever is played has no gaps, and the last is played by all.
        let played = |world: &World, id: NodeId| -> Vec<u32> {
            let events = world.events(id).iter().filter_map(|event| match event {
                GroupEvent::MulticastStreamMessage { message, .. } => Some(message),
                _ => None,
            });
            let video = events.filter(|message| matches!(message.body, Body::Video(_)));
            video.map(|message| message.timestamp / 100).collect()
        };
        let has_last = |world: &World, id| played(world, id).last() == Some(&(COUNT - 1));
        world.all("the stream", from, 20, has_last);
        for id in world.members.iter().copied().filter(|&id| id != from) {
            let got = played(&world, id);
            assert_eq!(got, (got[0]..COUNT).collect::<Vec<_>>(), "{id:?}");
            assert!(got[0] < COUNT / 2, "{id:?} begins at {}", got[0]);
        }
    });
}

/// True if two peers behind these translators can reach each other.
fn is_passable(one: Option<NatKind>, other: Option<NatKind>) -> bool {
    let blocks = |it| matches!(it, Some(NatKind::Symmetric | NatKind::PortRestricted));
    let is_symmetric = |it| it == Some(NatKind::Symmetric);
    !(is_symmetric(one) && blocks(other) || is_symmetric(other) && blocks(one))
}

#[test]
fn streams_from_peer_to_peer_pass_translators() {
    const COUNT: u32 = 60;
    for_seeds(3, |seed| {
        let mut world = World::new(seed);
        // Without the group there are no sessions, and the server introduces all who meet.
        for &id in &world.members {
            world.network.act(id, |host, now| {
                let member = host.member_mut();
                member.node.leave(now, member.group);
            });
        }
        world.network.run_for(secs(10));
        let from = world.members[seed as usize % MEMBERS];
        let nat = world.network[from].member().nat;
        let peer = world.network[from].member().node.peer_id();
        let mut options = PublishToPeers::default();
        options.max_peers = MEMBERS;
        let published = world.network.act(from, |host, now| {
            host.member_mut().node.publish_to_peers(now, "camera", options).unwrap()
        });
        let play = |world: &mut World, id: NodeId| {
            world.network.act(id, |host, now| {
                host.member_mut().node.play_from_peer(now, peer, "camera", &[]).unwrap()
            })
        };
        let mut players = Vec::new();
        for id in world.members.clone() {
            if id != from && is_passable(nat, world.network[id].member().nat) {
                players.push((id, play(&mut world, id)));
            }
        }
        let playing =
            |world: &World| world.network[from].member().node.peers_of_stream(published).len();
        for _ in 0..60 {
            if playing(&world) == players.len() {
                break;
            }
            world.network.run_for(secs(1));
        }
        assert_eq!(playing(&world), players.len(), "not all have met the publisher");
        for number in 0..COUNT {
            if number == COUNT / 2 {
                let (gone, _) = players.remove(seed as usize % players.len());
                world.network.remove(gone);
            }
            let message = Message::new(number, Body::Data(Format::Extended, value("x")));
            world.network.act(from, |host, now| {
                assert!(host.member_mut().node.write_to_stream(now, published, &message));
            });
            world.network.run_for(millis(100));
        }
        world.network.act(from, |host, now| host.member_mut().node.close_stream(now, published));
        world.network.run_for(secs(10));
        for &(id, stream) in &players {
            let all = (0..COUNT).collect();
            assert_eq!(world.played(id, stream), (all, true), "{id:?}");
        }
    });
}
