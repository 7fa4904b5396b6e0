//! The workers of one server at one address.
//!
//! As the operating system does, each gets what comes from certain addresses. What they send each
//! other takes a while, and for ever longer to a worker that lags.

use rtmfp::proto::crypto::Fingerprint;
use rtmfp::proto::rendezvous::cluster::{Command, MemberId, To};
use rtmfp::proto::rendezvous::{Rendezvous, RendezvousEvent, RendezvousStats};
use rtmfp::proto::sim::Actor;
use rtmfp::proto::transport::{
    Arrived, Computed, Job, Machine, Path, SessionRef, Stray, Time, Transmit, TransmitBuf,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long a command takes to another thread.
const HAND_OVER: Duration = Duration::from_micros(20);

enum Letter {
    Command(MemberId, Command),
    Stray(Stray),
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
}

impl Crew {
    pub fn new(workers: Vec<Rendezvous>) -> Self {
        let lags = vec![HAND_OVER; workers.len()];
        let (letters, events) = (BTreeMap::new(), Vec::new());
        Self { workers, lags, letters, number: 0, strays: 0, events }
    }

    /// The worker that gets what comes from an address.
    pub fn worker_of(&self, remote: SocketAddr) -> usize {
        let IpAddr::V4(ip) = remote.ip() else { panic!("IPv6") };
        (usize::from(ip.octets()[3]) + usize::from(remote.port())) % self.workers.len()
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

    /// Runs jobs, and sends off what workers have for each other.
    fn settle(&mut self, now: Time) {
        for number in 0..self.workers.len() {
            let worker = &mut self.workers[number];
            while let Some(job) = worker.poll_job() {
                worker.handle_computed(now, job.run());
            }
            self.events.extend(std::iter::from_fn(|| worker.poll_event()));
            let from = MemberId::worker(number as u16);
            while let Some((to, command)) = self.workers[number].poll_command() {
                match to {
                    To::Member(to) => {
                        self.put(now, usize::from(to.worker), Letter::Command(from, command));
                    }
                    To::Peer(_) | To::Group(_) => {
                        for to in (0..self.workers.len()).filter(|&to| to != number) {
                            self.put(now, to, Letter::Command(from, command.clone()));
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

    fn put(&mut self, now: Time, to: usize, letter: Letter) {
        self.number += 1;
        self.letters.insert((now + self.lags[to], self.number), (to, letter));
    }

    fn deliver(&mut self, now: Time) {
        while let Some(entry) = self.letters.first_entry()
            && entry.key().0 <= now
        {
            let (to, letter) = entry.remove();
            let worker = &mut self.workers[to];
            match letter {
                Letter::Command(from, command) => worker.handle_command(now, from, command),
                Letter::Stray(mut stray) => {
                    worker.handle_datagrams(now, stray.path, stray.arrived());
                }
            }
        }
    }
}

impl Machine for Crew {
    fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>) {
        let worker = self.worker_of(path.remote);
        self.workers[worker].handle_datagrams(now, path, arrived);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.deliver(now);
        self.workers.iter_mut().for_each(|worker| worker.handle_timeout(now));
        self.settle(now);
    }

    fn handle_computed(&mut self, _: Time, _: Computed) {
        unreachable!("jobs are done at once");
    }

    fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        self.workers.iter_mut().find_map(|worker| worker.poll_transmit(now, buf))
    }

    fn poll_timeout(&self) -> Option<Time> {
        let workers = self.workers.iter().filter_map(Machine::poll_timeout);
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
