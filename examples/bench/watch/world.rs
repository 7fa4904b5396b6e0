//! A run in the simulator.

use super::scene::Scene;
use crate::process;
use crate::swarm::host::{Host, Member, Seen, Store};
use crate::swarm::simulated::{descriptor, node, noise, server, spec};
use anyhow::{Context, bail};
use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::flash::Uri;
use rtmfp::proto::group::{GroupConfig, GroupSpec};
use rtmfp::proto::sim::{Link, Nat, NatKind, Network, NodeId};
use rtmfp::proto::transport::Time;
use rtmfp::vod::{CHUNK_SIZE, Descriptor, DescriptorForm, FileExchange, Integrity};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SERVER: &str = "198.18.0.1:1935";
/// The provider is there before the first viewer by so much.
const HEAD_START: Duration = Duration::from_secs(2);
/// A run ends after the film has played, and so many times the least possible time.
const PATIENCE: f64 = 10.0;
/// Steps of the simulator between two looks at the clock on the wall.
const STEPS: u32 = 4096;
/// Interval of the reports of progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// A local network carries so many bytes a second.
const LAN_RATE: u64 = 100_000_000 / 8;
/// The numbers of the lines' queues: from them to others, and from others to them; and those of the
/// network cards of viewers in local networks.
const DOWN: u32 = 10_000;
const CARD: u32 = 20_000;

/// The result of a run.
pub(super) struct Outcome {
    pub(super) viewers: Vec<ViewerOutcome>,
    /// Bytes that the provider has sent as objects.
    pub(super) provider_bytes: u64,
    /// The lines of local networks.
    pub(super) lines: Vec<LineOutcome>,
    pub(super) cpu_seconds: f64,
}

pub(super) struct ViewerOutcome {
    pub(super) seen: Seen,
    /// When its copy was complete, in seconds since it has come.
    pub(super) complete: Option<f64>,
    pub(super) is_identical: bool,
}

/// What has come over the line of a local network.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LineOutcome {
    /// What of it were objects, if that is known.
    pub(super) objects: Option<LineObjects>,
    /// All bytes, headers included.
    pub(super) carried: u64,
}

/// Bytes of objects.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LineObjects {
    pub(super) received: u64,
    /// Of objects that one viewer has got twice.
    pub(super) doubled: u64,
}

/// One run; the seed determines everything but the time that it takes.
pub(super) fn run(scene: &Scene, seed: u64) -> anyhow::Result<Outcome> {
    let cpu = process::cpu_seconds();
    let mut world = World::new(scene, seed)?;
    world.network.run_for(HEAD_START);
    world.play()?;
    Ok(world.outcome(process::cpu_seconds() - cpu))
}

struct World<'a> {
    scene: &'a Scene,
    network: Network<Host>,
    provider: NodeId,
    provider_id: Fingerprint,
    viewers: Vec<NodeId>,
    /// Machines, their uplinks, and the local networks that they are in.
    places: Vec<(NodeId, Link, Option<u32>)>,
    file: Arc<[u8]>,
    spec: GroupSpec,
    descriptor: Descriptor,
    server: (Uri, SocketAddr),
    server_id: NodeId,
}

impl<'a> World<'a> {
    fn new(scene: &'a Scene, seed: u64) -> anyhow::Result<Self> {
        let mut network = Network::new(seed, scene.links.link_of_server());
        let file = noise(scene.size, &mut network.random());
        let (descriptor, spec) = (descriptor(&file)?, spec()?);
        let server = server(&mut network);
        let server_id = network.add(SERVER, server);
        let uri = Uri::parse(&format!("rtmfp://{SERVER}/")).context("the server's URI")?;
        let mut world = Self {
            scene,
            network,
            provider: server_id,
            provider_id: Fingerprint([0; 32]),
            viewers: Vec::new(),
            places: Vec::new(),
            file,
            spec,
            descriptor,
            server: (uri, SERVER.parse()?),
            server_id,
        };
        let exchange = FileExchange::provider(world.descriptor.clone(), DescriptorForm::Object);
        let uplink = scene.links.link_of_member(scene.links.provider_up, DOWN - 1);
        world.provider = world.add("198.18.0.2:1000", exchange, uplink, None);
        world.provider_id = world.network[world.provider].peer_id().context("a provider")?;
        Ok(world)
    }

    /// A viewer comes, and watches from its start.
    fn add_viewer(&mut self, number: u32) {
        let Scene { links, rate, .. } = self.scene;
        let (line, place) = (self.scene.line(number), number / self.scene.networks.unwrap_or(1));
        let integrity = Integrity::Descriptor(self.descriptor.digest());
        let exchange = FileExchange::receiver(integrity, Some(self.provider_id));
        let uplink = links.link_of_member(links.uplink(line), line);
        let (address, local) = match self.scene.networks {
            Some(_) if self.scene.has_subnets => (format!("10.{line}.{place}.2:1000"), Some(line)),
            Some(_) => (format!("192.168.{line}.{}:1000", 2 + place), Some(line)),
            None => (format!("198.18.{}.{}:1000", 1 + line / 200, 1 + line % 200), None),
        };
        let id = self.add(&address, exchange, uplink, local);
        self.network.set_downlink(id, links.downlink().through(DOWN + line));
        self.network.act(id, |host, now| {
            host.member_mut().into_iter().for_each(|member| member.watch(now, *rate));
        });
        self.viewers.push(id);
    }

    /// A member that connects now, in a local network or with an address of its own.
    fn add(
        &mut self,
        address: &str,
        exchange: FileExchange,
        uplink: Link,
        local: Option<u32>,
    ) -> NodeId {
        let now = self.network.now();
        let node = node(&mut self.network);
        let config = GroupConfig::new(self.spec.clone(), node.peer_id());
        let is_provider = self.places.is_empty();
        let store = Store::new(Arc::clone(&self.file), self.descriptor.layout, is_provider);
        let member = Member::new(now, node, config, exchange, store, self.server.clone());
        let id = self.network.add(address, Host::Member(Box::new(member)));
        if let Some(line) = local {
            let public = IpAddr::from([198, 18, 10, 1 + line as u8]);
            self.network.set_nat(id, Nat::new(NatKind::PortRestricted, public));
        }
        self.join_links(id, uplink, local);
        let address = self.network.address(id);
        self.network.act(id, |host, now| {
            host.member_mut().into_iter().for_each(|member| member.connect(now, address));
        });
        id
    }

    fn join_links(&mut self, id: NodeId, uplink: Link, local: Option<u32>) {
        let card = |place: usize| Link::lan().with_rate(LAN_RATE).through(CARD + place as u32);
        self.network.set_link(id, self.server_id, uplink.clone());
        for (place, (other, back, of)) in self.places.iter().enumerate() {
            let is_local = local.is_some() && local == *of;
            let there = if is_local { card(self.places.len()) } else { uplink.clone() };
            let back = if is_local { card(place) } else { back.clone() };
            self.network.set_link(id, *other, there);
            self.network.set_link(*other, id, back);
        }
        self.places.push((id, uplink, local));
    }

    fn member(&self, id: NodeId) -> Option<&Member> {
        self.network[id].member()
    }

    /// Runs until all have played the film and have it, or too long.
    fn play(&mut self) -> anyhow::Result<()> {
        let film = self.scene.size as f64 / self.scene.rate;
        let begun = self.network.now();
        let limit = PATIENCE * self.scene.least_seconds() + 2.0 * film + 60.0;
        let end = begun + Duration::from_secs_f64(limit);
        let mut jump = self.scene.jump;
        let mut reported = Instant::now();
        for number in 0..self.scene.viewers {
            self.add_viewer(number);
            self.network.run_for(self.scene.arrivals);
            self.report_progress(&mut reported);
        }
        while !self.run_for_some_steps()? && self.network.now() < end {
            if let Some((_, part)) = jump.take_if(|(at, _)| self.network.now() >= begun + *at) {
                self.jump(part)?;
            }
            self.report_progress(&mut reported);
        }
        Ok(())
    }

    /// The first viewer jumps to this part of the film, which nobody but the provider may have.
    fn jump(&mut self, part: f64) -> anyhow::Result<()> {
        let chunk = 1 + (part * self.descriptor.chunks() as f64) as u64;
        let has = |id: &NodeId| self.member(*id).is_some_and(|it| it.chunks().contains(chunk));
        if self.viewers.iter().any(has) {
            bail!("somebody has what the jump is to");
        }
        let first = self.viewers[0];
        self.network.act(first, |host, now| {
            host.member_mut().into_iter().for_each(|member| member.jump(now, chunk));
        });
        Ok(())
    }

    /// True if all copies are complete and played.
    fn run_for_some_steps(&mut self) -> anyhow::Result<bool> {
        for _ in 0..STEPS {
            let jumps = self.scene.jump.is_some_and(|(at, _)| {
                self.network.now() < Time::ZERO + HEAD_START + at + Duration::from_secs(1)
            });
            if jumps {
                // The time of the jump is not to depend on the number of steps.
                self.network.run_for(Duration::from_millis(10));
                return Ok(false);
            }
            if self.viewers.iter().all(|id| self.is_done(*id)) {
                return Ok(true);
            }
            if !self.network.step() {
                bail!("nothing happens any more, and the copies are not complete");
            }
        }
        Ok(false)
    }

    fn is_done(&self, id: NodeId) -> bool {
        let has_ended = |member: &Member| member.viewer().is_some_and(|viewer| viewer.seen.ended);
        self.network[id].is_complete() && self.member(id).is_some_and(has_ended)
    }

    /// Reports where the run is, if the last report was long ago.
    fn report_progress(&self, reported: &mut Instant) {
        if reported.elapsed() < PROGRESS {
            return;
        }
        *reported = Instant::now();
        let members = || self.viewers.iter().filter_map(|id| self.member(*id));
        let held: u64 = members().map(|member| member.chunks().len()).sum();
        let all = self.descriptor.chunks() * u64::from(self.scene.viewers);
        let ended = self.viewers.iter().filter(|id| self.is_done(**id)).count();
        eprintln!(
            "bench: {:5.0} s of virtual time, {:3.0} % of the chunks, {ended} have seen it",
            self.network.now().since(Time::ZERO).as_secs_f64(),
            held as f64 / all.max(1) as f64 * 100.0,
        );
    }

    fn outcome(&self, cpu_seconds: f64) -> Outcome {
        let mut lines = vec![LineOutcome::default(); self.scene.networks.unwrap_or(0) as usize];
        for (number, id) in (0..).zip(&self.viewers) {
            let trade = self.member(*id).map(Member::trade).unwrap_or_default();
            if let Some(line) = lines.get_mut(self.scene.line(number) as usize) {
                let line = line.objects.get_or_insert_default();
                line.doubled += trade.duplicates * u64::from(CHUNK_SIZE);
                line.received += trade.bytes_received - trade.bytes_received_locally;
            }
        }
        for (number, line) in (0..).zip(&mut lines) {
            line.carried = self.network.carried(DOWN + number);
        }
        let viewers = self.viewers.iter().map(|id| {
            let result = self.network[*id].result();
            let viewer = self.member(*id).and_then(Member::viewer);
            ViewerOutcome {
                seen: viewer.map(|viewer| viewer.seen.clone()).unwrap_or_default(),
                complete: result.complete,
                is_identical: result.is_identical,
            }
        });
        Outcome {
            viewers: viewers.collect(),
            provider_bytes: self.member(self.provider).map_or(0, Member::bytes_sent),
            lines,
            cpu_seconds,
        }
    }
}
