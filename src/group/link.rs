//! One session as a group sees it, and the relation that may exist in it.

use super::message::report::MAX_REPORT;
use super::{FlowKind, GroupAddress, ReceiveMode};
use crate::crypto::Fingerprint;
use crate::transport::{FlowId, Time};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of messages kept that arrive on other flows before the relation is up.
const MAX_EARLY: usize = 256 * 1024;

/// Requested reports are answered at most this often.
const ANSWER_INTERVAL: Duration = Duration::from_millis(100);

/// A session to another endpoint, whether or not it is a neighbour in this group.
pub(super) struct Link {
    pub(super) peer: Fingerprint,
    pub(super) address: GroupAddress,
    /// This endpoint opened the session.
    pub(super) initiator: bool,
    pub(super) near_nonce: [u8; 32],
    pub(super) far_nonce: [u8; 32],
    pub(super) far_address: SocketAddr,
    /// Where it says that it sees this node.
    pub(super) sees_us_at: Option<SocketAddr>,
    pub(super) rtt: Option<Duration>,
    pub(super) opened: Time,
    /// Since when there is no relation.
    pub(super) idle_since: Time,
    pub(super) released: bool,
    pub(super) relation: Option<Relation>,
}

impl Link {
    pub(super) fn is_neighbor(&self) -> bool {
        self.relation.as_ref().is_some_and(|r| r.up)
    }
}

/// The relation with one member: our `1C` flow is open, its perhaps.
pub(super) struct Relation {
    pub(super) since: Time,
    /// Its `1C` flow, once its hello was found good.
    pub(super) far_flow: Option<FlowId>,
    /// Its first message after the hello has come: it is a neighbour.
    pub(super) up: bool,
    pub(super) mode: Option<ReceiveMode>,
    /// It was asked for a report and has not sent one.
    pub(super) owes_report: bool,
    pub(super) near_flows: BTreeSet<FlowKind>,
    pub(super) far_flows: BTreeMap<FlowId, FlowKind>,
    early: Vec<(FlowId, Bytes)>,
    early_bytes: usize,
    answered: Option<Time>,
}

impl Relation {
    /// The relation begins with our own `1C` flow.
    pub(super) fn new(now: Time) -> Self {
        Self {
            since: now,
            far_flow: None,
            up: false,
            mode: None,
            owes_report: false,
            near_flows: BTreeSet::from([FlowKind::Membership]),
            far_flows: BTreeMap::new(),
            early: Vec::new(),
            early_bytes: 0,
            answered: None,
        }
    }

    /// Keeps a message for when the relation is up. `false` if there are too many of them.
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

    /// Whether to answer a report that asks for it: at once, but not faster than needed.
    pub(super) fn may_answer(&mut self, now: Time) -> bool {
        if self.answered.is_some_and(|at| now.since(at) < ANSWER_INTERVAL) {
            return false;
        }
        self.answered = Some(now);
        true
    }

    /// Our flows in the order in which to finish them: replication before membership, because a
    /// player whose neighbour finishes `1C` first never sets its pending requests free.
    pub(super) fn finish_order(&self) -> Vec<FlowKind> {
        let rank = |kind: &FlowKind| match kind {
            FlowKind::Replication => 0,
            FlowKind::Membership => 1,
            _ => 2,
        };
        let mut kinds: Vec<_> = self.near_flows.iter().copied().collect();
        kinds.sort_by_key(rank);
        kinds
    }
}

const _: () = assert!(MAX_EARLY > MAX_REPORT);
