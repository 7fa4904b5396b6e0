//! Directed routing: messages to one neighbor, chosen by group address, or to all of them
//! (`protocol-notes/netgroup-routing.md`).
//!
//! A message is a bare AMF value on the flow `GR 1D`. There is no destination, sender or hop count
//! on the wire, no acknowledgment, and one hop: whoever wants more puts the destination into the
//! value, as [`RoutedMessage`] does.
//!
//! | file | subject |
//! | --- | --- |
//! | `mod` | the flows to the neighbors, incoming messages, counters |
//! | `access` | the calls of the application, the choice of the receiver |
//! | [`message`] | the form of messages with a destination |
//! | `recursive` | sends them on, hop by hop |
//! | `detour` | messages to neighbors that answer nothing |

mod access;
mod detour;
pub(super) mod message;
mod recursive;

pub use access::{RoutingMut, SendMode, SendResult};
pub use message::RoutedMessage;
pub use recursive::{MAX_HOPS, Routed};

use super::feature::{Feature, Output};
use super::{FlowKind, GroupAddress, GroupConfig, GroupError, GroupEvent, RoutingLimits};
use crate::crypto::Fingerprint;
use crate::transport::{SessionId, Time};
use bytes::Bytes;
use detour::Underway;
use std::collections::{BTreeMap, VecDeque};

/// Counters of directed routing since the group was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RoutingStats {
    /// Messages sent to neighbors; one to all of them counts once for each.
    pub messages_sent: u64,
    /// Messages received from neighbors and delivered to the application.
    pub messages_received: u64,
    /// Messages for which this node was itself the nearest.
    pub messages_local: u64,
    /// Messages to the nearest member that were sent to another one after all, as the first answered
    /// nothing.
    pub messages_redirected: u64,
    /// Received messages above the size limit, which were dropped.
    pub too_large: u64,
    /// Received messages without any bytes, which were dropped.
    pub malformed: u64,
    /// Messages not sent because too many bytes were queued for the neighbor.
    pub refused: u64,
}

/// Directed routing of one group: its flows and its counters.
///
/// [`RoutingMut`] has the calls that send.
pub struct Routing {
    enabled: bool,
    limits: RoutingLimits,
    address: GroupAddress,
    neighbors: BTreeMap<SessionId, Neighbor>,
    output: VecDeque<Output>,
    stats: RoutingStats,
    underway: Underway,
}

/// A connected neighbor.
struct Neighbor {
    address: GroupAddress,
    /// Our flow to it is open.
    flow_open: bool,
    /// Our flow to it is full.
    blocked: bool,
    /// Messages that wait until it is not.
    queue: VecDeque<Bytes>,
    queued: usize,
}

impl Routing {
    pub(super) fn new(config: &GroupConfig) -> Self {
        Self {
            enabled: config.spec.routing_enabled(),
            limits: config.routing.clone(),
            address: GroupAddress::of(&config.near),
            neighbors: BTreeMap::new(),
            output: VecDeque::new(),
            stats: RoutingStats::default(),
            underway: Underway::default(),
        }
    }

    /// Counters.
    pub fn stats(&self) -> RoutingStats {
        self.stats
    }

    /// Sends a message to a neighbor, now or when its flow has space again.
    fn send(&mut self, session: SessionId, message: Bytes) -> Result<(), GroupError> {
        let Some(n) = self.neighbors.get_mut(&session) else { return Ok(()) };
        let max = self.limits.max_queued;
        if n.blocked && n.queued.saturating_add(message.len()) > max {
            self.stats.refused += 1;
            return Err(GroupError::QueueFull { queued: n.queued, max });
        }
        self.stats.messages_sent += 1;
        if n.blocked {
            n.queued += message.len();
            n.queue.push_back(message);
            return Ok(());
        }
        if !std::mem::replace(&mut n.flow_open, true) {
            self.output.push_back(Output::OpenFlow(session, FlowKind::Routing));
        }
        self.output.push_back(Output::Send(session, FlowKind::Routing, message));
        Ok(())
    }

    /// Delivers a message for which this node is itself the nearest.
    fn deliver_locally(&mut self, message: Bytes) {
        self.stats.messages_local += 1;
        self.deliver(self.address, message, true);
    }

    fn deliver(&mut self, from: GroupAddress, message: Bytes, from_local: bool) {
        let message = message.into();
        self.output.push_back(Output::Event(GroupEvent::SendToNotify {
            message,
            from,
            from_local,
        }));
    }
}

impl Feature for Routing {
    /// Without routing in the groupspec, messages are ignored, as the player ignores them.
    fn carries(&self, kind: FlowKind) -> bool {
        self.enabled && kind == FlowKind::Routing
    }

    fn on_neighbor_connected(&mut self, _: Time, session: SessionId, peer: Fingerprint) {
        let neighbor = Neighbor {
            address: GroupAddress::of(&peer),
            flow_open: false,
            blocked: false,
            queue: VecDeque::new(),
            queued: 0,
        };
        self.neighbors.insert(session, neighbor);
    }

    /// Messages that wait for it are dropped.
    fn on_neighbor_gone(&mut self, _: Time, session: SessionId) {
        self.neighbors.remove(&session);
    }

    fn on_message(&mut self, _: Time, session: SessionId, _: FlowKind, message: Bytes) {
        let Some(from) = self.neighbors.get(&session).map(|n| n.address) else { return };
        if message.is_empty() {
            self.stats.malformed += 1;
        } else if message.len() > self.limits.max_message {
            self.stats.too_large += 1;
        } else {
            self.stats.messages_received += 1;
            self.deliver(from, message, false);
        }
    }

    fn on_flow_blocked(&mut self, _: Time, session: SessionId, _: FlowKind, is_blocked: bool) {
        let Some(n) = self.neighbors.get_mut(&session) else { return };
        n.blocked = is_blocked;
        if !is_blocked {
            n.queued = 0;
            let send = |message| Output::Send(session, FlowKind::Routing, message);
            self.output.extend(n.queue.drain(..).map(send));
        }
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_timeout(&self) -> Option<Time> {
        self.underway.poll_timeout()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }
}
