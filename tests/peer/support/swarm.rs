//! A rendezvous server, the provider of a file and its receivers on a virtual network.

use bytes::Bytes;
use rtmfp::proto::crypto::{DhGroup, Identity, IdentityConfig, Negotiation};
use rtmfp::proto::flash::Uri;
use rtmfp::proto::group::{GroupConfig, GroupSpec, GroupSpecBuilder};
use rtmfp::proto::node::{GroupHandle, Node, NodeConfig, NodeEvent};
use rtmfp::proto::range::IndexSet;
use rtmfp::proto::rendezvous::{Rendezvous, RendezvousConfig};
use rtmfp::proto::sim::{Actor, Link, Network, NodeId, SeededRandom};
use rtmfp::proto::transport::{Layer, Machine, Time};
use rtmfp::vod::guest::ExchangeOutput;
use rtmfp::vod::hash::{ChunkHashes, chunk_hash};
use rtmfp::vod::store::Finished;
use rtmfp::vod::tree::HashTree;
use rtmfp::vod::{
    ChunkStore, Chunker, Descriptor, DescriptorForm, Digest256, FileEvent, FileExchange, Integrity,
    Layout, MemoryStore, StoreError,
};
use std::ops::RangeInclusive;
use std::time::Duration;

pub const SERVER: &str = "10.0.0.1:1935";

/// A machine of these tests.
pub enum Host {
    Server(Box<Rendezvous>),
    Peer(Box<Peer>),
}

/// A node with the exchange of a file as a guest.
pub struct Peer {
    pub node: Node,
    pub group: GroupHandle,
    pub store: Option<Box<dyn ChunkStore>>,
    pub is_complete: bool,
}

impl Peer {
    pub fn new(
        now: Time,
        mut node: Node,
        config: GroupConfig,
        exchange: FileExchange,
        store: Option<Box<dyn ChunkStore>>,
    ) -> Self {
        let group = node.join_with_guest(now, config, Box::new(exchange));
        let is_complete = store.is_some();
        Self { node, group, store, is_complete }
    }

    pub fn exchange(&self) -> &FileExchange {
        self.node.guest(self.group).expect("a guest")
    }

    pub fn connect(&mut self, now: Time) {
        let uri: Uri = "rtmfp://10.0.0.1/rtmfp".parse().unwrap();
        self.node.connect(now, &uri, &[SERVER.parse().unwrap()]);
    }

    /// The next output of the guest.
    pub fn poll_output(&mut self, now: Time) -> Option<ExchangeOutput> {
        let poll = |exchange: &mut FileExchange, _: &mut _, _| exchange.poll_output();
        self.node.with_guest(now, self.group, poll).flatten()
    }

    pub fn on_output(&mut self, now: Time, output: ExchangeOutput) {
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
            ExchangeOutput::Event(_) | ExchangeOutput::Origin(_) => {}
        }
    }
}

impl Host {
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Peer(peer) if peer.is_complete)
    }

    pub fn peer(&self) -> &Peer {
        match self {
            Self::Peer(peer) => peer,
            Self::Server(_) => panic!("not a peer"),
        }
    }

    pub fn peer_mut(&mut self) -> &mut Peer {
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
pub fn quick() -> Negotiation {
    Negotiation { groups: vec![DhGroup::Modp2], ..Negotiation::default() }
}

pub fn server(network: &mut Network<Host>, mut config: RendezvousConfig) -> Host {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    config.transport.negotiation = quick();
    let choices = network.random();
    Host::Server(Box::new(Rendezvous::new(config, identity, Box::new(random), Box::new(choices))))
}

pub fn node(network: &mut Network<Host>) -> Node {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    let mut config = NodeConfig::default();
    config.transport.negotiation = quick();
    let seed = network.random();
    Node::new(config, identity, Box::new(random), Box::new(seed))
}

pub fn spec() -> GroupSpec {
    GroupSpecBuilder::new("film")
        .unwrap()
        .object_replication(true)
        .server_channel(true)
        .build()
        .unwrap()
}

/// The store of the provider: the file, and its pages of hashes.
struct Provided {
    store: MemoryStore,
    tree: Option<HashTree>,
}

impl ChunkStore for Provided {
    fn layout(&self) -> &Layout {
        self.store.layout()
    }

    fn held(&self) -> &IndexSet {
        self.store.held()
    }

    fn read_chunk(&mut self, index: u64) -> Result<Bytes, StoreError> {
        match self.tree.as_ref().and_then(|tree| tree.page(index)) {
            Some(page) => Ok(page.clone()),
            None => self.store.read_chunk(index),
        }
    }

    fn write_chunk(&mut self, _: u64, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn forget(&mut self, _: RangeInclusive<u64>) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn forget_all(&mut self) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn finish(&mut self) -> Result<Finished, StoreError> {
        self.store.finish()
    }
}

pub struct Swarm {
    pub network: Network<Host>,
    pub server: NodeId,
    pub provider: NodeId,
    pub receivers: Vec<NodeId>,
    pub file: Vec<u8>,
    pub descriptor: Descriptor,
    /// The pages of hashes, if the file has so many chunks.
    pub tree: Option<HashTree>,
}

impl Swarm {
    pub fn new(seed: u64, link: Link, size: usize, chunk_size: u32) -> Self {
        Self::with_server(seed, link, (size, chunk_size), RendezvousConfig::default())
    }

    pub fn with_server(
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
        let hashes = ChunkHashes::from_hashes(hashes);
        let tree = HashTree::over(&hashes);
        let descriptor = Descriptor {
            name: Some("film.flv".into()),
            sha256: Some(Digest256::of(&file)),
            chunk_hashes: tree.is_none().then_some(hashes),
            page_hashes: tree.as_ref().map(|tree| tree.root().clone()),
            ..Descriptor::of_layout(layout)
        };
        let now = network.now();
        let node = node(&mut network);
        let exchange = FileExchange::provider(descriptor.clone(), DescriptorForm::Object);
        let config = GroupConfig::new(spec(), node.peer_id());
        let store = Provided { store, tree: tree.clone() };
        let peer = Peer::new(now, node, config, exchange, Some(Box::new(store)));
        let host = Host::Peer(Box::new(peer));
        let provider = network.add("10.0.1.1:1000", host);
        connect(&mut network, provider);
        Self { network, server, provider, receivers: Vec::new(), file, descriptor, tree }
    }

    pub fn add_receiver(&mut self) -> NodeId {
        self.add_receiver_that(false)
    }

    /// A receiver that offers nothing and serves nobody.
    pub fn add_metered_receiver(&mut self) -> NodeId {
        self.add_receiver_that(true)
    }

    fn add_receiver_that(&mut self, is_metered: bool) -> NodeId {
        let now = self.network.now();
        let node = node(&mut self.network);
        let integrity = Integrity::Descriptor(self.descriptor.digest());
        let provider = self.network[self.provider].peer().node.peer_id();
        let exchange = FileExchange::receiver(integrity, Some(provider));
        let mut config = GroupConfig::new(spec(), node.peer_id());
        let mut exchange = exchange;
        if is_metered {
            config.replication.max_unchoked = 0;
            exchange = exchange.without_offers();
        }
        let peer = Peer::new(now, node, config, exchange, None);
        let address = format!("10.0.2.{}:1000", self.receivers.len() + 1);
        let host = Host::Peer(Box::new(peer));
        let id = self.network.add(&address, host);
        connect(&mut self.network, id);
        self.receivers.push(id);
        id
    }

    pub fn run(&mut self) -> bool {
        let receivers = self.receivers.clone();
        self.network.run_until(|n| receivers.iter().all(|&r| n[r].is_complete()))
    }

    /// Every copy is the file, byte for byte.
    pub fn check_copies(&mut self) {
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
    pub fn check_nothing_leaks(mut self) {
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

    pub fn uploaded(&self, id: NodeId) -> u64 {
        group_of(self.network[id].peer()).stats().replication.bytes_sent
    }
}

fn rand_core_fill(random: &mut SeededRandom, bytes: &mut [u8]) {
    for byte in bytes {
        *byte = random.below(256) as u8;
    }
}

pub fn connect(network: &mut Network<Host>, id: NodeId) {
    network.act(id, |host, now| host.peer_mut().connect(now));
}

pub fn group_of(peer: &Peer) -> &rtmfp::proto::group::Group {
    peer.node.group(peer.group).unwrap()
}
