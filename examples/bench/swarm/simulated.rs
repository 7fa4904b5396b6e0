//! A run in the simulator: the members' machines and virtual time, repeated exactly by its seed.

use super::host::{Host, Member, Store};
use super::hostile::{Hostile, Hostiles, Kind};
use super::links::HEADERS;
use super::neighbors::Neighbors;
use super::outcome::Outcome;
use super::player::Player;
use super::{Members, Swarm};
use crate::process;
use anyhow::{Context, bail};
use rtmfp::proto::crypto::{Identity, IdentityConfig};
use rtmfp::proto::flash::Uri;
use rtmfp::proto::group::{GroupConfig, GroupSpec, GroupSpecBuilder};
use rtmfp::proto::node::{Node, NodeConfig};
use rtmfp::proto::rendezvous::{Rendezvous, RendezvousConfig};
use rtmfp::proto::sim::{Link, Network, NodeId, SeededRandom};
use rtmfp::proto::transport::{Bandwidth, Config, Endpoint, LinkRate, LinkRates, Time};
use rtmfp::vod::hash::{ChunkHashes, chunk_hash};
use rtmfp::vod::{
    CHUNK_SIZE, Descriptor, DescriptorForm, Digest256, FileExchange, Integrity, Layout,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SERVER: &str = "10.0.0.1:1935";
/// The provider is there before the first receiver by so much.
const HEAD_START: Duration = Duration::from_secs(2);
/// A run ends after so many times the least possible time, and this much.
const PATIENCE: (f64, f64) = (10.0, 600.0);
/// The part of an uplink that is user data, without the headers of all layers.
const USER_DATA: f64 = 0.94;
/// Steps of the simulator between two looks at the clock on the wall.
const STEPS: u32 = 4096;
/// Interval of the reports of progress.
const PROGRESS: Duration = Duration::from_secs(1);

/// One run; the seed determines everything but the time that it takes.
pub(super) fn run(args: &Swarm, seed: u64) -> anyhow::Result<Outcome> {
    let cpu = process::cpu_seconds();
    let mut world = World::new(args, seed)?;
    world.network.run_for(HEAD_START);
    for number in 0..args.n {
        world.add_receiver(number)?;
        world.network.run_for(args.arrivals);
    }
    world.run_to_the_end()?;
    Ok(world.outcome(process::cpu_seconds() - cpu))
}

struct World<'a> {
    args: &'a Swarm,
    network: Network<Host>,
    /// The provider and the receivers.
    members: Vec<NodeId>,
    /// Those that do not ask the server who is there.
    outsiders: Vec<NodeId>,
    /// The uplinks of all of them.
    uplinks: Vec<(NodeId, Link)>,
    file: Arc<[u8]>,
    spec: GroupSpec,
    descriptor: Descriptor,
    uri: Uri,
    server: SocketAddr,
    server_id: NodeId,
}

impl<'a> World<'a> {
    /// A network with a server and the provider, which connects.
    fn new(args: &'a Swarm, seed: u64) -> anyhow::Result<Self> {
        let mut network = Network::new(seed, args.links.link_of_server());
        let file = noise(args.size, &mut network.random());
        let descriptor = descriptor(&file)?;
        let spec = spec()?;
        let server = server(&mut network);
        let server_id = network.add(SERVER, server);
        let uri = Uri::parse(&format!("rtmfp://{SERVER}/")).context("the server's URI")?;
        let server = SERVER.parse()?;
        let mut world = Self {
            args,
            network,
            members: Vec::new(),
            outsiders: Vec::new(),
            uplinks: Vec::new(),
            file,
            spec,
            descriptor,
            uri,
            server,
            server_id,
        };
        let exchange = FileExchange::provider(world.descriptor.clone(), DescriptorForm::Object);
        world.add(exchange, args.links.provider_up);
        for kind in args.hostile.iter().flat_map(Hostiles::kinds) {
            world.add_hostile(kind);
        }
        Ok(world)
    }

    fn add_receiver(&mut self, number: u32) -> anyhow::Result<()> {
        // By twos, so that both halves have some of the narrow uplinks, which every second one has.
        let is_player = self.args.members == Members::Mixed && number / 2 % 2 == 1;
        let uplink = self.args.links.uplink(number);
        let id = match is_player {
            true => self.add_player(uplink),
            false => {
                let integrity = Integrity::Descriptor(self.descriptor.digest());
                let provider = self.network[self.provider()].peer_id().context("a provider")?;
                let exchange = FileExchange::receiver(integrity, Some(provider));
                self.add(exchange.sparing_provider(self.args.save_upload), uplink)
            }
        };
        self.network.set_downlink(id, self.args.links.downlink());
        Ok(())
    }

    /// A member that connects now.
    fn add(&mut self, exchange: FileExchange, uplink: f64) -> NodeId {
        let now = self.network.now();
        let mut node = node(&mut self.network);
        if self.args.remembered {
            node.remember_links(now, remembered(uplink));
        }
        let config = GroupConfig::new(self.spec.clone(), node.peer_id());
        let is_provider = self.members.is_empty();
        let store = self.store(is_provider);
        let server = (self.uri.clone(), self.server);
        let member = Member::new(now, node, config, exchange, store, server);
        let id = self.connect_to_all(Host::Member(Box::new(member)), uplink);
        let address = self.network.address(id);
        self.network.act(id, |host, now| {
            host.member_mut().into_iter().for_each(|member| member.connect(now, address));
        });
        self.members.push(id);
        for outsider in self.outsiders.clone() {
            self.approach(outsider, id);
        }
        id
    }

    fn add_player(&mut self, uplink: f64) -> NodeId {
        let now = self.network.now();
        let player = Player::new(now, self.neighbors(), self.store(false));
        let id = self.connect_to_all(Host::Player(Box::new(player)), uplink);
        for other in [&self.members[..], &self.outsiders].concat() {
            self.approach(id, other);
        }
        self.members.push(id);
        self.outsiders.push(id);
        id
    }

    fn add_hostile(&mut self, kind: Kind) {
        let now = self.network.now();
        let (neighbors, random) = (self.neighbors(), self.network.random());
        let hostile = Hostile::new(now, neighbors, kind, self.descriptor.chunks(), random);
        let id = self.connect_to_all(Host::Hostile(Box::new(hostile)), self.args.links.up);
        self.network.set_downlink(id, self.args.links.downlink());
        for other in self.members.clone() {
            self.approach(id, other);
        }
        self.outsiders.push(id);
    }

    fn neighbors(&mut self) -> Neighbors {
        let mut random = self.network.random();
        let identity = Identity::generate(&IdentityConfig::like_a_player(), &mut random);
        let endpoint = Endpoint::new(Config::default(), identity.into(), Box::new(random));
        Neighbors::new(endpoint, self.spec.clone())
    }

    fn store(&self, is_complete: bool) -> Store {
        Store::new(Arc::clone(&self.file), self.descriptor.layout, is_complete)
    }

    /// A member that does not ask the server opens a session with another.
    fn approach(&mut self, outsider: NodeId, other: NodeId) {
        let address = self.network.address(other);
        let Some(peer) = self.network[other].peer_id() else { return };
        self.network.act(outsider, |host, now| {
            let neighbors = host.neighbors_mut().into_iter();
            neighbors.for_each(|neighbors| neighbors.approach(now, peer, address));
        });
    }

    /// A machine with an uplink of its own.
    fn connect_to_all(&mut self, host: Host, uplink: f64) -> NodeId {
        let number = self.uplinks.len();
        // Addresses for tests of networks: private ones would be in one local network.
        let address = format!("198.18.{}.{}:1000", 1 + number / 200, 1 + number % 200);
        let id = self.network.add(&address, host);
        let link = self.args.links.link_of_member(uplink, number as u32);
        self.network.set_link(id, self.server_id, link.clone());
        for (other, back) in &self.uplinks {
            self.network.set_link(id, *other, link.clone());
            self.network.set_link(*other, id, back.clone());
        }
        self.uplinks.push((id, link));
        id
    }

    fn provider(&self) -> NodeId {
        self.members[0]
    }

    fn receivers(&self) -> impl Iterator<Item = &Host> {
        self.members.iter().skip(1).map(|id| &self.network[*id])
    }

    fn run_to_the_end(&mut self) -> anyhow::Result<()> {
        let least = self.args.links.least_seconds(self.args.n, self.args.size);
        let limit = Duration::from_secs_f64(PATIENCE.0 * least + PATIENCE.1);
        let end = self.network.now() + limit;
        let mut reported = Instant::now();
        while !self.run_for_some_steps()? {
            if let Some(error) = self.receivers().find_map(Host::failed) {
                bail!("a receiver has failed: {error}");
            }
            if reported.elapsed() > PROGRESS {
                self.report_progress();
                reported = Instant::now();
            }
            if self.network.now() > end {
                eprintln!("bench: given up after {:.0} s", end.since(Time::ZERO).as_secs_f64());
                break;
            }
        }
        Ok(())
    }

    /// True if all copies are complete.
    fn run_for_some_steps(&mut self) -> anyhow::Result<bool> {
        for _ in 0..STEPS {
            if self.receivers().all(Host::is_complete) {
                return Ok(true);
            }
            if !self.network.step() {
                bail!("nothing happens any more, and the copies are not complete");
            }
        }
        Ok(false)
    }

    fn report_progress(&self) {
        let held: u64 = self.receivers().map(Host::held).sum();
        let all = self.descriptor.chunks() * u64::from(self.args.n);
        let complete = self.receivers().filter(|host| host.is_complete()).count();
        eprintln!(
            "bench: {:5.0} s of virtual time, {:3.0} % of the chunks, {complete} copies complete",
            self.network.now().since(Time::ZERO).as_secs_f64(),
            held as f64 / all.max(1) as f64 * 100.0,
        );
    }

    fn outcome(&self, cpu_seconds: f64) -> Outcome {
        let stats = self.network.stats();
        Outcome {
            receivers: self.receivers().map(Host::result).collect(),
            provider_bytes: self.network[self.provider()].member().map_or(0, Member::bytes_sent),
            wire_bytes: stats.bytes + stats.sent * HEADERS as u64,
            cpu_seconds,
        }
    }
}

/// What describes a file.
pub(crate) fn descriptor(file: &[u8]) -> anyhow::Result<Descriptor> {
    let hashes = file.chunks(CHUNK_SIZE as usize).map(chunk_hash);
    Ok(Descriptor {
        name: Some("film.mp4".into()),
        sha256: Some(Digest256::of(file)),
        chunk_hashes: Some(ChunkHashes::from_hashes(hashes)),
        ..Descriptor::of_layout(Layout::of_size(file.len() as u64, CHUNK_SIZE)?)
    })
}

/// The group of the file.
pub(crate) fn spec() -> anyhow::Result<GroupSpec> {
    let spec = GroupSpecBuilder::new("film.mp4")?;
    Ok(spec.object_replication(true).server_channel(true).build()?)
}

pub(crate) fn server(network: &mut Network<Host>) -> Host {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::default(), &mut random);
    let choices = network.random();
    let config = RendezvousConfig::default();
    Host::Server(Box::new(Rendezvous::new(config, identity, Box::new(random), Box::new(choices))))
}

pub(crate) fn node(network: &mut Network<Host>) -> Node {
    let mut random = network.random();
    let identity = Identity::generate(&IdentityConfig::like_a_player(), &mut random);
    let choices = network.random();
    Node::new(NodeConfig::default(), identity, Box::new(random), Box::new(choices))
}

/// What a member with this uplink in Mbit/s remembers of it: user data.
fn remembered(uplink: f64) -> LinkRates {
    let rate = Bandwidth::bytes_per_second((uplink * 1e6 / 8.0 * USER_DATA) as u64);
    LinkRates { up: Some(LinkRate { rate, is_full: true }), down: None }
}

/// Bytes that cannot be compressed.
pub(crate) fn noise(size: u64, random: &mut SeededRandom) -> Arc<[u8]> {
    let words = (0..size.div_ceil(8)).flat_map(|_| random.below(u64::MAX).to_le_bytes());
    words.take(size as usize).collect()
}
