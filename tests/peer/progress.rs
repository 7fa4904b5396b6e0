//! The progress of a fetch tells what its events tell, at once.

use rtmfp::crypto::{DhGroup, Identity, IdentityConfig, Negotiation};
use rtmfp::driver::Service;
use rtmfp::group::GroupSpecBuilder;
use rtmfp::node::{Node, NodeConfig, NodeEvent};
use rtmfp::rendezvous::{Rendezvous, RendezvousConfig};
use rtmfp::sim::{Actor, Link, Network, NodeId};
use rtmfp::transport::{Layer, Machine, Time};
use rtmfp::vod::session::{FileCommand, FileService, PROGRESS_INTERVAL, Progress};
use rtmfp::vod::{FileEvent, FilePeer, Integrity};
use std::sync::Arc;
use tokio::sync::watch;

const SERVER: &str = "10.0.0.1:1935";

enum Host {
    Server(Box<Rendezvous>),
    /// With what the progress told when the connection came and when it went.
    Fetch(Box<FileService>, watch::Receiver<Progress>, Vec<bool>),
}

impl Host {
    fn told(&self) -> &[bool] {
        let Self::Fetch(_, _, told) = self else { panic!("not a fetch") };
        told
    }
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server) => &**server,
            Self::Fetch(fetch, ..) => &**fetch,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server) => &mut **server,
            Self::Fetch(fetch, ..) => &mut **fetch,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, _: Time) -> bool {
        let Self::Fetch(fetch, progress, told) = self else { return false };
        while let Some(event) = fetch.poll_event() {
            if let FileEvent::Node(NodeEvent::Connected { .. } | NodeEvent::Disconnected) = event {
                told.push(progress.borrow().connected);
            }
        }
        false
    }
}

fn quick() -> Negotiation {
    Negotiation { groups: vec![DhGroup::Modp2], ..Negotiation::default() }
}

fn server(network: &mut Network<Host>) -> NodeId {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    let mut config = RendezvousConfig::default();
    config.transport.negotiation = quick();
    let choices = Box::new(network.random());
    let server = Rendezvous::new(config, identity, Box::new(random), choices);
    network.add(SERVER, Host::Server(Box::new(server)))
}

fn fetch(network: &mut Network<Host>) -> NodeId {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    let mut config = NodeConfig::default();
    config.transport.negotiation = quick();
    let node = Node::new(config, identity, Box::new(random), Box::new(network.random()));
    let spec = GroupSpecBuilder::new("film").unwrap();
    let spec = spec.object_replication(true).server_channel(true).build().unwrap();
    let peer = FilePeer::receiver(network.now(), node, spec, Integrity::None, None);
    let (progress, seen) = watch::channel(Progress::default());
    let service = FileService::new(peer, Arc::new(progress));
    network.add("10.0.0.2:1000", Host::Fetch(Box::new(service), seen, Vec::new()))
}

#[test]
fn whoever_learns_of_the_connection_sees_it_in_the_progress() {
    let mut network = Network::new(1, Link::lan());
    let (server, fetch) = (server(&mut network), fetch(&mut network));
    let start = network.now();
    network.act(fetch, |host, now| {
        let Host::Fetch(fetch, ..) = host else { panic!("not a fetch") };
        let uri = "rtmfp://10.0.0.1/films".parse().unwrap();
        let addresses = vec![SERVER.parse().unwrap()];
        fetch.handle_command(now, FileCommand::Connect { uri, addresses });
    });
    assert!(network.run_until(|n| n[fetch].told().len() == 1), "not connected");
    assert!(network.now() - start < PROGRESS_INTERVAL, "the next update would tell it anyway");
    network.act(server, |host, now| {
        let Host::Server(server) = host else { panic!("not a server") };
        server.shut_down(now);
    });
    assert!(network.run_until(|n| n[fetch].told().len() == 2), "still connected");
    assert_eq!(network[fetch].told(), [true, false]);
}
