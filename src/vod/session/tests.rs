//! Tests of the guest on the virtual network.

use super::member::{FileMember, StoreStart, StoreState};
use super::progress::{PROGRESS_INTERVAL, Progress, ProgressPublisher};
use super::readers::Readers;
use crate::crypto::{DhGroup, Identity, IdentityConfig, Negotiation};
use crate::driver::Pool;
use crate::group::{GroupConfig, GroupSpecBuilder};
use crate::node::{Node, NodeConfig};
use crate::peer::GuestSender;
use crate::proto::sim::{Actor, Link, Network, NodeId};
use crate::rendezvous::{Rendezvous, RendezvousConfig};
use crate::transport::{Layer, Machine, Time};
use crate::vod::{FileEvent, FileExchange, Integrity};
use tokio::sync::{broadcast, oneshot, watch};

const SERVER: &str = "10.0.0.1:1935";

enum Host {
    Server(Box<Rendezvous>),
    Fetch(Box<Fetch>),
}

/// A node with a guest, and the connection state in the progress at each event of the connection.
struct Fetch {
    node: Node,
    progress: watch::Receiver<Progress>,
    events: broadcast::Receiver<FileEvent>,
    shown: Vec<bool>,
}

impl Host {
    fn shown(&self) -> &[bool] {
        let Self::Fetch(fetch) = self else { panic!("not a fetch") };
        &fetch.shown
    }
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server) => &**server,
            Self::Fetch(fetch) => &fetch.node,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server) => &mut **server,
            Self::Fetch(fetch) => &mut fetch.node,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, _: Time) -> bool {
        let Self::Fetch(fetch) = self else { return false };
        while fetch.node.poll_event().is_some() {}
        while let Ok(event) = fetch.events.try_recv() {
            if let FileEvent::Connected { .. } | FileEvent::Disconnected = event {
                fetch.shown.push(fetch.progress.borrow().connected);
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
    let mut node = Node::new(config, identity, Box::new(random), Box::new(network.random()));
    let exchange = FileExchange::receiver(Integrity::None, None);
    let (progress_sender, progress) = watch::channel(Progress::default());
    let (events_sender, events) = broadcast::channel(16);
    let (pool, replies, end) = (Pool::default(), GuestSender::closed(), oneshot::channel().0);
    let member = FileMember {
        progress: ProgressPublisher::new(progress_sender, &exchange),
        exchange,
        store: StoreState::Waiting(Some(StoreStart { pool, replies, store: None, end })),
        store_config: None,
        readers: Readers::default(),
        origin: None,
        selecting: None,
        examined: None,
        outcome: watch::channel(None).0,
        descriptor: watch::channel(None).0,
        events: events_sender,
    };
    let spec = GroupSpecBuilder::new("film").unwrap();
    let spec = spec.object_replication(true).server_channel(true).build().unwrap();
    let config = GroupConfig::new(spec, node.peer_id());
    node.join_with_guest(network.now(), config, Box::new(member));
    let fetch = Fetch { node, progress, events, shown: Vec::new() };
    network.add("10.0.0.2:1000", Host::Fetch(Box::new(fetch)))
}

#[test]
fn whoever_learns_of_the_connection_sees_it_in_the_progress() {
    let mut network = Network::new(1, Link::lan());
    let (server, fetch) = (server(&mut network), fetch(&mut network));
    let start = network.now();
    network.act(fetch, |host, now| {
        let Host::Fetch(fetch) = host else { panic!("not a fetch") };
        let uri = "rtmfp://10.0.0.1/films".parse().unwrap();
        fetch.node.connect(now, &uri, &[SERVER.parse().unwrap()]);
    });
    assert!(network.run_until(|n| n[fetch].shown().len() == 1), "not connected");
    assert!(network.now() - start < PROGRESS_INTERVAL, "the next update would show it anyway");
    network.act(server, |host, now| {
        let Host::Server(server) = host else { panic!("not a server") };
        server.shut_down(now);
    });
    assert!(network.run_until(|n| n[fetch].shown().len() == 2), "still connected");
    assert_eq!(network[fetch].shown(), [true, false]);
}
