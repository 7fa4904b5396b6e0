//! Thousands of endpoints on a few sockets, each with an identity of its own and one session.
//!
//! An endpoint has one certificate, and to a responder two sessions with one certificate are one.
//! So each session needs an endpoint.
//!
//! The Diffie-Hellman work is done at once, in the driver's task: a crowd takes one processor, and
//! several crowds take several.

use crate::endpoint_service::loopback;
use crate::keylog::KeyLog;
use crate::many::Many;
use crate::peer::discriminator;
use rtmfp::driver::{self, Clock, Events, Handle, Service, Sockets, os_random};
use rtmfp::proto::crypto::Identity;
use rtmfp::proto::transport::{
    Arrived, Computed, Config, Endpoint, Event, Interface, Job, Machine, Path, Time, Transmit,
    TransmitBuf,
};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// The parameters of a crowd.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) server: SocketAddr,
    pub(crate) config: Config,
    /// One for each session.
    pub(crate) identities: Vec<Arc<Identity>>,
    /// Sessions that are being opened at a time.
    pub(crate) concurrency: usize,
    /// Leave the sessions open; otherwise each is closed as soon as it is open.
    pub(crate) hold: bool,
}

/// Events of a crowd.
#[derive(Debug)]
pub(crate) enum Note {
    /// So many attempts more have ended.
    Progress(usize),
    /// All attempts have ended.
    Done(Outcome),
    /// A session that should stay open has closed.
    Lost,
}

/// How the attempts ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// From the first hello to the open session, in microseconds, for each that opened.
    pub(crate) latencies: Vec<u64>,
    /// Attempts that the endpoint gave up.
    pub(crate) failures: u64,
    /// Hellos and keyings that were sent again.
    pub(crate) retries: u64,
}

/// Attempts between two reports of progress.
const REPORT_EVERY: usize = 500;

pub(crate) struct Crowd {
    order: Order,
    interfaces: u16,
    many: Many<Endpoint>,
    members: HashMap<usize, Member>,
    next: usize,
    opening: usize,
    ended: usize,
    outcome: Outcome,
    notes: VecDeque<Note>,
    keylog: KeyLog,
    stopping: bool,
}

struct Member {
    started: Time,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    Closing,
}

impl Crowd {
    /// Starts a crowd on so many sockets of its own.
    pub(crate) fn start(
        order: Order,
        sockets: u16,
        keylog: &KeyLog,
    ) -> anyhow::Result<(Handle<()>, Events<Note>)> {
        let bound = Sockets::bind(&vec![loopback(); usize::from(sockets)])?;
        let crowd = Self {
            order,
            interfaces: sockets,
            many: Many::default(),
            members: HashMap::new(),
            next: 0,
            opening: 0,
            ended: 0,
            outcome: Outcome::default(),
            notes: VecDeque::new(),
            keylog: keylog.clone(),
            stopping: false,
        };
        Ok(driver::spawn(crowd, bound, Clock::start()))
    }

    /// Begins attempts, as many as are wanted at a time.
    fn begin(&mut self, now: Time) {
        while self.opening < self.order.concurrency && !self.stopping {
            let Some(identity) = self.order.identities.get(self.next) else { return };
            let index = self.next;
            self.next += 1;
            self.opening += 1;
            let config = self.order.config.clone();
            let endpoint = Endpoint::new(config, Arc::clone(identity), os_random());
            let interface = Interface((index % usize::from(self.interfaces)) as u16);
            self.many.add(index, endpoint, interface, None);
            self.members.insert(index, Member { started: now, stage: Stage::Opening });
            let server = self.order.server;
            self.many.call(now, index, |endpoint| {
                endpoint.open(now, discriminator(), &[server]);
            });
        }
    }

    /// Sees to what has come of calls.
    fn settle(&mut self, now: Time) {
        while let Some(index) = self.many.poll_touched() {
            self.read_events(now, index);
        }
    }

    fn read_events(&mut self, now: Time, index: usize) {
        let Some(member) = self.members.get_mut(&index) else { return };
        let mut ended = false;
        while let Some(event) = self.many.get_mut(index).and_then(Endpoint::poll_event) {
            match event {
                Event::SessionOpened { session, .. } => {
                    if let Some(endpoint) = self.many.get_mut(index) {
                        self.keylog.add(endpoint, session);
                    }
                    self.outcome.latencies.push(now.since(member.started).as_micros() as u64);
                    member.stage = Stage::Open;
                    ended = true;
                    if !self.order.hold {
                        member.stage = Stage::Closing;
                        self.many.call(now, index, |endpoint| endpoint.close(now, session));
                    }
                }
                Event::OpenFailed { .. } => {
                    self.outcome.failures += 1;
                    member.stage = Stage::Closing;
                    ended = true;
                }
                Event::SessionClosed { .. } if member.stage == Stage::Open => {
                    member.stage = Stage::Closing;
                    self.notes.push_back(Note::Lost);
                }
                _ => {}
            }
        }
        if ended {
            self.on_ended(now);
        }
    }

    /// An attempt has ended, in whatever way.
    fn on_ended(&mut self, now: Time) {
        self.opening -= 1;
        self.ended += 1;
        if self.ended == self.order.identities.len() {
            self.notes.push_back(Note::Progress((self.ended - 1) % REPORT_EVERY + 1));
            self.outcome.retries = self.many.retries();
            self.notes.push_back(Note::Done(std::mem::take(&mut self.outcome)));
        } else if self.ended.is_multiple_of(REPORT_EVERY) {
            self.notes.push_back(Note::Progress(REPORT_EVERY));
        }
        self.begin(now);
    }
}

impl Machine for Crowd {
    fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>) {
        self.many.handle_datagrams(now, path, arrived);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.begin(now);
        self.many.handle_timeout(now);
        self.settle(now);
    }

    fn handle_computed(&mut self, _: Time, _: Computed) {}

    fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        loop {
            let transmit = self.many.poll_transmit(now, buf);
            if transmit.is_some() {
                return transmit;
            }
            let rested = self.many.poll_rested()?;
            let is_over = |endpoint: &mut Endpoint| endpoint.is_settled();
            if self.members.get(&rested).is_some_and(|member| member.stage == Stage::Closing)
                && self.many.get_mut(rested).is_some_and(is_over)
            {
                self.many.remove(rested);
                self.members.remove(&rested);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        match self.next {
            0 => Some(Time::ZERO),
            _ => self.many.poll_timeout(),
        }
    }

    fn poll_job(&mut self) -> Option<Job> {
        None
    }
}

impl Service for Crowd {
    type Command = ();
    type Event = Note;

    fn handle_command(&mut self, _: Time, (): ()) {}

    fn poll_event(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    fn begin_shutdown(&mut self, now: Time) {
        self.stopping = true;
        for index in self.many.indices() {
            self.many.call(now, index, |endpoint| {
                for session in endpoint.sessions().map(|(id, _)| id).collect::<Vec<_>>() {
                    endpoint.close_abruptly(now, session);
                }
            });
        }
    }

    fn is_idle(&self) -> bool {
        self.stopping && self.many.is_idle()
    }
}
