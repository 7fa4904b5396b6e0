//! One session (RFC 7016 §3.5): keys, flows, timers, close.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the session, and what all its parts share |
//! | `receive.rs` | processing of packets |
//! | `receiving.rs` | the receiving flows, their memory and timers |
//! | `acknowledge.rs` | acknowledgements to the far end |
//! | `send.rs` | assembly of packets |
//! | `sending.rs` | the sending flows, window and pace |
//! | `transmissions.rs`, `recovery.rs` | fragments in flight, their acknowledgement and loss |
//! | `outbox.rs` | chunks outside of flows |
//! | `timers.rs` | timers |
//! | `keepalive.rs` | signs of life (§3.5.4.1) |
//! | `mobility.rs` | changes of the far end's address (§3.5.4.2) |
//! | `path_mtu.rs` | search for the largest datagram of the path (§3.5.4.3) |
//! | `close.rs` | the end of the session (§3.5.5) |
//! | `fragments.rs` | packets in pieces (§3.4) |
//! | `ecn.rs` | congestion marks and their report |
//! | `time_critical.rs` | time critical data (§3.5.2.1) |
//! | `budget.rs` | bounds on what the far end can cause |
//! | `stats.rs` | counters |

mod acknowledge;
mod budget;
mod close;
mod ecn;
mod fragments;
mod keepalive;
mod mobility;
mod outbox;
mod path_mtu;
mod receive;
mod receiving;
mod recovery;
mod send;
mod sending;
mod stats;
mod time_critical;
mod timers;
mod transmissions;

pub use keepalive::MIN_KEEPALIVE;
pub(crate) use receive::Forwarded;
pub use stats::{EndpointStats, SessionStats};
pub(crate) use time_critical::TimeCritical;

use super::datagrams::Datagrams;
use super::forward_delay::ForwardDelay;
use super::job::PendingKey;
use super::rtt::Rtt;
use super::{Config, Event, Path, Role, SendError, SessionId, Time};
use crate::crypto::{Certificate, KeyLogEntry, Negotiated, Opener, Sealer, SessionKeys};
use acknowledge::Acks;
use budget::Budget;
use close::State;
use ecn::EcnState;
use fragments::Pieces;
use keepalive::Keepalive;
use mobility::Mobility;
use outbox::Outbox;
use path_mtu::PathMtu;
use receiving::ReceivingFlows;
use sending::Sending;
use std::collections::VecDeque;
use std::time::Duration;
use time_critical::SessionTimeCritical;

/// A responder session whose initiator has neither used the keys nor repeated its keying within
/// this time is dropped. It is longer than an initiator that has the keys waits for a sign of life
/// from a peer.
pub(crate) const UNCONFIRMED: Duration = Duration::from_secs(50);

/// State of the endpoint that a session may use during a call. It touches nothing else of it.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) config: &'a Config,
    pub(crate) events: &'a mut VecDeque<Event>,
    pub(crate) counters: &'a mut EndpointStats,
    /// When any session of the endpoint last sent or received time critical data.
    pub(crate) time_critical: &'a mut TimeCritical,
    /// Bytes of packets with user data that may leave, and what exceeds them of the last one.
    pub(crate) allowance: u64,
    /// Bytes that may be in flight beyond the congestion window, as they wait in the queue of this
    /// end's own uplink.
    pub(crate) own_queue: u64,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) role: Role,
    pub(crate) far: Certificate,
    pub(crate) path: Path,
    pub(crate) keyed: Keyed,
    pub(crate) stats: SessionStats,
    /// The datagrams of the Responder Initial Keying, empty once the initiator has the keys. The
    /// keying that it answers is remembered as long as the session, so that a late copy of it does
    /// not open another one.
    pub(crate) keying_answer: Option<(PendingKey, Datagrams)>,
    /// A packet was received under the session's keys.
    pub(crate) confirmed: bool,
    far_id: u32,
    sealer: Sealer,
    opener: Opener,
    state: State,
    rtt: Rtt,
    forward_delay: ForwardDelay,
    sending: Sending,
    receiving: ReceivingFlows,
    acks: Acks,
    outbox: Outbox,
    keepalive: Keepalive,
    time_critical: SessionTimeCritical,
    mobility: Mobility,
    path_mtu: PathMtu,
    ecn: EcnState,
    pieces: Pieces,
    budget: Budget,
}

/// Results of the keying that do not change.
#[derive(Debug)]
pub(crate) struct Keyed {
    pub(crate) negotiated: Negotiated,
    pub(crate) near_nonce: [u8; 32],
    pub(crate) far_nonce: [u8; 32],
    /// Kept only if the configuration asks for it.
    pub(crate) key_log: Option<Box<KeyLogEntry>>,
    /// Identifiers of the passwords that the far end has proved to know.
    pub(crate) proven: Vec<Vec<u8>>,
}

/// Parameters of a new session.
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
            keyed: Keyed {
                negotiated: keys.negotiated,
                near_nonce: keys.near_nonce,
                far_nonce: keys.far_nonce,
                key_log: config.keep_secrets.then(|| Box::new(keys.key_log)),
                proven,
            },
            stats: SessionStats::default(),
            keying_answer: None,
            confirmed: role == Role::Initiator,
            far_id,
            sealer: keys.sealer,
            opener: keys.opener,
            state: State::Open,
            rtt: Rtt::new(),
            forward_delay: ForwardDelay::default(),
            sending: Sending::new(config),
            receiving: ReceivingFlows::default(),
            acks: Acks::default(),
            outbox: Outbox::default(),
            keepalive: Keepalive::new(now, config),
            time_critical: SessionTimeCritical::default(),
            mobility: Mobility::new(mobility_secret),
            path_mtu: PathMtu::new(config, path.remote),
            ecn: EcnState::new(config.ecn),
            pieces: Pieces::new(config),
            budget: Budget::new(now),
        }
    }

    /// Bytes of memory that flows and pieces of packets cost, in either direction.
    pub(crate) fn memory(&self) -> u64 {
        self.received_memory() + self.sending.memory()
    }

    /// Bytes of memory that the far end's flows and pieces of packets cost.
    fn received_memory(&self) -> u64 {
        self.receiving.memory() + self.pieces.memory()
    }

    /// Bytes of the largest datagram that is sent.
    pub(crate) const fn max_datagram(&self) -> usize {
        self.path_mtu.size()
    }

    /// Smoothed round trip time.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.rtt.smoothed()
    }

    /// Bytes acknowledged since the last call, and the time that packets have waited on their way
    /// there.
    pub(crate) fn take_delivered(&mut self) -> (u64, Option<Duration>) {
        (std::mem::take(&mut self.sending.delivered), self.forward_delay.take())
    }

    /// Open or closing flows: sending, receiving.
    pub(crate) fn flow_counts(&self) -> (usize, usize) {
        (self.sending.flows.len(), self.receiving.len())
    }

    fn must_be_open(&self) -> Result<(), SendError> {
        if self.is_open() { Ok(()) } else { Err(SendError::NoSession) }
    }
}
