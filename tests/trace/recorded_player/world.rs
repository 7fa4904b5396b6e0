//! A virtual network with our machines where the recorded far ends were, and one player.

use super::capture::{Call, Recording, Script, What};
use super::player::{self, Player};
use super::rules::Judge;
use super::session::{Session, With};
use bytes::Bytes;
use rtmfp::amf::{self, Value};
use rtmfp::proto::crypto::{Certificate, Epd, Fingerprint, Identity, IdentityConfig, Negotiation};
use rtmfp::proto::flash::Uri;
use rtmfp::proto::flash::group_channel::{JoinKey, ServerMessage};
use rtmfp::proto::group::message::ReplicationMessage;
use rtmfp::proto::group::{GroupEvent, GroupSpec};
use rtmfp::proto::node::{GroupHandle, Node, NodeConfig, NodeEvent};
use rtmfp::proto::rendezvous::{Rendezvous, RendezvousConfig};
use rtmfp::proto::sim::{Actor, Link, Network, NodeId};
use rtmfp::proto::transport::{Endpoint, Layer, Machine, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Nothing of ours is longer.
const MAX_DATAGRAM: usize = 1200;
/// Time for the last acknowledgements.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// A peer of ours, with an application that gives and takes texts.
pub struct Peer {
    pub node: Node,
    pub group: Option<GroupHandle>,
    /// Objects that came, by index.
    pub objects: BTreeMap<u64, Bytes>,
    /// Notified once a member has fetched something.
    late: Option<u64>,
    pub events: Vec<&'static str>,
}

pub enum Host {
    Server(Box<Rendezvous>),
    Peer(Box<Peer>),
    End(Box<Endpoint>),
    Player(Box<Player>),
}

/// The text that the recorded players have as object `index`.
pub fn object(index: u64) -> Bytes {
    amf::to_bytes(&Value::from(format!("object-{index}").as_str())).unwrap()
}

impl Host {
    pub fn player(&self) -> &Player {
        let Self::Player(player) = self else { panic!("not a player") };
        player
    }

    pub fn player_mut(&mut self) -> &mut Player {
        let Self::Player(player) = self else { panic!("not a player") };
        player
    }

    pub fn server(&self) -> &Rendezvous {
        let Self::Server(server) = self else { panic!("not a server") };
        server
    }

    pub fn peer(&self) -> &Peer {
        let Self::Peer(peer) = self else { panic!("not a peer") };
        peer
    }
}

impl Layer for Host {
    type Inner = dyn Machine;

    fn inner(&self) -> &Self::Inner {
        match self {
            Self::Server(server) => &**server,
            Self::Peer(peer) => &peer.node,
            Self::End(endpoint) => &**endpoint,
            Self::Player(player) => &**player,
        }
    }

    fn inner_mut(&mut self) -> &mut Self::Inner {
        match self {
            Self::Server(server) => &mut **server,
            Self::Peer(peer) => &mut peer.node,
            Self::End(endpoint) => &mut **endpoint,
            Self::Player(player) => &mut **player,
        }
    }
}

impl Actor for Host {
    fn react(&mut self, now: Time) -> bool {
        match self {
            Self::Peer(peer) => peer.react(now),
            Self::Server(server) => {
                while server.poll_event().is_some() {}
                false
            }
            Self::End(_) | Self::Player(_) => false,
        }
    }
}

impl Peer {
    fn react(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(event) = self.node.poll_event() {
            let NodeEvent::Group(handle, event) = event else { continue };
            busy = true;
            self.events.push(event.code());
            match event {
                GroupEvent::ReplicationRequest { index, request_id } => {
                    let late = self.late.take();
                    self.node.with_group(now, handle, |group, now| {
                        group.replication_mut(now).write_requested(request_id, object(index));
                        if let Some(late) = late {
                            group.replication_mut(now).add_have(late..=late).unwrap();
                        }
                    });
                }
                GroupEvent::ReplicationFetchResult { index, object, .. } => {
                    self.objects.insert(index, object.into_bytes());
                }
                _ => {}
            }
        }
        busy
    }
}

/// One player's run against our machines.
pub struct World {
    pub network: Network<Host>,
    player: Option<NodeId>,
    pub servers: BTreeMap<SocketAddr, NodeId>,
    pub peers: BTreeMap<SocketAddr, NodeId>,
}

/// Adds a rendezvous server.
fn add_server(network: &mut Network<Host>, address: SocketAddr, setup: &Setup) -> NodeId {
    let mut random = network.random();
    let identity = Identity::generate(&setup.identity, &mut random);
    let choices = network.random();
    let config = setup.server.clone();
    let server = Rendezvous::new(config, identity, Box::new(random), Box::new(choices));
    network.add(&address.to_string(), Host::Server(Box::new(server)))
}

/// How our servers are set up.
#[derive(Default)]
pub struct Setup {
    pub server: RendezvousConfig,
    pub identity: IdentityConfig,
}

/// Adds a peer that is connected to `server` and has joined the group.
fn add_peer(
    network: &mut Network<Host>,
    address: SocketAddr,
    server: SocketAddr,
    spec: Option<&GroupSpec>,
) -> NodeId {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    let seed = network.random();
    let node = Node::new(NodeConfig::default(), identity, Box::new(random), Box::new(seed));
    let peer = Peer { node, group: None, objects: BTreeMap::new(), late: None, events: Vec::new() };
    let id = network.add(&address.to_string(), Host::Peer(Box::new(peer)));
    network.act(id, |host, now| {
        let Host::Peer(peer) = host else { panic!() };
        let uri: Uri = "rtmfp://127.0.0.1/ours".parse().unwrap();
        peer.node.connect(now, &uri, &[server]);
        peer.group = spec.map(|spec| peer.node.join(now, spec.clone()));
    });
    id
}

/// The players of a recording with their calls. Calls to servers that were not answered are left
/// out: the recorded server was mute or wrong on purpose.
pub fn players(recording: &Recording) -> BTreeMap<SocketAddr, Vec<Call>> {
    let mut players: BTreeMap<SocketAddr, Vec<Call>> = BTreeMap::new();
    for call in recording.calls() {
        let to_server = Epd::parse(&call.epd).unwrap().fingerprint().is_none();
        if call.keying.is_some() || !to_server {
            players.entry(call.from).or_default().push(call);
        }
    }
    players
}

fn scripts(calls: &[Call]) -> impl Iterator<Item = &Script> {
    calls.iter().filter_map(|call| call.keying.as_ref()).map(|keying| &keying.script)
}

/// The group that the player joins.
fn group(calls: &[Call]) -> Option<GroupSpec> {
    let moves = scripts(calls).flat_map(|script| &script.moves);
    moves
        .filter_map(|step| match &step.what {
            What::Data(fragment) => Some(fragment),
            _ => None,
        })
        .find_map(|fragment| {
            fragment.options.as_ref().filter(|options| options.metadata == b"GC")?;
            let message = ServerMessage::parse(&Bytes::copy_from_slice(&fragment.data));
            let Ok(ServerMessage::Join(JoinKey::CanonicalText(text))) = message else {
                panic!("the player joins by the canonical text");
            };
            let text = std::str::from_utf8(&text).unwrap();
            Some(GroupSpec::parse(&format!("{text}00")).unwrap())
        })
}

/// Indices in the player's messages of object replication.
fn indices(calls: &[Call], of: impl Fn(ReplicationMessage) -> Option<u64>) -> BTreeSet<u64> {
    let scripts = scripts(calls).flat_map(|script| {
        let mut flow = None;
        script.moves.iter().filter_map(move |step| {
            let What::Data(fragment) = &step.what else { return None };
            let options = fragment.options.as_ref();
            if options.is_some_and(|options| options.metadata == [b'G', b'R', 0x15]) {
                flow = Some(fragment.flow);
            }
            (flow == Some(fragment.flow)).then(|| Bytes::copy_from_slice(&fragment.data))
        })
    });
    scripts.filter_map(|message| ReplicationMessage::parse(message).ok().and_then(&of)).collect()
}

impl World {
    /// Our machines where the player's far ends were, and the player.
    pub fn new(seed: u64, calls: Vec<Call>) -> Self {
        Self::with_setup(seed, calls, &Setup::default())
    }

    /// The same with servers that have certain wishes about packet verification.
    pub fn with_negotiation(seed: u64, calls: Vec<Call>, negotiation: Negotiation) -> Self {
        let mut setup = Setup::default();
        setup.server.transport.negotiation = negotiation;
        Self::with_setup(seed, calls, &setup)
    }

    /// The same with servers of a certain setup.
    pub fn with_setup(seed: u64, calls: Vec<Call>, setup: &Setup) -> Self {
        let mut network = Network::new(seed, Link::lan());
        network.tap();
        let spec = group(&calls);
        let (mut servers, mut peers) = (BTreeMap::new(), BTreeMap::new());
        let mut fingerprints = Vec::new();
        for call in &calls {
            if Epd::parse(&call.epd).unwrap().fingerprint().is_none() {
                servers.entry(call.to).or_insert_with(|| add_server(&mut network, call.to, setup));
            }
        }
        let server = *servers.keys().next().expect("a server");
        for call in &calls {
            let Some(keying) = &call.keying else { continue };
            let own = Certificate::parse(&keying.certificate).unwrap().fingerprint();
            fingerprints.push((own, None));
            let Some(wanted) = Epd::parse(&call.epd).unwrap().fingerprint() else { continue };
            let id = *peers
                .entry(keying.peer)
                .or_insert_with(|| add_peer(&mut network, keying.peer, server, spec.as_ref()));
            fingerprints.push((wanted, Some(network[id].peer().node.peer_id())));
        }
        let world = Self { network, player: None, servers, peers };
        world.with_player(calls, spec, fingerprints)
    }

    fn with_player(
        mut self,
        calls: Vec<Call>,
        spec: Option<GroupSpec>,
        fingerprints: Vec<(Fingerprint, Option<Fingerprint>)>,
    ) -> Self {
        let wanted = indices(&calls, |message| match message {
            ReplicationMessage::Object { index, .. } => Some(index),
            _ => None,
        });
        let requested = indices(&calls, |message| match message {
            ReplicationMessage::Request(index) => Some(index),
            _ => None,
        });
        for &id in self.peers.values() {
            self.network.act(id, |host, now| {
                let Host::Peer(peer) = host else { panic!() };
                let Some(handle) = peer.group else { return };
                // Something that is never asked for ends the set, and something comes later.
                let extra = requested.last().map(|last| last + 2);
                peer.late = requested.last().map(|last| last + 4);
                peer.node.with_group(now, handle, |group, now| {
                    for &index in requested.iter().chain(&extra) {
                        group.replication_mut(now).add_have(index..=index).unwrap();
                    }
                    for &index in &wanted {
                        group.replication_mut(now).add_want(index..=index).unwrap();
                    }
                });
            });
        }
        self.network.run_for(Duration::from_secs(1));
        let now = self.network.now();
        let mut random = self.network.random();
        let identity = player::identity(&mut random);
        let address = calls[0].from;
        let mut player = Player::new(now, address, calls, identity, random);
        let near = player.fingerprint();
        player.wait_for_introductions = spec.is_some();
        player.spec = spec;
        player.fingerprints =
            fingerprints.into_iter().map(|(old, new)| (old.0, new.unwrap_or(near).0)).collect();
        self.player = Some(self.network.add(&address.to_string(), Host::Player(Box::new(player))));
        self
    }

    pub fn player(&self) -> NodeId {
        self.player.expect("a player was added")
    }

    /// A second player with the certificate and the calls of the first.
    pub fn add_twin(&mut self, address: &str) -> NodeId {
        let (now, random) = (self.network.now(), self.network.random());
        let twin = self.network[self.player()].player().twin(now, address.parse().unwrap(), random);
        self.network.add(address, Host::Player(Box::new(twin)))
    }

    /// Runs until the player has sent everything, judges, and returns what the player saw.
    pub fn run(&mut self) -> Judge {
        let player = self.player();
        let done = self.network.run_until(|network| network[player].player().is_done());
        self.network.run_for(AFTERWARDS);
        let now = self.network.now();
        let address = self.network.address(player);
        let tapped = self.network.take_tapped();
        let player = self.network[player].player_mut();
        player.judge.rule(now, "the player comes to its end", done, String::new);
        player.finish(now);
        let mut judge = std::mem::take(&mut player.judge);
        for datagram in tapped.iter().filter(|datagram| datagram.from != address) {
            let len = datagram.bytes.len();
            judge
                .rule(now, "no datagram over 1,200 bytes", len <= MAX_DATAGRAM, || len.to_string());
        }
        judge
    }

    /// How many of the player's sessions with servers are open and were connected.
    pub fn connected_to_servers(&self) -> usize {
        let player = self.network[self.player()].player();
        let connected = |session: &&Session| match &session.with {
            With::Server(client) => session.is_open() && client.connected,
            With::Peer(_) => false,
        };
        player.sessions.iter().filter(connected).count()
    }

    /// How many of the player's sessions with the peer at this address are open. A responder learns    /// of a session when something is sent in it.
    pub fn open_with_peer(&self, address: SocketAddr) -> usize {
        let player = self.network[self.player()].player();
        let with_it = player.sessions.iter().filter(|session| session.remote == address);
        with_it.filter(|session| session.is_open() && !session.out.is_empty()).count()
    }
}
