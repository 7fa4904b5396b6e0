//! Thousands of endpoints on a few sockets, each with an identity of its own and one session.
//!
//! An endpoint has one certificate, and to a responder two sessions with one certificate are one.
//! So each session needs an endpoint. They share the driver's sockets: what arrives is given to
//! the endpoint whose tag or session ID it carries, which the crowd has read in what that endpoint
//! sent (startup packets are encrypted under a key that everybody knows).
//!
//! The Diffie-Hellman work is done at once, in the driver's task: a crowd takes one processor, and
//! several crowds take several.

use crate::endpoint_service::loopback;
use crate::keylog::KeyLog;
use crate::peer::discriminator;
use rtmfp::driver::{self, Clock, Events, Handle, Service, Sockets, os_random};
use rtmfp::proto::crypto::{Identity, Opener};
use rtmfp::proto::transport::{
    Arrived, Computed, Config, Endpoint, Event, Interface, Job, Machine, Path, Time, Transmit,
    TransmitBuf,
};
use rtmfp::wire::multiplex::{SESSION_ID_LEN, session_id};
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Chunk, PacketHeader};
use std::collections::{BTreeSet, HashMap, VecDeque};
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
    members: HashMap<usize, Member>,
    next: usize,
    opening: usize,
    ended: usize,
    by_tag: HashMap<Vec<u8>, usize>,
    by_id: HashMap<(Interface, u32), usize>,
    timers: BTreeSet<(Time, usize)>,
    ready: VecDeque<usize>,
    opener: Opener,
    outcome: Outcome,
    notes: VecDeque<Note>,
    keylog: KeyLog,
    stopping: bool,
}

struct Member {
    endpoint: Endpoint,
    interface: Interface,
    started: Time,
    stage: Stage,
    hellos: u64,
    keyings: u64,
    tag: Vec<u8>,
    id: Option<u32>,
    timer: Option<Time>,
    is_ready: bool,
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
            members: HashMap::new(),
            next: 0,
            opening: 0,
            ended: 0,
            by_tag: HashMap::new(),
            by_id: HashMap::new(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            opener: Opener::default_key(),
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
            let mut endpoint = Endpoint::new(config, Arc::clone(identity), os_random());
            endpoint.open(now, discriminator(), &[self.order.server]);
            let interface = Interface((index % usize::from(self.interfaces)) as u16);
            let member = Member {
                endpoint,
                interface,
                started: now,
                stage: Stage::Opening,
                hellos: 0,
                keyings: 0,
                tag: Vec::new(),
                id: None,
                timer: None,
                is_ready: false,
            };
            self.members.insert(index, member);
            self.settle(now, index);
        }
    }

    /// Calls a member's endpoint and sees to what comes of it.
    fn call(&mut self, now: Time, index: usize, call: impl FnOnce(&mut Endpoint)) {
        let Some(member) = self.members.get_mut(&index) else { return };
        call(&mut member.endpoint);
        self.settle(now, index);
    }

    fn settle(&mut self, now: Time, index: usize) {
        let Some(member) = self.members.get_mut(&index) else { return };
        let mut ended = false;
        loop {
            if let Some(job) = member.endpoint.poll_job() {
                member.endpoint.handle_computed(now, job.run());
            } else if let Some(event) = member.endpoint.poll_event() {
                match event {
                    Event::SessionOpened { session, .. } => {
                        self.keylog.add(&member.endpoint, session);
                        let latency = now.since(member.started).as_micros() as u64;
                        self.outcome.latencies.push(latency);
                        member.stage = Stage::Open;
                        ended = true;
                        if !self.order.hold {
                            member.stage = Stage::Closing;
                            member.endpoint.close(now, session);
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
            } else {
                break;
            }
        }
        if !std::mem::replace(&mut member.is_ready, true) {
            self.ready.push_back(index);
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
            self.notes.push_back(Note::Done(std::mem::take(&mut self.outcome)));
        } else if self.ended.is_multiple_of(REPORT_EVERY) {
            self.notes.push_back(Note::Progress(REPORT_EVERY));
        }
        self.begin(now);
    }

    /// A member has nothing more to send: its timer is set, or it is dropped.
    fn rest(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(&index) else { return };
        member.is_ready = false;
        let gone = member.stage == Stage::Closing && member.endpoint.is_settled();
        let timer = member.endpoint.poll_timeout().filter(|_| !gone);
        if let Some(old) = std::mem::replace(&mut member.timer, timer) {
            self.timers.remove(&(old, index));
        }
        self.timers.extend(timer.map(|at| (at, index)));
        if gone {
            self.by_tag.remove(&member.tag);
            if let Some(id) = member.id {
                self.by_id.remove(&(member.interface, id));
            }
            self.members.remove(&index);
        }
    }

    /// Reads tag and session ID in what an opening member sends.
    fn overhear(&mut self, index: usize, buf: &TransmitBuf) {
        let Some(member) = self.members.get_mut(&index) else { return };
        for datagram in buf.datagrams().filter(|datagram| session_id(datagram) == Some(0)) {
            let mut copy = datagram.to_vec();
            match startup_chunk(&mut self.opener, &mut copy) {
                Some(Chunk::InitiatorHello(hello)) => {
                    member.hellos += 1;
                    self.outcome.retries += u64::from(member.hellos > 1);
                    member.tag = hello.tag.to_vec();
                    self.by_tag.insert(hello.tag.to_vec(), index);
                }
                Some(Chunk::InitiatorKeying(keying)) => {
                    member.keyings += 1;
                    self.outcome.retries += u64::from(member.keyings > 1);
                    member.id = Some(keying.session_id);
                    self.by_id.insert((member.interface, keying.session_id), index);
                }
                _ => {}
            }
        }
    }
}

/// The first chunk of a startup packet.
fn startup_chunk<'a>(opener: &mut Opener, datagram: &'a mut [u8]) -> Option<Chunk<'a>> {
    let plain = opener.open(datagram.get_mut(SESSION_ID_LEN..)?).ok()?;
    let (_, rest) = PacketHeader::parse(plain).ok()?;
    chunks(rest).next()
}

impl Machine for Crowd {
    fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>) {
        for datagram in arrived.each() {
            let index = match session_id(datagram) {
                Some(0) => match startup_chunk(&mut self.opener, &mut datagram.to_vec()) {
                    Some(Chunk::ResponderHello(hello)) => self.by_tag.get(hello.tag_echo).copied(),
                    _ => None,
                },
                Some(id) => self.by_id.get(&(path.interface, id)).copied(),
                None => None,
            };
            if let Some(index) = index {
                self.call(now, index, |endpoint| endpoint.handle_datagram(now, path, datagram));
            }
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.begin(now);
        while let Some(&(at, index)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, index));
            if let Some(member) = self.members.get_mut(&index) {
                member.timer = None;
            }
            self.call(now, index, |endpoint| endpoint.handle_timeout(now));
        }
    }

    fn handle_computed(&mut self, _: Time, _: Computed) {}

    fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        while let Some(&index) = self.ready.front() {
            let member = self.members.get_mut(&index);
            let transmit = member.and_then(|member| {
                let transmit = member.endpoint.poll_transmit(now, buf)?;
                let path = Path { interface: member.interface, ..transmit.path };
                Some((member.stage, Transmit { path, ..transmit }))
            });
            match transmit {
                Some((stage, transmit)) => {
                    if stage == Stage::Opening {
                        self.overhear(index, buf);
                    }
                    return Some(transmit);
                }
                None => {
                    self.ready.pop_front();
                    self.rest(index);
                }
            }
        }
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        match self.next {
            0 => Some(Time::ZERO),
            _ => self.timers.first().map(|&(at, _)| at),
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
        for index in self.members.keys().copied().collect::<Vec<_>>() {
            self.call(now, index, |endpoint| {
                for session in endpoint.sessions().map(|(id, _)| id).collect::<Vec<_>>() {
                    endpoint.close_abruptly(now, session);
                }
            });
        }
    }

    fn is_idle(&self) -> bool {
        self.stopping && self.ready.is_empty()
    }
}
