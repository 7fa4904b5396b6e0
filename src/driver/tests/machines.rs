//! Machines that are simple enough to drive.

use crate::crypto::{Identity, IdentityConfig};
use crate::driver::{Service, os_random};
use crate::transport::{
    Arrived, Computed, Config, Endpoint, Event, Job, Layer, Machine, Path, Time, Transmit,
    TransmitBuf,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A machine that counts.
#[derive(Debug, Default)]
pub(super) struct Counting {
    events: VecDeque<u32>,
    next: u32,
    stalls: Vec<bool>,
    restless: bool,
    never_idle: bool,
    /// Timeouts between the beginning of a stop and its end, each with an event.
    before_idle: u32,
    stopping: Option<Time>,
}

#[derive(Debug)]
pub(super) enum Request {
    /// So many events.
    Emit(u32),
    /// Number of events that the machine still has.
    Left(oneshot::Sender<usize>),
    /// Reports of its consumer's stalls.
    Stalls(oneshot::Sender<Vec<bool>>),
    Panic,
}

impl Counting {
    pub(super) fn stopping_after(timeouts: u32) -> Self {
        Self { before_idle: timeouts, ..Self::default() }
    }

    pub(super) fn never_idle() -> Self {
        Self { never_idle: true, ..Self::default() }
    }

    pub(super) fn restless() -> Self {
        Self { restless: true, ..Self::default() }
    }

    fn emit(&mut self) {
        self.next += 1;
        self.events.push_back(self.next);
    }
}

/// The event of what was received; the others count from one.
pub(super) const RECEIVED: u32 = 0;
/// The event of changed addresses, to which their number is added.
pub(super) const ADDRESSES: u32 = 1_000_000;

impl Machine for Counting {
    fn handle_datagrams(&mut self, _: Time, _: Path, arrived: Arrived<'_>) {
        self.events.extend(arrived.each().map(|_| RECEIVED));
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.restless {
            self.emit();
        }
        if self.stopping.is_some_and(|at| at <= now) && self.before_idle > 0 {
            self.before_idle -= 1;
            self.stopping = Some(now + std::time::Duration::from_micros(100));
            self.emit();
        }
    }

    fn handle_computed(&mut self, _: Time, _: Computed) {}

    fn poll_transmit(&mut self, _: Time, _: &mut TransmitBuf) -> Option<Transmit> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        let stopping = self.stopping.filter(|_| self.before_idle > 0);
        self.restless.then_some(Time::ZERO).or(stopping)
    }

    fn poll_job(&mut self) -> Option<Job> {
        None
    }
}

impl Service for Counting {
    type Command = Request;
    type Event = u32;

    fn handle_command(&mut self, _: Time, command: Request) {
        match command {
            Request::Emit(count) => (0..count).for_each(|_| self.emit()),
            Request::Left(answer) => answer.send(self.events.len()).unwrap(),
            Request::Stalls(answer) => answer.send(self.stalls.clone()).unwrap(),
            Request::Panic => panic!("as the test asks"),
        }
    }

    fn poll_event(&mut self) -> Option<u32> {
        self.events.pop_front()
    }

    fn handle_stall(&mut self, _: Time, stalled: bool) {
        self.stalls.push(stalled);
    }

    fn handle_addresses(&mut self, _: Time, addresses: Vec<SocketAddr>) {
        self.events.push_back(ADDRESSES + addresses.len() as u32);
    }

    fn begin_shutdown(&mut self, now: Time) {
        self.stopping.get_or_insert(now);
    }

    fn is_idle(&self) -> bool {
        self.stopping.is_some() && self.before_idle == 0 && !self.never_idle
    }
}

/// An endpoint of which the test does what it likes.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) endpoint: Endpoint,
    stopping: bool,
}

impl Peer {
    pub(super) fn new() -> Self {
        let mut random = os_random();
        let identity = Identity::generate(&IdentityConfig::default(), &mut *random);
        let endpoint = Endpoint::new(Config::default(), Arc::new(identity), random);
        Self { endpoint, stopping: false }
    }
}

impl Layer for Peer {
    type Inner = Endpoint;

    fn inner(&self) -> &Endpoint {
        &self.endpoint
    }

    fn inner_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }
}

impl Service for Peer {
    type Command = Box<dyn FnOnce(&mut Endpoint, Time) + Send>;
    type Event = Event;

    fn handle_command(&mut self, now: Time, command: Self::Command) {
        command(&mut self.endpoint, now);
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.endpoint.poll_event()
    }

    fn begin_shutdown(&mut self, now: Time) {
        self.stopping = true;
        let open: Vec<_> = self.endpoint.sessions().map(|(id, _)| id).collect();
        for id in open {
            self.endpoint.close(now, id);
        }
    }

    fn is_idle(&self) -> bool {
        self.stopping && self.endpoint.sessions().next().is_none()
    }
}
