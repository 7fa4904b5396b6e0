//! One session as a group sees it, and the relation that may exist in it.

use super::message::MAX_REPORT;
use super::message::ReceiveMode;
use crate::crypto::Fingerprint;
use crate::group::{FlowKind, GroupAddress};
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
pub(in crate::group) struct Link {
    pub(in crate::group) peer: Fingerprint,
    pub(in crate::group) address: GroupAddress,
    /// This endpoint opened the session.
    pub(in crate::group) initiator: bool,
    pub(in crate::group) near_nonce: [u8; 32],
    pub(in crate::group) far_nonce: [u8; 32],
    pub(in crate::group) far_address: SocketAddr,
    /// Where it says that it sees this node.
    pub(in crate::group) sees_us_at: Option<SocketAddr>,
    pub(in crate::group) rtt: Option<Duration>,
    pub(in crate::group) opened: Time,
    /// Since when there is no relation.
    pub(in crate::group) idle_since: Time,
    pub(in crate::group) released: bool,
    pub(in crate::group) relation: Option<Relation>,
}

impl Link {
    pub(in crate::group) fn is_neighbor(&self) -> bool {
        self.relation.as_ref().is_some_and(|r| r.up)
    }
}

/// The relation with one member: our `1C` flow is open, its perhaps.
pub(in crate::group) struct Relation {
    pub(in crate::group) since: Time,
    /// Its `1C` flow, once its hello was found good.
    pub(in crate::group) far_flow: Option<FlowId>,
    /// Its first message after the hello has come: it is a neighbour.
    pub(in crate::group) up: bool,
    pub(in crate::group) mode: Option<ReceiveMode>,
    /// It was asked for a report and has not sent one.
    pub(in crate::group) owes_report: bool,
    pub(in crate::group) near_flows: BTreeSet<FlowKind>,
    pub(in crate::group) far_flows: BTreeMap<FlowId, FlowKind>,
    early: Vec<(FlowId, Bytes)>,
    early_bytes: usize,
    answered: Option<Time>,
}

impl Relation {
    /// The relation begins with our own `1C` flow.
    pub(in crate::group) fn new(now: Time) -> Self {
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
    pub(in crate::group) fn keep_early(&mut self, flow: FlowId, message: Bytes) -> bool {
        const OVERHEAD: usize = 64;
        self.early_bytes += message.len() + OVERHEAD;
        self.early.push((flow, message));
        self.early_bytes <= MAX_EARLY
    }

    pub(in crate::group) fn take_early(&mut self) -> Vec<(FlowId, Bytes)> {
        self.early_bytes = 0;
        std::mem::take(&mut self.early)
    }

    /// Whether to answer a report that asks for it: at once, but not faster than needed.
    pub(in crate::group) fn may_answer(&mut self, now: Time) -> bool {
        if self.answered.is_some_and(|at| now.since(at) < ANSWER_INTERVAL) {
            return false;
        }
        self.answered = Some(now);
        true
    }

    /// Our flows in the order in which to finish them: replication before membership, because a
    /// player whose neighbour finishes `1C` first never sets its pending requests free.
    pub(in crate::group) fn finish_order(&self) -> Vec<FlowKind> {
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
