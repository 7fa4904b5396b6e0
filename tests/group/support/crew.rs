//! The workers of one server at one address, or several servers that share one.
//!
//! As the operating system does, each gets what comes from certain addresses. What they send each
//! other takes a while, and for ever longer to a worker that lags. Between servers on several machines
//! it is bytes, some are lost, and each has its own clock.

use super::quick;
use rtmfp::proto::crypto::{Fingerprint, Identity, IdentityConfig};
use rtmfp::proto::rendezvous::cluster::{Command, MemberId, To};
use rtmfp::proto::rendezvous::{
    Decision, Query, QueryId, Rendezvous, RendezvousConfig, RendezvousEvent, RendezvousStats,
};
use rtmfp::proto::sim::{Actor, SeededRandom};
use rtmfp::proto::transport::{
    Arrived, Computed, Job, Machine, Path, SessionRef, Stray, Time, Transmit, TransmitBuf,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long a command takes to another thread.
const HAND_OVER: Duration = Duration::from_micros(20);
/// How long it takes to another machine, at least and at most.
const TRAVEL: (Duration, Duration) = (Duration::from_micros(300), Duration::from_millis(8));

enum Letter {
    Command(MemberId, Command),
    Bytes(MemberId, Vec<u8>),
    Stray(Stray),
}

/// Servers on several machines.
struct Apart {
    /// What each clock shows when the first shows zero.
    offsets: Vec<Duration>,
}

pub struct Crew {
    pub workers: Vec<Rendezvous>,
    /// How long each worker takes to read what others send it.
    pub lags: Vec<Duration>,
    letters: BTreeMap<(Time, u64), (usize, Letter)>,
    number: u64,
    /// Datagrams that came to another worker than their session's.
    pub strays: usize,
    pub events: Vec<RendezvousEvent>,
    /// Questions to the owner, each with the number of its worker.
    pub queries: Vec<(usize, Query)>,
    random: SeededRandom,
    /// The part of commands that is lost.
    pub loss: f64,
    /// Those that have lost their power.
    dead: Vec<bool>,
    apart: Option<Apart>,
}

impl Crew {
    pub fn new(workers: Vec<Rendezvous>) -> Self {
        let lags = vec![HAND_OVER; workers.len()];
        let (letters, events) = (BTreeMap::new(), Vec::new());
        let (random, dead) = (SeededRandom::new(workers.len() as u64), vec![false; workers.len()]);
        Self {
            workers,
            lags,
            letters,
            number: 0,
            strays: 0,
            events,
            queries: Vec::new(),
            random,
            loss: 0.0,
            dead,
            apart: None,
        }
    }

    /// As many servers on machines of their own, which lose a part of their commands; `random` gives
    /// each its randomness.
    pub fn machines(count: usize, loss: f64, mut random: impl FnMut() -> SeededRandom) -> Self {
        let mut config = RendezvousConfig::default();
        config.transport.negotiation = quick().negotiation;
        let server = |_| {
            let identity = Identity::generate(&IdentityConfig::default(), &mut random());
            let (random, choices) = (Box::new(random()), Box::new(random()));
            Rendezvous::new(config.clone(), identity, random, choices)
        };
        let mut servers: Vec<_> = (0..count).map(server).collect();
        for (number, server) in servers.iter_mut().enumerate() {
            server.join_cluster(server_number(number));
        }
        for (number, server) in servers.iter_mut().enumerate() {
            (0..count).filter(|&it| it != number).for_each(|it| {
                server.member_joined(Time::ZERO, member(it));
            });
        }
        let offsets = (0..count as u64).map(|number| Duration::from_secs(number * 1_000_000));
        let apart = Apart { offsets: offsets.collect() };
        Self { apart: Some(apart), random: random(), loss, ..Self::new(servers) }
    }

    /// One loses its power; what comes to it reaches another one, and the others notice it.
    pub fn kill(&mut self, now: Time, dead: usize) {
        self.kill_silently(dead);
        let member = match self.apart {
            Some(_) => member(dead),
            None => MemberId::worker(dead as u16),
        };
        for number in (0..self.workers.len()).filter(|&number| number != dead) {
            let now = self.clock(number, now);
            self.workers[number].member_gone(now, member);
        }
        self.settle(now);
    }

    /// The same, and nobody notices it.
    pub fn kill_silently(&mut self, dead: usize) {
        self.dead[dead] = true;
    }

    /// Bytes of commands that a worker has not read.
    pub fn waiting(&self, of: usize) -> usize {
        let weights = self.letters.values().filter(|(to, _)| *to == of).map(|(_, it)| match it {
            Letter::Command(_, command) => command.weight(),
            _ => 0,
        });
        weights.sum()
    }

    /// What a worker's clock shows.
    fn clock(&self, number: usize, now: Time) -> Time {
        now + self.apart.as_ref().map_or(Duration::ZERO, |apart| apart.offsets[number])
    }

    fn is_alive(&self, number: usize) -> bool {
        !self.dead[number]
    }

    /// The worker that gets what comes from an address.
    pub fn worker_of(&self, remote: SocketAddr) -> usize {
        let IpAddr::V4(ip) = remote.ip() else { panic!("IPv6") };
        let first = usize::from(ip.octets()[3]) + usize::from(remote.port());
        let order = (first..).map(|number| number % self.workers.len());
        order.take(self.workers.len()).find(|&number| self.is_alive(number)).expect("one is alive")
    }

    /// The counters of all.
    pub fn stats(&self) -> RendezvousStats {
        let stats = self.workers.iter().map(Rendezvous::stats);
        stats.fold(RendezvousStats::default(), RendezvousStats::plus)
    }

    /// The sessions with a peer, and their workers.
    pub fn sessions_with(&self, peer: Fingerprint) -> Vec<(usize, SessionRef<'_>)> {
        let of = |(number, worker): (usize, &'_ Rendezvous)| -> Option<usize> {
            worker.endpoint().session_with(peer).map(|_| number)
        };
        let numbers = self.workers.iter().enumerate().filter_map(of);
        let session = |number: usize| {
            let endpoint = self.workers[number].endpoint();
            Some((number, endpoint.session(endpoint.session_with(peer)?)?))
        };
        numbers.filter_map(session).collect()
    }

    /// The owner has decided about a question of a worker.
    pub fn decide(&mut self, now: Time, (number, id): (usize, QueryId), decision: Decision) {
        let clock = self.clock(number, now);
        self.workers[number].handle_decision(clock, id, decision);
        self.settle(now);
    }

    /// Runs jobs, and sends off what workers have for each other.
    fn settle(&mut self, now: Time) {
        for number in 0..self.workers.len() {
            let clock = self.clock(number, now);
            let worker = &mut self.workers[number];
            while let Some(job) = worker.poll_job() {
                worker.handle_computed(clock, job.run());
            }
            self.events.extend(std::iter::from_fn(|| worker.poll_event()));
            self.queries.extend(std::iter::from_fn(|| Some((number, worker.poll_query()?))));
            while let Some((to, command)) = self.workers[number].poll_command() {
                if !self.is_alive(number) {
                    continue;
                }
                match (to, &self.apart) {
                    (To::Member(to), Some(_)) => {
                        self.send(now, number, server_of(to), &command);
                    }
                    (To::Member(to), None) => {
                        self.hand_over(now, number, usize::from(to.worker), command);
                    }
                    (To::Peer(_) | To::Group(_) | To::Others, _) => {
                        for to in (0..self.workers.len()).filter(|&to| to != number) {
                            match self.apart {
                                Some(_) => self.send(now, number, to, &command),
                                None => self.hand_over(now, number, to, command.clone()),
                            }
                        }
                    }
                }
            }
            while let Some(stray) = self.workers[number].poll_stray() {
                self.strays += 1;
                self.put(now, stray.worker, Letter::Stray(stray));
            }
        }
    }

    /// To another worker of the process.
    fn hand_over(&mut self, now: Time, from: usize, to: usize, command: Command) {
        self.put(now, to, Letter::Command(MemberId::worker(from as u16), command));
    }

    /// To another machine.
    fn send(&mut self, now: Time, from: usize, to: usize, command: &Command) {
        let bytes = command.encode(self.clock(from, now)).expect("a command that can be encoded");
        let between = (TRAVEL.1 - TRAVEL.0).as_micros() as u64;
        let travel = TRAVEL.0 + Duration::from_micros(self.random.below(between));
        self.put(now + travel, to, Letter::Bytes(member(from), bytes));
    }

    fn put(&mut self, now: Time, to: usize, letter: Letter) {
        let is_command = !matches!(letter, Letter::Stray(_));
        if is_command && self.loss > 0.0 && self.random.chance(self.loss) {
            return;
        }
        self.number += 1;
        self.letters.insert((now + self.lags[to], self.number), (to, letter));
    }

    fn deliver(&mut self, now: Time) {
        while let Some(entry) = self.letters.first_entry()
            && entry.key().0 <= now
        {
            let (to, letter) = entry.remove();
            if !self.is_alive(to) {
                continue;
            }
            let clock = self.clock(to, now);
            let worker = &mut self.workers[to];
            match letter {
                Letter::Command(from, command) => worker.handle_command(now, from, command),
                Letter::Bytes(from, bytes) => {
                    let command = Command::decode(clock, &bytes).expect("a command");
                    worker.handle_command(clock, from, command);
                }
                Letter::Stray(mut stray) => {
                    worker.handle_datagrams(now, stray.path, stray.arrived());
                }
            }
        }
    }
}

/// The number of a server of several machines.
fn server_number(index: usize) -> u32 {
    0xc0de_0000 + index as u32
}

fn member(index: usize) -> MemberId {
    MemberId { server: server_number(index), worker: 0 }
}

fn server_of(member: MemberId) -> usize {
    (member.server - server_number(0)) as usize
}

impl Machine for Crew {
    fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>) {
        let worker = self.worker_of(path.remote);
        let clock = self.clock(worker, now);
        self.workers[worker].handle_datagrams(clock, path, arrived);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.deliver(now);
        for number in 0..self.workers.len() {
            let clock = self.clock(number, now);
            self.workers[number].handle_timeout(clock);
        }
        self.settle(now);
    }

    fn handle_computed(&mut self, _: Time, _: Computed) {
        unreachable!("jobs are done at once");
    }

    fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        (0..self.workers.len()).find_map(|number| {
            let clock = self.clock(number, now);
            let transmit = self.workers[number].poll_transmit(clock, buf)?;
            // Nothing leaves a dead one.
            self.is_alive(number).then_some(transmit)
        })
    }

    fn poll_timeout(&self) -> Option<Time> {
        let alive = (0..self.workers.len()).filter(|&number| self.is_alive(number));
        let workers = alive.filter_map(|number| {
            let ahead = self.clock(number, Time::ZERO);
            Some(Time::ZERO + self.workers[number].poll_timeout()?.since(ahead))
        });
        workers.chain(self.letters.keys().next().map(|&(at, _)| at)).min()
    }

    fn poll_job(&mut self) -> Option<Job> {
        None
    }
}

impl Actor for Crew {
    fn react(&mut self, _: Time) -> bool {
        false
    }
}
