//! An endpoint: every session of one certificate on one set of sockets.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the public interface and the methods of the drain rule |
//! | `candidate.rs` | the addresses that an attempt asks, and what may be sent there |
//! | `memory.rs` | bounds on what all sessions hold |
//! | `elsewhere.rs` | other servers to which newcomers are sent |
//! | `initiate.rs` | attempts to open sessions (RFC 7016 §3.5.1.1.1) |
//! | `inquire.rs` | questions about a path |
//! | `keying_queue.rs` | keyings that wait for their computation |
//! | `respond.rs` | answers to hellos and keyings (§3.5.1.1.2), introductions (§3.5.1.4, §3.5.1.5) |
//! | `session_ref.rs` | what can be read of a session |
//! | `shaping.rs` | the limit of what is sent |
//! | `startup.rs` | startup packets, in pieces if they are long (§3.4) |
//! | `table.rs` | the sessions, by ID and fingerprint, with their timers |
//! | `tally.rs` | how much each source has, over all endpoints that share ports |
//! | `unconfirmed.rs` | sessions that their initiators have not used yet, by source |
//! | `unproven.rs` | what leaves for addresses that have not answered |
//! | `watch.rs` | sessions with servers that may be restarted |
//! | `worker.rs` | several endpoints that share an identity and ports |

mod candidate;
mod cookies;
mod elsewhere;
mod initiate;
mod inquire;
mod keying_queue;
mod memory;
mod respond;
mod session_ref;
mod shaping;
mod startup;
mod table;
mod tally;
mod unconfirmed;
mod unproven;
mod watch;
mod worker;

pub use session_ref::SessionRef;
pub use table::SESSION_ALLOWANCE;
pub(crate) use table::source;
pub use worker::{MAX_WORKERS, Stray, Worker};

use super::buckets::Buckets;
use super::datagrams::Datagrams;
use super::event::IntroductionRequest;
use super::job::{Outcome, PendingKey};
use super::networks::Networks;
use super::send_flow::{FlowOptions, MessageOptions};
use super::session::{Context, EndpointStats, Forwarded, Session, TimeCritical};
use super::{
    Arrived, CloseReason, Computed, Config, Ecn, Event, FlowId, Interface, Job, Machine, Path,
    SendError, SessionId, Time, Transmit, TransmitBuf,
};
use crate::crypto::{
    Epd, Fingerprint, Identity, KeyingRandom, Opened, Opener, PacketError, Sealer,
};
use crate::wire::multiplex::{SESSION_ID_LEN, session_id};
use bytes::Bytes;
use candidate::TAG_LEN;
use elsewhere::Elsewhere;
use initiate::Attempt;
use keying_queue::KeyingQueue;
use memory::Evictions;
use rand_core::CryptoRng;
use respond::Pending;
use shaping::Shaping;
use startup::Startup;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use table::{Table, Timer};
use unproven::Unproven;
use watch::Watch;
use worker::MemoryShare;

/// Packets of one session that are verified side by side.
const OPENED_TOGETHER: usize = 32;

/// Addresses whose keyings are counted; further ones share one count.
const MAX_KEYING_ADDRESSES: usize = 65_536;

/// The source of randomness of an endpoint.
pub type Random = Box<dyn CryptoRng + Send>;

/// Leaves of the bounds that workers divide the part of this one.
fn take_share(config: &mut Config, worker: &Worker) {
    config.max_unconfirmed = worker.part(config.max_unconfirmed);
    config.max_unconfirmed_per_ip = worker.part(config.max_unconfirmed_per_ip);
    // Enough for a few sessions, however many workers there are.
    let least = config.max_address_memory.min(4 * config.max_session_memory);
    config.max_address_memory = (config.max_address_memory / worker.count() as u64).max(least);
}

/// A sans-IO RTMFP endpoint; see [`Machine`] for the contract.
pub struct Endpoint {
    config: Config,
    identity: Arc<Identity>,
    random: Random,
    default_opener: Opener,
    default_sealer: Sealer,
    worker: Worker,
    memory: MemoryShare,
    /// Datagrams for other workers.
    strays: VecDeque<Stray>,
    table: Table,
    attempts: BTreeMap<u64, Attempt>,
    /// Attempts and their candidates by the tags of the hellos.
    by_tag: HashMap<[u8; TAG_LEN], (u64, usize)>,
    /// Session IDs given out in Initiator Initial Keyings.
    keying_ids: HashMap<u32, u64>,
    next_attempt: u64,
    pending: HashMap<PendingKey, Pending>,
    /// Budgets of keyings by address.
    keyings: Buckets<SocketAddr>,
    keying_queue: KeyingQueue,
    startup: Startup,
    /// Budget by which answers to hellos may exceed the usual bound.
    excess: Buckets<()>,
    /// Servers to which newcomers are redirected.
    elsewhere: Elsewhere,
    unproven: Unproven,
    watches: BTreeMap<SessionId, Watch>,
    jobs: VecDeque<Job>,
    events: VecDeque<Event>,
    /// Number of introductions in `events`: unverified senders cause those.
    introductions: usize,
    time_critical: TimeCritical,
    shaping: Shaping,
    networks: Networks,
    /// Bytes that may wait in a sending flow.
    max_queue: u64,
    counters: EndpointStats,
    evictions: Evictions,
    /// The time of the latest input, for the timestamps of startup packets.
    now: Time,
}

impl Endpoint {
    /// An endpoint with `identity`, without sessions.
    pub fn new(config: Config, identity: Arc<Identity>, mut random: Random) -> Self {
        let worker = Worker::alone(&mut *random);
        Self::new_worker(config, identity, random, worker)
    }

    /// One of several endpoints that share an identity and ports. Each has the same configuration,
    /// whose bounds on hosts and on the process hold for all of them together.
    pub fn new_worker(
        mut config: Config,
        identity: Arc<Identity>,
        random: Random,
        worker: Worker,
    ) -> Self {
        take_share(&mut config, &worker);
        let startup = Startup::new(config.max_startup_reassemblies);
        let (max_queue, max_memory) = (config.max_send_queue, config.max_memory);
        let keyings = Buckets::new(config.keyings_per_address, MAX_KEYING_ADDRESSES);
        Self {
            config,
            identity,
            random,
            default_opener: Opener::default_key(),
            default_sealer: Sealer::default_key(),
            memory: MemoryShare::new(&worker, max_memory),
            strays: VecDeque::new(),
            table: Table::new(worker.clone()),
            attempts: BTreeMap::new(),
            by_tag: HashMap::new(),
            keying_ids: HashMap::new(),
            next_attempt: 0,
            pending: HashMap::new(),
            keyings,
            keying_queue: KeyingQueue::default(),
            startup,
            excess: Buckets::new(worker.part_of_rate(respond::EXCESS), 1),
            elsewhere: Elsewhere::default(),
            unproven: Unproven::new(worker.unproven().clone()),
            worker,
            watches: BTreeMap::new(),
            jobs: VecDeque::new(),
            events: VecDeque::new(),
            introductions: 0,
            time_critical: TimeCritical::default(),
            shaping: Shaping::default(),
            networks: Networks::default(),
            max_queue,
            counters: EndpointStats::default(),
            evictions: Evictions::default(),
            now: Time::ZERO,
        }
    }

    /// Takes over the limits of `config` on sessions, keyings, flows and memory, and the times of
    /// keepalives. Sessions that are open stay, and keep their times; flows keep their buffers.
    ///
    /// [`Config::max_memory`] stays: workers have divided it.
    pub fn set_limits(&mut self, config: &Config) {
        let mut config = config.clone();
        take_share(&mut config, self.worker());
        self.keyings.set_rate(config.keyings_per_address);
        let old = &mut self.config;
        old.keepalive = config.keepalive;
        old.dead_after = config.dead_after;
        old.receive_buffer = config.receive_buffer;
        old.max_message = config.max_message;
        old.max_session_memory = config.max_session_memory;
        old.max_address_memory = config.max_address_memory;
        old.max_sessions = config.max_sessions;
        old.max_sessions_per_ip = config.max_sessions_per_ip;
        old.max_unconfirmed_per_ip = config.max_unconfirmed_per_ip;
        old.max_unconfirmed = config.max_unconfirmed;
        old.keyings_per_address = config.keyings_per_address;
        old.max_amplification = config.max_amplification;
        old.max_flows = config.max_flows;
        old.max_pending_keyings = config.max_pending_keyings;
    }

    /// This end's certificate and keys.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// This end's peer ID.
    pub fn fingerprint(&self) -> Fingerprint {
        self.identity.fingerprint()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if let Some(Event::IntroductionWanted(_)) = event {
            self.introductions -= 1;
        }
        event
    }

    /// The open session `id`.
    pub fn session(&self, id: SessionId) -> Option<SessionRef<'_>> {
        self.table.open(id).map(SessionRef)
    }

    /// Sets the addresses of this host's interfaces, at most 16: far ends in the same networks are
    /// [local](Self::is_local).
    pub fn set_own_addresses(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.networks = Networks::new(addresses);
    }

    /// True if the packets of a session stay on this host or in one of its
    /// [networks](Self::set_own_addresses), so that they pass no uplink to the Internet: the far end
    /// has a private address of the same network, or one with the same prefix of IPv6.
    pub fn is_local(&self, id: SessionId) -> bool {
        self.table.get(id).is_some_and(|session| self.networks.contains(session.path.remote.ip()))
    }

    /// The open session with the peer `far`.
    pub fn session_with(&self, far: Fingerprint) -> Option<SessionId> {
        self.table.find(far)
    }

    /// Every open session.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, SessionRef<'_>)> {
        self.table.iter_open().map(|session| (session.id, SessionRef(session)))
    }

    /// Numbers of what the endpoint still holds: sessions (closing ones included), attempts,
    /// keyings in progress. For tests that nothing leaks.
    pub fn load(&self) -> (usize, usize, usize) {
        (self.table.len(), self.attempts.len(), self.pending.len())
    }

    /// Bytes of memory that flows cost, with everything that waits in them, beyond
    /// [`SESSION_ALLOWANCE`] bytes of each session: what [`Config::max_memory`] bounds.
    pub fn memory(&self) -> u64 {
        self.table.memory()
    }

    /// Counters.
    pub fn stats(&self) -> EndpointStats {
        EndpointStats { answers_dropped: self.startup.dropped(), ..self.counters }
    }

    /// True if no session is open and the far ends of the closed ones know it: the endpoint can be
    /// dropped without harm. Sessions that the far end closed linger a while longer, in case it
    /// missed the answer, and do not count.
    pub fn is_settled(&self) -> bool {
        !self.table.is_busy()
    }

    /// Opens a sending flow with `metadata` of at most 512 bytes. The far end learns of it with
    /// the first message.
    pub fn open_flow(
        &mut self,
        session: SessionId,
        metadata: &[u8],
        options: FlowOptions,
    ) -> Result<FlowId, SendError> {
        self.table.get_mut(session).ok_or(SendError::NoSession)?.open_flow(metadata, options)
    }

    /// Queues a message on a sending flow.
    ///
    /// # Errors
    /// [`SendError::Full`] if more than [`Config::max_send_queue`] bytes wait already; the message
    /// was not queued.
    pub fn send(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        message: Bytes,
        options: MessageOptions,
    ) -> Result<(), SendError> {
        let entry = self.table.get_mut(session).ok_or(SendError::NoSession)?;
        entry.send(now, self.max_queue, flow, message, options)?;
        self.table.touch(session);
        self.account(now, session);
        Ok(())
    }

    /// Bytes that wait in a sending flow until they are acknowledged.
    pub fn queued(&self, session: SessionId, flow: FlowId) -> u64 {
        self.table.open(session).map_or(0, |s| s.queued(flow))
    }

    /// Finishes a sending flow: what is queued is still delivered, then [`Event::FlowDone`].
    pub fn close_flow(&mut self, session: SessionId, flow: FlowId) -> Result<(), SendError> {
        self.table.get_mut(session).ok_or(SendError::NoSession)?.close_flow(flow)?;
        self.table.touch(session);
        Ok(())
    }

    /// Rejects a receiving flow; no further event comes of it.
    pub fn reject_flow(
        &mut self,
        session: SessionId,
        flow: FlowId,
        exception: u64,
    ) -> Result<(), SendError> {
        let entry = self.table.get_mut(session).ok_or(SendError::NoSession)?;
        entry.reject_flow(flow, exception)?;
        self.table.touch(session);
        Ok(())
    }

    /// Holds back the messages of a receiving flow (its window closes as they pile up), or lets
    /// them go on.
    pub fn pause_flow(
        &mut self,
        now: Time,
        session: SessionId,
        flow: FlowId,
        paused: bool,
    ) -> Result<(), SendError> {
        let (entry, mut cx) = self.entry(now, session).ok_or(SendError::NoSession)?;
        entry.pause_flow(&mut cx, flow, paused)?;
        self.settle(now, session);
        Ok(())
    }

    /// Sends a datagram that is no RTMFP packet, from the socket of the endpoint: an announcement on
    /// the local network, say. It is dropped if thousands of datagrams of startups wait.
    pub fn send_datagram(&mut self, path: Path, datagram: Vec<u8>) {
        self.startup.push(path, datagram);
    }

    /// Closes a session: [`Event::SessionClosed`] follows at once, and the request to
    /// close is repeated until the far end has confirmed it or 90 s have passed.
    pub fn close(&mut self, now: Time, session: SessionId) {
        if let Some((entry, mut cx)) = self.entry(now, session) {
            entry.close(&mut cx);
            self.settle(now, session);
        }
    }

    /// Closes a session with one packet and drops it.
    pub fn close_abruptly(&mut self, now: Time, session: SessionId) {
        if let Some((entry, mut cx)) = self.entry(now, session) {
            entry.close_abruptly(&mut cx, CloseReason::Near);
            self.settle(now, session);
        }
    }

    /// The far end has a newer session with another endpoint of this server: closes this one with
    /// one packet ([`CloseReason::Overridden`]) and drops it.
    pub fn give_way(&mut self, now: Time, session: SessionId) {
        if let Some((entry, mut cx)) = self.entry(now, session) {
            entry.close_abruptly(&mut cx, CloseReason::Overridden);
            self.settle(now, session);
        }
    }

    /// Sends one ping, whose answer shows in [`SessionRef::last_received`]. It is not repeated, and
    /// that it stays unanswered does not end the session.
    pub fn probe(&mut self, now: Time, session: SessionId) {
        if let Some(entry) = self.table.get_mut(session) {
            entry.probe();
            self.settle(now, session);
        }
    }

    /// Sets when a silent session is pinged and when it counts as dead; at least
    /// [`MIN_KEEPALIVE`](super::MIN_KEEPALIVE) each.
    pub fn set_keepalive(&mut self, session: SessionId, period: Duration, dead_after: Duration) {
        if let Some(entry) = self.table.get_mut(session) {
            entry.set_keepalive(period, dead_after);
            self.table.touch(session);
        }
    }

    fn entry(&mut self, now: Time, id: SessionId) -> Option<(&mut Session, Context<'_>)> {
        let session = self.table.get_mut(id)?;
        let cx = Context {
            now,
            config: &self.config,
            events: &mut self.events,
            counters: &mut self.counters,
            time_critical: &mut self.time_critical,
            allowance: u64::MAX,
            own_queue: 0,
        };
        Some((session, cx))
    }

    /// To be called after a session was used: drops it if it is over, else lets it send and sets
    /// its timer.
    fn settle(&mut self, now: Time, id: SessionId) {
        self.table.touch(id);
        self.account(now, id);
        self.table.schedule(now, id);
    }

    /// A datagram that belongs to no session.
    fn handle_sessionless(&mut self, now: Time, path: Path, datagram: &mut [u8], id: u32) {
        if id == 0 {
            self.handle_startup(now, path, 0, datagram);
        } else if let Some(&attempt) = self.keying_ids.get(&id) {
            self.keep_early(attempt, path, datagram);
            self.handle_startup(now, path, id, datagram);
        }
    }

    /// Datagrams of one session.
    fn handle_session_packets(
        &mut self,
        now: Time,
        path: Path,
        arrived: Arrived<'_>,
        id: SessionId,
    ) {
        let ecn = arrived.ecn;
        let mut opened = [const { Err(PacketError::Length) }; OPENED_TOGETHER];
        let mut encrypted: [&mut [u8]; OPENED_TOGETHER] = std::array::from_fn(|_| &mut [][..]);
        let mut datagrams = arrived.each().map(|d| d.get_mut(SESSION_ID_LEN..).unwrap_or_default());
        let before = self.verified_bytes(id);
        loop {
            let mut count = 0;
            for (place, datagram) in encrypted.iter_mut().zip(datagrams.by_ref()) {
                *place = datagram;
                count += 1;
            }
            if count == 0 {
                break;
            }
            let (encrypted, opened) = (&mut encrypted[..count], &mut opened[..count]);
            if let Some(session) = self.table.get_mut(id) {
                session.open_packets(encrypted, opened);
            }
            for (datagram, opened) in encrypted.iter().zip(opened) {
                self.handle_opened(now, (path, ecn), (datagram, opened), id);
            }
        }
        let received = self.verified_bytes(id).saturating_sub(before);
        self.note_delivered(now, id, received);
        self.settle(now, id);
    }

    /// Bytes that a session has received.
    fn verified_bytes(&self, id: SessionId) -> u64 {
        self.table.get(id).map_or(0, |session| session.stats.bytes_received)
    }

    /// A packet of a session, verified or found wrong.
    fn handle_opened(
        &mut self,
        now: Time,
        (path, ecn): (Path, Ecn),
        (datagram, opened): (&[u8], &Opened),
        id: SessionId,
    ) {
        let Some(session) = self.table.get_mut(id) else { return };
        let was_confirmed = session.confirmed;
        let Some((header, rest)) = session.accept(now, datagram, opened) else { return };
        if !was_confirmed {
            if let Some((_, answer)) = &mut session.keying_answer {
                *answer = Datagrams::default();
            }
            // The session is reported before anything that the packet brought.
            self.on_confirmed(now, id);
        }
        let Some((session, mut cx)) = self.entry(now, id) else { return };
        let forwarded = session.handle_packet(&mut cx, (path, ecn), &header, rest);
        let interface = session.path.interface;
        for hello in forwarded {
            self.on_forwarded_hello(now, (id, interface), &hello);
        }
    }
}

impl Machine for Endpoint {
    fn handle_datagrams(&mut self, now: Time, path: Path, arrived: Arrived<'_>) {
        self.now = now;
        self.counters.bytes_received += arrived.bytes.len() as u64;
        let Arrived { bytes: mut rest, segment, ecn } = arrived;
        let segment = segment.max(1);
        while !rest.is_empty() {
            let id = session_id(&rest[..segment.min(rest.len())]);
            let same = rest.chunks(segment).take_while(|datagram| session_id(datagram) == id);
            let run = (same.count() * segment).min(rest.len());
            let bytes;
            (bytes, rest) = rest.split_at_mut(run);
            let run = Arrived { bytes, segment, ecn };
            if let Some(owner) = id.and_then(|id| self.worker.other_owner(id)) {
                self.pass_on(owner, path, &run);
                continue;
            }
            match id {
                Some(id) if self.table.contains(SessionId(id)) => {
                    self.handle_session_packets(now, path, run, SessionId(id));
                }
                Some(id) => {
                    for datagram in run.each() {
                        self.handle_sessionless(now, path, datagram, id);
                    }
                }
                None => {}
            }
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.shaping.handle_timeout(now);
        while let Some(timer) = self.table.pop_due(now) {
            match timer {
                Timer::Session(id) => {
                    if let Some((session, mut cx)) = self.entry(now, id) {
                        session.handle_timeout(&mut cx);
                        self.settle(now, id);
                    }
                }
                Timer::Attempt(attempt) => self.attempt_timeout(now, attempt),
                Timer::Startup => self.release_paced(now),
                Timer::Watch(id) => self.watch_timeout(now, id),
            }
        }
    }

    fn handle_computed(&mut self, now: Time, computed: Computed) {
        self.now = now;
        match computed.0 {
            Outcome::Initiate { open, result } => self.on_initiated(now, open, result),
            Outcome::Finish { open, far_id, result } => {
                self.on_finished(now, open, far_id, result);
            }
            Outcome::Respond { key, result } => self.on_responded(now, key, result),
            Outcome::RefusedInitiate { open } => self.on_initiate_refused(now, open),
            Outcome::RefusedFinish { open } => self.on_finish_refused(open),
            Outcome::RefusedRespond { key } => self.on_respond_refused(key),
        }
    }

    fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        buf.clear();
        let transmit = match self.startup.pop() {
            Some((path, datagram)) => {
                buf.push(&datagram);
                let session = session_id(&datagram).unwrap_or_default();
                Transmit { dscp: self.config.dscp, session, ..Transmit::to(path) }
            }
            None => self.transmit_session(now, buf)?,
        };
        self.note_sent(now, buf.bytes.len());
        Some(transmit)
    }

    fn poll_timeout(&self) -> Option<Time> {
        [self.table.next_due(), self.shaping.poll_timeout()].into_iter().flatten().min()
    }

    fn poll_job(&mut self) -> Option<Job> {
        self.jobs.pop_front().or_else(|| self.keying_queue.poll())
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("fingerprint", &self.fingerprint())
            .field("sessions", &self.table.len())
            .field("attempts", &self.attempts.len())
            .finish_non_exhaustive()
    }
}
