//! An endpoint: every session of one certificate on one set of sockets.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the public face and the drain rule's methods |
//! | `initiate.rs` | attempts to open sessions (RFC 7016 §3.5.1.1.1) |
//! | `respond.rs` | answers to hellos and keyings (§3.5.1.1.2), introductions (§3.5.1.4, §3.5.1.5) |
//! | `table.rs` | the sessions, by ID and fingerprint, with their timers |

mod initiate;
mod respond;
mod table;

use super::event::Introduction;
use super::job::{Outcome, PendingKey};
use super::rtt::ticks;
use super::send_flow::{FlowOptions, MessageOptions};
use super::session::{Context, Forwarded, Session, SessionStats, TimeCritical};
use super::{
    CloseReason, Computed, Config, Event, FlowId, Interface, Job, Machine, Path, Role, SendError,
    SessionId, Time, Transmit, TransmitBuf,
};
use crate::crypto::{
    Certificate, CookieSecret, Epd, Fingerprint, Identity, KeyingRandom, Opener, Sealer,
};
use crate::wire::chunk::kind;
use crate::wire::multiplex::{SESSION_ID_LEN, session_id};
use crate::wire::packet::chunks;
use crate::wire::{Chunk, Mode, PacketHeader};
use bytes::Bytes;
use initiate::Attempt;
use rand_core::CryptoRng;
use respond::Pending;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use table::{Table, Timer};

/// Startup datagrams that may wait to be sent; further ones are dropped like lost packets.
const MAX_STARTUP_QUEUE: usize = 4096;

/// The source of randomness of an endpoint.
pub type Random = Box<dyn CryptoRng + Send>;

/// A sans-IO RTMFP endpoint; see [`Machine`] for the contract.
pub struct Endpoint {
    config: Config,
    identity: Arc<Identity>,
    random: Random,
    cookies: CookieSecret,
    default_opener: Opener,
    default_sealer: Sealer,
    table: Table,
    attempts: BTreeMap<u64, Attempt>,
    by_tag: HashMap<Vec<u8>, u64>,
    /// Session IDs given out in Initiator Initial Keyings.
    keying_ids: HashMap<u32, u64>,
    next_attempt: u64,
    pending: HashMap<PendingKey, Pending>,
    startup: VecDeque<(Path, Vec<u8>)>,
    jobs: VecDeque<Job>,
    events: VecDeque<Event>,
    /// How many of `events` are introductions: unverified senders cause those.
    introductions: usize,
    time_critical: TimeCritical,
    /// The time of the latest input, for the timestamps of startup packets.
    now: Time,
}

/// What can be known of a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionRef<'a>(&'a Session);

impl<'a> SessionRef<'a> {
    /// The far end's peer ID.
    pub fn far(&self) -> Fingerprint {
        self.0.far.fingerprint()
    }

    /// The far end's certificate.
    pub fn certificate(&self) -> &'a Certificate {
        &self.0.far
    }

    /// Which end asked for the session.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// Where packets go.
    pub fn path(&self) -> Path {
        self.0.path
    }

    /// This end's session nonce (RFC 7425 §4.6.5), a secret of the two ends.
    pub fn near_nonce(&self) -> &'a [u8; 32] {
        &self.0.near_nonce
    }

    /// The far end's session nonce.
    pub fn far_nonce(&self) -> &'a [u8; 32] {
        &self.0.far_nonce
    }

    /// Smoothed round trip time, once measured.
    pub fn round_trip(&self) -> Option<Duration> {
        self.0.round_trip()
    }

    /// Congestion window in bytes.
    pub fn congestion_window(&self) -> u64 {
        self.0.window().0
    }

    /// User data in flight, in bytes.
    pub fn outstanding(&self) -> u64 {
        self.0.window().1
    }

    /// Sending and receiving flows that are not yet forgotten.
    pub fn flow_counts(&self) -> (usize, usize) {
        self.0.flow_counts()
    }

    /// Counters.
    pub fn stats(&self) -> SessionStats {
        self.0.stats
    }

    /// The key log line of this session (a secret; see the key log format in
    /// `protocol-notes/cryptography.md`), if [`Config::keep_secrets`] is set.
    pub fn key_log_line(&self) -> Option<impl AsRef<str> + 'static> {
        self.0.key_log.as_ref().map(|entry| KeyLogLine(entry.line()))
    }
}

struct KeyLogLine(zeroize::Zeroizing<String>);

impl AsRef<str> for KeyLogLine {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Endpoint {
    /// An endpoint with `identity`, without sessions.
    pub fn new(config: Config, identity: Arc<Identity>, mut random: Random) -> Self {
        let cookies = CookieSecret::generate(&mut *random);
        Self {
            config,
            identity,
            random,
            cookies,
            default_opener: Opener::default_key(),
            default_sealer: Sealer::default_key(),
            table: Table::default(),
            attempts: BTreeMap::new(),
            by_tag: HashMap::new(),
            keying_ids: HashMap::new(),
            next_attempt: 0,
            pending: HashMap::new(),
            startup: VecDeque::new(),
            jobs: VecDeque::new(),
            events: VecDeque::new(),
            introductions: 0,
            time_critical: TimeCritical::default(),
            now: Time::ZERO,
        }
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

    /// The open session with the peer `far`.
    pub fn session_with(&self, far: Fingerprint) -> Option<SessionId> {
        self.table.find(far)
    }

    /// Every open session.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, SessionRef<'_>)> {
        self.table.iter_open().map(|session| (session.id, SessionRef(session)))
    }

    /// How many things the endpoint still holds: sessions (closing ones included), attempts,
    /// keyings in progress. For tests that nothing leaks.
    pub fn load(&self) -> (usize, usize, usize) {
        (self.table.len(), self.attempts.len(), self.pending.len())
    }

    /// True if no session is open and the far ends of the closed ones know it: the endpoint can be
    /// dropped without harm. Sessions that the far end closed linger a while longer, in case it
    /// did not hear the answer, and do not count.
    pub fn is_settled(&self) -> bool {
        !self.table.is_busy()
    }

    /// Opens a sending flow with `metadata` of at most 512 bytes. The far end hears of it with
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
        entry.send(now, &self.config, flow, message, options)?;
        self.table.touch(session);
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
        self.table.touch(session);
        Ok(())
    }

    /// Closes a session: [`Event::SessionClosed`] follows at once, and the far end is told until
    /// it has confirmed or 90 s have passed.
    pub fn close(&mut self, now: Time, session: SessionId) {
        if let Some((entry, mut cx)) = self.entry(now, session) {
            entry.close(&mut cx);
            self.settle(now, session);
        }
    }

    /// Closes a session with one packet and forgets it.
    pub fn close_abruptly(&mut self, now: Time, session: SessionId) {
        if let Some((entry, mut cx)) = self.entry(now, session) {
            entry.close_abruptly(&mut cx, CloseReason::Near);
            self.settle(now, session);
        }
    }

    /// Sets when a silent session is pinged and when it is given up.
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
            time_critical: &mut self.time_critical,
        };
        Some((session, cx))
    }

    /// After a session was used: forgets it if it is over, else it may send, and its timer is set.
    fn settle(&mut self, now: Time, id: SessionId) {
        self.table.touch(id);
        self.table.schedule(now, id);
    }

    /// Sends one startup chunk under the default key.
    fn send_startup(&mut self, path: Path, session_id: u32, chunk: &Chunk<'_>) {
        self.send_startup_padded(0, path, session_id, chunk);
    }

    /// The same, padded to at least `plain` bytes before encryption.
    fn send_startup_padded(
        &mut self,
        plain: usize,
        path: Path,
        session_id: u32,
        chunk: &Chunk<'_>,
    ) {
        let timestamp = Some(ticks(self.now));
        if let Some(datagram) = self.seal_startup(plain, timestamp, session_id, chunk) {
            self.queue_startup(path, datagram);
        }
    }

    /// The same, unless the datagram would be longer than `limit`. True if it was sent. Some
    /// implementations (librtmfp) ignore packets without a timestamp, but most do not care: if need
    /// be, it goes without.
    fn send_startup_within(
        &mut self,
        limit: usize,
        path: Path,
        session_id: u32,
        chunk: &Chunk<'_>,
    ) -> bool {
        for timestamp in [Some(ticks(self.now)), None] {
            let sealed = self.seal_startup(0, timestamp, session_id, chunk);
            if let Some(datagram) = sealed.filter(|datagram| datagram.len() <= limit) {
                self.queue_startup(path, datagram);
                return true;
            }
        }
        false
    }

    fn queue_startup(&mut self, path: Path, datagram: Vec<u8>) {
        if self.startup.len() < MAX_STARTUP_QUEUE {
            self.startup.push_back((path, datagram));
        }
    }

    fn seal_startup(
        &mut self,
        plain: usize,
        timestamp: Option<u16>,
        session_id: u32,
        chunk: &Chunk<'_>,
    ) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(chunk.encoded_len() + 32);
        let packet = self.default_sealer.begin(&mut bytes);
        let start = bytes.len();
        PacketHeader { timestamp, ..PacketHeader::new(Mode::Startup) }.encode(&mut bytes);
        chunk.encode(&mut bytes).ok()?;
        bytes.resize(bytes.len().max(start + plain), kind::PADDING_FF);
        let range = self.default_sealer.finish(&mut bytes, packet);
        self.default_sealer.seal(session_id, &mut bytes, &[range]);
        Some(bytes)
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

    fn handle_startup(&mut self, now: Time, path: Path, session_id: u32, datagram: &mut [u8]) {
        let received = datagram.len();
        let Ok(plain) = self.default_opener.open(&mut datagram[SESSION_ID_LEN..]) else { return };
        let Ok((header, rest)) = PacketHeader::parse(plain) else { return };
        if header.mode != Mode::Startup {
            return;
        }
        for chunk in chunks(rest) {
            match chunk {
                Chunk::InitiatorHello(hello) if session_id == 0 => {
                    // One answer a datagram: more would add up to more than was received.
                    return self.on_hello(now, path, received, &hello);
                }
                Chunk::ResponderHello(hello) if session_id == 0 => {
                    self.on_responder_hello(now, path, &hello);
                }
                Chunk::Redirect(redirect) if session_id == 0 => {
                    self.on_redirect(now, path, &redirect);
                }
                Chunk::InitiatorKeying(keying) if session_id == 0 => {
                    return self.on_initiator_keying(now, path, received, &keying);
                }
                Chunk::ResponderKeying(keying) => {
                    self.on_responder_keying(path, session_id, &keying);
                }
                Chunk::CookieChange(change) => self.on_cookie_change(now, session_id, &change),
                _ => {}
            }
        }
    }

    /// Datagrams of one session, each of `segment` bytes but the last.
    fn handle_session_packets(
        &mut self,
        now: Time,
        path: Path,
        datagrams: &mut [u8],
        segment: usize,
        id: SessionId,
    ) {
        for datagram in datagrams.chunks_mut(segment) {
            self.handle_session_packet(now, path, datagram, id);
        }
        self.settle(now, id);
    }

    fn handle_session_packet(&mut self, now: Time, path: Path, datagram: &mut [u8], id: SessionId) {
        let Some(session) = self.table.get_mut(id) else { return };
        let was_confirmed = session.confirmed;
        let Some(encrypted) = datagram.get_mut(SESSION_ID_LEN..) else { return };
        let Some((header, rest)) = session.open_packet(now, encrypted) else { return };
        if !was_confirmed {
            if let Some((_, answer)) = &mut session.keying_answer {
                *answer = Vec::new();
            }
            // The owner hears of the session before it hears of what the packet brought.
            self.on_confirmed(now, id);
        }
        let Some((session, mut cx)) = self.entry(now, id) else { return };
        let forwarded = session.handle_packet(&mut cx, path, &header, rest);
        let interface = session.path.interface;
        for hello in forwarded {
            self.on_forwarded_hello(now, interface, &hello);
        }
    }
}

impl Machine for Endpoint {
    fn handle_datagram(&mut self, now: Time, path: Path, datagram: &mut [u8]) {
        let segment = datagram.len();
        self.handle_datagrams(now, path, datagram, segment);
    }

    fn handle_datagrams(&mut self, now: Time, path: Path, datagrams: &mut [u8], segment: usize) {
        self.now = now;
        let segment = segment.max(1);
        let mut rest = datagrams;
        while !rest.is_empty() {
            let id = session_id(&rest[..segment.min(rest.len())]);
            let same = rest.chunks(segment).take_while(|datagram| session_id(datagram) == id);
            let run = (same.count() * segment).min(rest.len());
            let (run, after) = rest.split_at_mut(run);
            rest = after;
            match id {
                Some(id) if self.table.contains(SessionId(id)) => {
                    self.handle_session_packets(now, path, run, segment, SessionId(id));
                }
                Some(id) => {
                    for datagram in run.chunks_mut(segment) {
                        self.handle_sessionless(now, path, datagram, id);
                    }
                }
                None => {}
            }
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        while let Some(timer) = self.table.pop_due(now) {
            match timer {
                Timer::Session(id) => {
                    if let Some((session, mut cx)) = self.entry(now, id) {
                        session.handle_timeout(&mut cx);
                        self.settle(now, id);
                    }
                }
                Timer::Attempt(attempt) => self.attempt_timeout(now, attempt),
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
        }
    }

    fn poll_transmit(&mut self, now: Time, buf: &mut TransmitBuf) -> Option<Transmit> {
        buf.clear();
        if let Some((path, datagram)) = self.startup.pop_front() {
            buf.push(&datagram);
            return Some(Transmit { path });
        }
        while let Some(id) = self.table.next_ready() {
            let Some((session, mut cx)) = self.entry(now, id) else { continue };
            let path = session.fill(&mut cx, buf);
            match path {
                Some(path) => {
                    // It may have more, but others come first.
                    self.table.touch(id);
                    self.table.schedule(now, id);
                    return Some(Transmit { path });
                }
                None => self.table.schedule(now, id),
            }
        }
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.table.next_due()
    }

    fn poll_job(&mut self) -> Option<Job> {
        self.jobs.pop_front()
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
