//! A file travels through a group: rendezvous server, one provider, receivers, all on a virtual
//! network.

use crate::seeds::for_seeds;
use rtmfp::proto::crypto::{DhGroup, Identity, IdentityConfig, Negotiation};
use rtmfp::proto::flash::Uri;
use rtmfp::proto::group::{GroupConfig, GroupSpec, GroupSpecBuilder};
use rtmfp::proto::node::{GroupHandle, Node, NodeConfig, NodeEvent};
use rtmfp::proto::rendezvous::{Rendezvous, RendezvousConfig};
use rtmfp::proto::sim::{Actor, Link, Network, NodeId, SeededRandom};
use rtmfp::proto::transport::{Layer, Machine, Time};
use rtmfp::vod::guest::ExchangeOutput;
use rtmfp::vod::hash::{ChunkHashes, chunk_hash};
use rtmfp::vod::{
    CHUNK_SIZE, ChunkStore, Chunker, Descriptor, DescriptorForm, Digest256, FileEvent,
    FileExchange, Integrity, Layout, MemoryStore,
};
use std::time::Duration;

const SERVER: &str = "10.0.0.1:1935";

/// A machine of these tests.
enum Host {
    Server(Box<Rendezvous>),
    Peer(Box<Peer>),
}

/// A node with the exchange of a file as a guest.
struct Peer {
    node: Node,
    group: GroupHandle,
    store: Option<Box<dyn ChunkStore>>,
    is_complete: bool,
}

impl Peer {
    fn new(
        now: Time,
        mut node: Node,
        exchange: FileExchange,
        store: Option<Box<dyn ChunkStore>>,
    ) -> Self {
        let config = GroupConfig::new(spec(), node.peer_id());
        let group = node.join_with_guest(now, config, Box::new(exchange));
        let is_complete = store.is_some();
        Self { node, group, store, is_complete }
    }

    fn exchange(&self) -> &FileExchange {
        self.node.guest(self.group).expect("a guest")
    }

    fn connect(&mut self, now: Time) {
        let uri: Uri = "rtmfp://10.0.0.1/rtmfp".parse().unwrap();
        self.node.connect(now, &uri, &[SERVER.parse().unwrap()]);
    }

    /// The next output of the guest.
    fn poll_output(&mut self, now: Time) -> Option<ExchangeOutput> {
        let poll = |exchange: &mut FileExchange, _: &mut _, _| exchange.poll_output();
        self.node.with_guest(now, self.group, poll).flatten()
    }

    fn on_output(&mut self, now: Time, output: ExchangeOutput) {
        let Self { node, group, store, is_complete } = self;
        match output {
            ExchangeOutput::Store(action) => {
                let store = store.as_deref_mut().expect("a store");
                node.with_guest(now, *group, |exchange: &mut FileExchange, group, now| {
                    exchange.perform(now, group, action, store);
                });
            }
            ExchangeOutput::Event(FileEvent::DescriptorKnown(descriptor)) if store.is_none() => {
                let new = MemoryStore::new(descriptor.layout);
                node.with_guest(now, *group, |exchange: &mut FileExchange, group, now| {
                    exchange.store_opened(now, group, new.held(), new.layout());
                });
                *store = Some(Box::new(new));
            }
            ExchangeOutput::Event(FileEvent::Complete(_)) => *is_complete = true,
            ExchangeOutput::Event(FileEvent::Failed(error)) => panic!("failed: {error}"),
            ExchangeOutput::Event(_) => {}
        }
    }
}

impl Host {
    fn is_complete(&self) -> bool {
        matches!(self, Self::Peer(peer) if peer.is_complete)
    }

    fn peer(&self) -> &Peer {
        match self {
            Self::Peer(peer) => peer,
            Self::Server(_) => panic!("not a peer"),
        }
    }

    fn peer_mut(&mut self) -> &mut Peer {
        match self {
            Self::Peer(peer) => peer,
            Self::Server(_) => panic!("not a peer"),
        }
    }
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server) => &**server,
            Self::Peer(peer) => &peer.node,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server) => &mut **server,
            Self::Peer(peer) => &mut peer.node,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, now: Time) -> bool {
        let Self::Peer(peer) = self else {
            let Self::Server(server) = self else { return false };
            while let Some(event) = server.poll_event() {
                trace(now, &event);
            }
            return false;
        };
        let mut busy = false;
        while let Some(event) = peer.node.poll_event() {
            busy = true;
            trace(now, &event);
            if let NodeEvent::ConnectFailed(_) = event {
                peer.connect(now);
            }
        }
        while let Some(output) = peer.poll_output(now) {
            busy = true;
            trace(now, &output);
            peer.on_output(now, output);
        }
        busy
    }
}

/// Shows what happens if `TRACE` is set in the environment.
fn trace(now: Time, event: &dyn std::fmt::Debug) {
    if std::env::var_os("TRACE").is_some() {
        let text = format!("{event:?}");
        eprintln!("{:9.3} {:.160}", now.as_secs_f64(), text);
    }
}

/// Small keys make many seeds affordable.
fn quick() -> Negotiation {
    Negotiation { groups: vec![DhGroup::Modp2], ..Negotiation::default() }
}

fn server(network: &mut Network<Host>, mut config: RendezvousConfig) -> Host {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    config.transport.negotiation = quick();
    let choices = network.random();
    Host::Server(Box::new(Rendezvous::new(config, identity, Box::new(random), Box::new(choices))))
}

fn node(network: &mut Network<Host>) -> Node {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    let mut config = NodeConfig::default();
    config.transport.negotiation = quick();
    let seed = network.random();
    Node::new(config, identity, Box::new(random), Box::new(seed))
}

fn spec() -> GroupSpec {
    GroupSpecBuilder::new("film")
        .unwrap()
        .object_replication(true)
        .server_channel(true)
        .build()
        .unwrap()
}

struct Swarm {
    network: Network<Host>,
    server: NodeId,
    provider: NodeId,
    receivers: Vec<NodeId>,
    file: Vec<u8>,
    descriptor: Descriptor,
}

impl Swarm {
    fn new(seed: u64, link: Link, size: usize, chunk_size: u32) -> Self {
        Self::with_server(seed, link, (size, chunk_size), RendezvousConfig::default())
    }

    fn with_server(
        seed: u64,
        link: Link,
        (size, chunk_size): (usize, u32),
        config: RendezvousConfig,
    ) -> Self {
        let mut network = Network::new(seed, link);
        if seed % 4 == 3 {
            network.set_reading_interval(Duration::from_millis(5));
        }
        let host = server(&mut network, config);
        let server = network.add(SERVER, host);
        let mut file = vec![0; size];
        let mut content = SeededRandom::new(seed ^ 0xf11e);
        rand_core_fill(&mut content, &mut file);
        let layout = Layout::of_size(size as u64, chunk_size).unwrap();
        let mut store = MemoryStore::new(layout);
        let mut chunker = Chunker::new(chunk_size);
        let mut chunks = chunker.push(&file);
        chunks.extend(chunker.finish());
        for (index, data) in &chunks {
            store.write_chunk(*index, data).unwrap();
        }
        let hashes = chunks.iter().map(|(_, data)| chunk_hash(data));
        let descriptor = Descriptor {
            name: Some("film.flv".into()),
            sha256: Some(Digest256::of(&file)),
            chunk_hashes: Some(ChunkHashes::from_hashes(hashes)),
            ..Descriptor::of_layout(layout)
        };
        let now = network.now();
        let node = node(&mut network);
        let exchange = FileExchange::provider(descriptor.clone(), DescriptorForm::Object);
        let peer = Peer::new(now, node, exchange, Some(Box::new(store)));
        let host = Host::Peer(Box::new(peer));
        let provider = network.add("10.0.1.1:1000", host);
        connect(&mut network, provider);
        Self { network, server, provider, receivers: Vec::new(), file, descriptor }
    }

    fn add_receiver(&mut self) -> NodeId {
        let now = self.network.now();
        let node = node(&mut self.network);
        let integrity = Integrity::Descriptor(self.descriptor.digest());
        let provider = self.network[self.provider].peer().node.peer_id();
        let exchange = FileExchange::receiver(integrity, Some(provider));
        let peer = Peer::new(now, node, exchange, None);
        let address = format!("10.0.2.{}:1000", self.receivers.len() + 1);
        let host = Host::Peer(Box::new(peer));
        let id = self.network.add(&address, host);
        connect(&mut self.network, id);
        self.receivers.push(id);
        id
    }

    fn run(&mut self) -> bool {
        let receivers = self.receivers.clone();
        self.network.run_until(|n| receivers.iter().all(|&r| n[r].is_complete()))
    }

    /// Every copy is the file, byte for byte.
    fn check_copies(&mut self) {
        for &receiver in &self.receivers {
            let peer = self.network[receiver].peer_mut();
            let chunks = peer.exchange().replica().layout().chunks();
            let store = peer.store.as_mut().unwrap();
            let mut copy = Vec::new();
            for index in 1..=chunks {
                copy.extend_from_slice(&store.read_chunk(index).unwrap());
            }
            assert!(copy == self.file, "a copy differs");
        }
    }

    /// Everybody leaves; nothing stays behind.
    fn check_nothing_leaks(mut self) {
        for id in self.receivers.iter().chain([&self.provider]).copied().collect::<Vec<_>>() {
            self.network.act(id, |host, now| match host {
                Host::Peer(peer) => peer.node.shut_down(now),
                Host::Server(_) => {}
            });
        }
        self.network.run_for(Duration::from_secs(200));
        for id in self.receivers.iter().chain([&self.provider]) {
            let peer = self.network[*id].peer();
            assert_eq!(peer.node.endpoint().load(), (0, 0, 0));
            assert_eq!(peer.node.poll_timeout(), None);
        }
        let Host::Server(server) = &self.network[self.server] else { panic!("not a server") };
        assert_eq!(server.endpoint().load(), (0, 0, 0));
        assert_eq!(server.poll_timeout(), None);
        assert_eq!((server.stats().clients, server.stats().groups), (0, 0));
    }

    fn uploaded(&self, id: NodeId) -> u64 {
        group_of(self.network[id].peer()).stats().replication.bytes_sent
    }
}

fn rand_core_fill(random: &mut SeededRandom, bytes: &mut [u8]) {
    for byte in bytes {
        *byte = random.below(256) as u8;
    }
}

fn connect(network: &mut Network<Host>, id: NodeId) {
    network.act(id, |host, now| host.peer_mut().connect(now));
}

fn group_of(peer: &Peer) -> &rtmfp::proto::group::Group {
    peer.node.group(peer.group).unwrap()
}

#[test]
fn four_receivers_and_the_provider_uploads_at_most_twice_the_file() {
    let mut swarm =
        Swarm::new(1, Link::lan().with_delay(Duration::from_millis(5)), 4 << 20, CHUNK_SIZE);
    for _ in 0..4 {
        swarm.add_receiver();
    }
    let start = swarm.network.now();
    assert!(swarm.run(), "not complete");
    swarm.check_copies();
    let uploaded = swarm.uploaded(swarm.provider) as f64 / swarm.file.len() as f64;
    eprintln!("{:?}, provider uploaded {uploaded:.2} x", swarm.network.now() - start);
    assert!(uploaded <= 1.3, "{uploaded}");
    swarm.check_nothing_leaks();
}

/// The link names the provider, and every server introduces those that are connected to it.
#[test]
fn a_server_that_keeps_no_groups_introduces_the_provider() {
    for_seeds(10, |seed| {
        let mut config = RendezvousConfig::default();
        config.max_groups_per_client = 0;
        let link = if seed % 2 == 0 { Link::lan() } else { Link::bad() };
        let mut swarm = Swarm::with_server(seed, link, (55_000, 20_000), config);
        swarm.add_receiver();
        let start = swarm.network.now();
        assert!(swarm.run(), "not complete");
        let took = swarm.network.now() - start;
        assert!(took < Duration::from_secs(60), "{took:?}");
        swarm.check_copies();
        swarm.check_nothing_leaks();
    });
}

/// Three receivers over a network that loses, delays, doubles and reorders.
fn copies_over_a_bad_network(seed: u64) {
    // Three chunks, the last one shorter. They are small because two hundred runs take their time.
    let mut swarm = Swarm::new(seed, Link::bad(), 55_000, 20_000);
    for _ in 0..3 {
        swarm.add_receiver();
    }
    assert!(swarm.run(), "not complete");
    swarm.check_copies();
    swarm.check_nothing_leaks();
}

// Two hundred seeds, in two tests that run side by side.

#[test]
fn every_copy_is_identical_over_a_bad_network() {
    for_seeds(100, copies_over_a_bad_network);
}

#[test]
fn every_copy_is_identical_over_a_bad_network_again() {
    for_seeds(100, |seed| copies_over_a_bad_network(100 + seed));
}

#[test]
fn a_slow_receiver_does_not_hold_up_the_others() {
    let mut swarm = Swarm::new(3, Link::lan(), 2 << 20, CHUNK_SIZE);
    let quick = [swarm.add_receiver(), swarm.add_receiver()];
    let slow = swarm.add_receiver();
    for other in [swarm.provider, quick[0], quick[1]] {
        let narrow = Link::lan().with_rate(50_000);
        swarm.network.set_link(other, slow, narrow.clone());
        swarm.network.set_link(slow, other, narrow);
    }
    let start = swarm.network.now();
    assert!(swarm.network.run_until(|n| quick.iter().all(|&r| n[r].is_complete())));
    let took = swarm.network.now() - start;
    // The slow one needs at least 14 seconds for its own copy.
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(swarm.run());
    swarm.check_copies();
}
