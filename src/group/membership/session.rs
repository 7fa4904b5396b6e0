//! The state of one session, and of its neighbor if there is one.

use super::message::MAX_REPORT;
use crate::crypto::Fingerprint;
use crate::group::{FlowKind, GroupAddress, ReceiveMode};
use crate::transport::{FlowId, Time};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes kept of messages that arrive on other flows before the hello. Beyond this, the neighbor is
/// dropped.
const MAX_EARLY: usize = 256 * 1024;

/// The shortest time between answers to requests for a report.
const ANSWER_INTERVAL: Duration = Duration::from_millis(100);

/// Round-trip times that differ by no more are alike.
const RTT_NOISE: Duration = Duration::from_millis(10);

/// A session to another endpoint, which may be a neighbor in this group or not.
pub(in crate::proto::group) struct PeerSession {
    pub(in crate::proto::group) peer: Fingerprint,
    pub(in crate::proto::group) address: GroupAddress,
    /// True if this endpoint opened the session.
    pub(super) initiator: bool,
    pub(super) near_nonce: [u8; 32],
    pub(super) far_nonce: [u8; 32],
    pub(in crate::proto::group) far_address: SocketAddr,
    /// True if the peer is in a network of this host.
    pub(super) is_local: bool,
    /// This node's address as the peer sees it.
    pub(super) near_address: Option<SocketAddr>,
    pub(in crate::proto::group) rtt: Option<Duration>,
    /// The round-trip time by which the nearest neighbors are chosen.
    pub(super) rated: Option<Duration>,
    /// Since when the far end has left everything unanswered.
    pub(in crate::proto::group) unanswered: Option<Time>,
    /// When that was so. It may have answered since.
    pub(in crate::proto::group) unanswered_at: Time,
    pub(super) opened: Time,
    /// The time at which it last had a neighbor.
    pub(super) idle_since: Time,
    pub(super) released: bool,
    pub(super) neighbor: Option<Neighbor>,
}

impl PeerSession {
    /// A session that is open as of `now`. The nonces are those of RFC 7425 §4.6.5.
    pub(in crate::proto::group) fn new(
        now: Time,
        peer: Fingerprint,
        initiator: bool,
        near_nonce: [u8; 32],
        far_nonce: [u8; 32],
        far_address: SocketAddr,
    ) -> Self {
        Self {
            peer,
            address: GroupAddress::of(&peer),
            initiator,
            near_nonce,
            far_nonce,
            far_address,
            is_local: false,
            near_address: None,
            rtt: None,
            rated: None,
            unanswered: None,
            unanswered_at: now,
            opened: now,
            idle_since: now,
            released: false,
            neighbor: None,
        }
    }

    /// The round-trip time. That by which neighbors are chosen follows only what changes it by a
    /// quarter, and by more than the delays in a local network vary: else members that are equally far
    /// would take turns as the nearest.
    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
        let is_like = |rated: Duration| rated.abs_diff(rtt) <= RTT_NOISE.max(rated / 4);
        if !self.rated.is_some_and(is_like) {
            self.rated = Some(rtt);
        }
    }

    /// True if there is a connected neighbor in it.
    pub(super) fn is_connected(&self) -> bool {
        self.neighbor.as_ref().is_some_and(|neighbor| neighbor.is_connected)
    }
}

/// A neighbor, connected or not yet: this end's `1C` flow is open; the far end's may not be.
pub(in crate::proto::group) struct Neighbor {
    pub(in crate::proto::group) since: Time,
    /// Its `1C` flow, once its hello was accepted.
    pub(super) far_flow: Option<FlowId>,
    /// True once its first message after the hello has arrived.
    pub(super) is_connected: bool,
    pub(in crate::proto::group) mode: Option<ReceiveMode>,
    /// True if a report was requested from it and has not arrived.
    pub(super) owes_report: bool,
    /// When it was informed that this node does not need it.
    pub(super) unneeded_at: Option<Time>,
    /// Its flows of the capabilities; two for each stream at most.
    pub(super) far_flows: BTreeMap<FlowId, FlowKind>,
    early: Vec<(FlowId, Bytes)>,
    early_bytes: usize,
    answered: Option<Time>,
}

impl Neighbor {
    /// A neighbor to which this end's `1C` flow is being opened.
    pub(super) fn new(now: Time) -> Self {
        Self {
            since: now,
            far_flow: None,
            is_connected: false,
            mode: None,
            owes_report: false,
            unneeded_at: None,
            far_flows: BTreeMap::new(),
            early: Vec::new(),
            early_bytes: 0,
            answered: None,
        }
    }

    /// Keeps a message until the neighbor is connected. `false` if too many are kept.
    pub(super) fn keep_early(&mut self, flow: FlowId, message: Bytes) -> bool {
        const OVERHEAD: usize = 64;
        self.early_bytes += message.len() + OVERHEAD;
        self.early.push((flow, message));
        self.early_bytes <= MAX_EARLY
    }

    pub(super) fn take_early(&mut self) -> Vec<(FlowId, Bytes)> {
        self.early_bytes = 0;
        std::mem::take(&mut self.early)
    }

    /// True if a request for a report is to be answered: at once, but not more often than needed.
    pub(super) fn may_answer(&mut self, now: Time) -> bool {
        if self.answered.is_some_and(|at| now.since(at) < ANSWER_INTERVAL) {
            return false;
        }
        self.answered = Some(now);
        true
    }
}

const _: () = assert!(MAX_EARLY > MAX_REPORT);
