//! One session (RFC 7016 §3.5): keys, flows, timers, close.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the session and what its owner does with it |
//! | `receive.rs` | a packet arrived |
//! | `receiving.rs` | the receiving flows, what they cost, and their timers |
//! | `send.rs` | packets are put together |
//! | `timers.rs` | a point in time was reached |
//! | `mobility.rs` | the far end's address changed (§3.5.4.2) |
//! | `path_mtu.rs` | how large datagrams the path takes (§3.5.4.3) |
//! | `fragments.rs` | packets in pieces (§3.4) |
//! | `ecn.rs` | congestion marks and their report |

mod ecn;
mod fragments;
mod mobility;
mod path_mtu;
mod receive;
mod receiving;
mod send;
mod timers;

pub(crate) use receive::Forwarded;

use super::congestion::{Congestion, Pacer};
use super::endpoint::Datagrams;
use super::fragments::{Limits, Reassembly};
use super::job::PendingKey;
use super::recv_flow::{Delivery, Outcome};
use super::rtt::Rtt;
use super::send_flow::{FlowOptions, MessageOptions, SendFlow};
use super::{CloseReason, Config, Event, FlowId, Path, Role, SendError, SessionId, Time};
use crate::crypto::{Certificate, KeyLogEntry, Negotiated, Opener, Sealer, SessionKeys};
use crate::wire::chunk::kind;
use bytes::Bytes;
use ecn::EcnState;
use mobility::Mobility;
use path_mtu::PathMtu;
use receiving::ReceivingFlows;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Period of repeated close requests (§3.5.5).
const CLOSE_REPEAT: Duration = Duration::from_secs(5);
/// How long close requests are repeated.
const NEAR_CLOSE: Duration = Duration::from_secs(90);
/// How long a closed session still answers close requests.
const FAR_CLOSE_LINGER: Duration = Duration::from_secs(19);
/// A time critical notification counts for this long (§3.5.2.1).
const TIME_CRITICAL: Duration = Duration::from_millis(800);
/// A responder session whose initiator has neither used the keys nor repeated its keying within
/// this time is dropped. It is longer than an initiator that has the keys waits for a sign of life
/// from a peer.
pub(crate) const UNCONFIRMED: Duration = Duration::from_secs(50);
/// Packets of one session that are put together at a time.
const MAX_REASSEMBLED: usize = 4;
/// Shortest keepalive period that can be set (RFC 7425 §5.3.4).
pub const MIN_KEEPALIVE: Duration = Duration::from_secs(5);
/// Control chunks that may wait to be sent; the far end causes most of them.
const MAX_OUTBOX: usize = 32;
/// The observed player's control flow is always flow 2; ours begin there too.
const FIRST_FLOW: u64 = 2;
/// An initiator whose owner sends nothing for this long after the keying sends a ping.
const FIRST_PING: Duration = Duration::from_millis(50);
/// Bytes that opening a session takes of the far end, at least: they count as brought.
const OPENING_CREDIT: u64 = 256;
/// Bytes of a packet with a mobility ping, at most.
const MOBILITY_PING: u64 = 84;

/// What a session shares with its endpoint during a call.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) config: &'a Config,
    pub(crate) events: &'a mut VecDeque<Event>,
    pub(crate) counters: &'a mut EndpointStats,
    /// When any session of the endpoint last sent or received time critical data.
    pub(crate) time_critical: &'a mut TimeCritical,
}

/// Time critical data in any session of the endpoint (§3.5.2.1).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TimeCritical {
    sent: Option<Time>,
    received: Option<(Time, SessionId)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    NearClose { since: Time, repeat: Time },
    FarCloseLinger { until: Time },
    Closed,
}

/// A chunk that waits to be sent.
#[derive(Debug)]
struct Control {
    /// Somewhere else than the session's path.
    path: Option<Path>,
    chunk: Vec<u8>,
}

/// A fragment in flight, in the order of transmission.
#[derive(Debug, Clone, Copy)]
struct Sent {
    flow: u64,
    sequence: u64,
    in_flight: bool,
    naks: u8,
}

/// Pings that wait for any sign of life.
#[derive(Debug, Clone, Copy)]
struct Pinging {
    first: Time,
    again: Time,
}

/// Counters of an endpoint, all about what it refused in order not to be used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Fragments that were treated as lost because there was no room to hold them.
    pub fragments_refused: u64,
    /// Receiving flows that were rejected because their session held too much
    /// ([`Config::max_session_memory`]).
    pub flows_rejected: u64,
    /// Sessions that were closed because all of them together held too much
    /// ([`Config::max_address_memory`], [`Config::max_memory`]).
    pub sessions_evicted: u64,
    /// Keyings that were ignored because of a bound on them or on sessions.
    pub keyings_ignored: u64,
    /// Sessions that gave way to another keying before their initiator had used them.
    pub unconfirmed_evicted: u64,
}

/// Counters of one session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Bytes of UDP payload sent.
    pub bytes_sent: u64,
    /// Datagrams received that verified.
    pub datagrams_received: u64,
    /// Bytes of UDP payload received that verified.
    pub bytes_received: u64,
    /// Datagrams that did not decrypt, verify or parse, or were replayed.
    pub datagrams_refused: u64,
    /// Fragments found lost.
    pub fragments_lost: u64,
    /// Retransmission timeouts that lost something.
    pub timeouts: u64,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) role: Role,
    pub(crate) far: Certificate,
    pub(crate) path: Path,
    pub(crate) negotiated: Negotiated,
    pub(crate) near_nonce: [u8; 32],
    pub(crate) far_nonce: [u8; 32],
    /// Kept only if the configuration asks for it.
    pub(crate) key_log: Option<Box<KeyLogEntry>>,
    pub(crate) proven: Vec<Vec<u8>>,
    pub(crate) stats: SessionStats,
    /// The datagrams of the Responder Initial Keying, empty once the initiator has the keys. The keying
    /// that it answers is remembered as long as the session, so that a late copy of it does not
    /// open another one.
    pub(crate) keying_answer: Option<(PendingKey, Datagrams)>,
    /// A packet was received under the session's keys.
    pub(crate) confirmed: bool,
    far_id: u32,
    sealer: Sealer,
    opener: Opener,
    state: State,
    rtt: Rtt,
    congestion: Box<dyn Congestion>,
    pacer: Pacer,
    send_flows: BTreeMap<u64, SendFlow>,
    /// Bytes that `send_flows` hold.
    send_memory: u64,
    recv_flows: ReceivingFlows,
    next_flow: u64,
    /// The flow that was served last, for taking turns.
    last_served: u64,
    /// Fragments in flight by transmission sequence number, from `first_tsn`.
    sent: VecDeque<Sent>,
    first_tsn: u64,
    max_tsn_acked: u64,
    outstanding: u64,
    /// Packets with user data sent since the last acknowledgement.
    burst: u32,
    /// Bytes acknowledged since then.
    released: u64,
    ack_now: bool,
    delayed_ack: Option<Time>,
    data_packets: u32,
    ack_queue: VecDeque<u64>,
    outbox: VecDeque<Control>,
    timeout: Option<Time>,
    /// Since when data in flight has not been acknowledged at all.
    unanswered_since: Option<Time>,
    last_received: Time,
    /// When a ping confirms the session if nothing else has.
    first_ping: Option<Time>,
    pinging: Option<Pinging>,
    keepalive: Duration,
    dead_after: Duration,
    time_critical_reverse: Option<Time>,
    time_critical_sent: Option<Time>,
    mobility: Mobility,
    path_mtu: PathMtu,
    ecn: EcnState,
    /// Packets that arrive in pieces, by their ID.
    pieces: Reassembly<u64>,
    next_packet_id: u64,
    forwarded_hellos: (Time, u32),
    /// Bytes that the far end has made this endpoint send elsewhere.
    spent_credit: u64,
}

/// What opens a session.
pub(crate) struct Opening {
    pub(crate) id: SessionId,
    pub(crate) far_id: u32,
    pub(crate) role: Role,
    pub(crate) far: Certificate,
    pub(crate) path: Path,
    pub(crate) keys: SessionKeys,
    pub(crate) mobility_secret: [u8; 16],
    /// Identifiers of the passwords that the far end has proved to know.
    pub(crate) proven: Vec<Vec<u8>>,
}

impl Session {
    pub(crate) fn new(now: Time, config: &Config, opening: Opening) -> Self {
        let Opening { id, far_id, role, far, path, keys, mobility_secret, proven } = opening;
        Self {
            id,
            role,
            far,
            path,
            negotiated: keys.negotiated,
            near_nonce: keys.near_nonce,
            far_nonce: keys.far_nonce,
            key_log: config.keep_secrets.then(|| Box::new(keys.key_log)),
            proven,
            stats: SessionStats::default(),
            keying_answer: None,
            confirmed: role == Role::Initiator,
            far_id,
            sealer: keys.sealer,
            opener: keys.opener,
            state: State::Open,
            rtt: Rtt::new(),
            congestion: config.controller.start(config.max_datagram as u64),
            pacer: Pacer::default(),
            send_flows: BTreeMap::new(),
            send_memory: 0,
            recv_flows: ReceivingFlows::default(),
            next_flow: FIRST_FLOW,
            last_served: 0,
            sent: VecDeque::new(),
            first_tsn: 1,
            max_tsn_acked: 0,
            outstanding: 0,
            burst: 0,
            released: 0,
            ack_now: false,
            delayed_ack: None,
            data_packets: 0,
            ack_queue: VecDeque::new(),
            outbox: VecDeque::new(),
            timeout: None,
            unanswered_since: None,
            last_received: now,
            first_ping: None,
            pinging: None,
            keepalive: config.keepalive,
            dead_after: config.dead_after,
            time_critical_reverse: None,
            time_critical_sent: None,
            mobility: Mobility::new(mobility_secret),
            path_mtu: PathMtu::new(config),
            ecn: EcnState::new(config.ecn),
            pieces: Reassembly::new(Limits {
                packets: MAX_REASSEMBLED,
                bytes: config.max_reassembly,
            }),
            next_packet_id: 0,
            forwarded_hellos: (now, 0),
            spent_credit: 0,
        }
    }

    /// Opens a sending flow (§3.6.2.1). Nothing leaves until a message is queued.
    pub(crate) fn open_flow(
        &mut self,
        metadata: &[u8],
        options: FlowOptions,
    ) -> Result<FlowId, SendError> {
        self.must_be_open()?;
        let id = FlowId(self.next_flow);
        let flow = SendFlow::new(id, metadata, options)?;
        self.next_flow += 1;
        self.send_flows.insert(id.0, flow);
        self.charge(id.0);
        Ok(id)
    }

    /// Queues a message.
    pub(crate) fn send(
        &mut self,
        now: Time,
        config: &Config,
        flow_id: FlowId,
        message: Bytes,
        options: MessageOptions,
    ) -> Result<(), SendError> {
        self.must_be_open()?;
        let fragment_size = self.fragment_size();
        let flow = self.send_flows.get_mut(&flow_id.0).ok_or(SendError::NoFlow)?;
        let pushed = flow.push(now, message, options, fragment_size, config.max_send_queue);
        self.charge(flow_id.0);
        pushed
    }

    /// Finishes a sending flow.
    pub(crate) fn close_flow(&mut self, id: FlowId) -> Result<(), SendError> {
        self.must_be_open()?;
        let flow = self.send_flows.get_mut(&id.0).ok_or(SendError::NoFlow)?;
        flow.close();
        self.charge(id.0);
        Ok(())
    }

    /// Rejects a receiving flow.
    pub(crate) fn reject_flow(&mut self, flow: FlowId, exception: u64) -> Result<(), SendError> {
        self.must_be_open()?;
        if self.recv_flows.change(flow.0, |f| f.reject(exception)) != Some(true) {
            return Err(SendError::NoFlow);
        }
        self.queue_ack(flow.0);
        self.ack_now = true;
        Ok(())
    }

    /// Holds the messages of a receiving flow back, or lets them go on.
    pub(crate) fn pause_flow(
        &mut self,
        cx: &mut Context<'_>,
        flow: FlowId,
        paused: bool,
    ) -> Result<(), SendError> {
        let (session, now, events) = (self.id, cx.now, &mut *cx.events);
        let mut sink = |delivery: Delivery| events.push_back(delivery.into_event(session, flow));
        let outcome = self.recv_flows.change(flow.0, |f| f.pause(now, paused, &mut sink));
        let outcome = outcome.ok_or(SendError::NoFlow)?;
        self.queue_ack(flow.0);
        self.note_outcome(cx, flow, &outcome);
        Ok(())
    }

    /// Bytes of memory that flows and pieces of packets cost, in either direction.
    pub(crate) fn memory(&self) -> u64 {
        self.received_memory() + self.send_memory
    }

    /// Bytes of memory that the far end's flows and pieces of packets cost.
    fn received_memory(&self) -> u64 {
        self.recv_flows.memory() + self.pieces.memory() as u64
    }

    /// Takes account of a sending flow that may have changed.
    fn charge(&mut self, flow: u64) {
        if let Some(flow) = self.send_flows.get_mut(&flow) {
            let (before, after) = flow.charge();
            self.send_memory = self.send_memory + after - before;
        }
    }

    /// Bytes queued in a sending flow and not yet acknowledged.
    pub(crate) fn queued(&self, flow: FlowId) -> u64 {
        self.send_flows.get(&flow.0).map_or(0, SendFlow::queued)
    }

    /// Starts an orderly close (§3.5.5). The owner is told at once.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>) {
        if self.state != State::Open {
            return;
        }
        self.end_flows();
        self.outbox.clear();
        self.state = State::NearClose { since: cx.now, repeat: cx.now + CLOSE_REPEAT };
        self.push_control(None, kind::CLOSE_REQUEST, &[]);
        self.report_closed(cx, CloseReason::Near);
    }

    /// Closes at once with a lone acknowledgement, as the observed player does.
    pub(crate) fn close_abruptly(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        let was_open = self.state == State::Open;
        self.end_flows();
        self.state = State::Closed;
        self.outbox.clear();
        self.push_control(None, kind::CLOSE_ACK, &[]);
        if was_open {
            self.report_closed(cx, reason);
        }
    }

    fn report_closed(&self, cx: &mut Context<'_>, reason: CloseReason) {
        if !self.confirmed {
            return; // Its owner never heard of it.
        }
        tracing::debug!(session = %self.id, peer = %self.far.fingerprint(), ?reason, "session closed");
        cx.events.push_back(Event::SessionClosed { session: self.id, reason });
    }

    fn end_flows(&mut self) {
        self.send_flows.clear();
        self.send_memory = 0;
        self.recv_flows.clear();
        self.pieces.clear();
        self.sent = VecDeque::new();
        self.ack_queue = VecDeque::new();
        self.outstanding = 0;
        self.ack_now = false;
        self.delayed_ack = None;
        self.timeout = None;
        self.unanswered_since = None;
        self.pinging = None;
    }

    /// True when nothing of the session is needed any more.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Closed && self.outbox.is_empty()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// True while the far end has not confirmed that this end closed the session, or waits for its
    /// own confirmation.
    pub(crate) fn is_closing(&self) -> bool {
        match self.state {
            State::NearClose { .. } => true,
            State::FarCloseLinger { .. } | State::Closed => !self.outbox.is_empty(),
            State::Open => false,
        }
    }

    /// Sets the keepalive period and how long to wait for a sign of life, both at least
    /// [`MIN_KEEPALIVE`].
    pub(crate) fn set_keepalive(&mut self, period: Duration, dead_after: Duration) {
        self.keepalive = period.max(MIN_KEEPALIVE);
        self.dead_after = dead_after.max(MIN_KEEPALIVE);
    }

    /// The initiator has repeated its keying: it is still there.
    pub(crate) const fn on_keying_repeated(&mut self, now: Time) {
        if !self.confirmed {
            self.last_received = now;
        }
    }

    /// Bytes of the largest datagram that is sent.
    pub(crate) const fn max_datagram(&self) -> usize {
        self.path_mtu.size()
    }

    /// Smoothed round trip time.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.rtt.smoothed()
    }

    /// When the last packet arrived.
    pub(crate) const fn last_received(&self) -> Time {
        self.last_received
    }

    /// The keepalive period.
    pub(crate) const fn keepalive(&self) -> Duration {
        self.keepalive
    }

    /// Since when pings or user data have waited for any answer.
    pub(crate) fn unanswered_since(&self) -> Option<Time> {
        let pinging = self.pinging.map(|pinging| pinging.first);
        pinging.into_iter().chain(self.unanswered_since).min()
    }

    /// Sends one ping without waiting for the answer.
    pub(crate) fn probe(&mut self) {
        if self.state == State::Open {
            self.push_control(None, kind::PING, &[]);
        }
    }

    /// Congestion window, and user data in flight, in bytes.
    pub(crate) fn window(&self) -> (u64, u64) {
        (self.congestion.window(), self.outstanding)
    }

    /// Open or closing flows: sending, receiving.
    pub(crate) fn flow_counts(&self) -> (usize, usize) {
        (self.send_flows.len(), self.recv_flows.len())
    }

    /// Queues a chunk outside of flows. Dropped if too many wait already.
    pub(crate) fn push_control(&mut self, path: Option<Path>, kind: u8, payload: &[u8]) {
        if self.outbox.len() >= MAX_OUTBOX {
            return;
        }
        let Ok(len) = u16::try_from(payload.len()) else { return };
        let mut chunk = Vec::with_capacity(3 + payload.len());
        chunk.push(kind);
        chunk.extend_from_slice(&len.to_be_bytes());
        chunk.extend_from_slice(payload);
        self.outbox.push_back(Control { path, chunk });
    }

    /// Bytes that the far end may still make this endpoint send elsewhere, to addresses that it
    /// names and that have not answered: not more than it has brought.
    pub(crate) const fn credit(&self) -> u64 {
        (OPENING_CREDIT + self.stats.bytes_received).saturating_sub(self.spent_credit)
    }

    /// Takes `bytes` of the [`credit`](Self::credit).
    pub(crate) const fn spend_credit(&mut self, bytes: u64) {
        self.spent_credit = self.spent_credit.saturating_add(bytes);
    }

    /// Gives back what was spent for an address that has answered.
    pub(crate) const fn return_credit(&mut self, bytes: u64) {
        self.spent_credit = self.spent_credit.saturating_sub(bytes);
    }

    fn queue_ack(&mut self, flow: u64) {
        let queued = self.recv_flows.change(flow, |f| std::mem::replace(&mut f.ack_queued, true));
        if queued == Some(false) {
            self.ack_queue.push_back(flow);
        }
    }

    /// Turns what a receiving flow brought about, beside messages, into an event.
    fn note_outcome(&mut self, cx: &mut Context<'_>, flow: FlowId, outcome: &Outcome) {
        self.ack_now |= outcome.ack_now;
        if outcome.finished {
            cx.events.push_back(Event::FlowFinished { session: self.id, flow });
        }
    }

    fn must_be_open(&self) -> Result<(), SendError> {
        if self.state == State::Open { Ok(()) } else { Err(SendError::NoSession) }
    }
}
