//! A virtual network: machines, links and a clock, all driven by one seed.
//!
//! Nothing here waits: the clock jumps to the next arrival or timer, so that minutes of protocol
//! take milliseconds, and a run is repeated exactly by its seed. Tests print the seed.
//!
//! ```
//! use rtmfp::proto::sim::{Link, Network};
//! # use rtmfp::proto::transport::{Config, Endpoint};
//! # use rtmfp::proto::crypto::{Epd, Identity, IdentityConfig};
//! let mut network = Network::new(7, Link::lan().with_loss(0.05));
//! # let mut endpoint = || {
//! #     let mut random = network.random();
//! #     let identity = Identity::generate(&IdentityConfig::default(), &mut random);
//! #     rtmfp::proto::sim::Bare(Endpoint::new(Config::default(), identity.into(), Box::new(random)))
//! # };
//! # let (a, b) = (endpoint(), endpoint());
//! let a = network.add("10.0.0.1:1935", a);
//! let b = network.add("10.0.0.2:1935", b);
//! let to = network.address(b);
//! let epd = Epd::for_fingerprint(network[b].0.fingerprint());
//! network.act(a, |endpoint, now| endpoint.0.open(now, epd, &[to]));
//! assert!(network.run_until(|n| n[b].0.sessions().count() == 1));
//! ```

mod joined;
mod link;
mod nat;
mod random;
#[cfg(test)]
mod tests;

pub use link::Link;
pub use nat::{Nat, NatKind};
pub use random::SeededRandom;

use crate::transport::{Ecn, Endpoint, Interface, Job, Layer, Machine, Path, Time, TransmitBuf};
use link::Queue;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::{Index, IndexMut};
use std::time::Duration;

/// A run ends after this much virtual time at the latest.
pub const MAX_RUN: Duration = Duration::from_secs(3600);
/// Rounds of jobs, reactions and packets after one input, before the machine counts as stuck.
const MAX_ROUNDS: usize = 10_000;

/// A machine in the network, and what it does about its own events.
pub trait Actor: Machine {
    /// Called after every input. Returns true if it did something that may cause packets.
    fn react(&mut self, now: Time) -> bool;

    /// True if the machine listens on this IP multicast address.
    fn listens_on(&self, _group: SocketAddr) -> bool {
        false
    }

    /// A datagram has come to an IP multicast address that the machine listens on.
    fn handle_multicast(&mut self, _now: Time, _to: SocketAddr, _from: SocketAddr, _bytes: &[u8]) {}
}

/// An endpoint that nobody listens to; tests read its events themselves.
#[derive(Debug)]
pub struct Bare(pub Endpoint);

impl Layer for Bare {
    type Inner = Endpoint;

    fn inner(&self) -> &Endpoint {
        &self.0
    }

    fn inner_mut(&mut self) -> &mut Endpoint {
        &mut self.0
    }
}

impl Actor for Bare {
    fn react(&mut self, _now: Time) -> bool {
        false
    }
}

/// A machine of a [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(usize);

#[derive(Debug)]
struct Node<M> {
    machine: Option<M>,
    address: SocketAddr,
    timer: Option<Time>,
    downlink: Option<Downlink>,
    /// Time that its processor takes for a job.
    job_cost: Duration,
    /// When it has done all that was asked of it.
    busy: Time,
}

/// The queue and the rate of everything that arrives at one machine.
#[derive(Debug)]
struct Downlink {
    link: Link,
    queue: Queue,
}

/// A datagram on its way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    arrival: Time,
    /// Order of sending, so that equal times keep their order.
    number: u64,
    from: SocketAddr,
    to: SocketAddr,
    marked: bool,
    capable: bool,
    /// No downlink is before it.
    last: bool,
    bytes: Vec<u8>,
}

/// A job that a machine's processor is busy with, or will be.
#[derive(Debug)]
struct Working {
    node: usize,
    job: Job,
}

/// Counters of the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkStats {
    /// Datagrams given to the network.
    pub sent: u64,
    /// Datagrams that arrived, duplicates included.
    pub delivered: u64,
    /// Datagrams that the links lost.
    pub lost: u64,
    /// Datagrams that the links marked instead of dropping them.
    pub marked: u64,
    /// Bytes given to the network.
    pub bytes: u64,
}

/// A datagram that was given to the network, whether it arrived or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tapped {
    /// When it was sent.
    pub at: Time,
    /// The sender.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// The UDP payload.
    pub bytes: Vec<u8>,
}

/// Machines joined by links.
#[derive(Debug)]
pub struct Network<M> {
    now: Time,
    seed: u64,
    random: SeededRandom,
    nodes: Vec<Node<M>>,
    by_address: HashMap<SocketAddr, usize>,
    nats: HashMap<usize, nat::Translator>,
    /// The machines behind each translator.
    by_nat: HashMap<IpAddr, Vec<usize>>,
    default_link: Link,
    links: HashMap<(SocketAddr, SocketAddr), Link>,
    queues: HashMap<(SocketAddr, SocketAddr), Queue>,
    /// Those that several links share.
    bottlenecks: HashMap<u32, Queue>,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    timers: BTreeSet<(Time, usize)>,
    /// Jobs by when they are done.
    jobs: BTreeMap<(Time, u64), Working>,
    number: u64,
    /// Interval at which machines read what has arrived; at once if zero.
    reading_interval: Duration,
    stats: NetworkStats,
    tapped: Option<Vec<Tapped>>,
}

impl<M: Actor> Network<M> {
    /// An empty network in which every pair is joined by `link`.
    pub fn new(seed: u64, link: Link) -> Self {
        Self {
            now: Time::from_millis(1),
            seed,
            random: SeededRandom::new(seed),
            nodes: Vec::new(),
            by_address: HashMap::new(),
            nats: HashMap::new(),
            by_nat: HashMap::new(),
            default_link: link,
            links: HashMap::new(),
            queues: HashMap::new(),
            bottlenecks: HashMap::new(),
            in_flight: BinaryHeap::new(),
            timers: BTreeSet::new(),
            jobs: BTreeMap::new(),
            number: 0,
            reading_interval: Duration::ZERO,
            stats: NetworkStats::default(),
            tapped: None,
        }
    }

    /// Keeps a copy of every datagram from now on, for [`take_tapped`](Self::take_tapped).
    pub fn tap(&mut self) {
        self.tapped.get_or_insert_default();
    }

    /// Datagrams sent since [`tap`](Self::tap) or the last call, in the order of sending.
    pub fn take_tapped(&mut self) -> Vec<Tapped> {
        self.tapped.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The seed that repeats this run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Counters.
    pub fn stats(&self) -> NetworkStats {
        self.stats
    }

    /// How long a datagram that reaches the links of this number now waits for their rate.
    pub fn waiting_time(&self, bottleneck: u32) -> Duration {
        let queue = self.bottlenecks.get(&bottleneck);
        queue.map_or(Duration::ZERO, |queue| queue.busy.since(self.now))
    }

    /// Bytes that the links of this number have carried, headers included, if they have a rate.
    pub fn carried(&self, bottleneck: u32) -> u64 {
        self.bottlenecks.get(&bottleneck).map_or(0, |queue| queue.carried)
    }

    /// A source of randomness for a machine, different at each call and repeated by the seed.
    pub fn random(&mut self) -> SeededRandom {
        self.random.fork()
    }

    /// Adds a machine at `address` ("host:port").
    ///
    /// # Panics
    /// If the text is not a socket address or is taken: the test is wrong.
    pub fn add(&mut self, address: &str, machine: M) -> NodeId {
        let address: SocketAddr = address.parse().expect("a socket address");
        let id = self.nodes.len();
        assert!(self.by_address.insert(address, id).is_none(), "{address} is taken");
        self.nodes.push(Node {
            machine: Some(machine),
            address,
            timer: None,
            downlink: None,
            job_cost: Duration::ZERO,
            busy: Time::ZERO,
        });
        self.drain(id);
        NodeId(id)
    }

    /// Address of a machine.
    pub fn address(&self, node: NodeId) -> SocketAddr {
        self.nodes[node.0].address
    }

    /// Moves a machine to another address, as when a NAT restarts.
    ///
    /// # Panics
    /// If the text is not a socket address.
    pub fn relocate(&mut self, node: NodeId, address: &str) {
        let address: SocketAddr = address.parse().expect("a socket address");
        self.by_address.remove(&self.nodes[node.0].address);
        self.by_address.insert(address, node.0);
        self.nodes[node.0].address = address;
    }

    /// Gives a machine a processor that does one job at a time and takes this long for each.
    /// Without, jobs take no time.
    pub fn set_job_cost(&mut self, node: NodeId, cost: Duration) {
        self.nodes[node.0].job_cost = cost;
    }

    /// Lets machines read what has arrived only at the multiples of `interval`, as busy programs
    /// do. They get all of it before they can answer, joined as the operating system joins
    /// datagrams. Zero, as it is in the beginning: each datagram comes alone, at once.
    pub fn set_reading_interval(&mut self, interval: Duration) {
        self.reading_interval = interval;
    }

    /// Takes a machine out as if its power had failed; packets to it vanish.
    pub fn remove(&mut self, node: NodeId) -> Option<M> {
        let entry = &mut self.nodes[node.0];
        self.by_address.remove(&entry.address);
        if let Some(timer) = entry.timer.take() {
            self.timers.remove(&(timer, node.0));
        }
        entry.machine.take()
    }

    /// Sets the link in one direction between two machines.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.links.insert((self.address(from), self.address(to)), link);
    }

    /// Lets everything that arrives at a machine pass one more queue, but for what comes from behind its
    /// own translator. Of this link only rate, queue, overhead, longest datagram, marks and the
    /// bottleneck's number count: delay and losses are those of the links before.
    pub fn set_downlink(&mut self, node: NodeId, link: Link) {
        self.nodes[node.0].downlink = Some(Downlink { link, queue: Queue::default() });
    }

    /// Sets the link of every pair that has none of its own.
    pub fn set_default_link(&mut self, link: Link) {
        self.default_link = link;
    }

    /// Lets a machine do something now, and sends what comes of it.
    pub fn act<R>(&mut self, node: NodeId, action: impl FnOnce(&mut M, Time) -> R) -> R {
        let now = self.now;
        let result = action(&mut self[node], now);
        self.drain(node.0);
        result
    }

    /// Puts a datagram on the network that no machine has sent.
    pub fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.send(from, to, false, bytes);
    }

    /// Goes on to the next arrival or timer. False if there is none.
    pub fn step(&mut self) -> bool {
        let Some(next) = self.next() else { return false };
        self.now = self.now.max(next);
        if self.next_arrival() == Some(next) {
            self.deliver_next();
        } else if self.next_job() == Some(next) {
            self.finish_next();
        } else {
            self.fire_next();
        }
        true
    }

    /// Goes on until `done`. False if no event is left, or after an hour.
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + MAX_RUN;
        while !done(self) {
            if self.now > end || !self.step() {
                return false;
            }
        }
        true
    }

    /// Goes on for `duration`.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            match self.next() {
                Some(next) if next <= end => {
                    self.step();
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// When something happens next.
    fn next(&self) -> Option<Time> {
        let timer = self.timers.first().map(|&(at, _)| at);
        [self.next_arrival(), self.next_job(), timer].into_iter().flatten().min()
    }

    fn next_arrival(&self) -> Option<Time> {
        self.in_flight.peek().map(|Reverse(d)| d.arrival)
    }

    fn next_job(&self) -> Option<Time> {
        self.jobs.first_key_value().map(|((at, _), _)| *at)
    }

    fn finish_next(&mut self) {
        let Some((_, Working { node, job })) = self.jobs.pop_first() else { return };
        if let Some(machine) = &mut self.nodes[node].machine {
            machine.handle_computed(self.now, job.run());
            self.drain(node);
        }
    }

    fn deliver_next(&mut self) {
        let Some(Reverse(first)) = self.in_flight.pop() else { return };
        let arrival = first.arrival;
        let mut to: BTreeMap<SocketAddr, Vec<InFlight>> = BTreeMap::new();
        if let Some(first) = self.pass_downlink(first) {
            to.insert(first.to, vec![first]);
        }
        while !self.reading_interval.is_zero() && self.next_arrival() == Some(arrival) {
            let Some(Reverse(next)) = self.in_flight.pop() else { break };
            if let Some(next) = self.pass_downlink(next) {
                to.entry(next.to).or_default().push(next);
            }
        }
        for (to, datagrams) in to {
            self.deliver(to, datagrams);
        }
    }

    /// Returns a datagram that has arrived; one that has a downlink before it is queued there.
    fn pass_downlink(&mut self, mut datagram: InFlight) -> Option<InFlight> {
        if std::mem::replace(&mut datagram.last, true) {
            return Some(datagram);
        }
        let id = self.machine_at(datagram.to)?;
        let Some(Downlink { link, queue }) = &mut self.nodes[id].downlink else {
            return Some(datagram);
        };
        let queue = match link.bottleneck {
            Some(shared) => self.bottlenecks.entry(shared).or_default(),
            None => queue,
        };
        let Some(departure) = link.departure(self.now, queue, datagram.bytes.len()) else {
            self.stats.lost += 1;
            return None;
        };
        let marked = datagram.capable && link.marks(departure.since(self.now));
        self.stats.marked += u64::from(marked && !datagram.marked);
        datagram.marked |= marked;
        datagram.arrival = self.reading(departure);
        self.in_flight.push(Reverse(datagram));
        None
    }

    fn has_downlink(&self, from: SocketAddr, to: SocketAddr) -> bool {
        self.machine_at(to)
            .is_some_and(|id| self.nodes[id].downlink.is_some() && !self.shares_nat(id, from))
    }

    /// Delivers a datagram to every machine of the sender's network that listens on this IP multicast
    /// address, the sender's too.
    fn deliver_multicast(&mut self, to: SocketAddr, datagrams: &[InFlight]) {
        for id in 0..self.nodes.len() {
            for InFlight { from, bytes, .. } in datagrams {
                let is_local = self.is_local(id, *from);
                let Some(machine) = &mut self.nodes[id].machine else { continue };
                if is_local && machine.listens_on(to) {
                    self.stats.delivered += 1;
                    machine.handle_multicast(self.now, to, *from, bytes);
                    self.drain(id);
                }
            }
        }
    }

    fn deliver(&mut self, to: SocketAddr, mut datagrams: Vec<InFlight>) {
        if to.ip().is_multicast() {
            return self.deliver_multicast(to, &datagrams);
        }
        let Some(id) = self.machine_at(to) else { return };
        datagrams.retain(|datagram| self.admits(id, datagram.from, to));
        let Some(machine) = &mut self.nodes[id].machine else { return };
        self.stats.delivered += datagrams.len() as u64;
        for mut run in joined::runs(datagrams) {
            let path = Path { interface: Interface(0), remote: run.from };
            machine.handle_datagrams(self.now, path, run.arrived());
        }
        self.drain(id);
    }

    /// When what arrives at `time` is read.
    fn reading(&self, time: Time) -> Time {
        let interval = self.reading_interval.as_micros() as u64;
        time.as_micros().checked_next_multiple_of(interval).map_or(time, Time::from_micros)
    }

    fn fire_next(&mut self) {
        let Some((_, id)) = self.timers.pop_first() else { return };
        self.nodes[id].timer = None;
        if let Some(machine) = &mut self.nodes[id].machine {
            machine.handle_timeout(self.now);
            self.drain(id);
        }
    }

    /// The drain rule.
    fn drain(&mut self, id: usize) {
        let mut buf = TransmitBuf::new();
        let mut quiet = false;
        let mut rounds = 0;
        while !std::mem::replace(&mut quiet, true) {
            rounds += 1;
            assert!(rounds < MAX_ROUNDS, "a machine does not come to rest (seed {})", self.seed);
            let now = self.now;
            let node = &mut self.nodes[id];
            let Some(machine) = &mut node.machine else { return };
            while let Some(job) = machine.poll_job() {
                if node.job_cost > Duration::ZERO {
                    node.busy = node.busy.max(now) + node.job_cost;
                    self.number += 1;
                    self.jobs.insert((node.busy, self.number), Working { node: id, job });
                } else {
                    machine.handle_computed(now, job.run());
                    quiet = false;
                }
            }
            let mut out = Vec::new();
            while let Some(transmit) = machine.poll_transmit(now, &mut buf) {
                out.extend(buf.datagrams().map(|d| (transmit, d.to_vec())));
            }
            quiet &= !machine.react(now) && out.is_empty();
            let from = self.nodes[id].address;
            for (transmit, bytes) in out {
                let capable = transmit.ecn != Ecn::NotCapable;
                self.send(from, transmit.path.remote, capable, bytes);
            }
        }
        self.set_timer(id);
    }

    fn set_timer(&mut self, id: usize) {
        let node = &mut self.nodes[id];
        let next = node.machine.as_ref().and_then(Machine::poll_timeout).map(|t| t.max(self.now));
        if let Some(old) = std::mem::replace(&mut node.timer, next) {
            self.timers.remove(&(old, id));
        }
        if let Some(next) = next {
            self.timers.insert((next, id));
        }
    }

    fn send(&mut self, sender: SocketAddr, to: SocketAddr, capable: bool, bytes: Vec<u8>) {
        let behind = self.machine_at(to);
        let is_local =
            behind.is_some_and(|id| self.shares_nat(id, sender)) || to.ip().is_multicast();
        let translator = self.by_address.get(&sender).and_then(|id| self.nats.get_mut(id));
        let translator = translator.filter(|_| !is_local);
        if is_local && self.by_nat.contains_key(&to.ip()) {
            // No translator sends back what comes from behind it.
            self.stats.lost += 1;
            return;
        }
        let from = translator.map_or(sender, |translator| translator.outward(self.now, to));
        self.stats.sent += 1;
        self.stats.bytes += bytes.len() as u64;
        if let Some(tapped) = &mut self.tapped {
            tapped.push(Tapped { at: self.now, from, to, bytes: bytes.clone() });
        }
        let behind = behind.map_or(to, |id| self.nodes[id].address);
        let link = self.links.get(&(sender, behind)).unwrap_or(&self.default_link).clone();
        let queue = match link.bottleneck {
            Some(shared) => self.bottlenecks.entry(shared).or_default(),
            None => self.queues.entry((from, to)).or_default(),
        };
        let Some(departure) = link.departure(self.now, queue, bytes.len()) else {
            self.stats.lost += 1;
            return;
        };
        let marked = capable && link.marks(departure.since(self.now));
        self.stats.marked += u64::from(marked);
        let fates = link.fates(&mut self.random);
        self.stats.lost += u64::from(fates.is_empty());
        let last = !self.has_downlink(from, to);
        for delay in fates {
            self.number += 1;
            let (arrival, number) = (departure + delay, self.number);
            let arrival = if last { self.reading(arrival) } else { arrival };
            let bytes = bytes.clone();
            let datagram = InFlight { arrival, number, from, to, marked, capable, last, bytes };
            self.in_flight.push(Reverse(datagram));
        }
    }
}

impl<M> Index<NodeId> for Network<M> {
    type Output = M;

    /// # Panics
    /// If the machine was removed.
    fn index(&self, node: NodeId) -> &M {
        self.nodes[node.0].machine.as_ref().expect("a machine that was not removed")
    }
}

impl<M> IndexMut<NodeId> for Network<M> {
    fn index_mut(&mut self, node: NodeId) -> &mut M {
        self.nodes[node.0].machine.as_mut().expect("a machine that was not removed")
    }
}
