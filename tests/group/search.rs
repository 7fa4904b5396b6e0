//! How the search for members of a group stands, for whoever asks why nobody is found.

use crate::support::{for_seeds, secs};
use rtmfp::proto::crypto::{DhGroup, Fingerprint, Identity, IdentityConfig, Negotiation};
use rtmfp::proto::group::{GroupSpec, GroupSpecBuilder};
use rtmfp::proto::node::{GroupHandle, NetConnectionError, Node, NodeConfig, Search};
use rtmfp::proto::rendezvous::{Rendezvous, RendezvousConfig};
use rtmfp::proto::sim::{Actor, Link, Nat, NatKind, Network, NodeId};
use rtmfp::proto::transport::{Layer, Machine, OpenSessionError, Time};
use std::net::SocketAddr;

const SERVER: &str = "10.0.0.1:1935";

enum Host {
    Server(Box<Rendezvous>),
    Member(Box<Node>, GroupHandle),
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server) => &**server,
            Self::Member(node, _) => &**node,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server) => &mut **server,
            Self::Member(node, _) => &mut **node,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, _: Time) -> bool {
        match self {
            Self::Server(server) => while server.poll_event().is_some() {},
            Self::Member(node, _) => while node.poll_event().is_some() {},
        }
        false
    }
}

struct World {
    network: Network<Host>,
    server: NodeId,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut network = Network::new(seed, Link::lan());
        let mut random = network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let mut config = RendezvousConfig::default();
        config.transport.negotiation = quick();
        let choices = Box::new(network.random());
        let server = Rendezvous::new(config, identity, Box::new(random), choices);
        let server = network.add(SERVER, Host::Server(Box::new(server)));
        Self { network, server }
    }

    fn member(&mut self, address: &str) -> NodeId {
        self.member_behind(None, address)
    }

    fn member_behind(&mut self, nat: Option<Nat>, address: &str) -> NodeId {
        let mut random = self.network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let mut config = NodeConfig::default();
        config.transport.negotiation = quick();
        let seed = Box::new(self.network.random());
        let mut node = Node::new(config, identity, Box::new(random), seed);
        let handle = node.join(self.network.now(), spec());
        let id = self.network.add(address, Host::Member(Box::new(node), handle));
        if let Some(nat) = nat {
            self.network.set_nat(id, nat);
        }
        self.with(id, |node, now| {
            node.set_addresses(now, vec![address.parse().unwrap()]);
            let uri = "rtmfp://10.0.0.1/films".parse().unwrap();
            node.connect(now, &uri, &[server()]);
        });
        id
    }

    fn with(&mut self, id: NodeId, call: impl FnOnce(&mut Node, Time)) {
        self.network.act(id, |host, now| match host {
            Host::Member(node, _) => call(node, now),
            Host::Server(_) => panic!("not a member"),
        });
    }

    fn search(&self, id: NodeId) -> Search {
        let Host::Member(node, handle) = &self.network[id] else { panic!("not a member") };
        node.search(self.network.now(), *handle).unwrap()
    }

    fn peer_id(&self, id: NodeId) -> Fingerprint {
        let Host::Member(node, _) = &self.network[id] else { panic!("not a member") };
        node.peer_id()
    }

    /// Nothing gets to this host or comes from it any more.
    fn vanish(&mut self, id: NodeId, others: &[NodeId]) {
        for &other in others {
            self.network.set_link(id, other, Link::lan().with_loss(1.0));
            self.network.set_link(other, id, Link::lan().with_loss(1.0));
        }
    }
}

fn server() -> SocketAddr {
    SERVER.parse().unwrap()
}

fn spec() -> GroupSpec {
    GroupSpecBuilder::new("film").unwrap().server_channel(true).build().unwrap()
}

fn quick() -> Negotiation {
    Negotiation { groups: vec![DhGroup::Modp2], ..Negotiation::default() }
}

#[test]
fn alone_in_a_group() {
    let mut world = World::new(1);
    let member = world.member("10.0.0.2:1000");
    assert_eq!(world.search(member), Search::default());
    world.network.run_for(secs(10));
    let search = world.search(member);
    assert_eq!((search.server, search.connected), (Some(server()), true));
    assert_eq!((search.known, search.met), (0, 0));
    assert!(search.trying.is_empty() && search.unreached.is_empty());
}

#[test]
fn a_member_that_is_gone_is_named_with_the_addresses_that_were_asked() {
    for_seeds(10, |seed| {
        let mut world = World::new(seed);
        let gone = world.member("10.0.0.2:1000");
        world.network.run_for(secs(5));
        let server_id = world.server;
        world.vanish(gone, &[server_id]);
        let member = world.member("10.0.0.3:1000");
        world.vanish(gone, &[member]);
        world.network.run_for(secs(2));
        let peer = world.peer_id(gone);
        let trying = world.search(member).trying;
        let [(tried, OpenSessionError::NoAnswer { addresses, after })] = &trying[..] else {
            panic!("seed {seed}: {trying:?}");
        };
        assert_eq!(*tried, peer, "seed {seed}");
        assert!(addresses.contains(&server()) && *after <= secs(2), "seed {seed}: {trying:?}");

        let failed =
            |world: &World| (world.search(member).unreached).into_iter().find(|(p, _)| *p == peer);
        let until = world.network.now() + secs(60);
        while failed(&world).is_none() && world.network.now() < until {
            world.network.run_for(secs(1));
        }
        let Some((_, OpenSessionError::NoAnswer { addresses, .. })) = failed(&world) else {
            panic!("seed {seed}: {:?}", world.search(member));
        };
        assert!(addresses.contains(&server()), "seed {seed}: {addresses:?}");
        assert_eq!(world.search(member).met, 0);
    });
}

/// Two symmetric translators show each pair of hosts another port: hellos to the one that the server
/// saw are dropped at either.
#[test]
fn a_member_that_translators_keep_away_is_named_with_the_address_that_the_server_saw() {
    for_seeds(10, |seed| {
        let mut world = World::new(seed);
        // The server names the first to the second.
        let [far, near] = [(2, "10.0.0.2:1000"), (3, "10.0.0.3:1000")].map(|(n, address)| {
            let nat = Nat::new(NatKind::Symmetric, [192, 0, 2, n].into());
            world.member_behind(Some(nat), address)
        });
        let is_of_far = |address: &SocketAddr| address.ip().to_string() == "192.0.2.2";
        world.network.run_for(secs(25));
        let search = world.search(near);
        assert_eq!((search.neighbors, search.met), (0, 0), "seed {seed}");
        let candidates = search.trying.iter().chain(&search.unreached);
        let far = world.peer_id(far);
        let outcome = candidates.clone().find(|(peer, _)| *peer == far).map(|(_, outcome)| outcome);
        let Some(OpenSessionError::NoAnswer { addresses, .. }) = outcome else {
            panic!("seed {seed}: {search:?}");
        };
        assert!(addresses.contains(&server()), "seed {seed}: {addresses:?}");
        assert!(addresses.iter().any(is_of_far), "seed {seed}: {addresses:?}");
    });
}

#[test]
fn who_has_left_was_met_nevertheless() {
    let mut world = World::new(2);
    let first = world.member("10.0.0.2:1000");
    let second = world.member("10.0.0.3:1000");
    world.network.run_for(secs(5));
    let search = world.search(second);
    assert_eq!((search.neighbors, search.met), (1, 1));
    world.with(first, |node, now| node.shut_down(now));
    world.network.run_for(secs(5));
    let search = world.search(second);
    assert_eq!((search.neighbors, search.met), (0, 1));
    let Host::Member(node, handle) = &world.network[second] else { panic!("not a member") };
    assert!(node.has_met(*handle, &world.peer_id(first)));
}

#[test]
fn a_server_that_does_not_answer_is_the_reason_until_it_does() {
    let mut world = World::new(3);
    let server_id = world.server;
    let member = world.member("10.0.0.2:1000");
    world.vanish(server_id, &[member]);
    world.network.run_for(secs(30));
    let search = world.search(member);
    let Some(NetConnectionError::Unreachable(OpenSessionError::NoAnswer { addresses, .. })) =
        search.connect_failure
    else {
        panic!("{search:?}")
    };
    assert_eq!(addresses, [server()]);

    world.network.set_link(server_id, member, Link::lan());
    world.network.set_link(member, server_id, Link::lan());
    world.with(member, |node, now| {
        node.connect(now, &"rtmfp://10.0.0.1/films".parse().unwrap(), &[server()]);
    });
    world.network.run_for(secs(5));
    let search = world.search(member);
    assert_eq!((search.connected, search.connect_failure), (true, None));
}
