//! A server, honest members, hostile ones, and a count of what reaches the victim.

use super::forger::Forger;
use rtmfp::proto::crypto::{
    DhGroup, Epd, Fingerprint, Identity, IdentityConfig, KeyStyle, Negotiation, Opener,
};
use rtmfp::proto::flash::Uri;
use rtmfp::proto::group::{GroupSpec, GroupSpecBuilder};
use rtmfp::proto::node::{Node, NodeConfig};
use rtmfp::proto::rendezvous::{Rendezvous, RendezvousConfig, RendezvousStats};
use rtmfp::proto::sim::{Actor, Link, Network, NodeId, Tapped};
use rtmfp::proto::transport::{Config, Endpoint, Layer, Machine, Time};
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Chunk, Mode, PacketHeader};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub const SERVER: &str = "198.51.100.1:1935";
/// Where the reflected bytes go.
pub const VICTIM: [u8; 4] = [192, 0, 2, 66];

pub enum Host {
    Server(Box<Rendezvous>),
    Member(Box<Node>),
    Forger(Box<Forger>),
}

impl Host {
    pub fn node(&mut self) -> &mut Node {
        match self {
            Self::Member(node) => node,
            _ => panic!("no member"),
        }
    }

    pub fn into_node(self) -> Node {
        match self {
            Self::Member(node) => *node,
            _ => panic!("no member"),
        }
    }

    pub fn forger(&mut self) -> &mut Forger {
        match self {
            Self::Forger(forger) => forger,
            _ => panic!("no forger"),
        }
    }
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server) => &**server,
            Self::Member(node) => &**node,
            Self::Forger(forger) => &forger.endpoint,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server) => &mut **server,
            Self::Member(node) => &mut **node,
            Self::Forger(forger) => &mut forger.endpoint,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, now: Time) -> bool {
        match self {
            Self::Server(server) => while server.poll_event().is_some() {},
            Self::Member(node) => while node.poll_event().is_some() {},
            Self::Forger(forger) => return forger.react(now),
        }
        false
    }
}

/// What has reached the victim, and what the attackers have sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    pub to_victim: u64,
    pub by_attackers: u64,
}

pub struct World {
    pub network: Network<Host>,
    server: NodeId,
    pub members: Vec<NodeId>,
    pub attackers: Vec<NodeId>,
    hostile: BTreeSet<SocketAddr>,
    /// Attackers are cut off from everybody but the server, and pay for no hello of their own.
    frugal: bool,
    /// A client at a victim's host, of whose traffic only what startup packets bring counts.
    neutral: Option<SocketAddr>,
    /// All of them hosts of the victim's.
    pub victims: BTreeSet<IpAddr>,
    count: Count,
    keys: KeyStyle,
}

/// Small keys, which make an attack cheap.
pub fn quick() -> Negotiation {
    Negotiation { groups: vec![DhGroup::Modp2], ..Negotiation::default() }
}

pub fn spec() -> GroupSpec {
    let spec = GroupSpecBuilder::new("group").unwrap().object_replication(true);
    spec.server_channel(true).build().unwrap()
}

impl World {
    /// A world in which honest members have such keys.
    pub fn new(seed: u64, keys: KeyStyle) -> Self {
        println!("seed {seed}, {keys:?} keys");
        let mut network = Network::new(seed, Link::lan());
        network.tap();
        let mut random = network.random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let mut config = RendezvousConfig::default();
        config.transport.negotiation = quick();
        config.own_addresses = vec![SERVER.parse().unwrap()];
        let choices = network.random();
        let server = Rendezvous::new(config, identity, Box::new(random), Box::new(choices));
        let server = network.add(SERVER, Host::Server(Box::new(server)));
        Self {
            network,
            server,
            members: Vec::new(),
            attackers: Vec::new(),
            hostile: BTreeSet::new(),
            frugal: false,
            neutral: None,
            victims: [IpAddr::from(VICTIM)].into(),
            count: Count::default(),
            keys,
        }
    }

    fn node(&mut self, accept: bool, keys: KeyStyle) -> Node {
        let mut random = self.network.random();
        let groups = vec![DhGroup::Modp2];
        let mut identity = IdentityConfig::default();
        identity.keys = keys;
        identity.groups = groups;
        let identity = Identity::generate(&identity, &mut random);
        let mut config = NodeConfig::default();
        config.transport.negotiation = quick();
        config.transport.accept = accept;
        let seed = self.network.random();
        Node::new(config, identity, Box::new(random), Box::new(seed))
    }

    /// A node at `address` connects and joins the group.
    fn enter(&mut self, mut node: Node, address: &str, reported: &[SocketAddr]) -> NodeId {
        let now = self.network.now();
        node.set_addresses(now, reported.to_vec());
        node.join(now, spec());
        self.connect(node, address)
    }

    fn connect(&mut self, node: Node, address: &str) -> NodeId {
        let id = self.network.add(address, Host::Member(Box::new(node)));
        let uri = Uri::parse(&format!("rtmfp://{SERVER}/")).unwrap();
        let server = SERVER.parse().unwrap();
        self.network.act(id, |host, now| host.node().connect(now, &uri, &[server]));
        id
    }

    /// An honest member more, behind an address of its own.
    pub fn add_member(&mut self) -> NodeId {
        let node = self.node(true, self.keys);
        let number = self.members.len();
        let address = format!("203.0.{}.{}:1000", number / 200, number % 200 + 1);
        let id = self.enter(node, &address, &["192.168.1.2:1000".parse().unwrap()]);
        self.members.push(id);
        for attacker in self.cut_off() {
            self.separate(id, attacker);
        }
        id
    }

    fn cut_off(&self) -> Vec<NodeId> {
        if self.frugal { self.attackers.clone() } else { Vec::new() }
    }

    fn separate(&mut self, a: NodeId, b: NodeId) {
        let cut = Link::lan().with_loss(1.0);
        self.network.set_link(a, b, cut.clone());
        self.network.set_link(b, a, cut);
    }

    /// From now on attackers do nothing but what it takes to be clients of the server.
    pub fn be_frugal(&mut self) {
        self.frugal = true;
    }

    /// A client more that joins the group, reports these addresses, and answers no hello, so that
    /// it is asked for again and again.
    pub fn add_attacker(&mut self, reported: &[SocketAddr]) -> NodeId {
        let node = self.node(false, KeyStyle::Ephemeral);
        let address = self.hostile_address();
        let id = self.enter(node, &address, reported);
        for other in self.cut_off() {
            self.separate(id, other);
        }
        self.attackers.push(id);
        id
    }

    /// A further peer that sends arbitrary messages to others.
    pub fn add_forger(&mut self) -> NodeId {
        let mut random = self.network.random();
        let groups = vec![DhGroup::Modp2];
        let mut identity = IdentityConfig::default();
        identity.groups = groups;
        let identity = Identity::generate(&identity, &mut random);
        let mut config = Config::default();
        config.negotiation = quick();
        let endpoint = Endpoint::new(config, identity.into(), Box::new(random));
        let address = self.hostile_address();
        let id = self.network.add(&address, Host::Forger(Box::new(Forger::new(endpoint))));
        self.attackers.push(id);
        id
    }

    /// An honest client at the victim's address, in no group.
    pub fn add_client_at_the_victims_host(&mut self) -> SocketAddr {
        let address = SocketAddr::from((VICTIM, 1000));
        let node = self.node(true, KeyStyle::Ephemeral);
        self.connect(node, &address.to_string());
        self.neutral = Some(address);
        address
    }

    /// A forger opens sessions to the first members.
    pub fn introduce_forger(&mut self, forger: NodeId, members: usize) {
        for number in 0..members {
            let member = self.members[number];
            let (peer, address) = (self.peer_id(member), self.network.address(member));
            self.network.act(forger, |host, now| {
                let epd = Epd::for_fingerprint(peer);
                host.forger().endpoint.open(now, epd, &[address]);
            });
        }
    }

    /// Resets the counters.
    pub fn count_anew(&mut self) {
        self.take(false);
        self.count = Count::default();
    }

    fn hostile_address(&mut self) -> String {
        let number = self.attackers.len();
        let address = format!("100.2.{}.{}:2000", number / 200, number % 200 + 1);
        self.hostile.insert(address.parse().unwrap());
        address
    }

    /// What the server has counted.
    #[allow(dead_code, reason = "each test file uses its part")]
    pub fn server_stats(&self) -> RendezvousStats {
        match &self.network[self.server] {
            Host::Server(server) => server.stats(),
            _ => unreachable!("the first machine"),
        }
    }

    pub fn peer_id(&self, node: NodeId) -> Fingerprint {
        match &self.network[node] {
            Host::Member(node) => node.peer_id(),
            Host::Forger(forger) => forger.endpoint.fingerprint(),
            Host::Server(server) => server.endpoint().fingerprint(),
        }
    }

    /// Everything that the server sends is counted as the attackers'.
    pub fn corrupt_server(&mut self) {
        self.hostile.insert(SERVER.parse().unwrap());
    }

    /// Puts a datagram of the attackers' on the network, from wherever they want it to come.
    pub fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.take(false);
        self.count.by_attackers += bytes.len() as u64;
        self.network.inject(from, to, bytes);
        self.take(true);
    }

    /// Counts what was sent meanwhile and returns it.
    fn take(&mut self, injected: bool) -> Vec<Tapped> {
        let tapped = self.network.take_tapped();
        for datagram in &tapped {
            let bytes = datagram.bytes.len() as u64;
            let from_victim = self.victims.contains(&datagram.from.ip());
            let own = |address| Some(address) == self.neutral;
            let startup = || startup(&datagram.bytes).is_some();
            let hostile = self.hostile.contains(&datagram.from);
            let needless = self.frugal && (datagram.to != server() || asks_for_peer(datagram));
            if injected || own(datagram.from) || own(datagram.to) && !startup() {
                // Counted already, whatever source it claims, or nobody's business.
            } else if hostile && needless {
            } else if hostile || from_victim {
                self.count.by_attackers += bytes;
            } else if self.victims.contains(&datagram.to.ip()) {
                self.count.to_victim += bytes;
            }
        }
        tapped
    }

    /// Goes on for `duration`; `respond` sees every datagram and may put others on the network.
    pub fn run(&mut self, duration: Duration, mut respond: impl FnMut(&mut Self, &Tapped)) {
        let end = self.network.now() + duration;
        while self.network.now() < end {
            self.network.run_for(Duration::from_millis(100));
            for datagram in self.take(false) {
                respond(self, &datagram);
            }
        }
    }

    /// Goes on for `duration`.
    pub fn wait(&mut self, duration: Duration) {
        self.run(duration, |_, _| {});
    }

    pub fn ratio(&self) -> f64 {
        self.count.to_victim as f64 / self.count.by_attackers as f64
    }

    /// What has reached the victim beyond three times what the attackers have sent.
    pub fn beyond(&self) -> u64 {
        self.count.to_victim.saturating_sub(3 * self.count.by_attackers)
    }

    /// What has reached the victim so far is at most three times what the attackers have sent.
    pub fn check_ratio(&self) {
        assert!(self.ratio() <= 3.0, "x {:.2}: {:?}", self.ratio(), self.count);
    }

    /// The same, with figures.
    pub fn check(&self, attack: &str) {
        let Count { to_victim, by_attackers } = self.count;
        let ratio = self.ratio();
        let (honest, hostile) = (self.members.len(), self.attackers.len());
        println!(
            "{attack}: {hostile} hostile, {honest} honest, {:.0} s: {by_attackers} bytes by \
             attackers, {to_victim} to the victim, x {ratio:.2}",
            self.network.now().as_secs_f64()
        );
        assert!(by_attackers > 0);
        self.check_ratio();
    }

    /// The same for an attack that reaches the victim with something.
    pub fn check_effect(&self, attack: &str) {
        self.check(attack);
        assert!(self.count.to_victim > 0, "{attack}: nothing was tried");
    }
}

fn server() -> SocketAddr {
    SERVER.parse().unwrap()
}

fn asks_for_peer(datagram: &Tapped) -> bool {
    hello(datagram).is_some_and(|(_, peer)| peer.is_some())
}

/// Addresses of the victim's.
pub fn victims(count: u16) -> Vec<SocketAddr> {
    (0..count).map(|i| SocketAddr::from((VICTIM, 4000 + i))).collect()
}

/// The startup chunks of a datagram.
pub fn startup(datagram: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = datagram.to_vec();
    let plain = Opener::default_key().open(bytes.get_mut(4..)?).ok()?.to_vec();
    let (header, rest) = PacketHeader::parse(&plain).ok()?;
    (header.mode == Mode::Startup).then(|| rest.to_vec())
}

/// The tag of the hello in a datagram, and for which fingerprint it asks.
pub fn hello(datagram: &Tapped) -> Option<(Vec<u8>, Option<Fingerprint>)> {
    let plain = startup(&datagram.bytes)?;
    chunks(&plain).find_map(|chunk| match chunk {
        Chunk::InitiatorHello(hello) => {
            let epd = Epd::parse(hello.epd).ok()?;
            Some((hello.tag.to_vec(), epd.fingerprint()))
        }
        _ => None,
    })
}
